//! What images take of the disk, and what of it nobody needs.

use std::collections::BTreeSet;
use std::fs;

use crate::container::root::UPPER;
use crate::container::size;
use crate::container::state::Status;
use crate::container::store::Containers;
use crate::container::users::Users;
use crate::container::volumes;
use crate::digest::Digest;
use crate::error::{Context, Result};
use crate::root::record::Bundles;
use crate::store::Store;
use crate::volume::users as volume_users;

/// Of one kind of things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many there are.
    pub total: usize,
    /// How many of them are in use.
    pub active: usize,
    /// Bytes that they take: packed content and unpacked files, each once.
    pub size: u64,
    /// Bytes that would be free without those that are not in use.
    pub reclaimable: u64,
}

/// Of images, which containers and bundles use; of containers, of which those that run are in use; and of bundles, which
/// all are: what is written into their overlays is theirs.
///
/// # Errors
/// A damaged record, or the system's reason.
pub fn usage(store: &Store) -> Result<[Usage; 3]> {
    let bundles = Bundles::open(store.folders.root())?.list()?;
    let containers = Containers::open(&store.folders)?;
    let users = Users::read(&containers)?;
    let in_use: BTreeSet<&Digest> = bundles.iter().map(|(_, record)| &record.image).collect();
    let images = store.images.read()?;
    let mut needed: BTreeSet<Digest> = bundles.iter().flat_map(|(_, record)| record.layers.clone()).collect();
    needed.extend(containers.held()?);
    let mut of_images = Usage::default();
    for (id, image) in images.iter() {
        of_images.total += 1;
        if in_use.contains(&id) || users.any(&id).is_some() {
            of_images.active += 1;
            needed.extend(
                image.content.iter().chain(&image.layers).cloned().chain([id, image.manifest.clone()]),
            );
        }
    }
    let mut add = |digest: &Digest, size: u64| {
        of_images.size += size;
        of_images.reclaimable += if needed.contains(digest) { 0 } else { size };
    };
    for digest in store.content.list()? {
        let path = store.content.path(&digest);
        match fs::metadata(&path) {
            // Somebody has just removed it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            stat => add(&digest, stat.during(|| format!("stat {path:?}"))?.len()),
        }
    }
    for chain_id in store.layers.list()? {
        add(&chain_id, store.layers.get(&chain_id)?.map_or(0, |layer| layer.size));
    }
    let (total, active) = users.total();
    let mut of_containers = Usage { total, active, ..Usage::default() };
    for id in containers.ids()? {
        let Some(found) = containers.observe(&id)? else { continue };
        let size = size::of_files(&containers.folder(&id).join(UPPER))?;
        let is_running = found.state.status.has_process() || found.state.status == Status::Restarting;
        of_containers.size += size;
        of_containers.reclaimable += if is_running { 0 } else { size };
    }
    let of_bundles = Usage { total: bundles.len(), active: bundles.len(), size: 0, reclaimable: 0 };
    Ok([of_images, of_containers, of_bundles])
}

/// Of volumes, of which those that containers have are in use.
///
/// # Errors
/// As for [`usage`].
pub fn of_volumes(containers: &Containers) -> Result<Usage> {
    let (volumes, users) = (volumes::open(containers)?, volume_users::Users::read(containers)?);
    let mut usage = Usage::default();
    for volume in volumes.list()? {
        let size = size::of_files(&volumes.mountpoint(&volume.name))?;
        let is_used = !users.of(&volume.name).is_empty();
        usage.total += 1;
        usage.active += usize::from(is_used);
        usage.size = usage.size.saturating_add(size);
        usage.reclaimable = usage.reclaimable.saturating_add(if is_used { 0 } else { size });
    }
    Ok(usage)
}
