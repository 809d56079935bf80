//! Network namespaces (network_namespaces(7)): made, and worked in, without leaving one's own for longer than that takes.
//!
//! A thread that could not get back to its own namespace would do everything that follows in a container's: the process
//! ends instead.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Context, Error, Kind, Result};

const CLONE_NEWNET: i32 = 0x4000_0000;
/// That of the thread that asks, whichever it is.
const OWN: &str = "/proc/thread-self/ns/net";

/// Makes one, with nothing but a loopback device that is down. The process must have no other thread.
///
/// # Errors
/// The system's reason.
pub fn create() -> Result<OwnedFd> {
    let own = open_own()?;
    let words = |error: sys::Error| Error::new(Kind::System, error.to_string());
    sys::process::unshare(CLONE_NEWNET).map_err(words).during(|| "make a network namespace".to_owned())?;
    let made = open_own();
    go_back(&own);
    made.map(OwnedFd::from)
}

/// Does something in another network namespace.
///
/// # Errors
/// Those of what is done; the system's reason.
pub fn inside<T>(netns: BorrowedFd, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let own = open_own()?;
    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
        .during(|| "enter a network namespace".to_owned())?;
    let done = act();
    go_back(&own);
    done
}

fn open_own() -> Result<File> {
    File::open(OWN).during(|| format!("open {OWN}"))
}

fn go_back(own: &File) {
    if move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Network)).is_err() {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::netlink::Netlink;

    #[test]
    fn what_is_done_inside_stays_there() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let own = std::fs::read_link(OWN).unwrap();
        // Each test of cargo-nextest is a process of its own; a thread of cargo's has this namespace to itself too.
        let made = create().unwrap();
        let names = inside(made.as_fd(), || {
            assert_ne!(std::fs::read_link(OWN).unwrap(), own);
            let links = Netlink::open()?.links()?;
            Ok(links.into_iter().map(|link| (link.name, link.is_up)).collect::<Vec<_>>())
        });
        assert_eq!(names.unwrap(), [("lo".to_owned(), false)]);
        assert_eq!(std::fs::read_link(OWN).unwrap(), own);
        assert!(inside(made.as_fd(), || Err::<(), _>(Error::usage("x"))).is_err());
        assert_eq!(std::fs::read_link(OWN).unwrap(), own);
    }
}
