//! A container goes into its networks before its runtime is called, and out of them at each end of a run.
//!
//! Both are done by the container's monitor; whoever removes or adopts a container whose monitor was killed does the second
//! too, so that taking out what is not in is nothing. In this order: the lease first, as it says what else there is; then
//! the devices, whose names follow from the container's and the network's ids. A crash in between leaves a lease that the
//! next one to allocate drops, with its device.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::container::ContainerId;
use crate::container::record::Container;
use crate::container::store::Containers;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::event;
use crate::network::bridge::{self, For};
use crate::network::lease::{Lease, Leases, Part};
use crate::network::link;
use crate::network::names::{self, Sockets};
use crate::network::namespace;
use crate::network::netlink::{self, Netlink, Pair};
use crate::network::store::{self, Networks, OPTION_ICC};
use crate::network::{DEFAULT, EndpointConfig, EndpointState, Network, files, is_of_networks};
use crate::port::publish;
use crate::rootless::{host_network, way_out};

/// What devices inside are called, with a number behind it.
pub const INTERFACE: &str = "eth";

/// A container that is in its networks.
#[derive(Debug)]
pub struct Attached {
    /// Its network namespace, in which no program runs yet.
    pub netns: OwnedFd,
    /// What it has in its networks, by their names.
    pub networks: BTreeMap<String, EndpointState>,
    /// Where questions for names come.
    pub names: Sockets,
}

/// Makes a network namespace for a container and puts it into its networks; None where it has none of its own making.
/// What it has is recorded in its state.
///
/// # Errors
/// A network that is not there, an address that is taken or not to be had, in Docker's words; the system's reason. Nothing
/// is left then.
pub fn attach(containers: &Containers, container: &Container) -> Result<Option<Attached>> {
    if !is_of_networks(&container.host_config) {
        return Ok(None);
    }
    // What is left of a run whose monitor was killed would be in the way.
    detach(containers, container)?;
    let attached = (|| {
        let netns = namespace::create()?;
        namespace::inside(netns.as_fd(), || {
            let mut netlink = Netlink::open()?;
            let lo = netlink.link("lo")?.ok_or_else(|| Error::new(Kind::System, "no device lo"))?;
            netlink.set_up(lo.index, "")
        })?;
        let mut networks = BTreeMap::new();
        for (number, (name, config)) in in_order(container).into_iter().enumerate() {
            let interface = format!("{INTERFACE}{number}");
            let state = join(containers, container, (name, config), netns.as_fd(), &interface)?;
            networks.insert(name.clone(), state);
        }
        set_routes(netns.as_fd(), container, &networks)?;
        // After the leases, which say that it is needed.
        way_out::up(containers)?;
        let names = Sockets::open(netns.as_fd(), [0; 2])?;
        let ports = names.ports()?;
        if names::are_in(networks.keys()) {
            names::lead(netns.as_fd(), ports)?;
        }
        files::write(containers, container, &networks)?;
        containers.update_state(&ContainerId::parse(&container.id)?, false, |state| {
            state.networks.clone_from(&networks);
            state.names = ports;
        })?;
        if let Some(state) = networks.get(DEFAULT) {
            link::tell_others(containers, container, &state.network_id);
        }
        Ok(Attached { netns, networks, names })
    })();
    attached.map(Some).map_err(|error: Error| match detach(containers, container) {
        Ok(()) => error,
        Err(also) => error.and(&also),
    })
}

/// Takes a container out of all its networks, and what was recorded of them out of its state. What is not there is
/// nothing.
///
/// # Errors
/// The system's reason.
pub fn detach(containers: &Containers, container: &Container) -> Result<()> {
    if !is_of_networks(&container.host_config) {
        return Ok(());
    }
    let id = ContainerId::parse(&container.id)?;
    let networks = Networks::of(containers);
    // Before the address is another's.
    let mut failed = publish::unpublish(containers, &id).err();
    for network in networks.state_ids()? {
        if let Err(error) = leave(&networks, container, &network) {
            failed = Some(match failed {
                Some(first) => first.and(&error),
                None => error,
            });
        }
    }
    if let Err(error) = way_out::release(containers) {
        failed = Some(match failed {
            Some(first) => first.and(&error),
            None => error,
        });
    }
    let forgotten = containers.update_state(&id, false, |state| {
        state.networks.clear();
        state.names = [0; 2];
        state.ports.clear();
    });
    match forgotten {
        // Removed by somebody else.
        Err(error) if error.kind() == Kind::NotFound => {}
        forgotten => forgotten?,
    }
    failed.map_or(Ok(()), Err)
}

