//! What a caller gets from `create` and `run` beside the container: pid file, pidfd, terminal, descriptors.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::error::{Call, Context, Error, Result};

/// Writes init's process id, without a newline and by rename: callers parse the whole file as a number.
///
/// # Errors
/// As open(2), write(2) and rename(2), naming `--pid-file`.
pub fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let step = || "--pid-file";
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{pid}"));
    // What stands at that name is of a runtime that was killed, or a trap for this one (a link to some file of
    // the host): it is taken away, and the file is a new one.
    let _ = std::fs::remove_file(&temporary);
    let written = File::create_new(&temporary)
        .and_then(|mut file| file.write_all(pid.to_string().as_bytes()))
        .call("open", || format!("{temporary:?}"))
        .and_then(|()| {
            std::fs::rename(&temporary, path).call("rename", || format!("{temporary:?}, {path:?}"))
        });
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.context(step)
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

    #[test]
    fn a_pid_file_holds_the_number_and_nothing_else() {
        let path = std::env::temp_dir().join(format!("caisson-test-pid-{}", std::process::id()));
        write_pid_file(&path, 42).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"42");
        std::fs::remove_file(&path).unwrap();
        let error = write_pid_file(Path::new("/nonexistent/pid"), 42).unwrap_err().to_string();
        assert_eq!(error, "--pid-file: open(\"/nonexistent/.pid.42\"): no such file or directory (ENOENT)");
    }

    #[test]
    fn a_link_that_waits_for_the_pid_file_is_not_followed() {
        let folder = std::env::temp_dir().join(format!("caisson-test-pid-link-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let precious = folder.join("precious");
        std::fs::write(&precious, "precious").unwrap();
        for name in [".pid.42", "pid"] {
            std::os::unix::fs::symlink(&precious, folder.join(name)).unwrap();
        }
        write_pid_file(&folder.join("pid"), 42).unwrap();
        assert_eq!(std::fs::read(&precious).unwrap(), b"precious");
        assert!(!folder.join("pid").is_symlink());
        assert_eq!(std::fs::read(folder.join("pid")).unwrap(), b"42");
        for name in ["pid", "precious"] {
            std::fs::remove_file(folder.join(name)).unwrap();
        }
        std::fs::remove_dir(&folder).unwrap();
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
