//! The kernel calls of the floor, one function each: the only unsafe code of this program. Every function
//! returns the system's error and decides nothing. Strings are `CStr`, so that no call allocates.

use std::ffi::{CStr, c_int, c_long, c_ulong, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

const EMPTY: &CStr = c"";

/// What a call returned, or errno where it was −1.
fn checked<T: PartialEq + From<i8>>(returned: T) -> io::Result<T> {
    if returned == T::from(-1) { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

fn descriptor(returned: c_long) -> io::Result<OwnedFd> {
    let number = RawFd::try_from(checked(returned)?).map_err(io::Error::other)?;
    // SAFETY: a call that makes descriptors has just returned this one; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A new process by clone3(2); `None` in the child, which goes on with a copy of everything.
pub fn clone3(flags: c_int, cgroup: BorrowedFd) -> io::Result<Option<OwnedFd>> {
    /// As linux/sched.h has it: libc's constant does not fit its type.
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain integers, for which zero is valid and means "nothing asked for".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from((flags | libc::CLONE_PIDFD).cast_unsigned()) | CLONE_INTO_CGROUP;
    args.pidfd = (&raw mut pidfd).addr() as u64;
    args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    let size = size_of::<libc::clone_args>();
    // SAFETY: without CLONE_VM and with a single thread this is fork(2): the child has its own copy of the
    // memory, and no other thread can have held a lock. `args` and `pidfd` outlive the call.
    let pid = checked(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size) })?;
    if pid == 0 { Ok(None) } else { descriptor(pidfd.into()).map(Some) }
}

/// Waits for the end of the process by waitid(2): its exit status, 128 + n where signal n ended it.
pub fn wait(pidfd: BorrowedFd) -> io::Result<c_int> {
    let id = pidfd.as_raw_fd().cast_unsigned();
    // SAFETY: siginfo_t is plain data, for which zero is valid; waitid fills it.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is ours and outlives the call.
    checked(unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut info, libc::WEXITED) })?;
    // SAFETY: waitid succeeded, so that the fields of SIGCHLD are the ones filled.
    let status = unsafe { info.si_status() };
    Ok(if info.si_code == libc::CLD_EXITED { status } else { 128 + status })
}

/// unshare(2).
pub fn unshare(flags: c_int) -> io::Result<()> {
    // SAFETY: takes an integer and touches no memory.
    checked(unsafe { libc::unshare(flags) }).map(drop)
}

/// mount(2); `data` may be empty.
pub fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: c_ulong, data: &CStr) -> io::Result<()> {
    let (source, target, kind, data) = (source.as_ptr(), target.as_ptr(), kind.as_ptr(), data.as_ptr());
    // SAFETY: four strings that end in NUL and outlive the call.
    checked(unsafe { libc::mount(source, target, kind, flags, data.cast::<c_void>()) }).map(drop)
}

/// umount2(2).
pub fn unmount(target: &CStr, flags: c_int) -> io::Result<()> {
    // SAFETY: a string that ends in NUL and outlives the call.
    checked(unsafe { libc::umount2(target.as_ptr(), flags) }).map(drop)
}

/// A detached file system of the given kind, not yet visible anywhere: fsopen(2), fsconfig(2), fsmount(2).
pub fn file_system(kind: &CStr, attributes: u64) -> io::Result<OwnedFd> {
    const FSOPEN_CLOEXEC: c_long = 1;
    const FSMOUNT_CLOEXEC: c_long = 1;
    const FSCONFIG_CMD_CREATE: c_long = 6;
    let null = ptr::null::<c_void>();
    // SAFETY: a string that ends in NUL and outlives the call.
    let made = unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) };
    let context = descriptor(made)?;
    let raw = context.as_raw_fd();
    // SAFETY: FSCONFIG_CMD_CREATE takes no key and no value: both are null, as it demands.
    checked(unsafe { libc::syscall(libc::SYS_fsconfig, raw, FSCONFIG_CMD_CREATE, null, null, 0) })?;
    // SAFETY: takes integers only.
    descriptor(unsafe { libc::syscall(libc::SYS_fsmount, raw, FSMOUNT_CLOEXEC, attributes) })
}

