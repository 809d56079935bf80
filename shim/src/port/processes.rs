//! Proxies of this store that run, whoever has started them: found among all processes, for `system check`.
//!
//! A process is one only if all agrees: its user and its namespaces are this process's, its command line is the one that
//! `publish` gives it, and its program is this one, or what this one has replaced. What a program in a container says of
//! itself counts for nothing: its namespaces are others.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::container::ContainerId;
use crate::container::process::ProcessId;
use crate::container::store::Containers;
use crate::error::{Context, Result};
use crate::own_program;
use crate::port::proxy;
use crate::rootless::host_network;

/// Namespaces that have to be this process's.
const NAMESPACES: [&str; 3] = ["net", "pid", "user"];
/// What the kernel puts behind the name of a program that has been replaced since (proc_pid_exe(5)).
const REPLACED: &str = " (deleted)";

/// Its command line but for the program's name, and but for the container's id at its end.
#[must_use]
pub fn words(containers: &Containers) -> Vec<OsString> {
    own_program::words(containers).into_iter().chain([proxy::VERB.into()]).collect()
}

/// All that there are, with the containers that they say they are of.
///
/// # Errors
/// No procfs.
pub fn find(containers: &Containers) -> Result<Vec<(ProcessId, ContainerId)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").during(|| "read /proc".to_owned())? {
        let name = entry.during(|| "read /proc".to_owned())?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        // One that ends meanwhile is none.
        if let Some(process) = pid.and_then(ProcessId::of)
            && let Some(id) = container_of(containers, process)
        {
            found.push((process, id));
        }
    }
    Ok(found)
}

/// The container whose proxy this process is; None for any other process.
#[must_use]
pub fn container_of(containers: &Containers, process: ProcessId) -> Option<ContainerId> {
    let folder = PathBuf::from(format!("/proc/{}", process.pid));
    let id = said(&words(containers), &fs::read(folder.join("cmdline")).ok()?)?;
    let is_own_user = fs::metadata(&folder).ok()?.uid() == rustix::process::geteuid().as_raw();
    // An ordinary user's are in a network of his own.
    let kinds = if host_network::is_own() { &NAMESPACES[1..] } else { &NAMESPACES[..] };
    let is_here = kinds.iter().all(|kind| {
        let of = |folder: &Path| fs::read_link(folder.join("ns").join(kind)).ok();
        of(&folder).is_some_and(|namespace| of(Path::new("/proc/self")) == Some(namespace))
    });
    // Last: all that was read was of this process and no later one.
    (is_own_user && is_here && is_own_program(&folder.join("exe")) && process.is_alive()).then_some(id)
}

/// The id at the end of a command line that is a proxy's.
fn said(words: &[OsString], line: &[u8]) -> Option<ContainerId> {
    let line = line.strip_suffix(b"\0")?;
    let mut parts = line.split(|byte| *byte == 0).skip(1);
    let is_said = words.iter().all(|word| parts.next() == Some(word.as_bytes()));
    let id = String::from_utf8(parts.next()?.to_vec()).ok()?;
    if is_said && parts.next().is_none() { ContainerId::parse(&id).ok() } else { None }
}

/// Is this the program that runs here, or the one that was in its place before?
fn is_own_program(exe: &Path) -> bool {
    let own = Path::new("/proc/self/exe");
    let file = |path: &Path| fs::metadata(path).map(|stat| (stat.dev(), stat.ino())).ok();
    if file(exe).is_some_and(|found| file(own) == Some(found)) {
        return true;
    }
    let (Ok(exe), Ok(own)) = (fs::read_link(exe), fs::read_link(own)) else { return false };
    let mut replaced = own.into_os_string().into_vec();
    replaced.extend(REPLACED.as_bytes());
    exe.as_os_str().as_bytes() == replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_known_by_all_of_its_words() {
        let id = "0123456789abcdef".repeat(4);
        let words = ["--root", "/r", "--state", "/s", "port-proxy"].map(OsString::from);
        let line = |parts: &[&str]| parts.iter().map(|part| format!("{part}\0")).collect::<String>();
        let own = ["shim", "--root", "/r", "--state", "/s", "port-proxy", &id];
        assert_eq!(said(&words, line(&own).as_bytes()).unwrap().as_str(), id);
        for other in [
            &own[..6],
            &[&own[..], &["x"]].concat(),
            &["shim", "--root", "/other", "--state", "/s", "port-proxy", &id],
            &["shim", "--root", "/r", "--state", "/s", "monitor", &id],
            &["shim", "--root", "/r", "--state", "/s", "port-proxy", "../x"],
            &[],
        ] {
            assert_eq!(said(&words, line(other).as_bytes()), None, "{other:?}");
        }
        assert_eq!(said(&words, b""), None);
    }

    #[test]
    fn this_program_is_its_own_and_others_are_not() {
        assert!(is_own_program(Path::new("/proc/self/exe")));
        assert!(!is_own_program(Path::new("/bin/sh")) && !is_own_program(Path::new("/nonexistent")));
    }
}
