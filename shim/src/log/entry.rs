//! One line of a `json-file` log: `{"log":"text\n","stream":"stdout","attrs":{…},"time":"2026-01-02T03:04:05.678Z"}`.
//!
//! Written by hand, because every byte of a container's output goes through here: no allocation, and what is plain text
//! is copied as it is. Escaped is what docker escapes (Go's encoding/json with HTML's characters), so that files are
//! the same to the byte. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

/// What becomes of each byte: 0 stays as it is, `u` is told by its number, `?` has to be looked at, and others stand
/// behind a backslash.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        escapes[byte] = b'u';
        byte += 1;
    }
    escapes[b'\n' as usize] = b'n';
    escapes[b'\r' as usize] = b'r';
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes[b'<' as usize] = b'u';
    escapes[b'>' as usize] = b'u';
    escapes[b'&' as usize] = b'u';
    // The first byte of U+2028 and U+2029, ends of lines to JavaScript.
    escapes[0xe2] = b'?';
    escapes
};

/// What stands behind the text in every line of a batch. `attrs` is an object of JSON, or empty.
pub(super) fn tail(stream: &str, attrs: &str, time: &str) -> String {
    let attrs = if attrs.is_empty() { String::new() } else { format!("\"attrs\":{attrs},") };
    format!("\",\"stream\":\"{stream}\",{attrs}\"time\":\"{time}\"}}\n")
}

/// Appends a line. What of the text is not UTF-8 becomes U+FFFD.
pub(super) fn push(buffer: &mut Vec<u8>, text: &[u8], tail: &str) {
    buffer.extend_from_slice(b"{\"log\":\"");
    for chunk in text.utf8_chunks() {
        push_escaped(buffer, chunk.valid().as_bytes());
        for _ in chunk.invalid() {
            buffer.extend_from_slice(b"\\ufffd");
        }
    }
    buffer.extend_from_slice(tail.as_bytes());
}

fn push_escaped(buffer: &mut Vec<u8>, text: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut plain = 0;
    for (at, byte) in text.iter().enumerate() {
        let escape = ESCAPES[usize::from(*byte)];
        if escape == 0 {
            continue;
        }
        match escape {
            b'?' => {
                let last = match text.get(at + 1..at + 3) {
                    Some([0x80, last @ (0xa8 | 0xa9)]) => *last,
                    _ => continue,
                };
                buffer.extend_from_slice(&text[plain..at]);
                buffer.extend_from_slice(b"\\u202");
                buffer.push(if last == 0xa8 { b'8' } else { b'9' });
                plain = at + 3;
                continue;
            }
            b'u' => {
                buffer.extend_from_slice(&text[plain..at]);
                let digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
                buffer.extend_from_slice(b"\\u00");
                buffer.extend_from_slice(&digits);
            }
            escape => {
                buffer.extend_from_slice(&text[plain..at]);
                buffer.extend_from_slice(&[b'\\', escape]);
            }
        }
        plain = at + 1;
    }
    buffer.extend_from_slice(&text[plain..]);
}

/// A line that was read.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// The text, with its end of line if it has one.
    #[serde(borrow, default)]
    pub(super) log: Cow<'a, str>,
    /// `stdout` or `stderr`.
    #[serde(borrow, default)]
    pub(super) stream: Cow<'a, str>,
    /// What was asked for to be told of the container.
    #[serde(default)]
    pub(super) attrs: BTreeMap<String, String>,
    /// RFC 3339.
    #[serde(borrow)]
    pub(super) time: Cow<'a, str>,
}

/// Reads a line; None if it is none.
pub(super) fn parse(line: &[u8]) -> Option<Entry<'_>> {
    serde_json::from_slice(line).ok()
}

/// The text of a line that was cut off anywhere, as far as it goes, and its stream if that was told.
pub(super) fn text_of_torn(line: &[u8]) -> Option<(String, Option<&'static str>)> {
    let text = line.strip_prefix(b"{\"log\":\"")?;
    let mut escaped = false;
    let end = text.iter().position(|byte| {
        let is_end = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        is_end
    });
    let stream = end.and_then(|end| {
        let rest = text[end..].strip_prefix(b"\",\"stream\":\"std")?;
        ["out", "err"].into_iter().find(|name| rest.starts_with(name.as_bytes()))
    });
    let stream = stream.map(|name| if name == "out" { "stdout" } else { "stderr" });
    let text = &text[..end.unwrap_or(text.len())];
    // The last escape or character may be unfinished: none is longer than six bytes.
    (text.len().saturating_sub(6)..=text.len()).rev().find_map(|end| {
        let whole = [b"\"", &text[..end], b"\""].concat();
        serde_json::from_slice::<String>(&whole).ok().map(|text| (text, stream))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &[u8]) -> String {
        let mut buffer = Vec::new();
        push(&mut buffer, text, &tail("stdout", "", "T"));
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn lines_are_dockers_to_the_byte() {
        let whole = "{\"log\":\"hi\\n\",\"stream\":\"stdout\",\"time\":\"T\"}\n";
        assert_eq!(line(b"hi\n"), whole);
        for (text, escaped) in [
            (&b"a\tb\r\n"[..], "a\\u0009b\\r\\n"),
            (b"\x1b[31m\"q\"\\", "\\u001b[31m\\\"q\\\"\\\\"),
            (b"<a href='x'>&\x7f", "\\u003ca href='x'\\u003e\\u0026\x7f"),
            ("é€🦀\u{2028}\u{2029}\u{2027}".as_bytes(), "é€🦀\\u2028\\u2029\u{2027}"),
            (b"a\xff\xe2\x80b", "a\\ufffd\\ufffd\\ufffdb"),
            (b"\0", "\\u0000"),
        ] {
            assert_eq!(
                line(text),
                format!("{{\"log\":\"{escaped}\",\"stream\":\"stdout\",\"time\":\"T\"}}\n")
            );
        }
        let mut buffer = Vec::new();
        push(&mut buffer, b"x", &tail("stderr", "{\"a\":\"b\"}", "T"));
        assert_eq!(buffer, b"{\"log\":\"x\",\"stream\":\"stderr\",\"attrs\":{\"a\":\"b\"},\"time\":\"T\"}\n");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let all: Vec<char> = ('\0'..'\u{3000}').chain("🦀\u{10ffff}".chars()).collect();
        let text: String = all.iter().collect();
        let written = line(text.as_bytes());
        assert_eq!(parse(written.as_bytes()).unwrap().log, text);
        assert_eq!(parse(b"{\"log\":\"x\""), None);
        assert_eq!(parse(b"[]"), None);
        assert_eq!(parse(b"{\"log\":\"x\"}"), None, "without a time it is nobody's line");
    }

    #[test]
    fn of_a_torn_line_all_that_is_there_is_kept() {
        let whole = line("a\"\\\u{1}é\n".as_bytes());
        for end in 0..whole.len() {
            match text_of_torn(&whole.as_bytes()[..end]) {
                Some((text, stream)) => {
                    assert!("a\"\\\u{1}é\n".starts_with(&text), "{end}: {text:?}");
                    assert_eq!(stream.is_some(), end >= whole.find("stdout").unwrap() + 6, "{end}");
                    assert!(stream.is_none() || text.ends_with('\n'));
                }
                None => assert!(end < 8, "{end}"),
            }
        }
        let (text, _) = text_of_torn(b"{\"log\":\"abc\\u00").unwrap();
        assert_eq!(text, "abc");
    }
}
