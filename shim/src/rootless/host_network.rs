//! The network that an ordinary user's bridges are in: a network namespace of his user namespace's, in which is for his
//! containers what the host's network is for root's: bridges, the devices at them, the table of the packet filter.
//!
//! It is made when a container first needs it, and kept by a mount of it below the state folder, in the mount namespace
//! that all of the user's containers share: so it is there for as long as any of them is, and nobody else sees it. The
//! program itself stays in the host's network, to which it could not come back (setns(2) wants a right there); what has to
//! be done in this one is done by a thread ([`namespace`]). The way out of it is `way_out`'s.
//!
//! For root all of this is nothing: what is to be done inside is done where the program is.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags, fstat, fstatfs};
use rustix::io::Errno;

use crate::error::{Context, Error, Kind, Result};
use crate::network::namespace;
use crate::network::netlink::Netlink;
use crate::store::record::Lock;

/// Where it is mounted, below the state folder.
const NAME: &str = "network-namespace";
/// `NSFS_MAGIC` of linux/magic.h: what a namespace's file is of (statfs(2)).
const NSFS: u64 = 0x6e73_6673;

/// All addresses of IPv4 as IPv6 has them (RFC 4291, 2.5.5.2).
const MAPPED: (Ipv6Addr, u8) = (Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), 96);

/// Has this user a network of his own for his bridges, because the host's is not his to change?
#[must_use]
pub fn is_own() -> bool {
    static IS_OWN: OnceLock<bool> = OnceLock::new();
    *IS_OWN.get_or_init(|| {
        if super::is_ordinary_user() {
            return true;
        }
        // That of the program: this thread may be elsewhere.
        let owner = File::open("/proc/self/ns/net").map(|netns| sys::namespace::owner(netns.as_fd()).is_ok());
        super::is_in_user_namespace() && !owner.unwrap_or(false)
    })
}

/// Does something where bridges are; for an ordinary user in his own network, which is made if need be.
///
/// # Errors
/// Those of what is done; the system's reason.
pub fn inside<T: Send>(state: &Path, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    if is_own() { namespace::inside(make(state)?.as_fd(), act) } else { act() }
}

/// The same; where it is not there, no bridge is, nor anything else: None then.
///
/// # Errors
/// Those of what is done; the system's reason.
pub fn inside_if_there<T: Send>(state: &Path, act: impl FnOnce() -> Result<T> + Send) -> Result<Option<T>> {
    if !is_own() {
        return act().map(Some);
    }
    find(state)?.map(|netns| namespace::inside(netns.as_fd(), act)).transpose()
}

/// Has this process, which must have no other thread, go on where bridges are; its sockets stay where they were opened.
///
/// # Errors
/// It is not there; the system's reason.
pub fn enter(state: &Path) -> Result<()> {
    if !is_own() {
        return Ok(());
    }
    let gone = || Error::not_found("the network of the user's containers is gone");
    namespace::enter(find(state)?.ok_or_else(gone)?.as_fd())
}

/// The host's own address, as it appears to others; None where it is in no network.
#[must_use]
pub fn address_of_host() -> Option<IpAddr> {
    // Nothing is sent: the kernel chooses by its routes. The address is nobody's (RFC 5737).
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback())
}

/// The path that other programs find it by, in the mount namespace of the user's containers.
#[must_use]
pub fn path(state: &Path) -> std::path::PathBuf {
    state.join(NAME)
}

/// Which one it is: its number among all namespaces of the host (namespaces(7)); None if it is not there.
///
/// # Errors
/// The system's reason.
pub fn number(state: &Path) -> Result<Option<u64>> {
    let number =
        |netns: OwnedFd| fstat(&netns).during(|| "fstat of a namespace".to_owned()).map(|stat| stat.st_ino);
    find(state)?.map(number).transpose()
}

/// The one that is mounted.
fn find(state: &Path) -> Result<Option<OwnedFd>> {
    let path = path(state);
    let words = || format!("open {path:?}");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let found = match rustix::fs::open(&path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        found => found.during(words)?,
    };
    let kind = fstatfs(&found).during(words)?.f_type;
    Ok((u64::try_from(kind).unwrap_or_default() == NSFS).then_some(found))
}

fn make(state: &Path) -> Result<OwnedFd> {
    if let Some(found) = find(state)? {
        return Ok(found);
    }
    let _lock = Lock::exclusive(&state.join("network-namespace.lock"))?;
    if let Some(found) = find(state)? {
        return Ok(found);
    }
    let path = path(state);
    let words = || "make the network of the user's containers".to_owned();
    File::create(&path).during(|| format!("make {path:?}")).during(words)?;
    namespace::in_new(|| {
        // All of it before it is mounted: what is found is whole.
        set_up()?;
        rustix::mount::mount_bind(namespace::OWN, &path).during(|| format!("mount it at {path:?}"))
    })
    .during(words)?;
    let gone = || Error::new(Kind::System, format!("{path:?} is not what was mounted there"));
    find(state)?.ok_or_else(gone).during(words)
}

/// What it has before any bridge.
fn set_up() -> Result<()> {
    let mut netlink = Netlink::open()?;
    let lo = netlink.link("lo")?.ok_or_else(|| Error::new(Kind::System, "no device lo"))?;
    netlink.set_up(lo.index, "")?;
    // The kernel passes nothing on that is for 127.0.0.0/8 or ::1, but it does what is for the same address in IPv6's
    // clothes; and whoever carries it outside would come to the loopback of the host with it.
    netlink.add_unreachable(MAPPED.0, MAPPED.1)?;
    // Nor is :: an address, which programs reach by it all the same: connect(2) of the one who carries it leads to the
    // host's loopback. The kernel does not send to it either; but what a container makes by hand is passed on.
    netlink.add_unreachable(Ipv6Addr::UNSPECIFIED, 128)
}
