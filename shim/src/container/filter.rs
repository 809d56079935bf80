//! `--filter` of `ps`: which containers are meant (Docker's manual, `docker ps`, "Filtering").
//!
//! Values of the same filter are alternatives, but for labels, of which all have to be there. Pure but for what
//! `ancestor`, `before` and `since` name, which the caller looks up.

use regex_lite::Regex;

use crate::container::host_config::PortBinding;
use crate::container::record::Container;
use crate::container::state::{State, Status};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::network::EndpointConfig;

/// An image that containers may have been made of, or of one above it.
#[derive(Clone, Debug)]
pub struct Ancestor {
    /// Its id.
    pub id: Digest,
    /// Chain ids of its layers, the lowest first.
    pub layers: Vec<Digest>,
}

/// What filters name, looked up.
pub trait Lookup {
    /// The image of this name, if there is one.
    ///
    /// # Errors
    /// Those of the store.
    fn ancestor(&self, word: &str) -> Result<Option<Ancestor>>;

    /// When the container was made, and its id.
    ///
    /// # Errors
    /// No such container.
    fn created(&self, word: &str) -> Result<(String, String)>;
}

/// What is asked of containers.
#[derive(Debug, Default)]
pub struct Filter {
    ids: Vec<Regex>,
    names: Vec<Regex>,
    labels: Vec<(String, Option<String>)>,
    exited: Vec<i32>,
    statuses: Vec<String>,
    health: Vec<String>,
    ancestors: Option<Vec<Ancestor>>,
    before: Option<(String, String)>,
    since: Option<(String, String)>,
    volumes: Vec<String>,
    networks: Vec<String>,
    published: Vec<Ports>,
    exposed: Vec<Ports>,
    tasks: Vec<bool>,
}

/// `80`, `80/udp`, `8000-8080/tcp`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ports {
    first: u16,
    last: u16,
    protocol: String,
}

impl Filter {
    /// Reads filters, `name=value` each.
    ///
    /// # Errors
    /// A filter that there is not, or whose value means nothing.
    pub fn read(texts: &[&str], lookup: &dyn Lookup) -> Result<Filter> {
        let mut filter = Filter::default();
        for text in texts {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            filter.add(&name.trim().to_lowercase(), value.trim(), lookup)?;
        }
        Ok(filter)
    }

