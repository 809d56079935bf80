//! What a table of ours has at this moment, compared with what it should have: for `system check`.
//!
//! It is read as nft(8) tells it to programs (libnftables-json(5)), as what the kernel has of intervals and of keys of several
//! parts is nft's own. A list costs a process; nothing on the way of a container asks for one.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde_json::Value;

use crate::error::{Context, Error, Result};
use crate::firewall::{Element, Table, apply};

/// An element of a set, or of a map with what that has for it, in nft's words without quotes: what is told and compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The set or map.
    pub set: String,
    /// `tcp . 8080`, and in a map `tcp . 8080 : 172.30.0.2 . 80`.
    pub element: String,
}

impl fmt::Display for Held {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{} {{ {} }}", self.set, self.element)
    }
}

impl Held {
    /// What the kernel should have of an element.
    #[must_use]
    pub fn of((set, key, value): &Element) -> Held {
        // A subnet of one address is an address.
        let part = |text: &str| {
            let text = text.trim_matches('"');
            let single = text.strip_suffix("/32").filter(|text| !text.contains(':'));
            single.or_else(|| text.strip_suffix("/128")).unwrap_or(text).to_owned()
        };
        let parts = |text: &str| text.split(" . ").map(part).collect::<Vec<_>>().join(" . ");
        let element = match value {
            Some(value) => format!("{} : {}", parts(key), parts(value)),
            None => parts(key),
        };
        Held { set: (*set).to_owned(), element }
    }
}

/// All elements of a table; None where it is not there.
///
/// # Errors
/// There is no nft; what it says.
pub fn read(table: &Table) -> Result<Option<BTreeSet<Held>>> {
    let Some(listed) = apply::list(table)? else { return Ok(None) };
    parse(&listed).map(Some).during(|| format!("firewall: what nft lists of table inet {}", table.name()))
}

fn parse(listed: &[u8]) -> Result<BTreeSet<Held>> {
    let listed: Value = serde_json::from_slice(listed).map_err(|error| Error::invalid(error.to_string()))?;
    let objects = listed["nftables"].as_array().ok_or_else(|| Error::invalid("no list"))?;
    let mut found = BTreeSet::new();
    for object in objects {
        for kind in ["set", "map"] {
            let Some(name) = object[kind]["name"].as_str() else { continue };
            for element in object[kind]["elem"].as_array().into_iter().flatten() {
                let element = match element {
                    // A map's, with what it leads to.
                    Value::Array(pair) => pair.iter().map(told).collect::<Vec<_>>().join(" : "),
                    element => told(element),
                };
                found.insert(Held { set: name.to_owned(), element });
            }
        }
    }
    Ok(found)
}

/// An expression in the words that this program writes; one that it never writes as it is, so that it is nobody's.
fn told(expression: &Value) -> String {
    if let Some(parts) = expression["concat"].as_array() {
        return parts.iter().map(told).collect::<Vec<_>>().join(" . ");
    }
    let prefix = &expression["prefix"];
    if let (Some(address), Some(length)) = (prefix["addr"].as_str(), prefix["len"].as_u64()) {
        return format!("{}/{length}", address_of(address));
    }
    match expression {
        Value::String(text) => address_of(text),
        other => other.to_string(),
    }
}

/// Addresses as this program writes them; other words as they are.
fn address_of(text: &str) -> String {
    text.parse::<IpAddr>().map_or_else(|_| text.to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::{Bridge, Forward, elements};
    use crate::port::syntax::Protocol;

    #[test]
    fn what_nft_lists_is_what_was_written() {
        let bridge = Bridge {
            name: "caisson0".to_owned(),
            subnets: vec![
                ("172.30.0.0".parse().unwrap(), 16),
                ("fd00:0:0:1::".parse().unwrap(), 64),
                ("10.9.9.9".parse().unwrap(), 32),
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
        // As nft 1.0.6 of Debian 12 prints it.
        let listed = r#"{"nftables": [
            {"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
            {"table": {"family": "inet", "name": "caisson", "handle": 1}},
            {"set": {"family": "inet", "name": "bridges", "table": "caisson", "elem": ["caisson0"]}},
            {"set": {"family": "inet", "name": "internal", "table": "caisson", "type": "ifname"}},
            {"set": {"name": "same", "elem": [{"concat": ["caisson0", "caisson0"]}]}},
            {"set": {"name": "subnets4", "flags": ["interval"], "elem": [
                {"concat": ["caisson0", {"prefix": {"addr": "172.30.0.0", "len": 16}}]},
                {"concat": ["caisson0", "10.9.9.9"]}]}},
            {"set": {"name": "subnets6", "elem": [
                {"concat": ["caisson0", {"prefix": {"addr": "fd00:0:0:1::", "len": 64}}]}]}},
            {"set": {"name": "masquerade4", "elem": [{"prefix": {"addr": "172.30.0.0", "len": 16}}, "10.9.9.9"]}},
            {"set": {"name": "masquerade6", "elem": [{"prefix": {"addr": "fd00:0:0:1::", "len": 64}}]}},
            {"set": {"name": "published4", "elem": [{"concat": ["172.30.0.2", "udp", 5353]}]}},
            {"map": {"name": "any4", "map": "ipv4_addr . inet_service", "elem": [
                [{"concat": ["udp", 53]}, {"concat": ["172.30.0.2", 5353]}]]}},
            {"chain": {"family": "inet", "table": "caisson", "name": "guard", "handle": 14}}]}"#;
        let wanted: BTreeSet<Held> = elements(&[bridge], &[forward]).unwrap().iter().map(Held::of).collect();
        assert_eq!(parse(listed.as_bytes()).unwrap(), wanted);
        let told: Vec<String> = wanted.iter().map(Held::to_string).collect();
        assert_eq!(told[0], "any4 { udp . 53 : 172.30.0.2 . 5353 }");
    }

    #[test]
    fn what_is_never_written_is_nobodys_and_no_list_is_an_error() {
        let listed = r#"{"nftables": [{"set": {"name": "masquerade4", "elem": [{"range": ["10.0.0.1", "10.0.0.9"]}]}}]}"#;
        let found = parse(listed.as_bytes()).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found.iter().all(|held| held.element.contains("range")), "{found:?}");
        for wrong in ["", "[]", "{}", "x"] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
