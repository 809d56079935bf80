//! The container configuration of the OCI runtime specification 1.3.0 as plain data.
//!
//! Own types rather than `oci-spec`'s, which refuse documents the specification allows (unknown
//! capabilities, two scheduler flags, large hugepage limits, empty CPU lists) and cannot tell an absent
//! field from a zero. Unknown fields are ignored and `null` means absent, as Go's decoder has it. Nothing
//! here judges a value: `validate` does.

mod linux;
mod load;
mod object;
mod place;
mod process;
mod validate;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

pub use linux::*;
pub use load::{LARGEST, parse, process, read, resources};
pub use process::*;
pub use validate::{MEMORY_FLAGS, MEMORY_MODES, NAMESPACES, sysctl_file, validate, validate_process};

object::objects! {
    read: Spec Root Mount;
    both: Hooks Hook
}

/// The newest version of the specification that is implemented.
pub const VERSION: &str = "1.3.0";

/// config.json (config.md).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self", expecting = "an object")]
pub struct Spec {
    /// SemVer version of the specification that the bundle complies with.
    #[serde(default, deserialize_with = "or_default")]
    pub oci_version: String,
    /// The program to run; may be absent until `start` needs it.
    pub process: Option<Process>,
    /// The root file system; required on Linux.
    pub root: Option<Root>,
    /// Host name, for a new UTS namespace.
    #[serde(default, deserialize_with = "or_default")]
    pub hostname: String,
    /// NIS domain name, for a new UTS namespace.
    #[serde(default, deserialize_with = "or_default")]
    pub domainname: String,
    /// Mounts, in this order.
    #[serde(default, deserialize_with = "or_default")]
    pub mounts: Vec<Mount>,
    /// Programs to run at points of the life cycle.
    #[serde(default, deserialize_with = "or_default")]
    pub hooks: Hooks,
    /// Arbitrary metadata, shown by `state`.
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    /// Linux's own part.
    #[serde(default, deserialize_with = "or_default")]
    pub linux: Linux,
}

/// `null` and absent are both the type's default.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// config.md "Root".
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(remote = "Self", expecting = "an object")]
pub struct Root {
    /// Absolute, or relative to the bundle.
    pub path: String,
    /// Whether the root is read-only inside the container.
    #[serde(default, deserialize_with = "or_default")]
    pub readonly: bool,
}

/// config.md "Mounts".
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self", expecting = "an object")]
pub struct Mount {
    /// Absolute path inside the container.
    pub destination: String,
    /// Device, folder, file or dummy; relative to the bundle for bind mounts.
    #[serde(default, deserialize_with = "or_default")]
    pub source: String,
    /// File system type.
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    pub kind: String,
    /// Options as mount(8) knows them and more.
    #[serde(default, deserialize_with = "or_default")]
    pub options: Vec<String>,
    /// User mapping of an id-mapped mount.
    #[serde(default, deserialize_with = "or_default")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group mapping of an id-mapped mount.
    #[serde(default, deserialize_with = "or_default")]
    pub gid_mappings: Vec<IdMapping>,
}

/// config.md "POSIX-platform Hooks".
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self", expecting = "an object")]
pub struct Hooks {
    /// Runtime namespace, after the namespaces are created and before pivot_root; deprecated.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub prestart: Vec<Hook>,
    /// Runtime namespace, after prestart.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub create_runtime: Vec<Hook>,
    /// Container namespace (path in the runtime namespace), before pivot_root.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub create_container: Vec<Hook>,
    /// Container namespace, inside `start`, before the program.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub start_container: Vec<Hook>,
    /// Runtime namespace, after the program has started.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// Runtime namespace, after the container is deleted.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

/// One hook.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", expecting = "an object")]
pub struct Hook {
    /// Absolute path, as for execv.
    pub path: String,
    /// argv; the path alone where it is empty.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// The whole environment of the hook.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Seconds until the hook is aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_absent_and_unknown_is_ignored() {
        let spec: Spec = serde_json::from_str(
            r#"{"ociVersion":"1.3.0","process":null,"mounts":null,"hooks":null,"linux":null,"new":{"x":1}}"#,
        )
        .unwrap();
        assert_eq!(spec, Spec { oci_version: "1.3.0".into(), ..Spec::default() });
    }

    #[test]
    fn a_field_that_stands_twice_is_refused() {
        let error = serde_json::from_str::<Spec>(r#"{"hostname":"a","hostname":"b"}"#).unwrap_err();
        assert!(error.to_string().starts_with("duplicate field `hostname`"), "{error}");
    }
}
