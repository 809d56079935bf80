//! What lies on the disk, and the only code that knows how.

use std::collections::BTreeSet;

use crate::container::store::Containers;
use crate::digest::Digest;
use crate::error::Result;
use crate::root::record::Bundles;

pub mod content;
pub mod draft;
pub mod folder;
pub mod gc;
pub mod image;
pub mod intake;
pub mod layer;
pub mod lease;
pub mod leftover;
pub mod record;
#[cfg(test)]
pub(crate) mod scratch;

/// All of a store, open.
#[derive(Clone, Debug)]
pub struct Store {
    /// Its folders.
    pub folders: folder::Folders,
    /// Content by digest.
    pub content: content::Content,
    /// Unpacked layers.
    pub layers: layer::Layers,
    /// Which images there are.
    pub images: image::ImageRecord,
    /// What commands rely on.
    pub leases: lease::Leases,
}

impl Store {
    /// Opens the store in these folders, and makes what is missing.
    ///
    /// # Errors
    /// The system's reason.
    pub fn open(folders: folder::Folders) -> Result<Store> {
        let root = folders.root();
        Ok(Store {
            content: content::Content::open(root)?,
            layers: layer::Layers::open(root)?,
            images: image::ImageRecord::open(root),
            leases: lease::Leases::open(root)?,
            folders,
        })
    }

    /// Keeps new claims out until the lock is dropped, and tells what commands under way, bundles and containers rely on.
    ///
    /// # Errors
    /// A damaged record of a bundle or a container, or the system's reason.
    pub fn in_use(&self) -> Result<(record::Lock, BTreeSet<Digest>)> {
        let (gate, mut used) = self.leases.close()?;
        used.extend(Bundles::open(self.folders.root())?.held()?);
        used.extend(Containers::open(&self.folders)?.held()?);
        Ok((gate, used))
    }

    /// Removes what neither images nor commands under way lead to.
    ///
    /// # Errors
    /// The system's reason.
    pub fn collect(&self) -> Result<gc::Removed> {
        gc::collect(self.folders.root(), || Containers::open(&self.folders)?.held())
    }
}
