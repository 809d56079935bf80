//! Sizes and times as Docker shows them (pkg.go.dev/github.com/docker/go-units).

/// Bytes with a decimal unit and three digits: `4.27MB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    size_with(bytes, 3)
}

/// Bytes with a binary unit and four digits: `1.5MiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], 4)
}

/// Bytes with a decimal unit and as many digits as are asked for, at most.
#[must_use]
pub fn size_with(bytes: u64, digits: usize) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB"], digits)
}

fn scaled(bytes: u64, step: f64, units: &[&str], digits: usize) -> String {
    #[allow(clippy::cast_precision_loss)] // some digits are shown
    let mut number = bytes as f64;
    let mut unit = 0;
    while number >= step && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    format!("{}{}", general(number, digits), units[unit])
}

/// Go's (and C's) `%.Ng` of a number that is not negative.
fn general(number: f64, digits: usize) -> String {
    let scientific = format!("{number:.*e}", digits.saturating_sub(1));
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: usize = exponent.parse().unwrap_or(0);
    if exponent >= digits {
        // What is rounded up to the next unit.
        return format!("{}e+{exponent:02}", trimmed(mantissa));
    }
    trimmed(&format!("{number:.*}", digits - 1 - exponent)).to_owned()
}

fn trimmed(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// How long something took or lasts, in whole words: `About an hour`.
#[must_use]
pub fn duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    // Hours are rounded, as Docker does it.
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_and_a_decimal_unit() {
        for (bytes, shown) in [
            (0, "0B"),
            (7, "7B"),
            (999, "999B"),
            (1000, "1kB"),
            (1024, "1.02kB"),
            (4_270_000, "4.27MB"),
            (4_300_000, "4.3MB"),
            (77_800_000, "77.8MB"),
            (187_654_321, "188MB"),
            (999_600, "1e+03kB"),
            (1_000_000_000, "1GB"),
            (u64::MAX, "18.4EB"),
        ] {
            assert_eq!(size(bytes), shown, "{bytes}");
        }
        assert_eq!(size_with(4_277_910, 4), "4.278MB");
        assert_eq!(
            (bytes(0), bytes(1 << 20), bytes(1_610_612_736)),
            ("0B".into(), "1MiB".into(), "1.5GiB".into())
        );
        assert_eq!(bytes(1_234_567), "1.177MiB");
    }

    #[test]
    fn durations_are_told_in_words() {
        const HOUR: i64 = 3600;
        const DAY: i64 = 24 * HOUR;
        for (seconds, told) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (59 * 60 + 59, "59 minutes"),
            (HOUR, "About an hour"),
            (HOUR + 1800, "2 hours"),
            (47 * HOUR, "47 hours"),
            (2 * DAY, "2 days"),
            (13 * DAY, "13 days"),
            (14 * DAY, "2 weeks"),
            (59 * DAY, "8 weeks"),
            (60 * DAY, "2 months"),
            (729 * DAY, "24 months"),
            (730 * DAY, "2 years"),
        ] {
            assert_eq!(duration(seconds), told, "{seconds}");
        }
    }
}
