//! The project's own table of the kernel's packet filter, `inet caisson` (nft(8)): what is in it. Pure; `apply` has the
//! kernel take it, and `contents` reads what it has. Each store has a table of its own ([`Table`]), so that who makes his
//! anew takes nothing from anybody.
//!
//! All rules stand still. What comes and goes, bridges and published ports, is elements of sets and maps, so that one
//! transaction of a few lines is all that a container costs. The table can be made anew from the disk at any time
//! ([`Table::whole`]). Nothing of anybody else is named here: their chains see each packet too, and what they drop stays dropped.
//!
//! It is nft's own language and not its JSON: version 1.0.6, which Debian 12 has, cannot read from JSON the declaration of
//! a map whose values are an address and a port. Nothing is written into it but numbers, addresses and names of devices
//! that were checked.

pub mod apply;
pub mod contents;
pub mod flows;
mod netfilter;
pub mod others;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::port::syntax::Protocol;

/// What the usual store's table is called, and with something behind it those of others.
pub const NAME: &str = "caisson";
/// The usual store's folder (`store::folder`).
const USUAL_ROOT: &str = "/var/lib/caisson";
/// Longest name of a network device (IFNAMSIZ of netdevice(7), without the final 0).
const NAME_MAX: usize = 15;

/// What stands still. In this order: who comes to loopback addresses from outside, what is for a published port, what
/// passes from one device to another, and who appears under whose address.
const RULES: &str = "
  set bridges { type ifname; }
  set internal { type ifname; }
  set same { type ifname . ifname; }
  set subnets4 { type ifname . ipv4_addr; flags interval; }
  set subnets6 { type ifname . ipv6_addr; flags interval; }
  set masquerade4 { type ipv4_addr; flags interval; }
  set masquerade6 { type ipv6_addr; flags interval; }
  set loopback4 { type ipv4_addr . inet_proto . inet_service; }
  set published4 { type ipv4_addr . inet_proto . inet_service; }
  set published6 { type ipv6_addr . inet_proto . inet_service; }
  map at4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
  map at6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }
  map any4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map any6 { type inet_proto . inet_service : ipv6_addr . inet_service; }

  chain guard {
    type filter hook prerouting priority -300; policy accept;
    iifname != \"lo\" ip daddr . meta l4proto . th dport @loopback4 drop
  }
  chain publish {
    ip daddr != 127.0.0.0/8 dnat ip to ip daddr . meta l4proto . th dport map @at4
    ip daddr != 127.0.0.0/8 dnat ip to meta l4proto . th dport map @any4
    ip6 daddr != ::1 dnat ip6 to ip6 daddr . meta l4proto . th dport map @at6
    ip6 daddr != ::1 dnat ip6 to meta l4proto . th dport map @any6
  }
  chain prerouting {
    type nat hook prerouting priority -100; policy accept;
    fib daddr type local jump publish
  }
  chain output {
    type nat hook output priority -100; policy accept;
    fib daddr type local jump publish
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname . oifname @same accept
    iifname @internal drop
    oifname @internal drop
    oifname @bridges jump arrive
  }
  chain arrive {
    ct state related accept
    ct direction original ct status & dnat == dnat ip daddr . meta l4proto . th dport @published4 accept
    ct direction original ct status & dnat == dnat ip6 daddr . meta l4proto . th dport @published6 accept
    ct direction original ct status & dnat == dnat drop
    ct state established accept
    drop
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    ct status & dnat == dnat oifname . ip saddr @subnets4 masquerade
    ct status & dnat == dnat oifname . ip6 saddr @subnets6 masquerade
    ip saddr @masquerade4 oifname . ip saddr != @subnets4 masquerade
    ip6 saddr @masquerade6 oifname . ip6 saddr != @subnets6 masquerade
  }
";

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

