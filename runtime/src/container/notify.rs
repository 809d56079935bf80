//! The seccomp listener's way to its agent (config-linux.md "Seccomp", `listenerPath`).
//!
//! The agent listens on a Unix stream socket. It gets one JSON document, the container process state
//! (config-linux.md "The Container Process State"), with the listener's descriptor attached to its first
//! bytes (SCM_RIGHTS, unix(7)).

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, send, sendmsg};
use oci_spec::runtime::{ContainerProcessStateBuilder, ContainerState, State};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::PidfdGetfdFlags;

use super::Record;
use crate::bail;
use crate::error::{Call, Context, Error, Result};

/// The name of the one descriptor in the document's `fds`, fixed by the specification.
const FD_NAME: &str = "seccompFd";
/// How long an agent may keep us waiting that does not accept or read; EAGAIN after that.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes the seccomp listener `number` off init and sends it to the container's agent, with the container's
/// state in `status`.
///
/// # Errors
/// Name the field `linux.seccomp` or `linux.seccomp.listenerPath` and the call that failed.
pub fn pass_listener(
    record: &Record,
    status: ContainerState,
    pid: i32,
    pidfd: BorrowedFd<'_>,
    number: RawFd,
) -> Result<()> {
    let Some(agent) = &record.seccomp_notify else {
        bail!("the container's init has a seccomp listener, but linux.seccomp.listenerPath is not recorded");
    };
    let fd = rustix::process::pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty())
        .call("pidfd_getfd", || format!("{pid}, {number}"))
        .context(|| "linux.seccomp: take the listener")?;
    let state = record.state(status)?;
    send_seccomp_fd(&agent.listener_path, agent.listener_metadata.as_deref(), state, pid, fd.as_fd())
}

/// Sends a seccomp listener's descriptor to the agent behind `listener_path`.
fn send_seccomp_fd(
    listener_path: &Path,
    metadata: Option<&str>,
    state: State,
    pid: i32,
    fd: BorrowedFd<'_>,
) -> Result<()> {
    let mut document = ContainerProcessStateBuilder::default()
        .version(state.version().clone())
        .fds(vec![FD_NAME.to_owned()])
        .pid(pid)
        .state(state);
    if let Some(metadata) = metadata {
        document = document.metadata(metadata);
    }
    let document =
        document.build().map_err(|error| Error::other(format!("container process state: {error}")))?;
    let bytes =
        serde_json::to_vec(&document).map_err(|error| Error::other(format!("seccomp listener: {error}")))?;
    deliver(listener_path, &bytes, fd).context(|| "linux.seccomp.listenerPath")
}

fn deliver(listener_path: &Path, bytes: &[u8], fd: BorrowedFd<'_>) -> Result<()> {
    let at = || format!("{listener_path:?}");
    let agent = connect(listener_path)?;
    let fds = [fd.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    let sent = loop {
        let data = [IoSlice::new(bytes)];
        match sendmsg::<()>(agent.as_raw_fd(), &data, &rights, MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) => {}
            result => break result.call("sendmsg", at)?,
        }
    };
    // The descriptor went with the first bytes; the rest is plain data.
    let mut rest = &bytes[sent..];
    while !rest.is_empty() {
        match send(agent.as_raw_fd(), rest, MsgFlags::MSG_NOSIGNAL) {
            Err(Errno::EINTR) => {}
            result => rest = &rest[result.call("send", at)?..],
        }
    }
    Ok(())
}

/// Connects with a limit on the time that the agent lets us wait, now and when we send.
fn connect(listener_path: &Path) -> Result<OwnedFd> {
    let at = || format!("{listener_path:?}");
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .call("socket", || "AF_UNIX")?;
    net::sockopt::set_socket_timeout(&socket, net::sockopt::Timeout::Send, Some(PATIENCE))
        .call("setsockopt", || "SO_SNDTIMEO")?;
    let direct = SocketAddrUnix::new(listener_path);
    let (address, _folder) = match (direct, listener_path.parent(), listener_path.file_name()) {
        // unix(7) has room for 107 bytes; a longer path is reached through its folder's descriptor.
        (Err(rustix::io::Errno::NAMETOOLONG), Some(parent), Some(name)) => {
            let folder = File::open(parent).call("open", || format!("{parent:?}"))?;
            let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
            (SocketAddrUnix::new(short).call("connect", at)?, Some(folder))
        }
        (direct, ..) => (direct.call("connect", at)?, None),
    };
    net::connect(&socket, &address).call("connect", at)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{IoSliceMut, Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixListener;

    use nix::sys::socket::{ControlMessageOwned, recvmsg};

    #[test]
    fn the_agent_gets_the_document_and_the_descriptor() {
        let dir = crate::container::tests::TempDir::new();
        // Too long for an address: bound where it is short, then moved.
        let folder = dir.path().join("long".repeat(40));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("agent");
        let listener = UnixListener::bind(dir.path().join("agent")).unwrap();
        std::fs::rename(dir.path().join("agent"), &path).unwrap();
        let mut file = std::fs::File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(dir.path().join("file"))
            .unwrap();
        file.write_all(b"listener").unwrap();
        let record = crate::container::record::tests::record("web");
        let state = record.state(oci_spec::runtime::ContainerState::Created).unwrap();

        send_seccomp_fd(&path, Some("meta"), state, 42, file.as_fd()).unwrap();

        let (mut agent, _) = listener.accept().unwrap();
        let mut first = [0_u8; 8];
        let mut space = nix::cmsg_space!([i32; 1]);
        let received: Vec<i32> = {
            let mut data = [IoSliceMut::new(&mut first)];
            let message =
                recvmsg::<()>(agent.as_raw_fd(), &mut data, Some(&mut space), MsgFlags::empty()).unwrap();
            let mut fds = Vec::new();
            for part in message.cmsgs().unwrap() {
                if let ControlMessageOwned::ScmRights(more) = part {
                    fds.extend(more);
                }
            }
            fds
        };
        let mut rest = Vec::new();
        agent.read_to_end(&mut rest).unwrap();
        let document: serde_json::Value = serde_json::from_slice(&[&first[..], &rest].concat()).unwrap();
        assert_eq!(document["fds"], serde_json::json!(["seccompFd"]));
        assert_eq!(document["pid"], 42);
        assert_eq!(document["metadata"], "meta");
        assert_eq!(document["state"]["id"], "web");
        assert_eq!(received.len(), 1);
        let same = nix::sys::stat::fstat(file.as_fd()).unwrap().st_ino;
        assert_eq!(
            std::fs::metadata(format!("/proc/self/fd/{}", received[0]))
                .map(|m| std::os::unix::fs::MetadataExt::ino(&m))
                .unwrap(),
            same
        );
        nix::unistd::close(received[0]).unwrap();
    }

    #[test]
    fn a_missing_agent_is_named() {
        let record = crate::container::record::tests::record("web");
        let state = record.state(oci_spec::runtime::ContainerState::Created).unwrap();
        let error =
            send_seccomp_fd(Path::new("/no/agent"), None, state, 1, std::io::stdin().as_fd()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "linux.seccomp.listenerPath: connect(\"/no/agent\"): no such file or directory (ENOENT)"
        );
    }
}
