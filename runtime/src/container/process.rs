//! A process that cannot be mistaken for another: its pid together with its start time.
//!
//! Pids are used again; a pid with field 22 of proc_pid_stat(5) is not. Whoever acts on a process opens a
//! pidfd (pidfd_open(2)) and checks the start time afterwards: from then on the descriptor is the process.
//! Start times are as this process sees them: take them in the runtime, never inside a container's time
//! namespace, which shifts them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};

use crate::container::poll;
use crate::error::{Call, Context, Error, Result};
use crate::kernel::procfs::Procfs;

/// One process for all time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process id in the runtime's pid namespace.
    pub pid: i32,
    /// Start after boot in clock ticks (proc_pid_stat(5) field 22).
    pub start_time: u64,
}

/// PF_EXITING of proc_pid_stat(5) field 9: set before a process leaves its cgroup.
const EXITING: u64 = 0x4;
/// PF_FORKNOEXEC of proc_pid_stat(5) field 9; zombies keep it.
const FORK_NO_EXEC: u64 = 0x40;

/// What proc_pid_stat(5) says that matters here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: u8,
    /// Whether it has executed a program since it was forked.
    executed: bool,
    /// Whether it is on its way out, though it may still be waiting for others (pid_namespaces(7)).
    exiting: bool,
    threads: i64,
    start_time: u64,
    /// As waitpid(2) gives it, of a zombie.
    exit_code: i32,
}

impl ProcessId {
    /// The process that has this pid now.
    ///
    /// # Errors
    /// "no such process" where there is none, and what reading /proc/PID/stat gives.
    pub fn of(pid: i32) -> Result<Self> {
        match read_stat(pid)? {
            Some(stat) => Ok(Self { pid, start_time: stat.start_time }),
            None => Err(sys::Error::new("open", format!("\"/proc/{pid}/stat\""), libc::ESRCH).into()),
        }
    }

    /// This process itself.
    pub fn current() -> Result<Self> {
        Self::of(nix::unistd::getpid().as_raw())
    }

    /// Whether it still runs; a zombie does not, unless only its first thread has ended.
    pub fn is_alive(&self) -> Result<bool> {
        Ok(self.stat_if_alive()?.is_some())
    }

    /// Whether it has ended, or is just about to and will run no more of its program.
    ///
    /// # Errors
    /// What reading /proc/PID/stat gives.
    pub fn is_ending(&self) -> Result<bool> {
        Ok(self.stat_if_alive()?.is_none_or(|stat| stat.exiting))
    }

    /// Whether it runs a program of its own: `false` for a fork that has executed nothing yet, `None` where it
    /// does not run any more.
    ///
    /// # Errors
    /// What reading /proc/PID/stat gives.
    pub fn has_executed(&self) -> Result<Option<bool>> {
        Ok(self.stat_if_alive()?.map(|stat| stat.executed))
    }

    /// Whether this process, which has closed what it had open, did so because it dies, and not by executing
    /// a program. The kernel closes the files of the dying before they can be waited for.
    ///
    /// `None` where it is off the process table already.
    ///
    /// # Errors
    /// What reading /proc/PID/stat gives.
    pub fn dies_before_exec(&self) -> Result<Option<bool>> {
        Ok(self.stat()?.map(|stat| !stat.executed))
    }

    /// The signal that ended this zombie, for who is not its parent; `None` for any other process.
    ///
    /// # Errors
    /// What reading /proc/PID/stat gives.
    pub fn terminating_signal(&self) -> Result<Option<i32>> {
        Ok(self.stat()?.and_then(|stat| signal_of(stat.exit_code)))
    }

    fn stat(&self) -> Result<Option<Stat>> {
        Ok(read_stat(self.pid)?.filter(|stat| stat.start_time == self.start_time))
    }

    fn stat_if_alive(&self) -> Result<Option<Stat>> {
        let dead =
            |stat: &Stat| matches!(stat.state, b'X' | b'x') || (stat.state == b'Z' && stat.threads <= 1);
        Ok(self.stat()?.filter(|stat| !dead(stat)))
    }

    /// A descriptor of the process, `None` when it is gone.
    pub fn open(&self) -> Result<Option<Pidfd>> {
        let Some(pidfd) = Pidfd::open(self.pid)? else { return Ok(None) };
        // After the open: the pid may have been used again before it, but not while the descriptor lives.
        Ok(if self.is_alive()? { Some(pidfd) } else { None })
    }
}

