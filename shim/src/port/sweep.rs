//! What crashes have left of published ports, and where the packet filter is not as the disk says. Commands pass it over;
//! `system check` tells of it, and mends it.
//!
//! Whoever publishes has the lock of his container's ports, and then the kernel's. So both are had while all of it is
//! compared, in this order, and with them the lock of networks: what differs then is nobody's work under way. Each thing is
//! looked at once more, by the same locks, before it is put right.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;

use crate::container::ContainerId;
use crate::container::process::ProcessId;
use crate::container::store::Containers;
use crate::error::{Kind, Result};
use crate::firewall::contents::{self, Held};
use crate::firewall::{self, apply};
use crate::network::bridge::{self, For};
use crate::network::netlink::Netlink;
use crate::network::store::Networks;
use crate::port::bind::MoreDescriptors;
use crate::port::record::{self, Record};
use crate::port::{processes, publish, rules};
use crate::rootless::host_network;
use crate::store::record::Lock;

/// One such thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leftover {
    /// A container that does not run has published ports on record.
    Record(String),
    /// A proxy that is on no record: its number and its start, the container's id.
    Proxy((i32, u64), String),
    /// A container that runs has lost its proxy.
    NoProxy(String),
    /// The packet filter has an element that is nobody's.
    Element(Held),
    /// And lacks one that is somebody's.
    NoElement(Held),
    /// It has no table, though there are bridges or published ports.
    NoTable(String),
}

impl Leftover {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Leftover::Record(id) => format!("container {id} has published ports, and does not run"),
            Leftover::Proxy((pid, _), id) => {
                format!("process {pid} has published ports of container {id}, and nobody needs it")
            }
            Leftover::NoProxy(id) => format!("container {id}: the proxy of its published ports is gone"),
            Leftover::Element(held) => format!("firewall: {held} is of no network and no container"),
            Leftover::NoElement(held) => format!("firewall: {held} is missing"),
            Leftover::NoTable(name) => format!("firewall: table inet {name} is missing"),
        }
    }

    /// Is it more than useless: does something not work, or lead where it should not?
    #[must_use]
    pub fn is_problem(&self) -> bool {
        !matches!(self, Leftover::Record(_) | Leftover::Proxy(..))
    }
}

/// What there is of it.
///
/// # Errors
/// A damaged record; what nft says; the system's reason.
pub fn find(containers: &Containers) -> Result<Vec<Leftover>> {
    let quiet = Quiet::begin(containers)?;
    let mut found = Vec::new();
    for id in quiet.recorded.keys() {
        if !containers.may_run(id)? {
            found.push(Leftover::Record(id.to_string()));
        } else if quiet.lacks_proxy(containers, id)? {
            found.push(Leftover::NoProxy(id.to_string()));
        }
    }
    for (process, id) in processes::find(containers)? {
        if quiet.is_unknown(containers, process, &id)? {
            found.push(Leftover::Proxy((process.pid, process.start_time), id.to_string()));
        }
    }
    found.extend(quiet.differences(containers)?);
    Ok(found)
}

/// Puts it right; false if it is gone, or in use by now.
///
/// # Errors
/// What nft says; the system's reason.
pub fn mend(containers: &Containers, leftover: &Leftover) -> Result<bool> {
    match leftover {
        Leftover::Record(id) => {
            let id = ContainerId::parse(id)?;
            let _lock = match containers.try_operation(&id) {
                // Nobody starts one that is gone.
                Err(error) if error.kind() == Kind::NotFound => None,
                Err(error) => return Err(error),
                Ok(None) => return Ok(false),
                Ok(lock) => lock,
            };
            if containers.may_run(&id)? || record::read(&containers.state_folder(&id))?.is_none() {
                return Ok(false);
            }
            publish::unpublish(containers, &id).map(|()| true)
        }
        Leftover::Proxy((pid, start_time), id) => {
            let (id, process) = (ContainerId::parse(id)?, ProcessId { pid: *pid, start_time: *start_time });
            let quiet = Quiet::begin(containers)?;
            let Some(pidfd) = process.open()? else { return Ok(false) };
            // Of the process that the descriptor is of: it has not ended.
            if !quiet.is_unknown(containers, process, &id)?
                || processes::container_of(containers, process) != Some(id)
            {
                return Ok(false);
            }
            publish::kill(pidfd.as_fd()).map(|()| true)
        }
        Leftover::NoProxy(id) => {
            let id = ContainerId::parse(id)?;
            let lacks = Quiet::begin(containers)?.lacks_proxy(containers, &id)?;
            let container =
                containers.get(&id)?.filter(|_| lacks && containers.may_run(&id).unwrap_or(false));
            container.map_or(Ok(false), |container| publish::mend(containers, &container).map(|()| true))
        }
        Leftover::Element(_) | Leftover::NoElement(_) | Leftover::NoTable(_) => {
            let quiet = Quiet::begin(containers)?;
            if !quiet.differences(containers)?.contains(leftover) {
                return Ok(false);
            }
            // All at once, as a chain may be gone too; whoever has a connection keeps it.
            let whole = rules::whole(&Networks::of(containers))?;
            let loaded = host_network::inside_if_there(containers.state_root(), || apply::load(whole))?;
            Ok(loaded.is_some())
        }
    }
}

