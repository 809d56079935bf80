//! A description of devices, as a file has it (SPEC.md, "CDI JSON Specification"). What is not known is refused: it would
//! be asked for and not done.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::cdi::name;
use crate::error::{Error, Result};

/// Versions that are understood.
const VERSIONS: [&str; 8] = ["0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"];

/// The document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Description {
    /// One of the specification's.
    pub cdi_version: String,
    /// `vendor.com/class`
    pub kind: String,
    /// For people.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// At least one.
    pub devices: Vec<Device>,
    /// Once for all of its devices together.
    #[serde(default)]
    pub container_edits: ContainerEdits,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// Its own name.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// What is done for it.
    pub container_edits: ContainerEdits,
}

/// What is done to a container's document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerEdits {
    /// `NAME=value`
    pub env: Vec<String>,
    /// Nodes in /dev.
    pub device_nodes: Vec<DeviceNode>,
    /// The host's network devices that move into it (1.1.0).
    pub net_devices: Vec<NetDevice>,
    /// Hooks of the runtime's.
    pub hooks: Vec<Hook>,
    /// Files and folders.
    pub mounts: Vec<Mount>,
    /// Intel's Resource Director Technology (0.7.0).
    pub intel_rdt: Option<IntelRdt>,
    /// Further groups (0.7.0).
    #[serde(rename = "additionalGids")]
    pub additional_gids: Vec<u32>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceNode {
    /// Inside.
    pub path: String,
    /// On the host; the same where it is empty (0.5.0).
    pub host_path: String,
    /// `b`, `c`, `u`, `p`; the host's own where it is empty.
    #[serde(rename = "type")]
    pub kind: String,
    /// Number.
    pub major: u32,
    /// Number.
    pub minor: u32,
    /// Rights of the file.
    pub file_mode: Option<u32>,
    /// Of `rwm`.
    pub permissions: String,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetDevice {
    /// On the host.
    pub host_interface_name: String,
    /// Inside.
    #[serde(default)]
    pub name: String,
}

/// A hook.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    /// When: `createContainer`, …
    pub hook_name: String,
    /// The host's program.
    pub path: String,
    /// Its arguments, with its name.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its environment.
    #[serde(default)]
    pub env: Vec<String>,
    /// In seconds.
    #[serde(default)]
    pub timeout: Option<i64>,
}

/// Hooks that there are.
pub const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// On the host.
    pub host_path: String,
    /// Inside.
    pub container_path: String,
    /// How.
    pub options: Vec<String>,
    /// File system; a bind where it is empty (0.4.0).
    #[serde(rename = "type")]
    pub kind: String,
}

/// `linux.intelRdt`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntelRdt {
    /// Class of service.
    #[serde(rename = "closID")]
    pub clos_id: String,
    /// Cache.
    #[serde(rename = "l3CacheSchema")]
    pub l3_cache_schema: String,
    /// Memory's bandwidth.
    #[serde(rename = "memBwSchema")]
    pub mem_bw_schema: String,
    /// Monitoring (1.1.0).
    #[serde(rename = "enableMonitoring")]
    pub enable_monitoring: bool,
    /// Schemata (1.1.0).
    pub schemata: Vec<String>,
    /// Monitoring, as before 1.1.0.
    #[serde(rename = "enableCMT")]
    pub enable_cmt: bool,
    /// Likewise.
    #[serde(rename = "enableMBM")]
    pub enable_mbm: bool,
}

impl Description {
    /// Reads a file's bytes, JSON or YAML by its name, and checks them.
    ///
    /// # Errors
    /// What is none, with the reason.
    pub fn parse(bytes: &[u8], is_yaml: bool) -> Result<Description> {
        let wrong = |error: serde_json::Error| Error::invalid(error.to_string());
        let description: Description = if is_yaml {
            serde_json::from_value(super::yaml::parse(bytes)?).map_err(wrong)?
        } else {
            serde_json::from_slice(bytes).map_err(wrong)?
        };
        description.check()?;
        Ok(description)
    }

