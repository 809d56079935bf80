//! What a helper program must not inherit. std's `Command` keeps the signal mask and every descriptor that
//! does not close on exec, and offers nothing but `pre_exec`, which is unsafe, to change that.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

/// Makes the program start with no signal blocked and no descriptor but 0, 1 and 2.
///
/// Failures of the calls come out of [`Command::spawn`].
pub fn inherit_nothing(command: &mut Command) {
    // SAFETY: the closure runs between fork and exec and makes two system calls, both async-signal-safe; it
    // allocates nothing and touches no memory but its own stack.
    unsafe { command.pre_exec(prepare) };
}

fn prepare() -> io::Result<()> {
    // SAFETY: an all-zero sigset_t is the empty set on Linux; the call reads it and writes to no memory.
    let result = unsafe {
        let none: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut())
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: plain numbers. The descriptors close at the exec that follows, not before: std still needs one.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    use nix::sys::signal::{SigSet, Signal};

    fn run(inherit: bool) -> String {
        let mut command = Command::new("sh");
        command.args(["-c", "grep SigBlk /proc/self/status; ls /proc/$$/fd"]);
        if !inherit {
            inherit_nothing(&mut command);
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    #[test]
    fn neither_the_mask_nor_a_descriptor_gets_through() {
        let (reader, _writer) = std::io::pipe().unwrap();
        fcntl(&reader, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&reader).to_string();
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGTERM);
        mask.thread_block().unwrap();
        let (with, without) = (run(true), run(false));
        mask.thread_unblock().unwrap();
        assert!(with.contains("0000000000004000"), "the test's own ground: {with}");
        assert!(with.lines().any(|line| line == number), "the test's own ground: {with}");
        assert!(without.contains("0000000000000000"), "{without}");
        assert!(!without.lines().any(|line| line == number), "{without}");
    }
}
