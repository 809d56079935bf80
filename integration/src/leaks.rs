//! What a run of the tests left on the host.
//!
//! Only what carries the tests' [`mark`] counts, since others work on the machine at the same time: mounts
//! (of this mount namespace), folders of cgroups, processes, mount namespaces that hold a marked mount, and
//! files below /tmp, /dev/shm, /run and the user's runtime folder. Of this network namespace, where networks of containers
//! have no business: devices and tables of nftables with names or marks of ours, and whether the host forwards. Namespaces without processes or marked mounts cannot
//! be seen; a process that stays in one can, by its cgroup, command line, root or mounts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{MountEntry, mark};

/// What the shim's devices and tables are called, or have written on them, at their beginning.
const NAME: &str = "caisson";
/// What the shim sets where there are networks.
const FORWARDING: [&str; 2] = ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];

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
    devices(&mut found);
    tables(&mut found);
    // Engines that have a machine to themselves switch it on there, as on any other (`World::machine`).
    let is_engines = std::env::var_os("CAISSON_TEST_MACHINE").is_some();
    for path in FORWARDING.into_iter().filter(|_| !is_engines) {
        let set = fs::read_to_string(path).unwrap_or_default();
        found.insert(format!("sysctl {path} = {}", set.trim()));
    }
    found
}

/// Devices by their names and by what is written on them: the shim's bridges, and its ends of pairs.
fn devices(found: &mut BTreeSet<String>) {
    for folder in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        let alias = fs::read_to_string(folder.path().join("ifalias")).unwrap_or_default();
        if is_device_of_ours(&name, alias.trim_end()) {
            found.insert(format!("network device {name} ({})", alias.trim_end()));
        }
    }
}

/// Others make devices too; theirs have other names, or something else written on them.
fn is_device_of_ours(name: &str, alias: &str) -> bool {
    let digits = |prefix: &str, count: usize| {
        let rest = name.strip_prefix(prefix).unwrap_or_default();
        rest.len() == count && rest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    name.starts_with(NAME) || alias.starts_with(NAME) || digits("br-", 12) || digits("veth", 11)
}

/// Tables, where there is an nft that tells of them.
fn tables(found: &mut BTreeSet<String>) {
    let listed = std::process::Command::new("nft").args(["list", "tables"]).output();
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    for line in String::from_utf8_lossy(&listed).lines() {
        if line.split_whitespace().last().is_some_and(|name| name.starts_with(NAME)) {
            found.insert(format!("nftables {line}"));
        }
    }
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
    fn what_a_network_has_left_is_found_in_the_namespace_that_it_is_left_in() {
        for (name, alias, is_ours) in [
            ("caisson0", "", true),
            ("br-0123456789ab", "", true),
            ("veth0123456789a", "", true),
            ("lan0", "caisson 0123456789abcdef network 01", true),
            ("eth0", "", false),
            ("br-lan", "", false),
            ("veth0", "", false),
            ("vethb1c2d3e", "", false),
            ("docker0", "uplink", false),
        ] {
            assert_eq!(is_device_of_ours(name, alias), is_ours, "{name}");
        }
        if !crate::is_root() {
            return;
        }
        // A thread with a namespace of its own, which is gone with it: /proc/sys shows that of whoever looks.
        let (mut found, has_nft) = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            fs::write(FORWARDING[0], "0").unwrap();
            let before = snapshot();
            fs::write(FORWARDING[0], "1").unwrap();
            let has_nft =
                std::process::Command::new("nft").args(["add", "table", "inet", "caisson-1"]).status();
            let has_nft = has_nft.is_ok_and(|status| status.success());
            let now = snapshot();
            (now.difference(&before).cloned().collect::<Vec<_>>(), has_nft)
        })
        .join()
        .unwrap();
        found.retain(|line| line.starts_with("sysctl") || line.starts_with("nftables"));
        let mut expected = vec!["sysctl /proc/sys/net/ipv4/ip_forward = 1"];
        if has_nft {
            expected.insert(0, "nftables table inet caisson-1");
        }
        assert_eq!(found, expected);
    }

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
