//! The files that tell a container's programs of its networks: its own addresses in /etc/hosts, and who answers for names in
//! /etc/resolv.conf.
//!
//! They are bound over files of its root, so they are written in place: a file that took the name would not be seen inside.
//! They lie in our own folder, and nothing of the container decides which they are.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::container::ContainerId;
use crate::container::create::{host_file, name_servers};
use crate::container::hosts::{self, Extra, Resolver};
use crate::container::record::Container;
use crate::container::store::Containers;
use crate::error::{Context, Error, Kind, Result};
use crate::network::{EndpointState, link, names};
use crate::rootless::host_network;

/// Writes them for a container that is in these networks.
///
/// # Errors
/// The system's reason.
pub fn write(
    containers: &Containers,
    container: &Container,
    networks: &BTreeMap<String, EndpointState>,
) -> Result<()> {
    let folder = containers.folder(&ContainerId::parse(&container.id)?);
    replace(&folder.join("hosts"), &hosts_file(container, networks, &link::hosts(containers, container)?)?)?;
    replace(&folder.join("resolv.conf"), &resolv_conf(container, networks)?)
}

/// In place: whoever has it mounted sees what is in it.
fn replace(path: &Path, text: &str) -> Result<()> {
    let open = OpenOptions::new().write(true).truncate(true).custom_flags(libc_flags()).open(path);
    match open {
        // Removed by somebody else.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(Kind::NotFound, format!("{path:?} is gone")))
        }
        open => {
            let words = || format!("write {path:?}");
            open.during(words)?.write_all(text.as_bytes()).during(words)
        }
    }
}

fn libc_flags() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()
}

/// What /etc/resolv.conf says: where names are, the resolver of ours, otherwise the host's name servers or the user's.
fn resolv_conf(container: &Container, networks: &BTreeMap<String, EndpointState>) -> Result<String> {
    let config = &container.host_config;
    let mut resolver = Resolver {
        servers: config.dns.clone(),
        search: config.dns_search.clone(),
        options: config.dns_options.clone(),
    };
    let host = host_file("/etc/resolv.conf")?;
    if !names::are_in(networks.keys()) {
        return Ok(resolver.file(&name_servers(host)?, false));
    }
    resolver.servers = vec![names::SERVER.to_string()];
    if resolver.options.is_empty() {
        let options = host.lines().filter_map(|line| line.trim().strip_prefix("options "));
        resolver.options = options.flat_map(str::split_whitespace).map(str::to_owned).collect();
    }
    if !resolver.options.iter().any(|option| option.starts_with("ndots:")) {
        // A container's name has no dot, and is asked for as it stands.
        resolver.options.push("ndots:0".to_owned());
    }
    Ok(resolver.file(&host, false))
}

/// What /etc/hosts says: what it always does, what the user has added, whom it is linked to, and the container's own addresses.
fn hosts_file(
    container: &Container,
    networks: &BTreeMap<String, EndpointState>,
    linked: &[Extra],
) -> Result<String> {
    let extra = container.host_config.extra_hosts.iter().flatten();
    let mut extra = extra.map(|text| hosts::extra(text)).collect::<Result<Vec<_>>>()?;
    extra.extend_from_slice(linked);
    let gateways = networks.values().flat_map(|state| [&state.gateway, &state.ipv6_gateway]);
    let gateway = gateways.filter_map(|gateway| gateway.parse().ok()).next();
    // An ordinary user's gateway is no address of the host's; the host's own leads there by the way out.
    let gateway = if host_network::is_own() { host_network::address_of_host().or(gateway) } else { gateway };
    let mut text = hosts::hosts(None, &extra, gateway);
    let (host, domain) = (&container.config.hostname, &container.config.domainname);
    let names = if domain.is_empty() { host.clone() } else { format!("{host}.{domain} {host}") };
    for state in networks.values() {
        for address in [&state.ip_address, &state.global_ipv6_address] {
            if !address.is_empty() {
                text.push_str(&format!("{address}\t{names}\n"));
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::listing::tests::container;

    #[test]
    fn its_own_addresses_are_behind_what_the_user_has_added() {
        let mut container = container("web");
        container.config.hostname = "web".to_owned();
        container.host_config.extra_hosts =
            Some(vec!["db:10.0.0.9".to_owned(), "up:host-gateway".to_owned()]);
        let mut networks = BTreeMap::new();
        let state = EndpointState {
            ip_address: "172.30.0.2".to_owned(),
            gateway: "172.30.0.1".to_owned(),
            global_ipv6_address: "fd00::2".to_owned(),
            ..EndpointState::default()
        };
        networks.insert("one".to_owned(), state);
        let text = hosts_file(&container, &networks, &[]).unwrap();
        assert!(text.ends_with("10.0.0.9\tdb\n172.30.0.1\tup\n172.30.0.2\tweb\nfd00::2\tweb\n"), "{text}");
        container.config.domainname = "example.org".to_owned();
        let text = hosts_file(&container, &networks, &[]).unwrap();
        assert!(text.ends_with("\nfd00::2\tweb.example.org web\n"), "{text}");
    }
}
