//! What is happening to a container: `state.json`.
//!
//! Written by the container's monitor while there is one, and by commands where there is none. Plain data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::container::NEVER;
use crate::container::host_config::PortBinding;
use crate::container::process::ProcessId;
use crate::network::EndpointState;

/// What a container is doing, in Docker's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Made, and never started.
    #[default]
    Created,
    /// Its program runs.
    Running,
    /// Its processes stand still.
    Paused,
    /// Its program has ended and will be started again.
    Restarting,
    /// It is being removed.
    Removing,
    /// Its program has ended.
    Exited,
    /// It could not be removed whole.
    Dead,
}

impl State {
    /// Does the record say that something goes on?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.monitor.is_some() || self.status.has_process() || self.status == Status::Restarting
    }
}

impl Status {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            Status::Removing => "removing",
            Status::Exited => "exited",
            Status::Dead => "dead",
        }
    }

    /// Does its program run, if only standing still?
    #[must_use]
    pub fn has_process(self) -> bool {
        matches!(self, Status::Running | Status::Paused)
    }
}

/// The document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// What it is doing.
    pub status: Status,
    /// Its first process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
    /// Who looks after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<ProcessId>,
    /// The host's uptime that this was written in (random(4), `boot_id`).
    pub boot: String,
    /// Its cgroup, below `/sys/fs/cgroup`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// How its program ended: 0 to 255, 128 and the number for a signal.
    pub exit_code: i32,
    /// Why it could not be started.
    pub error: String,
    /// The kernel killed one of its processes for want of memory.
    pub oom_killed: bool,
    /// When it was last started, as RFC 3339 has it.
    pub started_at: String,
    /// When it last ended, as RFC 3339 has it.
    pub finished_at: String,
    /// How often its restart policy has started it.
    pub restart_count: u32,
    /// Its runtime is at work to start it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_starting: bool,
    /// Who stops it to start it again at once: as long as that process is there, an end is none that it goes with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_by: Option<ProcessId>,
    /// The user has asked for its end; no restart policy undoes that.
    pub stopped_by_user: bool,
    /// Whether it works, if that is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What it has in its networks, by their names; from before its runtime is called to the end of the run.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, EndpointState>,
    /// Ports of its resolver in its own namespace, for datagrams and connections; 0 without.
    #[serde(skip_serializing_if = "is_none")]
    pub names: [u16; 2],
    /// Where its ports are published, by `port/protocol`; as long as it is in its networks.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, Option<Vec<PortBinding>>>,
}

// serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_none(ports: &[u16; 2]) -> bool {
    *ports == [0; 2]
}

impl Default for State {
    fn default() -> State {
        State {
            status: Status::Created,
            process: None,
            monitor: None,
            boot: String::new(),
            cgroup: None,
            exit_code: 0,
            error: String::new(),
            oom_killed: false,
            started_at: NEVER.to_owned(),
            finished_at: NEVER.to_owned(),
            restart_count: 0,
            is_starting: false,
            kept_by: None,
            stopped_by_user: false,
            health: None,
            networks: BTreeMap::new(),
            names: [0; 2],
            ports: BTreeMap::new(),
        }
    }
}

/// What health checks have found, with Docker's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Health {
    /// `starting`, `healthy`, `unhealthy`.
    pub status: String,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last ones, the oldest first.
    pub log: Vec<Check>,
}

/// One health check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Check {
    /// As RFC 3339 has it.
    pub start: String,
    /// Likewise.
    pub end: String,
    /// 0 is healthy; -1 for one that took too long.
    pub exit_code: i32,
    /// What it printed, cut.
    pub output: String,
}
