//! Making, finding and joining namespaces (namespaces(7), setns(2)).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::procfs::Procfs;
use crate::error::{Call, Context, Result};
use crate::plan::namespace::{Join, Namespace};

/// A namespace to join, opened by the runtime while its paths still mean what the specification meant.
#[derive(Debug)]
pub struct Opened {
    /// Its kind.
    pub kind: Namespace,
    fd: OwnedFd,
    /// Place and path, for messages.
    step: String,
}

impl Opened {
    /// Opens the namespace file.
    ///
    /// # Errors
    /// As open(2), with its place in the specification.
    pub fn open(join: &Join) -> Result<Self> {
        let step = format!("linux.namespaces[{}].path {:?}", join.index, join.path);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = rustix::fs::open(join.path.as_str(), flags, Mode::empty())
            .call("open", || format!("{:?}", join.path))
            .context(|| &step)?;
        Ok(Self { kind: join.kind, fd, step })
    }

    /// Moves into it; for a pid namespace, only children do.
    ///
    /// # Errors
    /// EINVAL where the file is no namespace of that kind.
    pub fn join(&self) -> Result<()> {
        sys::process::setns(self.fd.as_fd(), self.kind.flag()).context(|| &self.step)
    }
}

impl AsFd for Opened {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens a namespace of a process through a verified procfs.
///
/// The last step is a magic link, which is why it is taken relative to the verified folder.
///
/// # Errors
/// As openat(2).
pub fn of_process(host: &Procfs, pid: i32, name: &str) -> Result<OwnedFd> {
    open_in(host, &format!("{pid}/ns"), name)
}

/// Opens a namespace of this process.
///
/// # Errors
/// As openat(2).
pub fn own(host: &Procfs, name: &str) -> Result<OwnedFd> {
    open_in(host, "self/ns", name)
}

fn open_in(host: &Procfs, folder: &str, name: &str) -> Result<OwnedFd> {
    let folder_fd = host.open(folder, OFlags::PATH | OFlags::DIRECTORY)?;
    rustix::fs::openat(&folder_fd, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .call("openat", || format!("{:?}", format!("{folder}/{name}")))
}

/// Makes a network namespace and returns it, without staying in it.
///
/// # Errors
/// As unshare(2) and setns(2). A failure to come back is an error too: the runtime would go on in the
/// wrong network.
pub fn new_network(host: &Procfs) -> Result<OwnedFd> {
    let home = own(host, "net")?;
    let flag = Namespace::Network.flag();
    sys::process::unshare(flag).context(|| "make the network namespace")?;
    let made = own(host, "net");
    sys::process::setns(home.as_fd(), flag).context(|| "leave the container's network namespace")?;
    made
}

/// Moves this process into `fd`.
///
/// # Errors
/// As setns(2).
pub fn enter(fd: BorrowedFd<'_>, kind: Namespace) -> Result<()> {
    Ok(sys::process::setns(fd, kind.flag())?)
}
