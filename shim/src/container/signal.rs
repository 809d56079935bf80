//! Signals by name or number, as `docker kill --signal` takes them (signal(7)). Pure.

use std::str::FromStr as _;

use nix::sys::signal::Signal;

use crate::error::{Error, Result};

/// The first and the last of the real-time signals, as the C library has them: the kernel's first two are its own.
const REAL_TIME: [i32; 2] = [34, 64];

/// SIGKILL.
pub const KILL: i32 = 9;
/// SIGTERM.
pub const TERM: i32 = 15;

/// The number of a signal: `KILL`, `SIGKILL`, `9`, `RTMIN+3`, in any case.
///
/// # Errors
/// What is no signal, in Docker's words.
pub fn number(text: &str) -> Result<i32> {
    let wrong = || Error::usage(format!("invalid signal: {text}"));
    let upper = text.trim().to_ascii_uppercase();
    if let Ok(number) = upper.parse::<i32>() {
        return if (1..=REAL_TIME[1]).contains(&number) { Ok(number) } else { Err(wrong()) };
    }
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(number) = real_time(name) {
        return Ok(number);
    }
    // Older names of the same.
    let name = match name {
        "CLD" => "CHLD",
        "IOT" => "ABRT",
        "POLL" => "IO",
        name => name,
    };
    Signal::from_str(&format!("SIG{name}")).map(|signal| signal as i32).map_err(|_| wrong())
}

/// `RTMIN`, `RTMIN+3`, `RTMAX-1`.
fn real_time(name: &str) -> Option<i32> {
    let [first, last] = REAL_TIME;
    let (base, sign, rest) = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => (first, '+', rest),
        (_, Some(rest)) => (last, '-', rest),
        _ => return None,
    };
    let offset = match rest.strip_prefix(sign) {
        Some(digits) => digits.parse::<u8>().ok()?,
        None if rest.is_empty() => 0,
        None => return None,
    };
    let number = if sign == '+' { base + i32::from(offset) } else { base - i32::from(offset) };
    (first..=last).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_names_and_numbers() {
        for (text, meant) in [
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("9", 9),
            ("hup", 1),
            ("CLD", 17),
            ("SIGRTMIN", 34),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
            ("64", 64),
        ] {
            assert_eq!(number(text).unwrap(), meant, "{text}");
        }
        for text in ["", "0", "65", "-1", "FOO", "SIG", "RTMIN+40", "RTMIN-1", "RTMAX+1"] {
            assert_eq!(number(text).unwrap_err().to_string(), format!("invalid signal: {text}"));
        }
    }
}
