//! Specification → plan: plain data, everything decided, nothing done.
//!
//! Names become numbers, defaults become values, contradictions become errors with their JSON pointer. What
//! comes after carries a [`Plan`] out and decides nothing.

mod build;
pub mod capability;
pub mod cgroup;
pub mod device;
pub mod devices;
pub mod exec;
pub mod intel_rdt;
pub mod mount;
pub mod namespace;
pub mod network;
pub mod rlimit;
pub mod scheduler;
pub mod seccomp;
pub mod sysctl;

pub use build::{Facts, build};

use capability::Sets;
use device::Device;
use mount::{Mount, Propagation};
use namespace::Namespaces;
use rlimit::Rlimit;
use scheduler::{IoPriority, MemoryPolicy};
use sys::sched::SchedAttr;
use sysctl::Sysctl;

use crate::spec::{ConsoleSize, Hooks, User};

/// Everything that init and the runtime do for one container.
#[derive(Debug)]
pub struct Plan {
    /// Namespaces to make and to join.
    pub namespaces: Namespaces,
    /// The root file system.
    pub root: Root,
    /// Mounts in order.
    pub mounts: Vec<Mount>,
    /// Device nodes; `None` where the configuration brings its own /dev.
    pub devices: Option<Vec<Device>>,
    /// Paths to hide.
    pub masked_paths: Vec<String>,
    /// Paths to make read-only.
    pub readonly_paths: Vec<String>,
    /// Host name of the UTS namespace; empty to leave alone.
    pub hostname: String,
    /// NIS domain name; empty to leave alone.
    pub domainname: String,
    /// Kernel parameters.
    pub sysctls: Vec<Sysctl>,
    /// SELinux context of mounts; empty for none.
    pub mount_label: String,
    /// Network devices of the host to move in.
    pub net_devices: Vec<network::NetDevice>,
    /// Intel Resource Director Technology.
    pub intel_rdt: Option<intel_rdt::IntelRdt>,
    /// cgroup limits and devices.
    pub cgroup: cgroup::CgroupPlan,
    /// System call filter.
    pub seccomp: Option<seccomp::Filter>,
    /// The program.
    pub process: Process,
    /// Programs at points of the life cycle.
    pub hooks: Hooks,
}

/// The root file system.
#[derive(Debug)]
pub struct Root {
    /// Absolute path in the runtime's mount namespace.
    pub path: String,
    /// Whether it is read-only in the end.
    pub readonly: bool,
    /// Propagation it gets in the end; `None` where nothing is asked for.
    pub propagation: Option<Propagation>,
}

/// The program and what it runs as.
#[derive(Debug)]
pub struct Process {
    /// argv.
    pub args: Vec<String>,
    /// Environment as listed.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// User and groups.
    pub user: User,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Size of that terminal.
    pub console_size: Option<ConsoleSize>,
    /// Whether it is shown on the caller's own, which then makes the line ends: a foreground run.
    pub terminal_is_ours: bool,
    /// Capability sets.
    pub capabilities: Sets,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Whether execve may never grant privileges.
    pub no_new_privileges: bool,
    /// AppArmor profile; empty for none.
    pub apparmor_profile: String,
    /// SELinux label; empty for none.
    pub selinux_label: String,
    /// OOM score adjustment.
    pub oom_score_adj: Option<i64>,
    /// CPU scheduler.
    pub scheduler: Option<SchedAttr>,
    /// I/O priority.
    pub io_priority: Option<IoPriority>,
    /// NUMA memory policy.
    pub memory_policy: Option<MemoryPolicy>,
    /// Execution domain.
    pub personality: Option<i32>,
}

impl Process {
    /// Leaves the program's terminal to this runtime, which has one of this size itself, in rows and columns.
    pub fn take_terminal(&mut self, own_size: Option<(u16, u16)>) {
        self.terminal_is_ours = true;
        if let Some((rows, columns)) = own_size {
            self.console_size = Some(ConsoleSize { height: rows.into(), width: columns.into() });
        }
    }
}
