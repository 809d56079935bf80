//! What a caller gets from `create` and `run` beside the container: pid file, pidfd, terminal, descriptors.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Call, Context, Error, Result};

/// Writes init's process id, without a newline: callers parse the whole file as a number, and find it whole or not
/// at all. It is written to a file without a name, which nothing is left of if this process is killed, and then gets
/// its own.
///
/// # Errors
/// As open(2), write(2), linkat(2), unlink(2) and rename(2), naming `--pid-file`.
pub fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    write_whole(path, pid.to_string().as_bytes()).context(|| "--pid-file")
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(folder, flags, PID_FILE_MODE) {
        Ok(file) => file,
        // A file system that has no such files (ISDIR: open(2), O_TMPFILE, BUGS).
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => return replace(path, folder, bytes),
        Err(errno) => return Err(errno).call("open", || format!("{folder:?}, O_TMPFILE")),
    };
    let mut file = File::from(file);
    file.write_all(bytes).call("write", || format!("{path:?}"))?;
    loop {
        match link(&file, path) {
            Ok(()) => return Ok(()),
            // What stands there is of another container, or a trap for this one (a link to some file of the host):
            // the name is taken from it, and it is not looked into.
            Err(Errno::EXIST) => match rustix::fs::unlink(path) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).call("unlink", || format!("{path:?}")),
            },
            Err(errno) => return Err(errno).call("linkat", || format!("{path:?}")),
        }
    }
}

/// As any new file's, less the umask.
const PID_FILE_MODE: Mode = Mode::from_raw_mode(0o666);

/// Gives a file without a name this one.
fn link(file: &File, path: &Path) -> rustix::io::Result<()> {
    match rustix::fs::linkat(file, "", rustix::fs::CWD, path, AtFlags::EMPTY_PATH) {
        // Without CAP_DAC_READ_SEARCH the kernel wants it by procfs (linkat(2), AT_EMPTY_PATH).
        Err(Errno::NOENT | Errno::PERM) => {
            let by_number = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::linkat(rustix::fs::CWD, by_number, rustix::fs::CWD, path, AtFlags::SYMLINK_FOLLOW)
        }
        linked => linked,
    }
}

/// The same by a second name, which is short whatever the first one is.
fn replace(path: &Path, folder: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = folder.join(format!(".pid-{}", std::process::id()));
    // What stands at that name is of a runtime that was killed, or a trap for this one.
    let _ = rustix::fs::unlink(&temporary);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let written = rustix::fs::open(&temporary, flags, PID_FILE_MODE)
        .call("open", || format!("{temporary:?}"))
        .and_then(|file| File::from(file).write_all(bytes).call("write", || format!("{temporary:?}")))
        .and_then(|()| {
            rustix::fs::rename(&temporary, path).call("rename", || format!("{temporary:?}, {path:?}"))
        });
    if written.is_err() {
        let _ = rustix::fs::unlink(&temporary);
    }
    written
}

/// Connects to the socket that is to receive the terminal.
///
/// # Errors
/// As connect(2), naming `--console-socket`.
pub fn connect_console(path: &Path) -> Result<OwnedFd> {
    connect(path, "--console-socket").map(OwnedFd::from)
}

/// Sends init's pidfd to a socket (unix(7), SCM_RIGHTS).
///
/// # Errors
/// As connect(2) and sendmsg(2), naming `--pidfd-socket`.
pub fn send_pidfd(path: &Path, pidfd: BorrowedFd<'_>) -> Result<()> {
    pass_pidfd(&connect_pidfd(path)?, path, pidfd)
}

/// Connects to the socket that is to receive a pidfd.
///
/// # Errors
/// As connect(2), naming `--pidfd-socket`.
pub fn connect_pidfd(path: &Path) -> Result<UnixStream> {
    connect(path, "--pidfd-socket")
}

/// Sends a pidfd to a connected socket; `path` is for messages.
///
/// # Errors
/// As sendmsg(2), naming `--pidfd-socket`.
pub fn pass_pidfd(socket: &UnixStream, path: &Path, pidfd: BorrowedFd<'_>) -> Result<()> {
    let rights = [pidfd.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&rights)];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(b"pidfd")], &message, MsgFlags::MSG_NOSIGNAL, None)
        .call("sendmsg", || format!("{path:?}"))
        .context(|| "--pidfd-socket")?;
    Ok(())
}

/// unix(7) limits socket paths to 107 bytes; a longer one is reached through its folder's descriptor.
fn connect(path: &Path, flag: &'static str) -> Result<UnixStream> {
    let direct = UnixStream::connect(path);
    let connected = match (direct, path.parent(), path.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.raw_os_error().is_none() => {
            let folder = File::open(parent).call("open", || format!("{parent:?}")).context(|| flag)?;
            UnixStream::connect(Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
        }
        (direct, ..) => direct,
    };
    connected.call("connect", || format!("{path:?}")).context(|| flag)
}

/// The descriptors from 3 on that the program inherits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inherited {
    /// How many there are.
    pub total: u32,
    /// How many of these, the first ones, are sockets of systemd's (sd_listen_fds(3)).
    pub listen: u32,
}

