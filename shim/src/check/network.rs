//! Is nothing left of networks and of containers in them that are gone?

use crate::check::{Repaired, Report};
use crate::container::store::Containers;
use crate::error::Result;
use crate::network::sweep::{self, Leftover};
use crate::store::Store;

/// What is of no use any more.
///
/// # Errors
/// A damaged record; the system's reason.
pub(super) fn look(store: &Store) -> Result<Vec<Leftover>> {
    sweep::find(&Containers::open(&store.folders)?)
}

/// Takes away what was found.
///
/// # Errors
/// The system's reason.
pub(super) fn mend(store: &Store, report: &Report, repaired: &mut Repaired) -> Result<()> {
    let containers = Containers::open(&store.folders)?;
    for leftover in &report.of_networks {
        repaired.note(&leftover.words(), sweep::mend(&containers, leftover));
    }
    Ok(())
}
