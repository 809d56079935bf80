//! `delete` (runtime.md "Delete"): what `create` made is undone, the memory of it last.
//!
//! The order: kill and wait, cgroup, poststop hooks, folder. A crash between any two leaves a record by which
//! the next `delete --force` goes on; repeating a step does no harm.

use std::path::Path;
use std::time::Duration;

use oci_spec::runtime::ContainerState;

use super::{CgroupRecord, Cgroups, Entry, LOCK_WAIT, Locked, Pidfd, Record, Status, Store};
use crate::error::{Error, Kind, Result};
use crate::hooks;
use crate::kernel::intel_rdt;

/// How long processes that were killed may take to end.
const DEATH_WAIT: Duration = Duration::from_secs(10);

/// Deletes a stopped or created container; with `force` one in any status, and a stale folder.
///
/// Failures of poststop hooks go to `warn` (runtime.md "Lifecycle" step 13).
///
/// # Errors
/// Kind `Status`: "cannot delete container X that is not stopped: STATE". What cannot be undone is an error,
/// and the folder stays so that it can be tried again.
pub fn delete(
    store: &Store,
    entry: Entry,
    force: bool,
    cgroups: &dyn Cgroups,
    warn: &mut dyn FnMut(Error),
) -> Result<()> {
    match delete_entry(store, entry, force, cgroups, warn) {
        // Whoever held the lock has removed it: that is what was wanted.
        Err(error) if force && error.kind() == Kind::NotFound => Ok(()),
        result => result,
    }
}

fn delete_entry(
    store: &Store,
    entry: Entry,
    force: bool,
    cgroups: &dyn Cgroups,
    warn: &mut dyn FnMut(Error),
) -> Result<()> {
    match entry.record() {
        Ok(record) => {
            require_deletable(&entry, &record, force)?;
            if force {
                // Before the lock: the end of init ends the `create` or `start` that holds it.
                kill(&record)?;
            }
        }
        Err(error) if force && is_stale(&error) => {}
        Err(error) => return Err(error),
    }
    let locked = entry.lock(store, LOCK_WAIT)?;
    // Read again: everything may have happened before the lock.
    match locked.record() {
        Ok(record) => {
            require_deletable(&locked, &record, force)?;
            destroy(store, locked, &record, cgroups, warn)
        }
        Err(error) if force && is_stale(&error) => locked.remove(store),
        Err(error) => Err(error),
    }
}

/// Whether the error is about what the folder holds. An error of the kernel is none to destroy a container's
/// memory for, but that of a link, a folder or a socket where the record should be.
fn is_stale(error: &Error) -> bool {
    error.kind() == Kind::Other && matches!(error.errno(), 0 | libc::ELOOP | libc::EISDIR | libc::ENXIO)
}

/// Without force, only what has stopped or has not started goes.
fn require_deletable(entry: &Entry, record: &Record, force: bool) -> Result<()> {
    if force {
        return Ok(());
    }
    match Status::of(entry, record)? {
        Status::Stopped | Status::Created => Ok(()),
        status => Err(Error::new(
            Kind::Status,
            format!("cannot delete container {} that is not stopped: {status}", record.id),
        )),
    }
}

/// Kills init with SIGKILL, and so everyone in its pid namespace; does not wait.
pub(super) fn kill(record: &Record) -> Result<Option<Pidfd>> {
    let init = record.init.map(|init| init.open()).transpose()?.flatten();
    if let Some(init) = &init {
        init.send(libc::SIGKILL)?;
    }
    Ok(init)
}

/// Undoes what `create` made, whatever the status.
///
/// # Errors
/// The first step that fails; the folder is still there then.
pub fn destroy(
    store: &Store,
    locked: Locked,
    record: &Record,
    cgroups: &dyn Cgroups,
    warn: &mut dyn FnMut(Error),
) -> Result<()> {
    if let Some(init) = kill(record)?
        && !init.wait(DEATH_WAIT)?
    {
        let (pid, seconds) = (init.pid(), DEATH_WAIT.as_secs());
        crate::bail!("process {pid} has not ended {seconds} s after SIGKILL");
    }
    if let Some(cgroup) = &record.cgroup {
        remove_cgroup(record, cgroup, cgroups)?;
    }
    if !record.intel_rdt.is_empty() {
        intel_rdt::remove(&intel_rdt::root()?, &record.intel_rdt)?;
    }
    poststop(record, warn);
    locked.remove(store)
}

/// Removes the cgroup: at once where the end of init has emptied it, as it nearly always has.
fn remove_cgroup(record: &Record, cgroup: &CgroupRecord, cgroups: &dyn Cgroups) -> Result<()> {
    if cgroups.remove(cgroup, Duration::ZERO).is_ok() {
        return Ok(());
    }
    // Whom the end of init did not take along: those of a container in the host's pid namespace. A record
    // without an init was written before its cgroup was made: whoever is in it then came from elsewhere.
    if record.init.is_some() && !cgroups.pids(cgroup)?.is_empty() {
        cgroups.kill(cgroup)?;
    }
    cgroups.remove(cgroup, DEATH_WAIT)
}

/// The poststop hooks: every one of them, whatever becomes of the others.
fn poststop(record: &Record, warn: &mut dyn FnMut(Error)) {
    if record.hooks.poststop.is_empty() {
        return;
    }
    // Engines may remove the bundle before the container; the hooks matter more than their folder.
    let cwd = if record.bundle.is_dir() { record.bundle.as_path() } else { Path::new("/") };
    match record.state(ContainerState::Stopped) {
        Ok(state) => hooks::run_all("poststop", &record.hooks.poststop, &state, cwd, warn),
        Err(error) => warn(error),
    }
}

#[cfg(test)]
#[path = "delete_tests.rs"]
mod tests;
