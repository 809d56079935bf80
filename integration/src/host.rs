//! What this host offers, for tests that need more than every host has.

use std::fs;
use std::path::{Path, PathBuf};

/// Whether the tests run as root (in any user namespace).
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether the tests hold a capability, by its number (linux/capability.h); virtual machines may lack some.
#[must_use]
pub fn holds_capability(number: u32) -> bool {
    let effective = u64::from_str_radix(&crate::Process::this().status("CapEff"), 16);
    effective.expect("a mask") & (1 << number) != 0
}

/// Whether the running kernel is of this version or a later one.
#[must_use]
pub fn kernel_at_least(major: u32, minor: u32) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("read the kernel's release");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let running: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    running >= (major, minor)
}

/// Whether the kernel has what shows up as this path, for instance `/proc/self/ns/time`.
#[must_use]
pub fn kernel_has(path: &str) -> bool {
    Path::new(path).exists()
}

/// Where cgroup v2 is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` on a hybrid host.
#[must_use]
pub fn cgroup2_mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("read /proc/self/mountinfo");
    let mut entries = mounts.lines().filter_map(crate::MountEntry::parse);
    entries.find(|entry| entry.kind == "cgroup2").map(|entry| entry.destination)
}

/// Whether this controller (`memory`, `pids`, …) is available on cgroup v2.
#[must_use]
pub fn has_controller(name: &str) -> bool {
    let Some(mount) = cgroup2_mount() else { return false };
    let controllers = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    controllers.split_whitespace().any(|controller| controller == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_are_ordered_by_number() {
        assert!(kernel_at_least(5, 9));
        assert!(!kernel_at_least(999, 0));
    }
}
