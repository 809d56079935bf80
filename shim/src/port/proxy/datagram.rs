//! Datagrams that are carried: whoever sends has a socket of its own to the container, by which answers are known to be for
//! it, until both are silent for a while.
//!
//! An answer leaves from the address of the host that the question was sent to (IP_PKTINFO of ip(7), IPV6_PKTINFO of
//! ipv6(7)): a client takes none from another one.

use std::collections::{BTreeMap, HashMap};
use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// How long both may be silent: Docker's.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// How often is looked for those.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How many senders there are at most.
const SENDERS_MAX: usize = 4096;
/// Longest datagram.
const LENGTH_MAX: usize = 64 << 10;
/// How many are taken before others have their turn.
const TURN: usize = 64;

/// The address of the host that somebody has sent to.
#[derive(Clone, Copy, Debug)]
enum Local {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

/// Somebody who sends.
#[derive(Debug)]
struct Sender {
    /// To the container.
    socket: OwnedFd,
    /// By which socket of the host he is answered.
    index: usize,
    address: SocketAddr,
    local: Option<Local>,
    last: Instant,
}

/// Everybody who sends.
#[derive(Debug)]
pub struct Datagrams {
    senders: BTreeMap<u64, Sender>,
    tokens: HashMap<(usize, SocketAddr), u64>,
    max: usize,
    buffer: Vec<u8>,
    control: Vec<u8>,
    look: Instant,
}

impl Datagrams {
    /// Nobody yet, and at most so many.
    pub fn new(max: usize) -> Datagrams {
        Datagrams {
            senders: BTreeMap::new(),
            tokens: HashMap::new(),
            max: max.clamp(1, SENDERS_MAX),
            // Made when the first one comes: most containers have none.
            buffer: Vec::new(),
            control: Vec::new(),
            look: Instant::now(),
        }
    }

    /// Is this token a sender's?
    pub fn has(&self, token: u64) -> bool {
        self.senders.contains_key(&token)
    }

    /// Takes what has come by a socket of the host, and sends it on to the container.
    pub fn receive(
        &mut self,
        index: usize,
        socket: BorrowedFd<'_>,
        to: SocketAddr,
        next: &mut u64,
        epoll: &OwnedFd,
    ) {
        if self.buffer.is_empty() {
            self.buffer = vec![0; LENGTH_MAX];
            self.control = nix::cmsg_space!(in_pktinfo, in6_pktinfo);
        }
        for _ in 0..TURN {
            let Some((length, address, local)) = self.take(socket) else { return };
            let token = match self.tokens.get(&(index, address)) {
                Some(token) => *token,
                None => {
                    let Ok(socket) = connected(to) else { continue };
                    let token = *next;
                    *next += 1;
                    if epoll::add(epoll, &socket, EventData::new_u64(token), EventFlags::IN).is_err() {
                        continue;
                    }
                    if self.senders.len() >= self.max {
                        self.forget_longest_silent();
                    }
                    let last = Instant::now();
                    self.senders.insert(token, Sender { socket, index, address, local, last });
                    self.tokens.insert((index, address), token);
                    token
                }
            };
            if let Some(sender) = self.senders.get_mut(&token) {
                sender.local = local;
                sender.last = Instant::now();
                // What the container does not take is lost, as datagrams are. A refusal of an earlier one is told here.
                let bytes = &self.buffer[..length];
                if rustix::net::send(&sender.socket, bytes, SendFlags::empty()) == Err(Errno::CONNREFUSED) {
                    let _ = rustix::net::send(&sender.socket, bytes, SendFlags::empty());
                }
            }
        }
    }

    /// The next datagram, in the buffer: its length, who has sent it, to which address.
    fn take(&mut self, socket: BorrowedFd<'_>) -> Option<(usize, SocketAddr, Option<Local>)> {
        let mut slices = [IoSliceMut::new(&mut self.buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let control = Some(&mut self.control[..]);
        let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, control, flags).ok()?;
        let local = message.cmsgs().ok().into_iter().flatten().find_map(|message| match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(Local::V4(info)),
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(Local::V6(info)),
            _ => None,
        });
        Some((message.bytes, address_of(message.address?)?, local))
    }

    /// Sends on what the container answers.
    pub fn answer<'a>(&mut self, token: u64, host: impl FnOnce(usize) -> Option<BorrowedFd<'a>>) {
        let Some(sender) = self.senders.get_mut(&token) else { return };
        let Some(host) = host(sender.index) else { return };
        for _ in 0..TURN {
            let received = rustix::net::recv(&sender.socket, &mut self.buffer[..], RecvFlags::DONTWAIT);
            let length = match received {
                Ok((length, _)) => length,
                // Nobody listens there, for now.
                Err(Errno::CONNREFUSED) => continue,
                Err(_) => return,
            };
            sender.last = Instant::now();
            let slices = [IoSlice::new(&self.buffer[..length])];
            let address = SockaddrStorage::from(sender.address);
            let send = |control: &[ControlMessage]| {
                let _ = sendmsg(host.as_raw_fd(), &slices, control, MsgFlags::MSG_DONTWAIT, Some(&address));
            };
            match sender.local {
                // The device is the way's matter, but for addresses that mean nothing without one.
                Some(Local::V4(info)) => {
                    send(&[ControlMessage::Ipv4PacketInfo(&in_pktinfo { ipi_ifindex: 0, ..info })]);
                }
                Some(Local::V6(info)) => send(&[ControlMessage::Ipv6PacketInfo(&info)]),
                None => send(&[]),
            }
        }
    }

    /// When somebody may have been silent for too long.
    pub fn due(&self, now: Instant) -> Option<Duration> {
        (!self.senders.is_empty()).then(|| self.look.saturating_duration_since(now))
    }

    /// Forgets who has been silent for too long.
    pub fn forget_silent(&mut self, now: Instant) {
        if now < self.look || self.senders.is_empty() {
            return;
        }
        self.look = now + LOOK_AGAIN;
        self.senders.retain(|_, sender| now.duration_since(sender.last) < SILENCE_MAX);
        let senders = &self.senders;
        self.tokens.retain(|_, token| senders.contains_key(token));
    }

    fn forget_longest_silent(&mut self) {
        let longest = self.senders.iter().min_by_key(|(_, sender)| sender.last).map(|(token, _)| *token);
        if let Some(gone) = longest.and_then(|token| self.senders.remove(&token)) {
            self.tokens.remove(&(gone.index, gone.address));
        }
    }
}

fn connected(to: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    rustix::net::connect(&socket, &to)?;
    Ok(socket)
}

fn address_of(storage: SockaddrStorage) -> Option<SocketAddr> {
    let four = storage.as_sockaddr_in().map(|address| SocketAddr::V4(SocketAddrV4::from(*address)));
    four.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::V6(SocketAddrV6::from(*address))))
}
