//! The container's terminal: a pair from the container's own devpts, never from a path that is looked up
//! twice (CVE-2025-52565, CVE-2026-88264).

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, OutputModes, Winsize};

use super::mount;
use super::root::{RootFd, Target};
use crate::bail;
use crate::error::{Call, Context, Result};
use crate::spec::ConsoleSize;

const DEVPTS_MAGIC: u64 = 0x1cd1;

/// Both ends of a pseudoterminal.
#[derive(Debug)]
pub struct Pair {
    /// For whoever talks to the container.
    pub master: OwnedFd,
    /// For the container.
    pub slave: OwnedFd,
}

/// Opens a new pair in the devpts that is mounted at the container's /dev/pts.
///
/// # Errors
/// Where /dev/pts is no devpts, or the failing call.
pub fn open(root: &RootFd, size: Option<ConsoleSize>) -> Result<Pair> {
    // The folder first: what an image has put there (a FIFO, a device) must not even be opened.
    let folder = root.open("/dev/pts", OFlags::PATH | OFlags::DIRECTORY).context(|| "process.terminal")?;
    let magic = rustix::fs::fstatfs(&folder).call("fstatfs", || "\"/dev/pts\"")?.f_type;
    if u64::try_from(magic) != Ok(DEVPTS_MAGIC) {
        bail!("process.terminal: /dev/pts is not a devpts file system");
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV;
    let master = rustix::fs::openat2(&folder, "ptmx", flags, Mode::empty(), resolve)
        .call("openat2", || "\"/dev/pts/ptmx\"")
        .context(|| "process.terminal")?;
    rustix::pty::unlockpt(&master).call("ioctl", || "TIOCSPTLCK")?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).call("ioctl", || "TIOCGPTPEER")?;
    if let Some(size) = size {
        resize(master.as_fd(), size)?;
    }
    Ok(Pair { master, slave })
}

/// Has the terminal pass newlines on as they are. A terminal that somebody else takes keeps the kernel's
/// settings, as with runc: engines show what it prints as it comes.
///
/// # Errors
/// As tcsetattr(3).
pub fn pass_newlines(pair: &Pair) -> Result<()> {
    let mut modes = rustix::termios::tcgetattr(&pair.master).call("ioctl", || "TCGETS")?;
    modes.output_modes.remove(OutputModes::ONLCR);
    rustix::termios::tcsetattr(&pair.master, OptionalActions::Now, &modes).call("ioctl", || "TCSETS")
}

fn resize(terminal: BorrowedFd<'_>, size: ConsoleSize) -> Result<()> {
    let clamp = |cells: u64| u16::try_from(cells).unwrap_or(u16::MAX);
    let size = Winsize { ws_row: clamp(size.height), ws_col: clamp(size.width), ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).call("ioctl", || "TIOCSWINSZ")
}

/// Binds the slave to the container's /dev/console.
///
/// # Errors
/// The failing call.
pub fn place_console(root: &RootFd, slave: BorrowedFd<'_>) -> Result<()> {
    let step = || "/dev/console";
    let tree = mount::clone_tree(slave, false).context(step)?;
    let target = root.ensure("/dev/console", Target::File).context(step)?;
    mount::attach(tree.as_fd(), target.as_fd()).context(step)
}

/// Hands the master to whoever listens on the console socket (unix(7), SCM_RIGHTS).
///
/// # Errors
/// As sendmsg(2).
pub fn send(socket: BorrowedFd<'_>, master: BorrowedFd<'_>) -> Result<()> {
    let name = [IoSlice::new(b"/dev/ptmx")];
    let rights = [master.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&rights)];
    sendmsg::<()>(socket.as_raw_fd(), &name, &message, MsgFlags::empty(), None)
        .call("sendmsg", || "the terminal, to --console-socket")?;
    Ok(())
}

/// Makes the slave this session's terminal and standard input, output and error.
///
/// # Errors
/// The failing call.
pub fn become_terminal(slave: OwnedFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(&slave).call("ioctl", || "TIOCSCTTY")?;
    rustix::stdio::dup2_stdin(&slave).call("dup2", || "0")?;
    rustix::stdio::dup2_stdout(&slave).call("dup2", || "1")?;
    rustix::stdio::dup2_stderr(&slave).call("dup2", || "2")
}