/// A descriptor of a process (pidfd_open(2)).
#[derive(Debug)]
pub struct Pidfd {
    fd: OwnedFd,
    pid: i32,
}

impl Pidfd {
    /// Opens whatever has this pid now, `None` when nothing has.
    pub fn open(pid: i32) -> Result<Option<Self>> {
        // A damaged record may hold anything; rustix panics on a negative pid.
        let Some(raw) = Pid::from_raw(pid.max(0)) else { return Ok(None) };
        match rustix::process::pidfd_open(raw, PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(Self { fd, pid })),
            // A process that goes in the midst of the call leaves a number without a process, which is no such
            // process (ESRCH) to Linux 6.15, and an invalid argument to those before; likewise ENOENT there, and
            // EINVAL here, for a thread that is not its process's first.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).call("pidfd_open", || pid.to_string()),
        }
    }

    /// Sends a signal; `false` when the process is gone.
    pub fn send(&self, signal: i32) -> Result<bool> {
        match sys::pidfd_send_signal(self.fd.as_fd(), signal) {
            Ok(()) => Ok(true),
            Err(error) if error.errno == libc::ESRCH => Ok(false),
            Err(error) => Err(error).context(|| format!("signal process {}", self.pid)),
        }
    }

    /// Waits until the process has ended; `false` when the time ran out first.
    pub fn wait(&self, limit: Duration) -> Result<bool> {
        let deadline = Instant::now() + limit;
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, Some(deadline))
    }

    /// The signal that ended the process, also where that was waited for long ago; `None` where none did, or
    /// where the kernel does not tell (before Linux 6.15).
    pub fn terminating_signal(&self) -> Option<i32> {
        sys::exit_code(self.fd.as_fd()).ok().flatten().and_then(signal_of)
    }

    /// The pid it was opened by.
    pub fn pid(&self) -> i32 {
        self.pid
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether a child of ours, which was not waited for, has executed a program since it was made; also of a zombie.
///
/// # Errors
/// What reading /proc/PID/stat gives.
pub fn has_executed(child: i32) -> Result<bool> {
    Ok(read_stat(child)?.is_some_and(|stat| stat.executed))
}

/// The signal in a status of waitpid(2).
fn signal_of(status: i32) -> Option<i32> {
    Some(status & 0x7f).filter(|signal| *signal != 0)
}

/// What is said of an init that has died before its program began, by a signal or without one.
pub fn death_before_exec(signal: Option<i32>) -> Error {
    Error::other(match signal {
        None => "the container's init ended before it ran the program".to_owned(),
        Some(signal) => {
            format!("the container's init was killed by signal {signal} before it ran the program")
        }
    })
}

/// Reads /proc/PID/stat; `None` when there is no such process.
fn read_stat(pid: i32) -> Result<Option<Stat>> {
    let path = format!("{pid}/stat");
    let gone = |errno: i32| matches!(errno, libc::ENOENT | libc::ESRCH);
    let file = match Procfs::shared()?.open(&path, OFlags::RDONLY) {
        Ok(file) => file,
        Err(error) if gone(error.errno()) => return Ok(None),
        Err(error) => return Err(error),
    };
    // The line has at most 52 numbers and a name of 64 bytes; one read gets all of it.
    let mut line = [0_u8; 2048];
    let length = match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut line)) {
        Ok(length) => length,
        Err(errno) if gone(errno.raw_os_error()) => return Ok(None),
        Err(errno) => return Err(errno).call("read", || format!("\"/proc/{path}\"")),
    };
    match parse_stat(&line[..length]) {
        Some(stat) => Ok(Some(stat)),
        None => Err(Error::other(format!("/proc/{path} is not in the form of proc_pid_stat(5)"))),
    }
}