    fn add(&mut self, name: &str, value: &str, lookup: &dyn Lookup) -> Result<()> {
        let wrong = || Error::usage(format!("invalid filter '{name}=[{value}]'"));
        match name {
            "id" => self.ids.push(regex(name, value)?),
            "name" => self.names.push(regex(name, value)?),
            "label" => self.labels.push(match value.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (value.to_owned(), None),
            }),
            "exited" => self.exited.push(value.parse().map_err(|_| wrong())?),
            "status" if STATUSES.contains(&value) => self.statuses.push(value.to_owned()),
            "health" if matches!(value, "none" | "starting" | "healthy" | "unhealthy") => {
                self.health.push(value.to_owned());
            }
            "ancestor" => self.ancestors.get_or_insert_default().extend(lookup.ancestor(value)?),
            "before" => self.before = Some(lookup.created(value)?),
            "since" => self.since = Some(lookup.created(value)?),
            "volume" => self.volumes.push(value.to_owned()),
            "network" => self.networks.push(value.to_owned()),
            "publish" => self.published.push(ports(value).ok_or_else(wrong)?),
            "expose" => self.exposed.push(ports(value).ok_or_else(wrong)?),
            "is-task" => self.tasks.push(match value {
                "1" | "true" => true,
                "0" | "false" => false,
                _ => return Err(wrong()),
            }),
            "status" | "health" => return Err(wrong()),
            _ => return Err(Error::usage(format!("invalid filter '{name}'"))),
        }
        Ok(())
    }

    /// Whether containers are meant that do not run: somebody has asked for a status.
    #[must_use]
    pub fn means_all(&self) -> bool {
        !self.statuses.is_empty()
    }

    /// Is this one meant?
    #[must_use]
    pub fn fits(&self, container: &Container, state: &State) -> bool {
        self.fits_record(container) && self.fits_state(state) && self.fits_ports(container, state)
    }

    /// By the host's port, as docker has it, and by the container's, as its manual has it.
    fn fits_ports(&self, container: &Container, state: &State) -> bool {
        let asked =
            container.host_config.port_bindings.iter().map(|(port, bindings)| (port, bindings.as_slice()));
        let given = state.ports.iter().filter_map(|(port, bindings)| Some((port, bindings.as_deref()?)));
        let all: Vec<_> = asked.chain(given).collect();
        is_one(&self.published, |wanted| {
            all.iter().any(|(port, bindings)| {
                let protocol = port.split_once('/').map_or("tcp", |(_, protocol)| protocol);
                let of_host =
                    |binding: &PortBinding| wanted.has(&format!("{}/{protocol}", binding.host_port));
                wanted.has(port) || bindings.iter().any(of_host)
            })
        })
    }

    fn fits_state(&self, state: &State) -> bool {
        let has_ended = matches!(state.status, Status::Exited | Status::Dead);
        let health = state.health.as_ref().map_or("none", |health| health.status.as_str());
        (self.exited.is_empty() || has_ended && self.exited.contains(&state.exit_code))
            && is_one(&self.statuses, |status| status == state.status.as_str())
            && is_one(&self.health, |wanted| wanted == health)
    }

    fn fits_record(&self, container: &Container) -> bool {
        let labels = &container.config.labels;
        let has = |(key, value): &(String, Option<String>)| {
            labels.get(key).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        let age = (container.created.as_str(), container.id.as_str());
        let is_older = |other: &(String, String)| earlier(age, (&other.0, &other.1));
        let is_younger = |other: &(String, String)| earlier((&other.0, &other.1), age);
        // Docker's names have a slash before them, and people know.
        is_one(&self.names, |name| name.is_match(&container.name) || name.is_match(&format!("/{}", container.name)))
            && is_one(&self.ids, |id| id.is_match(&container.id))
            && self.labels.iter().all(has)
            && self.before.as_ref().is_none_or(is_older)
            && self.since.as_ref().is_none_or(is_younger)
            && self.ancestors.as_ref().is_none_or(|all| all.iter().any(|image| is_of(container, image)))
            && is_one(&self.volumes, |volume| {
                let is_it = |name: &str| name == volume || name.trim_end_matches('/') == volume.trim_end_matches('/');
                container.mounts.iter().any(|mount| {
                    let name = if mount.name.is_empty() { &mount.source } else { &mount.name };
                    is_it(name) || is_it(&mount.destination)
                })
            })
            && is_one(&self.networks, |network| {
                let is_id = |config: &EndpointConfig| {
                    !network.is_empty() && config.network_id.starts_with(network.as_str())
                };
                super::listing::networks(container).contains(&network.as_str())
                    || container.endpoints.values().any(is_id)
            })
            && is_one(&self.exposed, |wanted| container.config.exposed_ports.keys().any(|port| wanted.has(port)))
            // There are no tasks of a swarm.
            && is_one(&self.tasks, |wanted| !wanted)
    }
}

const STATUSES: [&str; 7] = ["paused", "restarting", "removing", "running", "dead", "created", "exited"];

/// One of these, or nothing was asked for.
fn is_one<T>(wanted: &[T], fits: impl FnMut(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(fits)
}

fn regex(name: &str, value: &str) -> Result<Regex> {
    Regex::new(value).map_err(|error| Error::usage(format!("invalid filter '{name}=[{value}]': {error}")))
}

/// By the moments; two of the same moment by their ids, so that each is before or since the other.
fn earlier(one: (&str, &str), other: (&str, &str)) -> bool {
    let moment = |text: &str| text.parse::<jiff::Timestamp>().unwrap_or(jiff::Timestamp::MIN);
    (moment(one.0), one.1) < (moment(other.0), other.1)
}

fn is_of(container: &Container, image: &Ancestor) -> bool {
    container.image == image.id || !image.layers.is_empty() && container.layers.starts_with(&image.layers)
}

fn ports(text: &str) -> Option<Ports> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    let is_known = matches!(protocol, "tcp" | "udp" | "sctp");
    (is_known && first <= last).then(|| Ports { first, last, protocol: protocol.to_owned() })
}

