//! `spec`: writes a config.json to start from.
//!
//! The two documents lie beside this file as they are written (tabs, no newline at the end), equal to what
//! runc writes except for ociVersion; the rootless one gets the caller's ids. It never replaces a file.

use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::cli::{self, Globals};
use crate::error::{Call, Error, Result};
use crate::report::Log;

const DEFAULT: &str = include_str!("spec/default.json");
const ROOTLESS: &str = include_str!("spec/rootless.json");

/// Carries out `spec`.
///
/// # Errors
/// A config.json that exists already, or a folder that cannot be written to.
pub fn execute(_globals: &Globals, args: &cli::Spec, _log: &mut Log) -> Result<u8> {
    let text = document(args.rootless);
    match write_new(&args.bundle, text.as_bytes()) {
        Err(error) if error.errno() != 0 => Err(error.context("write config.json")),
        other => other.map(|()| 0), // A taken name is told in runc's words alone.
    }
}

/// The document for this caller.
fn document(rootless: bool) -> String {
    if !rootless {
        return DEFAULT.to_owned();
    }
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    ROOTLESS.replace("\"EUID\"", &uid.to_string()).replace("\"EGID\"", &gid.to_string())
}

/// Writes bundle/config.json whole or not at all: an unnamed file is filled, then linked to its name, which
/// fails where the name is taken. A file system without O_TMPFILE gets the file by O_EXCL.
fn write_new(bundle: &Path, bytes: &[u8]) -> Result<()> {
    let path = bundle.join("config.json");
    let exists = || Error::other("File config.json exists. Remove it first");
    let mode = Mode::from_raw_mode(0o666);
    match rustix::fs::open(bundle, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, mode) {
        Ok(file) => {
            write_all(&file, bytes)?;
            let unnamed = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
            match rustix::fs::linkat(CWD, unnamed, CWD, &path, AtFlags::SYMLINK_FOLLOW) {
                Err(Errno::EXIST) => Err(exists()),
                other => other.call("linkat", || format!("{path:?}")),
            }
        }
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = match rustix::fs::open(&path, flags, mode) {
                Err(Errno::EXIST) => return Err(exists()),
                other => other.call("open", || format!("{path:?}"))?,
            };
            write_all(&file, bytes).inspect_err(|_| {
                let _ = rustix::fs::unlink(&path); // Half a file is worse than none; the cause is told.
            })
        }
        Err(errno) => Err(errno).call("open", || format!("{bundle:?}")),
    }
}

fn write_all(file: impl std::os::fd::AsFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(&file, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).call("write", || "config.json"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Spec, VERSION, validate};

    #[test]
    fn both_documents_are_valid_without_a_warning() {
        for rootless in [false, true] {
            let text = document(rootless);
            let spec: Spec = serde_json::from_str(&text).unwrap();
            assert_eq!(spec.oci_version, VERSION);
            assert_eq!(validate(&spec), Ok(Vec::new()));
            assert!(text.starts_with("{\n\t\"ociVersion\"") && text.ends_with('}'));
        }
    }

    #[test]
    fn the_rootless_document_maps_the_caller() {
        let spec: Spec = serde_json::from_str(&document(true)).unwrap();
        assert_eq!(spec.linux.uid_mappings[0].host_id, nix::unistd::geteuid().as_raw());
        assert_eq!(spec.linux.gid_mappings[0].host_id, nix::unistd::getegid().as_raw());
        let kinds: Vec<&str> = spec.linux.namespaces.iter().map(|ns| ns.kind.as_str()).collect();
        assert_eq!(kinds, ["pid", "ipc", "uts", "mount", "cgroup", "user"]);
        assert!(spec.linux.resources.is_none());
        assert!(
            spec.mounts.iter().all(|mount| !mount.options.iter().any(|option| option.starts_with("gid=")))
        );
    }

    #[test]
    fn a_file_is_written_once_and_never_replaced() {
        let dir = std::env::temp_dir().join(format!("caisson-spec-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        assert_eq!(write_new(&dir, b"first"), Ok(()));
        let second = write_new(&dir, b"second").unwrap_err().to_string();
        let text = std::fs::read_to_string(dir.join("config.json")).unwrap();
        let names = std::fs::read_dir(&dir).unwrap().count();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(second, "File config.json exists. Remove it first");
        assert_eq!((text.as_str(), names), ("first", 1));
    }
}
