//! What `container prune` removes: containers that do not run, as far as its filters mean them.

use jiff::Timestamp;

use crate::container::record::Container;
use crate::container::root::UPPER;
use crate::container::state::Status;
use crate::container::store::Containers;
use crate::container::{remove, size};
use crate::error::{Error, Kind, Result};
use crate::event;
use crate::host;
use crate::time;

/// Which containers are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Made before this moment.
    until: Option<Timestamp>,
    /// Key, value, and whether a container is to have it.
    labels: Vec<(String, Option<String>, bool)>,
}

impl Filter {
    /// Reads `until=…`, `label=…`, `label!=…`.
    ///
    /// # Errors
    /// A filter that there is not, or whose value means nothing.
    pub fn parse(texts: &[&str]) -> Result<Filter> {
        let mut filter = Filter::default();
        for text in texts {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            let name = name.trim().to_lowercase();
            match name.as_str() {
                "until" => {
                    let moment = time::moment(value, Timestamp::now(), &host::time_zone())?;
                    filter.until = Some(filter.until.map_or(moment, |known| known.min(moment)));
                }
                "label" | "label!" => {
                    let (key, value) =
                        value.split_once('=').map_or((value, None), |(key, value)| (key, Some(value)));
                    filter.labels.push((key.to_owned(), value.map(str::to_owned), name == "label"));
                }
                _ => return Err(Error::usage(format!("invalid filter '{name}'"))),
            }
        }
        Ok(filter)
    }

    /// Is this one meant?
    #[must_use]
    pub fn fits(&self, container: &Container) -> bool {
        let made = container.created.parse::<Timestamp>().unwrap_or(Timestamp::MIN);
        let has = |key: &str, value: Option<&str>| {
            let found = container.config.labels.get(key);
            found.is_some_and(|found| value.is_none_or(|value| value == found))
        };
        self.until.is_none_or(|until| made < until)
            && self.labels.iter().all(|(key, value, wanted)| has(key, value.as_deref()) == *wanted)
    }
}

/// What was removed.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Full ids.
    pub ids: Vec<String>,
    /// Bytes of the files that containers had written.
    pub freed: u64,
    /// Of those that could not be removed.
    pub errors: Vec<Error>,
}

/// Removes what is meant and does not run.
///
/// # Errors
/// The system's reason for what cannot be looked at.
pub fn prune(containers: &Containers, filter: &Filter) -> Result<Pruned> {
    let mut pruned = Pruned::default();
    for id in containers.ids()? {
        let Some(found) = containers.observe(&id)? else { continue };
        let is_running = matches!(found.state.status, Status::Running | Status::Paused | Status::Restarting);
        if is_running || found.state.status == Status::Removing || !filter.fits(&found.container) {
            continue;
        }
        let size = size::of_files(&containers.folder(&id).join(UPPER));
        match remove::remove(containers, id.as_str(), false, false) {
            Ok(()) => {
                pruned.freed += size.unwrap_or_default();
                pruned.ids.push(id.to_string());
            }
            // Somebody else was quicker, or has started it since.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Conflict) => {}
            Err(error) => pruned.errors.push(error),
        }
    }
    event::prune(containers.state_root(), "container", pruned.freed);
    Ok(pruned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::ContainerId;
    use crate::container::store::tests::container;

    #[test]
    fn filters_are_dockers() {
        let mut made = container(&ContainerId::random().unwrap(), "one");
        made.config.labels = [("a".to_owned(), "1".to_owned())].into();
        let fits = |texts: &[&str]| Filter::parse(texts).unwrap().fits(&made);
        assert!(fits(&[]) && fits(&["label=a"]) && fits(&["label=a=1", "until=2026-01-02"]));
        assert!(!fits(&["label=a=2"]) && !fits(&["label!=a"]) && !fits(&["until=2025-01-01"]));
        assert!(fits(&["label!=a=2", "label!=b"]));
        for text in ["until=x", "name=x"] {
            assert!(Filter::parse(&[text]).is_err(), "{text}");
        }
    }
}
