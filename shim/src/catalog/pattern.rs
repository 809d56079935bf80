//! Patterns of names, as Go's `path.Match` has them (pkg.go.dev/path#Match): `*` and `?` stop at slashes, `[a-z]` and
//! `[^a-z]` are sets, and a backslash takes the next character for itself.

use crate::error::{Error, Result};

/// Does all of the name fit the pattern?
///
/// # Errors
/// What is no pattern.
pub(super) fn fits(pattern: &str, name: &str) -> Result<bool> {
    let parts = parse(pattern).ok_or_else(|| Error::usage(format!("syntax error in pattern {pattern:?}")))?;
    Ok(matches(&parts, &name.chars().collect::<Vec<_>>()))
}

enum Part {
    Any,
    One,
    Exactly(char),
    /// Whether these are the ones that do not fit, and from where to where they go.
    Set(bool, Vec<(char, char)>),
}

fn parse(pattern: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(char) = chars.next() {
        parts.push(match char {
            '*' => Part::Any,
            '?' => Part::One,
            '\\' => Part::Exactly(chars.next()?),
            '[' => {
                let inverted = chars.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                let one = |chars: &mut std::iter::Peekable<std::str::Chars>| match chars.next()? {
                    '\\' => chars.next(),
                    '-' | ']' => None,
                    char => Some(char),
                };
                while ranges.is_empty() || chars.peek() != Some(&']') {
                    let from = one(&mut chars)?;
                    let to = if chars.next_if_eq(&'-').is_some() { one(&mut chars)? } else { from };
                    ranges.push((from, to));
                }
                chars.next();
                Part::Set(inverted, ranges)
            }
            char => Part::Exactly(char),
        });
    }
    Some(parts)
}

/// One position behind the last `*` is enough to go back to: what fits earlier fits any later one as well.
fn matches(parts: &[Part], name: &[char]) -> bool {
    let (mut part, mut at) = (0, 0);
    let mut again: Option<(usize, usize)> = None;
    loop {
        match (parts.get(part), name.get(at)) {
            (Some(Part::Any), _) => {
                again = Some((part, at));
                part += 1;
                continue;
            }
            (None, None) => return true,
            (Some(other), Some(char)) if fits_one(other, *char) => {
                (part, at) = (part + 1, at + 1);
                continue;
            }
            _ => {}
        }
        match again {
            Some((star, from)) if name.get(from).is_some_and(|char| *char != '/') => {
                again = Some((star, from + 1));
                (part, at) = (star + 1, from + 1);
            }
            _ => return false,
        }
    }
}

fn fits_one(part: &Part, char: char) -> bool {
    match part {
        Part::Any => false,
        Part::One => char != '/',
        Part::Exactly(wanted) => *wanted == char,
        Part::Set(inverted, ranges) => {
            ranges.iter().any(|(from, to)| (*from..=*to).contains(&char)) != *inverted
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns_as_in_gos_path_match() {
        for (pattern, name, fit) in [
            ("box", "box", true),
            ("bo", "box", false),
            ("b*", "box", true),
            ("*x", "box", true),
            ("b*x*", "boxen", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("a*/b", "abc/b", true),
            ("a*b*c/d", "axbyc/d", true),
            ("a*b*c/d", "axbyz/d", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, name).unwrap(), fit, "{pattern} {name}");
        }
        for pattern in ["[", "[]a]", "[-x]", "[a-]", "a\\", "[a"] {
            assert!(fits(pattern, "x").is_err(), "{pattern}");
        }
    }
}
