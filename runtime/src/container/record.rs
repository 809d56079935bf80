//! What is remembered of a container: the one JSON document that `create` writes and everyone reads.
//!
//! It holds what cannot be asked of the kernel later, and never a status. The form has a version: a record of
//! another version is refused, whoever asks, because its meaning is not known here.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{ContainerState, State, StateBuilder};
use serde::{Deserialize, Serialize};

use super::{CgroupRecord, ContainerId, ProcessId};
use crate::error::{Error, Kind, Result};
use crate::spec::{Hooks, Resources};

/// The version of the form that is written and read.
pub const VERSION: u32 = 1;

/// One container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// The container's id, which is also the name of its folder.
    pub id: ContainerId,
    /// Version of the specification that the state document follows.
    pub oci_version: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root file system.
    pub rootfs: PathBuf,
    /// When it was made, RFC 3339 with nanoseconds.
    pub created: String,
    /// From config.json.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Whether `create` has not finished.
    pub creating: bool,
    /// Who makes it.
    pub creator: ProcessId,
    /// The container's first process; none before it is made.
    pub init: Option<ProcessId>,
    /// Its cgroup; none where there is no cgroup2 to be had.
    pub cgroup: Option<CgroupRecord>,
    /// Its limits as `create` set them and `update` has changed them, without the device rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Folders of resctrl that were made for it and go with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intel_rdt: Vec<String>,
    /// Whether the end of init leaves its other processes alive (pid_namespaces(7)).
    pub shares_pid_namespace: bool,
    /// Whether its processes keep the session keyring of who called the runtime (`--no-new-keyring`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_keyring: bool,
    /// The poststart and poststop hooks: config.json may be gone or changed when their time comes.
    #[serde(default)]
    pub hooks: Hooks,
    /// The pipes that the program got as standard input, output and error, by inode; 0 for anything else.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub pipes: [u64; 3],
    /// Whether its processes come from images: they were forked by CRIU and have executed nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restored: bool,
    /// Where its seccomp listener goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp_notify: Option<SeccompNotify>,
    /// User id of whom it belongs to.
    pub owner: u32,
}

/// `linux.seccomp.listenerPath` and `listenerMetadata` (config-linux.md "Seccomp").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeccompNotify {
    /// Unix socket of the agent.
    pub listener_path: PathBuf,
    /// Opaque text for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_metadata: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde calls it so
fn is_empty(pipes: &[u64; 3]) -> bool {
    *pipes == [0; 3]
}

/// The one field that every version has.
#[derive(Deserialize)]
struct Probe {
    version: u32,
}

impl Record {
    /// Reads a record; `path` is for messages.
    ///
    /// # Errors
    /// Kind `Other` for what is no record; kind `Status` for one of another version.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        if let Ok(Probe { version }) = serde_json::from_slice(bytes)
            && version != VERSION
        {
            let path = path.display();
            return Err(Error::new(
                Kind::Status,
                format!(
                    "{path} has version {version}, this runtime knows {VERSION}: use the runtime that created the container"
                ),
            ));
        }
        serde_json::from_slice(bytes).map_err(|error| Error::other(format!("{}: {error}", path.display())))
    }

    /// The bytes of the record.
    ///
    /// # Errors
    /// A path that is not UTF-8.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::other(format!("write the record of {}: {error}", self.id)))
    }

    /// The state document of the specification (runtime.md "State") for hooks and seccomp agents.
    pub fn state(&self, status: ContainerState) -> Result<State> {
        let mut state = StateBuilder::default()
            .version(self.oci_version.clone())
            .id(self.id.as_str())
            .status(status)
            .bundle(self.bundle.clone());
        if let (Some(init), true) = (self.init, status != ContainerState::Stopped) {
            state = state.pid(init.pid);
        }
        if !self.annotations.is_empty() {
            let annotations: HashMap<_, _> = self.annotations.clone().into_iter().collect();
            state = state.annotations(annotations);
        }
        state.build().map_err(|error| Error::other(format!("state of {}: {error}", self.id)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record of a container that this process is the init of.
    pub(crate) fn record(id: &str) -> Record {
        let me = ProcessId::current().unwrap();
        Record {
            version: VERSION,
            id: ContainerId::parse(id).unwrap(),
            oci_version: "1.3.0".into(),
            bundle: "/".into(),
            rootfs: "/rootfs".into(),
            created: "2026-01-02T03:04:05.000000006Z".into(),
            annotations: BTreeMap::from([("k".into(), "v".into())]),
            creating: false,
            creator: me,
            init: Some(me),
            cgroup: None,
            resources: None,
            intel_rdt: Vec::new(),
            shares_pid_namespace: false,
            keeps_keyring: false,
            hooks: Hooks::default(),
            pipes: [0; 3],
            restored: false,
            seccomp_notify: None,
            owner: 0,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut full = record("web");
        full.cgroup = Some(CgroupRecord {
            mount: "/sys/fs/cgroup".into(),
            path: "web".into(),
            created: 1,
            manager: crate::cgroup::Manager::Files,
        });
        full.resources =
            serde_json::from_str(r#"{"pids":{"limit":5},"unified":{"memory.high":"1"}}"#).unwrap();
        full.shares_pid_namespace = true;
        full.seccomp_notify =
            Some(SeccompNotify { listener_path: "/run/agent".into(), listener_metadata: Some("m".into()) });
        for record in [record("web"), full] {
            assert_eq!(Record::parse(&record.to_bytes().unwrap(), Path::new("x")).unwrap(), record);
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let text = Record::parse(br#"{"version":2,"id":7}"#, Path::new("/r/web/state.json"))
            .unwrap_err()
            .to_string();
        assert!(text.starts_with("/r/web/state.json has version 2, this runtime knows 1"), "{text}");
    }

    /// Cut at every length, a record is an error and never a panic.
    #[test]
    fn every_half_of_a_record_is_an_error() {
        let bytes = record("web").to_bytes().unwrap();
        for length in 0..bytes.len() {
            assert!(Record::parse(&bytes[..length], Path::new("x")).is_err(), "{length}");
        }
        for bytes in [&b"null"[..], b"[]", b"{}", b"\xff", b"{\"version\":-1}", b"{\"version\":1}"] {
            assert!(Record::parse(bytes, Path::new("x")).is_err());
        }
    }

    #[test]
    fn the_state_names_the_pid_while_there_is_one() {
        let record = record("web");
        let created = serde_json::to_value(record.state(ContainerState::Created).unwrap()).unwrap();
        assert_eq!(
            created,
            serde_json::json!({"ociVersion": "1.3.0", "id": "web", "status": "created",
                "pid": record.init.unwrap().pid, "bundle": "/", "annotations": {"k": "v"}})
        );
        let stopped = serde_json::to_value(record.state(ContainerState::Stopped).unwrap()).unwrap();
        assert_eq!(stopped.get("pid"), None);
    }
}
