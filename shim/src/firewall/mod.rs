//! The project's own table of the kernel's packet filter, `inet caisson` (nft(8)): what is in it. Pure; `apply` has the
//! kernel take it, and `contents` reads what it has. Each store has a table of its own ([`Table`]), so that who makes his
//! anew takes nothing from anybody.
//!
//! All rules stand still. What comes and goes, bridges and published ports, is elements of sets and maps, so that one
//! transaction of a few lines is all that a container costs. The table can be made anew from the disk at any time
//! ([`Table::whole`]). Nothing of anybody else is named here: their chains see each packet too, and what they drop stays dropped.
//!
//! No program of the host's is asked, so nft(8) need not be there; where it is, it shows the table.

pub mod apply;
mod attributes;
pub mod contents;
pub mod flows;
pub mod netfilter;
pub mod nf_tables;
pub mod others;
pub mod rules;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::firewall::nf_tables::{Batch, Element, INET};
use crate::port::syntax::Protocol;

/// What the usual store's table is called, and with something behind it those of others.
pub const NAME: &str = "caisson";
/// The usual store's folder (`store::folder`).
const USUAL_ROOT: &str = "/var/lib/caisson";
/// Longest name of a network device (IFNAMSIZ of netdevice(7), without the final 0).
const NAME_MAX: usize = 15;

/// A network's bridge, as far as packets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// The device.
    pub name: String,
    /// Its subnets: address and length.
    pub subnets: Vec<(IpAddr, u8)>,
    /// Nothing leaves it, and nothing gets in.
    pub is_internal: bool,
    /// What leaves it has the host's address.
    pub masquerades: bool,
    /// Its containers do not reach one another, whatever way they try.
    pub keeps_apart: bool,
}

/// A port of the host that leads to one of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Forward {
    /// Of what.
    pub protocol: Protocol,
    /// Address and port of the host; an unspecified address is all of its family.
    pub host: SocketAddr,
    /// Address and port of the container.
    pub to: SocketAddr,
    /// The proxy alone leads there, and no rule (`others`).
    #[serde(default)]
    pub is_proxied: bool,
}

/// The table of a store, which is of the family `inet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    name: String,
}

