//! `network connect` and `network disconnect`: of a container that runs, in its network namespace, and of one that does not,
//! for its next start.
//!
//! Its lock of operations is held, so that nobody starts or removes it meanwhile; the record is changed last when it is put
//! in, and first when it is taken out: what a crash leaves of the one the next disconnect or the end of the run takes away,
//! of the other too.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};

use crate::container::record::Container;
use crate::container::state::Status;
use crate::container::store::{Containers, Found};
use crate::container::{self, ContainerId};
use crate::error::{Context, Error, Result};
use crate::network::store::Networks;
use crate::network::{EndpointConfig, EndpointState, check, endpoint, files, is_of_networks, names};
use crate::port::publish;

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
    config.network_id.clone_from(&network.id);
    let (id, _lock, found) = locked(containers, word)?;
    let container = &found.container;
    refuse(container, "connect to")?;
    if container.endpoints.contains_key(&network.name) {
        let words =
            format!("endpoint with name {} already exists in network {}", container.name, network.name);
        return Err(Error::conflict(words));
    }
    let mut changed = container.clone();
    changed.endpoints.insert(network.name.clone(), config.clone());
    if let Some(netns) = namespace_of(&found)? {
        let mut networks = found.state.networks.clone();
        let put_in = (|| {
            let interface = free_interface(&found);
            let joined =
                endpoint::join(containers, &changed, (&network.name, &config), netns.as_fd(), &interface)?;
            networks.insert(network.name.clone(), joined);
            endpoint::set_routes(netns.as_fd(), &changed, &networks)?;
            if names::are_in(networks.keys()) && found.state.names != [0; 2] {
                names::lead(netns.as_fd(), found.state.names)?;
            }
            files::write(containers, &changed, &networks)?;
            record(containers, &id, &found, &networks)?;
            publish::follow(containers, &changed, &networks)
        })();
        if let Err(error) = put_in {
            return Err(match endpoint::leave(&Networks::of(containers), container, &network.id) {
                Ok(()) => error,
                Err(also) => error.and(&also),
            });
        }
    }
    containers.update(&id, |container| {
        container.endpoints.insert(network.name.clone(), config.clone());
    })
}

/// Takes the container that a word means out of a network; with `by_force` also one whose record knows nothing of it.
///
/// # Errors
/// Neither is there, or the container is not in it, in Docker's words; the system's reason.
pub fn disconnect(containers: &Containers, network: &str, word: &str, by_force: bool) -> Result<()> {
    let networks = Networks::of(containers);
    let network = networks.find(network)?;
    let (id, _lock, found) = locked(containers, word)?;
    let container = &found.container;
    refuse(container, "disconnect from")?;
    if !container.endpoints.contains_key(&network.name) {
        // By force, what a killed command has left is taken away too.
        let leases = networks.leases(containers, &network.id)?;
        if !by_force || leases.iter().all(|lease| lease.container != container.id) {
            return Err(Error::conflict(not_in(container, &network.name)));
        }
    }
    containers.update(&id, |container| {
        container.endpoints.remove(&network.name);
    })?;
    let mut changed = container.clone();
    changed.endpoints.remove(&network.name);
    let netns = namespace_of(&found)?;
    if netns.is_some() {
        let mut left = found.state.networks.clone();
        left.remove(&network.name);
        publish::follow(containers, &changed, &left)?;
    }
    endpoint::leave(&networks, container, &network.id)?;
    if let Some(netns) = netns {
        let mut left = found.state.networks.clone();
        left.remove(&network.name);
        endpoint::set_routes(netns.as_fd(), &changed, &left)?;
        files::write(containers, &changed, &left)?;
        record(containers, &id, &found, &left)?;
    }
    Ok(())
}

/// Notes what the container has now; nothing where the run that it was for has ended, which is an error to nobody but who
/// puts it in.
fn record(
    containers: &Containers,
    id: &ContainerId,
    found: &Found,
    networks: &BTreeMap<String, EndpointState>,
) -> Result<()> {
    let is_same = containers.update_state(id, false, |state| {
        let is_same = state.process == found.state.process;
        if is_same {
            state.networks.clone_from(networks);
        }
        is_same
    })?;
    if is_same { Ok(()) } else { Err(Error::conflict(format!("container {id} has ended meanwhile"))) }
}

fn locked(containers: &Containers, word: &str) -> Result<(ContainerId, crate::store::record::Lock, Found)> {
    let id = containers.find(word)?;
    let lock = containers.operation(&id)?;
    let found = containers.observe(&id)?.ok_or_else(|| container::missing(word))?;
    if matches!(found.state.status, Status::Removing | Status::Dead) {
        let status = found.state.status.as_str();
        return Err(Error::conflict(format!("container {id} is {status}, and is in no network any more")));
    }
    Ok((id, lock, found))
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
