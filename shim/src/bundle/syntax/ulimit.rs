//! `--ulimit TYPE=SOFT[:HARD]`, as docker's go-units reads it.

use crate::bundle::spec::Rlimit;
use crate::error::{Error, Result};

/// Types of docker's; getrlimit(2) has them in capitals.
const TYPES: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// One limit; -1 is none.
///
/// # Errors
/// Docker's words.
pub fn parse(text: &str) -> Result<Rlimit> {
    let (kind, values) =
        text.split_once('=').ok_or_else(|| Error::usage(format!("invalid ulimit argument: {text}")))?;
    if !TYPES.contains(&kind) {
        return Err(Error::usage(format!("invalid ulimit type: {kind}")));
    }
    let number = |value: &str| match value.parse::<i64>() {
        Ok(-1) => Ok(u64::MAX),
        Ok(number) if number >= 0 => Ok(number.unsigned_abs()),
        _ => Err(Error::usage(format!("invalid ulimit value: {text}: {value:?} is no number"))),
    };
    let (soft, hard) = match values.split_once(':') {
        Some((soft, hard)) => (number(soft)?, number(hard)?),
        None => (number(values)?, number(values)?),
    };
    if soft > hard {
        let show =
            |limit: u64| if limit == u64::MAX { "-1 (unlimited)".to_owned() } else { limit.to_string() };
        return Err(Error::usage(format!(
            "ulimit soft limit must be less than or equal to hard limit: soft: {}, hard: {}",
            show(soft),
            show(hard)
        )));
    }
    Ok(Rlimit { kind: format!("RLIMIT_{}", kind.to_ascii_uppercase()), soft, hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_docker_reads_them() {
        let of = |kind: &str, soft, hard| Rlimit { kind: kind.into(), soft, hard };
        assert_eq!(parse("nofile=512:1024").unwrap(), of("RLIMIT_NOFILE", 512, 1024));
        assert_eq!(parse("nofile=512").unwrap(), of("RLIMIT_NOFILE", 512, 512));
        assert_eq!(parse("core=0:-1").unwrap(), of("RLIMIT_CORE", 0, u64::MAX));
        assert_eq!(parse("memlock=-1").unwrap(), of("RLIMIT_MEMLOCK", u64::MAX, u64::MAX));
        for (text, reason) in [
            ("nofile", "invalid ulimit argument: nofile"),
            ("as=1", "invalid ulimit type: as"),
            ("NOFILE=1", "invalid ulimit type"),
            ("nofile=", "invalid ulimit value"),
            ("nofile=1:2:3", "invalid ulimit value"),
            ("nofile=-2", "invalid ulimit value"),
            ("nofile=2:1", "soft: 2, hard: 1"),
            ("nofile=-1:1", "soft: -1 (unlimited), hard: 1"),
        ] {
            assert!(parse(text).unwrap_err().to_string().contains(reason), "{text}");
        }
    }
}
