//! What the flags of `run`, `create` and `bundle` ask for, as plain data.
//!
//! Flags are read once (`cli::spec_flags`), with everything that has to be looked up for them: files, devices, the
//! caller's environment. What stands here can be made into a document without asking anybody. Pure.

use std::collections::BTreeMap;

use crate::bundle::spec::{Device, DeviceRule, Mount, Rlimit, Throttle, WeightDevice};

/// All of them; the default is what a command line without flags asks for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// In order; a variable without a value is taken out of the image's.
    pub env: Vec<(String, Option<String>)>,
    /// `--user`, which has the image's grammar.
    pub user: Option<String>,
    /// Absolute.
    pub workdir: Option<String>,
    /// Empty takes the image's away.
    pub entrypoint: Option<String>,
    /// Behind the image's name.
    pub command: Vec<String>,
    /// On a terminal.
    pub terminal: bool,
    /// Rows and columns of the terminal, as the program finds it.
    pub console_size: Option<(u16, u16)>,
    /// Name of the host inside.
    pub hostname: Option<String>,
    /// NIS domain name inside.
    pub domainname: Option<String>,
    /// As written.
    pub cap_add: Vec<String>,
    /// As written.
    pub cap_drop: Vec<String>,
    /// Everything the host has.
    pub privileged: bool,
    /// `--security-opt`.
    pub security: Security,
    /// The root cannot be written to.
    pub read_only: bool,
    /// Binds and tmpfs, in order.
    pub mounts: Vec<Mount>,
    /// `--device`, looked up.
    pub devices: Vec<(Device, String)>,
    /// `--device-cgroup-rule`.
    pub device_rules: Vec<DeviceRule>,
    /// `--ulimit`, one of a kind.
    pub ulimits: Vec<Rlimit>,
    /// By name.
    pub sysctls: BTreeMap<String, String>,
    /// Of /dev/shm, in bytes.
    pub shm_size: Option<i64>,
    /// Limits.
    pub limits: Limits,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Further groups, names or numbers.
    pub groups: Vec<String>,
    /// Whose namespaces it has.
    pub namespaces: Namespaces,
    /// What /dev/shm is.
    pub shared_memory: SharedMemory,
    /// Mounts of our own making: the files that tell names and hosts, an init.
    pub files: Vec<Mount>,
    /// A small init is the first process, by its path inside.
    pub init: Option<String>,
    /// A cgroup or a slice of systemd.
    pub cgroup_parent: Option<String>,
    /// `--annotation`.
    pub annotations: BTreeMap<String, String>,
    /// `--label` and `--label-file`.
    pub labels: BTreeMap<String, String>,
    /// `--stop-signal`.
    pub stop_signal: Option<String>,
}

/// `--security-opt`.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// Which filter of system calls.
    pub seccomp: SeccompChoice,
    /// Profile of AppArmor, or `unconfined`.
    pub apparmor: Option<String>,
    /// `user:USER`, `role:ROLE`, `type:TYPE`, `level:LEVEL`, `disable`.
    pub label: Vec<String>,
    /// `no-new-privileges`.
    pub no_new_privileges: bool,
    /// `systempaths=unconfined`.
    pub unmasked: bool,
}

/// Which filter of system calls.
#[derive(Clone, Debug, Default)]
pub enum SeccompChoice {
    /// Docker's.
    #[default]
    Builtin,
    /// None.
    Unconfined,
    /// The text of a profile in Docker's form.
    Profile(String),
}

/// Whose namespaces a container has (namespaces(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Process ids.
    pub pid: Whose,
    /// System V IPC and message queues.
    pub ipc: Whose,
    /// Host and domain name.
    pub uts: Whose,
    /// cgroups.
    pub cgroup: Whose,
    /// Network.
    pub network: Whose,
}

/// Whose a namespace is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// The container's own.
    #[default]
    Own,
    /// The host's.
    Host,
    /// Another container's; which process has it, is known at each start.
    Joined,
}

/// What /dev/shm is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SharedMemory {
    /// A file system of its own; the host's where the IPC namespace is.
    #[default]
    Own,
    /// Nothing.
    Nothing,
    /// This folder of the host's, which others may have too.
    Folder(String),
}

/// Limits, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<i64>,
    /// Bytes, with memory; -1 is without limit.
    pub memory_swap: Option<i64>,
    /// Bytes.
    pub memory_reservation: Option<i64>,
    /// Billionths of a processor.
    pub nano_cpus: Option<i64>,
    /// Weight.
    pub cpu_shares: Option<u64>,
    /// Microseconds.
    pub cpu_period: Option<i64>,
    /// Microseconds.
    pub cpu_quota: Option<i64>,
    /// Such as `0-3`.
    pub cpuset_cpus: Option<String>,
    /// Likewise.
    pub cpuset_mems: Option<String>,
    /// 0 and below are without limit.
    pub pids: Option<i64>,
    /// 10 to 1000, or 0.
    pub blkio_weight: Option<u16>,
    /// Of devices.
    pub blkio_weight_device: Vec<WeightDevice>,
    /// Bytes per second.
    pub read_bps: Vec<Throttle>,
    /// Likewise.
    pub write_bps: Vec<Throttle>,
    /// Operations per second.
    pub read_iops: Vec<Throttle>,
    /// Likewise.
    pub write_iops: Vec<Throttle>,
}
