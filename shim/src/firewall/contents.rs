//! What a table of ours has at this moment, compared with what it should have: for `system check`.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::error::{Context as _, Result};
use crate::firewall::netfilter::Netfilter;
use crate::firewall::nf_tables::{self, Element, INET, Type};
use crate::firewall::{Table, apply, rules};
use crate::port::syntax::Protocol;

/// An element in nft(8)'s words: what is told and compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The set or map.
    pub set: &'static str,
    /// `tcp . 8080`, and in a map `tcp . 8080 : 172.30.0.2 . 80`.
    pub element: String,
}

impl fmt::Display for Held {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {{ {} }}", self.set, self.element)
    }
}

/// All elements of a table; None where it is not there.
///
/// # Errors
/// The system's reason.
pub fn read(table: &Table) -> Result<Option<BTreeSet<Held>>> {
    if !apply::is_there(table) {
        return Ok(None);
    }
    let words = || "firewall".to_owned();
    let mut netfilter = Netfilter::open().during(words)?;
    let mut found = BTreeSet::new();
    for set in &rules::SETS {
        match nf_tables::in_set(&mut netfilter, INET, table.name(), set.name) {
            // Taken away meanwhile.
            Err(_) if !apply::is_there(table) => return Ok(None),
            elements => found.extend(elements.during(words)?),
        }
    }
    Ok(Some(held(&found)))
}

/// What the kernel has when it has these.
#[must_use]
pub fn held(elements: &BTreeSet<Element>) -> BTreeSet<Held> {
    let mut told = BTreeSet::new();
    let mut ends = BTreeSet::new();
    for one in elements.iter().filter(|one| one.begins) {
        let Some(set) = rules::SETS.iter().find(|set| set.name == one.set) else { continue };
        let mut element = if set.is_interval {
            let end = elements.iter().find(|end| !end.begins && end.set == one.set && end.key > one.key);
            ends.extend(end);
            let last = one.last.clone().unwrap_or_else(|| match end {
                Some(end) => before(end.key.clone()),
                None => vec![u8::MAX; one.key.len()],
            });
            range_in_words(set.key, &one.key, &last)
        } else {
            in_words(set.key, &one.key)
        };
        if let Some(value) = &one.value {
            element = format!("{element} : {}", in_words(set.value, value));
        }
        told.insert(Held { set: set.name, element });
    }
    // An end of nothing is nobody's.
    for end in elements.iter().filter(|one| !one.begins && !ends.contains(one)) {
        told.insert(Held { set: end.set, element: format!("end {:02x?}", end.key) });
    }
    told
}

/// The address before this one.
fn before(mut address: Vec<u8>) -> Vec<u8> {
    if let Some(place) = address.iter().rposition(|byte| *byte != 0) {
        address[place] -= 1;
        address[place + 1..].fill(u8::MAX);
    }
    address
}

/// As a subnet, which is what this program writes; otherwise from the first to the last.
fn range_in_words(types: &[Type], first: &[u8], last: &[u8]) -> String {
    let bits = |bytes: &[u8]| bytes.iter().map(|byte| byte.count_ones()).sum::<u32>();
    let differing: Vec<u8> = first.iter().zip(last).map(|(first, last)| first ^ last).collect();
    let free = bits(&differing);
    let trailing = differing.iter().rev().fold((0, true), |(count, goes_on), byte| {
        if goes_on { (count + byte.trailing_ones(), *byte == u8::MAX) } else { (count, false) }
    });
    let length = types.last().map_or(0, |kind| u32::try_from(8 * kind.length()).unwrap_or_default());
    let is_subnet = free == trailing.0 && first.iter().zip(&differing).all(|(first, free)| first & free == 0);
    match (is_subnet, free) {
        (true, 0) => in_words(types, first),
        (true, free) => format!("{}/{}", in_words(types, first), length.saturating_sub(free)),
        (false, _) => format!("{} - {}", in_words(types, first), in_words(types, last)),
    }
}

