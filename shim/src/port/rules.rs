//! The rules of published ports go into the kernel and out of it, and where the table is not as it should be, all of it is
//! made anew from the disk. What is recorded of a container that cannot run counts for nothing.

use std::collections::BTreeSet;

use crate::container::ContainerId;
use crate::container::store::Containers;
use crate::error::Result;
use crate::firewall::nf_tables::{Batch, Element};
use crate::firewall::{self, Forward, Table, apply};
use crate::network::bridge;
use crate::network::store::Networks;
use crate::port::record;
use crate::rootless::host_network;

/// Takes what a container had published out of the table, and what it publishes into it. Where the table is not there, or
/// will not have it so, it is made anew by what is recorded, after `recorded` has seen to that.
///
/// # Errors
/// What the kernel will not have; the system's reason.
pub fn change(
    containers: &Containers,
    id: &ContainerId,
    gone: &[Forward],
    new: &[Forward],
    recorded: impl FnOnce() -> Result<()> + Send,
) -> Result<()> {
    let (gone, new) = (firewall::of_forwards(gone), firewall::of_forwards(new));
    if gone.is_empty() && new.is_empty() {
        return Ok(());
    }
    let networks = Networks::of(containers);
    let table = networks.table();
    // Nobody else comes between what is read from the disk and what the kernel gets.
    let _lock = networks.lock_kernel()?;
    let done = host_network::inside_if_there(containers.state_root(), || {
        if apply::is_there(&table)
            && let Some(gone) = undisputed(containers, id, gone)?
            && apply::load(changed(&table, &gone, &new)).is_ok()
        {
            return Ok(());
        }
        recorded()?;
        apply::load(whole(&networks)?)
    });
    // Where bridges are no more, no rule is.
    done.map(drop)
}

fn changed(table: &Table, gone: &BTreeSet<Element>, new: &BTreeSet<Element>) -> Batch {
    let mut batch = table.without(gone);
    batch.append(table.with(new));
    batch
}

/// What others do not need of this. What is left of a container that was killed may be another's by now: the same element,
/// or the same port that leads elsewhere (None: by its port alone it cannot be told from that).
fn undisputed(
    containers: &Containers,
    id: &ContainerId,
    gone: BTreeSet<Element>,
) -> Result<Option<BTreeSet<Element>>> {
    if gone.is_empty() {
        return Ok(Some(gone));
    }
    let others = firewall::of_forwards(&published(containers, Some(id))?);
    let gone: BTreeSet<Element> = gone.difference(&others).cloned().collect();
    let is_others = |one: &Element| others.iter().any(|other| (other.set, &other.key) == (one.set, &one.key));
    Ok((!gone.iter().any(is_others)).then_some(gone))
}

/// The table as it should be: all networks, and the published ports of all containers.
///
/// # Errors
/// A damaged record; the system's reason.
pub fn whole(networks: &Networks) -> Result<Batch> {
    let bridges = networks.list()?.iter().map(bridge::of_firewall).collect::<Result<Vec<_>>>()?;
    networks.table().whole(&bridges, &published(networks.containers(), None)?)
}

/// What is published of all containers that may run, but for one.
///
/// # Errors
/// A damaged record; the system's reason.
fn published(containers: &Containers, but: Option<&ContainerId>) -> Result<Vec<Forward>> {
    let mut forwards = Vec::new();
    for (id, recorded) in record::all(containers)? {
        if but != Some(&id) && containers.may_run(&id)? {
            forwards.extend(recorded.forwards);
        }
    }
    Ok(forwards)
}