impl Ports {
    /// `80/tcp`
    fn has(&self, port: &str) -> bool {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        protocol == self.protocol
            && number.parse().is_ok_and(|number| (self.first..=self.last).contains(&number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container;
    use crate::container::listing::tests::container;
    use crate::container::record::MountPoint;

    struct Known;

    impl Lookup for Known {
        fn ancestor(&self, word: &str) -> Result<Option<Ancestor>> {
            let of = |layers: &[&[u8]]| Ancestor {
                id: Digest::of(word.as_bytes()),
                layers: layers.iter().map(|layer| Digest::of(layer)).collect(),
            };
            Ok(match word {
                "image" => Some(of(&[])),
                "base" => Some(of(&[b"1"])),
                "other" => Some(of(&[b"2"])),
                _ => None,
            })
        }

        fn created(&self, word: &str) -> Result<(String, String)> {
            match word {
                "earlier" => Ok(("2025-12-31T00:00:00Z".to_owned(), String::new())),
                "later" => Ok(("2026-01-01T00:00:00.5Z".to_owned(), String::new())),
                "itself" => Ok(("2026-01-01T00:00:00Z".to_owned(), "ab".repeat(32))),
                _ => Err(container::missing(word)),
            }
        }
    }

    fn fits(texts: &[&str]) -> bool {
        let mut container = container("web-1");
        container.layers = vec![Digest::of(b"1"), Digest::of(b"3")];
        container.config.labels =
            [("team".to_owned(), "blue".to_owned()), ("x".to_owned(), String::new())].into();
        container.config.exposed_ports = [("80/tcp".to_owned(), crate::image::config::Empty {})].into();
        container.host_config.port_bindings = [("443/udp".to_owned(), Vec::new())].into();
        container.host_config.network_mode = "host".to_owned();
        container.mounts = vec![MountPoint {
            source: "/srv/data".to_owned(),
            destination: "/data".to_owned(),
            ..MountPoint::default()
        }];
        let state = State { status: Status::Exited, exit_code: 3, ..State::default() };
        Filter::read(texts, &Known).unwrap().fits(&container, &state)
    }

    #[test]
    fn containers_are_filtered_as_docker_does() {
        for (texts, fit) in [
            (&[][..], true),
            (&["name=web"], true),
            (&["name=^/web-1$"], true),
            (&["name=^web-1$"], true),
            (&["name=^eb"], false),
            (&["name=db", "name=we"], true),
            (&["id=abab"], true),
            (&["id=^ba"], false),
            (&["label=team"], true),
            (&["label=team=blue", "label=x"], true),
            (&["label=team=blue", "label=y"], false),
            (&["label=team=red"], false),
            (&["exited=3"], true),
            (&["exited=0"], false),
            (&["exited=0", "exited=3"], true),
            (&["status=exited"], true),
            (&["status=running"], false),
            (&["status=running", "status=exited"], true),
            (&["health=none"], true),
            (&["health=healthy"], false),
            (&["ancestor=image"], true),
            (&["ancestor=base"], true),
            (&["ancestor=other"], false),
            (&["ancestor=missing"], false),
            (&["ancestor=missing", "ancestor=base"], true),
            (&["before=later"], true),
            (&["before=earlier"], false),
            (&["since=earlier"], true),
            (&["since=later"], false),
            (&["since=itself"], false),
            (&["before=itself"], false),
            (&["volume=/data/"], true),
            (&["volume=/srv/data"], true),
            (&["volume=/srv"], false),
            (&["network=host"], true),
            (&["network=none"], false),
            (&["expose=80"], true),
            (&["expose=79-81/tcp"], true),
            (&["expose=80/udp"], false),
            (&["publish=443/udp"], true),
            (&["publish=80"], false),
            (&["is-task=false"], true),
            (&["is-task=true"], false),
        ] {
            assert_eq!(fits(texts), fit, "{texts:?}");
        }
        assert!(Filter::read(&["status=created"], &Known).unwrap().means_all());
    }

    #[test]
    fn what_is_no_filter_is_refused_in_dockers_words() {
        for (text, told) in [
            ("foo=1", "invalid filter 'foo'"),
            ("status=foo", "invalid filter 'status=[foo]'"),
            ("health=ill", "invalid filter 'health=[ill]'"),
            ("exited=x", "invalid filter 'exited=[x]'"),
            ("publish=x", "invalid filter 'publish=[x]'"),
            ("before=nothing", "No such container: nothing"),
        ] {
            assert_eq!(Filter::read(&[text], &Known).unwrap_err().to_string(), told);
        }
        assert!(
            Filter::read(&["name=("], &Known)
                .unwrap_err()
                .to_string()
                .starts_with("invalid filter 'name=[(]': ")
        );
    }
}