/// The name (field 2) may hold anything, also `) R 1`: what counts begins after the last parenthesis.
fn parse_stat(line: &[u8]) -> Option<Stat> {
    let name_end = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(line.get(name_end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    let threads = fields.nth(10)?.parse().ok()?;
    let start_time = fields.nth(1)?.parse().ok()?;
    let exit_code = fields.nth(29).and_then(|code| code.parse().ok()).unwrap_or(0);
    let (executed, exiting) = (flags & FORK_NO_EXEC == 0, flags & EXITING != 0);
    Some(Stat { state, executed, exiting, threads, start_time, exit_code })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::kernel::throwaway::alone;
    use std::process::Command;

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let line =
            b"7 (a) Z 1 (b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 100 200 18446744073709551615";
        assert_eq!(
            parse_stat(line),
            Some(Stat {
                state: b'S',
                executed: true,
                exiting: false,
                threads: 1,
                start_time: 4711,
                exit_code: 0
            })
        );
        let zombie = b"7 (a) b) Z 1 7 7 0 -1 4194372 1 2 3 4 5 6 7 8 20 0 1 0 4711 100";
        assert!(!parse_stat(zombie).unwrap().executed, "a fork that ran nothing");
        assert!(parse_stat(zombie).unwrap().exiting);
        let zombie = b"7 (sh) Z 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4711 100";
        assert!(parse_stat(zombie).unwrap().executed);
        assert_eq!(parse_stat(b"7 (a) S 1 2"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn this_process_is_alive_and_its_double_is_not() {
        let me = ProcessId::current().unwrap();
        assert!(me.is_alive().unwrap());
        assert!(me.open().unwrap().is_some());
        let double = ProcessId { start_time: me.start_time + 1, ..me };
        assert!(!double.is_alive().unwrap());
        assert!(double.open().unwrap().is_none());
    }

    /// PIDFD_INFO_EXIT, since Linux 6.15.
    pub(crate) fn kernel_keeps_exit_codes() -> bool {
        let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
        let mut numbers = release.split('.').filter_map(|number| number.parse::<u32>().ok());
        (numbers.next(), numbers.next()) >= (Some(6), Some(15))
    }

    #[test]
    fn a_zombie_is_not_alive_and_its_end_is_seen() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let id = ProcessId::of(child.id().cast_signed()).unwrap();
        let pidfd = id.open().unwrap().unwrap();
        assert!(!pidfd.wait(Duration::from_millis(20)).unwrap());
        assert!(pidfd.send(libc::SIGKILL).unwrap());
        assert!(pidfd.wait(Duration::from_secs(10)).unwrap());
        assert!(!id.is_alive().unwrap(), "a zombie");
        child.wait().unwrap();
        assert!(!id.is_alive().unwrap(), "reaped");
        assert_eq!(id.dies_before_exec().unwrap(), None);
        assert_eq!(id.terminating_signal().unwrap(), None);
        if kernel_keeps_exit_codes() {
            assert_eq!(pidfd.terminating_signal(), Some(libc::SIGKILL));
        }
        assert!(!pidfd.send(libc::SIGKILL).unwrap());
    }

    /// The same answer as for a process that goes while it is looked up, which no test can arrange.
    #[test]
    fn a_number_that_is_a_threads_is_no_processs() {
        let (send, receive) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            send.send(nix::unistd::gettid().as_raw()).unwrap();
            ended.recv().unwrap_err();
        });
        let tid = receive.recv().unwrap();
        assert!(Pidfd::open(tid).unwrap().is_none());
        drop(end);
        thread.join().unwrap();
    }

    /// What is mounted over /proc may tell of a process that is long gone, or of another one.
    #[test]
    fn a_forged_proc_tells_nothing_of_a_process() {
        if !alone("container::process::tests::a_forged_proc_tells_nothing_of_a_process", &["--mount"]) {
            return;
        }
        let forge = || {
            let none = None::<&str>;
            nix::mount::mount(none, "/proc", Some("tmpfs"), nix::mount::MsFlags::empty(), none).unwrap();
            std::fs::create_dir("/proc/4711").unwrap();
            let line = format!("4711 (a) S{} 100 200", " 1".repeat(18));
            assert!(parse_stat(line.as_bytes()).is_some(), "in the right form");
            std::fs::write("/proc/4711/stat", line).unwrap();
        };
        forge();
        let error = ProcessId::of(4711).unwrap_err().to_string();
        assert_eq!(error, "\"/proc\" is not the root of a procfs");
        // One that comes later is passed by: the handle is the one that was verified.
        nix::mount::umount("/proc").unwrap();
        let me = ProcessId::current().unwrap();
        forge();
        assert!(me.is_alive().unwrap());
        assert_eq!(
            ProcessId::of(4711).is_ok(),
            nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(4711))).is_ok()
        );
    }

    #[test]
    fn no_process_has_these_pids() {
        for pid in [0, -1, i32::MAX] {
            assert!(!ProcessId { pid, start_time: 1 }.is_alive().unwrap());
            assert!(ProcessId { pid, start_time: 1 }.open().unwrap().is_none());
        }
        assert_eq!(ProcessId::of(i32::MAX).unwrap_err().errno(), libc::ESRCH);
    }
}
