//! rtnetlink(7): network devices, addresses and routes, one request and its answer at a time.
//!
//! Requests are built by types; of the answers only the few attributes are read that are asked for, so that what a newer
//! kernel adds is passed over.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressHeader, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::error::{Context, Error, Kind, Result};
use crate::netlink::{Socket, attributes, find, u32_at};
use crate::network::address::Subnet;

/// Kinds of messages that answers are (rtnetlink(7)).
const NEW_LINK: u16 = 16;
const NEW_ROUTE: u16 = 24;
/// Attributes that are read (linux/if_link.h, linux/rtnetlink.h).
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_INFO_KIND: u16 = 1;
const RTA_DST: u16 = 1;
/// Routes to what is not ourselves.
const RTN_UNICAST: u8 = 1;
/// IFF_UP.
const IS_UP: u32 = 1;
/// Length of struct ifinfomsg and struct rtmsg, in bytes.
const LINK_HEADER: usize = 16;
const ROUTE_HEADER: usize = 12;

/// A network device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name there.
    pub name: String,
    /// What its owner has written on it.
    pub alias: String,
    /// `bridge`, `veth`, …
    pub kind: String,
    /// The bridge that it is a port of; 0 without.
    pub master: u32,
    /// Administratively up.
    pub is_up: bool,
}

/// A pair of devices that are joined: one here, the other in another namespace.
#[derive(Debug)]
pub struct Pair<'a> {
    /// Name of the end here.
    pub name: &'a str,
    /// The bridge that it is a port of.
    pub master: u32,
    /// Name of the other end.
    pub peer: &'a str,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Where it is.
    pub netns: BorrowedFd<'a>,
    /// Of both, in bytes.
    pub mtu: u32,
}

/// A socket of rtnetlink.
#[derive(Debug)]
pub struct Netlink(Socket);

impl Netlink {
    /// Opens one in the network namespace that this thread is in.
    ///
    /// # Errors
    /// The system's reason.
    pub fn open() -> Result<Netlink> {
        Socket::open(None).map(Netlink).during(|| "socket of netlink".to_owned())
    }

