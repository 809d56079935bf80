//! Moments and durations as people write them: as Docker reads `--filter until=` and durations of Go. Pure.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, Result};

/// Reads a moment: `2024-05-01T10:00:00Z`, `2024-05-01`, `1714557600`, `1714557600.5`, `10m`, `1h30m`. A time without
/// a zone is of `zone`.
///
/// # Errors
/// What is none of these.
pub fn moment(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp> {
    let wrong = || Error::usage(format!("failed to parse {text:?} as a time, a time stamp or a duration"));
    let mut found = text.parse::<Timestamp>().ok();
    if found.is_none() {
        found = local(text).and_then(|time| zone.to_timestamp(time).ok());
    }
    if found.is_none() {
        found = seconds(text);
    }
    if found.is_none() {
        found = duration(text).and_then(|ago| now.checked_sub(ago).ok());
    }
    found.ok_or_else(wrong)
}

/// `2024-05-01`, `2024-05-01T10:00`, `2024-05-01T10:00:00.5`.
fn local(text: &str) -> Option<DateTime> {
    // Only what begins with a year of four digits: jiff reads more than Docker does.
    let is_date = text.len() >= 10 && text.as_bytes()[4] == b'-';
    if is_date && !text.contains(['[', 'Z', '+', ' ']) { text.parse().ok() } else { None }
}

/// `1714557600`, `1714557600.000000001`.
fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !(part.is_empty() || is_number(part)) || part.len() > 9 {
        return None;
    }
    let nanoseconds = format!("{part:0<9}").parse().ok()?;
    Timestamp::new(whole.parse().ok()?, nanoseconds).ok()
}

/// Go's durations (pkg.go.dev/time#ParseDuration): `1h30m`, `1.5h`, `10ms`.
#[must_use]
pub fn duration(text: &str) -> Option<SignedDuration> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text),
    };
    let mut sum = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|char: char| char.is_ascii_digit() || char == '.').unwrap_or(rest.len());
        sum += number
            * match &rest[..end] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[end..];
    }
    if text.is_empty() { None } else { SignedDuration::try_from_secs_f64(sign * sum).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_docker_reads_them() {
        let now: Timestamp = "2024-05-02T12:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        for (text, meant) in [
            ("2024-05-01T10:00:00Z", "2024-05-01T10:00:00Z"),
            ("2024-05-01T10:00:00+02:00", "2024-05-01T08:00:00Z"),
            ("2024-05-01T10:00:00.5Z", "2024-05-01T10:00:00.5Z"),
            ("2024-05-01T10:00:00", "2024-05-01T08:00:00Z"),
            ("2024-05-01T10:00", "2024-05-01T08:00:00Z"),
            ("2024-05-01", "2024-04-30T22:00:00Z"),
            ("1714557600", "2024-05-01T10:00:00Z"),
            ("1714557600.25", "2024-05-01T10:00:00.25Z"),
            ("24h", "2024-05-01T12:00:00Z"),
            ("1h30m", "2024-05-02T10:30:00Z"),
            ("1.5h", "2024-05-02T10:30:00Z"),
            ("-1h", "2024-05-02T13:00:00Z"),
            ("0", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(moment(text, now, &zone).unwrap(), meant.parse().unwrap(), "{text}");
        }
        for text in ["", "yesterday", "1x", "h", "2024-13-01", "5 m", "--1h", "1e300h"] {
            assert!(moment(text, now, &zone).is_err(), "{text}");
        }
    }
}
