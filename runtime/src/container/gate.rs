//! The gate between `create` and `start`: two FIFOs (fifo(7)) in the container's folder.
//!
//! `create` opens both for reading and writing before it clones; the container's init inherits them, closes
//! on exec. init blocks in a read of `gate` until `start` writes a byte into it. While init holds `gate`, an
//! open for writing succeeds: that is how everyone sees that the container is created and not yet started.
//! What init has to say goes into `report`, one JSON message per line: a failure, or the request to take the
//! seccomp listener off it, and that it is about to execute the program. When it does, both descriptors close, and
//! `start` sees the end of `report` after that word.
//!
//! init's side uses read(2) and write(2) only, because a seccomp filter may be in force already.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Entry, Pidfd, poll};
use crate::error::{Call, Error, Kind, Result};

pub(super) const GATE: &str = "gate";
pub(super) const REPORT: &str = "report";
/// Lets init go on to its program.
const GO: u8 = b'G';
/// Tells init that its seccomp listener has been taken.
const TAKEN: u8 = b'T';
/// A report is a few hundred bytes; beyond this it is not ours.
const REPORT_MAX_BYTES: usize = 1 << 20;

/// Much longer than a kernel needs for closing two files in a row.
const SETTLE: Duration = Duration::from_secs(1);

/// What init tells `start`, one per line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// init cannot run the program and ends.
    Error(Error),
    /// A startContainer hook failed: the container is to be destroyed (runtime.md "Lifecycle" 7).
    HookError(Error),
    /// Take this descriptor of init's, send it to the seccomp agent, and answer.
    SeccompFd(RawFd),
    /// Nothing but the filter and execve(2) is left to do. Who ends without having said so has run nothing.
    Executing,
}

/// Both FIFOs, as `create` and the container's init hold them.
///
/// The parent's must be dropped before [`Release::open`] in the same process: it would be taken for init's.
#[derive(Debug)]
pub struct Gate {
    gate: File,
    report: File,
}

impl Gate {
    /// Makes the FIFOs in a new container's folder and opens them.
    pub fn create(entry: &Entry) -> Result<Self> {
        let open = |name: &str| {
            let at = || format!("{:?}", entry.path().join(name));
            rustix::fs::mkfifoat(entry, name, Mode::RUSR | Mode::WUSR).call("mkfifo", at)?;
            open_fifo(entry, name, OFlags::RDWR).call("open", at)
        };
        Ok(Self { gate: File::from(open(GATE)?), report: File::from(open(REPORT)?) })
    }

    /// The descriptors that init has to keep until it executes the program.
    pub fn raw_fds(&self) -> [RawFd; 2] {
        [self.gate.as_raw_fd(), self.report.as_raw_fd()]
    }

    /// init: blocks until `start`.
    ///
    /// # Errors
    /// Of read(2).
    pub fn wait(&self) -> Result<()> {
        while self.read_byte()? != GO {}
        Ok(())
    }

    /// init: hands the error that ends it to `start`.
    pub fn report(&self, error: &Error) -> Result<()> {
        self.tell(&Message::Error(error.clone()))
    }

    /// init: hands over the failure of a startContainer hook, after which the container is destroyed.
    pub fn report_hook(&self, error: &Error) -> Result<()> {
        self.tell(&Message::HookError(error.clone()))
    }

    /// init: announces the program, before a filter can forbid it to.
    pub fn announce(&self) -> Result<()> {
        self.tell(&Message::Executing)
    }

    /// init: asks `start` to take the seccomp listener `fd`, and blocks until that is done.
    ///
    /// Another [`Release::go`] instead of the answer means that the first `start` has died, perhaps with the
    /// request in its hands: the next one is asked again.
    ///
    /// # Errors
    /// Of read(2) and write(2).
    pub fn hand_over_seccomp_fd(&self, fd: RawFd) -> Result<()> {
        loop {
            self.tell(&Message::SeccompFd(fd))?;
            if self.read_byte()? == TAKEN {
                return Ok(());
            }
        }
    }

    fn tell(&self, message: &Message) -> Result<()> {
        let mut line =
            serde_json::to_vec(message).map_err(|error| Error::other(format!("report: {error}")))?;
        line.push(b'\n');
        (&self.report).write_all(&line).call("write", || REPORT)
    }