    /// The device of this name, if there is one.
    ///
    /// # Errors
    /// The system's reason.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let answers = self.ask(RouteNetlinkMessage::GetLink(message), 0);
        match answers {
            Err(Errno::NODEV) => Ok(None),
            answers => {
                let answers = answers.during(|| format!("get device {name}"))?;
                Ok(answers.iter().find_map(|answer| answer.link()))
            }
        }
    }

    /// All devices.
    ///
    /// # Errors
    /// The system's reason.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let answers = self.ask(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP);
        Ok(answers.during(|| "list devices".to_owned())?.iter().filter_map(Answer::link).collect())
    }

    /// Makes a bridge, which is down.
    ///
    /// # Errors
    /// One of this name is there; the system's reason.
    pub fn add_bridge(&mut self, name: &str, mac: [u8; 6], mtu: u32) -> Result<()> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            // One of its own: it would change with the ports otherwise, and neighbours would have to learn it again.
            LinkAttribute::Address(mac.to_vec()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        let made = self.ask(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL);
        made.map(drop).during(|| format!("make bridge {name}"))
    }

    /// Makes a pair of devices, both down.
    ///
    /// # Errors
    /// One of these names is there; the system's reason.
    pub fn add_pair(&mut self, pair: &Pair) -> Result<()> {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(pair.peer.to_owned()),
            LinkAttribute::Address(pair.mac.to_vec()),
            LinkAttribute::Mtu(pair.mtu),
            LinkAttribute::NetNsFd(pair.netns.as_raw_fd()),
        ];
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(pair.name.to_owned()),
            LinkAttribute::Mtu(pair.mtu),
            LinkAttribute::Controller(pair.master),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        let made = self.ask(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL);
        made.map(drop).during(|| format!("make device {}", pair.name))
    }

    /// Marks a device with the name of its owner, and sets it up.
    ///
    /// # Errors
    /// The system's reason.
    pub fn set_up(&mut self, index: u32, alias: &str) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        if !alias.is_empty() {
            message.attributes.push(LinkAttribute::IfAlias(alias.to_owned()));
        }
        let set = self.ask(RouteNetlinkMessage::SetLink(message), 0);
        set.map(drop).during(|| format!("set device {index} up"))
    }

    /// Makes a device a port of a bridge.
    ///
    /// # Errors
    /// The system's reason.
    pub fn set_master(&mut self, index: u32, master: u32) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::Controller(master));
        let set = self.ask(RouteNetlinkMessage::SetLink(message), 0);
        set.map(drop).during(|| format!("make device {index} a port of bridge {master}"))
    }

    /// Has a port of a bridge send what it received back to where it came from (hairpin), for containers that reach
    /// themselves by the host's address; `isolated` ports do not reach one another.
    ///
    /// # Errors
    /// The system's reason.
    pub fn set_port(&mut self, index: u32, isolated: bool) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![
                InfoBridgePort::HairpinMode(true),
                InfoBridgePort::Isolated(isolated),
            ])),
        ]));
        let set = self.ask(RouteNetlinkMessage::NewLink(message), 0);
        set.map(drop).during(|| format!("set bridge port {index}"))
    }

    /// Removes a device; false if there is none of this name.
    ///
    /// # Errors
    /// The system's reason.
    pub fn delete(&mut self, name: &str) -> Result<bool> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.ask(RouteNetlinkMessage::DelLink(message), 0) {
            Ok(_) => Ok(true),
            Err(Errno::NODEV) => Ok(false),
            Err(errno) => Err(errno).during(|| format!("remove device {name}")),
        }
    }

    /// Gives a device an address with the length of its subnet. IPv6 addresses are good at once: that nobody else has
    /// them is what leases are for.
    ///
    /// # Errors
    /// The system's reason.
    pub fn add_address(&mut self, index: u32, address: IpAddr, length: u8) -> Result<()> {
        let mut message = AddressMessage::default();
        message.header = AddressHeader {
            family: family(address),
            prefix_len: length,
            flags: AddressHeaderFlags::empty(),
            scope: AddressScope::Universe,
            index,
        };
        message.attributes = vec![AddressAttribute::Address(address), AddressAttribute::Local(address)];
        match address {
            IpAddr::V4(address) => {
                if let Some(last) = Subnet::around(address.into(), length).broadcast() {
                    message.attributes.push(AddressAttribute::Broadcast(last));
                }
            }
            IpAddr::V6(_) => message.header.flags = AddressHeaderFlags::Nodad,
        }
        let added = self.ask(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL);
        added.map(drop).during(|| format!("add address {address}/{length}"))
    }

    /// Has a gateway be the way to everywhere.
    ///
    /// # Errors
    /// The system's reason.
    pub fn add_default_route(&mut self, index: u32, gateway: IpAddr) -> Result<()> {
        let message = default_route(index, gateway);
        let added = self.ask(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL);
        added.map(drop).during(|| format!("add default route via {gateway}"))
    }

    /// Takes that back; false if it was not so.
    ///
    /// # Errors
    /// The system's reason.
    pub fn delete_default_route(&mut self, index: u32, gateway: IpAddr) -> Result<bool> {
        match self.ask(RouteNetlinkMessage::DelRoute(default_route(index, gateway)), 0) {
            Ok(_) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(errno) => Err(errno).during(|| format!("remove default route via {gateway}")),
        }
    }

    /// Has nothing get to a subnet of IPv6 from here; that there is no IPv6 is as good.
    ///
    /// # Errors
    /// The system's reason.
    pub fn add_unreachable(&mut self, address: Ipv6Addr, length: u8) -> Result<()> {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: AddressFamily::Inet6,
            destination_prefix_length: length,
            table: RouteHeader::RT_TABLE_MAIN,
            protocol: RouteProtocol::Boot,
            scope: RouteScope::Universe,
            kind: RouteType::Unreachable,
            ..RouteHeader::default()
        };
        message.attributes = vec![RouteAttribute::Destination(RouteAddress::from(IpAddr::V6(address)))];
        match self.ask(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL) {
            Ok(_) | Err(Errno::AFNOSUPPORT | Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => Err(errno).during(|| format!("make {address}/{length} unreachable")),
        }
    }

    /// Is there a way to everywhere, of IPv4 and of IPv6?
    ///
    /// # Errors
    /// The system's reason.
    pub fn has_default_routes(&mut self) -> Result<[bool; 2]> {
        let mut found = [false; 2];
        for (family, found) in [AddressFamily::Inet, AddressFamily::Inet6].into_iter().zip(&mut found) {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let answers = self.ask(RouteNetlinkMessage::GetRoute(message), NLM_F_DUMP);
            *found = answers.during(|| "list routes".to_owned())?.iter().any(Answer::is_default_route);
        }
        Ok(found)
    }

    /// Where this host knows a way to: destinations of all its routes but the default ones.
    ///
    /// # Errors
    /// The system's reason.
    pub fn destinations(&mut self) -> Result<Vec<Subnet>> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let answers = self.ask(RouteNetlinkMessage::GetRoute(message), NLM_F_DUMP);
            found.extend(answers.during(|| "list routes".to_owned())?.iter().filter_map(Answer::destination));
        }
        Ok(found)
    }

    /// Sends a request and takes what the kernel answers, to the acknowledgement or the end of the list.
    fn ask(&mut self, request: RouteNetlinkMessage, flags: u16) -> std::result::Result<Vec<Answer>, Errno> {
        let is_list = flags & NLM_F_DUMP == NLM_F_DUMP;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags | if is_list { 0 } else { NLM_F_ACK };
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let mut answers = Vec::new();
        self.0.ask(bytes, |kind, payload| answers.push(Answer { kind, payload: payload.to_owned() }))?;
        Ok(answers)
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn default_route(index: u32, gateway: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(gateway),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Boot,
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes =
        vec![RouteAttribute::Gateway(RouteAddress::from(gateway)), RouteAttribute::Oif(index)];
    message
}

/// One message of the kernel's.
#[derive(Debug)]
struct Answer {
    kind: u16,
    payload: Vec<u8>,
}

impl Answer {
    fn link(&self) -> Option<Link> {
        if self.kind != NEW_LINK {
            return None;
        }
        let mut link = Link {
            index: u32_at(&self.payload, 4)?,
            is_up: u32_at(&self.payload, 8)? & IS_UP != 0,
            ..Link::default()
        };
        for (kind, value) in attributes(self.payload.get(LINK_HEADER..)?) {
            match kind {
                IFLA_IFNAME => link.name = text(value),
                IFLA_IFALIAS => link.alias = text(value),
                IFLA_MASTER => link.master = u32_at(value, 0).unwrap_or_default(),
                IFLA_LINKINFO => link.kind = find(value, IFLA_INFO_KIND).map(text).unwrap_or_default(),
                _ => {}
            }
        }
        Some(link)
    }

    /// `struct rtmsg`: length of the destination, table and kind of the route.
    fn is_default_route(&self) -> bool {
        let at = |place: usize| self.payload.get(place).copied();
        self.kind == NEW_ROUTE
            && (at(1), at(4), at(7)) == (Some(0), Some(RouteHeader::RT_TABLE_MAIN), Some(RTN_UNICAST))
    }

    fn destination(&self) -> Option<Subnet> {
        if self.kind != NEW_ROUTE || *self.payload.get(7)? != RTN_UNICAST {
            return None;
        }
        let length = *self.payload.get(1)?;
        let value = find(self.payload.get(ROUTE_HEADER..)?, RTA_DST)?;
        let address = match value.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(value).ok()?),
            16 => IpAddr::from(<[u8; 16]>::try_from(value).ok()?),
            _ => return None,
        };
        Some(Subnet::around(address, length))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned()
}

