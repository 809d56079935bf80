//! A process that a record names, told from a later one with the same number (proc_pid_stat(5)).

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Kind, Result};

/// A process: a number and when it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number here.
    pub pid: i32,
    /// When it began, in clock ticks since the host did (field 22).
    pub start_time: u64,
}

impl ProcessId {
    /// The process with this number, if there is one that has not ended.
    #[must_use]
    pub fn of(pid: i32) -> Option<ProcessId> {
        let (state, start_time) = stat(pid)?;
        (!has_ended(state)).then_some(ProcessId { pid, start_time })
    }

    /// This process.
    ///
    /// # Errors
    /// No procfs.
    pub fn own() -> Result<ProcessId> {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        ProcessId::of(pid).ok_or_else(|| Error::not_found(format!("/proc/{pid}/stat cannot be read")))
    }

    /// Is it there, and no zombie?
    #[must_use]
    pub fn is_alive(self) -> bool {
        ProcessId::of(self.pid) == Some(self)
    }

    /// A descriptor of it, which is of this process for certain (pidfd_open(2)); None if it has ended.
    ///
    /// # Errors
    /// The system's reason.
    pub fn open(self) -> Result<Option<OwnedFd>> {
        let number = Some(self.pid).filter(|pid| *pid > 0);
        let Some(pid) = number.and_then(Pid::from_raw) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // Whoever it is of, is alive or at least not waited for: the number has not gone to another since.
            Ok(pidfd) => Ok(self.is_alive().then_some(pidfd)),
            Err(Errno::SRCH) => Ok(None),
            Err(errno) => Err(errno).during(|| format!("pidfd_open({})", self.pid)),
        }
    }

    /// Kills it, and waits for its end; one that has ended is left alone.
    ///
    /// # Errors
    /// It does not even end by SIGKILL; the system's reason.
    pub fn end(self) -> Result<()> {
        self.open()?.map_or(Ok(()), |pidfd| end(pidfd.as_fd()))
    }
}

/// Kills a process, and waits for its end.
///
/// # Errors
/// It does not even end by SIGKILL; the system's reason.
pub fn end(pidfd: BorrowedFd) -> Result<()> {
    match pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(errno) => return Err(errno).during(|| "pidfd_send_signal".to_owned()),
    }
    let patience = Timespec::try_from(KILLED).ok();
    let ended = retry_on_intr(|| poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], patience.as_ref()));
    if ended.during(|| "poll".to_owned())? == 0 {
        return Err(Error::new(Kind::System, "it does not end"));
    }
    Ok(())
}

/// How long a killed process may take to end.
const KILLED: Duration = Duration::from_secs(10);

/// Zombie, dead.
fn has_ended(state: u8) -> bool {
    matches!(state, b'Z' | b'X' | b'x')
}

/// State and time of start.
fn stat(pid: i32) -> Option<(u8, u64)> {
    // All of it comes by one read(2), and is some 350 bytes.
    let mut buffer = [0; 1024];
    let count = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut buffer).ok()?;
    let text = buffer.get(..count)?;
    // The name, in parentheses, may have anything in it but ends at the last one.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 2..)?).ok()?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.bytes().next()?;
    // Field 3 was the state.
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Which uptime of the host this is (random(4), `boot_id`).
///
/// # Errors
/// The system's reason.
pub fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(fs::read_to_string(path).during(|| format!("read {path}"))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_known_until_it_ends_even_if_nobody_waits_for_it() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let id = ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(id.is_alive() && id.open().unwrap().is_some());
        let another = ProcessId { start_time: id.start_time + 1, ..id };
        assert!(!another.is_alive() && another.open().unwrap().is_none());
        child.kill().unwrap();
        while id.is_alive() {
            std::thread::yield_now();
        }
        assert!(id.open().unwrap().is_none(), "a zombie has ended");
        child.wait().unwrap();
        assert!(id.open().unwrap().is_none() && ProcessId::of(0).is_none() && ProcessId::of(-1).is_none());
        assert!(ProcessId::own().unwrap().is_alive());
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
