//! The resolver of a container that is in networks with names: what containers are called the shim knows, and the rest is
//! passed on to the host's name servers, or those that the user has named, from the host's own network.
//!
//! All sockets are non-blocking; nothing here waits. What comes from the container is bounded in number and length. Nothing
//! is kept that a worker after this one would miss: it opens the sockets anew, and clients ask again.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::container::ContainerId;
use crate::container::create::host_file;
use crate::container::store::Containers;
use crate::network::dns::{A, AAAA, Outcome, PTR, Query};
use crate::network::names::{self, Sockets};

/// Longest packet.
const PACKET: usize = 64 << 10;
/// How many questions to others may be open at once, and connections of clients.
const ASKED_MAX: usize = 128;
const STREAMS_MAX: usize = 16;
/// How much of a connection is kept that its other side does not take.
const ROOM: usize = 2 + PACKET;
/// How many packets are taken in one go: others wait too.
const AT_ONCE: usize = 32;
/// How long a name server may take before the next one is asked; how long a connection may.
const PATIENCE: Duration = Duration::from_secs(3);
const STREAM: Duration = Duration::from_secs(12);
/// How many name servers are asked (resolv.conf(5)).
const SERVERS: usize = 3;

/// A resolver at work.
#[derive(Debug)]
pub struct Resolver {
    sockets: Sockets,
    /// `--dns`; empty for the host's.
    servers: Vec<String>,
    asked: Vec<Asked>,
    streams: Vec<Stream>,
    buffer: Vec<u8>,
}

/// A question that was passed on.
#[derive(Debug)]
struct Asked {
    query: Query,
    packet: Vec<u8>,
    client: SocketAddr,
    /// Connected to the server that is asked.
    socket: UdpSocket,
    /// Those that come next.
    servers: Vec<SocketAddr>,
    until: Instant,
}

/// A client's connection, and the one to a name server once it has asked for what is not known here.
#[derive(Debug)]
struct Stream {
    client: TcpStream,
    server: Option<TcpStream>,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    /// Nothing more comes from where answers come from.
    is_over: bool,
    until: Instant,
}

impl Resolver {
    /// One that passes on to these servers, or to the host's.
    #[must_use]
    pub fn new(sockets: Sockets, servers: &[String]) -> Resolver {
        Resolver {
            sockets,
            servers: servers.to_vec(),
            asked: Vec::new(),
            streams: Vec::new(),
            buffer: vec![0; PACKET],
        }
    }

    /// What it waits for.
    pub fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        // Whoever comes while there are enough, waits: he must not wake this process again and again.
        let tcp = (self.streams.len() < STREAMS_MAX).then(|| self.sockets.tcp.as_fd());
        let own = std::iter::once(self.sockets.udp.as_fd()).chain(tcp).map(|fd| (fd, PollFlags::IN));
        let asked = self.asked.iter().map(|asked| (asked.socket.as_fd(), PollFlags::IN));
        own.chain(asked).chain(self.streams.iter().flat_map(Stream::descriptors))
    }

    /// When something has to be done though nothing happens.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let asked = self.asked.iter().map(|asked| asked.until);
        asked.chain(self.streams.iter().map(|stream| stream.until)).min()
    }

    /// Does what can be done now.
    pub fn work(&mut self, containers: &Containers, id: &ContainerId) {
        self.take_questions(containers, id);
        self.take_answers();
        while self.streams.len() < STREAMS_MAX
            && let Ok((client, _)) = self.sockets.tcp.accept()
        {
            if client.set_nonblocking(true).is_ok() {
                self.streams.push(Stream::new(client));
            }
        }
        let now = Instant::now();
        for stream in &mut self.streams {
            stream.go_on(|query| answer(containers, id, query, false), &self.servers);
        }
        self.streams.retain(|stream| stream.until > now && !stream.is_done());
    }

    fn take_questions(&mut self, containers: &Containers, id: &ContainerId) {
        for _ in 0..AT_ONCE {
            let Ok((length, client)) = self.sockets.udp.recv_from(&mut self.buffer) else { return };
            let packet = self.buffer[..length].to_vec();
            let Some(query) = Query::parse(&packet) else { continue };
            match answer(containers, id, &query, true) {
                Some(answer) => drop(self.sockets.udp.send_to(&answer, client)),
                None => self.pass_on(query, packet, client),
            }
        }
    }

    /// Asks the first name server; the others follow if it does not answer.
    fn pass_on(&mut self, query: Query, packet: Vec<u8>, client: SocketAddr) {
        let mut servers = servers(&self.servers);
        // The last one first off the end.
        servers.reverse();
        let asked = if self.asked.len() < ASKED_MAX { ask(&packet, &mut servers) } else { None };
        match asked {
            Some(socket) => {
                let until = Instant::now() + PATIENCE;
                self.asked.push(Asked { query, packet, client, socket, servers, until });
            }
            None => drop(self.sockets.udp.send_to(&query.empty(Outcome::Failed), client)),
        }
    }

    fn take_answers(&mut self) {
        let now = Instant::now();
        let Resolver { sockets, asked, buffer, .. } = self;
        asked.retain_mut(|one| {
            let refused = match one.socket.recv(buffer) {
                Ok(length) if one.query.is_answered_by(&buffer[..length]) => {
                    let _ = sockets.udp.send_to(&buffer[..length], one.client);
                    return false;
                }
                Ok(_) => false,
                Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
            };
            if !refused && one.until > now {
                return true;
            }
            match ask(&one.packet, &mut one.servers) {
                Some(socket) => {
                    one.socket = socket;
                    one.until = now + PATIENCE;
                    true
                }
                None => {
                    let _ = sockets.udp.send_to(&one.query.empty(Outcome::Failed), one.client);
                    false
                }
            }
        });
    }
}

