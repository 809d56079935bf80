//! seccomp(2): loading a filter, and asking what the kernel knows.

use std::os::fd::{FromRawFd, OwnedFd};

use crate::{Error, Result};

/// Every thread of the process gets the filter.
pub const FLAG_TSYNC: u32 = 1;
/// Actions other than ALLOW are logged.
pub const FLAG_LOG: u32 = 1 << 1;
/// Speculative store bypass stays as it is.
pub const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// The call returns the descriptor of user notifications.
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// TSYNC fails with ESRCH rather than with a thread's id.
pub const FLAG_TSYNC_ESRCH: u32 = 1 << 4;
/// A notification that was received waits for its answer through signals that do not kill; needs NEW_LISTENER.
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// Loads a classic BPF program as a filter of the calling thread, seccomp(2) SECCOMP_SET_MODE_FILTER.
///
/// The caller needs CAP_SYS_ADMIN or no_new_privs, which this does not set. The listener is there exactly
/// with [`FLAG_NEW_LISTENER`]; it is close-on-exec.
///
/// # Errors
/// seccomp(2)'s: EACCES without the right to, EINVAL for a bad program or flag, EBUSY for a second listener,
/// ESRCH where a thread could not be synchronised.
pub fn load(program: &[libc::sock_filter], flags: u32) -> Result<Option<OwnedFd>> {
    let args = || format!("SECCOMP_SET_MODE_FILTER, {flags:#x}, {} instructions", program.len());
    let Ok(len) = u16::try_from(program.len()) else {
        return Err(Error::new("seccomp", args(), libc::EINVAL));
    };
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions from `filter`, which is a slice of that length, and
    // writes to neither.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    match i32::try_from(result) {
        Ok(fd @ 0..) if flags & FLAG_NEW_LISTENER != 0 => {
            // SAFETY: with NEW_LISTENER the result is a new descriptor that nobody else has.
            Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
        }
        Ok(0) => Ok(None),
        Ok(thread @ 1..) => {
            Err(Error::new("seccomp", format!("{}, thread {thread} not synchronised", args()), libc::ESRCH))
        }
        _ => Err(Error::last("seccomp", args())),
    }
}

/// The `FLAG_…` that the running kernel knows.
///
/// As seccomp(2) recommends: with a null program a known flag gives EFAULT, an unknown one EINVAL.
pub fn supported_flags() -> u32 {
    let mut supported = 0;
    for flag in [FLAG_TSYNC, FLAG_LOG, FLAG_SPEC_ALLOW, FLAG_NEW_LISTENER, FLAG_TSYNC_ESRCH] {
        if is_known(flag) {
            supported |= flag;
        }
    }
    // This one is refused on its own.
    if is_known(FLAG_WAIT_KILLABLE_RECV | FLAG_NEW_LISTENER) {
        supported |= FLAG_WAIT_KILLABLE_RECV;
    }
    supported
}

fn is_known(flags: u32) -> bool {
    let program = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: a null program is never read; the call always fails.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, program) };
    result == -1 && nix::errno::Errno::last_raw() == libc::EFAULT
}

/// Whether the running kernel knows an action (`SECCOMP_RET_…`), seccomp(2) SECCOMP_GET_ACTION_AVAIL.
pub fn action_available(action: u32) -> bool {
    // SAFETY: the kernel reads the one u32.
    unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_knows_the_flags_and_no_others() {
        // All of them are older than Linux 6.0.
        assert_eq!(supported_flags(), 0x3f);
        assert!(!is_known(1 << 30));
    }

    #[test]
    fn actions_that_exist_are_available() {
        assert!(action_available(libc::SECCOMP_RET_ALLOW));
        assert!(action_available(libc::SECCOMP_RET_USER_NOTIF));
        assert!(!action_available(0x1234_0000));
    }

    #[test]
    fn a_refused_program_is_an_error_with_its_reason() {
        let error = load(&[], 0).unwrap_err();
        assert_eq!(error.errno, libc::EINVAL);
        assert_eq!(
            error.to_string(),
            "seccomp(SECCOMP_SET_MODE_FILTER, 0x0, 0 instructions): invalid argument (EINVAL)"
        );
    }
}
