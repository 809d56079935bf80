//! Durations as Go's time.ParseDuration reads them, which runc's callers write: `5s`, `1m30s`, `1.5h`, `100ms`.

use std::time::Duration;

const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000), // the Greek letter
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A duration longer than none.
///
/// # Errors
/// One line that quotes what it is not.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let (sign, rest) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (&text[..1], rest),
        None => ("", text),
    };
    let nanoseconds =
        nanoseconds(rest).ok_or_else(|| format!("flag --interval: {text:?} is no duration such as 5s"))?;
    match u64::try_from(nanoseconds) {
        Ok(nanoseconds @ 1..) if sign != "-" => Ok(Duration::from_nanos(nanoseconds)),
        Ok(_) => Err("duration interval must be greater than 0".to_owned()),
        Err(_) => Err(format!("flag --interval: {text:?} is too long")),
    }
}

/// The sum of all numbers with their units; `0` needs none.
fn nanoseconds(mut rest: &str) -> Option<u128> {
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0_u128;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum = sum.checked_add(super::update::scaled(number, *size)?)?;
        rest = after;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, milliseconds) in [
            ("5s", 5_000),
            ("+5s", 5_000),
            ("100ms", 100),
            ("1.5s", 1_500),
            (".5s", 500),
            ("1m30s", 90_000),
            ("1h0m0.25s", 3_600_250),
            ("1000000ns", 1),
            ("1000us", 1),
            ("1000µs", 1),
        ] {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(milliseconds), "{text}");
        }
        assert_eq!(parse("1ns").unwrap(), Duration::from_nanos(1));
    }

    #[test]
    fn what_is_none_is_quoted() {
        for text in ["", "5", "s", "5x", "5 s", "1.2.3s", "5s5", ".s", "--5s", "5S"] {
            let wanted = format!("flag --interval: {text:?} is no duration such as 5s");
            assert_eq!(parse(text).unwrap_err(), wanted);
        }
        for text in ["0", "0s", "-5s", "-0", "0.1ns"] {
            assert_eq!(parse(text).unwrap_err(), "duration interval must be greater than 0", "{text}");
        }
        assert_eq!(parse("9999999999h").unwrap_err(), "flag --interval: \"9999999999h\" is too long");
    }
}
