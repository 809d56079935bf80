//! The rules of published ports go into the kernel and out of it, and where the table is not as it should be, all of it is
//! made anew from the disk.

use crate::container::store::Containers;
use crate::error::Result;
use crate::firewall::{self, apply};
use crate::network::bridge;
use crate::network::store::Networks;
use crate::port::record;
use crate::rootless::host_network;

/// Changes the table by a few elements. Where it is not there, or will not have them, it is made anew by what is recorded,
/// after `recorded` has seen to that.
///
/// # Errors
/// What nft says; the system's reason.
pub fn change(
    containers: &Containers,
    script: &str,
    recorded: impl FnOnce() -> Result<()> + Send,
) -> Result<()> {
    if script.is_empty() {
        return Ok(());
    }
    // Nobody else comes between what is read from the disk and what the kernel gets.
    let _lock = Networks::of(containers).lock_kernel()?;
    let changed = host_network::inside_if_there(containers.state_root(), || {
        if apply::is_there() && apply::load(script).is_ok() {
            return Ok(());
        }
        recorded()?;
        apply::load(&whole(containers)?)
    });
    // Where bridges are no more, no rule is.
    changed.map(drop)
}

/// The table as it should be: all networks, and the published ports of all containers.
///
/// # Errors
/// A damaged record; the system's reason.
pub fn whole(containers: &Containers) -> Result<String> {
    let networks = Networks::of(containers).list()?;
    let bridges = networks.iter().map(bridge::of_firewall).collect::<Result<Vec<_>>>()?;
    firewall::table(&bridges, &record::all(containers.state_root())?)
}
