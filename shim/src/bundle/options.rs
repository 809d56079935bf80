//! What the flags of `run`, `create` and `bundle` ask for, as plain data.
//!
//! Flags are read once (`cli::spec_flags`), with everything that has to be looked up for them: files, devices, the
//! caller's environment. What stands here can be made into a document without asking anybody. Pure.

use std::collections::BTreeMap;

use crate::bundle::spec::{Device, DeviceRule, Mount, Rlimit, Throttle};

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
    /// Which namespaces are the host's.
    pub host_namespaces: HostNamespaces,
    /// A cgroup or a slice of systemd.
    pub cgroup_parent: Option<String>,
    /// `--label` and `--annotation`.
    pub annotations: BTreeMap<String, String>,
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

/// Which namespaces are the host's.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools)]
pub struct HostNamespaces {
    /// Process ids.
    pub pid: bool,
    /// System V IPC and message queues.
    pub ipc: bool,
    /// Host and domain name.
    pub uts: bool,
    /// cgroups.
    pub cgroup: bool,
    /// Network.
    pub network: bool,
}

/// Limits, as written.
#[derive(Clone, Debug, Default)]
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
    /// Bytes per second.
    pub read_bps: Vec<Throttle>,
    /// Likewise.
    pub write_bps: Vec<Throttle>,
    /// Operations per second.
    pub read_iops: Vec<Throttle>,
    /// Likewise.
    pub write_iops: Vec<Throttle>,
}
