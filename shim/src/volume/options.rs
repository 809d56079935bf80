//! What the driver `local` is to mount on a volume's folder: `--opt type=… device=… o=…`, as Docker reads them. Pure.

use std::collections::BTreeMap;

use rustix::mount::{MountFlags, MountPropagationFlags};

use crate::error::{Error, Result};

/// The options that there are, and which others each of them needs.
const KNOWN: [(&str, &[&str]); 3] =
    [("device", &["type"]), ("o", &["device", "type"]), ("type", &["device"])];

/// Words of `o` that are flags of mount(2), whether they set or clear them (mount(8), "FILESYSTEM-INDEPENDENT MOUNT
/// OPTIONS").
const FLAGS: [(&str, bool, MountFlags); 24] = [
    ("acl", true, MountFlags::empty()),
    ("async", false, MountFlags::SYNCHRONOUS),
    ("atime", false, MountFlags::NOATIME),
    ("bind", true, MountFlags::BIND),
    ("defaults", true, MountFlags::empty()),
    ("dev", false, MountFlags::NODEV),
    ("diratime", false, MountFlags::NODIRATIME),
    ("dirsync", true, MountFlags::DIRSYNC),
    ("exec", false, MountFlags::NOEXEC),
    ("mand", true, MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
    ("noatime", true, MountFlags::NOATIME),
    ("nodev", true, MountFlags::NODEV),
    ("nodiratime", true, MountFlags::NODIRATIME),
    ("noexec", true, MountFlags::NOEXEC),
    ("nomand", false, MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
    ("norelatime", false, MountFlags::RELATIME),
    ("nosuid", true, MountFlags::NOSUID),
    ("rbind", true, MountFlags::BIND.union(MountFlags::REC)),
    ("relatime", true, MountFlags::RELATIME),
    ("ro", true, MountFlags::RDONLY),
    ("rw", false, MountFlags::RDONLY),
    ("strictatime", true, MountFlags::STRICTATIME),
    ("suid", false, MountFlags::NOSUID),
    ("sync", true, MountFlags::SYNCHRONOUS),
];

/// Words of `o` that say what mounts below spread to.
const PROPAGATIONS: [(&str, MountPropagationFlags); 8] = [
    ("private", MountPropagationFlags::PRIVATE),
    ("rprivate", MountPropagationFlags::PRIVATE.union(MountPropagationFlags::REC)),
    ("rshared", MountPropagationFlags::SHARED.union(MountPropagationFlags::REC)),
    ("rslave", MountPropagationFlags::DOWNSTREAM.union(MountPropagationFlags::REC)),
    ("runbindable", MountPropagationFlags::UNBINDABLE.union(MountPropagationFlags::REC)),
    ("shared", MountPropagationFlags::SHARED),
    ("slave", MountPropagationFlags::DOWNSTREAM),
    ("unbindable", MountPropagationFlags::UNBINDABLE),
];

/// What is mounted, for mount(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// `tmpfs`, `nfs`, `none`.
    pub kind: String,
    /// As the user has it.
    pub device: String,
    /// Those of mount(2).
    pub flags: MountFlags,
    /// In order.
    pub propagation: Vec<MountPropagationFlags>,
    /// The rest of `o`, for the file system.
    pub data: String,
}

/// Are these options of the driver's?
///
/// # Errors
/// Docker's words.
pub fn check(options: &BTreeMap<String, String>) -> Result<()> {
    for key in options.keys() {
        if key == "size" {
            return Err(Error::invalid("quota size requested but no quota support"));
        }
        if !KNOWN.iter().any(|(known, _)| known == key) {
            return Err(Error::invalid(format!("invalid option: {key:?}")));
        }
    }
    let has = |key: &str| options.get(key).is_some_and(|value| !value.is_empty());
    for (key, needed) in KNOWN {
        if let Some(missing) = needed.iter().find(|needed| has(key) && !has(needed)) {
            return Err(Error::invalid(format!("missing required option: {missing:?}")));
        }
    }
    Ok(())
}

/// What they say is to be mounted; nothing where there are none.
#[must_use]
pub fn filesystem(options: &BTreeMap<String, String>) -> Option<Filesystem> {
    let value = |key: &str| options.get(key).filter(|value| !value.is_empty()).cloned();
    let mut mount = Filesystem {
        kind: value("type")?,
        device: value("device")?,
        flags: MountFlags::empty(),
        propagation: Vec::new(),
        data: String::new(),
    };
    let mut data = Vec::new();
    for word in value("o").unwrap_or_default().split(',').filter(|word| !word.is_empty()) {
        if let Some((_, sets, flag)) = FLAGS.iter().find(|(name, ..)| *name == word) {
            mount.flags.set(*flag, *sets);
        } else if let Some((_, propagation)) = PROPAGATIONS.iter().find(|(name, _)| *name == word) {
            mount.propagation.push(*propagation);
        } else {
            data.push(word.to_owned());
        }
    }
    mount.data = data.join(",");
    Some(mount)
}

/// The same data without what nobody else is to read.
#[must_use]
pub fn without_secrets(data: &str) -> String {
    let hidden = |word: &str| match word.split_once('=') {
        Some((key @ ("password" | "pass" | "passwd" | "password2"), _)) => format!("{key}=********"),
        _ => word.to_owned(),
    };
    data.split(',').map(hidden).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn options_are_dockers() {
        check(&of(&[])).unwrap();
        check(&of(&[("type", "tmpfs"), ("device", "tmpfs")])).unwrap();
        check(&of(&[("type", "none"), ("device", "/x"), ("o", "bind")])).unwrap();
        for (options, words) in [
            (&[("foo", "1")][..], "invalid option: \"foo\""),
            (&[("type", "tmpfs")], "missing required option: \"device\""),
            (&[("device", "x")], "missing required option: \"type\""),
            (&[("o", "ro")], "missing required option: \"device\""),
            (&[("o", "ro"), ("device", "x")], "missing required option: \"type\""),
            (&[("size", "1g")], "quota size requested but no quota support"),
        ] {
            assert_eq!(check(&of(options)).unwrap_err().to_string(), words, "{options:?}");
        }
    }

    #[test]
    fn flags_are_the_kernels_and_the_rest_is_the_file_systems() {
        let options =
            of(&[("type", "tmpfs"), ("device", "x"), ("o", "size=1m,ro,nosuid,rw,noexec,uid=7,rslave")]);
        let mount = filesystem(&options).unwrap();
        assert_eq!((mount.kind.as_str(), mount.device.as_str()), ("tmpfs", "x"));
        assert_eq!(mount.flags, MountFlags::NOSUID | MountFlags::NOEXEC);
        assert_eq!(mount.data, "size=1m,uid=7");
        assert_eq!(mount.propagation, [MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC]);
        let bind = filesystem(&of(&[("type", "none"), ("device", "/x"), ("o", "rbind,ro")])).unwrap();
        assert_eq!(bind.flags, MountFlags::BIND | MountFlags::REC | MountFlags::RDONLY);
        assert_eq!(filesystem(&of(&[])), None);
    }

    #[test]
    fn passwords_are_not_told() {
        assert_eq!(without_secrets("user=me,password=x=y,vers=3"), "user=me,password=********,vers=3");
    }
}