/// Its networks in the order of its devices: first the one that its mode names, then by name.
fn in_order(container: &Container) -> Vec<(&String, &EndpointConfig)> {
    let mut all: Vec<_> = container.endpoints.iter().collect();
    all.sort_by_key(|(name, _)| **name != container.host_config.network_mode);
    all
}

/// Puts a container into one network, with a device of this name in its network namespace. Routes and files are the
/// caller's.
///
/// # Errors
/// As of [`attach`]; what was done by then, [`leave`] undoes.
pub fn join(
    containers: &Containers,
    container: &Container,
    (name, config): (&str, &EndpointConfig),
    netns: BorrowedFd,
    interface: &str,
) -> Result<EndpointState> {
    let networks = Networks::of(containers);
    let missing = || Error::not_found(format!("network {name} not found"));
    let network = match networks.get(&config.network_id)? {
        Some(network) => network,
        // Removed since, and made again: as with Docker, it is the name that counts.
        None => networks.named(name)?.ok_or_else(missing)?,
    };
    let mut leases = Leases::open(&networks.state_folder(&network.id))?;
    if networks.get(&network.id)?.is_none() {
        // Removed while the lock was waited for; with it goes what the lock has made.
        networks.forget_state(&network.id)?;
        return Err(missing());
    }
    let mut netlink = host_network::inside(containers.state_root(), Netlink::open)?;
    // What a crash has left: its device would have an address that somebody else gets now.
    leases.retain(|lease| {
        let is_kept = lease.container != container.id && store::is_up(containers, lease)?;
        if !is_kept {
            netlink.delete(&lease.veth)?;
        }
        Ok(is_kept)
    })?;
    let veth = device(&container.id, &network.id);
    let asked = Lease {
        container: container.id.clone(),
        name: container.name.clone(),
        endpoint: ContainerId::random()?.to_string(),
        mac: config.mac_address.clone(),
        veth: veth.clone(),
        names: names_in(container, &network, config),
        linked: config.linked.iter().map(|link| link.id.clone()).collect(),
        ..Lease::default()
    };
    let lease = leases.take(&network, config, asked)?;
    let bridge = host_network::inside(containers.state_root(), || bridge::up(&networks, &network))?;
    netlink.delete(&veth)?;
    netlink.add_pair(&Pair {
        name: &veth,
        master: bridge.index,
        peer: interface,
        mac: netlink::mac(&lease.mac)?,
        netns,
        mtu: bridge::mtu(&network)?,
    })?;
    let gone = || Error::new(Kind::System, format!("device {veth} is gone"));
    let link = netlink.link(&veth)?.ok_or_else(gone)?;
    netlink.set_port(link.index, !bridge::switch(&network, OPTION_ICC, true)?)?;
    let parts = Part::all(&network)?;
    namespace::inside(netns, || set_device(interface, &lease, &parts))?;
    netlink.set_up(link.index, &bridge::mark(containers.root(), For::Container(&container.id)))?;
    tell(containers.state_root(), "connect", &network, container);
    Ok(EndpointState { links: config.links.clone(), ..told(&network, lease, &parts, interface) })
}

/// The end at the bridge of a container's device in a network.
#[must_use]
pub fn device(container: &str, network: &str) -> String {
    format!("veth{:.11}", Digest::of(format!("{container} {network}").as_bytes()).hex())
}

