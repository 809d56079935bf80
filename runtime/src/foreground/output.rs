//! Where the output of a program on a terminal goes: the runtime's standard output.
//!
//! It is not ours alone: others may have the same pipe or terminal, so it is not made non-blocking for all of them.
//! Nor may a write to it wait: whoever does not read it must not keep signals from the program. A pipe or a terminal
//! is opened a second time for that (open(2), O_NONBLOCK belongs to the open file description); where it cannot be,
//! only as much is written as fits.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{MsgFlags, send};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Call, Error};

/// A pipe that poll(2) calls writable takes as many bytes at once without waiting (pipe(7), PIPE_BUF).
const PIPE_BUF: usize = 4096;

/// Standard output, and what of the program's output it has not taken yet.
#[derive(Debug)]
pub(super) struct Output {
    way: Way,
    waiting: Vec<u8>,
    lost: Option<Error>,
}

#[derive(Debug)]
enum Way {
    /// An open file description of our own, which never waits.
    Own(OwnedFd),
    /// Standard output itself, which never waits: a file, or made non-blocking by the caller.
    Direct,
    /// A socket.
    Socket,
    /// Standard output itself, which may wait.
    Careful,
}

/// Whether anybody takes the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taker {
    /// Somebody may.
    There,
    /// The reader, or the terminal, has gone away.
    Gone,
}

impl Output {
    pub(super) fn new() -> Self {
        Self { way: Way::find(), waiting: Vec::new(), lost: None }
    }

    /// Whether all was taken that was given.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Why some of the output was lost, if some was.
    pub(super) fn lost(&self) -> Option<&Error> {
        self.lost.as_ref()
    }

    /// Takes `bytes` over; as much is written as can be without waiting.
    pub(super) fn give(&mut self, bytes: &[u8]) -> Taker {
        self.waiting.extend_from_slice(bytes);
        // Otherwise poll(2) is to be asked first.
        if matches!(self.way, Way::Careful) { Taker::There } else { self.write() }
    }

    /// Writes what waits, as much as can be without waiting: to be called when poll(2) says so.
    ///
    /// What a full disk, or whatever else, does not take is lost: that is no reason for a program to end.
    pub(super) fn write(&mut self) -> Taker {
        let mut taken = 0;
        let taker = loop {
            let rest = &self.waiting[taken..];
            if rest.is_empty() {
                break Taker::There;
            }
            let written = match &self.way {
                Way::Own(own) => rustix::io::write(own, rest),
                Way::Direct => rustix::io::write(rustix::stdio::stdout(), rest),
                Way::Careful => rustix::io::write(rustix::stdio::stdout(), &rest[..rest.len().min(PIPE_BUF)]),
                Way::Socket => {
                    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                    send(rustix::stdio::stdout().as_raw_fd(), rest, flags)
                        .map_err(|errno| Errno::from_raw_os_error(errno as i32))
                }
            };
            match written {
                Ok(written) => {
                    taken += written;
                    if matches!(self.way, Way::Careful) {
                        break Taker::There;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break Taker::There,
                Err(Errno::PIPE | Errno::IO | Errno::CONNRESET) => break Taker::Gone,
                Err(errno) => {
                    taken = self.waiting.len();
                    if let Err(error) = Err::<(), _>(errno).call("write", || "stdout") {
                        self.lost.get_or_insert(error);
                    }
                }
            }
        };
        self.waiting.drain(..taken);
        taker
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.way {
            Way::Own(own) => own.as_fd(),
            Way::Direct | Way::Socket | Way::Careful => rustix::stdio::stdout(),
        }
    }
}

impl Way {
    fn find() -> Self {
        let stdout = rustix::stdio::stdout();
        if rustix::fs::fcntl_getfl(stdout).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK)) {
            return Self::Direct;
        }
        let Ok(stat) = rustix::fs::fstat(stdout) else { return Self::Careful };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Self::Direct,
            FileType::Socket => Self::Socket,
            _ => Self::reopen().unwrap_or(Self::Careful),
        }
    }

    /// By the link that procfs has for it: if that is not of procfs, or leads elsewhere, it is another file.
    fn reopen() -> Option<Self> {
        let stdout = rustix::stdio::stdout();
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let own = rustix::fs::open("/proc/self/fd/1", flags, Mode::empty()).ok()?;
        let identity = |fd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino, stat.st_rdev)).ok();
        (identity(own.as_fd())? == identity(stdout)?).then_some(Self::Own(own))
    }
}
