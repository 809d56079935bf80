//! Processes beside a container that have to be there while it runs, watched: the proxy of its published ports, and the way
//! out of an ordinary user's networks, which is for all of his containers. One that was killed is replaced.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::container::ContainerId;
use crate::container::record::Container;
use crate::container::store::Containers;
use crate::network::is_of_networks;
use crate::port::publish;
use crate::rootless::{host_network, way_out};

/// How soon another one is started at the earliest: what ends at once does so for a reason.
const PAUSE: Duration = Duration::from_secs(1);
/// How often is looked whether the way out is to be there that was not, or could not be: the host may come into a network,
/// and the container.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// What it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Ports,
    WayOut,
}

/// One of them.
#[derive(Debug)]
pub struct Attendant {
    what: For,
    /// Readable when it has ended; None when that is known.
    process: Option<OwnedFd>,
    /// When another one may be started.
    next: Instant,
}

impl Attendant {
    /// Those of a container.
    #[must_use]
    pub fn all(containers: &Containers, id: &ContainerId, container: &Container) -> Vec<Attendant> {
        let has_ports = publish::is_published(containers, id).unwrap_or(false);
        let has_way_out = host_network::is_own() && is_of_networks(&container.host_config);
        let whats = [(For::Ports, has_ports), (For::WayOut, has_way_out)];
        let whats = whats.into_iter().filter(|(_, is_there)| *is_there);
        whats.map(|(what, _)| Attendant::of(what, containers, id)).collect()
    }

    fn of(what: For, containers: &Containers, id: &ContainerId) -> Attendant {
        let process = match what {
            For::Ports => publish::proxy(containers, id),
            For::WayOut => way_out::process(containers),
        };
        Attendant { what, process: process.ok().flatten(), next: Instant::now() }
    }

    /// Readable when it has ended.
    #[must_use]
    pub fn process(&self) -> Option<BorrowedFd<'_>> {
        self.process.as_ref().map(|process| process.as_fd())
    }

    /// When another one is to be started.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.process.is_none().then_some(self.next)
    }

    /// It has ended.
    pub fn ended(&mut self) {
        self.process = None;
    }

    /// Starts another one, if it is time for that and one is needed. What fails is tried again: somebody else may have got a
    /// port meanwhile. False where nothing is published any more.
    pub fn mend(&mut self, containers: &Containers, container: &Container) -> bool {
        let now = Instant::now();
        if self.due().is_none_or(|due| due > now) {
            return true;
        }
        let Ok(id) = ContainerId::parse(&container.id) else { return false };
        let mended = match self.what {
            For::Ports => publish::mend(containers, container),
            For::WayOut => way_out::up(containers),
        };
        if mended.is_ok() {
            self.process = Attendant::of(self.what, containers, &id).process;
        }
        // What does not begin at once is in the way of the container's streams while it is tried.
        let is_idle = self.what == For::WayOut && self.process.is_none();
        self.next = now + if is_idle { LOOK_AGAIN } else { PAUSE };
        self.what == For::WayOut
            || self.process.is_some()
            || publish::is_published(containers, &id).unwrap_or(true)
    }
}
