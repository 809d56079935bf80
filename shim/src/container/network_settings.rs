//! `NetworkSettings` of `inspect`: what a container has in its networks, as Docker tells it. Pure.
//!
//! While it does not run, what was asked for is told, without addresses.

use crate::container::host_config::PortBinding;
use crate::container::record::Container;
use crate::container::state::State;
use crate::network::{DEFAULT, EndpointConfig, EndpointState, is_of_networks, told};
use crate::output::value::Value;

/// The object.
#[must_use]
pub fn told(container: &Container, state: &State) -> Value {
    let has_own = is_of_networks(&container.host_config) && !state.networks.is_empty();
    let (id, key) = if has_own {
        (
            container.id.clone(),
            state.process.map_or_else(String::new, |process| format!("/proc/{}/ns/net", process.pid)),
        )
    } else {
        (String::new(), String::new())
    };
    // Docker repeats here what the container has in its default network.
    let nothing = EndpointState::default();
    let first = state.networks.get(DEFAULT).unwrap_or(&nothing);
    let mut members = vec![
        ("Bridge", "".into()),
        ("SandboxID", id.into()),
        ("SandboxKey", key.into()),
        ("Ports", ports(state)),
        ("HairpinMode", false.into()),
        ("LinkLocalIPv6Address", "".into()),
        ("LinkLocalIPv6PrefixLen", 0.into()),
        ("SecondaryIPAddresses", Value::NoList),
        ("SecondaryIPv6Addresses", Value::NoList),
        ("EndpointID", first.endpoint_id.as_str().into()),
        ("Gateway", first.gateway.as_str().into()),
        ("GlobalIPv6Address", first.global_ipv6_address.as_str().into()),
        ("GlobalIPv6PrefixLen", i64::from(first.global_ipv6_prefix_len).into()),
        ("IPAddress", first.ip_address.as_str().into()),
        ("IPPrefixLen", i64::from(first.ip_prefix_len).into()),
        ("IPv6Gateway", first.ipv6_gateway.as_str().into()),
        ("MacAddress", first.mac_address.as_str().into()),
    ];
    let none = EndpointConfig::default();
    let network = |name: &str| {
        let config = container.endpoints.get(name).unwrap_or(&none);
        let of_name = of_name_only(container, state, name);
        let state = state.networks.get(name).or(of_name.as_ref()).unwrap_or(&nothing);
        (name.to_owned(), endpoint(config, state))
    };
    let networks = super::listing::networks(container).into_iter().map(network).collect();
    members.push(("Networks", Value::Dictionary(networks)));
    Value::Object("NetworkSettings", members)
}

/// What a container that runs has of `host` or `none`: an id of the network, and one of its own.
fn of_name_only(container: &Container, state: &State, name: &str) -> Option<EndpointState> {
    let network = told::names_only().into_iter().find(|network| network.name == name)?;
    state.status.has_process().then(|| EndpointState {
        network_id: network.id,
        endpoint_id: told::endpoint_id(&container.id, name),
        ..EndpointState::default()
    })
}

fn ports(state: &State) -> Value {
    let binding = |binding: &PortBinding| {
        let (ip, port) = (binding.host_ip.as_str().into(), binding.host_port.as_str().into());
        Value::Object("PortBinding", vec![("HostIp", ip), ("HostPort", port)])
    };
    let of = |bindings: &Option<Vec<PortBinding>>| match bindings {
        Some(bindings) => Value::List(bindings.iter().map(binding).collect()),
        None => Value::NoList,
    };
    Value::Dictionary(state.ports.iter().map(|(port, bindings)| (port.clone(), of(bindings))).collect())
}

fn endpoint(config: &EndpointConfig, state: &EndpointState) -> Value {
    let mut asked = Vec::new();
    asked.extend(config.ip.map(|ip| ("IPv4Address", ip.to_string().into())));
    asked.extend(config.ip6.map(|ip| ("IPv6Address", ip.to_string().into())));
    let list = |list: &[String]| if list.is_empty() { Value::NoList } else { list.to_vec().into() };
    let opts = |(name, value): (&String, &String)| (name.clone(), value.as_str().into());
    let network = if state.network_id.is_empty() { &config.network_id } else { &state.network_id };
    let mac = if state.mac_address.is_empty() { &config.mac_address } else { &state.mac_address };
    let members = vec![
        (
            "IPAMConfig",
            if asked.is_empty() { Value::Null } else { Value::Object("EndpointIPAMConfig", asked) },
        ),
        ("Links", list(&config.links)),
        ("Aliases", list(&config.aliases)),
        ("MacAddress", mac.as_str().into()),
        (
            "DriverOpts",
            if config.driver_opts.is_empty() {
                Value::NoDictionary
            } else {
                Value::Dictionary(config.driver_opts.iter().map(opts).collect())
            },
        ),
        ("GwPriority", config.gw_priority.into()),
        ("NetworkID", network.as_str().into()),
        ("EndpointID", state.endpoint_id.as_str().into()),
        ("Gateway", state.gateway.as_str().into()),
        ("IPAddress", state.ip_address.as_str().into()),
        ("IPPrefixLen", i64::from(state.ip_prefix_len).into()),
        ("IPv6Gateway", state.ipv6_gateway.as_str().into()),
        ("GlobalIPv6Address", state.global_ipv6_address.as_str().into()),
        ("GlobalIPv6PrefixLen", i64::from(state.global_ipv6_prefix_len).into()),
        ("DNSNames", list(&state.dns_names)),
    ];
    Value::Object("EndpointSettings", members)
}