/// Swaps the host's null device on standard input, output and error for the container's own (an inode of
/// the host must not stay in the container's hands), and gives the others to the program's user.
///
/// # Errors
/// The failing call.
pub fn settle_stdio(uid: u32, own_terminal: bool) -> Result<()> {
    let mut own_null: Option<OwnedFd> = None;
    for fd in 0..3 {
        if is_null(&rustix::fs::fstat(stdio(fd)).call("fstat", || format!("descriptor {fd}"))?) {
            if own_null.is_none() {
                own_null = open_own_null()?;
            }
            if let Some(null) = &own_null {
                replace_stdio(fd, null)?;
            }
        }
    }
    give_stdio(uid, own_terminal)
}

/// Makes `uid` the owner of standard input, output and error, so that the program can open /dev/stdout.
///
/// What the program has no business to own stays as it is: devices of the host, so a caller's terminal unless
/// it is the container's own, and files opened for reading only.
///
/// # Errors
/// The failing call.
pub fn give_stdio(uid: u32, own_terminal: bool) -> Result<()> {
    for fd in 0..3 {
        let stat = rustix::fs::fstat(stdio(fd)).call("fstat", || format!("descriptor {fd}"))?;
        let give = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Fifo | FileType::Socket => true,
            FileType::CharacterDevice => own_terminal && !is_null(&stat),
            FileType::RegularFile => {
                let flags = rustix::fs::fcntl_getfl(stdio(fd)).call("fcntl", || format!("{fd}, F_GETFL"))?;
                flags.intersects(OFlags::WRONLY | OFlags::RDWR)
            }
            _ => false,
        };
        if !give || stat.st_uid == uid {
            continue;
        }
        match rustix::fs::fchown(stdio(fd), Some(rustix::fs::Uid::from_raw(uid)), None) {
            // An unmapped owner, a read-only or foreign file system: the program can still use it.
            Ok(())
            | Err(
                rustix::io::Errno::INVAL
                | rustix::io::Errno::PERM
                | rustix::io::Errno::ROFS
                | rustix::io::Errno::NOSYS
                | rustix::io::Errno::ACCESS,
            ) => {}
            Err(errno) => return Err(errno).call("fchown", || format!("descriptor {fd}, {uid}")),
        }
    }
    Ok(())
}

/// `PIPEFS_MAGIC` of linux/magic.h: a pipe without a name.
const PIPEFS_MAGIC: u64 = 0x5049_5045;

/// The inodes of standard input, output and error where they are pipes without a name; 0 for anything else.
///
/// # Errors
/// As fstat(2).
pub fn own_pipes() -> Result<[u64; 3]> {
    let mut pipes = [0; 3];
    for (fd, inode) in (0..).zip(&mut pipes) {
        let stat = rustix::fs::fstat(stdio(fd)).call("fstat", || format!("descriptor {fd}"))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Fifo {
            let magic = rustix::fs::fstatfs(stdio(fd)).call("fstatfs", || format!("descriptor {fd}"))?.f_type;
            *inode = if u64::try_from(magic) == Ok(PIPEFS_MAGIC) { stat.st_ino } else { 0 };
        }
    }
    Ok(pipes)
}

fn stdio(fd: i32) -> BorrowedFd<'static> {
    match fd {
        0 => rustix::stdio::stdin(),
        1 => rustix::stdio::stdout(),
        _ => rustix::stdio::stderr(),
    }
}

fn is_null(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == rustix::fs::makedev(1, 3)
}

/// The container's /dev/null after the pivot, if it is there and really the null device (CVE-2026-88265).
fn open_own_null() -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let Ok(probe) = rustix::fs::open("/dev/null", flags | OFlags::PATH, Mode::empty()) else {
        return Ok(None);
    };
    if super::root::verify_char_device(probe.as_fd(), "/dev/null", 1, 3).is_err() {
        return Ok(None);
    }
    let Ok(null) = rustix::fs::open("/dev/null", flags, Mode::empty()) else { return Ok(None) };
    super::root::verify_char_device(null.as_fd(), "/dev/null", 1, 3)?;
    Ok(Some(null))
}

fn replace_stdio(fd: i32, with: &OwnedFd) -> Result<()> {
    match fd {
        0 => rustix::stdio::dup2_stdin(with),
        1 => rustix::stdio::dup2_stdout(with),
        _ => rustix::stdio::dup2_stderr(with),
    }
    .call("dup2", || fd.to_string())
}
