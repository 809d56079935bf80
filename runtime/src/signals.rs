//! Signals as something to read rather than something that interrupts (signalfd(2)).
//!
//! Blocked before the clone, so that none is lost between the container's birth and the moment somebody
//! listens; init unblocks everything before it becomes the program.

use crate::error::{Call, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};

/// All signals of this process, to be read.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks every signal that can be blocked, and opens the descriptor that shows them.
    ///
    /// # Errors
    /// As sigprocmask(2) and signalfd(2).
    pub fn block() -> Result<Self> {
        let all = SigSet::all();
        // Where the caller ignores SIGCHLD the kernel would reap our children itself and take their status
        // with it (wait(2), NOTES). Blocked, it reaches no handler either way.
        sys::process::heed_children()?;
        all.thread_block().call("sigprocmask", || "SIG_BLOCK")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&all, flags).map(Self).call("signalfd", || "")
    }

    /// The next signal that has come.
    ///
    /// # Errors
    /// As read(2).
    pub fn take(&mut self) -> Result<Option<i32>> {
        let info = self.0.read_signal().call("read", || "signalfd")?;
        Ok(info.and_then(|info| i32::try_from(info.ssi_signo).ok()))
    }

    /// The next signal that asks this process to end; others are dropped.
    ///
    /// # Errors
    /// As read(2).
    pub fn next_to_end(&mut self) -> Result<Option<Signal>> {
        while let Some(number) = self.take()? {
            if let Ok(signal @ (Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT)) =
                Signal::try_from(number)
            {
                return Ok(Some(signal));
            }
        }
        Ok(None)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
