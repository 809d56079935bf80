//! Which containers have which volumes, by their records: what keeps a volume from being removed.

use std::collections::BTreeMap;

use crate::container::store::Containers;
use crate::error::{Kind, Result};
use crate::volume::store::{Volumes, in_use};
use crate::volume::{self, Volume};

/// Full ids of the containers that have a volume, by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users(BTreeMap<String, Vec<String>>);

impl Users {
    /// Those of this moment.
    ///
    /// # Errors
    /// A damaged record, or the system's reason: who cannot know them all may not take any volume for unused.
    pub fn read(containers: &Containers) -> Result<Users> {
        let mut users = Users::default();
        for id in containers.ids()? {
            for mount in containers.get(&id)?.iter().flat_map(|container| &container.mounts) {
                if !mount.name.is_empty() {
                    users.0.entry(mount.name.clone()).or_default().push(id.to_string());
                }
            }
        }
        users.0.values_mut().for_each(|ids| {
            ids.sort();
            ids.dedup();
        });
        Ok(users)
    }

    /// Containers that have this volume.
    #[must_use]
    pub fn of(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Removes the volume of this name.
///
/// # Errors
/// There is none, or a container has it, in Docker's words; the system's reason.
pub fn remove(volumes: &Volumes, containers: &Containers, name: &str) -> Result<()> {
    let volume = volumes.get(name)?.ok_or_else(|| volume::missing(name))?;
    let _gate = volumes.close()?;
    // Looked at now that nobody begins to use it.
    let users = Users::read(containers)?;
    match users.of(name) {
        [] => volumes.remove(&volume),
        users => Err(in_use(name, users)),
    }
}

/// Removes volumes that nobody has named with the container that has them, unless another one has them too.
///
/// # Errors
/// The system's reason.
pub fn remove_anonymous(
    volumes: &Volumes,
    containers: &Containers,
    names: &[&str],
    owner: &str,
) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let _gate = volumes.close()?;
    let users = Users::read(containers)?;
    for name in names {
        let Some(volume) = volumes.get(name)? else { continue };
        if users.of(name).iter().any(|id| id != owner) {
            continue;
        }
        match volumes.remove(&volume) {
            Err(error) if error.kind() == Kind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

/// A volume with what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The volume.
    pub volume: Volume,
    /// Bytes of its files.
    pub size: u64,
    /// How many containers have it.
    pub links: usize,
}

/// All volumes with what they take, by their names: for `system df`. Their files are counted, which takes time.
///
/// # Errors
/// A damaged record, or the system's reason.
pub fn usage(volumes: &Volumes, containers: &Containers) -> Result<Vec<Used>> {
    let users = Users::read(containers)?;
    let measured = |volume: Volume| {
        let size = crate::container::size::of_files(&volumes.mountpoint(&volume.name))?;
        let links = users.of(&volume.name).len();
        Ok(Used { volume, size, links })
    };
    volumes.list()?.into_iter().map(measured).collect()
}
