//! The document that is written: `config.json` of the OCI runtime-spec, as far as bundles of images need it.
//!
//! Types of our own, as `oci-spec` writes sets and maps in no stable order and nulls for what is absent; here the same
//! image and flags give the same bytes. What is empty is left out. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

/// The version of the specification that the document is written by: nothing in it is younger, and crun takes no other
/// before 1.9.
pub const VERSION: &str = "1.0.2";

/// `config.json`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// [`VERSION`].
    pub oci_version: &'static str,
    /// What is run.
    pub process: Process,
    /// Its root folder.
    pub root: Root,
    /// In a UTS namespace of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// In the order in which they are made.
    pub mounts: Vec<Mount>,
    /// Notes of the user's, never of the image's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What Linux alone has.
    pub linux: Linux,
}

/// `process`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// On a terminal?
    #[serde(skip_serializing_if = "is_false")]
    pub terminal: bool,
    /// How large it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    /// Who runs it.
    pub user: User,
    /// The command line.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Absolute.
    pub cwd: String,
    /// capabilities(7).
    pub capabilities: Capabilities,
    /// setrlimit(2).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<Rlimit>,
    /// PR_SET_NO_NEW_PRIVS of prctl(2).
    #[serde(skip_serializing_if = "is_false")]
    pub no_new_privileges: bool,
    /// AppArmor's profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor_profile: Option<String>,
    /// Of SELinux.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selinux_label: Option<String>,
    /// -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
}

/// `process.consoleSize`, in characters.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ConsoleSize {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

/// `process.user`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
}

/// `process.capabilities`: names such as `CAP_CHOWN`. Inheritable and ambient ones stay empty (CVE-2022-24769).
#[derive(Clone, Debug, Default, Serialize)]
pub struct Capabilities {
    /// What can ever be had.
    pub bounding: Vec<String>,
    /// What is in force.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub effective: Vec<String>,
    /// What can be put into force.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub permitted: Vec<String>,
}

/// `process.rlimits`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rlimit {
    /// Such as `RLIMIT_NOFILE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Soft limit; the highest number is none.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// `root`.
#[derive(Clone, Debug, Serialize)]
pub struct Root {
    /// Relative to the bundle.
    pub path: &'static str,
    /// Can it be written to?
    #[serde(skip_serializing_if = "is_false")]
    pub readonly: bool,
}

/// One of `mounts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Where, inside.
    pub destination: String,
    /// File system, or `bind`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What.
    pub source: String,
    /// How.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// `linux`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Linux {
    /// In a user namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// Likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
    /// Kernel parameters by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl: BTreeMap<String, String>,
    /// Limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Where the cgroup is made; the runtime chooses where nothing stands here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroups_path: Option<String>,
    /// Those of its own.
    pub namespaces: Vec<Namespace>,
    /// Beside the usual ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Which system calls there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Seccomp>,
    /// How mounts of the root's mount go from and to the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs_propagation: Option<&'static str>,
    /// Nobody sees what is there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub masked_paths: Vec<String>,
    /// Nobody writes there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub readonly_paths: Vec<String>,
    /// Of SELinux, for the mounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_label: Option<String>,
}

/// Ids inside, ids outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdMapping {
    /// First inside.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// First outside.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// A namespace of this kind, a new one where nobody says whose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Namespace {
    /// Such as `pid`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// One of `linux.devices`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// `c`, `b` or `p`.
    #[serde(rename = "type")]
    pub kind: char,
    /// Where, inside.
    pub path: String,
    /// Number of its driver.
    pub major: u32,
    /// Number within.
    pub minor: u32,
    /// Permissions.
    pub file_mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// `linux.resources`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Resources {
    /// In order; the last that fits decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceRule>,
    /// Memory.
    #[serde(skip_serializing_if = "Memory::is_empty")]
    pub memory: Memory,
    /// Processors.
    #[serde(skip_serializing_if = "Cpu::is_empty")]
    pub cpu: Cpu,
    /// Processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<Pids>,
    /// Block devices.
    #[serde(rename = "blockIO", skip_serializing_if = "BlockIo::is_empty")]
    pub block_io: BlockIo,
}

/// Who may use which devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceRule {
    /// Or not.
    pub allow: bool,
    /// `c`, `b`, or both where nothing stands here.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<char>,
    /// All where nothing stands here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major: Option<u32>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor: Option<u32>,
    /// Of `rwm`.
    pub access: String,
}

/// Bytes; -1 is without limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// At most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// Wished for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<i64>,
    /// Memory and swap together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<i64>,
}

impl Memory {
    fn is_empty(&self) -> bool {
        *self == Memory::default()
    }
}

/// Processors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cpu {
    /// Weight, 2 to 262144.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// Microseconds per period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<i64>,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
    /// Such as `0-3,7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// Nodes of memory, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mems: Option<String>,
}

impl Cpu {
    fn is_empty(&self) -> bool {
        *self == Cpu::default()
    }
}

/// Processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pids {
    /// -1 is without limit.
    pub limit: i64,
}

/// Block devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockIo {
    /// 10 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// 10 to 1000, of single devices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weight_device: Vec<WeightDevice>,
    /// Bytes per second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub throttle_read_bps_device: Vec<Throttle>,
    /// Likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub throttle_write_bps_device: Vec<Throttle>,
    /// Operations per second.
    #[serde(rename = "throttleReadIOPSDevice", skip_serializing_if = "Vec::is_empty")]
    pub throttle_read_iops_device: Vec<Throttle>,
    /// Likewise.
    #[serde(rename = "throttleWriteIOPSDevice", skip_serializing_if = "Vec::is_empty")]
    pub throttle_write_iops_device: Vec<Throttle>,
}

impl BlockIo {
    fn is_empty(&self) -> bool {
        *self == BlockIo::default()
    }
}

/// The weight of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WeightDevice {
    /// Number of its driver.
    pub major: u32,
    /// Number within.
    pub minor: u32,
    /// 10 to 1000.
    pub weight: u16,
}

/// A rate of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Throttle {
    /// Number of its driver.
    pub major: u32,
    /// Number within.
    pub minor: u32,
    /// Per second.
    pub rate: u64,
}

/// `linux.seccomp`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seccomp {
    /// Of what no rule fits.
    pub default_action: String,
    /// errno of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// Such as `SCMP_ARCH_X86_64`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// Such as `SECCOMP_FILTER_FLAG_LOG`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Where an agent listens for SCMP_ACT_NOTIFY.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_path: Option<String>,
    /// What the agent is told besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_metadata: Option<String>,
    /// The rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub syscalls: Vec<SeccompRule>,
}

/// A rule of seccomp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SeccompRule {
    /// Of system calls.
    pub names: Vec<String>,
    /// What becomes of them.
    pub action: String,
    /// With which errno.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// All have to fit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<SeccompArg>,
}

/// A condition on one argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeccompArg {
    /// 0 to 5.
    pub index: u32,
    /// What it is compared with; the mask of `SCMP_CMP_MASKED_EQ`.
    pub value: u64,
    /// What the masked one is compared with.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub value_two: u64,
    /// Such as `SCMP_CMP_EQ`.
    pub op: String,
}

// serde passes references.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !*value
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