/// Counts what `--preserve-fds` and systemd's LISTEN_FDS hand over, all of which must be there.
///
/// # Errors
/// A descriptor that the caller has not handed over.
pub fn inherited(asked: u32) -> Result<Inherited> {
    let listen = listen_fds(
        std::env::var("LISTEN_FDS").ok().as_deref(),
        std::env::var("LISTEN_PID").ok().as_deref(),
        std::process::id(),
    );
    check(asked, listen)
}

/// The descriptors that `--preserve-fds` alone hands over: what `exec` adds has no sockets of systemd's, as with
/// runc.
///
/// # Errors
/// A descriptor that the caller has not handed over.
pub fn preserved(asked: u32) -> Result<Inherited> {
    check(asked, 0)
}

fn check(asked: u32, listen: u32) -> Result<Inherited> {
    let total = asked
        .checked_add(listen)
        .filter(|total| *total < 1 << 20)
        .ok_or_else(|| Error::other(format!("--preserve-fds {asked}: too many")))?;
    for fd in 3..3 + total {
        sys::fd::check_inherited(fd)
            .context(|| format!("--preserve-fds {asked}: descriptor {fd} was not handed over"))?;
    }
    Ok(Inherited { total, listen })
}

/// LISTEN_FDS counts for the process that LISTEN_PID names, which is us, or 1 from Podman: its runtime's
/// process id does not exist yet when it sets the variable.
fn listen_fds(fds: Option<&str>, pid: Option<&str>, own_pid: u32) -> u32 {
    match pid.and_then(|pid| pid.parse::<u32>().ok()) {
        Some(pid) if pid == own_pid || pid == 1 => fds.and_then(|fds| fds.parse().ok()).unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::tests::TempDir;

    fn names(folder: &TempDir) -> Vec<String> {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    type Write = fn(&Path, &Path, &[u8]) -> Result<()>;

    /// With files that have no name, and on file systems without.
    const WAYS: [Write; 2] = [|path, _, bytes| write_whole(path, bytes), replace];

    #[test]
    fn a_pid_file_holds_the_number_and_nothing_else() {
        for write in WAYS {
            let folder = TempDir::new();
            // The longest name there is.
            let name = "n".repeat(255);
            let path = folder.path().join(&name);
            for number in ["42", "7"] {
                write(&path, folder.path(), number.as_bytes()).unwrap();
                assert_eq!(std::fs::read_to_string(&path).unwrap(), number);
            }
            assert_eq!(names(&folder), [name]);
        }
        let error = write_pid_file(Path::new("/nonexistent/pid"), 42).unwrap_err().to_string();
        assert_eq!(
            error,
            "--pid-file: open(\"/nonexistent\", O_TMPFILE): no such file or directory (ENOENT)"
        );
        let error = write_pid_file(Path::new("/proc/pid"), 42).unwrap_err().to_string();
        assert!(error.starts_with("--pid-file: "), "{error}");
    }

    #[test]
    fn a_link_that_waits_for_the_pid_file_is_not_followed() {
        for write in WAYS {
            let folder = TempDir::new();
            let precious = folder.path().join("precious");
            std::fs::write(&precious, "precious").unwrap();
            for name in [&format!(".pid-{}", std::process::id()), "pid"] {
                std::os::unix::fs::symlink(&precious, folder.path().join(name)).unwrap();
            }
            write(&folder.path().join("pid"), folder.path(), b"42").unwrap();
            assert_eq!(std::fs::read(&precious).unwrap(), b"precious");
            assert!(!folder.path().join("pid").is_symlink());
            assert_eq!(std::fs::read(folder.path().join("pid")).unwrap(), b"42");
        }
    }

    #[test]
    fn a_folder_where_the_pid_file_goes_stays() {
        for write in WAYS {
            let folder = TempDir::new();
            let path = folder.path().join("pid");
            std::fs::create_dir(&path).unwrap();
            assert_eq!(write(&path, folder.path(), b"42").unwrap_err().errno(), libc::EISDIR);
            assert_eq!(names(&folder), ["pid"]);
            std::fs::remove_dir(&path).unwrap();
        }
    }

    #[test]
    fn descriptors_that_were_not_handed_over_are_missed() {
        let error = inherited(4000).unwrap_err().to_string();
        assert!(error.starts_with("--preserve-fds 4000: descriptor "), "{error}");
        assert!(error.ends_with("(EBADF)"), "{error}");
    }

    #[test]
    fn socket_activation_is_for_the_process_it_names() {
        for (fds, pid, count) in [
            (Some("2"), Some("7"), 2),
            (Some("2"), Some("1"), 2),
            (Some("2"), Some("8"), 0),
            (Some("2"), None, 0),
            (None, Some("7"), 0),
            (Some("x"), Some("7"), 0),
        ] {
            assert_eq!(listen_fds(fds, pid, 7), count, "{fds:?} {pid:?}");
        }
    }
}
