//! GVariant's text form (docs.gtk.org/glib/gvariant-text-format.html) to D-Bus values: what runc's parser
//! takes, and tuples, without which the lists of pairs that systemd has could not be written.
//!
//! Text becomes a tree first; types come second, because `[1, uint64 2]` says the type of its first element
//! by its second. An untyped number is an int32 or, with a point or an exponent, a double.

use crate::cgroup::dbus::{MAX_DEPTH, Value, first_type};

type Result<T> = std::result::Result<T, String>;

/// Reads one value.
///
/// # Errors
/// What is wrong with the text.
pub fn parse(text: &str) -> Result<Value> {
    let mut parser = Parser { rest: text };
    let node = parser.node(MAX_DEPTH)?;
    match parser.peek() {
        None => build(&node, &infer(&node)?),
        Some(_) => Err(format!("{:?} follows the value", parser.rest)),
    }
}

#[derive(Debug)]
enum Node {
    Number(String),
    Text(String),
    Bool(bool),
    Bytes(Vec<u8>),
    Array(Vec<Node>),
    Dictionary(Vec<(Node, Node)>),
    Tuple(Vec<Node>),
    Variant(Box<Node>),
    Typed(String, Box<Node>),
}

struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    /// The next character that is no blank.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    /// Takes this character, after blanks, where it is next.
    fn accept(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<()> {
        match self.accept(wanted) {
            true => Ok(()),
            false => Err(format!("{wanted:?} is missing")),
        }
    }

    /// Takes characters as long as they are of a kind.
    fn word(&mut self, belongs: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn node(&mut self, depth: usize) -> Result<Node> {
        let inner = depth.checked_sub(1).ok_or("values lie too deeply in one another")?;
        match self.peek().ok_or("the value is missing")? {
            '[' => {
                self.next();
                self.items(']', |parser| parser.node(inner)).map(Node::Array)
            }
            '(' => {
                self.next();
                let items = self.items(')', |parser| parser.node(inner))?;
                if items.is_empty() { Err("D-Bus has no empty tuple".into()) } else { Ok(Node::Tuple(items)) }
            }
            '{' => {
                self.next();
                let entry = |parser: &mut Self| {
                    let key = parser.node(inner)?;
                    parser.expect(':')?;
                    Ok((key, parser.node(inner)?))
                };
                self.items('}', entry).map(Node::Dictionary)
            }
            '<' => {
                self.next();
                let node = self.node(inner)?;
                self.expect('>')?;
                Ok(Node::Variant(Box::new(node)))
            }
            '@' => {
                self.next();
                let signature = self.word(|c| !c.is_whitespace());
                match first_type(signature) {
                    Some((whole, "")) => self.typed(whole, inner),
                    _ => Err(format!("{signature:?} is not the signature of one type")),
                }
            }
            quote @ ('\'' | '"') => {
                self.next();
                self.text(quote).map(Node::Text)
            }
            'b' if self.rest[1..].starts_with(['\'', '"']) => {
                self.next();
                let quote = self.next().unwrap_or_default();
                self.bytes(quote).map(Node::Bytes)
            }
            '0'..='9' | '+' | '-' | '.' => {
                let number = self.word(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
                Ok(Node::Number(number.to_owned()))
            }
            _ => self.keyword(inner),
        }
    }

    /// Items between commas up to `end`; one comma may follow the last.
    fn items<T>(&mut self, end: char, item: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while !self.accept(end) {
            items.push(item(self)?);
            if !self.accept(',') {
                self.expect(end)?;
                break;
            }
        }
        Ok(items)
    }

    fn keyword(&mut self, depth: usize) -> Result<Node> {
        let word = self.word(|c| c.is_ascii_alphanumeric());
        let signature = match word {
            "true" => return Ok(Node::Bool(true)),
            "false" => return Ok(Node::Bool(false)),
            "boolean" => "b",
            "byte" => "y",
            "int16" => "n",
            "uint16" => "q",
            "int32" => "i",
            "uint32" => "u",
            "int64" => "x",
            "uint64" => "t",
            "double" => "d",
            "string" => "s",
            "objectpath" => "o",
            "signature" => "g",
            _ => return Err(format!("{:?} is neither a value nor a type", format!("{word}{}", self.rest))),
        };
        self.typed(signature, depth)
    }

    fn typed(&mut self, signature: &str, depth: usize) -> Result<Node> {
        match self.node(depth)? {
            Node::Typed(..) => Err("a value has one type only".into()),
            node => Ok(Node::Typed(signature.to_owned(), Box::new(node))),
        }
    }

    fn text(&mut self, quote: char) -> Result<String> {
        const OPEN: &str = "the quote is not closed";
        let mut text = String::new();
        loop {
            match self.next().ok_or(OPEN)? {
                end if end == quote => return Ok(text),
                '\\' => match self.next().ok_or(OPEN)? {
                    'a' => text.push('\x07'),
                    'b' => text.push('\x08'),
                    'f' => text.push('\x0c'),
                    'n' => text.push('\n'),
                    'r' => text.push('\r'),
                    't' => text.push('\t'),
                    'v' => text.push('\x0b'),
                    '\n' => {}
                    'u' => text.push(self.code_point(4)?),
                    'U' => text.push(self.code_point(8)?),
                    other => text.push(other),
                },
                other => text.push(other),
            }
        }
    }

    fn code_point(&mut self, digits: usize) -> Result<char> {
        let code = self.digits(digits, 16)?;
        char::from_u32(code).ok_or_else(|| format!("{code:x} is no character"))
    }

    /// Exactly so many digits.
    fn digits(&mut self, count: usize, base: u32) -> Result<u32> {
        let digits = self.rest.get(..count).unwrap_or_default();
        self.rest = self.rest.get(count..).unwrap_or_default();
        let plain = digits.len() == count && digits.chars().all(|c| c.is_digit(base));
        let value = plain.then(|| u32::from_str_radix(digits, base).ok()).flatten();
        value.ok_or_else(|| "an escape is too short".to_owned())
    }

    /// A string of bytes, which ends with a NUL of its own.
    fn bytes(&mut self, quote: char) -> Result<Vec<u8>> {
        const OPEN: &str = "the quote is not closed";
        let mut bytes = Vec::new();
        loop {
            let plain = match self.next().ok_or(OPEN)? {
                end if end == quote => break,
                '\\' => match self.next().ok_or(OPEN)? {
                    'a' => '\x07',
                    'b' => '\x08',
                    'f' => '\x0c',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\x0b',
                    '\n' => continue,
                    first @ '0'..='3' => {
                        let code = first.to_digit(8).unwrap_or_default() * 64 + self.digits(2, 8)?;
                        bytes.push(u8::try_from(code).unwrap_or_default()); // 255 at most
                        continue;
                    }
                    other => other,
                },
                other => other,
            };
            bytes.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
        }
        bytes.push(0);
        Ok(bytes)
    }
}

/// The type that a node says it has; `None` where it leaves a choice.
fn certain(node: &Node) -> Option<String> {
    Some(match node {
        Node::Typed(signature, _) => signature.clone(),
        Node::Bool(_) => "b".to_owned(),
        Node::Bytes(_) => "ay".to_owned(),
        Node::Variant(_) => "v".to_owned(),
        Node::Array(items) => format!("a{}", items.iter().find_map(certain)?),
        Node::Dictionary(entries) => format!(
            "a{{{}{}}}",
            entries.iter().find_map(|(key, _)| certain(key))?,
            entries.iter().find_map(|(_, value)| certain(value))?
        ),
        Node::Tuple(items) => format!("({})", items.iter().map(certain).collect::<Option<String>>()?),
        Node::Number(text) if is_float(text) => "d".to_owned(),
        Node::Number(_) | Node::Text(_) => return None,
    })
}

/// The type of a node, by its content where it says nothing of its own.
fn infer(node: &Node) -> Result<String> {
    if let Some(signature) = certain(node) {
        return Ok(signature);
    }
    Ok(match node {
        Node::Number(_) => "i".to_owned(),
        Node::Array(items) => format!("a{}", infer_one(|| items.iter())?),
        Node::Dictionary(entries) => format!(
            "a{{{}{}}}",
            infer_one(|| entries.iter().map(|(key, _)| key))?,
            infer_one(|| entries.iter().map(|(_, value)| value))?
        ),
        Node::Tuple(items) => format!("({})", items.iter().map(infer).collect::<Result<String>>()?),
        _ => "s".to_owned(),
    })
}

/// The one type of many nodes: what one of them says, else what one of them looks like.
fn infer_one<'n, I: Iterator<Item = &'n Node>>(nodes: impl Fn() -> I) -> Result<String> {
    nodes()
        .find_map(certain)
        .or_else(|| nodes().find_map(|node| infer(node).ok()))
        .ok_or_else(|| "an empty list needs a type, such as \"@as []\"".to_owned())
}

fn is_float(number: &str) -> bool {
    !number.starts_with("0x") && number.contains(['.', 'e', 'E'])
}

/// The node as a value of this type.
fn build(node: &Node, signature: &str) -> Result<Value> {
    let mismatch = || Err(format!("the value is not of type {signature:?}"));
    match node {
        Node::Typed(own, inner) if own == signature => build(inner, own),
        Node::Typed(..) => mismatch(),
        Node::Number(text) => number(text, signature),
        Node::Text(text) => Ok(match signature {
            "s" => Value::Text(text.clone()),
            "o" if is_object_path(text) => Value::Path(text.clone()),
            "g" if is_signature(text) => Value::Signature(text.clone()),
            _ => return mismatch(),
        }),
        Node::Bool(truth) if signature == "b" => Ok(Value::Bool(*truth)),
        Node::Bytes(bytes) if signature == "ay" => Ok(Value::bytes(bytes.iter().copied())),
        Node::Variant(inner) if signature == "v" => Ok(build(inner, &infer(inner)?)?.boxed()),
        Node::Array(items) => match signature.strip_prefix('a') {
            Some(element) => {
                let items = items.iter().map(|item| build(item, element)).collect::<Result<_>>()?;
                Ok(Value::Array(element.to_owned(), items))
            }
            None => mismatch(),
        },
        Node::Dictionary(entries) => {
            let Some(element) = signature.strip_prefix('a') else { return mismatch() };
            let types = element.strip_prefix('{').and_then(|types| types.strip_suffix('}'));
            let Some((key_type, value_type)) = types.and_then(first_type) else { return mismatch() };
            let entry = |(key, value): &(Node, Node)| {
                Ok(Value::Entry(Box::new(build(key, key_type)?), Box::new(build(value, value_type)?)))
            };
            let entries = entries.iter().map(entry).collect::<Result<_>>()?;
            // A key that is no basic type makes a signature that is none.
            match first_type(signature) {
                Some((_, "")) => Ok(Value::Array(element.to_owned(), entries)),
                _ => mismatch(),
            }
        }
        Node::Tuple(items) => {
            let fields = signature.strip_prefix('(').and_then(|fields| fields.strip_suffix(')'));
            let Some(mut rest) = fields else { return mismatch() };
            let mut values = Vec::new();
            for item in items {
                let Some((first, after)) = first_type(rest) else { return mismatch() };
                values.push(build(item, first)?);
                rest = after;
            }
            if rest.is_empty() { Ok(Value::Struct(values)) } else { mismatch() }
        }
        Node::Bool(_) | Node::Bytes(_) | Node::Variant(_) => mismatch(),
    }
}

fn number(text: &str, signature: &str) -> Result<Value> {
    let wrong = || format!("{text:?} is not a number of type {signature:?}");
    if signature == "d" {
        return text.parse().map(Value::Double).map_err(|_| wrong());
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, base) = match digits.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    if !digits.chars().all(|c| c.is_digit(base)) {
        return Err(wrong()); // a second sign would pass below
    }
    let size = i128::from(u64::from_str_radix(digits, base).map_err(|_| wrong())?);
    let value = if negative { -size } else { size };
    let value = match signature {
        "y" => u8::try_from(value).map(Value::Byte),
        "n" => i16::try_from(value).map(Value::I16),
        "q" => u16::try_from(value).map(Value::U16),
        "i" => i32::try_from(value).map(Value::I32),
        "u" => u32::try_from(value).map(Value::U32),
        "x" => i64::try_from(value).map(Value::I64),
        "t" => u64::try_from(value).map(Value::U64),
        _ => return Err(wrong()),
    };
    value.map_err(|_| wrong())
}

fn is_object_path(text: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
    text == "/" || text.strip_prefix('/').is_some_and(|parts| parts.split('/').all(plain))
}

fn is_signature(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = first_type(rest) {
        rest = after;
    }
    rest.is_empty() && text.len() <= 255
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(element: &str, items: Vec<Value>) -> Value {
        Value::Array(element.into(), items)
    }

    #[test]
    fn values_are_read_as_runc_reads_them() {
        let path = Value::Path("/a/b_1".into());
        let entry = |key: &str, value| Value::Entry(Box::new(Value::text(key)), Box::new(value));
        let cases = [
            ("'inactive-or-failed'", Value::text("inactive-or-failed")),
            ("\"a 'b'\\n\\u00e9\\\\\"", Value::text("a 'b'\né\\")),
            ("true", Value::Bool(true)),
            ("boolean false", Value::Bool(false)),
            ("1", Value::I32(1)),
            ("-0x10", Value::I32(-16)),
            ("010", Value::I32(8)),
            ("0", Value::I32(0)),
            ("1.5", Value::Double(1.5)),
            ("2e3", Value::Double(2000.0)),
            ("[1, 1.5]", array("d", vec![Value::Double(1.0), Value::Double(1.5)])),
            ("uint64 123456789", Value::U64(123_456_789)),
            ("uint64 0xffffffffffffffff", Value::U64(u64::MAX)),
            (" int64 -5 ", Value::I64(-5)),
            ("@t 7", Value::U64(7)),
            ("byte 255", Value::Byte(255)),
            ("int16 -7", Value::I16(-7)),
            ("uint16 7", Value::U16(7)),
            ("uint32 7", Value::U32(7)),
            ("double 3", Value::Double(3.0)),
            ("objectpath '/a/b_1'", path),
            ("signature 'a(sv)'", Value::Signature("a(sv)".into())),
            ("@as []", array("s", vec![])),
            ("['a', 'b',]", array("s", vec![Value::text("a"), Value::text("b")])),
            ("[1, uint64 2]", array("t", vec![Value::U64(1), Value::U64(2)])),
            ("[@as [], ['a']]", array("as", vec![array("s", vec![]), array("s", vec![Value::text("a")])])),
            ("[[], ['a']]", array("as", vec![array("s", vec![]), array("s", vec![Value::text("a")])])),
            ("b'a\\001'", Value::bytes([b'a', 1, 0])),
            ("<uint32 3>", Value::U32(3).boxed()),
            ("('/dev/sda', uint64 5)", Value::Struct(vec![Value::text("/dev/sda"), Value::U64(5)])),
            (
                "@a(st) [('/dev/sda', 5)]",
                array("(st)", vec![Value::Struct(vec![Value::text("/dev/sda"), Value::U64(5)])]),
            ),
            (
                "{'a': 1, 'b': byte 2}",
                array("{sy}", vec![entry("a", Value::Byte(1)), entry("b", Value::Byte(2))]),
            ),
            ("@a{sv} {'a': <true>}", array("{sv}", vec![entry("a", Value::Bool(true).boxed())])),
        ];
        for (text, value) in cases {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused_with_its_reason() {
        let deep = "[".repeat(100) + &"]".repeat(100);
        for text in [
            "",
            " ",
            "'open",
            "\"a'",
            "'\\u12'",
            "'\\ud800'",
            "b'",
            "b'\\9",
            "b'\\0z1'",
            "[1, 'a']",
            "[1",
            "[1 2]",
            "(1",
            "()",
            "{1:2",
            "{'a'}",
            "{[1]: 2}",
            "<1",
            "1 2",
            "truth",
            "uint64 -1",
            "uint64 1.5",
            "byte 256",
            "0x",
            "--1",
            "+-1",
            "08",
            "@t 'a'",
            "@(t 1",
            "@tt 1",
            "uint64 uint32 1",
            "int32 2147483648",
            "objectpath 'a'",
            "objectpath '/a//b'",
            "signature '('",
            "@as [1]",
            "@(ss) ('a',)",
            "@(s) ('a', 'b')",
            "@b 1",
            "@s true",
            "@a{sv} {1: <2>}",
            "é",
            "1é",
            "18446744073709551616",
            deep.as_str(),
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("uint64 x").unwrap_err(), "\"x\" is neither a value nor a type");
        assert_eq!(parse("[]").unwrap_err(), "an empty list needs a type, such as \"@as []\"");
        assert_eq!(parse("byte 300").unwrap_err(), "\"300\" is not a number of type \"y\"");
    }
}
