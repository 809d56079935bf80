//! Does every bundle still have its folder? One that was deleted, or moved and is not mounted, keeps layers for nobody.

use crate::check::{Broken, Problem};
use crate::error::{Kind, Result};
use crate::root::record::{BundleId, Bundles};
use crate::root::remove;
use crate::store::Store;

/// What is wrong with bundles.
///
/// # Errors
/// The system's reason.
pub(super) fn problems(store: &Store) -> Result<Vec<Problem>> {
    let bundles = Bundles::open(store.folders.root())?;
    let all = match bundles.list() {
        Err(error) if error.kind() == Kind::Invalid => {
            return Ok(vec![Problem { words: error.to_string(), broken: Broken::Record }]);
        }
        all => all?,
    };
    let mut found = Vec::new();
    for (id, record) in all {
        // One that is not complete is being made, or is what a crash has left, which is swept with the garbage.
        if record.complete && remove::open_place(&record)?.is_none() {
            let words = format!("bundle {id}: {:?} is not there any more", record.folder);
            found.push(Problem { words, broken: Broken::Bundle(id.as_str().to_owned()) });
        }
    }
    Ok(found)
}

/// Forgets a bundle without a folder; false if it has one, or somebody is about to remove it.
///
/// # Errors
/// It is mounted elsewhere; the system's reason.
pub(super) fn forget(store: &Store, id: &str) -> Result<bool> {
    let (bundles, id) = (Bundles::open(store.folders.root())?, BundleId::parse(id)?);
    let Some(_lock) = bundles.lock(&id)? else { return Ok(false) };
    let Some(record) = bundles.get(&id)?.filter(|record| record.complete) else { return Ok(false) };
    if remove::open_place(&record)?.is_some() {
        return Ok(false);
    }
    match remove::parts(&bundles, &id, &record) {
        Ok(_) => Ok(true),
        Err(error) => {
            // It is as whole as before: nothing was taken away.
            bundles.write(&id, &record)?;
            Err(error)
        }
    }
}
