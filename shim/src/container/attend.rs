//! Every command that looks at a container finds it in order: one whose monitor was killed gets another, and one that was to
//! go with its end, which nobody saw, is removed.

use crate::container::ContainerId;
use crate::container::store::{Containers, Found};
use crate::error::Result;

/// A container with what is happening to it, looked after if its program runs; None if there is none (any more).
///
/// # Errors
/// As [`Containers::observe`].
pub fn attend(containers: &Containers, id: &ContainerId) -> Result<Option<Found>> {
    containers.observe(id)
}
