//! Which field a parser was at when it gave up, found by the place in the text that it names.
//!
//! A crate that follows the parser (serde_path_to_error) would double the code that reads a configuration,
//! and code that lies between what every container's birth runs costs memory and page faults.

use std::fmt::Write as _;

/// A container that has been entered: the name or number of what is being read in it.
enum Level {
    Object(Vec<u8>),
    Array(usize),
}

/// The path of the field at a place in a JSON document, as `process.user.uid` or `mounts[1]`; empty at the
/// top. `line` and `column` count from 1, as in [`serde_json::Error`]; the text may be broken behind them.
pub(super) fn field_at(text: &[u8], line: usize, column: usize) -> String {
    let before: usize =
        text.split_inclusive(|byte| *byte == b'\n').take(line.max(1) - 1).map(<[u8]>::len).sum();
    let text = &text[..before.saturating_add(column).min(text.len())];
    let mut levels = Vec::new();
    let mut in_name = false;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'{' => {
                levels.push(Level::Object(Vec::new()));
                in_name = true;
            }
            b'[' => {
                levels.push(Level::Array(0));
                in_name = false;
            }
            b'}' | b']' => {
                levels.pop();
                in_name = false;
            }
            b':' => in_name = false,
            b',' => match levels.last_mut() {
                Some(Level::Array(index)) => *index += 1,
                Some(Level::Object(_)) => in_name = true,
                None => {}
            },
            b'"' => {
                let length = string_length(&text[at..]);
                if let (true, Some(Level::Object(name))) = (in_name, levels.last_mut()) {
                    *name = text[at..at + length].to_vec();
                }
                at += length - 1;
            }
            _ => {}
        }
        at += 1;
    }
    path(&levels)
}

/// Bytes of the string that `text` begins with, quotes included; all of it where the string does not end.
fn string_length(text: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn path(levels: &[Level]) -> String {
    let mut path = String::new();
    for level in levels {
        match level {
            Level::Array(index) => {
                let _ = write!(path, "[{index}]");
            }
            Level::Object(quoted) => {
                let Ok(name) = serde_json::from_slice::<String>(quoted) else { break };
                if !path.is_empty() {
                    path.push('.');
                }
                // One line, whatever a name holds.
                path.extend(name.chars().flat_map(char::escape_debug));
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path where `|` stands in the text.
    fn at(text: &str) -> String {
        let (before, after) = text.split_once('|').unwrap();
        let line = before.split('\n').count();
        let column = before.rsplit('\n').next().unwrap().len();
        field_at(format!("{before}{after}").as_bytes(), line, column)
    }

    #[test]
    fn the_field_being_read_is_named() {
        for (text, path) in [
            ("|", ""),
            ("{|", ""),
            ("{\"a\":1|}", "a"),
            ("{\"a\":1,\n \"b\":{\"c\":-1|}}", "b.c"),
            ("{\"b\":{\"c\":1}|}", "b"),
            ("{\"b\":{\"c\":1},\"d\":[1,{\"x\":[]},{\"e\":\"v\"|", "d[2].e"),
            ("{\"d\":[1,{\"x\":[]},2|]}", "d[2]"),
            ("{\"d\":[[0,1],[2,|]]}", "d[1][1]"),
            ("{\"d\":[]|}", "d"),
            ("{\"a,{\\\"\":[\"]\\\\\",\"}\"|", "a,{\\\"[1]"),
            ("{\"a\\nb\":1|", "a\\nb"),
            ("{\"a\":\"unfinished|", "a"),
            ("]]}}|", ""),
        ] {
            assert_eq!(at(text), path, "{text}");
        }
    }

    #[test]
    fn a_place_beyond_the_text_is_its_end() {
        assert_eq!(field_at(b"{\"a\":1", 7, 3), "a");
        assert_eq!(field_at(b"{\"a\":1", 1, usize::MAX), "a");
        assert_eq!(field_at(b"", 0, 0), "");
    }
}
