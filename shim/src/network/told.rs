//! A network as `network inspect` and `network ls` tell it. Pure.

use jiff::Timestamp;

use crate::digest::Digest;
use crate::host;
use crate::network::lease::{Lease, Part};
use crate::network::{NAMES_ONLY, Network};
use crate::output::document;
use crate::output::value::Value;

/// Digits of a short id.
const ID: usize = 12;
/// Fewer digits could be a name that somebody has in mind.
const ID_MIN: usize = 4;
/// When networks were made that nobody has made, as Go writes no time.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The networks that are names alone, as docker lists them. Their ids are the same everywhere.
#[must_use]
pub fn names_only() -> [Network; 2] {
    NAMES_ONLY.map(|name| Network {
        name: name.to_owned(),
        id: Digest::of(format!("caisson network {name}").as_bytes()).hex().to_owned(),
        created: NEVER.to_owned(),
        scope: "local".to_owned(),
        driver: if name == "none" { "null" } else { name }.to_owned(),
        ..Network::default()
    })
}

/// One of them by its name, its id, or the beginning of that.
#[must_use]
pub fn name_only(word: &str) -> Option<Network> {
    let all = names_only();
    let by_name = all.iter().find(|network| network.name == word);
    let by_id = || all.iter().find(|network| word.len() >= ID_MIN && network.id.starts_with(word));
    by_name.or_else(by_id).cloned()
}

/// What is told as the endpoint of a container that runs in one of them: 64 digits that are its own.
#[must_use]
pub fn endpoint_id(container: &str, mode: &str) -> String {
    Digest::of(format!("caisson endpoint {container} {mode}").as_bytes()).hex().to_owned()
}

/// The object of `inspect`, with who is in it.
#[must_use]
pub fn inspect(network: &Network, leases: &[Lease]) -> Value {
    let mut containers: Vec<&Lease> = leases.iter().collect();
    containers.sort_by(|one, other| one.container.cmp(&other.container));
    let parts = Part::all(network).unwrap_or_default();
    let containers = containers.into_iter().map(|lease| (lease.container.clone(), container(lease, &parts)));
    let texts = |map: &std::collections::BTreeMap<String, String>| {
        Value::Dictionary(map.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect())
    };
    Value::Object(
        "network",
        vec![
            ("Name", network.name.as_str().into()),
            ("Id", network.id.as_str().into()),
            ("Created", network.created.as_str().into()),
            ("Scope", network.scope.as_str().into()),
            ("Driver", network.driver.as_str().into()),
            ("EnableIPv4", network.enable_ipv4.into()),
            ("EnableIPv6", network.enable_ipv6.into()),
            ("IPAM", document::value(&network.ipam)),
            ("Internal", network.internal.into()),
            ("Attachable", network.attachable.into()),
            ("Ingress", false.into()),
            ("ConfigFrom", Value::Object("ConfigReference", vec![("Network", "".into())])),
            ("ConfigOnly", false.into()),
            ("Containers", Value::Dictionary(containers.collect())),
            ("Options", texts(&network.options)),
            ("Labels", texts(&network.labels)),
        ],
    )
}

fn container(lease: &Lease, parts: &[Part]) -> Value {
    let with_length = |address: Option<std::net::IpAddr>| {
        let part = address.and_then(|address| parts.iter().find(|part| part.subnet.contains(address)));
        match (address, part) {
            (Some(address), Some(part)) => format!("{address}/{}", part.subnet.length()),
            _ => String::new(),
        }
    };
    Value::Object(
        "EndpointResource",
        vec![
            ("Name", lease.name.as_str().into()),
            ("EndpointID", lease.endpoint.as_str().into()),
            ("MacAddress", lease.mac.as_str().into()),
            ("IPv4Address", with_length(lease.ip.map(Into::into)).into()),
            ("IPv6Address", with_length(lease.ip6.map(Into::into)).into()),
        ],
    )
}

/// A row of `ls`.
#[must_use]
pub fn row(network: &Network, is_short: bool) -> Value {
    let id = if is_short { network.id.chars().take(ID).collect() } else { network.id.clone() };
    let labels = network.labels.iter().map(|(name, value)| format!("{name}={value}"));
    let word = |is: bool| if is { "true" } else { "false" };
    let created: Option<Timestamp> = network.created.parse().ok();
    let created = created
        .map(|moment| moment.to_zoned(host::time_zone()).strftime("%Y-%m-%d %H:%M:%S%.f %z %Z").to_string());
    Value::Object(
        "network",
        vec![
            ("CreatedAt", created.unwrap_or_default().into()),
            ("Driver", network.driver.as_str().into()),
            ("ID", id.into()),
            ("IPv4", word(network.enable_ipv4).into()),
            ("IPv6", word(network.enable_ipv6).into()),
            ("Internal", word(network.internal).into()),
            ("Labels", labels.collect::<Vec<_>>().join(",").into()),
            ("Name", network.name.as_str().into()),
            ("Scope", network.scope.as_str().into()),
        ],
    )
}
