//! The end of a bundle: exactly what was made is taken away, and nothing by a link.
//!
//! A folder is a bundle of ours if it says so by its marker and the store's record says the same of this very folder.
//! What the user has put beside it stays, and then the folder does too.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::bundle::ROOT;
use crate::error::{Context, Error, Kind, Result};
use crate::root::make::{DOCUMENT, MARKER};
use crate::root::overlay::{self, Mounted};
use crate::root::record::{BundleId, Bundles, Record};
use crate::unpack::c_string;
use crate::unpack::remove::remove_all;

/// What became of the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder {
    /// It is gone, or was there before the bundle and is empty again.
    Cleared,
    /// It has files of the user's.
    Kept,
    /// It was not found where it was made: moved or deleted.
    Missing,
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes the bundle in this folder.
///
/// # Errors
/// What is no bundle of this store; one that is in use; the system's reason.
pub fn remove(store: &Path, folder: &Path) -> Result<Folder> {
    let words = || format!("bundle {folder:?}");
    let bundles = Bundles::open(store)?;
    let open = fs::open(folder, FOLDER, Mode::empty()).during(words)?;
    let id = read_marker(open.as_fd()).during(words)?;
    let Some(_lock) = bundles.lock(&id)? else {
        return Err(not_ours()).during(words);
    };
    let mut record = bundles.get(&id)?.ok_or_else(not_ours).during(words)?;
    let stat = fs::fstat(&open).during(words)?;
    if (stat.st_dev, stat.st_ino) != (record.device, record.inode) {
        return Err(Error::conflict("it is a copy of a bundle's folder, not the folder itself"))
            .during(words);
    }
    // It may have been moved since.
    record.folder = std::path::absolute(folder).during(words)?;
    parts(&bundles, &id, &record).during(words)
}

fn not_ours() -> Error {
    Error::not_found("not a bundle of this store")
}

fn read_marker(folder: BorrowedFd) -> Result<BundleId> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match fs::openat(folder, MARKER, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::LOOP) => return Err(not_ours()),
        Err(errno) => return Err(errno).during(|| format!("open {MARKER:?}")),
    };
    let mut text = String::new();
    if !file.metadata()?.is_file() {
        return Err(not_ours());
    }
    file.take(65).read_to_string(&mut text).map_err(|_| not_ours())?;
    BundleId::parse(&text).map_err(|_| not_ours())
}

/// Takes a bundle's parts away, whichever there are; the caller has locked it. The record goes last.
///
/// # Errors
/// Something of it is in use; the system's reason. What is left is known of.
pub fn parts(bundles: &Bundles, id: &BundleId, record: &Record) -> Result<Folder> {
    let source = overlay::source(id);
    let folder = match open_place(record)? {
        // An inode's number is given away again.
        Some(folder) => is_of(&folder, id)?.then_some(folder),
        None if overlay::is_mounted(&source)? => {
            return Err(Error::conflict("its folder was moved, and its root is mounted"));
        }
        None => None,
    };
    // First what may be refused: a bundle whose root is in use stays one. It would be swept otherwise as soon as it
    // is not in use any more, with all that its user has put into it since.
    if let Some(folder) = folder.as_ref().filter(|_| record.is_overlay) {
        unmount(folder, &source)?;
    }
    if let Some(folder) = folder.as_ref().filter(|_| !record.is_overlay)
        && overlay::has_mounts(folder.as_fd(), ROOT)?
    {
        return Err(Error::conflict(format!("something is mounted in its {ROOT}")));
    }
    // From here on it is something to be swept.
    bundles.write(id, &Record { complete: false, ..record.clone() })?;
    let state = match folder {
        Some(folder) => clear(folder, record)?,
        None => Folder::Missing,
    };
    bundles.remove(id)?;
    Ok(state)
}

/// The folder, if it is still where it was made.
///
/// # Errors
/// The system's reason.
pub(crate) fn open_place(record: &Record) -> Result<Option<OwnedFd>> {
    let words = || format!("open {:?}", record.folder);
    let folder = match fs::open(&record.folder, FOLDER, Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(errno) => return Err(errno).during(words),
    };
    let stat = fs::fstat(&folder).during(words)?;
    Ok(((stat.st_dev, stat.st_ino) == (record.device, record.inode)).then_some(folder))
}

/// A folder with another marker, or other files and none, is another's.
fn is_of(folder: &OwnedFd, id: &BundleId) -> Result<bool> {
    match read_marker(folder.as_fd()) {
        Ok(found) => Ok(found == *id),
        // Not yet, or no more.
        Err(_) => is_empty(folder),
    }
}

/// Takes the overlay off its folder, if it is there.
fn unmount(folder: &OwnedFd, source: &str) -> Result<()> {
    match fs::statat(folder, ROOT, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        result => drop(result.during(|| format!("stat {ROOT:?}"))?),
    }
    match overlay::look(folder.as_fd(), ROOT, source)? {
        Mounted::Ours => overlay::detach(folder.as_fd(), ROOT),
        Mounted::Nothing => Ok(()),
        Mounted::Other => Err(Error::conflict(format!("something else is mounted on its {ROOT}"))),
    }
}

fn clear(folder: OwnedFd, record: &Record) -> Result<Folder> {
    let removed = if record.is_overlay {
        // Empty, or somebody has put something below the mount.
        fs::unlinkat(&folder, ROOT, AtFlags::REMOVEDIR).during(|| format!("rmdir {ROOT:?}"))
    } else {
        let root = c_string(ROOT)?;
        remove_all(folder.as_fd(), &root)
    };
    match removed {
        Err(error) if error.kind() != Kind::NotFound => return Err(error),
        _ => {}
    }
    // The marker last: it is what makes the folder a bundle.
    for name in [DOCUMENT, MARKER] {
        match fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).during(|| format!("unlink {name:?}")),
        }
    }
    if !is_empty(&folder)? {
        return Ok(Folder::Kept);
    }
    drop(folder);
    if record.made_folder {
        match std::fs::remove_dir(&record.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => return Ok(Folder::Kept),
            result => result.during(|| format!("rmdir {:?}", record.folder))?,
        }
    }
    Ok(Folder::Cleared)
}

fn is_empty(folder: &OwnedFd) -> Result<bool> {
    let mut entries = fs::Dir::read_from(folder).during(|| "getdents".into())?;
    Ok(!entries.any(|entry| entry.is_ok_and(|entry| !matches!(entry.file_name().to_bytes(), b"." | b".."))))
}

/// Removes a folder of the store with all in it, if it is there.
///
/// # Errors
/// The system's reason.
pub(crate) fn forget(folder: &Path) -> Result<()> {
    let parent =
        File::open(folder.parent().unwrap_or(Path::new("/"))).during(|| format!("open above {folder:?}"))?;
    let name = c_string(folder.file_name().unwrap_or_default().as_bytes())?;
    match remove_all(parent.as_fd(), &name) {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        result => result,
    }
}
