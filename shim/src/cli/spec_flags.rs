//! The flags that shape a container's document: one table for every command that has them.
//!
//! Docker's names, in the order of their names. [`crate::command`] makes [`crate::bundle::options::Options`] of what
//! was given.

use crate::bundle::syntax::size;
use crate::cli::flags::{Flag, list, switch, value};

/// The table.
pub const SPEC_FLAGS: [Flag; 52] = [
    list("annotation", "map", "Add an annotation to the container (passed through to the OCI runtime)"),
    value(
        "blkio-weight",
        "uint16",
        "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)",
    )
    .checked(integer),
    list("blkio-weight-device", "list", "Block IO weight (relative device weight)"),
    list("cap-add", "list", "Add Linux capabilities"),
    list("cap-drop", "list", "Drop Linux capabilities"),
    value("cgroup-parent", "string", "Optional parent cgroup for the container"),
    value("cgroupns", "string", "Cgroup namespace to use (host|private)"),
    value("cpu-period", "int", "Limit CPU CFS (Completely Fair Scheduler) period").checked(integer),
    value("cpu-quota", "int", "Limit CPU CFS (Completely Fair Scheduler) quota").checked(integer),
    value("cpu-shares", "int", "CPU shares (relative weight)").short('c').checked(integer),
    value("cpus", "decimal", "Number of CPUs").checked(decimal),
    value("cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)"),
    value("cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)"),
    list("device", "list", "Add a host device to the container"),
    list("device-cgroup-rule", "list", "Add a rule to the cgroup allowed devices list"),
    list("device-read-bps", "list", "Limit read rate (bytes per second) from a device"),
    list("device-read-iops", "list", "Limit read rate (IO per second) from a device"),
    list("device-write-bps", "list", "Limit write rate (bytes per second) to a device"),
    list("device-write-iops", "list", "Limit write rate (IO per second) to a device"),
    value("domainname", "string", "Container NIS domain name"),
    value("entrypoint", "string", "Overwrite the default ENTRYPOINT of the image"),
    list("env", "list", "Set environment variables").short('e'),
    list("env-file", "list", "Read in a file of environment variables"),
    list("group-add", "list", "Add additional groups to join"),
    value("hostname", "string", "Container host name").short('h'),
    value("ipc", "string", "IPC mode to use"),
    list("label", "list", "Set meta data on a container").short('l'),
    list("label-file", "list", "Read in a line delimited file of labels"),
    value("memory", "bytes", "Memory limit").short('m').checked(bytes),
    value("memory-reservation", "bytes", "Memory soft limit").checked(bytes),
    value("memory-swap", "bytes", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap")
        .checked(swap),
    list("mount", "mount", "Attach a filesystem mount to the container"),
    list("net", "network", "Connect a container to a network").hidden(),
    list("network", "network", "Connect a container to a network"),
    value("oom-score-adj", "int", "Tune host's OOM preferences (-1000 to 1000)").checked(integer),
    value("pid", "string", "PID namespace to use"),
    value("pids-limit", "int", "Tune container pids limit (set -1 for unlimited)").checked(integer),
    value("platform", "string", "Refuse an image for another platform"),
    switch("privileged", "Give extended privileges to this container"),
    switch("read-only", "Mount the container's root filesystem as read only"),
    list("security-opt", "list", "Security Options"),
    value("shm-size", "bytes", "Size of /dev/shm").checked(bytes),
    value("stop-signal", "string", "Signal to stop the container"),
    list("sysctl", "map", "Sysctl options"),
    list("tmpfs", "list", "Mount a tmpfs directory"),
    switch("tty", "Allocate a pseudo-TTY").short('t'),
    list("ulimit", "ulimit", "Ulimit options"),
    value("user", "string", "Username or UID (format: <name|uid>[:<group|gid>])").short('u'),
    value("userns", "string", "User namespace to use"),
    value("uts", "string", "UTS namespace to use"),
    list("volume", "list", "Bind mount a volume").short('v'),
    value("workdir", "string", "Working directory inside the container").short('w'),
];

/// What `bundle` refuses by name; containers have it.
pub const BUNDLE_REFUSED: [Flag; 9] = [
    list("add-host", "list", NOT_BUNDLES).hidden(),
    list("dns", "list", NOT_BUNDLES).hidden(),
    list("dns-option", "list", NOT_BUNDLES).hidden(),
    list("dns-search", "list", NOT_BUNDLES).hidden(),
    switch("init", NOT_BUNDLES).hidden(),
    value("kernel-memory", "bytes", OF_VERSION_1).hidden(),
    value("memory-swappiness", "int", OF_VERSION_1).hidden(),
    switch("oom-kill-disable", OF_VERSION_1).hidden(),
    list("volumes-from", "list", NOT_BUNDLES).hidden(),
];

const NOT_BUNDLES: &str = "is for containers, not for bundles";
const OF_VERSION_1: &str = "is of cgroup v1 alone, which is not supported";

/// Why a flag of this table of refused ones cannot be used, if it is one.
#[must_use]
pub fn refusal(refused: &[Flag], name: &str) -> Option<String> {
    let flag = refused.iter().find(|flag| flag.name == name)?;
    Some(format!("--{name} {}", flag.help))
}

/// A size, as docker reads it.
pub fn bytes(text: &str) -> Result<(), String> {
    size::parse(text).map(drop).map_err(|error| error.to_string())
}

/// A size, or none.
pub fn swap(text: &str) -> Result<(), String> {
    if text == "-1" { Ok(()) } else { bytes(text) }
}

/// A number of processors.
pub fn decimal(text: &str) -> Result<(), String> {
    size::nano_cpus(text).map(drop).map_err(|error| error.to_string())
}

/// What Go says of what is no number.
pub fn integer(text: &str) -> Result<(), String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    match text.parse::<i64>() {
        Ok(_) => Ok(()),
        Err(_) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(format!("parsing \"{text}\": value out of range"))
        }
        Err(_) => Err(format!("parsing \"{text}\": invalid syntax")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_stands_once() {
        let names: std::collections::BTreeSet<&str> = SPEC_FLAGS.iter().map(|flag| flag.name).collect();
        let shorts: Vec<char> = SPEC_FLAGS.iter().filter_map(|flag| flag.short).collect();
        let once: std::collections::BTreeSet<&char> = shorts.iter().collect();
        assert_eq!((names.len(), once.len()), (SPEC_FLAGS.len(), shorts.len()));
        let refused = |name: &str| refusal(&BUNDLE_REFUSED, name);
        assert_eq!(refused("init").unwrap(), "--init is for containers, not for bundles");
        assert!(refused("oom-kill-disable").unwrap().contains("cgroup v1"));
        assert_eq!(refused("env"), None);
    }
}
