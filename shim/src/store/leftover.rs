//! What is of no use to anybody: what crashes and broken downloads have left in `ingest`.
//!
//! What nobody has locked is nobody's work; a download that stopped is worth keeping until somebody cleans up for good.

use std::fs::{self, File, TryLockError};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::container::store::DRAFT;
use crate::error::{Context, Result};
use crate::store::draft::KINDS;
use crate::store::folder::{make_private, names};
use crate::unpack::c_string;
use crate::unpack::remove::remove_all;

/// What the folder of a volume in the making is called, with something unique behind it.
pub const VOLUME: &str = "volume-";

/// Removes what crashes have left, with downloads that stopped if that is asked for; how many there were. The caller has
/// closed the gate.
///
/// # Errors
/// The system's reason.
pub fn sweep(root: &Path, with_downloads: bool) -> Result<usize> {
    let ingest = root.join("ingest");
    make_private(&ingest)?;
    let folder = File::open(&ingest).during(|| format!("open {ingest:?}"))?;
    let mut count = 0;
    each(root, |name, path, is_folder| {
        if is_download(name) && !with_downloads {
            return Ok(());
        }
        count += 1;
        let c_name = c_string(name)?;
        if is_folder {
            remove_all(folder.as_fd(), &c_name)
        } else {
            fs::remove_file(path).during(|| format!("remove {path:?}"))
        }
    })?;
    Ok(count)
}

/// Is it what came of some content until its download stopped? The next one goes on from there.
#[must_use]
pub fn is_download(name: &str) -> bool {
    name.starts_with("sha256-") || name.starts_with("sha512-")
}

/// Folders that appear, or are taken away, without a lock, named by the process that does it.
fn is_of_the_dead(name: &str) -> bool {
    let rest = ["gone-", "bundle-", VOLUME].iter().find_map(|kind| name.strip_prefix(kind));
    rest.is_some_and(is_named_by_the_dead)
}

/// Is the process gone that gave something this name ([`record::unique_name`](super::record::unique_name))?
fn is_named_by_the_dead(name: &str) -> bool {
    let pid = name.split_once('-').and_then(|(pid, _)| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

/// Has a command that was killed left a container in the making or a removed one, or a claim? Costs next to nothing.
///
/// # Errors
/// The system's reason.
pub fn is_any_of_the_dead(root: &Path) -> Result<bool> {
    for (folder, kinds) in [("ingest", &[DRAFT, "gone-", VOLUME][..]), ("leases", &[""])] {
        for name in names(&root.join(folder))? {
            if kinds.iter().any(|kind| name.strip_prefix(kind).is_some_and(is_named_by_the_dead)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Calls with name, path and whether it is a folder for each that nobody has locked; the lock is held meanwhile.
///
/// # Errors
/// The system's reason; those of the call.
pub fn each(root: &Path, mut with: impl FnMut(&str, &Path, bool) -> Result<()>) -> Result<()> {
    let ingest = root.join("ingest");
    let words = || format!("read {ingest:?}");
    for entry in fs::read_dir(&ingest).during(words)? {
        let entry = entry.during(words)?;
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        let mut locked = ["layer-", DRAFT].iter().chain(&KINDS);
        let is_locked = is_download(&name) || locked.any(|kind| name.starts_with(kind));
        if !is_locked && !is_of_the_dead(&name) {
            continue;
        }
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            open => open.during(|| format!("open {path:?}"))?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(error).during(|| format!("lock {path:?}")),
        }
        // Whoever had the lock until now may have given it its name in the store, or removed it, and the name may be
        // another's by now.
        let mine = file.metadata().during(|| format!("stat {path:?}"))?;
        let is_same = |there: fs::Metadata| (there.dev(), there.ino()) == (mine.dev(), mine.ino());
        if fs::symlink_metadata(&path).is_ok_and(is_same) {
            with(&name, &path, mine.is_dir())?;
        }
    }
    Ok(())
}
