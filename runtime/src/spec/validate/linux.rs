//! config-linux.md without namespaces and sysctl.

use super::super::{Device, IntelRdt, Linux, MemoryPolicy};
use super::namespaces::Own;
use super::{Findings, is_number_list, sysctl};

/// Modes of set_mempolicy(2).
pub const MEMORY_MODES: [&str; 7] = [
    "MPOL_DEFAULT",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_WEIGHTED_INTERLEAVE",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_LOCAL",
];

/// Flags of set_mempolicy(2).
pub const MEMORY_FLAGS: [&str; 3] = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

const PROPAGATIONS: [&str; 9] =
    ["", "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"];

pub(super) fn check(linux: &Linux, own: Own, findings: &mut Findings) {
    sysctl::check(&linux.sysctl, own, findings);
    for (field, paths) in [("maskedPaths", &linux.masked_paths), ("readonlyPaths", &linux.readonly_paths)] {
        for (index, path) in paths.iter().enumerate() {
            findings.absolute(format_args!("linux.{field}[{index}]"), path);
        }
        if !paths.is_empty() && !own.has("mount") {
            findings.error(format_args!("linux.{field}"), "needs a mount namespace");
        }
    }
    if !PROPAGATIONS.contains(&linux.rootfs_propagation.as_str()) {
        findings
            .error("linux.rootfsPropagation", format_args!("unknown value {:?}", linux.rootfs_propagation));
    }
    findings.label("linux.mountLabel", &linux.mount_label);
    findings.text("linux.cgroupsPath", &linux.cgroups_path);
    for (index, device) in linux.devices.iter().enumerate() {
        self::device(index, device, findings);
    }
    net_devices(linux, own, findings);
    if let Some(rdt) = &linux.intel_rdt {
        intel_rdt(rdt, findings);
    }
    if let Some(policy) = &linux.memory_policy {
        memory_policy(policy, findings);
    }
    if let Some(personality) = &linux.personality {
        if !["LINUX", "LINUX32"].contains(&personality.domain.as_str()) {
            let reason = format_args!("{:?} is neither LINUX nor LINUX32", personality.domain);
            findings.error("linux.personality.domain", reason);
        }
        if let Some(flag) = personality.flags.first() {
            findings.error("linux.personality.flags", format_args!("{flag:?}: no flags are defined"));
        }
    }
}

fn device(index: usize, device: &Device, findings: &mut Findings) {
    findings.absolute(format_args!("linux.devices[{index}].path"), &device.path);
    if !["c", "u", "b", "p"].contains(&device.kind.as_str()) {
        let reason = format_args!("unknown device type {:?}", device.kind);
        findings.error(format_args!("linux.devices[{index}].type"), reason);
    }
    // The type of the file may stand in the mode as stat(2) shows it; the permissions are what counts.
    if let Some(mode) = device.file_mode
        && mode > 0o177_777
    {
        findings.error(
            format_args!("linux.devices[{index}].fileMode"),
            format_args!("0{mode:o} is no file mode"),
        );
    }
    for (field, id) in [("uid", device.uid), ("gid", device.gid)] {
        if id == Some(u32::MAX) {
            findings.error(format_args!("linux.devices[{index}].{field}"), "4294967295 is not a valid id");
        }
    }
}

/// netdevice(7): names are below 16 bytes and hold no `/`, `:` or space.
fn net_devices(linux: &Linux, own: Own, findings: &mut Findings) {
    if !linux.net_devices.is_empty() && !own.has("network") {
        findings.error("linux.netDevices", "needs a network namespace");
    }
    let valid = |name: &str| {
        !matches!(name, "" | "." | "..")
            && name.len() < 16
            && !name.contains(|c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace())
    };
    for (host, device) in &linux.net_devices {
        if !valid(host) {
            let reason = "is not a name of a network device";
            findings.error(format_args!("linux.netDevices[{host:?}]"), reason);
        }
        if !device.name.is_empty() && !valid(&device.name) {
            let reason = format_args!("{:?} is not a name of a network device", device.name);
            findings.error(format_args!("linux.netDevices[{host:?}].name"), reason);
        }
    }
}

fn intel_rdt(rdt: &IntelRdt, findings: &mut Findings) {
    let id = rdt.clos_id.as_str();
    if matches!(id, "." | "..") || (id.contains(['/', '\n', '\0']) && id != "/") {
        findings.error("linux.intelRdt.closID", format_args!("{id:?} is not a name of a folder"));
    }
    for (index, line) in rdt.schemata.iter().enumerate() {
        if line.contains('\n') {
            findings.error(format_args!("linux.intelRdt.schemata[{index}]"), "contains a newline");
        }
    }
    if !rdt.mem_bw_schema.is_empty() && !rdt.mem_bw_schema.starts_with("MB:") {
        findings.error("linux.intelRdt.memBwSchema", "does not start with MB:");
    }
    if rdt.mem_bw_schema.contains('\n') {
        findings.error("linux.intelRdt.memBwSchema", "contains a newline");
    }
}

fn memory_policy(policy: &MemoryPolicy, findings: &mut Findings) {
    let mode = policy.mode.as_str();
    if !MEMORY_MODES.contains(&mode) {
        findings.error("linux.memoryPolicy.mode", format_args!("unknown mode {mode:?}"));
        return;
    }
    if !is_number_list(&policy.nodes) {
        findings.error("linux.memoryPolicy.nodes", format_args!("{:?} is not a list of nodes", policy.nodes));
    }
    // set_mempolicy(2): two modes take no nodes, MPOL_PREFERRED may have them, the others need them.
    match (mode, policy.nodes.trim().is_empty()) {
        ("MPOL_DEFAULT" | "MPOL_LOCAL", false) => {
            findings.error("linux.memoryPolicy.nodes", format_args!("{mode} takes no nodes"));
        }
        ("MPOL_DEFAULT" | "MPOL_LOCAL" | "MPOL_PREFERRED", true) | (_, false) => {}
        (_, true) => findings.error("linux.memoryPolicy.nodes", format_args!("{mode} needs nodes")),
    }
    for (index, flag) in policy.flags.iter().enumerate() {
        if !MEMORY_FLAGS.contains(&flag.as_str()) {
            let reason = format_args!("unknown flag {flag:?}");
            findings.error(format_args!("linux.memoryPolicy.flags[{index}]"), reason);
        }
    }
    let given = |name: &str| policy.flags.iter().any(|flag| flag == name);
    if given("MPOL_F_STATIC_NODES") && given("MPOL_F_RELATIVE_NODES") {
        let reason = "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other";
        findings.error("linux.memoryPolicy.flags", reason);
    }
}
