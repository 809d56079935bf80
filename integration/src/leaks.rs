//! What a run of the tests left on the host.
//!
//! Only what carries the tests' [`mark`] counts, since others work on the machine at the same time: mounts
//! (of this mount namespace), folders of cgroups, processes, mount namespaces that hold a marked mount, and
//! files below /tmp, /dev/shm, /run and the user's runtime folder. Namespaces without processes or marked mounts cannot
//! be seen; a process that stays in one can, by its cgroup, command line, root or mounts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{MountEntry, mark};

/// What is there now, one line each.
#[must_use]
pub fn snapshot() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for mount in mounts.lines().filter_map(MountEntry::parse) {
        if is_marked(&mount.destination) || is_marked(&mount.root) {
            found.insert(format!("mount {}", mount.destination.display()));
        }
        if mount.kind == "cgroup" || mount.kind == "cgroup2" {
            cgroups(&mount.destination, &mut found);
        }
    }
    let temporary = std::env::temp_dir();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    for folder in
        [Some(temporary), Some("/dev/shm".into()), Some("/run".into()), runtime].into_iter().flatten()
    {
        files(&folder, 3, &mut found);
    }
    processes(&mut found);
    found
}

fn is_marked(path: &Path) -> bool {
    path.to_string_lossy().contains(mark())
}

/// Folders of cgroups are few; all are visited.
fn cgroups(folder: &Path, found: &mut BTreeSet<String>) {
    for child in subfolders(folder) {
        if is_marked(&child) {
            found.insert(format!("cgroup {}", child.display()));
        }
        cgroups(&child, found);
    }
}

/// State folders and temporary files, down to a depth: `/run/runc/ID` is at 2.
fn files(folder: &Path, depth: u32, found: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if is_marked(&path) {
            found.insert(format!("file {}", path.display()));
        } else if depth > 1 && path.symlink_metadata().is_ok_and(|data| data.is_dir()) {
            files(&path, depth - 1, found);
        }
    }
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|e| e.path())
        .collect()
}

fn processes(found: &mut BTreeSet<String>) {
    // The tool's own family has the mark in its environment or arguments: the shell that set it, make, ….
    let family = ancestors();
    for folder in subfolders(Path::new("/proc")) {
        let Some(pid) = folder.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else {
            continue;
        };
        if family.contains(&pid) {
            continue;
        }
        let text = |name: &str| {
            String::from_utf8_lossy(&fs::read(folder.join(name)).unwrap_or_default()).into_owned()
        };
        // A zombie holds nothing any more; the system's init, to which orphans go, may take its time.
        if text("stat").rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')) {
            continue;
        }
        let root = fs::read_link(folder.join("root")).unwrap_or_default();
        let command = text("cmdline").replace('\0', " ");
        let marked = command.contains(mark()) || text("cgroup").contains(mark()) || is_marked(&root);
        let mounts = text("mountinfo");
        if marked {
            found.insert(format!("process {pid} {command}"));
        }
        if mounts.contains(mark()) {
            let namespace = fs::read_link(folder.join("ns/mnt")).unwrap_or_default();
            found.insert(format!("namespace {} of process {pid} {command}", namespace.display()));
        }
    }
}

/// This process and those above it.
fn ancestors() -> BTreeSet<u32> {
    let mut family = BTreeSet::new();
    let mut pid = std::process::id();
    while pid != 0 && family.insert(pid) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        pid = parent.and_then(|parent| parent.trim().parse().ok()).unwrap_or(0);
    }
    family
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Call, Scratch};

    #[test]
    fn a_folder_and_a_process_are_found_and_gone_afterwards() {
        let scratch = Scratch::new();
        let path = scratch.path().display().to_string();
        let sleeping = Call::of("sh").args(["-c", "read x", &path]).stdin_pipe().spawn();
        let found = snapshot();
        assert!(found.contains(&format!("file {path}")), "{found:#?}");
        let process = format!("process {} ", sleeping.pid());
        assert!(found.iter().any(|line| line.starts_with(&process)), "{found:#?}");
        drop((sleeping, scratch));
        let found = snapshot();
        assert!(!found.contains(&format!("file {path}")), "{found:#?}");
        assert!(!found.iter().any(|line| line.starts_with(&process)), "{found:#?}");
    }
}
