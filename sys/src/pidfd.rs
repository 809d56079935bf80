//! pidfd_send_signal(2). rustix has the call, but its signal type cannot say 0 or a realtime signal.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use crate::{Error, Result};

/// Sends a signal to the process behind a pidfd, as kill(2) would; signal 0 only asks whether it could.
///
/// # Errors
/// Those of pidfd_send_signal(2): ESRCH when the process has ended and was reaped, EINVAL for a number that is
/// no signal or a descriptor that is no pidfd, EPERM.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    let no_info = ptr::null_mut::<libc::siginfo_t>();
    // SAFETY: the kernel takes plain numbers and a null siginfo, which it documents as "as kill(2)"; it writes
    // to no memory of ours, and the descriptor is open for as long as it is borrowed.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0) };
    if result == 0 { Ok(()) } else { Err(Error::last("pidfd_send_signal", format!("{signal}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsFd, FromRawFd, OwnedFd};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    fn open(child: &Child) -> OwnedFd {
        // SAFETY: the arguments are plain numbers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
        let fd = i32::try_from(fd).unwrap();
        assert!(fd >= 0);
        // SAFETY: the kernel has just given us this descriptor, and nobody else knows of it.
        unsafe { OwnedFd::from_raw_fd(fd) }
    }

    #[test]
    fn the_signal_arrives_and_the_dead_are_named() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = open(&child);
        pidfd_send_signal(pidfd.as_fd(), 0).unwrap();
        pidfd_send_signal(pidfd.as_fd(), 40).unwrap(); // a realtime signal
        assert_eq!(child.wait().unwrap().signal(), Some(40));
        let error = pidfd_send_signal(pidfd.as_fd(), libc::SIGTERM).unwrap_err();
        assert_eq!(error.to_string(), "pidfd_send_signal(15): no such process (ESRCH)");
    }

    #[test]
    fn a_number_that_is_no_signal_is_refused() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = open(&child);
        assert_eq!(pidfd_send_signal(pidfd.as_fd(), 65).unwrap_err().errno, libc::EINVAL);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
