//! What happens to containers, told to whoever asks later: one line of JSON for each event, as Docker's API has them.
//!
//! Events are appended in one write(2) each; a file that has grown is put aside once, so that there are never more than
//! two. They end with the host's uptime. An event that cannot be written is nobody's failure: what happens, happens.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use crate::container::record::Container;
use crate::store::record::Lock;

/// The file's name in the state folder; the one put aside has `.1` behind it.
pub const FILE: &str = "events.json";
/// From how many bytes on a file is put aside.
const FULL: u64 = 4 << 20;

#[derive(Serialize)]
struct Event<'a> {
    status: &'a str,
    id: &'a str,
    from: &'a str,
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(rename = "Action")]
    action: &'a str,
    #[serde(rename = "Actor")]
    actor: Actor<'a>,
    scope: &'static str,
    time: i64,
    #[serde(rename = "timeNano")]
    time_nano: i128,
}

#[derive(Serialize)]
struct Actor<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "Attributes", serialize_with = "as_map")]
    attributes: Vec<(&'a str, &'a str)>,
}

fn as_map<S: Serializer>(attributes: &[(&str, &str)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(attributes.len()))?;
    attributes.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
    map.end()
}

/// Tells an event of a container: `create`, `start`, `die`, `stop`, `kill`, `oom`, `pause`, `unpause`, `restart`, `rename`,
/// `destroy`, `attach`, `detach`, `exec_create: …`, `exec_start: …`, `health_status: healthy`. Attributes are the action's own (`exitCode`,
/// `signal`); the container's labels, image and name are added. `state` is the state folder.
pub fn emit(state: &Path, action: &str, container: &Container, attributes: &[(&str, &str)]) {
    let labels = container.config.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut all: Vec<(&str, &str)> = labels.collect();
    all.extend(attributes);
    all.extend([("image", container.config.image.as_str()), ("name", &container.name)]);
    let now = jiff::Timestamp::now();
    let event = Event {
        status: action,
        id: &container.id,
        from: &container.config.image,
        kind: "container",
        action,
        actor: Actor { id: &container.id, attributes: all },
        scope: "local",
        time: now.as_second(),
        time_nano: now.as_nanosecond(),
    };
    let Ok(mut line) = serde_json::to_vec(&event) else { return };
    line.push(b'\n');
    let _ = append(state, &line);
}

fn append(state: &Path, line: &[u8]) -> crate::error::Result<()> {
    let path = state.join(FILE);
    // Shared by nobody: the file must not be put aside between its opening and the write.
    let _lock = Lock::exclusive(&state.join("events.lock"))?;
    let open = || OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
    let mut file = open()?;
    if file.metadata()?.len() > FULL {
        fs::rename(&path, state.join(format!("{FILE}.1")))?;
        file = open()?;
    }
    Ok(file.write_all(line)?)
}
