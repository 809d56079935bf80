//! `--filter`: which volumes are meant. Pure.

use regex_lite::Regex;

use crate::error::{Error, Result};
use crate::volume::Volume;

/// What is asked of volumes; all of it has to be true, but of several names, drivers and so on one.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    dangling: Option<bool>,
    /// `prune`'s: those with a name, too.
    all: Option<bool>,
    drivers: Vec<String>,
    names: Vec<Regex>,
    /// Key, value, and whether a volume is to have it.
    labels: Vec<(String, Option<String>, bool)>,
}

impl Filter {
    /// Reads the filters of `volume ls`: `dangling`, `driver`, `label`, `name`.
    ///
    /// # Errors
    /// A filter that there is not, or whose value means nothing, in Docker's words.
    pub fn of_list(texts: &[&str]) -> Result<Filter> {
        Filter::read(texts, &["dangling", "driver", "label", "name"])
    }

    /// Reads the filters of `volume prune`: `all`, `label`, `label!`.
    ///
    /// # Errors
    /// As [`Filter::of_list`].
    pub fn of_prune(texts: &[&str]) -> Result<Filter> {
        Filter::read(texts, &["all", "label", "label!"])
    }

    fn read(texts: &[&str], known: &[&str]) -> Result<Filter> {
        let mut filter = Filter::default();
        for text in texts {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            let (name, value) = (name.trim().to_lowercase(), value.trim());
            if !known.contains(&name.as_str()) {
                return Err(Error::usage(format!("invalid filter '{name}'")));
            }
            let wrong = || Error::usage(format!("invalid filter '{name}=[{value}]'"));
            let switch = || match value {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
                _ => Err(wrong()),
            };
            match name.as_str() {
                "dangling" => filter.dangling = Some(switch()?),
                "all" => filter.all = Some(switch()?),
                "driver" => filter.drivers.push(value.to_owned()),
                "name" => filter.names.push(Regex::new(value).map_err(|_| wrong())?),
                _ => {
                    let (key, value) =
                        value.split_once('=').map_or((value, None), |(key, value)| (key, Some(value)));
                    filter.labels.push((key.to_owned(), value.map(str::to_owned), name == "label"));
                }
            }
        }
        Ok(filter)
    }

    /// Does it say that volumes with a name are meant too, or not?
    #[must_use]
    pub fn all(&self) -> Option<bool> {
        self.all
    }

    /// Is this volume meant? `is_used` says that a container has it.
    #[must_use]
    pub fn fits(&self, volume: &Volume, is_used: bool) -> bool {
        let has = |key: &str, value: Option<&str>| {
            let found = volume.labels.as_ref().and_then(|labels| labels.get(key));
            found.is_some_and(|found| value.is_none_or(|value| value == found))
        };
        self.dangling.is_none_or(|dangling| dangling != is_used)
            && (self.drivers.is_empty() || self.drivers.contains(&volume.driver))
            && (self.names.is_empty() || self.names.iter().any(|name| name.is_match(&volume.name)))
            && self.labels.iter().all(|(key, value, wanted)| has(key, value.as_deref()) == *wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_filtered_as_docker_does() {
        let volume = Volume {
            driver: "local".to_owned(),
            name: "data-1".to_owned(),
            labels: Some([("a".to_owned(), "1".to_owned())].into()),
            ..Volume::default()
        };
        let fits = |texts: &[&str]| Filter::of_list(texts).unwrap().fits(&volume, true);
        for texts in [
            &[][..],
            &["dangling=false"],
            &["driver=local"],
            &["driver=x", "driver=local"],
            &["name=ata"],
            &["name=^data-\\d$"],
            &["name=x", "name=data"],
            &["label=a"],
            &["label=a=1", "name=data"],
        ] {
            assert!(fits(texts), "{texts:?}");
        }
        for texts in [
            &["dangling=1"][..],
            &["driver=x"],
            &["name=^ata"],
            &["label=b"],
            &["label=a=2"],
            &["label=a", "label=b"],
        ] {
            assert!(!fits(texts), "{texts:?}");
        }
        let prune = |texts: &[&str]| Filter::of_prune(texts).unwrap().fits(&volume, false);
        assert!(prune(&["label!=b"]) && !prune(&["label!=a"]) && prune(&["label!=a=2"]));
        assert_eq!(Filter::of_prune(&["all=1"]).unwrap().all(), Some(true));
        for (texts, words) in [
            (&["foo=1"][..], "invalid filter 'foo'"),
            (&["dangling=x"], "invalid filter 'dangling=[x]'"),
            (&["label!=a"], "invalid filter 'label!'"),
        ] {
            assert_eq!(Filter::of_list(texts).unwrap_err().to_string(), words);
        }
    }
}
