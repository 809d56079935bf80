//! `features`: what this binary supports, whatever the host does (features.md, features-linux.md).
//!
//! Engines read it at their start and believe it: what is named here has to be carried out. Docker and
//! CRI-O take stdout and stderr together, so nothing else is written.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::cli::{COMMIT, Globals, NAME, VERSION};
use crate::error::{Error, Result};
use crate::plan::{mount, seccomp};
use crate::report::{Log, to_stdout};
use crate::spec;

/// features.md "Features Structure".
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: &'static [&'static str],
    mount_options: Vec<&'static str>,
    linux: Linux,
    annotations: Annotations,
    /// Annotations of config.json that change what this runtime does.
    potentially_unsafe_config_annotations: [&'static str; 2],
}

/// features-linux.md.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: &'static [&'static str],
    capabilities: Vec<String>,
    cgroup: Cgroup,
    seccomp: Seccomp,
    apparmor: Enabled,
    selinux: Enabled,
    intel_rdt: IntelRdt,
    mount_extensions: MountExtensions,
    net_devices: Enabled,
    memory_policy: MemoryPolicy,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: Vec<&'static str>,
    operators: Vec<&'static str>,
    archs: Vec<&'static str>,
    known_flags: Vec<&'static str>,
    supported_flags: Vec<&'static str>,
}

#[derive(Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Serialize)]
struct IntelRdt {
    enabled: bool,
    schemata: bool,
    monitoring: bool,
}

#[derive(Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

#[derive(Serialize)]
struct MemoryPolicy {
    modes: &'static [&'static str],
    flags: &'static [&'static str],
}

#[derive(Serialize)]
struct Annotations {
    #[serde(rename = "org.caisson.runtime.commit")]
    commit: &'static str,
    #[serde(rename = "org.caisson.runtime.name")]
    name: &'static str,
    #[serde(rename = "org.caisson.runtime.version")]
    version: &'static str,
    /// runc's name for it. Whether the host has a CRIU is not asked: the document is about this binary.
    #[serde(rename = "org.opencontainers.runc.checkpoint.enabled")]
    checkpoint: &'static str,
}

const HOOKS: &[&str] =
    &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Carries out `features`.
///
/// # Errors
/// A stdout that cannot be written to.
pub fn execute(_globals: &Globals, _log: &mut Log) -> Result<u8> {
    to_stdout(&document()?)?;
    Ok(0)
}

/// The document, indented by four spaces as runc's is, with a newline at its end.
fn document() -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(8192);
    let mut serializer = Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    features().serialize(&mut serializer).map_err(|error| Error::other(format!("write JSON: {error}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn features() -> Features {
    Features {
        oci_version_min: "1.0.0",
        oci_version_max: spec::VERSION,
        hooks: HOOKS,
        mount_options: mount::option_names().collect(),
        linux: Linux {
            namespaces: &spec::NAMESPACES,
            capabilities: capabilities(),
            cgroup: Cgroup { v1: false, v2: true, systemd: true, systemd_user: true, rdma: true },
            seccomp: seccomp_features(),
            apparmor: Enabled { enabled: true },
            selinux: Enabled { enabled: true },
            intel_rdt: IntelRdt { enabled: true, schemata: true, monitoring: true },
            mount_extensions: MountExtensions { idmap: Enabled { enabled: true } },
            net_devices: Enabled { enabled: true },
            memory_policy: MemoryPolicy { modes: &spec::MEMORY_MODES, flags: &spec::MEMORY_FLAGS },
        },
        annotations: Annotations { commit: COMMIT, name: NAME, version: VERSION, checkpoint: "true" },
        // A name that ends with a point is a prefix (features.md).
        potentially_unsafe_config_annotations: ["org.systemd.property.", "org.criu.config"],
    }
}

/// linux.seccomp: what the profile's compiler reads, and which flags this kernel has.
fn seccomp_features() -> Seccomp {
    Seccomp {
        enabled: true,
        actions: seccomp::known_actions(),
        operators: seccomp::known_operators(),
        archs: seccomp::known_archs(),
        known_flags: seccomp::known_flags(),
        supported_flags: seccomp::supported_flags(sys::seccomp::supported_flags()),
    }
}

/// The names in the order of their numbers.
fn capabilities() -> Vec<String> {
    let mut all: Vec<caps::Capability> = caps::all().into_iter().collect();
    all.sort_unstable_by_key(|capability| capability.index());
    all.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_what_engines_read() {
        let text = String::from_utf8(document().unwrap()).unwrap();
        assert!(
            text.starts_with("{\n    \"ociVersionMin\": \"1.0.0\",\n    \"ociVersionMax\": \"1.3.0\",\n")
        );
        assert!(text.ends_with("\n}\n"));
        assert!(!text.contains("null"));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let linux = &value["linux"];
        // containerd asks for the first two, CRI for the third.
        assert_eq!(linux["mountExtensions"]["idmap"]["enabled"], true);
        assert!(linux["namespaces"].as_array().unwrap().contains(&"user".into()));
        assert!(value["mountOptions"].as_array().unwrap().contains(&"rro".into()));
        assert_eq!(linux["cgroup"]["v1"], false);
        assert_eq!(linux["capabilities"][0], "CAP_CHOWN");
        assert_eq!(linux["capabilities"][40], "CAP_CHECKPOINT_RESTORE");
        assert_eq!(linux["capabilities"].as_array().unwrap().len(), 41);
    }

    #[test]
    fn oci_specs_own_type_reads_it() {
        serde_json::from_slice::<oci_spec::runtime::Features>(&document().unwrap()).unwrap();
    }

    #[test]
    fn lists_are_sorted_and_free_of_duplicates() {
        let features = features();
        let seccomp = features.linux.seccomp;
        for list in
            [features.mount_options, seccomp.actions, seccomp.operators, seccomp.archs, seccomp.known_flags]
        {
            assert!(list.is_sorted_by(|a, b| a < b), "{list:?}");
        }
    }
}
