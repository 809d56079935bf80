//! Making, finding and joining namespaces (namespaces(7), setns(2)).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};

use super::network;
use super::procfs::Procfs;
use crate::error::{Call, Context, Error, Kind, Result};
use crate::plan::Plan;
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

    /// Whether this process is in it.
    fn is_ours(&self, host: &Procfs) -> Result<bool> {
        let identity = |fd: BorrowedFd<'_>| -> Result<(u64, u64)> {
            let stat = rustix::fs::fstat(fd).call("fstat", || &self.step)?;
            Ok((stat.st_dev, stat.st_ino))
        };
        Ok(identity(self.fd.as_fd())? == identity(own(host, self.kind.file())?.as_fd())?)
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

/// Makes sure that nothing the plan sets in a namespace is set for the host: a path may lead to the namespace
/// that the runtime itself is in.
///
/// # Errors
/// Kind `Spec`, with the field that would be set.
pub fn spare_the_host(plan: &Plan, joined: &[Opened], host: &Procfs) -> Result<()> {
    for namespace in joined {
        if let Some(field) = what_is_set(plan, namespace.kind)
            && namespace.is_ours(host)?
        {
            let reason =
                format!("{field}: {} is the runtime's own namespace, which stays as it is", namespace.step);
            return Err(Error::new(Kind::Spec, reason));
        }
    }
    Ok(())
}

/// The first field of the plan that changes a namespace of this kind.
fn what_is_set(plan: &Plan, kind: Namespace) -> Option<String> {
    let sysctl = plan.sysctls.iter().find(|sysctl| sysctl.namespace() == kind);
    let field = match kind {
        Namespace::Uts if !plan.hostname.is_empty() => Some("hostname"),
        Namespace::Uts if !plan.domainname.is_empty() => Some("domainname"),
        Namespace::Network if !plan.net_devices.is_empty() => Some("linux.netDevices"),
        _ => None,
    };
    field.map(str::to_owned).or_else(|| sysctl.map(|sysctl| format!("linux.sysctl[{:?}]", sysctl.key)))
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

/// Makes a network namespace, with `lo` on, and returns it, without staying in it. `made` is called with it as
/// soon as it is there.
///
/// # Errors
/// As unshare(2) and setns(2), and those of `made`. A failure to come back is an error too: the runtime would
/// go on in the wrong network.
pub fn new_network(host: &Procfs, made: impl FnOnce(BorrowedFd<'_>) -> Result<()>) -> Result<OwnedFd> {
    let home = own(host, "net")?;
    let flag = Namespace::Network.flag();
    sys::process::unshare(flag).context(|| "make the network namespace")?;
    let inside = || {
        let network = own(host, "net")?;
        made(network.as_fd())?;
        network::loopback_up()?;
        Ok(network)
    };
    let network = inside();
    sys::process::setns(home.as_fd(), flag).context(|| "leave the container's network namespace")?;
    network
}

/// Calls `inside` in the network namespace `network`, and comes back.
///
/// # Errors
/// As setns(2), and those of `inside`. A failure to come back is an error too: the runtime would go on in the wrong
/// network.
pub fn within(host: &Procfs, network: BorrowedFd<'_>, inside: impl FnOnce() -> Result<()>) -> Result<()> {
    let home = own(host, "net")?;
    let flag = Namespace::Network.flag();
    sys::process::setns(network, flag).context(|| "enter the container's network namespace")?;
    let result = inside();
    sys::process::setns(home.as_fd(), flag).context(|| "leave the container's network namespace")?;
    result
}

/// The kinds out of `kinds` that process `pid` does not share with this one, as `CLONE_NEW…` flags.
///
/// # Errors
/// As fstatat(2): ENOENT where the process is gone, EACCES where it may not be looked at.
pub fn apart(host: &Procfs, pid: i32, kinds: impl Iterator<Item = Namespace>) -> Result<i32> {
    let identity = |path: String| -> Result<(u64, u64)> {
        let stat = rustix::fs::statat(host, path.as_str(), AtFlags::empty());
        stat.call("fstatat", || format!("\"/proc/{path}\"")).map(|stat| (stat.st_dev, stat.st_ino))
    };
    let mut flags = 0;
    for kind in kinds {
        let file = kind.file();
        if identity(format!("{pid}/ns/{file}"))? != identity(format!("self/ns/{file}"))? {
            flags |= kind.flag();
        }
    }
    Ok(flags)
}

/// The root that process `pid` sees, taken by the magic link relative to its verified folder.
///
/// # Errors
/// As openat(2).
pub fn root_of(host: &Procfs, pid: i32) -> Result<OwnedFd> {
    let folder = host.open(&pid.to_string(), OFlags::PATH | OFlags::DIRECTORY)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(&folder, "root", flags, Mode::empty())
        .call("openat", || format!("\"/proc/{pid}/root\""))
}

/// Root of the user namespace that this process has just entered: its ids are what files are made with.
///
/// # Errors
/// EINVAL where the namespace has no root.
pub fn become_root() -> Result<()> {
    let (root, group) = (rustix::fs::Uid::ROOT, rustix::fs::Gid::ROOT);
    rustix::thread::set_thread_groups(&[])
        .or_else(|errno| if errno == rustix::io::Errno::PERM { Ok(()) } else { Err(errno) })
        .call("setgroups", || "none")?;
    rustix::thread::set_thread_res_gid(group, group, group)
        .call("setresgid", || "0, in the user namespace")?;
    rustix::thread::set_thread_res_uid(root, root, root).call("setresuid", || "0, in the user namespace")
}

/// Moves this process into `fd`.
///
/// # Errors
/// As setns(2).
pub fn enter(fd: BorrowedFd<'_>, kind: Namespace) -> Result<()> {
    Ok(sys::process::setns(fd, kind.flag())?)
}
