//! `--log-driver` and `--log-opt`: what is there, what it may be set to, and what it is otherwise. Pure.
//!
//! Docker keeps everything a container prints, in one file without an end, unless it is told otherwise; that fills
//! disks. Here a log is bounded unless somebody says `max-size=-1`.

use std::collections::BTreeMap;

use regex_lite::Regex;

use crate::bundle::syntax::size;
use crate::error::{Error, Result};

/// How long a file of the log may become, in bytes, if nobody says.
const SIZE_DEFAULT: u64 = 10_000_000;
/// How many files there are, if nobody says anything.
const FILES_DEFAULT: u32 = 3;
/// The most files: the names of all of them change with each rotation.
pub(super) const FILES_MAX: u32 = 1000;

/// Drivers that docker has and this shim has not.
const OF_DOCKER: [&str; 8] =
    ["awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "local", "splunk", "syslog"];

/// A driver with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settings {
    /// `json-file`: files that `logs` reads.
    JsonFile(Files),
    /// `journald`: the system's journal.
    Journald(Attributes),
    /// `none`: nothing is kept.
    None,
}

/// How the files of `json-file` are bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// A file that has this many bytes is followed by another; None for no end.
    pub max_size: Option<u64>,
    /// How many files are kept, the one that is written to among them.
    pub max_file: u32,
    /// What else is told.
    pub attributes: Attributes,
}

/// What is told of the container with each line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Names of labels.
    pub labels: Vec<String>,
    /// Which labels besides, by their names: a regular expression.
    pub labels_regex: Option<String>,
    /// Names of variables of the environment.
    pub env: Vec<String>,
    /// Likewise.
    pub env_regex: Option<String>,
    /// A template.
    pub tag: Option<String>,
}

impl Settings {
    /// Reads what `--log-driver` and `--log-opt` say; an empty driver is the default, `json-file`.
    ///
    /// # Errors
    /// A driver or an option that is not there, or a value that an option cannot have, in docker's words.
    pub fn parse(driver: &str, options: &BTreeMap<String, String>) -> Result<Settings> {
        match driver {
            "" | "json-file" => {
                known("json-file", options, &["max-size", "max-file", "compress"])?;
                Ok(Settings::JsonFile(files(options)?))
            }
            "journald" => {
                known(driver, options, &[])?;
                Ok(Settings::Journald(attributes(options)?))
            }
            "none" if options.is_empty() => Ok(Settings::None),
            "none" => Err(Error::usage("invalid logging opts for driver none")),
            driver if OF_DOCKER.contains(&driver) => Err(Error::usage(format!(
                "log driver {driver:?} is not supported: there are json-file, journald and none"
            ))),
            driver => Err(Error::usage(format!("logger: no log driver named '{driver}' is registered"))),
        }
    }
}

/// Refuses options that a driver does not have, and those that all have in docker but not here.
fn known(driver: &str, options: &BTreeMap<String, String>, own: &[&str]) -> Result<()> {
    for (name, value) in options {
        match (name.as_str(), value.as_str()) {
            ("labels" | "labels-regex" | "env" | "env-regex" | "tag", _)
            | ("mode", "blocking")
            | ("compress", "false") => {}
            ("mode" | "max-buffer-size" | "compress", _) => {
                return Err(Error::usage(format!("log opt {name}={value} is not supported")));
            }
            (name, _) if own.contains(&name) => {}
            (name, _) => {
                return Err(Error::usage(format!("unknown log opt '{name}' for {driver} log driver")));
            }
        }
    }
    Ok(())
}

fn files(options: &BTreeMap<String, String>) -> Result<Files> {
    let max_size = match options.get("max-size").map(String::as_str) {
        None => Some(SIZE_DEFAULT),
        Some("-1") => None,
        Some(text) => match u64::try_from(size::parse_decimal(text)?) {
            Ok(size) if size > 0 => Some(size),
            _ => return Err(Error::usage("max-size must be a positive number")),
        },
    };
    let max_file = match options.get("max-file") {
        // Who bounds a log himself is believed to know docker's default.
        None if options.contains_key("max-size") => 1,
        None => FILES_DEFAULT,
        Some(text) => match text.parse() {
            Ok(0) => return Err(Error::usage("max-file cannot be less than 1")),
            Ok(number) if number <= FILES_MAX => number,
            Ok(_) => return Err(Error::usage(format!("max-file cannot be more than {FILES_MAX}"))),
            Err(_) => return Err(Error::usage(format!("invalid max-file {text:?}: it is no number"))),
        },
    };
    Ok(Files { max_size, max_file, attributes: attributes(options)? })
}

