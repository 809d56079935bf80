//! What happens to containers, images, networks and volumes, told to whoever asks later: one line of JSON for each event, as
//! Docker's API has them.
//!
//! Events are appended in one write(2) each; a file that has grown is put aside once, so that there are never more than
//! two. They end with the host's uptime. An event that cannot be written is nobody's failure: what happens, happens.

pub mod filter;
pub mod read;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::container::record::Container;
use crate::digest::Digest;
use crate::error::Result;
use crate::image::config::{CONFIG_MAX, ImageConfig};
use crate::store::Store;
use crate::store::record::Lock;

/// The file's name in the state folder; the one put aside has `.1` behind it.
pub const FILE: &str = "events.json";
/// The file that was put aside.
pub const ASIDE: &str = "events.json.1";
/// Around each change of the two.
const LOCK: &str = "events.lock";
/// From how many bytes on a file is put aside.
const FULL: u64 = 4 << 20;
/// Longest labels of an event together, in bytes: images come from outside, and their labels are in every event of theirs.
const LABELS_MAX: usize = 1 << 16;

/// One event, with the keys of Docker's API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// The action again, of containers and images.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// The actor's id again, likewise.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// A container's image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// `container`, `image`, `network`, `volume`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What has happened.
    #[serde(rename = "Action")]
    pub action: String,
    /// To whom.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// `local`
    pub scope: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// To whom something has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    /// An id, or a name where there is none.
    #[serde(rename = "ID")]
    pub id: String,
    /// What else is known: labels, and what belongs to the action.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// Tells an event of a container: `create`, `start`, `die`, `stop`, `kill`, `oom`, `pause`, `unpause`, `restart`, `rename`,
/// `destroy`, `attach`, `detach`, `exec_create: …`, `exec_start: …`, `health_status: healthy`. Attributes are the action's own (`exitCode`,
/// `signal`); the container's labels, image and name are added. `state` is the state folder.
pub fn emit(state: &Path, action: &str, container: &Container, attributes: &[(&str, &str)]) {
    let image = container.config.image.as_str();
    let mut all = labels(&container.config.labels);
    all.extend(owned(attributes));
    all.extend(owned(&[("image", image), ("name", &container.name)]));
    let event = Event {
        status: action.to_owned(),
        id: container.id.clone(),
        from: image.to_owned(),
        ..Event::of("container", action, &container.id, all)
    };
    event.write(state);
}

/// Tells an event of an image: `pull`, `load`, `import`, `save`, `tag`, `untag`, `delete`, `prune`. `actor` and `name` are what
/// Docker calls it in events of this kind; the labels are those of `image`, if it is there.
pub fn image(store: &Store, action: &str, image: Option<&Digest>, actor: &str, name: &str) {
    let mut all = image.map(|image| labels(&labels_of(store, image))).unwrap_or_default();
    all.extend(owned(&[("name", name)]));
    let event =
        Event { status: action.to_owned(), id: actor.to_owned(), ..Event::of("image", action, actor, all) };
    event.write(store.folders.state());
}

/// Tells an event of a network by its id: `create`, `connect`, `disconnect`, `destroy`. Docker's attributes are `name`, `type`
/// (the driver) and, of an end in a container, `container` (its id). `state` is the state folder.
pub fn network(state: &Path, action: &str, id: &str, attributes: &[(&str, &str)]) {
    Event::of("network", action, id, owned(attributes).collect()).write(state);
}

/// Tells an event of a volume by its name: `create`, `mount`, `unmount`, `destroy`. Docker's attributes are `driver` and, of a
/// container that uses it, `container` (its id), `destination`, `propagation` and `read/write`. `state` is the state folder.
pub fn volume(state: &Path, action: &str, name: &str, attributes: &[(&str, &str)]) {
    Event::of("volume", action, name, owned(attributes).collect()).write(state);
}

/// Tells that things of a kind were removed that nobody used, and how many bytes that has freed.
pub fn prune(state: &Path, kind: &str, freed: u64) {
    Event::of(kind, "prune", "", owned(&[("reclaimed", &freed.to_string())]).collect()).write(state);
}

fn owned<'a>(pairs: &'a [(&str, &str)]) -> impl Iterator<Item = (String, String)> + use<'a> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
}

