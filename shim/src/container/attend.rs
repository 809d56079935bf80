//! Every command that looks at a container finds it in order: one whose monitor was killed has another, one that was to go
//! with its end, which its monitor did not live to see, goes now, and so do a root that was mounted for a start that
//! did not come, and what a monitor had of a run that is over and recorded.

use crate::container::state::Status;
use crate::container::store::{Containers, Found};
use crate::container::{ContainerId, remove, root};
use crate::error::{Context as _, Result};
use crate::network::endpoint;
use crate::root::remove::forget;

/// A container with what is happening to it; None if there is none (any more).
///
/// # Errors
/// As [`Containers::observe`].
pub fn attend(containers: &Containers, id: &ContainerId) -> Result<Option<Found>> {
    let Some(found) = containers.observe(id)? else { return Ok(None) };
    if remove::goes(containers, id, &found.container, &found.state)? {
        // What cannot be removed is there, and is shown.
        let is_gone = remove::left_over(containers, id).unwrap_or(false);
        return Ok((!is_gone).then_some(found));
    }
    if found.state.status == Status::Created && found.state.monitor.is_none() {
        // Whoever asks is not to fail for it; what cannot be taken away is there until somebody removes the container.
        let _ = detach_unused(containers, id);
    }
    if found.state.status == Status::Exited && containers.state_folder(id).exists() {
        let _ = forget_last_run(containers, id);
    }
    Ok(Some(found))
}

/// Takes away a root that is mounted and that nobody is about to use: `run` has it mounted before it starts the container.
fn detach_unused(containers: &Containers, id: &ContainerId) -> Result<()> {
    if !root::is_attached(containers, id)? {
        return Ok(());
    }
    let Some(_lock) = containers.try_operation(id)? else { return Ok(()) };
    // Looked at again, now that nobody starts it.
    let state = containers.state(id)?;
    if state.status != Status::Created || state.monitor.is_some() || containers.is_supervised(id)? {
        return Ok(());
    }
    root::detach(containers, id)
}

/// Takes away the state folder of a run that is over: its monitor was killed after it had recorded the end.
fn forget_last_run(containers: &Containers, id: &ContainerId) -> Result<()> {
    // One that is about to end clears it itself.
    if containers.is_supervised(id)? {
        return Ok(());
    }
    let Some(_lock) = containers.try_operation(id)? else { return Ok(()) };
    // Looked at again, now that nobody starts it.
    let state = containers.state(id)?;
    let is_over = state.status == Status::Exited && state.monitor.is_none() && !state.is_starting;
    if !is_over || containers.is_supervised(id)? {
        return Ok(());
    }
    if let Some(container) = containers.get(id)? {
        // What it could not take back is recorded in the folder.
        endpoint::detach(containers, &container)?;
    }
    let folder = containers.state_folder(id);
    forget(&folder).during(|| format!("remove {folder:?}"))
}
