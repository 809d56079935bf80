//! Network namespaces (network_namespaces(7)): made, and worked in, by a thread of its own that ends with the work.
//!
//! A thread has a network namespace, not a process. So the one that goes elsewhere never has to come back, which an
//! ordinary user's could not: the host's is not in its user namespace. What it opens there stays there: a socket belongs to
//! the namespace of the thread that opened it, and a program that it starts is in it. `/proc/sys/net` shows that of the
//! thread that looks.
//!
//! Must not: be used where threads may not be, before a process enters a user namespace or clones for one.

use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Context, Error, Kind, Result};

const CLONE_NEWNET: i32 = 0x4000_0000;
/// That of the thread that asks, whichever it is.
pub const OWN: &str = "/proc/thread-self/ns/net";

/// Makes one, with nothing but a loopback device that is down.
///
/// # Errors
/// The system's reason.
pub fn create() -> Result<OwnedFd> {
    in_new(open_own).map(OwnedFd::from)
}

/// Does something in a network namespace that is new, and gone with what this returns and what it leaves there.
///
/// # Errors
/// Those of what is done; the system's reason.
pub fn in_new<T: Send>(act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    in_thread(|| {
        let words = |error: sys::Error| Error::new(Kind::System, error.to_string());
        sys::process::unshare(CLONE_NEWNET)
            .map_err(words)
            .during(|| "make a network namespace".to_owned())?;
        act()
    })
}

/// Does something in another network namespace.
///
/// # Errors
/// Those of what is done; the system's reason.
pub fn inside<T: Send>(netns: BorrowedFd, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    in_thread(|| {
        enter(netns)?;
        act()
    })
}

/// Has this thread go on in another network namespace, for good.
///
/// # Errors
/// The system's reason.
pub fn enter(netns: BorrowedFd) -> Result<()> {
    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
        .during(|| "enter a network namespace".to_owned())
}

/// That of this thread.
///
/// # Errors
/// The system's reason.
pub fn open_own() -> Result<File> {
    File::open(OWN).during(|| format!("open {OWN}"))
}

fn in_thread<T: Send>(act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, act).during(|| "thread".to_owned())?;
        thread.join().unwrap_or_else(|_| Err(Error::new(Kind::System, "a thread has ended")))
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::network::netlink::Netlink;

    #[test]
    fn what_is_done_inside_stays_there() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let own = std::fs::read_link(OWN).unwrap();
        let made = create().unwrap();
        let names = inside(made.as_fd(), || {
            assert_ne!(std::fs::read_link(OWN).unwrap(), own);
            let links = Netlink::open()?.links()?;
            Ok(links.into_iter().map(|link| (link.name, link.is_up)).collect::<Vec<_>>())
        });
        assert_eq!(names.unwrap(), [("lo".to_owned(), false)]);
        assert_eq!(std::fs::read_link(OWN).unwrap(), own);
        // A socket stays where it was opened.
        let mut netlink = inside(made.as_fd(), Netlink::open).unwrap();
        let lo = netlink.link("lo").unwrap().unwrap();
        netlink.set_up(lo.index, "mark").unwrap();
        assert_eq!(netlink.link("lo").unwrap().unwrap().alias, "mark");
        assert_ne!(Netlink::open().unwrap().link("lo").unwrap().unwrap().alias, "mark");
        assert!(inside(made.as_fd(), || Err::<(), _>(Error::usage("x"))).is_err());
        assert_eq!(std::fs::read_link(OWN).unwrap(), own);
    }
}
