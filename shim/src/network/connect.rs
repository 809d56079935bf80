//! `network connect` and `network disconnect`: of a container that runs, in its network namespace, and of one that does not,
//! for its next start.
//!
//! Its lock of operations is held, so that nobody starts or removes it meanwhile, and that of its starts, so that its policy
//! does not either: between two runs it is in the network from the next one on, and never half. The record is changed last
//! when it is put in, and first when it is taken out: what a crash leaves of the one the next disconnect or the end of the run
//! takes away, of the other too.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use crate::container::record::Container;
use crate::container::state::Status;
use crate::container::store::{Containers, Found};
use crate::container::{self, ContainerId};
use crate::error::{Context, Error, Result};
use crate::monitor;
use crate::network::store::Networks;
use crate::network::{
    DEFAULT, EndpointConfig, EndpointState, Network, check, endpoint, files, is_of_networks, names,
};
use crate::port::publish;
use crate::rootless::way_out;
use crate::store::record::Lock;
use crate::stream::client;
use crate::stream::protocol::Frame;

/// Docker's words: who is in the host's network is there for its whole life.
pub const OF_HOST: &str = "container cannot be disconnected from host network or connected to host network";

/// Why the container that a word means cannot leave `host` or `none`.
///
/// # Errors
/// There is no such container; the system's reason.
pub fn not_left(containers: &Containers, mode: &str, word: &str) -> Result<Error> {
    let id = containers.find(word)?;
    let container = containers.get(&id)?.ok_or_else(|| container::missing(word))?;
    Ok(Error::conflict(match container.host_config.network_mode.as_str() {
        "host" if mode == "host" => OF_HOST.to_owned(),
        own if own == mode => format!("container {id} cannot leave {mode}: that is for its whole life"),
        _ => not_in(&container, mode),
    }))
}

fn not_in(container: &Container, network: &str) -> String {
    format!("container {} is not connected to network {network}", container.id)
}

/// Puts the container that a word means into a network.
///
/// # Errors
/// Neither is there, the container is in it, or its mode is no network, in Docker's words; the system's reason.
pub fn connect(containers: &Containers, network: &str, word: &str, mut config: EndpointConfig) -> Result<()> {
    let network = Networks::of(containers).find(network)?;
    check(&network, &config)?;
    if network.name == DEFAULT && !config.links.is_empty() {
        return Err(Error::usage("links are only supported for user-defined networks"));
    }
    config.network_id.clone_from(&network.id);
    let Locked { id, found, .. } = &lock(containers, word)?;
    let container = &found.container;
    refuse(container, "connect to")?;
    if container.endpoints.contains_key(&network.name) {
        let words =
            format!("endpoint with name {} already exists in network {}", container.name, network.name);
        return Err(Error::conflict(words));
    }
    let mut changed = container.clone();
    changed.endpoints.insert(network.name.clone(), config.clone());
    if let Some(netns) = namespace_of(found)? {
        match put_in(containers, found, &changed, &network, netns.as_fd()) {
            Ok(true) => {}
            Err(error) if is_same_run(containers, id, found)? => {
                return Err(match take_back(containers, found, &network, netns.as_fd()) {
                    Ok(()) => error,
                    Err(also) => error.and(&also),
                });
            }
            // It has ended meanwhile: it is in the network from its next start on, and nothing is left of this.
            Ok(false) | Err(_) => {
                endpoint::leave(&Networks::of(containers), container, &network.id)?;
                publish::unpublish(containers, id)?;
                way_out::release(containers)?;
            }
        }
    }
    containers.update(id, |container| {
        container.endpoints.insert(network.name.clone(), config.clone());
    })
}

/// Puts a container that runs into one more network; false if its run has ended meanwhile.
fn put_in(
    containers: &Containers,
    found: &Found,
    changed: &Container,
    network: &Network,
    netns: BorrowedFd,
) -> Result<bool> {
    let id = ContainerId::parse(&changed.id)?;
    let missing = || Error::not_found(format!("network {} not found", network.name));
    let config = changed.endpoints.get(&network.name).ok_or_else(missing)?;
    let mut networks = found.state.networks.clone();
    let joined = endpoint::join(containers, changed, (&network.name, config), netns, &free_interface(found))?;
    networks.insert(network.name.clone(), joined);
    endpoint::set_routes(netns, changed, &networks)?;
    way_out::up(containers)?;
    if names::are_in(networks.keys()) && found.state.names != [0; 2] {
        names::lead(netns, found.state.names)?;
    }
    files::write(containers, changed, &networks)?;
    publish::follow(containers, changed, &networks)?;
    watch_ports(containers, &id);
    record(containers, &id, found, &networks)
}

/// Has a container that runs be as it was before it was put into a network.
fn take_back(containers: &Containers, found: &Found, network: &Network, netns: BorrowedFd) -> Result<()> {
    let (container, before) = (&found.container, &found.state.networks);
    let undone = [
        publish::follow(containers, container, before),
        endpoint::leave(&Networks::of(containers), container, &network.id),
        endpoint::set_routes(netns, container, before),
        files::write(containers, container, before),
        way_out::release(containers),
    ];
    undone.into_iter().filter_map(Result::err).reduce(|error, also| error.and(&also)).map_or(Ok(()), Err)
}

