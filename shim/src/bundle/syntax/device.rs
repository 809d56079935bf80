//! `--device`, `--device-cgroup-rule` and rates of devices.

use crate::bundle::spec::DeviceRule;
use crate::bundle::syntax::size;
use crate::error::{Error, Result};

/// `HOST[:INSIDE][:ACCESS]`.
#[derive(Debug, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// Path on the host.
    pub source: &'a str,
    /// Path inside.
    pub destination: &'a str,
    /// Of `rwm`.
    pub access: &'a str,
}

/// Reads `--device`.
///
/// # Errors
/// Docker's words.
pub fn mapping(text: &str) -> Result<Mapping<'_>> {
    let invalid = || Error::usage(format!("invalid device specification: {text}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, access) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, access] if is_access(access) => (source, source, access),
        [source, destination] => (source, destination, "rwm"),
        [source, destination, access] if is_access(access) => (source, destination, access),
        [_, _, access] => return Err(Error::usage(format!("invalid device mode: {access}"))),
        _ => return Err(invalid()),
    };
    if !source.starts_with('/') || !destination.starts_with('/') {
        return Err(Error::usage(format!("{text} is not an absolute path")));
    }
    Ok(Mapping { source, destination, access })
}

fn is_access(text: &str) -> bool {
    let once = |letter| text.matches(letter).count() <= 1;
    !text.is_empty()
        && text.chars().all(|char| matches!(char, 'r' | 'w' | 'm'))
        && ["r", "w", "m"].into_iter().all(once)
}

/// Reads `--device-cgroup-rule`: `TYPE MAJOR:MINOR ACCESS`.
///
/// # Errors
/// Docker's words.
pub fn rule(text: &str) -> Result<DeviceRule> {
    let invalid = || Error::usage(format!("invalid device cgroup format '{text}'"));
    let number = |text: &str| match text {
        "*" => Ok(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map(Some).map_err(|_| invalid())
        }
        _ => Err(invalid()),
    };
    let words: Vec<&str> = text.split(' ').collect();
    let [kind, numbers, access] = words[..] else { return Err(invalid()) };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let kind = match kind {
        "a" => None,
        "b" => Some('b'),
        "c" => Some('c'),
        _ => return Err(invalid()),
    };
    if !is_access(access) {
        return Err(invalid());
    }
    Ok(DeviceRule {
        allow: true,
        kind,
        major: number(major)?,
        minor: number(minor)?,
        access: access.to_owned(),
    })
}

/// Reads `--device-read-bps` and its like: `PATH:RATE`, the rate with a unit where it is of bytes.
///
/// # Errors
/// Docker's words.
pub fn rate(text: &str, of_bytes: bool) -> Result<(&str, u64)> {
    let (path, rate) = text.split_once(':').ok_or_else(|| Error::usage(format!("bad format: {text}")))?;
    if !path.starts_with("/dev/") {
        return Err(Error::usage(format!("bad format for device path: {text}")));
    }
    let unit = if of_bytes { "<number>[<unit>]" } else { "<number>" };
    let wrong = || {
        let form = format!("The correct format is <device-path>:{unit}. Number must be a positive integer");
        Error::usage(format!("invalid rate for device: {text}. {form}"))
    };
    let number = if of_bytes {
        size::parse(rate).ok().and_then(|bytes| u64::try_from(bytes).ok())
    } else {
        rate.bytes().all(|byte| byte.is_ascii_digit()).then(|| rate.parse().ok()).flatten()
    };
    Ok((path, number.ok_or_else(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_docker_reads_them() {
        let of = |source, destination, access| Mapping { source, destination, access };
        assert_eq!(mapping("/dev/a").unwrap(), of("/dev/a", "/dev/a", "rwm"));
        assert_eq!(mapping("/dev/a:rw").unwrap(), of("/dev/a", "/dev/a", "rw"));
        assert_eq!(mapping("/dev/a:/dev/b").unwrap(), of("/dev/a", "/dev/b", "rwm"));
        assert_eq!(mapping("/dev/a:/dev/b:m").unwrap(), of("/dev/a", "/dev/b", "m"));
        for (text, reason) in [
            ("/a:/b:rx", "invalid device mode: rx"),
            ("/a:/b:rr", "invalid device mode: rr"),
            ("/a:/b:r:w", "invalid device specification"),
            ("a", "is not an absolute path"),
            ("/a:b", "is not an absolute path"),
        ] {
            assert!(mapping(text).unwrap_err().to_string().contains(reason), "{text}");
        }
    }

    #[test]
    fn rules_and_rates_are_read_as_docker_reads_them() {
        let of = |kind, major, minor, access: &str| DeviceRule {
            allow: true,
            kind,
            major,
            minor,
            access: access.into(),
        };
        assert_eq!(rule("c 7:* rmw").unwrap(), of(Some('c'), Some(7), None, "rmw"));
        assert_eq!(rule("a *:* r").unwrap(), of(None, None, None, "r"));
        for text in ["", "x 1:2 r", "c 1 r", "c 1:2", "c 1:2 x", "c  1:2 r", "c 1:-2 r", "c 99999999999:1 r"]
        {
            assert!(rule(text).is_err(), "{text}");
        }
        assert_eq!(rate("/dev/sda:1mb", true).unwrap(), ("/dev/sda", 1 << 20));
        assert_eq!(rate("/dev/sda:100", false).unwrap(), ("/dev/sda", 100));
        for text in ["/dev/sda", "/srv/x:1", "/dev/sda:1mb", "/dev/sda:-1", "/dev/sda:"] {
            assert!(rate(text, false).is_err(), "{text}");
        }
    }
}
