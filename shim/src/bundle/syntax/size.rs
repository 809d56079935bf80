//! Sizes in bytes, as docker's go-units reads them: `64m`, `1.5g`, `512 KiB`; of memory in powers of 1024, of files in
//! powers of 1000.

use crate::error::{Error, Result};

/// Letters of units, each 1024 (or 1000) times the one before.
const UNITS: &str = "kmgtp";

/// Bytes of memory: `1k` is 1024.
///
/// # Errors
/// Docker's `invalid size`, or one that is no 63 bits long.
pub fn parse(text: &str) -> Result<i64> {
    in_powers_of(1024.0, text)
}

/// Bytes of a file: `1k` is 1000.
///
/// # Errors
/// As [`parse`].
pub fn parse_decimal(text: &str) -> Result<i64> {
    in_powers_of(1000.0, text)
}

// A size that fits is exact enough: docker's is a float too.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn in_powers_of(base: f64, text: &str) -> Result<i64> {
    let invalid = || Error::usage(format!("invalid size: '{text}'"));
    let end =
        text.rfind(|char: char| char.is_ascii_digit() || matches!(char, '.' | ' ')).ok_or_else(invalid)?;
    let (number, unit) = text.split_at(end + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    // Nothing that a float may be besides: no sign, no exponent, no infinity.
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = number.parse().ok().filter(|_| is_plain).ok_or_else(invalid)?;
    let unit = unit.to_ascii_lowercase();
    let letter = match unit.strip_suffix('b').unwrap_or(&unit) {
        "" if unit.len() <= 1 => None,
        rest => Some(rest.strip_suffix('i').filter(|_| unit.ends_with("ib")).unwrap_or(rest)),
    };
    let power = match letter {
        None => 0,
        Some(letter) if letter.len() == 1 => UNITS.find(letter).ok_or_else(invalid)? + 1,
        Some(_) => return Err(invalid()),
    };
    let bytes = number * base.powi(i32::try_from(power).unwrap_or_default());
    if bytes >= i64::MAX as f64 {
        return Err(Error::usage(format!("invalid size: '{text}': it is out of range")));
    }
    Ok(bytes as i64)
}

/// A decimal number of processors, in billionths.
///
/// # Errors
/// Docker's words.
pub fn nano_cpus(text: &str) -> Result<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !is_number(whole) || !is_number(part) {
        return Err(Error::usage(format!("failed to parse {text} as a rational number")));
    }
    if part.trim_end_matches('0').len() > 9 {
        return Err(Error::usage("value is too precise"));
    }
    let digits = format!("{whole}{:0<9.9}", part);
    digits.parse().map_err(|_| Error::usage("value out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_decimal_numbers() {
        for (text, nano) in
            [("1.5", 1_500_000_000), ("2", 2_000_000_000), (".01", 10_000_000), ("0.0000000010", 1)]
        {
            assert_eq!(nano_cpus(text).unwrap(), nano, "{text}");
        }
        for text in ["", ".", "-1", "1e3", "0.00000000001", "99999999999999"] {
            assert!(nano_cpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("32", 32),
            ("32b", 32),
            ("32B", 32),
            ("32k", 32 << 10),
            ("32kb", 32 << 10),
            ("32Kib", 32 << 10),
            ("32 MB", 32 << 20),
            ("1.5g", 3 << 29),
            ("32T", 32 << 40),
            ("4p", 4 << 50),
        ] {
            assert_eq!(parse(text).unwrap(), bytes, "{text}");
        }
        for text in [
            "", "m", "-1", "+1", "1e3", "1x", "1bb", "1kx", "1kbb", "1kib2", "1 k b", "0x10", "inf", "1..2",
            "1i", "1ib", "9999999p",
        ] {
            assert!(parse(text).unwrap_err().to_string().starts_with("invalid size: '"), "{text}");
        }
    }
}
