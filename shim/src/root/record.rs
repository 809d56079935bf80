//! Which bundles stand, and on which layers: what keeps the layers of an overlay from garbage collection.
//!
//! `bundles/ID/` has the record, and for an overlay the folders `upper` and `work`. It appears with its record in it, and
//! locked by who makes the bundle; the record says `complete` when all of it is there, and stops to say so before the
//! first part is taken away. So a record that is not complete and that nobody has locked is what a crash has left, and
//! is swept. A crash can make nobody forget that a bundle stands on a layer.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::reference::is_full_id;
use crate::root::remove;
use crate::store::folder::make_private;
use crate::store::record;

/// What is known of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// Where it was made: absolute.
    pub folder: PathBuf,
    /// That folder's device.
    pub device: u64,
    /// That folder's inode.
    pub inode: u64,
    /// The folder was made with the bundle, and goes with it.
    pub made_folder: bool,
    /// The image's id.
    pub image: Digest,
    /// Chain ids of the layers that it stands on; a copy stands on none.
    pub layers: Vec<Digest>,
    /// The root is an overlay.
    pub is_overlay: bool,
    /// All of it is there.
    pub complete: bool,
}

/// The bundles of a store.
#[derive(Clone, Debug)]
pub struct Bundles {
    folder: PathBuf,
    ingest: PathBuf,
}

impl Bundles {
    /// The bundles below this folder, made if it is not there.
    ///
    /// # Errors
    /// The system's reason.
    pub fn open(root: &Path) -> Result<Bundles> {
        let (folder, ingest) = (root.join("bundles"), root.join("ingest"));
        make_private(&folder)?;
        make_private(&ingest)?;
        Ok(Bundles { folder, ingest })
    }

    /// Where a bundle's record and folders are.
    #[must_use]
    pub fn path(&self, id: &BundleId) -> PathBuf {
        self.folder.join(&id.0)
    }

    /// The record of a bundle, if there is such a bundle.
    ///
    /// # Errors
    /// A damaged record, or the system's reason.
    pub fn get(&self, id: &BundleId) -> Result<Option<Record>> {
        record::read(&self.path(id).join("bundle.json"))
    }