    /// The next byte that a `start` has written.
    fn read_byte(&self) -> Result<u8> {
        let mut byte = [0_u8];
        loop {
            match (&self.gate).read(&mut byte) {
                Ok(1) => return Ok(byte[0]),
                Ok(_) => crate::bail!("read({GATE}): the gate is closed"),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).call("read", || GATE),
            }
        }
    }
}

/// Whether an init waits at the gate; `false` also where there is no gate.
pub fn has_reader(entry: &Entry) -> Result<bool> {
    match open_fifo(entry, GATE, OFlags::WRONLY | OFlags::NONBLOCK) {
        Ok(_) => Ok(true),
        Err(Errno::NXIO | Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).call("open", || format!("{:?}", entry.path().join(GATE))),
    }
}

/// Whether the container was made to wait at a gate, as `create` does and `run` does not.
///
/// # Errors
/// As fstatat(2), except ENOENT.
pub fn exists(entry: &Entry) -> Result<bool> {
    match rustix::fs::statat(entry, GATE, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).call("fstatat", || format!("{:?}", entry.path().join(GATE))),
    }
}

fn open_fifo(entry: &Entry, name: &str, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::openat(entry, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// The gate as `start` holds it.
#[derive(Debug)]
pub struct Release<'a> {
    entry: &'a Entry,
    report: File,
    unread: Vec<u8>,
}

impl<'a> Release<'a> {
    /// Opens the report, so that nothing init says after [`Self::go`] can be missed.
    pub fn open(entry: &'a Entry) -> Result<Self> {
        let report = open_fifo(entry, REPORT, OFlags::RDONLY | OFlags::NONBLOCK)
            .call("open", || format!("{:?}", entry.path().join(REPORT)))?;
        Ok(Self { entry, report: File::from(report), unread: Vec::new() })
    }

    /// Opens the gate.
    pub fn go(&self) -> Result<()> {
        self.answer(GO)
    }

    /// Tells init that its seccomp listener has been taken.
    pub fn taken(&self) -> Result<()> {
        self.answer(TAKEN)
    }

    /// Opened for reading too, so that an init that has just died means no SIGPIPE; and only for the moment,
    /// so that nobody takes us for an init that waits.
    fn answer(&self, byte: u8) -> Result<()> {
        let at = || format!("{:?}", self.entry.path().join(GATE));
        let gate = open_fifo(self.entry, GATE, OFlags::RDWR | OFlags::NONBLOCK).call("open", at)?;
        File::from(gate).write_all(&[byte]).call("write", at)
    }

    /// The next message of init's, `None` when it has executed the program or has ended without a word.
    pub fn message(&mut self, init: &Pidfd) -> Result<Option<Message>> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return serde_json::from_slice(&line).map(Some).map_err(|error| {
                    Error::other(format!(
                        "the container's init reported {:?}: {error}",
                        String::from_utf8_lossy(&line)
                    ))
                });
            }
            let ended = {
                let mut fds = [
                    PollFd::new(self.report.as_fd(), PollFlags::POLLIN),
                    PollFd::new(init.as_fd(), PollFlags::POLLIN),
                ];
                poll(&mut fds, None::<Instant>)?;
                fds[1].any().unwrap_or(true)
            };
            // Read after the poll that saw the end of init: what it said before is there by now.
            let open = self.read_some()?;
            if self.unread.contains(&b'\n') {
                continue;
            }
            if ended || !open {
                if !self.unread.is_empty() {
                    crate::bail!("the container's init ended in the middle of a report");
                }
                return Ok(None);
            }
        }
    }

    /// Waits until init has let go of the gate, once it has let go of the report: the kernel closes both in
    /// execve(2), in no order to rely on, and who asks after `start` must not hear "created" any more.
    pub fn settle(&self, init: &Pidfd) -> Result<()> {
        let deadline = Instant::now() + SETTLE;
        while has_reader(self.entry)? && Instant::now() < deadline && !init.wait(Duration::ZERO)? {
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok(())
    }

    /// Reads what is there; `false` at the end of the report.
    fn read_some(&mut self) -> Result<bool> {
        let mut buffer = [0_u8; 4096];
        loop {
            match self.report.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(length) => self.unread.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).call("read", || REPORT),
            }
            if self.unread.len() > REPORT_MAX_BYTES {
                return Err(Error::new(Kind::Other, "the container's init reports without end"));
            }
        }
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
