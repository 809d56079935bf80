//! The proxy: one small process for a container with published ports. It holds the sockets of the host's ports, and by that
//! nobody else gets them; and it carries what the rules of the firewall cannot lead: what comes by the host's loopback, and
//! from IPv6 to a container that has IPv4 alone.
//!
//! One thread and one epoll(7). Streams (`stream`) go through splice(2), datagrams (`datagram`) have a table of who has
//! sent. It has no capability, and nothing that passes decides about anything here.
//!
//! It gets its sockets from whoever publishes, with what they are on its standard input, and begins when it is told that it
//! is on record: one that nobody knows of is never there. It ends by a signal, and by itself when its container runs no
//! more and its monitor was killed, so that a port is not held for nobody.

mod datagram;
mod stream;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Resource, Rlimit, getrlimit, pidfd_open, setrlimit};
use serde::{Deserialize, Serialize};

use crate::container::ContainerId;
use crate::container::process::ProcessId;
use crate::container::store::Containers;
use crate::error::{Context, Result};
use crate::own_program;
use crate::port::record;
use crate::port::syntax::Protocol;
use crate::rootless::host_network;

use datagram::Datagrams;
use stream::{Progress, Stream};

/// The hidden command.
pub const VERB: &str = "port-proxy";
/// Longest text of what the sockets are, in bytes: every port of three protocols and two families stays below it.
const TOLD_MAX: u64 = 64 << 20;
/// How many events are taken at once.
const EVENTS: usize = 256;
/// How many connections are taken of one socket before others have their turn.
const ACCEPTED: usize = 64;
/// Descriptors that are none of a connection's: standard ones, epoll, the parent's.
const SPARE: usize = 32;
/// How often is looked whether anybody needs the proxy, when there is no monitor that would end it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a system without descriptors or memory is given.
const BREATH: Duration = Duration::from_millis(50);
/// The parent's token; sockets have those below [`FIRST`], and what they bring the rest.
const PARENT: u64 = u64::MAX;
const FIRST: u64 = 1 << 32;

/// A socket that the proxy is given, and where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// The socket's number in the proxy.
    pub descriptor: RawFd,
    /// What it is of.
    pub protocol: Protocol,
    /// The container's address and port.
    pub to: SocketAddr,
}

/// What the hidden command does.
///
/// # Errors
/// What kept it from beginning.
pub fn run(containers: &Containers, id: &ContainerId) -> Result<()> {
    let told = own_program::told::<Vec<Way>>(TOLD_MAX);
    let Some(ways) = told.during(|| "what the proxy is told".to_owned())? else { return Ok(()) };
    let mut proxy = Proxy::new(&ways)?;
    // What it listens at is the host's; where it leads to, an ordinary user's containers have a network of their own.
    host_network::enter(containers.state_root())?;
    // All that needed them is done: the ports are bound.
    drop_capabilities()?;
    proxy.work(containers, id)
}

fn drop_capabilities() -> Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, sets).during(|| "capset".to_owned())
}

/// A socket with what comes by it.
struct Listening {
    socket: OwnedFd,
    way: Way,
}

struct Proxy {
    epoll: OwnedFd,
    listening: Vec<Listening>,
    streams: BTreeMap<u64, Stream>,
    /// Those that had more to carry than their turn was long.
    busy: Vec<u64>,
    datagrams: Datagrams,
    next: u64,
    /// How many connections there may be.
    streams_max: usize,
    /// New connections wait for others to end.
    is_full: bool,
    /// The monitor's process; None when it is gone.
    parent: Option<OwnedFd>,
}

impl Proxy {
    fn new(ways: &[Way]) -> Result<Proxy> {
        let limit = getrlimit(Resource::Nofile);
        // Each connection takes six; what is not allowed stays as it is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let free = descriptors.saturating_sub(ways.len() + SPARE);
        let words = || "epoll".to_owned();
        let epoll = epoll::create(CreateFlags::CLOEXEC).during(words)?;
        let mut listening = Vec::new();
        for (index, way) in (0..FIRST).zip(ways) {
            let socket = crate::monitor::inherited(&way.descriptor.to_string())?;
            rustix::io::ioctl_fionbio(&socket, true).during(words)?;
            epoll::add(&epoll, &socket, EventData::new_u64(index), EventFlags::IN).during(words)?;
            listening.push(Listening { socket, way: *way });
        }
        let parent =
            rustix::process::getppid().and_then(|parent| pidfd_open(parent, PidfdFlags::empty()).ok());
        if let Some(parent) = &parent {
            epoll::add(&epoll, parent, EventData::new_u64(PARENT), EventFlags::IN).during(words)?;
        }
        Ok(Proxy {
            epoll,
            listening,
            streams: BTreeMap::new(),
            busy: Vec::new(),
            // A quarter of what there is: a flood of datagrams leaves connections their part.
            datagrams: Datagrams::new(free / 4),
            next: FIRST,
            streams_max: (free / 4 * 3 / stream::DESCRIPTORS).max(1),
            is_full: false,
            parent,
        })
    }