    /// All bundles.
    ///
    /// # Errors
    /// A damaged record, or the system's reason.
    pub fn list(&self) -> Result<Vec<(BundleId, Record)>> {
        let words = || format!("read {:?}", self.folder);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).during(words)? {
            let name = entry.during(words)?.file_name();
            let id = BundleId::parse(&name.to_string_lossy()).during(words)?;
            // Without a record it has just been taken away.
            if let Some(record) = self.get(&id)? {
                found.push((id, record));
            }
        }
        Ok(found)
    }

    /// The layers that bundles stand on, by chain id.
    ///
    /// # Errors
    /// As for [`Bundles::list`]: who cannot know them all may not take any for garbage.
    pub fn held(&self) -> Result<BTreeSet<Digest>> {
        Ok(self.list()?.into_iter().flat_map(|(_, record)| record.layers).collect())
    }

    /// Begins a bundle with this record, which is not complete.
    ///
    /// # Errors
    /// The system's reason.
    pub fn begin(&self, id: &BundleId, begun: &Record) -> Result<Making> {
        let hidden = self.ingest.join(format!("bundle-{}", record::unique_name()));
        let words = || format!("bundle {hidden:?}");
        // A process with this id may have left one when the host went down; nobody alive has this name.
        remove::forget(&hidden).during(words)?;
        make_private(&hidden)?;
        let lock = File::open(&hidden).during(words)?;
        lock.lock().during(words)?;
        record::write(&hidden.join("bundle.json"), begun)?;
        fs::rename(&hidden, self.path(id)).during(words)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).during(words)?;
        Ok(Making { path: self.path(id), _lock: lock })
    }

    /// Writes a record anew.
    ///
    /// # Errors
    /// The system's reason.
    pub fn write(&self, id: &BundleId, record: &Record) -> Result<()> {
        record::write(&self.path(id).join("bundle.json"), record)
    }

    /// Forgets a bundle, with its upper folder.
    ///
    /// # Errors
    /// The system's reason.
    pub fn remove(&self, id: &BundleId) -> Result<()> {
        let words = || format!("bundle {id}");
        // First out of sight: nobody finds it half removed.
        let gone = self.ingest.join(format!("gone-{}", record::unique_name()));
        match fs::rename(self.path(id), &gone) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            result => result.during(words)?,
        }
        remove::forget(&gone).during(words)
    }

    /// Takes away what crashes have left, and tells of how many bundles. What is in use stays.
    ///
    /// # Errors
    /// A damaged record, or the system's reason.
    pub fn sweep(&self) -> Result<usize> {
        let mut swept = 0;
        for (id, record) in self.list()? {
            if record.complete {
                continue;
            }
            let Some(_lock) = self.lock(&id)? else { continue };
            // Somebody may have completed or removed it before the lock was ours.
            if self.get(&id)?.is_some_and(|record| !record.complete)
                && remove::parts(self, &id, &record).is_ok()
            {
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Locks a bundle; None if somebody else has it, or if it is gone.
    ///
    /// # Errors
    /// The system's reason.
    pub fn lock(&self, id: &BundleId) -> Result<Option<File>> {
        let words = || format!("lock bundle {id}");
        let folder = match File::open(self.path(id)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            open => open.during(words)?,
        };
        match folder.try_lock() {
            Ok(()) => Ok(Some(folder)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).during(words),
        }
    }
}

/// A bundle in the making, locked until this value ends.
#[derive(Debug)]
pub struct Making {
    path: PathBuf,
    _lock: File,
}

impl Making {
    /// Where its upper folder is to be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Names a bundle: 64 hexadecimal digits, safe as a file's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BundleId(String);

impl BundleId {
    /// One that nobody has.
    ///
    /// # Errors
    /// The system's reason.
    pub fn random() -> Result<BundleId> {
        use std::io::Read as _;
        let mut bytes = [0; 32];
        File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut bytes))
            .during(|| "/dev/urandom".into())?;
        Ok(BundleId(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Reads an id.
    ///
    /// # Errors
    /// Anything but 64 lower case hexadecimal digits.
    pub fn parse(text: &str) -> Result<BundleId> {
        if is_full_id(text) {
            Ok(BundleId(text.to_owned()))
        } else {
            Err(Error::invalid(format!("{text:?} is no id")))
        }
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for BundleId {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::make::MARKER;
    use crate::store::gc;
    use crate::store::scratch::Scratch;
    use std::os::unix::fs::MetadataExt as _;

    /// A bundle as far as a crash let it come: its folder, and what is in it.
    fn begun(
        scratch: &Scratch,
        bundles: &Bundles,
        with: impl FnOnce(&Path, &BundleId),
    ) -> (BundleId, Making, PathBuf) {
        let (id, folder) = (BundleId::random().unwrap(), scratch.join("folder"));
        fs::create_dir(&folder).unwrap();
        let stat = fs::metadata(&folder).unwrap();
        let record = Record {
            folder: folder.clone(),
            device: stat.dev(),
            inode: stat.ino(),
            made_folder: true,
            image: Digest::of(b"image"),
            layers: vec![Digest::of(b"layer")],
            is_overlay: true,
            complete: false,
        };
        let making = bundles.begin(&id, &record).unwrap();
        with(&folder, &id);
        (id, making, folder)
    }

    fn with_root(folder: &Path, id: &BundleId) {
        fs::write(folder.join(MARKER), id.as_str()).unwrap();
        fs::create_dir(folder.join("rootfs")).unwrap();
    }

    #[test]
    fn what_a_crash_left_is_swept_once_nobody_makes_it_any_more() {
        let scratch = Scratch::new();
        let bundles = Bundles::open(scratch.path()).unwrap();
        for with in [with_root as fn(&Path, &BundleId), |_, _| {}] {
            let (id, making, folder) = begun(&scratch, &bundles, with);
            assert_eq!(bundles.held().unwrap(), BTreeSet::from([Digest::of(b"layer")]));
            assert_eq!(bundles.sweep().unwrap(), 0, "it is being made");
            drop(making);
            assert_eq!(bundles.sweep().unwrap(), 1);
            assert_eq!((bundles.get(&id).unwrap(), folder.exists()), (None, false));
        }
        let (id, making, folder) = begun(&scratch, &bundles, with_root);
        bundles.write(&id, &Record { complete: true, ..bundles.get(&id).unwrap().unwrap() }).unwrap();
        drop(making);
        assert_eq!((bundles.sweep().unwrap(), folder.exists()), (0, true), "it is complete");
        gc::collect(scratch.path(), || Ok(BTreeSet::new())).unwrap();
        assert!(bundles.get(&id).unwrap().is_some());
    }

    #[test]
    fn anothers_folder_of_the_same_name_is_left_alone() {
        let scratch = Scratch::new();
        let bundles = Bundles::open(scratch.path()).unwrap();
        // The folder was replaced by another.
        let (_, making, folder) = begun(&scratch, &bundles, with_root);
        fs::rename(&folder, scratch.join("away")).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("config.json"), "mine").unwrap();
        drop(making);
        assert_eq!(bundles.sweep().unwrap(), 1);
        assert!(folder.join("config.json").exists() && scratch.join("away/rootfs").exists());
        fs::remove_dir_all(&folder).unwrap();
        // Its inode was given to another, with files and without a marker.
        let (_, making, folder) = begun(&scratch, &bundles, |folder, _| {
            fs::write(folder.join("config.json"), "mine").unwrap();
        });
        drop(making);
        assert_eq!(bundles.sweep().unwrap(), 1);
        assert!(folder.join("config.json").exists());
    }

    #[test]
    fn an_id_is_safe_as_a_files_name() {
        let id = BundleId::random().unwrap();
        assert_eq!(BundleId::parse(id.as_str()).unwrap(), id);
        for text in ["", "..", "a/b", &"A".repeat(64), &"a".repeat(63)] {
            assert!(BundleId::parse(text).is_err(), "{text}");
        }
    }
}
