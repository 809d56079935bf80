//! What crashes have left of networks: leases and devices of containers that do not run or are not in the network, bridges
//! and state of networks that are gone; and what somebody has taken away of networks that containers are in. Commands pass it
//! over; `system check` tells of it, and mends it.
//!
//! Only devices with our mark are looked at, and each is looked at again under its lock before it is taken away.

use std::collections::BTreeSet;

use crate::container::ContainerId;
use crate::container::process::ProcessId;
use crate::container::store::Containers;
use crate::error::{Error, Kind, Result};
use crate::network::EndpointConfig;
use crate::network::bridge::{self, For};
use crate::network::connect;
use crate::network::lease::Leases;
use crate::network::netlink::Netlink;
use crate::network::store::{self, Networks};
use crate::rootless::{host_network, way_out};

/// One such thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leftover {
    /// A lease of a container that does not run: the network's id, the container's.
    Lease(String, String),
    /// A container that runs is in a network that its record does not name: likewise.
    Endpoint(String, String),
    /// The device of a container that runs is no port of its network's bridge: likewise.
    Port(String, String),
    /// A network that containers are in has no bridge.
    NoBridge(String),
    /// A device of a container that does not run.
    Device(String, String),
    /// A bridge of a network that is gone.
    Bridge(String, String),
    /// Leases of a network that is gone.
    State(String),
    /// A network that was being made.
    Draft(String),
    /// The way out of an ordinary user's networks, which nobody is in.
    WayOut,
}

impl Leftover {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Leftover::Lease(network, id) => {
                format!("network {network:.12}: container {id} has an address, and does not run")
            }
            Leftover::Endpoint(network, id) => {
                format!("network {network:.12}: container {id} is in it, and is not to be")
            }
            Leftover::Port(network, id) => {
                format!("network {network:.12}: the device of container {id} is no port of its bridge")
            }
            Leftover::NoBridge(network) => {
                format!("network {network:.12}: its bridge is gone, and containers are in it")
            }
            Leftover::Device(name, id) => {
                format!("network device {name} is of container {id}, which does not run")
            }
            Leftover::Bridge(name, id) => format!("bridge {name} is of network {id:.12}, which is gone"),
            Leftover::State(id) => format!("state of network {id:.12}, which is gone"),
            Leftover::Draft(name) => format!("network {name:?} that was being made"),
            Leftover::WayOut => "the process that leads out of networks, which nobody is in".to_owned(),
        }
    }

    /// Is it more than useless: does a container not reach what it should?
    #[must_use]
    pub fn is_problem(&self) -> bool {
        matches!(self, Leftover::Port(..) | Leftover::NoBridge(_))
    }
}

/// What there is of it.
///
/// # Errors
/// A damaged record, or the system's reason.
pub fn find(containers: &Containers) -> Result<Vec<Leftover>> {
    let networks = Networks::of(containers);
    let known: BTreeSet<String> = networks.list()?.into_iter().map(|network| network.id).collect();
    let mut found: Vec<Leftover> = networks.drafts()?.into_iter().map(Leftover::Draft).collect();
    for id in networks.state_ids()? {
        if !known.contains(&id) {
            found.push(Leftover::State(id));
            continue;
        }
        for lease in Leases::read(&networks.state_folder(&id))? {
            if !store::is_up(containers, &lease)? {
                found.push(Leftover::Lease(id.clone(), lease.container));
            } else if is_stray(containers, &id, &lease.container)? {
                found.push(Leftover::Endpoint(id.clone(), lease.container));
            }
        }
        found.extend(adrift(&networks, &id)?);
    }
    for id in containers.ids()? {
        // Taken out of it by who was killed before that was noted.
        let state = containers.state(&id)?;
        let runs = state.process.is_some_and(ProcessId::is_alive);
        for state in state.networks.values().filter(|state| runs && known.contains(&state.network_id)) {
            let leftover = Leftover::Endpoint(state.network_id.clone(), id.to_string());
            if !found.contains(&leftover) && is_stray(containers, &state.network_id, id.as_str())? {
                found.push(leftover);
            }
        }
    }
    let links = host_network::inside_if_there(networks.state_root(), || Netlink::open()?.links())?;
    for link in links.into_iter().flatten() {
        match bridge::read_mark(containers.root(), &link.alias) {
            Some(For::Network(id)) if !known.contains(id) => {
                found.push(Leftover::Bridge(link.name.clone(), id.to_owned()));
            }
            Some(For::Container(id)) if !may_run(containers, id)? => {
                found.push(Leftover::Device(link.name.clone(), id.to_owned()));
            }
            _ => {}
        }
    }
    if way_out::is_left(containers)? {
        found.push(Leftover::WayOut);
    }
    Ok(found)
}

