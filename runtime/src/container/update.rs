//! `update`: other limits for a container that lives.
//!
//! All of it is done, or nothing: the files first, the record last, so that the record never promises what is
//! not in force. It is what a later `update` goes on from.

use super::{Cgroups, Entry, Record, Status, Store, lock_in, own_cgroup, unless_ended};
use crate::error::{Error, Result};
use crate::kernel::intel_rdt;
use crate::plan;
use crate::spec::{IntelRdt, Resources};

const NOT_RUNNING: &str = "container not running";

/// What is to change.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Limits of the cgroup; those that are absent stay as they are, and so do all device rules.
    pub resources: Resources,
    /// Schemata of Intel RDT; empty ones stay.
    pub intel_rdt: IntelRdt,
}

/// Changes a container's limits. What means nothing on cgroup v2 goes to `warn`.
///
/// # Errors
/// Kind `Status` "container not running"; kind `Spec` for values out of range, alone or together with those
/// that are there; what the kernel refuses, after all was put back.
pub fn update(
    store: &Store,
    entry: Entry,
    wanted: &Wanted,
    cgroups: &dyn Cgroups,
    warn: &mut dyn FnMut(String),
) -> Result<()> {
    let alive = |status| matches!(status, Status::Created | Status::Running | Status::Paused);
    let (locked, record) = lock_in(store, entry, alive, NOT_RUNNING)?;
    let update = plan::cgroup::update(record.resources.as_ref(), &wanted.resources)?;
    update.plan.warnings.iter().cloned().for_each(warn);
    // Where there is nothing to write, a container without a cgroup will do.
    let needs_cgroup = !update.plan.writes.is_empty();
    let cgroup = if needs_cgroup { Some(own_cgroup(&record)?) } else { None };
    let before = cgroup.map(|cgroup| cgroups.change(cgroup, &update.plan)).transpose();
    let before = unless_ended(&record, NOT_RUNNING, before)?;
    let finish = || {
        let class = change_class(&record, &wanted.intel_rdt)?;
        let changed = Record { resources: Some(update.resources.clone()), ..record.clone() };
        locked.write(&changed).map_err(|mut error| {
            if let Some(Err(failed)) = class.map(|class| class.restore()) {
                error.attach(&failed);
            }
            error
        })
    };
    finish().map_err(|mut error| {
        if let (Some(cgroup), Some(before)) = (cgroup, &before) {
            cgroups.restore(cgroup, before, &mut error);
        }
        error
    })
}

/// Changes the schemata of the container's class of service, if any are given.
fn change_class(record: &Record, given: &IntelRdt) -> Result<Option<intel_rdt::Change>> {
    let schemata = plan::intel_rdt::intel_rdt(given, record.id.as_str())?.schemata;
    if schemata.is_empty() {
        return Ok(None);
    }
    // A class with a name is not only this container's, and so is not in its record.
    let Some(class) = record.intel_rdt.iter().find(|folder| !folder.contains('/')) else {
        return Err(Error::other(
            "linux.intelRdt: the container has no class of service of its own that could be updated",
        ));
    };
    intel_rdt::change(&intel_rdt::root()?, class, &schemata).map(Some)
}

#[cfg(test)]
#[path = "update_tests.rs"]
mod tests;
