//! Whether the kernel has killed processes of a container for want of memory: `memory.events` of its cgroup
//! (Documentation/admin-guide/cgroup-v2.rst, "Memory Interface Files").

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Where cgroup v2 may be mounted: alone, or beside v1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The file, open: it tells by POLLPRI that it has changed.
#[derive(Debug)]
pub struct MemoryEvents {
    file: File,
    kills: u64,
}

/// The cgroup v2 of a process (cgroups(7), `/proc/PID/cgroup`), which may be a zombie; None for the root.
#[must_use]
pub fn cgroup_of(pid: i32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    (path.len() > 1).then(|| path.to_owned())
}

/// Where a cgroup's files are; None where cgroup v2 is not mounted.
#[must_use]
pub fn folder_of(cgroup: &str) -> Option<PathBuf> {
    let mount = MOUNTS.iter().find(|mount| Path::new(mount).join("cgroup.controllers").exists())?;
    Some(PathBuf::from(format!("{mount}{cgroup}")))
}

impl MemoryEvents {
    /// Those of a cgroup; None without the memory controller.
    #[must_use]
    pub fn open(cgroup: &str) -> Option<MemoryEvents> {
        MemoryEvents::of(&folder_of(cgroup)?.join("memory.events"))
    }

    fn of(path: &Path) -> Option<MemoryEvents> {
        let mut events = MemoryEvents { file: File::open(path).ok()?, kills: 0 };
        events.kills = events.read().unwrap_or_default();
        Some(events)
    }

    /// Has a process been killed since the last time this was asked?
    pub fn has_killed(&mut self) -> bool {
        let before = self.kills;
        self.kills = self.read().unwrap_or(before);
        self.kills > before
    }

    fn read(&self) -> Option<u64> {
        let mut text = [0; 1024];
        let count = self.file.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..count]).ok()?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
    }
}

impl AsFd for MemoryEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    #[test]
    fn a_kill_is_told_once() {
        let scratch = Scratch::new();
        let path = scratch.join("memory.events");
        assert!(MemoryEvents::of(&path).is_none());
        let write = |kills: u32| {
            fs::write(&path, format!("low 0\nmax 9\noom 9\noom_kill {kills}\noom_group_kill 0\n")).unwrap();
        };
        write(0);
        let mut events = MemoryEvents::of(&path).unwrap();
        assert!(!events.has_killed());
        write(2);
        assert!(events.has_killed() && !events.has_killed());
        fs::write(&path, "").unwrap();
        assert!(!events.has_killed());
    }

    #[test]
    fn a_process_has_a_cgroup_or_is_in_the_root() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(cgroup_of(own).is_none_or(|path| path.starts_with('/') && path.len() > 1));
        assert!(cgroup_of(-1).is_none());
    }
}
