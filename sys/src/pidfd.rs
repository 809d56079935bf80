//! pidfd_send_signal(2): rustix has the call, but its signal type cannot say 0 or a realtime signal. And
//! ioctl_pidfd(2), which neither crate has.

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

/// `struct pidfd_info` of linux/pidfd.h in its first version; later kernels write no more than this size asks.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    /// pid, tgid, ppid, and the user and group ids.
    ids: [u32; 11],
    exit_code: i32,
}

/// PIDFD_INFO_EXIT (Linux 6.15).
const INFO_EXIT: u64 = 1 << 3;
/// PIDFD_GET_INFO: `_IOWR(0xff, 11, struct pidfd_info)`.
const GET_INFO: libc::Ioctl = (3 << 30) | (64 << 16) | (0xff << 8) | 11;
const _: () = assert!(size_of::<PidfdInfo>() == 64);

/// How the process behind a pidfd ended, as waitpid(2) would have told its parent, which may have asked long
/// ago (PIDFD_GET_INFO of ioctl_pidfd(2)). `None` while it lives, or is not waited for yet.
///
/// # Errors
/// ENOTTY before Linux 6.13; ESRCH where the kernel (before 6.15) does not keep what the dead leave.
pub fn exit_code(pidfd: BorrowedFd<'_>) -> Result<Option<i32>> {
    let mut info = PidfdInfo { mask: INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the kernel reads and writes a pidfd_info of the size that the number of the request has in it,
    // which is that of `info`; the descriptor is open for as long as it is borrowed.
    match unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO, &raw mut info) } {
        0 => Ok((info.mask & INFO_EXIT != 0).then_some(info.exit_code)),
        _ => Err(Error::last("ioctl", "PIDFD_GET_INFO")),
    }
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

    #[test]
    fn the_end_of_a_process_is_known_after_it_was_waited_for() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = open(&child);
        let before = exit_code(pidfd.as_fd());
        if before.as_ref().is_err_and(|error| error.errno == libc::ENOTTY) {
            eprintln!("left out: this kernel has no PIDFD_GET_INFO");
        } else {
            assert_eq!(before, Ok(None));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        match exit_code(pidfd.as_fd()) {
            Ok(code) => assert_eq!(code, Some(libc::SIGKILL)),
            Err(error) => assert!([libc::ENOTTY, libc::ESRCH].contains(&error.errno), "{error}"),
        }
        let mut child = Command::new("false").spawn().unwrap();
        let pidfd = open(&child);
        child.wait().unwrap();
        if let Ok(code) = exit_code(pidfd.as_fd()) {
            assert_eq!(code, Some(1 << 8));
        }
    }
}
