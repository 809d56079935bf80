//! `--filter` of `network ls` and `network prune` (docs.docker.com, "docker network ls", "Filtering"). Pure.
//!
//! Values of the same filter are alternatives, but for labels, of which all have to be there.

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::host;
use crate::network::{DEFAULT, NAMES_ONLY, Network};
use crate::time;

/// Which networks are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    names: Vec<String>,
    ids: Vec<String>,
    drivers: Vec<String>,
    scopes: Vec<String>,
    /// User-made or not.
    custom: Vec<bool>,
    /// In use or not.
    dangling: Vec<bool>,
    /// Key, value, and whether a network is to have it.
    labels: Vec<(String, Option<String>, bool)>,
    until: Option<Timestamp>,
}

impl Filter {
    /// Reads filters of `ls`, or of `prune`, which has fewer.
    ///
    /// # Errors
    /// A filter that there is not, or whose value means nothing, in Docker's words.
    pub fn parse(texts: &[&str], of_prune: bool) -> Result<Filter> {
        let mut filter = Filter::default();
        for text in texts {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            let name = name.trim().to_lowercase();
            let owned = value.to_owned();
            match name.as_str() {
                "label" | "label!" => {
                    let (key, value) =
                        value.split_once('=').map_or((value, None), |(key, value)| (key, Some(value)));
                    filter.labels.push((key.to_owned(), value.map(str::to_owned), name == "label"));
                }
                "until" if of_prune => {
                    let moment = time::moment(value, Timestamp::now(), &host::time_zone())?;
                    filter.until = Some(filter.until.map_or(moment, |known| known.min(moment)));
                }
                "name" if !of_prune => filter.names.push(owned),
                "id" if !of_prune => filter.ids.push(owned),
                "driver" if !of_prune => filter.drivers.push(owned),
                "scope" if !of_prune => filter.scopes.push(owned),
                "type" if !of_prune => filter.custom.push(match value {
                    "custom" => true,
                    "builtin" => false,
                    _ => return Err(Error::usage(format!("invalid filter: 'type'='{value}'"))),
                }),
                "dangling" if !of_prune => filter.dangling.push(match value.to_lowercase().as_str() {
                    "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err(Error::usage(format!("invalid filter 'dangling=[{value}]'"))),
                }),
                _ => return Err(Error::usage(format!("invalid filter '{name}'"))),
            }
        }
        Ok(filter)
    }

    /// Is this one meant, which is used or not?
    #[must_use]
    pub fn fits(&self, network: &Network, is_used: bool) -> bool {
        let one = |wanted: &[String], fits: &dyn Fn(&str) -> bool| {
            wanted.is_empty() || wanted.iter().any(|wanted| fits(wanted))
        };
        let has = |key: &str, value: Option<&str>| {
            network.labels.get(key).is_some_and(|found| value.is_none_or(|value| value == found))
        };
        let is_custom = is_custom(network);
        let made = network.created.parse::<Timestamp>().unwrap_or(Timestamp::MIN);
        one(&self.names, &|name| network.name.contains(name))
            && one(&self.ids, &|id| network.id.contains(id))
            && one(&self.drivers, &|driver| network.driver == driver)
            && one(&self.scopes, &|scope| network.scope == scope)
            && (self.custom.is_empty() || self.custom.contains(&is_custom))
            && (self.dangling.is_empty() || self.dangling.contains(&(is_custom && !is_used)))
            && self.until.is_none_or(|until| made < until)
            && self.labels.iter().all(|(key, value, wanted)| has(key, value.as_deref()) == *wanted)
    }
}

/// Is it neither the default network nor one of those that are names alone?
#[must_use]
pub fn is_custom(network: &Network) -> bool {
    network.name != DEFAULT && !NAMES_ONLY.contains(&network.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_dockers() {
        let network = Network {
            name: "mine".to_owned(),
            id: "abc".to_owned(),
            driver: "bridge".to_owned(),
            scope: "local".to_owned(),
            created: "2026-01-01T00:00:00Z".to_owned(),
            labels: [("a".to_owned(), "1".to_owned())].into(),
            ..Network::default()
        };
        let fits = |texts: &[&str]| Filter::parse(texts, false).unwrap().fits(&network, false);
        for texts in [
            &[][..],
            &["name=in"],
            &["name=x", "name=mine"],
            &["id=b"],
            &["driver=bridge", "scope=local", "type=custom"],
            &["dangling=true"],
            &["label=a", "label=a=1", "label!=b"],
        ] {
            assert!(fits(texts), "{texts:?}");
        }
        for texts in [
            &["name=x"][..],
            &["driver=host"],
            &["type=builtin"],
            &["dangling=false"],
            &["label=a=2"],
            &["label!=a"],
        ] {
            assert!(!fits(texts), "{texts:?}");
        }
        for text in ["x=y", "until=1h", "type=x", "dangling=x"] {
            assert!(Filter::parse(&[text], false).is_err(), "{text}");
        }
        assert!(Filter::parse(&["until=2026-01-02", "label!=b"], true).unwrap().fits(&network, false));
        assert!(!Filter::parse(&["until=2025-01-02"], true).unwrap().fits(&network, false));
        assert!(Filter::parse(&["name=x"], true).is_err());
    }
}
