//! Processes that the worker has to wait for without standing still: commands of the runtime, and what they leave to it
//! as the nearest subreaper.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::Command;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

use crate::error::{Context, Error, Kind, Result};
use crate::monitor::exit_status;

/// One that was not waited for: its number is its own.
#[derive(Debug)]
pub struct Child {
    /// Its number.
    pub pid: i32,
    pidfd: OwnedFd,
}

impl Child {
    /// Starts a command.
    ///
    /// # Errors
    /// The system's reason.
    pub fn spawn(command: &mut Command) -> Result<Child> {
        let started = command.spawn().during(|| format!("{}", command.get_program().display()))?;
        let pid = i32::try_from(started.id()).map_err(|_| Error::new(Kind::System, "a pid that is none"))?;
        Child::of(pid)
    }

    /// The child with this number, which may have ended.
    ///
    /// # Errors
    /// There is none; the system's reason.
    pub fn of(pid: i32) -> Result<Child> {
        let words = || format!("pidfd_open({pid})");
        let number = Some(pid).filter(|pid| *pid > 0).and_then(Pid::from_raw);
        let number = number.ok_or_else(|| Error::invalid("it is no pid")).during(words)?;
        let child = Child { pid, pidfd: pidfd_open(number, PidfdFlags::empty()).during(words)? };
        // The kernel says whether it is a child of this process, ended or not.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::PidFd(child.pidfd.as_fd()), look).during(|| format!("waitid({pid})"))?;
        Ok(child)
    }

    /// Readable when it has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Its descriptor alone.
    #[must_use]
    pub fn into_pidfd(self) -> OwnedFd {
        self.pidfd
    }

    /// How it has ended, if it has; its number is free then.
    #[must_use]
    pub fn reap(&self) -> Option<i32> {
        wait_for(self.pidfd(), WaitIdOptions::empty())
    }

    /// Ends it.
    pub fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }
}

/// How the child behind a descriptor has ended, if it has; it stays as it is.
#[must_use]
pub fn status(pidfd: BorrowedFd<'_>) -> Option<i32> {
    wait_for(pidfd, WaitIdOptions::NOWAIT)
}

fn wait_for(pidfd: BorrowedFd<'_>, more: WaitIdOptions) -> Option<i32> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | more;
    let ended = waitid(WaitId::PidFd(pidfd), options).ok()??;
    Some(exit_status(ended.exit_status(), ended.terminating_signal()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    #[test]
    fn a_child_is_waited_for_when_it_has_ended() {
        let child = Child::spawn(Command::new("sh").args(["-c", "exit 7"])).unwrap();
        poll(&mut [PollFd::from_borrowed_fd(child.pidfd(), PollFlags::IN)], None).unwrap();
        assert_eq!((status(child.pidfd()), status(child.pidfd()), child.reap()), (Some(7), Some(7), Some(7)));
        assert_eq!(child.reap(), None, "it was waited for");
        let child = Child::spawn(Command::new("sleep").arg("60")).unwrap();
        assert_eq!(status(child.pidfd()), None);
        child.kill();
        poll(&mut [PollFd::from_borrowed_fd(child.pidfd(), PollFlags::IN)], None).unwrap();
        assert_eq!(child.reap(), Some(137));
        assert!(
            Child::spawn(&mut Command::new("/nowhere/x")).unwrap_err().to_string().contains("/nowhere/x")
        );
    }

    #[test]
    fn another_process_is_no_child() {
        let parent = rustix::process::getppid().unwrap().as_raw_nonzero().get();
        assert!(Child::of(parent).is_err() && Child::of(0).is_err() && Child::of(-1).is_err());
    }
}
