//! `pause` and `unpause`: all processes of a container stand still, and go on.

use crate::container::ContainerId;
use crate::container::state::Status;
use crate::container::store::Containers;
use crate::container::{self, attend};
use crate::error::{Error, Result};
use crate::event;

/// Has all processes of a container stand still.
///
/// # Errors
/// No such container; one that does not run or stands still already, in Docker's words; what its runtime says.
pub fn pause(containers: &Containers, id: &ContainerId) -> Result<()> {
    change(containers, id, Status::Paused)
}

/// Has them go on.
///
/// # Errors
/// As for [`pause`].
pub fn unpause(containers: &Containers, id: &ContainerId) -> Result<()> {
    change(containers, id, Status::Running)
}

fn change(containers: &Containers, id: &ContainerId, wanted: Status) -> Result<()> {
    let found = attend::attend(containers, id)?.ok_or_else(|| container::missing(id))?;
    let before = found.state.status;
    match (before, wanted) {
        (Status::Running, Status::Paused) | (Status::Paused, Status::Running) => {}
        (Status::Paused, _) => return Err(Error::conflict(format!("Container {id} is already paused"))),
        (Status::Running, _) => return Err(Error::conflict(format!("Container {id} is not paused"))),
        (Status::Restarting, _) => {
            return Err(Error::conflict(format!(
                "Container {id} is restarting, wait until the container is running"
            )));
        }
        _ => return Err(Error::conflict(format!("Container {id} is not running"))),
    }
    let runtime = containers.runtime(&found.container);
    let action = if wanted == Status::Paused {
        runtime.pause(id.as_str())?;
        "pause"
    } else {
        runtime.resume(id.as_str())?;
        "unpause"
    };
    // It may have ended meanwhile, and that is recorded.
    containers.update_state(id, false, |state| {
        if state.status == before && state.process == found.state.process {
            state.status = wanted;
        }
    })?;
    event::emit(containers.state_root(), action, &found.container, &[]);
    Ok(())
}
