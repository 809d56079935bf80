//! config-linux.md.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::object::objects;
use super::or_default;

objects! {
    read: Linux Namespace Device NetDevice MemoryPolicy Personality TimeOffset DeviceRule Seccomp Syscall SyscallArg;
    both: IdMapping IntelRdt Resources Memory Cpu Pids BlockIo WeightDevice ThrottleDevice HugepageLimit Network
        Rdma
}

/// Linux's part of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self", expecting = "an object")]
pub struct Linux {
    /// New user namespace: user ids.
    #[serde(deserialize_with = "or_default")]
    pub uid_mappings: Vec<IdMapping>,
    /// New user namespace: group ids.
    #[serde(deserialize_with = "or_default")]
    pub gid_mappings: Vec<IdMapping>,
    /// Kernel parameters of the container's namespaces.
    #[serde(deserialize_with = "or_default")]
    pub sysctl: BTreeMap<String, String>,
    /// cgroup limits.
    pub resources: Option<Resources>,
    /// Where the cgroup is.
    #[serde(deserialize_with = "or_default")]
    pub cgroups_path: String,
    /// Namespaces to create or join.
    #[serde(deserialize_with = "or_default")]
    pub namespaces: Vec<Namespace>,
    /// Device nodes.
    #[serde(deserialize_with = "or_default")]
    pub devices: Vec<Device>,
    /// Host network devices to move into the container, by name.
    #[serde(deserialize_with = "or_default")]
    pub net_devices: BTreeMap<String, NetDevice>,
    /// System call filter.
    pub seccomp: Option<Seccomp>,
    /// `shared`, `slave`, `private`, `unbindable`, or with `r` in front.
    #[serde(deserialize_with = "or_default")]
    pub rootfs_propagation: String,
    /// Paths hidden from the container.
    #[serde(deserialize_with = "or_default")]
    pub masked_paths: Vec<String>,
    /// Paths made read-only.
    #[serde(deserialize_with = "or_default")]
    pub readonly_paths: Vec<String>,
    /// SELinux context of mounts.
    #[serde(deserialize_with = "or_default")]
    pub mount_label: String,
    /// Intel Resource Director Technology.
    pub intel_rdt: Option<IntelRdt>,
    /// NUMA memory policy (set_mempolicy(2)).
    pub memory_policy: Option<MemoryPolicy>,
    /// Execution domain (personality(2)).
    pub personality: Option<Personality>,
    /// Offsets of a new time namespace, by clock (`monotonic`, `boottime`).
    #[serde(deserialize_with = "or_default")]
    pub time_offsets: BTreeMap<String, TimeOffset>,
}

/// One range of an id mapping (user_namespaces(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", expecting = "an object")]
pub struct IdMapping {
    /// First id inside.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// First id outside.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// Number of ids.
    pub size: u32,
}

/// One namespace to create, or to join by path.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(remote = "Self", expecting = "an object")]
pub struct Namespace {
    /// `pid`, `network`, `mount`, `ipc`, `uts`, `user`, `cgroup`, `time`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Absolute path of a namespace file; empty for a new namespace.
    #[serde(default, deserialize_with = "or_default")]
    pub path: String,
}

/// A device node inside the container.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self", expecting = "an object")]
pub struct Device {
    /// `c`, `u`, `b` or `p`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Absolute path inside the container.
    pub path: String,
    /// Major number.
    #[serde(default, deserialize_with = "or_default")]
    pub major: i64,
    /// Minor number.
    #[serde(default, deserialize_with = "or_default")]
    pub minor: i64,
    /// Permission bits; 0666 where absent.
    pub file_mode: Option<u32>,
    /// Owner inside the container.
    pub uid: Option<u32>,
    /// Group inside the container.
    pub gid: Option<u32>,
}

/// A network device to move.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, remote = "Self", expecting = "an object")]
pub struct NetDevice {
    /// Name inside the container; the host's where empty.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
}

