//! Where in its life a container is (runtime.md "State"): asked of the kernel each time, never remembered.
//!
//! init alive and `create` unfinished: creating. init alive and its cgroup frozen (cgroup-v2.rst
//! "cgroup.freeze"): paused. init alive and the gate has a reader: created. init alive and the program is
//! executed: running. Else: stopped, unless a `create` that lives has yet to make init.

use std::fmt;

use super::{CgroupRecord, Entry, Record, gate};
use crate::error::Result;

/// The status of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `create` is at work.
    Creating,
    /// Ready for `start`.
    Created,
    /// The program runs.
    Running,
    /// Created or running, but its cgroup is frozen.
    Paused,
    /// init has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

impl Status {
    /// The status of the container of an entry, whose record has just been read.
    ///
    /// # Errors
    /// Only what /proc and the gate refuse; a container whose parts have vanished is stopped.
    pub fn of(entry: &Entry, record: &Record) -> Result<Self> {
        let Some(init) = record.init else {
            // No init yet: what counts is whether someone is still about to make one.
            let alive = record.creating && record.creator.is_alive()?;
            return Ok(if alive { Self::Creating } else { Self::Stopped });
        };
        if !init.is_alive()? {
            return Ok(Self::Stopped);
        }
        if record.creating {
            return Ok(Self::Creating);
        }
        // Before the gate: an init that waits there in a frozen cgroup would not hear `start`.
        if record.cgroup.as_ref().is_some_and(is_frozen) {
            return Ok(Self::Paused);
        }
        if gate::has_reader(entry)? {
            return Ok(Self::Created);
        }
        // CRIU's forks are programs without ever having executed one.
        if record.restored {
            return Ok(Self::Running);
        }
        // Asked after the gate: an init lets go of that when it executes the program, or ends.
        Ok(match init.has_executed()? {
            Some(true) => Self::Running,
            // `run`: there is no gate, and init has not become the program yet.
            Some(false) if !gate::exists(entry)? => Self::Creating,
            // It was killed at the gate, and the kernel has closed its descriptors first.
            Some(false) | None => Self::Stopped,
        })
    }
}

/// Whether the cgroup is told to freeze; a cgroup that is gone is not.
fn is_frozen(cgroup: &CgroupRecord) -> bool {
    std::fs::read(format!("{}/{}/cgroup.freeze", cgroup.mount, cgroup.path))
        .is_ok_and(|text| text.first() == Some(&b'1'))
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
