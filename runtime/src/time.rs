//! Times as text: RFC 3339 in UTC, without a calendar library.

use std::time::{SystemTime, UNIX_EPOCH};

/// `2026-11-21T09:30:00Z`, as logrus writes it; times before 1970 are shown as its beginning.
pub fn rfc3339(time: SystemTime) -> String {
    let (seconds, _) = since_epoch(time);
    format!("{}Z", date_and_time(seconds))
}

/// The same with nanoseconds, trailing zeros of the fraction cut, as Go's RFC3339Nano.
pub fn rfc3339_nano(time: SystemTime) -> String {
    let (seconds, nanoseconds) = since_epoch(time);
    let fraction = format!(".{nanoseconds:09}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!("{}{fraction}Z", date_and_time(seconds))
}

fn since_epoch(time: SystemTime) -> (u64, u32) {
    let elapsed = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    (elapsed.as_secs(), elapsed.subsec_nanos())
}

fn date_and_time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Year, month and day of a day counted from 1970-01-01 in the proleptic Gregorian calendar. Years are
/// taken to begin in March, so that the leap day is the last one.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64, nanoseconds: u32) -> SystemTime {
        UNIX_EPOCH + Duration::new(seconds, nanoseconds)
    }

    #[test]
    fn known_moments() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(at(seconds, 0)), text);
        }
    }

    #[test]
    fn the_fraction_has_no_trailing_zeros() {
        assert_eq!(rfc3339_nano(at(1, 0)), "1970-01-01T00:00:01Z");
        assert_eq!(rfc3339_nano(at(1, 120_000_000)), "1970-01-01T00:00:01.12Z");
        assert_eq!(rfc3339_nano(at(1, 1)), "1970-01-01T00:00:01.000000001Z");
    }
}