/// Intel RDT (resctrl).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, remote = "Self", expecting = "an object")]
pub struct IntelRdt {
    /// Class of service; the container's id where empty.
    #[serde(rename = "closID", deserialize_with = "or_default")]
    pub clos_id: String,
    /// Lines for `schemata`.
    #[serde(deserialize_with = "or_default")]
    pub schemata: Vec<String>,
    /// L3 cache schema.
    #[serde(rename = "l3CacheSchema", deserialize_with = "or_default")]
    pub l3_cache_schema: String,
    /// Memory bandwidth schema.
    #[serde(rename = "memBwSchema", deserialize_with = "or_default")]
    pub mem_bw_schema: String,
    /// Whether a monitoring group is made.
    #[serde(rename = "enableMonitoring", deserialize_with = "or_default")]
    pub enable_monitoring: bool,
}

/// NUMA memory policy.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, remote = "Self", expecting = "an object")]
pub struct MemoryPolicy {
    /// `MPOL_…`.
    #[serde(deserialize_with = "or_default")]
    pub mode: String,
    /// List of nodes (`0-1,3`).
    #[serde(deserialize_with = "or_default")]
    pub nodes: String,
    /// `MPOL_F_…`.
    #[serde(deserialize_with = "or_default")]
    pub flags: Vec<String>,
}

/// Execution domain.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(remote = "Self", expecting = "an object")]
pub struct Personality {
    /// `LINUX` or `LINUX32`.
    pub domain: String,
    /// None are defined today.
    #[serde(default, deserialize_with = "or_default")]
    pub flags: Vec<String>,
}

/// Offset of one clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default, remote = "Self", expecting = "an object")]
pub struct TimeOffset {
    /// Seconds.
    #[serde(deserialize_with = "or_default")]
    pub secs: i64,
    /// Nanoseconds, below 10^9.
    #[serde(deserialize_with = "or_default")]
    pub nanosecs: u32,
}

/// config-linux.md "Control groups"; also what `update` is given, and what a container's record keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self", expecting = "an object")]
pub struct Resources {
    /// Device access rules, in order. A record does without them: `update` leaves them as they are.
    #[serde(deserialize_with = "or_default", skip_serializing)]
    pub devices: Vec<DeviceRule>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// CPU time and placement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Number of tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<Pids>,
    /// Block I/O.
    #[serde(rename = "blockIO", skip_serializing_if = "Option::is_none")]
    pub block_io: Option<BlockIo>,
    /// Huge pages.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub hugepage_limits: Vec<HugepageLimit>,
    /// net_cls and net_prio, which only cgroup v1 has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// RDMA, by device.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub rdma: BTreeMap<String, Rdma>,
    /// cgroup v2 files and their content.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub unified: BTreeMap<String, String>,
}

/// One device access rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(remote = "Self", expecting = "an object")]
pub struct DeviceRule {
    /// Allow or deny.
    pub allow: bool,
    /// `a` (or empty), `c` or `b`.
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    pub kind: String,
    /// Major number; all where absent.
    pub major: Option<i64>,
    /// Minor number; all where absent.
    pub minor: Option<i64>,
    /// Any of `r`, `w`, `m`.
    #[serde(default, deserialize_with = "or_default")]
    pub access: String,
}

/// Memory limits in bytes, -1 for none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self", expecting = "an object")]
pub struct Memory {
    /// Hard limit.
    pub limit: Option<i64>,
    /// Soft limit.
    pub reservation: Option<i64>,
    /// Limit of memory and swap together.
    pub swap: Option<i64>,
    /// Kernel memory (v1 only, deprecated).
    pub kernel: Option<i64>,
    /// Kernel TCP memory (v1 only).
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: Option<i64>,
    /// Swappiness (v1 only).
    pub swappiness: Option<u64>,
    /// v1 only.
    #[serde(rename = "disableOOMKiller")]
    pub disable_oom_killer: Option<bool>,
    /// v1 only.
    pub use_hierarchy: Option<bool>,
    /// Whether a limit below the present usage is refused.
    pub check_before_update: Option<bool>,
}

