//! What a helper program must not inherit. std's `Command` keeps the signal mask and every descriptor that
//! does not close on exec, and offers nothing but `pre_exec`, which is unsafe, to change that.

use std::io;
use std::os::fd::RawFd;
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

/// As [`inherit_nothing`], but the program gets the descriptors `keep` too, under the numbers they have here. They have to
/// stay open until the program is started.
pub fn inherit_descriptors(command: &mut Command, keep: Vec<RawFd>) {
    let prepare = move || {
        prepare()?;
        hand_down(&keep)
    };
    // SAFETY: the closure runs between fork and exec and makes nothing but system calls that are
    // async-signal-safe; it allocates nothing, and reads no memory but the list that it owns.
    unsafe { command.pre_exec(prepare) };
}

/// Makes the program the leader of a session of its own (setsid(2)): no terminal, and no signal from the caller's.
pub fn lead_session(command: &mut Command) {
    // SAFETY: the closure runs between fork and exec and makes one system call, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| if libc::setsid() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) });
    }
}

/// As [`inherit_nothing`], but the program gets the descriptors `keep` too, under the numbers they have here, and
/// starts with SIGPIPE ignored: what is written to a caller that has gone away is an error to it, not its end. With
/// `no_new_privileges` neither it nor what it starts gains any by execve(2) (PR_SET_NO_NEW_PRIVS of prctl(2)).
///
/// The descriptors have to stay open until the program is started.
pub fn inherit_only(command: &mut Command, keep: Vec<RawFd>, no_new_privileges: bool) {
    let prepare = move || {
        prepare()?;
        // SAFETY: plain numbers; changes nothing but this process's own flag.
        if no_new_privileges && unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
        hand_down(&keep)?;
        // SAFETY: SIG_IGN is no handler of ours, so no code can run in a signal context.
        match unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) } {
            libc::SIG_ERR => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: the closure runs between fork and exec and makes nothing but system calls that are
    // async-signal-safe; it allocates nothing, and reads no memory but the list that it owns.
    unsafe { command.pre_exec(prepare) };
}

/// Has descriptors stay open at the exec that follows.
fn hand_down(keep: &[RawFd]) -> io::Result<()> {
    for fd in keep {
        // SAFETY: plain numbers; changes one flag of this process's own copy of a descriptor.
        if unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
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
    fn only_the_chosen_descriptors_get_through_and_a_closed_pipe_is_an_error() {
        let (kept, _writer) = std::io::pipe().unwrap();
        let (other, _writer) = std::io::pipe().unwrap();
        let mut command = Command::new("ls");
        command.arg("/proc/self/fd");
        inherit_only(&mut command, vec![kept.as_raw_fd()], false);
        let listed = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let has = |fd: i32| listed.lines().any(|line| line == fd.to_string());
        assert!(has(kept.as_raw_fd()), "{listed}");
        // `ls` opens a folder under the lowest free number.
        assert!(!has(other.as_raw_fd()) || other.as_raw_fd() == 3, "{listed}");
        let mut command = Command::new("grep");
        command.args(["-E", "SigIgn|NoNewPrivs", "/proc/self/status"]);
        inherit_only(&mut command, Vec::new(), true);
        let status = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
        let ignored = u64::from_str_radix(ignored, 16).unwrap();
        assert_ne!(ignored & 1 << (libc::SIGPIPE - 1), 0, "{status}");
        assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
        let mut command = Command::new("true");
        inherit_only(&mut command, vec![i32::MAX], false);
        assert_eq!(command.status().unwrap_err().raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn a_program_of_its_own_session_gets_its_descriptors_and_the_usual_signals() {
        let (kept, _writer) = std::io::pipe().unwrap();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            &format!(
                "ls -l /proc/self/fd/{}; cut -d' ' -f1,6 /proc/$$/stat; grep SigIgn /proc/$$/status",
                kept.as_raw_fd()
            ),
        ]);
        inherit_descriptors(&mut command, vec![kept.as_raw_fd()]);
        lead_session(&mut command);
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].contains("pipe:["), "{said}");
        let (pid, session) = lines[1].split_once(' ').unwrap();
        assert_eq!(pid, session, "{said}");
        let ignored = u64::from_str_radix(lines[2].trim_start_matches("SigIgn:\t"), 16).unwrap();
        assert_eq!(ignored & 1 << (libc::SIGPIPE - 1), 0, "{said}");
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
