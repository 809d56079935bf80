//! Control characters in what images, registries and command lines say, escaped as Rust does. Pure.

use std::borrow::Cow;

/// On one line, whatever it is.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, char::is_control)
}

/// As it is, but for what commands a terminal: ends of lines and tabs stay.
#[must_use]
pub fn harmless(text: &str) -> Cow<'_, str> {
    escaped(text, |char| char.is_control() && !matches!(char, '\n' | '\t'))
}

fn escaped(text: &str, is_meant: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_meant) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if is_meant(char) { shown.extend(char.escape_default()) } else { shown.push(char) }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_a_terminal_is_escaped() {
        assert_eq!(harmless("a\x1b[2J\u{9b}1m\r\u{7f}\t\nü"), "a\\u{1b}[2J\\u{9b}1m\\r\\u{7f}\t\nü");
        assert!(matches!(harmless("a\tb\n"), Cow::Borrowed(_)));
        assert_eq!(one_line("a\tb\nü"), "a\\tb\\nü");
    }
}