/// A hardware address as people write it.
///
/// # Errors
/// Docker's words.
pub fn mac(text: &str) -> Result<[u8; 6]> {
    let wrong = || Error::new(Kind::Usage, format!("{text} is not a valid mac address"));
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let mut mac = [0; 6];
    if parts.len() != mac.len() {
        return Err(wrong());
    }
    for (byte, part) in mac.iter_mut().zip(parts) {
        let is_hex = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        *byte = u8::from_str_radix(part, 16).ok().filter(|_| is_hex).ok_or_else(wrong)?;
    }
    Ok(mac)
}

/// A hardware address for people.
#[must_use]
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_is_six_bytes() {
        assert_eq!(mac_text(mac("02:42:AC-11-00:02").unwrap()), "02:42:ac:11:00:02");
        for wrong in ["", "02:42:ac:11:00", "02:42:ac:11:00:0g", "02:42:ac:11:00:+2", "2:42:ac:11:00:02"] {
            assert!(mac(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn devices_are_listed() {
        let links = Netlink::open().unwrap().links().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").unwrap();
        assert_eq!((lo.index, lo.kind.as_str()), (1, ""));
        assert_eq!(Netlink::open().unwrap().link("lo").unwrap().as_ref(), Some(lo));
        assert_eq!(Netlink::open().unwrap().link("nonexistent0").unwrap(), None);
        Netlink::open().unwrap().destinations().unwrap();
    }
}