/// A detached clone of the mount at `path`, by open_tree(2); of the one behind `at` where `path` is empty.
pub fn clone_mount(at: RawFd, path: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH.cast_unsigned();
    // SAFETY: a string that ends in NUL and outlives the call.
    descriptor(unsafe { libc::syscall(libc::SYS_open_tree, at, path.as_ptr(), flags) })
}

/// Sets mount attributes such as `MOUNT_ATTR_RDONLY`, by mount_setattr(2).
pub fn set_attributes(mount: BorrowedFd, attributes: u64) -> io::Result<()> {
    let attr = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let (raw, flags, size) = (mount.as_raw_fd(), libc::AT_EMPTY_PATH, size_of::<libc::mount_attr>());
    // SAFETY: the structure is ours, of the size given, and outlives the call.
    let set =
        unsafe { libc::syscall(libc::SYS_mount_setattr, raw, EMPTY.as_ptr(), flags, &raw const attr, size) };
    checked(set).map(drop)
}

/// Attaches a detached mount at `path`, by move_mount(2).
pub fn attach(mount: BorrowedFd, path: &CStr) -> io::Result<()> {
    const MOVE_MOUNT_F_EMPTY_PATH: c_long = 4;
    let (raw, here) = (mount.as_raw_fd(), libc::AT_FDCWD);
    // SAFETY: two strings that end in NUL and outlive the call.
    let moved = unsafe {
        let (from, to) = (EMPTY.as_ptr(), path.as_ptr());
        libc::syscall(libc::SYS_move_mount, raw, from, here, to, MOVE_MOUNT_F_EMPTY_PATH)
    };
    checked(moved).map(drop)
}

/// pivot_root(2) of the current folder onto itself: the old root comes to lie over the new one.
pub fn pivot_root_here() -> io::Result<()> {
    let here = c".".as_ptr();
    // SAFETY: two strings that end in NUL and outlive the call.
    checked(unsafe { libc::syscall(libc::SYS_pivot_root, here, here) }).map(drop)
}

/// Is there a folder at `path`? By stat(2); an error where there is nothing.
pub fn is_folder(path: &CStr) -> io::Result<bool> {
    // SAFETY: stat is plain integers, for which zero is valid; the call fills it.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: a string that ends in NUL and a structure of ours; both outlive the call.
    checked(unsafe { libc::stat(path.as_ptr(), &raw mut stat) })?;
    Ok(stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

/// chdir(2).
pub fn change_folder(path: &CStr) -> io::Result<()> {
    // SAFETY: a string that ends in NUL and outlives the call.
    checked(unsafe { libc::chdir(path.as_ptr()) }).map(drop)
}

/// mkdir(2).
pub fn make_folder(path: &CStr, mode: libc::mode_t) -> io::Result<()> {
    // SAFETY: a string that ends in NUL and outlives the call.
    checked(unsafe { libc::mkdir(path.as_ptr(), mode) }).map(drop)
}

/// rmdir(2).
pub fn remove_folder(path: &CStr) -> io::Result<()> {
    // SAFETY: a string that ends in NUL and outlives the call.
    checked(unsafe { libc::rmdir(path.as_ptr()) }).map(drop)
}

/// A descriptor that only names the folder (`O_PATH`).
pub fn open_folder(path: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: a string that ends in NUL and outlives the call.
    let opened = unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC) };
    descriptor(opened.into())
}

/// mknod(2) of a character device that everybody may use.
pub fn make_device(path: &CStr, major: u32, minor: u32) -> io::Result<()> {
    // SAFETY: a string that ends in NUL and outlives the call.
    let made = unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(major, minor)) };
    checked(made).map(drop)
}

/// symlink(2).
pub fn link(target: &CStr, path: &CStr) -> io::Result<()> {
    // SAFETY: two strings that end in NUL and outlive the call.
    checked(unsafe { libc::symlink(target.as_ptr(), path.as_ptr()) }).map(drop)
}

/// umask(2).
pub fn set_umask(mask: libc::mode_t) {
    // SAFETY: takes an integer and cannot fail.
    unsafe { libc::umask(mask) };
}

