//! config.md "Process".

use serde::Deserialize;

use super::object::objects;
use super::or_default;

objects! {
    read: Process ConsoleSize User Capabilities Rlimit IoPriority Scheduler ExecCpuAffinity;
    both:
}

/// The container's program and what it runs as.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self", expecting = "an object")]
pub struct Process {
    /// Whether a pseudoterminal becomes stdin, stdout and stderr.
    #[serde(deserialize_with = "or_default")]
    pub terminal: bool,
    /// Size of that terminal.
    pub console_size: Option<ConsoleSize>,
    /// User and groups.
    #[serde(deserialize_with = "or_default")]
    pub user: User,
    /// argv.
    #[serde(deserialize_with = "or_default")]
    pub args: Vec<String>,
    /// The whole environment, `KEY=value` each.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// Absolute working directory.
    #[serde(deserialize_with = "or_default")]
    pub cwd: String,
    /// Capability sets; absent means none at all.
    pub capabilities: Option<Capabilities>,
    /// Resource limits.
    #[serde(deserialize_with = "or_default")]
    pub rlimits: Vec<Rlimit>,
    /// Whether execve may never grant privileges.
    #[serde(deserialize_with = "or_default")]
    pub no_new_privileges: bool,
    /// AppArmor profile of the program.
    #[serde(deserialize_with = "or_default")]
    pub apparmor_profile: String,
    /// /proc/PID/oom_score_adj, -1000 to 1000; absent leaves it alone.
    pub oom_score_adj: Option<i64>,
    /// SELinux label of the program.
    #[serde(deserialize_with = "or_default")]
    pub selinux_label: String,
    /// I/O priority (ioprio_set(2)).
    #[serde(rename = "ioPriority")]
    pub io_priority: Option<IoPriority>,
    /// CPU scheduler (sched_setattr(2)).
    pub scheduler: Option<Scheduler>,
    /// CPU affinity of `exec`.
    #[serde(rename = "execCPUAffinity")]
    pub exec_cpu_affinity: Option<ExecCpuAffinity>,
}

/// Columns and rows of a terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(remote = "Self", expecting = "an object")]
pub struct ConsoleSize {
    /// Rows.
    pub height: u64,
    /// Columns.
    pub width: u64,
}

/// config.md "POSIX-platform User".
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self", expecting = "an object")]
pub struct User {
    /// User id in the container's namespace.
    #[serde(deserialize_with = "or_default")]
    pub uid: u32,
    /// Group id in the container's namespace.
    #[serde(deserialize_with = "or_default")]
    pub gid: u32,
    /// File mode creation mask; absent keeps the runtime's 0022.
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(deserialize_with = "or_default")]
    pub additional_gids: Vec<u32>,
}

/// The five capability sets, as names (`CAP_KILL`), in the document's order.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, remote = "Self", expecting = "an object")]
pub struct Capabilities {
    /// Bounding set.
    #[serde(deserialize_with = "or_default")]
    pub bounding: Vec<String>,
    /// Effective set.
    #[serde(deserialize_with = "or_default")]
    pub effective: Vec<String>,
    /// Inheritable set.
    #[serde(deserialize_with = "or_default")]
    pub inheritable: Vec<String>,
    /// Permitted set.
    #[serde(deserialize_with = "or_default")]
    pub permitted: Vec<String>,
    /// Ambient set.
    #[serde(deserialize_with = "or_default")]
    pub ambient: Vec<String>,
}

/// One resource limit (getrlimit(2)).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(remote = "Self", expecting = "an object")]
pub struct Rlimit {
    /// `RLIMIT_NOFILE` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// I/O scheduling class and priority.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(remote = "Self", expecting = "an object")]
pub struct IoPriority {
    /// `IOPRIO_CLASS_RT`, `IOPRIO_CLASS_BE` or `IOPRIO_CLASS_IDLE`.
    pub class: String,
    /// 0 (highest) to 7.
    #[serde(default, deserialize_with = "or_default")]
    pub priority: i32,
}

/// CPU scheduling policy.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, remote = "Self", expecting = "an object")]
pub struct Scheduler {
    /// `SCHED_OTHER` and so on.
    #[serde(deserialize_with = "or_default")]
    pub policy: String,
    /// Nice value, for SCHED_OTHER and SCHED_BATCH.
    pub nice: Option<i32>,
    /// Static priority, for SCHED_FIFO and SCHED_RR.
    pub priority: Option<i32>,
    /// `SCHED_FLAG_…` names.
    #[serde(deserialize_with = "or_default")]
    pub flags: Vec<String>,
    /// Nanoseconds, for SCHED_DEADLINE.
    pub runtime: Option<u64>,
    /// Nanoseconds, for SCHED_DEADLINE.
    pub deadline: Option<u64>,
    /// Nanoseconds, for SCHED_DEADLINE.
    pub period: Option<u64>,
}

/// CPU lists (`0-3,7`) for a process that `exec` adds.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, remote = "Self", expecting = "an object")]
pub struct ExecCpuAffinity {
    /// Before the process is moved into the container's cgroup.
    #[serde(deserialize_with = "or_default")]
    pub initial: String,
    /// After it.
    #[serde(rename = "final", deserialize_with = "or_default")]
    pub after: String,
}
