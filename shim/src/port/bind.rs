//! Sockets on ports of the host: whoever has them bound has the ports. What is free, the kernel says, and nobody guesses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use rustix::io::Errno;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, ipproto, listen, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::port::syntax::{Protocol, Publication};

/// Connections that wait until they are taken.
const BACKLOG: i32 = 4096;
/// How often a port is tried that the kernel has chosen for IPv4 and somebody has for IPv6.
const ATTEMPTS: usize = 64;

/// A port of the host that is this process's.
#[derive(Debug)]
pub struct Bound {
    /// Its address.
    pub host: SocketAddr,
    /// What holds it.
    pub socket: OwnedFd,
}

/// A port that cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which one.
    pub host: SocketAddr,
    /// Why not.
    pub errno: Errno,
}

/// As many descriptors as this process may have, for as long as the value is there: its own limit is for few, and what it
/// starts afterwards is to have the same one as before.
#[derive(Debug)]
pub struct MoreDescriptors(Rlimit);

impl MoreDescriptors {
    /// Raises the limit to what is allowed (RLIMIT_NOFILE of getrlimit(2)); where that is refused, it stays.
    #[must_use]
    pub fn allow() -> MoreDescriptors {
        let before = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum });
        MoreDescriptors(before)
    }
}

impl Drop for MoreDescriptors {
    fn drop(&mut self) {
        let Rlimit { current, maximum } = self.0;
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
    }
}

/// Binds what a publication asks for: one port, on one address, or on all of both families.
///
/// # Errors
/// The last port that was tried, and the kernel's reason.
pub fn publication(wanted: &Publication) -> Result<Vec<Bound>, Refused> {
    let protocol = wanted.port.protocol;
    if wanted.is_random() {
        let mut refused = None;
        for _ in 0..ATTEMPTS {
            match on_port(wanted.host, 0, protocol) {
                Err(error) if error.errno == Errno::ADDRINUSE => refused = Some(error),
                bound => return bound,
            }
        }
        let host = SocketAddr::new(wanted.host.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), 0);
        return Err(refused.unwrap_or(Refused { host, errno: Errno::ADDRINUSE }));
    }
    let (first, last) = wanted.ports;
    let mut port = first;
    loop {
        match on_port(wanted.host, port, protocol) {
            Err(error) if error.errno == Errno::ADDRINUSE && port < last => port += 1,
            bound => return bound,
        }
    }
}

/// One port; 0 is any. All addresses are both families, or IPv4 alone on a host without IPv6.
fn on_port(host: Option<IpAddr>, port: u16, protocol: Protocol) -> Result<Vec<Bound>, Refused> {
    if let Some(host) = host {
        return Ok(vec![address(SocketAddr::new(host, port), protocol)?]);
    }
    let four = address(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), protocol)?;
    let same = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), four.host.port());
    match address(same, protocol) {
        Ok(six) => Ok(vec![four, six]),
        Err(Refused { errno: Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL, .. }) => Ok(vec![four]),
        Err(refused) => Err(refused),
    }
}

/// One address and port.
///
/// # Errors
/// The kernel's reason.
pub fn address(host: SocketAddr, protocol: Protocol) -> Result<Bound, Refused> {
    let bound = (|| {
        let family = if host.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let (kind, number) = match protocol {
            Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
            Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
            Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
        };
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))?;
        if host.is_ipv6() {
            set_ipv6_v6only(&socket, true)?;
        }
        if protocol == Protocol::Udp {
            let switched = match host {
                SocketAddr::V4(_) => setsockopt(&socket, Ipv4PacketInfo, &true),
                SocketAddr::V6(_) => setsockopt(&socket, Ipv6RecvPacketInfo, &true),
            };
            switched.map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
        } else {
            // What is left of connections of a former run is in nobody's way; who listens is.
            set_socket_reuseaddr(&socket, true)?;
        }
        bind(&socket, &host)?;
        if protocol != Protocol::Udp {
            listen(&socket, BACKLOG)?;
        }
        let own = SocketAddr::try_from(getsockname(socket.as_fd())?)?;
        Ok(Bound { host: SocketAddr::new(host.ip(), own.port()), socket })
    })();
    bound.map_err(|errno| Refused { host, errno })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(host: Option<&str>, ports: (u16, u16), protocol: Protocol) -> Publication {
        let host = host.map(|host| host.parse().unwrap());
        Publication { host, ports, port: crate::port::syntax::Port { number: 80, protocol } }
    }

    #[test]
    fn a_port_is_had_once_and_free_again_when_its_socket_is_closed() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let mut bound = publication(&wanted(Some("127.0.0.1"), (0, 0), protocol)).unwrap();
            let Bound { host, socket } = bound.remove(0);
            assert_ne!(host.port(), 0);
            let again = wanted(Some("127.0.0.1"), (host.port(), host.port()), protocol);
            let refused = publication(&again).unwrap_err();
            assert_eq!((refused.host, refused.errno), (host, Errno::ADDRINUSE));
            if host.port() < u16::MAX {
                // Another one of a range is taken then.
                let of_range = wanted(Some("127.0.0.1"), (host.port(), u16::MAX), protocol);
                assert!(publication(&of_range).unwrap()[0].host.port() > host.port());
            }
            drop(socket);
            assert_eq!(publication(&again).unwrap()[0].host, host);
        }
    }

    #[test]
    fn an_address_that_is_not_this_hosts_is_refused() {
        let refused = publication(&wanted(Some("192.0.2.77"), (0, 0), Protocol::Tcp)).unwrap_err();
        assert_eq!(refused.errno, Errno::ADDRNOTAVAIL);
    }
}
