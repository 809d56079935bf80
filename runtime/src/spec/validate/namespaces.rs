//! config-linux.md "Namespaces" and "User namespace mappings".

use super::super::{IdMapping, Linux};
use super::Findings;

/// Kinds of namespaces by their names.
pub const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"];

/// Which namespaces are the container's own: made for it, or joined.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Own {
    own: u8,
    new: u8,
}

impl Own {
    /// Whether the container does not share the runtime's namespace of this kind.
    pub(super) fn has(self, kind: &str) -> bool {
        self.own & bit(kind) != 0
    }

    /// Whether a namespace of this kind is made.
    pub(super) fn makes(self, kind: &str) -> bool {
        self.new & bit(kind) != 0
    }
}

fn bit(kind: &str) -> u8 {
    NAMESPACES.iter().position(|known| *known == kind).map_or(0, |position| 1 << position)
}

pub(super) fn check(linux: &Linux, findings: &mut Findings) -> Own {
    let mut own = Own::default();
    for (index, namespace) in linux.namespaces.iter().enumerate() {
        let kind = namespace.kind.as_str();
        if !NAMESPACES.contains(&kind) {
            findings.error(
                format_args!("linux.namespaces[{index}].type"),
                format_args!("unknown namespace type {kind:?}"),
            );
        } else if own.has(kind) {
            findings.error(
                format_args!("linux.namespaces[{index}].type"),
                format_args!("duplicated namespace {kind:?}"),
            );
        }
        own.own |= bit(kind);
        if namespace.path.is_empty() {
            own.new |= bit(kind);
        } else {
            findings.absolute(format_args!("linux.namespaces[{index}].path"), &namespace.path);
        }
    }
    users(linux, own, findings);
    times(linux, own, findings);
    own
}

fn users(linux: &Linux, own: Own, findings: &mut Findings) {
    mappings("linux.uidMappings", &linux.uid_mappings, findings);
    mappings("linux.gidMappings", &linux.gid_mappings, findings);
    for (field, mappings) in [("uidMappings", &linux.uid_mappings), ("gidMappings", &linux.gid_mappings)] {
        if own.makes("user") && mappings.is_empty() {
            findings.error(format_args!("linux.{field}"), "a new user namespace needs mappings");
        } else if !own.has("user") && !mappings.is_empty() {
            findings.error(format_args!("linux.{field}"), "needs a user namespace");
        }
    }
}

/// Ranges that are empty, leave 32 bits or overlap: the kernel refuses them all with one EINVAL.
pub(super) fn mappings(pointer: &str, mappings: &[IdMapping], findings: &mut Findings) {
    let end = |first: u32, size: u32| u64::from(first) + u64::from(size);
    let meet = |a: u32, b: u32, size_a: u32, size_b: u32| {
        u64::from(a) < end(b, size_b) && u64::from(b) < end(a, size_a)
    };
    if mappings.len() > 340 {
        findings.error(pointer, format_args!("{} ranges, the kernel takes 340", mappings.len()));
        return;
    }
    for (index, map) in mappings.iter().enumerate() {
        let at = format_args!("{pointer}[{index}]").to_string();
        if map.size == 0 {
            findings.error(format_args!("{at}.size"), "is 0");
        }
        let limit = u64::from(u32::MAX) + 1;
        if end(map.container_id, map.size) > limit || end(map.host_id, map.size) > limit {
            findings.error(&at, "reaches beyond 32 bits");
        }
        for earlier in &mappings[..index] {
            if meet(map.container_id, earlier.container_id, map.size, earlier.size) {
                findings.error(format_args!("{at}.containerID"), "overlaps with an earlier range");
            }
            if meet(map.host_id, earlier.host_id, map.size, earlier.size) {
                findings.error(format_args!("{at}.hostID"), "overlaps with an earlier range");
            }
        }
    }
}

fn times(linux: &Linux, own: Own, findings: &mut Findings) {
    if !linux.time_offsets.is_empty() && !own.makes("time") {
        findings.error("linux.timeOffsets", "needs a new time namespace");
    }
    for (clock, offset) in &linux.time_offsets {
        if !["monotonic", "boottime"].contains(&clock.as_str()) {
            findings.error(format_args!("linux.timeOffsets[{clock:?}]"), "is neither monotonic nor boottime");
        }
        if offset.nanosecs >= 1_000_000_000 {
            findings.error(
                format_args!("linux.timeOffsets.{clock}.nanosecs"),
                format_args!("{} is not below 1000000000", offset.nanosecs),
            );
        }
    }
}
