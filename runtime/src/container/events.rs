//! `events`: what a container uses, from time to time, and that the kernel kills in it for want of memory.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use serde::Serialize;

use super::{Entry, Pidfd, Record, group, has_ended, poll};
use crate::cgroup::{Cgroup, OomWatch, Stats};
use crate::error::{Error, Kind, Result};
use crate::kernel::intel_rdt;

/// One line of output; the order of the fields is runc's.
#[derive(Debug, Serialize)]
pub struct Event<'a> {
    /// `stats` or `oom`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The container's id.
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data>,
}

#[derive(Debug, Serialize)]
struct Data {
    #[serde(flatten)]
    cgroup: Stats,
    intel_rdt: intel_rdt::Stats,
    /// runc counts on interfaces that it made itself, which it does for no OCI configuration.
    network_interfaces: Option<()>,
}

/// What `events` needs of a container that lives.
#[derive(Debug)]
pub struct Source {
    record: Record,
    init: Pidfd,
    cgroup: Cgroup,
}

impl Source {
    /// Opens the container.
    ///
    /// # Errors
    /// Kind `Status` "container with id X is not running"; where it has no cgroup, or that is gone.
    pub fn open(entry: &Entry) -> Result<Self> {
        let record = entry.record()?;
        let Some(init) = record.init.map(|init| init.open()).transpose()?.flatten() else {
            return Err(not_running(&record));
        };
        match group::open(super::own_cgroup(&record)?) {
            Err(_) if has_ended(&record)? => Err(not_running(&record)),
            opened => Ok(Self { cgroup: opened?, record, init }),
        }
    }

    /// What the container uses now.
    ///
    /// # Errors
    /// Of reading it; kind `Status` as of [`Self::open`] where it has ended, and its cgroup is gone.
    pub fn stats(&self) -> Result<Event<'_>> {
        match self.read() {
            Err(_) if has_ended(&self.record)? => Err(not_running(&self.record)),
            read => read,
        }
    }

    fn read(&self) -> Result<Event<'_>> {
        let intel_rdt = match (self.record.intel_rdt.as_slice(), self.init.pid()) {
            ([], _) => intel_rdt::Stats::default(),
            (folders, _) => intel_rdt::Stats::read(&intel_rdt::root()?, folders)?,
        };
        let data = Data { cgroup: self.cgroup.stats()?, intel_rdt, network_interfaces: None };
        Ok(self.event("stats", Some(data)))
    }

    fn event(&self, kind: &'static str, data: Option<Data>) -> Event<'_> {
        Event { kind, id: self.record.id.as_str(), data }
    }

    /// Hands what the container uses to `tell` after each `interval`, and at once that it runs out of memory,
    /// until its init has ended.
    ///
    /// # Errors
    /// Of reading and of `tell`.
    pub fn follow(&self, interval: Duration, mut tell: impl FnMut(&Event<'_>) -> Result<()>) -> Result<()> {
        let mut oom = OomWatch::open(&self.cgroup)?;
        let mut tick = Instant::now().checked_add(interval);
        loop {
            let mut fds = vec![PollFd::new(self.init.as_fd(), PollFlags::POLLIN)];
            fds.extend(oom.as_ref().map(|oom| PollFd::new(oom.as_fd(), PollFlags::POLLPRI)));
            let told = poll(&mut fds, tick)?;
            let ended = fds[0].any().unwrap_or(false);
            // Also at the end: the kill of init itself is counted before it dies.
            match oom.as_mut().map(OomWatch::has_killed).transpose()? {
                Some(Some(true)) => tell(&self.event("oom", None))?,
                Some(None) => oom = None,
                _ => {}
            }
            if ended {
                return Ok(());
            }
            if !told {
                match self.stats() {
                    Ok(event) => tell(&event)?,
                    // Its cgroup may be gone before we hear of its end.
                    Err(error) if error.kind() == Kind::Status => return Ok(()),
                    Err(error) => return Err(error),
                }
                tick = tick.and_then(|tick| tick.checked_add(interval)).map(|tick| tick.max(Instant::now()));
                // `update` may have switched the memory controller on.
                if oom.is_none() {
                    oom = OomWatch::open(&self.cgroup)?;
                }
            }
        }
    }
}

fn not_running(record: &Record) -> Error {
    Error::new(Kind::Status, format!("container with id {} is not running", record.id))
}
