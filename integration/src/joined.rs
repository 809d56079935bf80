//! Sockets in other network namespaces: a thread goes there, opens one, and brings it back.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::wait_for;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// How long an answer is waited for that has to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long one is waited for that must not come: packets that are dropped are told of by nobody.
const SILENCE: Duration = Duration::from_millis(600);

/// Does something in another network namespace, by its path.
#[track_caller]
pub fn inside_network<T: Send>(path: &str, act: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(path).unwrap_or_else(|error| panic!("open {path}: {error}"));
    std::thread::scope(|scope| {
        let there = scope.spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind).expect("setns");
            act()
        });
        there.join().expect("what was done there")
    })
}

/// A server in a network namespace, which tells who has come.
#[derive(Debug)]
pub enum Server {
    /// Streams.
    Tcp(TcpListener),
    /// Datagrams.
    Udp(UdpSocket),
    /// Streams of messages (sctp(7)), each of which is a socket like TCP's.
    Sctp(TcpListener),
}

impl Server {
    /// One of streams on this address.
    #[must_use]
    #[track_caller]
    pub fn tcp(path: &str, address: &str) -> Server {
        let listener = inside_network(path, || TcpListener::bind(address));
        let listener = listener.unwrap_or_else(|error| panic!("listen on {address}: {error}"));
        listener.set_nonblocking(true).expect("a socket that does not block");
        Server::Tcp(listener)
    }

    /// One of datagrams.
    #[must_use]
    #[track_caller]
    pub fn udp(path: &str, address: &str) -> Server {
        let socket = inside_network(path, || UdpSocket::bind(address));
        let socket = socket.unwrap_or_else(|error| panic!("bind {address}: {error}"));
        socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        Server::Udp(socket)
    }

    /// One of streams of messages.
    #[must_use]
    #[track_caller]
    pub fn sctp(path: &str, address: &str) -> Server {
        let to: SocketAddr = address.parse().expect("an address");
        let listener = inside_network(path, || {
            let socket = sctp_socket(&to)?;
            rustix::net::bind(&socket, &to)?;
            rustix::net::listen(&socket, 16)?;
            Ok::<_, Errno>(TcpListener::from(socket))
        });
        Server::Sctp(listener.unwrap_or_else(|error| panic!("listen on {address}: {error}")))
    }

    /// A client in the namespace `from` speaks to `to` and has to get here: who it is, as this server sees it.
    #[track_caller]
    pub fn is_reached(&self, from: &str, to: &str) -> SocketAddr {
        match self {
            Server::Tcp(listener) | Server::Sctp(listener) => {
                let address: SocketAddr = to.parse().expect("an address");
                let client = match self {
                    Server::Sctp(_) => connect_sctp(from, to, PATIENCE),
                    _ => inside_network(from, || TcpStream::connect_timeout(&address, PATIENCE)),
                };
                let mut client = client.unwrap_or_else(|error| panic!("connect to {to}: {error}"));
                client.write_all(b"question").expect("write");
                // Those that were tried before, and have gone, may wait here.
                let (mut accepted, peer) = wait_for("the client at its server", || {
                    let (mut accepted, peer) = listener.accept().ok()?;
                    accepted.set_nonblocking(false).expect("a socket that blocks");
                    heard(&mut accepted, b"question").then_some((accepted, peer))
                });
                accepted.write_all(b"answer").expect("write");
                assert!(heard(&mut client, b"answer"), "answer of {to}");
                peer
            }
            Server::Udp(socket) => {
                let client = sender(from, to);
                client.set_read_timeout(Some(PATIENCE)).expect("a time limit");
                client.send(b"question").expect("send");
                let mut bytes = [0; 16];
                let (length, peer) =
                    socket.recv_from(&mut bytes).unwrap_or_else(|error| panic!("{to}: {error}"));
                assert_eq!(&bytes[..length], b"question");
                socket.send_to(b"answer", peer).expect("answer");
                // It takes answers from the address that it has asked alone.
                let length =
                    client.recv(&mut bytes).unwrap_or_else(|error| panic!("answer of {to}: {error}"));
                assert_eq!(&bytes[..length], b"answer");
                peer
            }
        }
    }
}

/// Whether the kernel has SCTP, or can load it.
#[must_use]
pub fn has_sctp() -> bool {
    sctp_socket(&SocketAddr::from(([127, 0, 0, 1], 0))).is_ok()
}

/// One that does not block.
fn sctp_socket(like: &SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = if like.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, SocketType::STREAM, flags, Some(ipproto::SCTP))
}

/// A stream of SCTP from the namespace `from` to `to`.
fn connect_sctp(from: &str, to: &str, patience: Duration) -> io::Result<TcpStream> {
    let address: SocketAddr = to.parse().expect("an address");
    let socket = inside_network(from, || sctp_socket(&address))?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let timeout = Timespec::try_from(patience).expect("a time limit");
    if poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&timeout))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    sockopt::socket_error(&socket)??;
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Can no stream of SCTP be begun from the namespace `from` to `to`?
#[must_use]
#[track_caller]
pub fn is_unreachable_by_sctp(from: &str, to: &str) -> bool {
    connect_sctp(from, to, SILENCE).is_err()
}

/// Does it come to these bytes?
fn heard(from: &mut TcpStream, expected: &[u8]) -> bool {
    from.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let mut bytes = vec![0; expected.len()];
    from.read_exact(&mut bytes).is_ok() && bytes == expected
}

/// A socket of datagrams in the namespace `from` that speaks to `to` alone.
#[must_use]
#[track_caller]
pub fn sender(from: &str, to: &str) -> UdpSocket {
    let own = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    let connected = inside_network(from, || {
        let socket = UdpSocket::bind(own)?;
        socket.connect(to)?;
        Ok::<_, std::io::Error>(socket)
    });
    connected.unwrap_or_else(|error| panic!("speak to {to}: {error}"))
}

/// Can no stream be begun from the namespace `from` to `to`?
#[must_use]
#[track_caller]
pub fn is_unreachable(from: &str, to: &str) -> bool {
    let address: SocketAddr = to.parse().expect("an address");
    inside_network(from, || TcpStream::connect_timeout(&address, SILENCE)).is_err()
}