/// What is known here; None for what others are to be asked.
fn answer(containers: &Containers, id: &ContainerId, query: &Query, in_datagram: bool) -> Option<Vec<u8>> {
    let failed = || Some(query.empty(Outcome::Failed));
    let (answer, may_ask) = match (query.kind, query.reverse()) {
        (PTR, Some(address)) => match names::reverse(containers, id, address) {
            Ok((name, may_ask)) => (name.map(|name| query.name(&name, in_datagram)), may_ask),
            Err(_) => return failed(),
        },
        (kind, _) => match names::look_up(containers, id, &query.name) {
            Ok(known) => {
                let mut addresses = known.addresses;
                if let Some(addresses) = addresses.as_mut().filter(|addresses| !addresses.is_empty()) {
                    // Each of several has its turn.
                    let turn = usize::from(query.id) % addresses.len();
                    addresses.rotate_left(turn);
                }
                let of_kind = |addresses: Vec<IpAddr>| match kind {
                    A | AAAA => query.addresses(&addresses, in_datagram),
                    // It is there, and has nothing of this kind.
                    _ => query.empty(Outcome::Found),
                };
                (addresses.map(of_kind), known.may_ask)
            }
            Err(_) => return failed(),
        },
    };
    match answer {
        None if !may_ask => failed(),
        answer => answer,
    }
}

/// Name servers, in their order: those of `--dns`, or the host's as they are now.
fn servers(given: &[String]) -> Vec<SocketAddr> {
    let host;
    let texts: Vec<&str> = if given.is_empty() {
        host = host_file("/etc/resolv.conf").unwrap_or_default();
        host.lines().filter_map(server_of).collect()
    } else {
        given.iter().map(String::as_str).collect()
    };
    let address = |text: &str| Some(SocketAddr::new(text.parse().ok()?, 53));
    texts.into_iter().filter_map(address).take(SERVERS).collect()
}

/// What a line of resolv.conf(5) names.
fn server_of(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    words.next().filter(|word| *word == "nameserver")?;
    words.next()
}

/// Sends a question to the next server that can be reached.
fn ask(packet: &[u8], servers: &mut Vec<SocketAddr>) -> Option<UdpSocket> {
    while let Some(server) = servers.pop() {
        let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let sent = (|| {
            let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
            socket.set_nonblocking(true)?;
            socket.connect(server)?;
            socket.send(packet)?;
            std::io::Result::Ok(socket)
        })();
        if let Ok(socket) = sent {
            return Some(socket);
        }
    }
    None
}

impl Stream {
    fn new(client: TcpStream) -> Stream {
        let until = Instant::now() + STREAM;
        Stream { client, server: None, to_server: Vec::new(), to_client: Vec::new(), is_over: false, until }
    }

    fn is_done(&self) -> bool {
        self.is_over && self.to_client.is_empty()
    }

    fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let interest = |into: &[u8], from: &[u8]| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, into.len() < ROOM && !self.is_over);
            flags.set(PollFlags::OUT, !from.is_empty());
            flags
        };
        let client = (self.client.as_fd(), interest(&self.to_server, &self.to_client));
        let server = self.server.iter();
        let server = server.map(move |server| (server.as_fd(), interest(&self.to_client, &self.to_server)));
        [client].into_iter().chain(server)
    }

    /// Reads, answers and passes on; a connection that has begun to be passed on is from then on.
    fn go_on(&mut self, answer: impl Fn(&Query) -> Option<Vec<u8>>, given: &[String]) {
        self.is_over |= !take(&mut self.client, &mut self.to_server);
        while self.server.is_none() && !self.is_over {
            let Some(length) = self.to_server.first_chunk::<2>() else { break };
            let end = 2 + usize::from(u16::from_be_bytes(*length));
            let Some(packet) = self.to_server.get(2..end) else { break };
            let Some(query) = Query::parse(packet) else {
                self.is_over = true;
                break;
            };
            match answer(&query) {
                Some(answer) => {
                    self.to_server.drain(..end);
                    self.to_client.extend(u16::try_from(answer.len()).unwrap_or_default().to_be_bytes());
                    self.to_client.extend(answer);
                }
                None => match servers(given).first().and_then(|server| connect(*server)) {
                    Some(server) => self.server = Some(server),
                    None => self.is_over = true,
                },
            }
        }
        if let Some(server) = &mut self.server {
            self.is_over |= !give(server, &mut self.to_server);
            self.is_over |= !take(server, &mut self.to_client);
        }
        if self.is_over {
            // It would say that it has ended again and again.
            self.server = None;
        }
        if !give(&mut self.client, &mut self.to_client) {
            self.to_client.clear();
            self.is_over = true;
        }
    }
}

/// Reads what is there, as long as there is room; false at the end.
fn take(from: &mut TcpStream, into: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 4096];
    while into.len() < ROOM {
        match from.read(&mut chunk) {
            Ok(0) => return false,
            Ok(length) => into.extend(&chunk[..length]),
            Err(error) => return is_for_later(&error),
        }
    }
    true
}

/// Writes what can be written; false when nobody takes it any more.
fn give(to: &mut TcpStream, bytes: &mut Vec<u8>) -> bool {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return false,
            Ok(length) => drop(bytes.drain(..length)),
            Err(error) => return is_for_later(&error),
        }
    }
    true
}

fn is_for_later(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, NotConnected, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted | NotConnected)
}

/// Begins a connection.
fn connect(server: SocketAddr) -> Option<TcpStream> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = rustix::net::socket_with(family, SocketType::STREAM, flags, None).ok()?;
    match rustix::net::connect(&socket, &server) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Some(socket.into()),
        Err(_) => None,
    }
}