    fn check(&self) -> Result<()> {
        let version = self.cdi_version.trim_start_matches('v');
        if !VERSIONS.contains(&version) {
            return Err(Error::invalid(format!("cdiVersion {:?} is not known", self.cdi_version)));
        }
        if !name::is_kind(&self.kind) {
            return Err(Error::invalid(format!("kind {:?} is not of the form VENDOR/CLASS", self.kind)));
        }
        let mut names = BTreeSet::new();
        self.container_edits.check()?;
        for device in &self.devices {
            let of = |reason: &str| Error::invalid(format!("device {:?}: {reason}", device.name));
            if !name::is_device(&device.name) {
                return Err(of("it is no name"));
            }
            if !names.insert(&device.name) {
                return Err(of("it is there twice"));
            }
            device.container_edits.check().map_err(|error| of(&error.to_string()))?;
        }
        Ok(())
    }
}

impl ContainerEdits {
    fn check(&self) -> Result<()> {
        let wrong = |words: String| Err(Error::invalid(words));
        if let Some(text) = self.env.iter().find(|text| text.find('=').is_none_or(|at| at == 0)) {
            return wrong(format!("env {text:?} is not of the form NAME=value"));
        }
        for node in &self.device_nodes {
            if !node.path.starts_with('/') {
                return wrong(format!("deviceNodes path {:?} is not absolute", node.path));
            }
            if !matches!(node.kind.as_str(), "" | "b" | "c" | "u" | "p") {
                return wrong(format!("deviceNodes type {:?} is not known", node.kind));
            }
            if !node.permissions.chars().all(|char| "rwm".contains(char)) {
                return wrong(format!("deviceNodes permissions {:?} are not of rwm", node.permissions));
            }
        }
        if let Some(device) = self.net_devices.iter().find(|device| device.host_interface_name.is_empty()) {
            return wrong(format!("netDevices {:?} has no hostInterfaceName", device.name));
        }
        for mount in &self.mounts {
            if mount.host_path.is_empty() || !mount.container_path.starts_with('/') {
                let Mount { host_path, container_path, .. } = mount;
                return wrong(format!("mount of {host_path:?} at {container_path:?}: both have to be paths"));
            }
        }
        for hook in &self.hooks {
            if !HOOKS.contains(&hook.hook_name.as_str()) {
                return wrong(format!("hookName {:?} is not known", hook.hook_name));
            }
            if !hook.path.starts_with('/') {
                return wrong(format!("path {:?} of a hook is not absolute", hook.path));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "---\ncdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: \"0\"\n  containerEdits:\n    \
        deviceNodes:\n    - path: /dev/nvidia0\n      fileMode: 438\n      permissions: rw\ncontainerEdits:\n  env:\n  - \
        A=b\n  hooks:\n  - hookName: createContainer\n    path: /usr/bin/hook\n    args: [hook, --x]\n";

    #[test]
    fn yaml_and_json_say_the_same() {
        let json = r#"{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [{"name": "0", "containerEdits":
            {"deviceNodes": [{"path": "/dev/nvidia0", "fileMode": 438, "permissions": "rw"}]}}], "containerEdits":
            {"env": ["A=b"], "hooks": [{"hookName": "createContainer", "path": "/usr/bin/hook", "args": ["hook", "--x"]}]}}"#;
        let of_yaml = Description::parse(YAML.as_bytes(), true).unwrap();
        assert_eq!(of_yaml, Description::parse(json.as_bytes(), false).unwrap());
        assert_eq!(of_yaml.devices[0].container_edits.device_nodes[0].file_mode, Some(0o666));
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (from, to, reason) in [
            ("0.5.0", "9.0.0", "cdiVersion \"9.0.0\" is not known"),
            ("nvidia.com/gpu", "nvidia", "kind \"nvidia\" is not of the form"),
            ("\"0\"", "\"/\"", "device \"/\": it is no name"),
            ("A=b", "=b", "env \"=b\" is not of the form"),
            ("/dev/nvidia0", "nvidia0", "device \"0\": deviceNodes path \"nvidia0\" is not absolute"),
            ("permissions: rw", "permissions: rx", "permissions \"rx\""),
            ("createContainer", "later", "hookName \"later\" is not known"),
            ("/usr/bin/hook", "hook", "path \"hook\" of a hook is not absolute"),
            ("fileMode", "mode", "unknown field `mode`"),
            ("---", "- x", ""),
        ] {
            let error = Description::parse(YAML.replace(from, to).as_bytes(), true).unwrap_err().to_string();
            assert!(error.contains(reason), "{to}: {error}");
        }
    }
}
