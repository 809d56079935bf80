//! Values of D-Bus's type system (D-Bus specification, "Type System"), as plain data.

/// One value with its type.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`
    I16(i16),
    /// `q`
    U16(u16),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`
    Double(f64),
    /// `s`
    Text(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `a`: the signature of one element, which an empty array has too, and the elements.
    Array(String, Vec<Value>),
    /// `(…)`
    Struct(Vec<Value>),
    /// `{…}`, only in arrays.
    Entry(Box<Value>, Box<Value>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// An array of bytes.
    pub fn bytes(bytes: impl IntoIterator<Item = u8>) -> Self {
        Self::Array("y".to_owned(), bytes.into_iter().map(Self::Byte).collect())
    }

    /// The value in a variant.
    #[must_use]
    pub fn boxed(self) -> Self {
        Self::Variant(Box::new(self))
    }

    /// The signature of its type.
    pub fn signature(&self) -> String {
        let mut signature = String::new();
        self.sign(&mut signature);
        signature
    }

    fn sign(&self, out: &mut String) {
        let code = match self {
            Self::Byte(_) => 'y',
            Self::Bool(_) => 'b',
            Self::I16(_) => 'n',
            Self::U16(_) => 'q',
            Self::I32(_) => 'i',
            Self::U32(_) => 'u',
            Self::I64(_) => 'x',
            Self::U64(_) => 't',
            Self::Double(_) => 'd',
            Self::Text(_) => 's',
            Self::Path(_) => 'o',
            Self::Signature(_) => 'g',
            Self::Variant(_) => 'v',
            Self::Array(element, _) => {
                out.push('a');
                out.push_str(element);
                return;
            }
            Self::Struct(fields) => {
                out.push('(');
                fields.iter().for_each(|field| field.sign(out));
                out.push(')');
                return;
            }
            Self::Entry(key, value) => {
                out.push('{');
                key.sign(out);
                value.sign(out);
                out.push('}');
                return;
            }
        };
        out.push(code);
    }

    /// The text, path or signature that it is.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Path(text) | Self::Signature(text) => Some(text),
            _ => None,
        }
    }
}

/// The first complete type of a signature, and what follows it; `None` where it is not well formed.
pub fn first_type(signature: &str) -> Option<(&str, &str)> {
    let end = type_length(signature.as_bytes(), MAX_DEPTH)?;
    Some(signature.split_at(end))
}

/// How deeply arrays, structs and variants may lie in one another; the specification allows twice as much.
pub const MAX_DEPTH: usize = 32;

fn type_length(signature: &[u8], depth: usize) -> Option<usize> {
    let inner = depth.checked_sub(1)?;
    match signature.first()? {
        b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'h' | b'v' => {
            Some(1)
        }
        b'a' if signature.get(1) == Some(&b'{') => {
            let key = 2;
            let value = key + 1;
            // The key of an entry is of a basic type: one byte.
            let basic = signature.get(key).is_some_and(|code| b"ybnqiuxtdsogh".contains(code));
            let end = value + type_length(signature.get(value..).filter(|_| basic)?, inner)?;
            (signature.get(end) == Some(&b'}')).then_some(end + 1)
        }
        b'a' => Some(1 + type_length(&signature[1..], inner)?),
        b'(' => {
            let mut end = 1;
            while signature.get(end) != Some(&b')') {
                end += type_length(signature.get(end..)?, inner)?;
            }
            (end > 1).then_some(end + 1)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_follow_the_types() {
        let pair = Value::Struct(vec![Value::text("a"), Value::U64(1)]);
        let cases = [
            (Value::bytes([1]), "ay"),
            (Value::Array("(st)".into(), vec![pair.clone()]), "a(st)"),
            (Value::Array("(sv)".into(), Vec::new()).boxed(), "v"),
            (Value::Struct(vec![pair, Value::Bool(true)]), "((st)b)"),
            (Value::Entry(Box::new(Value::text("k")), Box::new(Value::I16(1))), "{sn}"),
        ];
        for (value, signature) in cases {
            assert_eq!(value.signature(), signature);
        }
    }

    #[test]
    fn types_are_taken_off_one_by_one() {
        for (signature, first, rest) in [
            ("s", "s", ""),
            ("uoss", "u", "oss"),
            ("a(sv)a(sa(sv))", "a(sv)", "a(sa(sv))"),
            ("aaay(t)", "aaay", "(t)"),
            ("a{sa{uv}}y", "a{sa{uv}}", "y"),
            ("((yy)x)d", "((yy)x)", "d"),
        ] {
            assert_eq!(first_type(signature), Some((first, rest)), "{signature}");
        }
        let deep = "a".repeat(40) + "y";
        for wrong in [
            "",
            "a",
            "(",
            "()",
            "(s",
            "{sv}",
            "a{",
            "a{s",
            "a{sv",
            "a{(s)v}",
            "a{svv}",
            "r",
            "é",
            deep.as_str(),
        ] {
            assert_eq!(first_type(wrong), None, "{wrong}");
        }
    }
}
