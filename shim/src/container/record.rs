//! What was asked for when a container was made: `container.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::container::config::Config;
use crate::container::host_config::HostConfig;
use crate::digest::Digest;
use crate::network::EndpointConfig;

/// The document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without a slash.
    pub name: String,
    /// When it was made, as RFC 3339 has it.
    pub created: String,
    /// The image's id.
    pub image: Digest,
    /// Chain ids of the image's layers, the lowest first.
    pub layers: Vec<Digest>,
    /// Its program, as the document for the runtime has it.
    pub path: String,
    /// And the program's arguments.
    pub args: Vec<String>,
    /// What its program sees.
    pub config: Config,
    /// What the host does for it.
    pub host_config: HostConfig,
    /// What is mounted in its root.
    #[serde(default)]
    pub mounts: Vec<MountPoint>,
    /// Its networks by name, and what was asked for there; none where its mode is no network.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<String, EndpointConfig>,
    /// The OCI runtime's binary.
    pub runtime_path: PathBuf,
    /// Labels of SELinux and the profile of AppArmor, as in force.
    #[serde(default)]
    pub mount_label: String,
    /// Likewise.
    #[serde(default)]
    pub process_label: String,
    /// Likewise.
    #[serde(default)]
    pub app_armor_profile: String,
}

/// What is mounted in a container's root, as Docker tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MountPoint {
    /// `bind`, `tmpfs`, `volume`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// A volume's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Of the host.
    pub source: String,
    /// Inside.
    pub destination: String,
    /// A volume's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// As written: `ro`, `z`, …
    pub mode: String,
    /// It can be written to.
    #[serde(rename = "RW")]
    pub rw: bool,
    /// `rprivate`, …
    pub propagation: String,
    /// Ours: how the runtime mounts it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Ours: what of a volume is seen.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
    /// Ours: a volume that nobody has named goes with its container, if that is asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
}

impl MountPoint {
    /// What Docker tells of it.
    #[must_use]
    pub fn told(&self) -> MountPoint {
        MountPoint { options: Vec::new(), subpath: String::new(), anonymous: false, ..self.clone() }
    }
}