/// CPU limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self", expecting = "an object")]
pub struct Cpu {
    /// Relative weight on cgroup v1's scale.
    pub shares: Option<u64>,
    /// Microseconds per period; negative for none.
    pub quota: Option<i64>,
    /// Microseconds that may be saved up.
    pub burst: Option<u64>,
    /// Microseconds.
    pub period: Option<u64>,
    /// v1 only.
    pub realtime_runtime: Option<i64>,
    /// v1 only.
    pub realtime_period: Option<u64>,
    /// CPU list.
    #[serde(deserialize_with = "or_default")]
    pub cpus: String,
    /// NUMA node list.
    #[serde(deserialize_with = "or_default")]
    pub mems: String,
    /// 1 makes every task SCHED_IDLE.
    pub idle: Option<i64>,
}

/// Task limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, remote = "Self", expecting = "an object")]
pub struct Pids {
    /// Number of tasks; -1 for none.
    pub limit: Option<i64>,
}

/// Block I/O limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self", expecting = "an object")]
pub struct BlockIo {
    /// 10 to 1000.
    pub weight: Option<u16>,
    /// v1 only.
    pub leaf_weight: Option<u16>,
    /// Per device.
    #[serde(deserialize_with = "or_default")]
    pub weight_device: Vec<WeightDevice>,
    /// Bytes per second.
    #[serde(deserialize_with = "or_default")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    /// Bytes per second.
    #[serde(deserialize_with = "or_default")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    /// Operations per second.
    #[serde(rename = "throttleReadIOPSDevice", deserialize_with = "or_default")]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    /// Operations per second.
    #[serde(rename = "throttleWriteIOPSDevice", deserialize_with = "or_default")]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

/// Weight of one block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self", expecting = "an object")]
pub struct WeightDevice {
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// 10 to 1000.
    pub weight: Option<u16>,
    /// v1 only.
    pub leaf_weight: Option<u16>,
}

/// Rate of one block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", expecting = "an object")]
pub struct ThrottleDevice {
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Per second.
    #[serde(default, deserialize_with = "or_default")]
    pub rate: u64,
}

/// Limit of one huge page size.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self", expecting = "an object")]
pub struct HugepageLimit {
    /// `2MB`.
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}

/// cgroup v1's network controllers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, remote = "Self", expecting = "an object")]
pub struct Network {
    /// net_cls.
    #[serde(rename = "classID")]
    pub class_id: Option<u32>,
    /// net_prio.
    #[serde(deserialize_with = "or_default")]
    pub priorities: Vec<serde_json::Value>,
}

/// RDMA limits of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self", expecting = "an object")]
pub struct Rdma {
    /// Handles.
    pub hca_handles: Option<u32>,
    /// Objects.
    pub hca_objects: Option<u32>,
}

/// config-linux.md "Seccomp".
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self", expecting = "an object")]
pub struct Seccomp {
    /// Action where no rule matches.
    pub default_action: String,
    /// errno of the default action.
    pub default_errno_ret: Option<u32>,
    /// `SCMP_ARCH_…`; the native one is always included.
    #[serde(default, deserialize_with = "or_default")]
    pub architectures: Vec<String>,
    /// `SECCOMP_FILTER_FLAG_…`; an absent list is not an empty one.
    pub flags: Option<Vec<String>>,
    /// Socket that receives the notification descriptor.
    #[serde(default, deserialize_with = "or_default")]
    pub listener_path: String,
    /// Opaque text for the listener.
    #[serde(default, deserialize_with = "or_default")]
    pub listener_metadata: String,
    /// Rules.
    #[serde(default, deserialize_with = "or_default")]
    pub syscalls: Vec<Syscall>,
}

/// One rule for several system calls.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self", expecting = "an object")]
pub struct Syscall {
    /// System call names.
    pub names: Vec<String>,
    /// `SCMP_ACT_…`.
    pub action: String,
    /// errno, or the number SCMP_ACT_TRACE gives the tracer.
    pub errno_ret: Option<u32>,
    /// Conditions on arguments.
    #[serde(default, deserialize_with = "or_default")]
    pub args: Vec<SyscallArg>,
}

/// A condition on one argument.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self", expecting = "an object")]
pub struct SyscallArg {
    /// 0 to 5.
    pub index: u32,
    /// Operand (the mask of SCMP_CMP_MASKED_EQ).
    pub value: u64,
    /// The value of SCMP_CMP_MASKED_EQ.
    #[serde(default, deserialize_with = "or_default")]
    pub value_two: u64,
    /// `SCMP_CMP_…`.
    pub op: String,
}
