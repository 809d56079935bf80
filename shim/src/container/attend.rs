//! Every command that looks at a container finds it in order: one whose monitor was killed has another, and one that was to
//! go with its end, which its monitor did not live to see, goes now.

use crate::container::ContainerId;
use crate::container::remove;
use crate::container::state::Status;
use crate::container::store::{Containers, Found};
use crate::error::Result;

/// A container with what is happening to it; None if there is none (any more).
///
/// # Errors
/// As [`Containers::observe`].
pub fn attend(containers: &Containers, id: &ContainerId) -> Result<Option<Found>> {
    let Some(found) = containers.observe(id)? else { return Ok(None) };
    let is_over = found.state.status == Status::Exited && found.container.host_config.auto_remove;
    if is_over && !containers.is_supervised(id)? {
        // What cannot be removed is there, and is shown.
        let is_gone = remove::left_over(containers, &found.container).unwrap_or(false);
        return Ok((!is_gone).then_some(found));
    }
    Ok(Some(found))
}