/// Takes it away; false if it is gone, or in use by now.
///
/// # Errors
/// The system's reason.
pub fn mend(containers: &Containers, leftover: &Leftover) -> Result<bool> {
    let networks = Networks::of(containers);
    match leftover {
        Leftover::Lease(network, _) => {
            let mut leases = Leases::open(&networks.state_folder(network))?;
            let mut netlink = host_network::inside_if_there(networks.state_root(), Netlink::open)?;
            let all = leases.retain(|lease| {
                let is_kept = store::is_up(containers, lease)?;
                if let Some(netlink) = netlink.as_mut().filter(|_| !is_kept) {
                    netlink.delete(&lease.veth)?;
                }
                Ok(is_kept)
            })?;
            Ok(!all)
        }
        Leftover::Endpoint(network, id) => {
            if !is_stray(containers, network, id)? {
                return Ok(false);
            }
            match connect::disconnect(containers, network, id, true) {
                Err(error) if error.kind() == Kind::NotFound => Ok(false),
                done => done.map(|()| true),
            }
        }
        Leftover::Port(id, _) | Leftover::NoBridge(id) => {
            if !adrift(&networks, id)?.contains(leftover) {
                return Ok(false);
            }
            // Nobody removes it meanwhile: containers are in it.
            let Some(network) = networks.get(id)? else { return Ok(false) };
            let gathered = host_network::inside_if_there(networks.state_root(), || {
                let bridge = bridge::up(&networks, &network)?;
                let _lock = networks.lock_kernel()?;
                bridge::gather(&networks, &network, &bridge)
            })?;
            Ok(gathered.is_some())
        }
        Leftover::Device(name, id) => {
            let netlink = host_network::inside_if_there(networks.state_root(), Netlink::open)?;
            let Some(mut netlink) = netlink else { return Ok(false) };
            let link = netlink.link(name)?;
            let mark = bridge::mark(containers.root(), For::Container(id));
            if may_run(containers, id)? || link.is_none_or(|link| link.alias != mark) {
                return Ok(false);
            }
            netlink.delete(name)
        }
        Leftover::Bridge(name, id) => {
            let _lock = networks.lock()?;
            let netlink = host_network::inside_if_there(networks.state_root(), Netlink::open)?;
            let Some(mut netlink) = netlink else { return Ok(false) };
            let link = netlink.link(name)?;
            let mark = bridge::mark(containers.root(), For::Network(id));
            if networks.get(id)?.is_some() || link.is_none_or(|link| link.alias != mark) {
                return Ok(false);
            }
            netlink.delete(name)
        }
        Leftover::State(id) => {
            let _lock = networks.lock()?;
            if networks.get(id)?.is_some() || !networks.state_folder(id).exists() {
                return Ok(false);
            }
            networks.forget_state(id).map(|()| true)
        }
        Leftover::Draft(name) => networks.forget_draft(name),
        Leftover::WayOut => {
            let is_left = way_out::is_left(containers)?;
            way_out::release(containers).map(|()| is_left)
        }
    }
}

/// Containers that run in a network, and are not joined to it: its bridge is gone, or was and is another. Nobody makes or
/// removes it, and nobody goes into it or out of it, while that is looked at.
fn adrift(networks: &Networks, id: &str) -> Result<Vec<Leftover>> {
    let _networks = networks.lock()?;
    let Some(network) = networks.get(id)? else { return Ok(Vec::new()) };
    let leases = Leases::open(&networks.state_folder(id))?;
    let _kernel = networks.lock_kernel()?;
    let netlink = host_network::inside_if_there(networks.state_root(), Netlink::open)?;
    let Some(mut netlink) = netlink else { return Ok(Vec::new()) };
    let mark = bridge::mark(networks.root(), For::Network(id));
    let bridge = netlink.link(&bridge::name(&network))?.filter(|link| link.alias == mark && link.is_up);
    let mut found = Vec::new();
    for lease in leases.all() {
        let mark = bridge::mark(networks.root(), For::Container(&lease.container));
        let Some(device) = netlink.link(&lease.veth)?.filter(|link| link.alias == mark) else { continue };
        if !store::is_up(networks.containers(), lease)? {
            continue;
        }
        match &bridge {
            None => {
                found.push(Leftover::NoBridge(id.to_owned()));
                break;
            }
            Some(bridge) if bridge.index != device.master => {
                found.push(Leftover::Port(id.to_owned(), lease.container.clone()));
            }
            Some(_) => {}
        }
    }
    Ok(found)
}

fn may_run(containers: &Containers, id: &str) -> Result<bool> {
    ContainerId::parse(id).map_or(Ok(false), |id| containers.may_run(&id))
}

/// Is a container in a network that its record does not name, and nobody about to put it in or take it out?
fn is_stray(containers: &Containers, network: &str, id: &str) -> Result<bool> {
    let id = ContainerId::parse(id)?;
    let gone = |error: &Error| error.kind() == Kind::NotFound;
    let lock = match containers.try_operation(&id) {
        Err(error) if gone(&error) => return Ok(false),
        lock => lock?,
    };
    let Some(container) = containers.get(&id)?.filter(|_| lock.is_some()) else { return Ok(false) };
    let Some(network) = Networks::of(containers).get(network)? else { return Ok(false) };
    // By its name too: a network that was removed and made again has another id (`endpoint::join`).
    let is_meant =
        |(name, config): (&String, &EndpointConfig)| *name == network.name || config.network_id == network.id;
    Ok(!container.endpoints.iter().any(is_meant))
}
