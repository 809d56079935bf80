//! What `volume prune` removes: volumes that no container has, as far as its filters mean them.

use crate::container::size;
use crate::container::store::Containers;
use crate::error::{Error, Kind, Result};
use crate::event;
use crate::volume::filter::Filter;
use crate::volume::store::Volumes;
use crate::volume::users::{self, Users};

/// What was removed.
#[derive(Debug, Default)]
pub struct Pruned {
    /// By their names.
    pub names: Vec<String>,
    /// Bytes of their files.
    pub freed: u64,
    /// Of those that could not be removed.
    pub errors: Vec<Error>,
}

/// Removes what is meant and not used: volumes that nobody has named, or `all` of them.
///
/// # Errors
/// The system's reason for what cannot be looked at.
pub fn prune(volumes: &Volumes, containers: &Containers, filter: &Filter, all: bool) -> Result<Pruned> {
    let mut pruned = Pruned::default();
    let users = Users::read(containers)?;
    for volume in volumes.list()? {
        let is_used = !users.of(&volume.name).is_empty();
        if is_used || !(all || volume.is_anonymous()) || !filter.fits(&volume, is_used) {
            continue;
        }
        let size = size::of_files(&volumes.mountpoint(&volume.name));
        match users::remove(volumes, containers, &volume.name) {
            Ok(()) => {
                pruned.freed += size.unwrap_or_default();
                pruned.names.push(volume.name);
            }
            // Somebody else was quicker, or uses it since.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Conflict) => {}
            Err(error) => pruned.errors.push(error),
        }
    }
    event::prune(volumes.state_root(), "volume", pruned.freed);
    Ok(pruned)
}
