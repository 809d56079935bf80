//! The rules of published ports go into the kernel and out of it, and where the table is not as it should be, all of it is
//! made anew from the disk.

use crate::container::store::Containers;
use crate::error::Result;
use crate::firewall::nf_tables::Batch;
use crate::firewall::{self, apply};
use crate::network::bridge;
use crate::network::store::Networks;
use crate::port::record;

/// Changes the table by a few elements. Where it is not there, or will not have them, it is made anew by what is recorded,
/// after `recorded` has seen to that.
///
/// # Errors
/// What the kernel will not have; the system's reason.
pub fn change(containers: &Containers, batch: &Batch, recorded: impl FnOnce() -> Result<()>) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    // Nobody else comes between what is read from the disk and what the kernel gets.
    let _lock = Networks::of(containers).lock_kernel()?;
    if apply::is_there() && apply::load(batch).is_ok() {
        return Ok(());
    }
    recorded()?;
    apply::load(&whole(containers)?)
}

/// The table as it should be: all networks, and the published ports of all containers.
///
/// # Errors
/// A damaged record; the system's reason.
pub fn whole(containers: &Containers) -> Result<Batch> {
    let networks = Networks::of(containers).list()?;
    let bridges = networks.iter().map(bridge::of_firewall).collect::<Result<Vec<_>>>()?;
    firewall::table(&bridges, &record::all(containers.state_root())?)
}
