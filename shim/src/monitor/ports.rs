//! The proxy of the container's published ports, watched: one that was killed is replaced, on the same ports.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::container::ContainerId;
use crate::container::record::Container;
use crate::container::store::Containers;
use crate::port::publish;

/// How soon another one is started at the earliest: what ends at once does so for a reason.
const PAUSE: Duration = Duration::from_secs(1);

/// Published ports of a container that runs.
#[derive(Debug)]
pub struct Ports {
    /// Readable when the proxy has ended; None when that is known.
    proxy: Option<OwnedFd>,
    /// When another one may be started.
    next: Instant,
}

impl Ports {
    /// Those of a container; None where it has none.
    #[must_use]
    pub fn of(containers: &Containers, id: &ContainerId) -> Option<Ports> {
        let is_published = publish::is_published(containers, id).unwrap_or(false);
        let proxy = publish::proxy(containers, id).ok().flatten();
        is_published.then(|| Ports { proxy, next: Instant::now() })
    }

    /// Readable when the proxy has ended.
    #[must_use]
    pub fn proxy(&self) -> Option<BorrowedFd<'_>> {
        self.proxy.as_ref().map(|proxy| proxy.as_fd())
    }

    /// When another one is to be started.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.proxy.is_none().then_some(self.next)
    }

    /// The proxy has ended.
    pub fn ended(&mut self) {
        self.proxy = None;
    }

    /// Starts another one, if it is time for that. Where somebody else has got a port meanwhile, it is tried again. False
    /// where nothing is published any more.
    pub fn mend(&mut self, containers: &Containers, container: &Container) -> bool {
        let now = Instant::now();
        if self.due().is_none_or(|due| due > now) {
            return true;
        }
        self.next = now + PAUSE;
        let Ok(id) = ContainerId::parse(&container.id) else { return false };
        if publish::mend(containers, container).is_ok() {
            self.proxy = publish::proxy(containers, &id).ok().flatten();
        }
        self.proxy.is_some() || publish::is_published(containers, &id).unwrap_or(true)
    }
}