/// What others in the network find it by: nothing on the default network, as with Docker.
fn names_in(container: &Container, network: &Network, config: &EndpointConfig) -> Vec<String> {
    if network.name == DEFAULT {
        return Vec::new();
    }
    let short: String = container.id.chars().take(12).collect();
    let mut names = vec![container.name.clone()];
    for name in config.aliases.iter().chain([&short, &container.config.hostname]) {
        if !name.is_empty() && !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// Addresses of the device inside; up it goes last, with all that it has.
fn set_device(interface: &str, lease: &Lease, parts: &[Part]) -> Result<()> {
    let mut netlink = Netlink::open()?;
    let gone = || Error::new(Kind::System, format!("device {interface} is gone"));
    let link = netlink.link(interface)?.ok_or_else(gone)?;
    // Without a subnet of its own it would have link-local addresses that nobody asked for.
    let disabled = if lease.ip6.is_some() { "0" } else { "1" };
    bridge::set(&format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), disabled)?;
    for part in parts {
        let of = |address: &IpAddr| address.is_ipv4() == part.subnet.is_ipv4();
        let leased = [lease.ip.map(IpAddr::from), lease.ip6.map(IpAddr::from)].into_iter().flatten().find(of);
        if let Some(address) = leased {
            netlink.add_address(link.index, address, part.subnet.length())?;
        }
    }
    netlink.set_up(link.index, "")
}

/// A lease as `inspect` tells it. A network that nobody gets out of has no gateway.
fn told(network: &Network, lease: Lease, parts: &[Part], interface: &str) -> EndpointState {
    let part = |v4: bool| parts.iter().find(|part| part.subnet.is_ipv4() == v4);
    let gateway = |v4: bool| {
        let gateway = part(v4).filter(|_| !network.internal).and_then(|part| part.gateway);
        gateway.map(|address| address.to_string()).unwrap_or_default()
    };
    let length = |v4: bool| part(v4).map_or(0, |part| part.subnet.length());
    EndpointState {
        network_id: network.id.clone(),
        endpoint_id: lease.endpoint,
        gateway: gateway(true),
        ip_address: lease.ip.map(|address| address.to_string()).unwrap_or_default(),
        ip_prefix_len: length(true),
        ipv6_gateway: gateway(false),
        global_ipv6_address: lease.ip6.map(|address| address.to_string()).unwrap_or_default(),
        global_ipv6_prefix_len: length(false),
        mac_address: lease.mac,
        dns_names: lease.names,
        links: Vec::new(),
        interface: interface.to_owned(),
        veth: lease.veth,
    }
}

/// Has the gateway of one network be the way to everywhere, of each family: that of the highest priority, and of these the
/// first by name (docs.docker.com, "Networking overview", "Connecting to multiple networks").
///
/// # Errors
/// The system's reason.
pub fn set_routes(
    netns: BorrowedFd,
    container: &Container,
    networks: &BTreeMap<String, EndpointState>,
) -> Result<()> {
    let priority = |name: &String| container.endpoints.get(name).map_or(0, |config| config.gw_priority);
    namespace::inside(netns, || {
        let mut netlink = Netlink::open()?;
        for v4 in [true, false] {
            let mut ways: Vec<(i64, &str, IpAddr)> = Vec::new();
            for (name, state) in networks {
                let gateway = if v4 { &state.gateway } else { &state.ipv6_gateway };
                ways.extend(
                    gateway.parse().ok().map(|gateway| (priority(name), state.interface.as_str(), gateway)),
                );
            }
            // A stable order: those of the same priority stay in the order of their names.
            ways.sort_by_key(|(priority, ..)| std::cmp::Reverse(*priority));
            for (place, (_, interface, gateway)) in ways.iter().enumerate().rev() {
                let Some(link) = netlink.link(interface)? else { continue };
                netlink.delete_default_route(link.index, *gateway)?;
                if place == 0 {
                    netlink.add_default_route(link.index, *gateway)?;
                }
            }
        }
        Ok(())
    })
}

/// Has a container that was given another name be found by that one.
///
/// # Errors
/// The system's reason.
pub fn rename(containers: &Containers, container: &Container) -> Result<()> {
    let networks = Networks::of(containers);
    for network in networks.state_ids()? {
        let folder = networks.state_folder(&network);
        if Leases::read(&folder)?.iter().any(|lease| lease.container == container.id) {
            Leases::open(&folder)?.rename(&container.id, &container.name)?;
        }
    }
    Ok(())
}

/// Takes a container out of one network, if it is in it: device and lease.
///
/// # Errors
/// The system's reason.
pub fn leave(networks: &Networks, container: &Container, network: &str) -> Result<()> {
    let folder = networks.state_folder(network);
    if Leases::read(&folder)?.iter().all(|lease| lease.container != container.id) {
        return Ok(());
    }
    let mut leases = Leases::open(&folder)?;
    // Where the network is gone, so is the device.
    if let Some(mut netlink) = host_network::inside_if_there(networks.state_root(), Netlink::open)? {
        netlink.delete(&device(&container.id, network))?;
    }
    if leases.give_back(&container.id)?
        && let Some(network) = networks.get(network)?
    {
        tell(networks.state_root(), "disconnect", &network, container);
    }
    Ok(())
}

fn tell(state: &Path, action: &str, network: &Network, container: &Container) {
    let attributes = [("name", &*network.name), ("type", &network.driver), ("container", &container.id)];
    event::network(state, action, &network.id, &attributes);
}
