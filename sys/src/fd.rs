//! Descriptors as numbers: ownership of those that arrive, flags and ends of those that others own.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::{Error, Result};

/// Takes ownership of a descriptor that the kernel has just handed to this process (SCM_RIGHTS, an
/// inherited descriptor): the number must not be owned by anything else.
pub fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: the callers pass numbers that recvmsg(2) has just returned, which nothing else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Clears close-on-exec of an inherited descriptor, so that the next program gets it (fcntl(2), F_SETFD).
///
/// # Errors
/// EBADF where no such descriptor was inherited.
pub fn keep_over_exec(fd: u32) -> Result<()> {
    let number = RawFd::try_from(fd).map_err(|_| Error::new("fcntl", fd.to_string(), libc::EBADF))?;
    // SAFETY: takes no pointer; changes one flag of a descriptor that stays open.
    match unsafe { libc::fcntl(number, libc::F_SETFD, 0) } {
        0 => Ok(()),
        _ => Err(Error::last("fcntl", format!("--preserve-fds, descriptor {fd}, F_SETFD"))),
    }
}

/// Whether a descriptor of this number was handed over by whoever executed this program: it is open and
/// not close-on-exec, as everything is that this program opens itself (fcntl(2), F_GETFD).
///
/// # Errors
/// EBADF where it was not.
pub fn check_inherited(fd: u32) -> Result<()> {
    let missing = || Error::new("fcntl", format!("{fd}, F_GETFD"), libc::EBADF);
    let number = RawFd::try_from(fd).map_err(|_| missing())?;
    // SAFETY: takes no pointer and changes nothing.
    match unsafe { libc::fcntl(number, libc::F_GETFD) } {
        -1 => Err(Error::last("fcntl", format!("{fd}, F_GETFD"))),
        flags if flags & libc::FD_CLOEXEC != 0 => Err(missing()),
        _ => Ok(()),
    }
}

/// Closes every descriptor from 3 on but `keep` (close_range(2)), whoever in this process owns it.
///
/// For a fresh clone that never returns to the code that owns the others: values of those owners must not
/// be used or dropped afterwards.
///
/// # Errors
/// As close_range(2).
pub fn close_all_except(keep: &[RawFd]) -> Result<()> {
    let mut keep: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep.into_iter().chain([u32::MAX]) {
        if fd > first {
            let last = if fd == u32::MAX { fd } else { fd - 1 };
            // SAFETY: takes no pointer; see above for the owners.
            if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } != 0 {
                return Err(Error::last("close_range", format!("{first}, {last}")));
            }
        }
        first = first.max(fd.saturating_add(1));
    }
    Ok(())
}

/// Closes a clone's copy of one descriptor, whoever in this process owns it (close(2)).
///
/// For a fresh clone that never returns to the code of the owner: its value must not be used or dropped afterwards.
pub fn close_in_clone(fd: BorrowedFd<'_>) {
    // SAFETY: takes no pointer; see above for the owner. It cannot fail on a descriptor that is open, as a borrowed
    // one is.
    unsafe { libc::close(fd.as_raw_fd()) };
}
