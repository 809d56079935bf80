//! clone3(2), close_range(2) and the process calls that need raw system calls.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Error, Result};

/// What clone3(2) returned, on either side.
#[derive(Debug)]
pub enum Clone {
    /// In the new process.
    Child,
    /// In the caller: the new process's id and its pidfd.
    Parent {
        /// Process id in the caller's pid namespace.
        pid: i32,
        /// Refers to the process for as long as it is held.
        pidfd: OwnedFd,
    },
}

/// `struct clone_args` of clone3(2), up to the `cgroup` field (Linux 5.7).
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const FLAG_PIDFD: u64 = 0x1000;
const FLAG_PARENT: u64 = 0x8000;
const FLAG_INTO_CGROUP: u64 = 0x2_0000_0000;

/// clone3(2) as a fork with namespace flags: the child gets a copy of the memory and goes on here.
///
/// `flags` are `CLONE_NEW…` flags, plus `CLONE_PARENT` where wanted; the pidfd and, with `cgroup`, the
/// birth inside that cgroup (CLONE_INTO_CGROUP) are added. SIGCHLD is the exit signal except with
/// CLONE_PARENT, which inherits the caller's.
///
/// # Errors
/// As the man page. EPERM without the capabilities for a namespace; EBUSY where the cgroup has domain
/// controllers enabled for its children; EOPNOTSUPP for a cgroup in an invalid domain.
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Clone> {
    let mut pidfd: i32 = -1;
    let exit_signal = if flags & FLAG_PARENT == 0 { libc::SIGCHLD.unsigned_abs().into() } else { 0 };
    let mut args = CloneArgs {
        flags: flags | FLAG_PIDFD,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        exit_signal,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= FLAG_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    // SAFETY: the arguments are a live clone_args of the size passed. No CLONE_VM, no new stack and no
    // CLONE_THREAD: the child is a plain copy-on-write copy, as after fork(2). The program is
    // single-threaded, so no lock can be held by a thread that does not exist in the child.
    let pid =
        unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_mut(&mut args), size_of::<CloneArgs>()) };
    match pid {
        0 => Ok(Clone::Child),
        -1 => Err(Error::last("clone3", format!("flags {:#x}", args.flags))),
        pid => {
            // SAFETY: on success with CLONE_PIDFD the kernel stored a new descriptor that is ours alone.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).map_err(|_| Error::new("clone3", "", libc::EOVERFLOW))?;
            Ok(Clone::Parent { pid, pidfd })
        }
    }
}

/// unshare(2) with raw `CLONE_NEW…` flags (nix knows no CLONE_NEWTIME).
///
/// # Errors
/// As the man page.
pub fn unshare(flags: i32) -> Result<()> {
    // SAFETY: takes no pointer. What it changes is the calling thread's own.
    match unsafe { libc::unshare(flags) } {
        0 => Ok(()),
        _ => Err(Error::last("unshare", format!("flags {flags:#x}"))),
    }
}

/// setns(2): moves into the namespace (or, with a pidfd, the namespaces) that `fd` refers to.
///
/// # Errors
/// As the man page: EINVAL where `fd` is not a namespace of that kind.
pub fn setns(fd: BorrowedFd<'_>, kind: i32) -> Result<()> {
    // SAFETY: takes no pointer; the descriptor is borrowed for the call.
    match unsafe { libc::setns(fd.as_raw_fd(), kind) } {
        0 => Ok(()),
        _ => Err(Error::last("setns", format!("flags {kind:#x}"))),
    }
}

/// Marks every descriptor from `first` upward close-on-exec (close_range(2), CLOSE_RANGE_CLOEXEC).
///
/// # Errors
/// EINVAL on kernels before 5.11.
pub fn cloexec_from(first: u32) -> Result<()> {
    // SAFETY: takes no pointer and closes nothing: it only sets a flag on descriptors.
    match unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(Error::last("close_range", format!("{first}.., CLOSE_RANGE_CLOEXEC"))),
    }
}

/// Gives SIGCHLD its default action, so that children stay until they are waited for (sigaction(2)).
///
/// # Errors
/// None in practice.
pub fn heed_children() -> Result<()> {
    // SAFETY: SIG_DFL is no handler of ours, so no code can run in a signal context.
    match unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) } {
        libc::SIG_ERR => Err(Error::last("sigaction", "SIGCHLD")),
        _ => Ok(()),
    }
}

/// Resets every signal to its default action and unblocks all (signal(7): ignored signals survive execve).
///
/// # Errors
/// None in practice; sigprocmask's otherwise.
pub fn reset_signals() -> Result<()> {
    // The kernel's own structure (rt_sigaction(2)), at least as large as on any architecture: all zero is
    // SIG_DFL. glibc's wrapper refuses signals 32 and 33, its own, which its posix_spawn leaves ignored.
    let default = [0_u64; 8];
    for signal in (1..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        let size = size_of::<u64>(); // of the kernel's signal mask
        // SAFETY: SIG_DFL is no handler of ours, so no code can run in a signal context; the kernel reads
        // less than `default` holds and writes nothing.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, std::ptr::null::<u8>(), size)
        };
    }
    // SAFETY: an all-zero sigset_t is the empty set on Linux, and both pointers are valid or null.
    let result = unsafe {
        let empty: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, std::ptr::null_mut())
    };
    if result != 0 {
        return Err(Error::last("sigprocmask", ""));
    }
    Ok(())
}

/// Ends the process at once, without running destructors or flushing buffers that the parent owns too.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: never returns and touches no memory of ours.
    unsafe { libc::_exit(code) }
}