/// Nobody makes or removes a network, publishes a port, or changes a bridge or the table for as long as it is there.
struct Quiet {
    /// What is published by the record, with the lock of it.
    recorded: BTreeMap<ContainerId, Record>,
    _locks: Vec<Lock>,
    _more: MoreDescriptors,
}

impl Quiet {
    fn begin(containers: &Containers) -> Result<Quiet> {
        let networks = Networks::of(containers);
        let more = MoreDescriptors::allow();
        let mut locks = vec![networks.lock()?];
        let mut held = BTreeSet::new();
        let recorded = loop {
            for (id, _) in record::all(containers)? {
                if held.insert(id.clone()) {
                    // One that was never locked is nobody's work.
                    locks.extend(record::lock_known(&containers.state_folder(&id))?);
                }
            }
            let kernel = networks.lock_kernel()?;
            // Whoever has begun meanwhile waits for the kernel, or is at the end of his work.
            let now = record::all(containers)?;
            if now.iter().all(|(id, _)| held.contains(id)) {
                locks.push(kernel);
                break now;
            }
        };
        Ok(Quiet { recorded: recorded.into_iter().collect(), _locks: locks, _more: more })
    }

    /// Does a container that runs publish ports, and nobody hold them?
    fn lacks_proxy(&self, containers: &Containers, id: &ContainerId) -> Result<bool> {
        let Some(record) = self.recorded.get(id).filter(|record| !record.forwards.is_empty()) else {
            return Ok(false);
        };
        let has_proxy = record.proxy.is_some_and(ProcessId::is_alive);
        Ok(!has_proxy && containers.state(id)?.process.is_some_and(ProcessId::is_alive))
    }

    /// Is a proxy of this container on no record?
    fn is_unknown(&self, containers: &Containers, process: ProcessId, id: &ContainerId) -> Result<bool> {
        match self.recorded.get(id) {
            Some(record) => Ok(record.proxy != Some(process)),
            // Somebody may have begun since, who writes the record first.
            None => Ok(record::read(&containers.state_folder(id))?.is_none()),
        }
    }

    /// Where the table is not as it should be.
    fn differences(&self, containers: &Containers) -> Result<Vec<Leftover>> {
        let networks = Networks::of(containers);
        let (mut all, mut up) = (Vec::new(), Vec::new());
        let table = networks.table();
        let there = host_network::inside_if_there(containers.state_root(), || {
            Ok((Netlink::open()?.links()?, contents::read(&table)?))
        })?;
        // Where an ordinary user has no network of his own, nothing of it can be wrong.
        let Some((links, there)) = there else { return Ok(Vec::new()) };
        for network in networks.list()? {
            let (bridge, mark) =
                (bridge::of_firewall(&network)?, bridge::mark(containers.root(), For::Network(&network.id)));
            if links.iter().any(|link| link.name == bridge.name && link.alias == mark && link.is_up) {
                up.push(bridge.clone());
            }
            all.push(bridge);
        }
        let (mut known, mut needed) = (Vec::new(), Vec::new());
        for (id, record) in &self.recorded {
            known.extend(record.forwards.iter().copied());
            if containers.may_run(id)? {
                needed.extend(record.forwards.iter().copied());
            }
        }
        let (known, needed) = (firewall::elements(&all, &known)?, firewall::elements(&up, &needed)?);
        let (known, needed) = (contents::held(&known), contents::held(&needed));
        let Some(there) = there else {
            let is_missed = !needed.is_empty();
            return Ok(is_missed.then(|| Leftover::NoTable(table.name().to_owned())).into_iter().collect());
        };
        let extra = there.difference(&known).cloned().map(Leftover::Element);
        Ok(extra.chain(needed.difference(&there).cloned().map(Leftover::NoElement)).collect())
    }
}