/// An element: of which set or map, what it is found by, and what a map has for it; in nft's words.
pub type Element = (&'static str, String, Option<String>);

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
    pub fn whole(&self, bridges: &[Bridge], forwards: &[Forward]) -> Result<String> {
        let name = &self.name;
        let mut script =
            format!("add table inet {name}\ndelete table inet {name}\ntable inet {name} {{{RULES}}}\n");
        self.write(&mut script, "add", &elements(bridges, forwards)?);
        Ok(script)
    }

    /// Adds a bridge to the table.
    ///
    /// # Errors
    /// A device with a name that is none.
    pub fn with_bridge(&self, bridge: &Bridge) -> Result<String> {
        Ok(self.with(&of_bridge(bridge)?.into_iter().collect()))
    }

    /// Takes a bridge out of the table.
    ///
    /// # Errors
    /// A device with a name that is none.
    pub fn without_bridge(&self, bridge: &Bridge) -> Result<String> {
        Ok(self.without(&of_bridge(bridge)?.into_iter().collect()))
    }

    /// Adds elements to the table.
    #[must_use]
    pub fn with(&self, elements: &BTreeSet<Element>) -> String {
        let mut script = String::new();
        self.write(&mut script, "add", elements);
        script
    }

    /// Takes elements out of the table, in which they have to be.
    #[must_use]
    pub fn without(&self, elements: &BTreeSet<Element>) -> String {
        let mut script = String::new();
        self.write(&mut script, "delete", elements);
        script
    }

    fn write(&self, script: &mut String, verb: &str, elements: &BTreeSet<Element>) {
        let mut open = None;
        for (set, key, value) in elements {
            if open != Some(*set) {
                script.push_str(if open.is_some() { " }\n" } else { "" });
                // Writing to a string cannot fail.
                let _ = write!(script, "{verb} element inet {} {set} {{ ", self.name);
                open = Some(*set);
            } else {
                script.push_str(", ");
            }
            script.push_str(key);
            if let Some(value) = value.as_ref().filter(|_| verb == "add") {
                let _ = write!(script, " : {value}");
            }
        }
        script.push_str(if open.is_some() { " }\n" } else { "" });
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
    let name = format!("\"{}\"", bridge.name);
    let mut elements = vec![(if bridge.is_internal { "internal" } else { "bridges" }, name.clone(), None)];
    if !bridge.keeps_apart {
        elements.push(("same", format!("{name} . {name}"), None));
    }
    for (address, length) in &bridge.subnets {
        let (subnets, masquerade) = match address {
            IpAddr::V4(_) => ("subnets4", "masquerade4"),
            IpAddr::V6(_) => ("subnets6", "masquerade6"),
        };
        elements.push((subnets, format!("{name} . {address}/{length}"), None));
        if bridge.masquerades && !bridge.is_internal {
            elements.push((masquerade, format!("{address}/{length}"), None));
        }
    }
    Ok(elements)
}

/// What leads from one family to the other, and what is the host's own on its loopback, is for the proxy alone.
fn of_forward(forward: &Forward) -> Vec<Element> {
    let Forward { protocol, host, to, is_proxied } = forward;
    let port = format!("{protocol} . {}", host.port());
    if host.ip().is_loopback() {
        return match host.ip() {
            IpAddr::V4(address) => vec![("loopback4", format!("{address} . {port}"), None)],
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
    let leads_to = Some(format!("{} . {}", to.ip(), to.port()));
    let publishes = if host.ip().is_unspecified() {
        (any, port, leads_to)
    } else {
        (at, format!("{} . {port}", host.ip()), leads_to)
    };
    vec![publishes, (published, format!("{} . {protocol} . {}", to.ip(), to.port()), None)]
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
        // All that is written names it, and nothing else.
        let text = other.whole(&[bridge("br-0")], &[forward("0.0.0.0:1", "172.30.0.2:1")]).unwrap();
        assert_eq!(text.matches(other.name()).count(), text.matches("caisson").count());
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

    #[test]
    fn a_bridge_is_elements() {
        assert_eq!(
            table().with_bridge(&bridge("caisson0")).unwrap(),
            "add element inet caisson bridges { \"caisson0\" }\n\
             add element inet caisson masquerade4 { 172.30.0.0/16 }\n\
             add element inet caisson masquerade6 { fd00::/64 }\n\
             add element inet caisson same { \"caisson0\" . \"caisson0\" }\n\
             add element inet caisson subnets4 { \"caisson0\" . 172.30.0.0/16 }\n\
             add element inet caisson subnets6 { \"caisson0\" . fd00::/64 }\n"
        );
        let internal = Bridge { is_internal: true, ..bridge("br-0") };
        assert_eq!(
            table().without_bridge(&internal).unwrap(),
            "delete element inet caisson internal { \"br-0\" }\n\
             delete element inet caisson same { \"br-0\" . \"br-0\" }\n\
             delete element inet caisson subnets4 { \"br-0\" . 172.30.0.0/16 }\n\
             delete element inet caisson subnets6 { \"br-0\" . fd00::/64 }\n"
        );
        let apart = Bridge { keeps_apart: true, masquerades: false, ..bridge("br-0") };
        let text = table().with_bridge(&apart).unwrap();
        assert!(!text.contains(" same ") && !text.contains(" masquerade4 "), "{text}");
        for name in ["", "a\"b", "a b", "a;b", "a}b", "a/b", "0123456789abcdef", "a\nb"] {
            assert!(table().with_bridge(&bridge(name)).is_err(), "{name:?}");
        }
    }

    #[test]
    fn published_ports_are_elements_and_each_is_there_once() {
        let all = [
            forward("0.0.0.0:8080", "172.30.0.2:80"),
            forward("[::]:8080", "172.30.0.2:80"),
            forward("192.0.2.1:8081", "172.30.0.2:80"),
            forward("[::]:8080", "[fd00::2]:80"),
            Forward { protocol: Protocol::Udp, ..forward("[2001:db8::1]:53", "[fd00::2]:53") },
            forward("127.0.0.1:8082", "172.30.0.2:81"),
            forward("[::1]:8082", "[fd00::2]:81"),
        ];
        assert_eq!(
            table().with(&of_forwards(&all)),
            "add element inet caisson any4 { tcp . 8080 : 172.30.0.2 . 80 }\n\
             add element inet caisson any6 { tcp . 8080 : fd00::2 . 80 }\n\
             add element inet caisson at4 { 192.0.2.1 . tcp . 8081 : 172.30.0.2 . 80 }\n\
             add element inet caisson at6 { 2001:db8::1 . udp . 53 : fd00::2 . 53 }\n\
             add element inet caisson loopback4 { 127.0.0.1 . tcp . 8082 }\n\
             add element inet caisson published4 { 172.30.0.2 . tcp . 80 }\n\
             add element inet caisson published6 { fd00::2 . tcp . 80, fd00::2 . udp . 53 }\n"
        );
        assert_eq!(
            table().without(&of_forwards(&all[..3])),
            "delete element inet caisson any4 { tcp . 8080 }\n\
             delete element inet caisson at4 { 192.0.2.1 . tcp . 8081 }\n\
             delete element inet caisson published4 { 172.30.0.2 . tcp . 80 }\n"
        );
        assert_eq!(table().with(&of_forwards(&[forward("[::1]:1", "172.30.0.2:1")])), "");
        let proxied = Forward { is_proxied: true, ..forward("0.0.0.0:1", "172.30.0.2:1") };
        assert_eq!(table().with(&of_forwards(&[proxied])), "");
    }

    #[test]
    fn the_whole_table_takes_the_place_of_what_is_there() {
        let text = table()
            .whole(&[bridge("caisson0"), bridge("br-1")], &[forward("0.0.0.0:1", "172.30.0.2:1")])
            .unwrap();
        assert!(
            text.starts_with("add table inet caisson\ndelete table inet caisson\ntable inet caisson {\n")
        );
        assert!(text.contains("add element inet caisson bridges { \"br-1\", \"caisson0\" }\n"), "{text}");
        assert!(text.contains("add element inet caisson any4 { tcp . 1 : 172.30.0.2 . 1 }\n"), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
