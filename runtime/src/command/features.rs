//! `features`: what this binary supports, whatever the host does (features.md, features-linux.md).
//!
//! Engines read it at their start and believe it: what is named here has to be carried out. Docker and
//! CRI-O take stdout and stderr together, so nothing else is written.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::cli::{COMMIT, Globals, NAME, VERSION};
use crate::error::{Error, Result};
use crate::report::{Log, to_stdout};
use crate::spec;

/// features.md "Features Structure".
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: &'static [&'static str],
    mount_options: &'static [&'static str],
    linux: Linux,
    annotations: Annotations,
    /// No annotation of config.json changes what this runtime does.
    potentially_unsafe_config_annotations: [&'static str; 0],
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
    actions: &'static [&'static str],
    operators: &'static [&'static str],
    archs: &'static [&'static str],
    known_flags: &'static [&'static str],
    supported_flags: &'static [&'static str],
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
}

const HOOKS: &[&str] =
    &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Mount options that are not a file system's own data (config.md "Linux mount options", mount(8)).
const MOUNT_OPTIONS: &[&str] = &[
    "acl",
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noacl",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

/// linux.seccomp: what the profile's compiler reads.
const SECCOMP: Seccomp = Seccomp {
    enabled: true,
    actions: &[
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_TRAP",
    ],
    operators: &[
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_LE",
        "SCMP_CMP_LT",
        "SCMP_CMP_MASKED_EQ",
        "SCMP_CMP_NE",
    ],
    archs: &[
        "SCMP_ARCH_AARCH64",
        "SCMP_ARCH_ARM",
        "SCMP_ARCH_LOONGARCH64",
        "SCMP_ARCH_MIPS",
        "SCMP_ARCH_MIPS64",
        "SCMP_ARCH_MIPS64N32",
        "SCMP_ARCH_MIPSEL",
        "SCMP_ARCH_MIPSEL64",
        "SCMP_ARCH_MIPSEL64N32",
        "SCMP_ARCH_PPC",
        "SCMP_ARCH_PPC64",
        "SCMP_ARCH_PPC64LE",
        "SCMP_ARCH_RISCV64",
        "SCMP_ARCH_S390",
        "SCMP_ARCH_S390X",
        "SCMP_ARCH_X32",
        "SCMP_ARCH_X86",
        "SCMP_ARCH_X86_64",
    ],
    known_flags: SECCOMP_FLAGS,
    supported_flags: SECCOMP_FLAGS,
};

const SECCOMP_FLAGS: &[&str] = &[
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

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
        mount_options: MOUNT_OPTIONS,
        linux: Linux {
            namespaces: &spec::NAMESPACES,
            capabilities: capabilities(),
            cgroup: Cgroup { v1: false, v2: true, systemd: false, systemd_user: false, rdma: true },
            seccomp: SECCOMP,
            apparmor: Enabled { enabled: true },
            selinux: Enabled { enabled: true },
            intel_rdt: IntelRdt { enabled: true, schemata: true, monitoring: true },
            mount_extensions: MountExtensions { idmap: Enabled { enabled: true } },
            net_devices: Enabled { enabled: true },
            memory_policy: MemoryPolicy { modes: &spec::MEMORY_MODES, flags: &spec::MEMORY_FLAGS },
        },
        annotations: Annotations { commit: COMMIT, name: NAME, version: VERSION },
        potentially_unsafe_config_annotations: [],
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
        for list in [MOUNT_OPTIONS, SECCOMP.actions, SECCOMP.operators, SECCOMP.archs, SECCOMP_FLAGS] {
            assert!(list.is_sorted_by(|a, b| a < b), "{list:?}");
        }
    }
}