fn attributes(options: &BTreeMap<String, String>) -> Result<Attributes> {
    let text = |option: &str| options.get(option).filter(|text| !text.is_empty()).cloned();
    let names = |option: &str| -> Vec<String> {
        let names = options.get(option).map_or("", String::as_str).split(',');
        names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    let regex = |option: &str| {
        let Some(source) = text(option) else { return Ok(None) };
        match Regex::new(&source) {
            Ok(_) => Ok(Some(source)),
            Err(error) => Err(Error::usage(format!("log opt {option}={source}: {error}"))),
        }
    };
    Ok(Attributes {
        labels: names("labels"),
        labels_regex: regex("labels-regex")?,
        env: names("env"),
        env_regex: regex("env-regex")?,
        tag: text("tag"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(driver: &str, options: &[(&str, &str)]) -> std::result::Result<Settings, String> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::parse(driver, &options).map_err(|error| error.to_string())
    }

    #[test]
    fn a_log_is_bounded_unless_somebody_says_otherwise() {
        let of = |max_size, max_file| {
            Ok(Settings::JsonFile(Files { max_size, max_file, attributes: Attributes::default() }))
        };
        assert_eq!(parse("", &[]), of(Some(10_000_000), 3));
        assert_eq!(parse("json-file", &[("max-size", "-1")]), of(None, 1));
        assert_eq!(parse("json-file", &[("max-size", "10k")]), of(Some(10_000), 1));
        assert_eq!(parse("json-file", &[("max-size", "1.5m"), ("max-file", "5")]), of(Some(1_500_000), 5));
        assert_eq!(
            parse("json-file", &[("mode", "blocking"), ("compress", "false")]),
            of(Some(10_000_000), 3)
        );
        assert_eq!(parse("none", &[]), Ok(Settings::None));
    }

    #[test]
    fn attributes_are_lists_of_names_and_a_template() {
        let Ok(Settings::Journald(found)) =
            parse("journald", &[("labels", "a,b"), ("env", "X"), ("tag", "{{.Name}}")])
        else {
            panic!("journald")
        };
        assert_eq!((found.labels, found.env), (vec!["a".into(), "b".into()], vec!["X".to_owned()]));
        assert_eq!(found.tag.as_deref(), Some("{{.Name}}"));
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        for (driver, options, words) in [
            ("syslog", &[][..], "log driver \"syslog\" is not supported"),
            ("local", &[], "log driver \"local\" is not supported"),
            ("sylog", &[], "logger: no log driver named 'sylog' is registered"),
            ("none", &[("max-size", "1m")], "invalid logging opts for driver none"),
            ("json-file", &[("max-sizes", "1m")], "unknown log opt 'max-sizes' for json-file log driver"),
            ("journald", &[("max-size", "1m")], "unknown log opt 'max-size' for journald log driver"),
            ("json-file", &[("max-size", "0")], "max-size must be a positive number"),
            ("json-file", &[("max-size", "x")], "invalid size: 'x'"),
            ("json-file", &[("max-file", "0")], "max-file cannot be less than 1"),
            ("json-file", &[("max-file", "-1")], "invalid max-file \"-1\""),
            ("json-file", &[("compress", "true")], "log opt compress=true is not supported"),
            ("json-file", &[("mode", "non-blocking")], "log opt mode=non-blocking is not supported"),
            ("json-file", &[("labels-regex", "(")], "log opt labels-regex=(: "),
        ] {
            let error = parse(driver, options).unwrap_err();
            assert!(error.contains(words), "{driver} {options:?}: {error}");
        }
    }
}