fn in_words(types: &[Type], mut bytes: &[u8]) -> String {
    let mut words = Vec::new();
    for kind in types {
        let (field, rest) = bytes.split_at_checked(kind.length()).unwrap_or((bytes, &[]));
        words.push(field_in_words(*kind, field));
        bytes = rest;
    }
    words.join(" . ")
}

fn field_in_words(kind: Type, field: &[u8]) -> String {
    match (kind, field) {
        (Type::Ipv4, &[a, b, c, d]) => Ipv4Addr::new(a, b, c, d).to_string(),
        (Type::Ipv6, field) => match <[u8; 16]>::try_from(field) {
            Ok(octets) => Ipv6Addr::from(octets).to_string(),
            Err(_) => format!("{field:02x?}"),
        },
        (Type::Protocol, [number, ..]) => {
            let known = Protocol::ALL.into_iter().find(|known| known.number() == *number);
            known.map_or_else(|| number.to_string(), |known| known.to_string())
        }
        (Type::Port, &[high, low, ..]) => u16::from_be_bytes([high, low]).to_string(),
        (Type::Device, field) => {
            String::from_utf8_lossy(field.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
        }
        (_, field) => format!("{field:02x?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::{Bridge, Forward, elements};

    #[test]
    fn elements_are_told_in_the_words_of_nft() {
        let bridge = Bridge {
            name: "caisson0".to_owned(),
            subnets: vec![
                ("172.30.0.0".parse().unwrap(), 16),
                // Where one ends, the other begins.
                ("172.31.0.0".parse().unwrap(), 16),
                ("10.9.9.9".parse().unwrap(), 32),
                ("fd00:0:0:1::".parse().unwrap(), 64),
            ],
            is_internal: false,
            masquerades: true,
            keeps_apart: false,
        };
        let forward = Forward {
            protocol: Protocol::Udp,
            host: "0.0.0.0:53".parse().unwrap(),
            to: "172.30.0.2:5353".parse().unwrap(),
            is_proxied: false,
        };
        let all = held(&elements(&[bridge], &[forward]).unwrap());
        assert_eq!(
            all.iter().map(Held::to_string).collect::<Vec<_>>(),
            [
                "any4 { udp . 53 : 172.30.0.2 . 5353 }",
                "bridges { caisson0 }",
                "masquerade4 { 10.9.9.9 }",
                "masquerade4 { 172.30.0.0/16 }",
                "masquerade4 { 172.31.0.0/16 }",
                "masquerade6 { fd00:0:0:1::/64 }",
                "published4 { 172.30.0.2 . udp . 5353 }",
                "same { caisson0 . caisson0 }",
                "subnets4 { caisson0 . 10.9.9.9 }",
                "subnets4 { caisson0 . 172.30.0.0/16 }",
                "subnets4 { caisson0 . 172.31.0.0/16 }",
                "subnets6 { caisson0 . fd00:0:0:1::/64 }",
            ]
        );
    }

    #[test]
    fn what_is_never_written_is_told_as_it_is() {
        let of = |one: Element| held(&BTreeSet::from([one])).first().unwrap().to_string();
        assert_eq!(
            of(Element::of("masquerade4", vec![10, 0, 0, 1], None)),
            "masquerade4 { 10.0.0.1 - 255.255.255.255 }"
        );
        assert_eq!(of(Element::of("masquerade4", vec![128, 0, 0, 0], None)), "masquerade4 { 128.0.0.0/1 }");
        let end = Element { begins: false, ..Element::of("masquerade4", vec![10, 0, 0, 1], None) };
        assert_eq!(of(end), "masquerade4 { end [0a, 00, 00, 01] }");
        assert_eq!(
            of(Element::of("any4", vec![1, 2], Some(vec![0; 3]))),
            "any4 { 1 . [] : [00, 00, 00] . [] }"
        );
    }
}
