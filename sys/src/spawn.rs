//! What a helper program must not inherit. std's `Command` keeps the signal mask and every descriptor that
//! does not close on exec, and offers nothing but `pre_exec`, which is unsafe, to change that.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

/// How far descriptors are closed one by one where close_range(2) is refused: RLIMIT_NOFILE's usual value.
const LOW_DESCRIPTORS: i32 = 1024;

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
    if unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, flags) } != 0 {
        // A container's seccomp filter, under which its own hooks run, may refuse the call. What a caller hands
        // down on purpose has low numbers.
        for fd in 3..LOW_DESCRIPTORS {
            // SAFETY: plain numbers; EBADF for one that is not open means nothing.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    /// What a program sees of itself; not a shell, which clears its signal mask.
    fn run(program: &str, args: &[&str], inherit: bool) -> String {
        let mut command = Command::new(program);
        command.args(args);
        if !inherit {
            inherit_nothing(&mut command);
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    fn change_mask(how: i32, signal: i32) {
        // SAFETY: both calls touch only the set, and the thread's own mask.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            assert_eq!(libc::sigaddset(&raw mut set, signal), 0);
            assert_eq!(libc::pthread_sigmask(how, &raw const set, ptr::null_mut()), 0);
        }
    }

    #[test]
    fn no_signal_stays_blocked() {
        let args = ["SigBlk", "/proc/self/status"];
        change_mask(libc::SIG_BLOCK, libc::SIGTERM);
        let (with, without) = (run("grep", &args, true), run("grep", &args, false));
        change_mask(libc::SIG_UNBLOCK, libc::SIGTERM);
        assert_eq!(with, "SigBlk:\t0000000000004000\n", "the ground of this test");
        assert_eq!(without, "SigBlk:\t0000000000000000\n");
    }

    #[test]
    fn no_descriptor_gets_through() {
        let (reader, _writer) = std::io::pipe().unwrap();
        // A number that `ls` does not use itself.
        // SAFETY: plain numbers; the copy is closed below, and nobody else knows of it.
        let copy = unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_DUPFD, 500) };
        assert!(copy >= 500);
        let has_copy = |text: &str| text.lines().any(|line| line == copy.to_string());
        let (with, without) = (run("ls", &["/proc/self/fd"], true), run("ls", &["/proc/self/fd"], false));
        // SAFETY: as above.
        unsafe { libc::close(copy) };
        assert!(has_copy(&with), "the ground of this test: {with}");
        assert!(!has_copy(&without), "{without}");
    }
}
