//! `pause` and `resume`: all processes stop, and run again.
//!
//! The kernel's freezer is the only memory of it (cgroup-v2.rst "cgroup.freeze"): a status is read from there.
//! Processes that are stopped die of SIGKILL as they are, so `kill` and `delete --force` need no thaw.

use std::time::Duration;

use super::{Cgroups, Entry, Status, Store, lock_in, own_cgroup, unless_ended};
use crate::error::{Error, Kind, Result};

/// How long the kernel may take to stop all processes, or to let them go. It takes microseconds, unless one is
/// in a call that nothing interrupts, such as a write to a disk that does not answer.
const FREEZER_WAIT: Duration = Duration::from_secs(10);

/// Stops all processes of a created or running container.
///
/// # Errors
/// Kind `Status` "container not running". Where a process cannot be stopped in time, it is named with its
/// state, and all run again.
pub fn pause(store: &Store, entry: Entry, cgroups: &dyn Cgroups) -> Result<()> {
    const PHRASE: &str = "container not running";
    let alive = |status| matches!(status, Status::Created | Status::Running);
    let (_locked, record) = lock_in(store, entry, alive, PHRASE)?;
    let cgroup = own_cgroup(&record)?;
    unless_ended(&record, PHRASE, cgroups.freeze(cgroup, FREEZER_WAIT))?;
    // Ended by then: nothing is paused, and what outlives init must not stay stopped for ever.
    if record.init.map(|init| init.is_alive()).transpose()? != Some(true) {
        let mut error = Error::new(Kind::Status, PHRASE);
        if let Err(failed) = cgroups.thaw(cgroup, FREEZER_WAIT) {
            error.attach(&failed);
        }
        return Err(error);
    }
    Ok(())
}

/// Lets the processes of a paused container run again.
///
/// # Errors
/// Kind `Status` "container not paused"; where they are still stopped after a while, by a cgroup above.
pub fn resume(store: &Store, entry: Entry, cgroups: &dyn Cgroups) -> Result<()> {
    const PHRASE: &str = "container not paused";
    let paused = |status| status == Status::Paused;
    let (_locked, record) = lock_in(store, entry, paused, PHRASE)?;
    unless_ended(&record, PHRASE, cgroups.thaw(own_cgroup(&record)?, FREEZER_WAIT))
}

#[cfg(test)]
#[path = "pause_tests.rs"]
mod tests;