    fn work(&mut self, containers: &Containers, id: &ContainerId) -> Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        let mut look = Instant::now();
        loop {
            if self.parent.is_none() && look <= Instant::now() {
                if !is_needed(containers, id) {
                    return Ok(());
                }
                look = Instant::now() + LOOK_AGAIN;
            }
            events.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                self.pause(look).as_ref(),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).during(|| "epoll_wait".to_owned()),
            }
            for Event { data, .. } in events.drain(..) {
                self.handle(data.u64());
            }
            for token in std::mem::take(&mut self.busy) {
                self.carry(token);
            }
            self.datagrams.forget_silent(Instant::now());
        }
    }

    /// How long nothing is due.
    fn pause(&self, look: Instant) -> Option<rustix::event::Timespec> {
        let now = Instant::now();
        let pause = if self.busy.is_empty() {
            let look = self.parent.is_none().then(|| look.saturating_duration_since(now));
            look.into_iter().chain(self.datagrams.due(now)).min()?
        } else {
            Duration::ZERO
        };
        rustix::event::Timespec::try_from(pause).ok()
    }

    fn handle(&mut self, token: u64) {
        match token {
            PARENT => {
                let gone = self.parent.take();
                let _ = gone.map(|gone| epoll::delete(&self.epoll, gone));
            }
            token if token < FIRST => {
                let index = usize::try_from(token).unwrap_or(usize::MAX);
                match self.listening.get(index).map(|listening| listening.way.protocol) {
                    Some(Protocol::Udp) => self.receive(index),
                    Some(_) => self.accept(index),
                    None => {}
                }
            }
            token if self.datagrams.has(token) => self
                .datagrams
                .answer(token, |index| self.listening.get(index).map(|listening| listening.socket.as_fd())),
            token => self.carry(token),
        }
    }

    fn receive(&mut self, index: usize) {
        let Some(listening) = self.listening.get(index) else { return };
        self.datagrams.receive(
            index,
            listening.socket.as_fd(),
            listening.way.to,
            &mut self.next,
            &self.epoll,
        );
    }

    fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTED {
            if self.streams.len() >= self.streams_max {
                return self.take_new_ones(false);
            }
            let Some(listening) = self.listening.get(index) else { return };
            let client = match stream::accept(listening.socket.as_fd()) {
                Ok(client) => client,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    // It would be told again at once; others of this process may end meanwhile.
                    return std::thread::sleep(BREATH);
                }
                // Nobody is there any more; or this one has gone again, and the next is told of.
                Err(_) => return,
            };
            let token = self.next;
            self.next += 1;
            if let Ok(begun) = Stream::begin(client, listening.way, &self.epoll, token) {
                self.streams.insert(token, begun);
            }
        }
    }

    /// Has new connections wait in the kernel, or no more.
    fn take_new_ones(&mut self, are_taken: bool) {
        let flags = if are_taken { EventFlags::IN } else { EventFlags::empty() };
        self.is_full = !are_taken;
        for (index, listening) in (0..FIRST).zip(&self.listening) {
            if listening.way.protocol != Protocol::Udp {
                let _ = epoll::modify(&self.epoll, &listening.socket, EventData::new_u64(index), flags);
            }
        }
    }

    fn carry(&mut self, token: u64) {
        let Some(stream) = self.streams.get_mut(&token) else { return };
        match stream.carry() {
            Progress::Waits => {}
            Progress::HasMore => self.busy.push(token),
            Progress::Over => {
                self.streams.remove(&token);
                if self.is_full {
                    self.take_new_ones(true);
                }
            }
        }
    }
}

/// Does the container run, or will in a moment, with this proxy on its record?
fn is_needed(containers: &Containers, id: &ContainerId) -> bool {
    let is_alive = |process: Option<ProcessId>| process.is_some_and(ProcessId::is_alive);
    let state = containers.state(id).unwrap_or_default();
    let own = ProcessId::own().ok();
    let recorded = record::read(&containers.state_folder(id)).ok().flatten();
    recorded.is_some_and(|record| own.is_some() && record.proxy == own)
        && (is_alive(state.process) || is_alive(state.monitor))
}
