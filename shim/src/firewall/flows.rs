//! Connections that the kernel follows (conntrack) and that lead to a port of a container which is published no more, or not
//! there: they are forgotten.
//!
//! Datagrams need it. Whoever goes on sending from the same port is led by what the kernel remembers, and not by the rules:
//! to an address that nobody has any more, or that another container has by now. (That one is safe all the same: the table
//! lets nothing pass to a port that is not published.) Connections of TCP end with their container.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::error::Result;
use crate::firewall::Forward;
use crate::firewall::attributes::{Attributes, NESTED};
use crate::firewall::netfilter::{Message, Netfilter};
use crate::netlink::find;
use crate::port::syntax::Protocol;

/// `NFNL_SUBSYS_CTNETLINK` with `IPCTNL_MSG_CT_GET` and `IPCTNL_MSG_CT_DELETE` (linux/netfilter/nfnetlink_conntrack.h).
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ZONE: u16 = 18;
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const V4_SOURCE: u16 = 1;
const V4_TARGET: u16 = 2;
const V6_SOURCE: u16 = 3;
const V6_TARGET: u16 = 4;
const NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const TARGET_PORT: u16 = 3;

/// Who speaks to whom, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tuple {
    protocol: u8,
    source: SocketAddr,
    target: SocketAddr,
}

/// Forgets datagrams' ways that lead to these ports of a container, or from its ports of the host to anywhere else.
///
/// # Errors
/// The system's reason.
pub fn forget(forwards: &[Forward]) -> Result<()> {
    let forwards: Vec<Forward> =
        forwards.iter().filter(|forward| forward.protocol == Protocol::Udp).copied().collect();
    if forwards.is_empty() {
        return Ok(());
    }
    let mut netfilter = Netfilter::open()?;
    let mut found = Vec::new();
    netfilter.ask(&Message::all(GET, 0, Attributes::default()), |family, attributes| {
        let original = find(attributes, TUPLE_ORIGINAL);
        let (Some(sent), Some(reply)) =
            (original.and_then(tuple), find(attributes, TUPLE_REPLY).and_then(tuple))
        else {
            return;
        };
        if forwards.iter().any(|forward| concerns(forward, sent, reply)) {
            let zone = find(attributes, ZONE).map(<[u8]>::to_vec);
            found.push((family, original.unwrap_or_default().to_vec(), zone));
        }
    })?;
    for (family, original, zone) in found {
        let mut attributes = Attributes::default();
        attributes.value(TUPLE_ORIGINAL | NESTED, &original);
        if let Some(zone) = zone {
            attributes.value(ZONE, &zone);
        }
        // It may have gone by itself.
        let _ = netfilter.ask(&Message::one(DELETE, family, attributes), |_, _| {});
    }
    Ok(())
}

/// Is this flow led to the container's port, or led elsewhere from the host's? One that is led nowhere is none of ours:
/// the same port may be that of a server far away.
fn concerns(forward: &Forward, sent: Tuple, reply: Tuple) -> bool {
    let is_led = reply.source != sent.target;
    let is_for_host = sent.target.port() == forward.host.port()
        && (forward.host.ip().is_unspecified() || forward.host.ip() == sent.target.ip());
    sent.protocol == Protocol::Udp.number() && is_led && (reply.source == forward.to || is_for_host)
}

fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let (addresses, protocol) = (find(bytes, TUPLE_ADDRESSES)?, find(bytes, TUPLE_PROTOCOL)?);
    let address = |v4: u16, v6: u16| {
        let four = find(addresses, v4).and_then(|value| value.first_chunk::<4>());
        let six = || find(addresses, v6).and_then(|value| value.first_chunk::<16>());
        four.map(|octets| IpAddr::V4(Ipv4Addr::from(*octets)))
            .or_else(|| six().map(|octets| IpAddr::V6(Ipv6Addr::from(*octets))))
    };
    let port = |kind: u16| {
        let value = find(protocol, kind).and_then(|value| value.first_chunk::<2>());
        value.map_or(0, |bytes| u16::from_be_bytes(*bytes))
    };
    Some(Tuple {
        protocol: find(protocol, NUMBER)?.first().copied()?,
        source: SocketAddr::new(address(V4_SOURCE, V6_SOURCE)?, port(SOURCE_PORT)),
        target: SocketAddr::new(address(V4_TARGET, V6_TARGET)?, port(TARGET_PORT)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(source: &str, target: &str) -> Tuple {
        Tuple {
            protocol: Protocol::Udp.number(),
            source: source.parse().unwrap(),
            target: target.parse().unwrap(),
        }
    }

    #[test]
    fn flows_that_are_led_to_a_container_are_known_and_others_are_left_alone() {
        let forward = Forward {
            protocol: Protocol::Udp,
            host: "0.0.0.0:53".parse().unwrap(),
            to: "172.30.0.2:5353".parse().unwrap(),
            is_proxied: false,
        };
        let sent = flow("198.51.100.9:4000", "192.0.2.1:53");
        for (reply, is_concerned) in [
            (flow("172.30.0.2:5353", "198.51.100.9:4000"), true),
            // Of a container that is gone.
            (flow("172.30.0.7:5353", "198.51.100.9:4000"), true),
            // Led nowhere.
            (flow("192.0.2.1:53", "198.51.100.9:4000"), false),
        ] {
            assert_eq!(concerns(&forward, sent, reply), is_concerned, "{reply:?}");
        }
        let asks_afar = flow("172.30.0.2:5000", "9.9.9.9:53");
        assert!(!concerns(&forward, asks_afar, flow("9.9.9.9:53", "192.0.2.1:5000")));
        let other_port = flow("198.51.100.9:4000", "192.0.2.1:54");
        assert!(!concerns(&forward, other_port, flow("172.30.0.3:54", "198.51.100.9:4000")));
        assert!(concerns(&forward, other_port, flow("172.30.0.2:5353", "198.51.100.9:4000")));
        let tcp = |tuple: Tuple| Tuple { protocol: 6, ..tuple };
        assert!(!concerns(&forward, tcp(sent), tcp(flow("172.30.0.2:5353", "198.51.100.9:4000"))));
        let at = Forward { host: "192.0.2.9:53".parse().unwrap(), ..forward };
        assert!(!concerns(&at, sent, flow("172.30.0.7:53", "198.51.100.9:4000")));
    }

    #[test]
    fn a_tuple_is_read_from_its_attributes() {
        let mut bytes = Attributes::default();
        bytes.nested(TUPLE_ADDRESSES, |addresses| {
            addresses.value(V6_SOURCE, &Ipv6Addr::LOCALHOST.octets());
            addresses.value(V6_TARGET, &Ipv6Addr::UNSPECIFIED.octets());
        });
        assert_eq!(tuple(bytes.bytes()), None);
        bytes.nested(TUPLE_PROTOCOL, |protocol| {
            protocol.value(NUMBER, &[Protocol::Udp.number()]);
            protocol.value(SOURCE_PORT, &40000_u16.to_be_bytes());
            protocol.value(TARGET_PORT, &53_u16.to_be_bytes());
        });
        assert_eq!(tuple(bytes.bytes()), Some(flow("[::1]:40000", "[::]:53")));
    }
}
