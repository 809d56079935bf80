//! The channel between the runtime and a container's init: one enum per direction over a SOCK_SEQPACKET
//! pair, one message per packet.
//!
//! The end of the channel is a message too: init's end is close-on-exec, so the runtime sees it close when
//! the program runs; init sees it close when the runtime dies, and ends itself.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Call, Error, Result};

/// Larger than any error chain.
const MAX_PACKET: usize = 64 * 1024;

/// What init (or the process before it) tells the runtime.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToParent {
    /// From the process in between: init's process id, and whether it is in its cgroup already.
    Cloned {
        /// As the runtime sees it.
        pid: i32,
        /// Otherwise it waits for [`ToInit::Placed`].
        placed: bool,
    },
    /// The time namespace is made; its offsets may be written now.
    TimeNamespace,
    /// Everything is mounted; the hooks before pivot_root may run.
    Mounted,
    /// The seccomp filter is loaded; its listener is this descriptor of init.
    SeccompListener(RawFd),
    /// Everything is set up; `create` is done.
    Ready,
    /// Something the user should know but that stops nothing.
    Warning(String),
    /// Init gives up.
    Failed(Error),
}

/// What the runtime tells init.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToInit {
    /// The cgroup's folder as a mount, for the entry of this index, comes with this packet.
    CgroupMount(usize),
    /// The same, as a path, for an init that has to open it itself.
    CgroupFolder(String),
    /// Init, or a process that `exec` adds, is in its scope.
    Placed,
    /// The id mappings are written.
    Mapped,
    /// The network namespace comes with this packet.
    Network,
    /// What was asked for (offsets, hooks, the listener) is done.
    Continue,
    /// The record is written: the program (or the gate) is next.
    Go,
}

/// One end of the channel.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Channel {
    /// Both ends, the runtime's first.
    ///
    /// # Errors
    /// As socketpair(2).
    pub fn pair() -> Result<(Self, Self)> {
        let (parent, init) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .call("socketpair", || "SOCK_SEQPACKET")?;
        Ok((Self(parent), Self(init)))
    }

    /// Whether the other side is gone.
    pub fn is_closed(&self) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        let polled = nix::poll::poll(&mut fds, PollTimeout::ZERO);
        polled.is_ok() && fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
    }

    /// Sends one message, by write(2): a container's own seccomp filter may already be in force.
    ///
    /// # Errors
    /// EPIPE where the other side is gone, ECONNRESET where it has gone without reading everything.
    pub fn send(&self, message: &impl Serialize) -> Result<()> {
        let packet = serde_json::to_vec(message).map_err(Error::other)?;
        loop {
            match rustix::io::write(&self.0, &packet) {
                Err(rustix::io::Errno::INTR) => {}
                result => return result.map(drop).call("write", || "between the runtime and init"),
            }
        }
    }

    /// Sends one message and, with it, a descriptor.
    ///
    /// # Errors
    /// As sendmsg(2).
    pub fn send_with(&self, message: &impl Serialize, fd: BorrowedFd<'_>) -> Result<()> {
        let packet = serde_json::to_vec(message).map_err(Error::other)?;
        let (data, rights) = ([IoSlice::new(&packet)], [fd.as_raw_fd()]);
        let control = [ControlMessage::ScmRights(&rights)];
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), &data, &control, MsgFlags::MSG_NOSIGNAL, None) {
                Err(Errno::EINTR) => {}
                result => return result.map(drop).call("sendmsg", || "between the runtime and init"),
            }
        }
    }

    /// Receives one message, by read(2); `None` where the other side is gone.
    ///
    /// # Errors
    /// As read(2).
    pub fn receive<M: DeserializeOwned>(&self) -> Result<Option<M>> {
        // Never filled with zeros: of these pages only those are had that a packet fills.
        let mut packet = Vec::with_capacity(MAX_PACKET);
        loop {
            match rustix::io::read(&self.0, rustix::buffer::spare_capacity(&mut packet)) {
                // CONNRESET: the other side has ended without reading all of ours; what it said before is
                // still there, and the error comes once.
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
                result => break result.call("read", || "between the runtime and init").map(drop)?,
            }
        }
        parse(&packet)
    }

    /// Receives one message and the descriptor that came with it. None of these is longer than a path.
    ///
    /// # Errors
    /// As recvmsg(2).
    pub fn receive_with<M: DeserializeOwned>(&self) -> Result<Option<(M, Option<OwnedFd>)>> {
        let mut packet = [0_u8; 8192];
        let mut buffer = [IoSliceMut::new(&mut packet)];
        let mut space = nix::cmsg_space!([RawFd; 1]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let (length, fd) = {
            let message = loop {
                match recvmsg::<()>(self.0.as_raw_fd(), &mut buffer, Some(&mut space), flags) {
                    // ECONNRESET: the other side has ended without reading all of ours; what it said before
                    // is still there, and the error comes once.
                    Err(Errno::EINTR | Errno::ECONNRESET) => {}
                    result => break result.call("recvmsg", || "between the runtime and init")?,
                }
            };
            let mut fd = None;
            for control in message.cmsgs().call("recvmsg", || "control messages")? {
                if let ControlMessageOwned::ScmRights(fds) = control {
                    fd = fds.first().copied();
                }
            }
            (message.bytes, fd)
        };
        let fd = fd.map(sys::fd::adopt);
        Ok(parse(&packet[..length])?.map(|message| (message, fd)))
    }
}

/// A packet without bytes is the end.
fn parse<M: DeserializeOwned>(packet: &[u8]) -> Result<Option<M>> {
    if packet.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(packet)
        .map(Some)
        .map_err(|error| Error::other(format!("a packet between the runtime and init: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_errors_cross_intact() {
        let (parent, init) = Channel::pair().unwrap();
        let error = Error::other("x".repeat(20_000)).context("mount");
        init.send(&ToParent::Failed(error.clone())).unwrap();
        let Some(ToParent::Failed(received)) = parent.receive().unwrap() else { panic!("no error") };
        assert_eq!(received, error);
    }

    #[test]
    fn a_descriptor_travels_with_its_message() {
        let (parent, init) = Channel::pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        parent.send_with(&ToInit::Network, file.as_fd()).unwrap();
        let (message, fd) = init.receive_with::<ToInit>().unwrap().unwrap();
        assert!(matches!(message, ToInit::Network));
        let stat = rustix::fs::fstat(fd.unwrap()).unwrap();
        assert_eq!(stat.st_rdev, rustix::fs::makedev(1, 3));
    }

    #[test]
    fn the_last_words_of_an_end_that_read_nothing_are_heard() {
        let (parent, init) = Channel::pair().unwrap();
        parent.send(&ToInit::Go).unwrap();
        init.send(&ToParent::Failed(Error::other("why"))).unwrap();
        drop(init);
        let Some(ToParent::Failed(error)) = parent.receive().unwrap() else { panic!("no error") };
        assert_eq!(error.to_string(), "why");
        assert!(parent.receive::<ToParent>().unwrap().is_none());
    }

    #[test]
    fn a_closed_end_is_the_end() {
        let (parent, init) = Channel::pair().unwrap();
        assert!(!parent.is_closed());
        drop(init);
        assert!(parent.is_closed());
        assert!(parent.receive::<ToParent>().unwrap().is_none());
        assert!(parent.send(&ToInit::Go).is_err());
    }
}
