//! The host's part of a container's configuration, with Docker's keys in Docker's order: `HostConfig` of `inspect`.
//!
//! What the document for the runtime was made of is told here for people; nothing is made of it again but what has to
//! be at each start: restart policy, log driver, joined namespaces, removal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::bundle::syntax::mount::MountRequest;
pub use crate::cdi::request::DeviceRequest;

/// What the host does for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(clippy::struct_excessive_bools)]
pub struct HostConfig {
    /// `--volume`, as written.
    pub binds: Option<Vec<String>>,
    /// `--cidfile`.
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    /// Where its output goes.
    pub log_config: LogConfig,
    /// `none`, `host`, `container:ID`.
    pub network_mode: String,
    /// Published ports.
    pub port_bindings: BTreeMap<String, Vec<PortBinding>>,
    /// Whether it is started again.
    pub restart_policy: RestartPolicy,
    /// `--rm`.
    pub auto_remove: bool,
    /// Driver of volumes.
    pub volume_driver: String,
    /// Containers whose volumes it has.
    pub volumes_from: Option<Vec<String>>,
    /// Rows and columns of the caller's terminal.
    pub console_size: [u16; 2],
    /// For the runtime.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// As written.
    pub cap_add: Option<Vec<String>>,
    /// As written.
    pub cap_drop: Option<Vec<String>>,
    /// `host`, `private`.
    pub cgroupns_mode: String,
    /// Name servers.
    pub dns: Vec<String>,
    /// Options of the resolver.
    pub dns_options: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// `NAME:ADDRESS`.
    pub extra_hosts: Option<Vec<String>>,
    /// Further groups.
    pub group_add: Option<Vec<String>>,
    /// `private`, `shareable`, `host`, `none`, `container:ID`.
    pub ipc_mode: String,
    /// Docker's; empty.
    pub cgroup: String,
    /// Docker's; told by where the container has them.
    pub links: Option<Vec<String>>,
    /// -1000 to 1000.
    pub oom_score_adj: i32,
    /// ``, `host`, `container:ID`.
    pub pid_mode: String,
    /// Everything the host has.
    pub privileged: bool,
    /// `-P`.
    pub publish_all_ports: bool,
    /// The root cannot be written to.
    pub readonly_rootfs: bool,
    /// As written.
    pub security_opt: Option<Vec<String>>,
    /// Path and options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tmpfs: BTreeMap<String, String>,
    /// ``, `host`.
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    /// ``, `host`.
    pub userns_mode: String,
    /// Of /dev/shm, in bytes.
    pub shm_size: i64,
    /// By name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Which OCI runtime: a name or an absolute path.
    pub runtime: String,
    /// Docker's; empty.
    pub isolation: String,
    /// Weight.
    pub cpu_shares: i64,
    /// Bytes.
    pub memory: i64,
    /// Billionths of a processor.
    pub nano_cpus: i64,
    /// As written.
    pub cgroup_parent: String,
    /// 10 to 1000.
    pub blkio_weight: u16,
    /// Docker's; none.
    pub blkio_weight_device: Vec<ThrottleDevice>,
    /// Bytes per second.
    pub blkio_device_read_bps: Vec<ThrottleDevice>,
    /// Bytes per second.
    pub blkio_device_write_bps: Vec<ThrottleDevice>,
    /// Operations per second.
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Vec<ThrottleDevice>,
    /// Operations per second.
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Vec<ThrottleDevice>,
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds.
    pub cpu_quota: i64,
    /// Docker's; 0.
    pub cpu_realtime_period: i64,
    /// Docker's; 0.
    pub cpu_realtime_runtime: i64,
    /// Such as `0-3`.
    pub cpuset_cpus: String,
    /// Likewise.
    pub cpuset_mems: String,
    /// Given devices.
    pub devices: Option<Vec<DeviceMapping>>,
    /// As written.
    pub device_cgroup_rules: Option<Vec<String>>,
    /// Devices by names that their vendors give them, and `--gpus`.
    pub device_requests: Option<Vec<DeviceRequest>>,
    /// Bytes.
    pub memory_reservation: i64,
    /// Bytes, with memory; -1 is without limit.
    pub memory_swap: i64,
    /// Docker's, of cgroup v1.
    pub memory_swappiness: Option<i64>,
    /// Docker's, of cgroup v1.
    pub oom_kill_disable: Option<bool>,
    /// 0 and below are without limit.
    pub pids_limit: Option<i64>,
    /// Limits of processes.
    pub ulimits: Option<Vec<Ulimit>>,
    /// `--mount`, as Docker tells it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountRequest>,
    /// Paths nobody sees.
    pub masked_paths: Option<Vec<String>>,
    /// Paths nobody writes to.
    pub readonly_paths: Option<Vec<String>>,
    /// A small init is the first process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// `--hardened`; ours.
    #[serde(skip_serializing_if = "is_false")]
    pub hardened: bool,
}

// serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Where a container's output goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct LogConfig {
    /// `json-file`, `none`, `journald`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// `--log-opt`.
    pub config: BTreeMap<String, String>,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig { kind: "json-file".to_owned(), config: BTreeMap::new() }
    }
}

/// Whether a container is started again when its program ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RestartPolicy {
    /// `no`, `on-failure`, `always`, `unless-stopped`.
    pub name: String,
    /// Of `on-failure`; 0 is without limit.
    pub maximum_retry_count: u32,
}

impl Default for RestartPolicy {
    fn default() -> RestartPolicy {
        RestartPolicy { name: "no".to_owned(), maximum_retry_count: 0 }
    }
}

/// Where on the host a port is published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PortBinding {
    /// Address.
    pub host_ip: String,
    /// Port.
    pub host_port: String,
}

/// A device with a limited rate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ThrottleDevice {
    /// Of the host.
    pub path: String,
    /// Per second.
    pub rate: u64,
}

/// A given device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DeviceMapping {
    /// Of the host.
    pub path_on_host: String,
    /// Inside.
    pub path_in_container: String,
    /// `rwm`.
    pub cgroup_permissions: String,
}

/// A limit of processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Ulimit {
    /// Such as `nofile`.
    pub name: String,
    /// -1 is without limit.
    pub hard: i64,
    /// -1 is without limit.
    pub soft: i64,
}