/// setsid(2).
pub fn new_session() -> io::Result<()> {
    // SAFETY: takes nothing and touches no memory.
    checked(unsafe { libc::setsid() }).map(drop)
}

/// sethostname(2).
pub fn set_host_name(name: &CStr) -> io::Result<()> {
    // SAFETY: the pointer and the length belong to one string that outlives the call.
    checked(unsafe { libc::sethostname(name.as_ptr(), name.count_bytes()) }).map(drop)
}

/// The soft and hard limit of open files, by setrlimit(2).
pub fn limit_open_files(limit: libc::rlim_t) -> io::Result<()> {
    let both = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: the structure is ours and outlives the call.
    checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const both) }).map(drop)
}

/// Takes one capability out of the bounding set, by prctl(2); EINVAL above the kernel's last capability.
pub fn drop_bounding(capability: c_ulong) -> io::Result<()> {
    // SAFETY: takes integers only.
    checked(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }).map(drop)
}

/// No groups, and root for every user and group id: setgroups(2), setresgid(2), setresuid(2), as system
/// calls, since the library's versions signal other threads.
pub fn become_root() -> io::Result<()> {
    // SAFETY: no groups, so that the null pointer is not read.
    checked(unsafe { libc::syscall(libc::SYS_setgroups, 0, ptr::null::<libc::gid_t>()) })?;
    // SAFETY: takes integers only.
    checked(unsafe { libc::syscall(libc::SYS_setresgid, 0, 0, 0) })?;
    // SAFETY: takes integers only.
    checked(unsafe { libc::syscall(libc::SYS_setresuid, 0, 0, 0) }).map(drop)
}

/// The permitted and effective capabilities become `low` (of the first 32), by capset(2).
pub fn set_capabilities(low: u32) -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    // Effective, permitted, inheritable of capabilities 0 to 31, then of the higher ones.
    let sets = [low, low, 0, 0, 0, 0];
    // SAFETY: both arrays have the layout that version 3 of capset(2) reads, and outlive the call.
    checked(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) }).map(drop)
}

/// No program may give more rights from here on: prctl(2) `PR_SET_NO_NEW_PRIVS`.
pub fn no_new_privileges() -> io::Result<()> {
    // SAFETY: takes integers only.
    checked(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).map(drop)
}

/// execve(2); returns only when it failed. Both lists end in a null pointer.
pub fn execute(program: &CStr, arguments: &Pointers, environment: &Pointers) -> io::Error {
    // SAFETY: the lists end in null and point to strings that live as long as the lists (`Pointers`).
    unsafe { libc::execve(program.as_ptr(), arguments.list.as_ptr(), environment.list.as_ptr()) };
    io::Error::last_os_error()
}

/// The null-terminated list of strings that execve(2) takes.
pub struct Pointers<'a> {
    list: Vec<*const libc::c_char>,
    strings: std::marker::PhantomData<&'a CStr>,
}

impl<'a> Pointers<'a> {
    /// The list of these strings.
    pub fn of<S: AsRef<CStr>>(strings: &'a [S]) -> Self {
        let all = strings.iter().map(|string| string.as_ref().as_ptr());
        Self { list: all.chain([ptr::null()]).collect(), strings: std::marker::PhantomData }
    }
}

/// Nanoseconds of the monotonic clock, which is the same in every process.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is ours and outlives the call; this clock cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// `count` numbers that parent and children see alike, zero at first; they stay until the program ends.
pub fn shared_numbers(count: usize) -> io::Result<&'static [std::sync::atomic::AtomicU64]> {
    let (length, access) = (count * size_of::<u64>(), libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: asks for new memory wherever the kernel likes, and so touches none that is in use.
    let memory =
        unsafe { libc::mmap(ptr::null_mut(), length, access, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0) };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping has the length asked for, is zero, aligned to a page, never unmapped, and is only
    // ever reached through these atomics, in every process that shares it.
    Ok(unsafe { std::slice::from_raw_parts(memory.cast(), count) })
}

/// _exit(2): ends the process without running anything of the parent's in the child.
pub fn exit_now(status: c_int) -> ! {
    // SAFETY: ends the process; nothing follows.
    unsafe { libc::_exit(status) }
}