/// Labels as attributes, as far as they are not too long together.
fn labels(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut left = LABELS_MAX;
    let fits = |(name, value): &(&String, &String)| {
        let length = name.len() + value.len();
        let fits = length <= left;
        left -= if fits { length } else { 0 };
        fits
    };
    labels.iter().filter(fits).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// None where they cannot be read: the event is told all the same.
fn labels_of(store: &Store, image: &Digest) -> BTreeMap<String, String> {
    let config = store.content.read(image, CONFIG_MAX).and_then(|bytes| ImageConfig::parse(&bytes)).ok();
    config.and_then(|config| config.config?.labels).unwrap_or_default().into_iter().collect()
}

impl Event {
    fn of(kind: &str, action: &str, actor: &str, attributes: BTreeMap<String, String>) -> Event {
        Event {
            kind: kind.to_owned(),
            action: action.to_owned(),
            actor: Actor { id: actor.to_owned(), attributes },
            scope: "local".to_owned(),
            ..Event::default()
        }
    }

    fn write(self, state: &Path) {
        let _ = self.append(state);
    }

    fn append(mut self, state: &Path) -> Result<()> {
        let path = state.join(FILE);
        // The file must not be put aside between its opening and the write, and the times are in order.
        let _lock = Lock::exclusive(&state.join(LOCK))?;
        let now = jiff::Timestamp::now();
        self.time = now.as_second();
        self.time_nano = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
        let open = || OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
        let mut file = open()?;
        let mut length = file.metadata()?.len();
        if length > FULL {
            fs::rename(&path, state.join(ASIDE))?;
            file = open()?;
            length = 0;
        }
        let mut line = Vec::new();
        if ends_in_the_middle(&file, length) {
            line.push(b'\n');
        }
        serde_json::to_writer(&mut line, &self).map_err(std::io::Error::other)?;
        line.push(b'\n');
        Ok(file.write_all(&line)?)
    }
}

/// A full disk, or a kill, may have cut the last line short: the next one is not to be lost with it.
fn ends_in_the_middle(file: &File, length: u64) -> bool {
    let mut last = [b'\n'];
    length > 0 && file.read_exact_at(&mut last, length - 1).is_ok() && last != [b'\n']
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::listing::tests::container;
    use crate::store::scratch::Scratch;

    fn lines(state: &Path) -> Vec<Event> {
        let text = fs::read_to_string(state.join(FILE)).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    #[test]
    fn events_have_dockers_keys_and_a_label_changes_nothing_of_our_own() {
        let scratch = Scratch::new();
        let mut made = container("web");
        made.config.labels =
            [("name".to_owned(), "evil".to_owned()), ("team".to_owned(), "blue".to_owned())].into();
        emit(scratch.path(), "die", &made, &[("exitCode", "3")]);
        network(scratch.path(), "connect", "n1", &[("name", "net"), ("type", "bridge")]);
        let text = fs::read_to_string(scratch.join(FILE)).unwrap();
        let first = text.lines().next().unwrap();
        let (id, image) = (&made.id, &made.config.image);
        let begin = format!(
            "{{\"status\":\"die\",\"id\":\"{id}\",\"from\":\"{image}\",\"Type\":\"container\",\"Action\":\"die\",\
             \"Actor\":{{\"ID\":\"{id}\",\"Attributes\":{{\"exitCode\":\"3\",\"image\":\"{image}\",\"name\":\"web\",\
             \"team\":\"blue\"}}}},\"scope\":\"local\",\"time\":"
        );
        assert!(first.starts_with(&begin), "{first}");
        let second = text.lines().nth(1).unwrap();
        assert!(
            second.starts_with("{\"Type\":\"network\",\"Action\":\"connect\",\"Actor\":{\"ID\":\"n1\""),
            "{second}"
        );
    }

    #[test]
    fn labels_of_an_image_have_a_bound() {
        let all: BTreeMap<String, String> =
            [("a".to_owned(), "x".repeat(LABELS_MAX)), ("b".to_owned(), "y".to_owned())].into();
        assert_eq!(labels(&all).into_keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_line_that_was_cut_short_takes_none_with_it_and_a_full_file_is_put_aside_once() {
        let scratch = Scratch::new();
        fs::write(scratch.join(FILE), "{\"Type\":\"cont").unwrap();
        volume(scratch.path(), "create", "data", &[("driver", "local")]);
        assert_eq!(lines(scratch.path())[0].actor.id, "data");
        OpenOptions::new().write(true).open(scratch.join(FILE)).unwrap().set_len(FULL + 1).unwrap();
        volume(scratch.path(), "destroy", "data", &[]);
        assert_eq!(lines(scratch.path()).len(), 1);
        assert_eq!(fs::metadata(scratch.join(ASIDE)).unwrap().len(), FULL + 1);
    }
}