impl Table {
    /// That of the store in this folder. Two stores in one network namespace would take each other's elements away
    /// otherwise.
    #[must_use]
    pub fn of(root: &Path) -> Table {
        if root == Path::new(USUAL_ROOT) {
            return Table { name: NAME.to_owned() };
        }
        let digest = Digest::of(root.as_os_str().as_encoded_bytes());
        Table { name: format!("{NAME}-{:.16}", digest.hex()) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The table with these bridges and ports in it, in the place of the one that is there; one transaction.
    ///
    /// # Errors
    /// A device with a name that is none.
    pub fn whole(&self, bridges: &[Bridge], forwards: &[Forward]) -> Result<Batch> {
        let mut batch = Batch::of(INET, &self.name);
        rules::write(&mut batch);
        batch.add(&elements(bridges, forwards)?);
        Ok(batch)
    }

    /// Adds a bridge to the table.
    ///
    /// # Errors
    /// A device with a name that is none.
    pub fn with_bridge(&self, bridge: &Bridge) -> Result<Batch> {
        Ok(self.with(&of_bridge(bridge)?.into_iter().collect()))
    }

    /// Takes a bridge out of the table.
    ///
    /// # Errors
    /// A device with a name that is none.
    pub fn without_bridge(&self, bridge: &Bridge) -> Result<Batch> {
        Ok(self.without(&of_bridge(bridge)?.into_iter().collect()))
    }

    /// Adds elements to the table.
    #[must_use]
    pub fn with(&self, elements: &BTreeSet<Element>) -> Batch {
        let mut batch = Batch::of(INET, &self.name);
        batch.add(elements);
        batch
    }

    /// Takes elements out of the table, in which they have to be.
    #[must_use]
    pub fn without(&self, elements: &BTreeSet<Element>) -> Batch {
        let mut batch = Batch::of(INET, &self.name);
        batch.delete(elements);
        batch
    }
}

/// What the table has of these.
///
/// # Errors
/// A device with a name that is none.
pub fn elements(bridges: &[Bridge], forwards: &[Forward]) -> Result<BTreeSet<Element>> {
    let mut elements = of_forwards(forwards);
    for bridge in bridges {
        elements.extend(of_bridge(bridge)?);
    }
    Ok(elements)
}

/// What the table has of published ports, once each; nothing of those that need no rule.
#[must_use]
pub fn of_forwards(forwards: &[Forward]) -> BTreeSet<Element> {
    forwards.iter().flat_map(of_forward).collect()
}

fn of_bridge(bridge: &Bridge) -> Result<Vec<Element>> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if bridge.name.is_empty() || bridge.name.len() > NAME_MAX || !bridge.name.bytes().all(is_plain) {
        return Err(Error::invalid(format!("{:?} is no name of a bridge", bridge.name)));
    }
    let name = rules::device(&bridge.name);
    let mut elements =
        vec![Element::of(if bridge.is_internal { "internal" } else { "bridges" }, name.clone(), None)];
    if !bridge.keeps_apart {
        elements.push(Element::of("same", name.repeat(2), None));
    }
    for (address, length) in &bridge.subnets {
        let (subnets, masquerade) = match address {
            IpAddr::V4(_) => ("subnets4", "masquerade4"),
            IpAddr::V6(_) => ("subnets6", "masquerade6"),
        };
        let (first, last) = range(*address, *length);
        let last_key = Some([&name[..], &last].concat());
        elements.push(Element { last: last_key, ..Element::of(subnets, [&name[..], &first].concat(), None) });
        if bridge.masquerades && !bridge.is_internal {
            elements.push(Element::of(masquerade, first, None));
            // What reaches to the last address of all has no end.
            elements.extend(
                next(last).map(|end| Element { begins: false, ..Element::of(masquerade, end, None) }),
            );
        }
    }
    Ok(elements)
}

/// The first and the last address of a subnet.
fn range(address: IpAddr, length: u8) -> (Vec<u8>, Vec<u8>) {
    let bytes = octets(address);
    let of_network = |index: usize| {
        let bits = usize::from(length).saturating_sub(8 * index).min(8);
        u8::try_from(0xff00 >> bits & 0xff).unwrap_or_default()
    };
    let first = bytes.iter().enumerate().map(|(index, byte)| byte & of_network(index));
    let last = bytes.iter().enumerate().map(|(index, byte)| byte | !of_network(index));
    (first.collect(), last.collect())
}

/// The address behind this one.
fn next(mut address: Vec<u8>) -> Option<Vec<u8>> {
    let place = address.iter().rposition(|byte| *byte != u8::MAX)?;
    address[place] += 1;
    address[place + 1..].fill(0);
    Some(address)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// What leads from one family to the other, and what is the host's own on its loopback, is for the proxy alone.
fn of_forward(forward: &Forward) -> Vec<Element> {
    let Forward { protocol, host, to, is_proxied } = forward;
    // Fields begin at multiples of four.
    let padded = |port: u16| [port.to_be_bytes(), [0; 2]].concat();
    let of_protocol = vec![protocol.number(), 0, 0, 0];
    let port = [of_protocol.clone(), padded(host.port())].concat();
    if host.ip().is_loopback() {
        return match host.ip() {
            IpAddr::V4(_) => vec![Element::of("loopback4", [octets(host.ip()), port].concat(), None)],
            // The kernel takes ::1 from nobody outside, whatever is set.
            IpAddr::V6(_) => Vec::new(),
        };
    }
    let (any, at, published) = match (host.is_ipv4(), to.is_ipv4()) {
        (true, true) => ("any4", "at4", "published4"),
        (false, false) => ("any6", "at6", "published6"),
        _ => return Vec::new(),
    };
    if *is_proxied {
        return Vec::new();
    }
    let leads_to = Some([octets(to.ip()), padded(to.port())].concat());
    let publishes = if host.ip().is_unspecified() {
        Element::of(any, port, leads_to)
    } else {
        Element::of(at, [octets(host.ip()), port].concat(), leads_to)
    };
    let is_published = [octets(to.ip()), of_protocol, padded(to.port())].concat();
    vec![publishes, Element::of(published, is_published, None)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::of(Path::new("/var/lib/caisson"))
    }

    #[test]
    fn each_store_has_a_table_of_its_own() {
        assert_eq!(table().name(), "caisson");
        let other = Table::of(Path::new("/srv/caisson"));
        assert_eq!(other, Table::of(Path::new("/srv/caisson")));
        let digits = other.name().strip_prefix("caisson-").unwrap();
        assert!(digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digits}");
        assert_ne!(other, Table::of(Path::new("/srv/caisson2")));
        assert_ne!(other, table());
    }

    fn bridge(name: &str) -> Bridge {
        Bridge {
            name: name.to_owned(),
            subnets: vec![("172.30.0.0".parse().unwrap(), 16), ("fd00::".parse().unwrap(), 64)],
            is_internal: false,
            masquerades: true,
            keeps_apart: false,
        }
    }

    fn forward(host: &str, to: &str) -> Forward {
        let (host, to) = (host.parse().unwrap(), to.parse().unwrap());
        Forward { protocol: Protocol::Tcp, host, to, is_proxied: false }
    }

    fn told_of(bridge: &Bridge) -> Vec<String> {
        of_bridge(bridge).unwrap().iter().map(told).collect()
    }

    /// Bytes that are no text as hexadecimal digits.
    fn told(element: &Element) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut text = format!("{} {}", element.set, hex(&element.key));
        for (sign, bytes) in [("-", &element.last), (":", &element.value)] {
            if let Some(bytes) = bytes {
                text += &format!(" {sign} {}", hex(bytes));
            }
        }
        text + if element.begins { "" } else { " end" }
    }

    #[test]
    fn a_bridge_is_elements() {
        let name = "63616973736f6e300000000000000000";
        let six = "0000000000000000";
        assert_eq!(
            told_of(&bridge("caisson0")),
            [
                format!("bridges {name}"),
                format!("same {name}{name}"),
                format!("subnets4 {name}ac1e0000 - {name}ac1effff"),
                "masquerade4 ac1e0000".to_owned(),
                "masquerade4 ac1f0000 end".to_owned(),
                format!("subnets6 {name}fd00000000000000{six} - {name}fd00000000000000ffffffffffffffff"),
                format!("masquerade6 fd00000000000000{six}"),
                format!("masquerade6 fd00000000000001{six} end"),
            ]
        );
        let internal = told_of(&Bridge { is_internal: true, ..bridge("br-0") });
        assert!(internal[0].starts_with("internal ") && internal.len() == 4, "{internal:?}");
        let apart = told_of(&Bridge { keeps_apart: true, masquerades: false, ..bridge("br-0") });
        assert!(
            apart.iter().all(|told| told.starts_with("bridges ") || told.starts_with("subnets")),
            "{apart:?}"
        );
        for name in ["", "a\"b", "a b", "a;b", "a}b", "a/b", "0123456789abcdef", "a\nb"] {
            assert!(table().with_bridge(&bridge(name)).is_err(), "{name:?}");
        }
    }

    /// The kernel takes no beginning within a range that is open.
    #[test]
    fn where_subnets_meet_one_ends_before_the_other_begins() {
        let subnets = vec![("10.0.0.0".parse().unwrap(), 8), ("11.0.0.0".parse().unwrap(), 8)];
        let all = elements(&[Bridge { subnets, ..bridge("br-0") }], &[]).unwrap();
        let of_masquerade = all.iter().filter(|one| one.set == "masquerade4").map(told).collect::<Vec<_>>();
        assert_eq!(
            of_masquerade,
            [
                "masquerade4 0a000000",
                "masquerade4 0b000000 end",
                "masquerade4 0b000000",
                "masquerade4 0c000000 end"
            ]
        );
    }

    #[test]
    fn subnets_are_ranges_of_addresses() {
        let of = |address: &str, length| range(address.parse().unwrap(), length);
        assert_eq!(of("10.1.2.3", 8), (vec![10, 0, 0, 0], vec![10, 255, 255, 255]));
        assert_eq!(of("10.1.2.3", 22), (vec![10, 1, 0, 0], vec![10, 1, 3, 255]));
        assert_eq!(of("10.1.2.3", 32), (vec![10, 1, 2, 3], vec![10, 1, 2, 3]));
        assert_eq!(of("10.1.2.3", 0), (vec![0; 4], vec![255; 4]));
        assert_eq!(of("fd00::1", 127).1[15], 1);
        assert_eq!(next(vec![10, 255, 255, 255]), Some(vec![11, 0, 0, 0]));
        assert_eq!((next(vec![1, 2]), next(vec![255, 255])), (Some(vec![1, 3]), None));
    }

    #[test]
    fn published_ports_are_elements_and_each_is_there_once() {
        let told = |forward| of_forward(&forward).iter().map(told).collect::<Vec<_>>();
        assert_eq!(
            told(forward("0.0.0.0:8080", "172.30.0.2:80")),
            ["any4 060000001f900000 : ac1e000200500000", "published4 ac1e00020600000000500000"]
        );
        assert_eq!(
            told(forward("192.0.2.1:8081", "172.30.0.2:80")),
            ["at4 c0000201060000001f910000 : ac1e000200500000", "published4 ac1e00020600000000500000"]
        );
        let six = Forward { protocol: Protocol::Udp, ..forward("[2001:db8::1]:53", "[fd00::2]:53") };
        assert_eq!(
            told(six),
            [
                "at6 20010db80000000000000000000000011100000000350000 : fd00000000000000000000000000000200350000",
                "published6 fd0000000000000000000000000000021100000000350000"
            ]
        );
        let sctp = Forward { protocol: Protocol::Sctp, ..forward("[::]:1", "[fd00::2]:2") };
        assert_eq!(told(sctp)[0], "any6 8400000000010000 : fd00000000000000000000000000000200020000");
        assert_eq!(told(forward("127.0.0.1:8082", "172.30.0.2:81")), ["loopback4 7f000001060000001f920000"]);
        // By the proxy alone.
        for forward in [
            forward("[::1]:1", "172.30.0.2:1"),
            forward("[::]:8080", "172.30.0.2:80"),
            Forward { is_proxied: true, ..forward("0.0.0.0:1", "172.30.0.2:1") },
        ] {
            assert!(of_forward(&forward).is_empty() && of_forwards(&[forward]).is_empty(), "{forward:?}");
        }
    }
}