/// Takes the container that a word means out of a network; with `by_force` also one whose record knows nothing of it.
///
/// # Errors
/// Neither is there, or the container is not in it, in Docker's words; the system's reason.
pub fn disconnect(containers: &Containers, network: &str, word: &str, by_force: bool) -> Result<()> {
    let networks = Networks::of(containers);
    let network = networks.find(network)?;
    let Locked { id, found, .. } = &lock(containers, word)?;
    let container = &found.container;
    refuse(container, "disconnect from")?;
    if !container.endpoints.contains_key(&network.name) {
        // By force, what a killed command has left is taken away too.
        let leases = networks.leases(containers, &network.id)?;
        let is_in = leases.iter().any(|lease| lease.container == container.id)
            || found.state.networks.values().any(|state| state.network_id == network.id);
        if !by_force || !is_in {
            return Err(Error::conflict(not_in(container, &network.name)));
        }
    }
    containers.update(id, |container| {
        container.endpoints.remove(&network.name);
    })?;
    let mut changed = container.clone();
    changed.endpoints.remove(&network.name);
    let Some(netns) = namespace_of(found)? else {
        endpoint::leave(&networks, container, &network.id)?;
        return way_out::release(containers);
    };
    let mut left = found.state.networks.clone();
    left.remove(&network.name);
    publish::follow(containers, &changed, &left)?;
    watch_ports(containers, id);
    endpoint::leave(&networks, container, &network.id)?;
    endpoint::set_routes(netns.as_fd(), &changed, &left)?;
    files::write(containers, &changed, &left)?;
    if !record(containers, id, found, &left)? {
        // The run has ended meanwhile, and nobody takes back what was published after that.
        publish::unpublish(containers, id)?;
    }
    way_out::release(containers)
}

/// Notes what the container has now; false where the run that it was for has ended. One that ends later takes all of it
/// away.
fn record(
    containers: &Containers,
    id: &ContainerId,
    found: &Found,
    networks: &BTreeMap<String, EndpointState>,
) -> Result<bool> {
    containers.update_state(id, false, |state| {
        let is_same = state.process == found.state.process;
        if is_same {
            state.networks.clone_from(networks);
        }
        is_same
    })
}

fn is_same_run(containers: &Containers, id: &ContainerId, found: &Found) -> Result<bool> {
    Ok(containers.state(id)?.process == found.state.process)
}

/// Tells the monitor that other ports are published by now than at the start: it looks after their proxy. Without a monitor
/// there is none to tell, and the next one looks for itself.
fn watch_ports(containers: &Containers, id: &ContainerId) {
    if let Ok(mut monitor) = client::connect(&containers.state_folder(id)) {
        let _ = monitor.write_all(&Frame::Ports.encode());
    }
}

/// A container that nobody else starts, removes, or puts into networks.
struct Locked {
    id: ContainerId,
    found: Found,
    _operation: Lock,
    /// Its policy does not start it either.
    _start: Option<File>,
}

fn lock(containers: &Containers, word: &str) -> Result<Locked> {
    let id = containers.find(word)?;
    let operation = containers.operation(&id)?;
    // First a monitor, where that was killed: it could not take over while this process has the lock of starts.
    containers.observe(&id)?;
    let start = monitor::hold_start(containers, &id)?;
    // As it is now that nobody changes it.
    let container = containers.get(&id)?.ok_or_else(|| container::missing(word))?;
    let state = containers.state(&id)?;
    if matches!(state.status, Status::Removing | Status::Dead) {
        let status = state.status.as_str();
        return Err(Error::conflict(format!("container {id} is {status}, and is in no network any more")));
    }
    let found = Found { container, state, is_orphan: false };
    Ok(Locked { id, found, _operation: operation, _start: start })
}

/// Docker's reasons why a container is in no network of its own.
fn refuse(container: &Container, what: &str) -> Result<()> {
    if is_of_networks(&container.host_config) {
        return Ok(());
    }
    let words = match container.host_config.network_mode.as_str() {
        "host" => format!("cannot {what} a network: container is in the host's network (host network mode)"),
        "none" | "" => {
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
                .to_owned()
        }
        mode => format!("container sharing network namespace with another container or host cannot be connected to any other network ({mode})"),
    };
    Err(Error::conflict(words))
}

/// The network namespace of a container that runs. It is opened first, and only then is its process verified.
fn namespace_of(found: &Found) -> Result<Option<OwnedFd>> {
    let Some(process) = found.state.process.filter(|_| found.state.status.has_process()) else {
        return Ok(None);
    };
    let path = format!("/proc/{}/ns/net", process.pid);
    let open = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        open => open.during(|| format!("open {path:?}"))?,
    };
    Ok(process.is_alive().then(|| open.into()))
}

/// A name for one more device inside: the lowest number that no device of ours has.
fn free_interface(found: &Found) -> String {
    let mut number = 0;
    loop {
        let name = format!("{}{number}", endpoint::INTERFACE);
        if found.state.networks.values().all(|state| state.interface != name) {
            return name;
        }
        number += 1;
    }
}
