//! The birth of a bundle, in an order that leaves nothing behind that is not known of.
//!
//! First the layers are claimed, then the record says what will be made and where, then it is made; when all of it is
//! there, the record says so. Whoever comes after a crash finds the record and takes away what there is.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{self, Mode, OFlags};

use crate::bundle::ROOT;
use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::root::record::{BundleId, Bundles, Making, Record};
use crate::root::{copy, overlay, remove};
use crate::store::image::Image;
use crate::store::layer::{Layers, copy_description};
use crate::store::lease::Leases;
use crate::unpack::tree::As;

/// In a bundle's folder, with its id.
pub const MARKER: &str = ".caisson-bundle";
/// The document's name.
pub const DOCUMENT: &str = "config.json";

/// What is to be made.
#[derive(Debug)]
pub struct Request<'a> {
    /// Where the store is.
    pub store: &'a Path,
    /// Its image's id.
    pub image_id: &'a Digest,
    /// The image.
    pub image: &'a Image,
    /// Where to; not there yet, or empty.
    pub folder: &'a Path,
    /// A copy, not an overlay.
    pub copy: bool,
    /// Who makes it.
    pub who: As,
    /// Set when somebody wants it to end.
    pub interrupted: &'a AtomicBool,
}

/// Makes a bundle. `document` is asked for the bytes of config.json when the root is there: by it users are looked up,
/// and its folder for the program is made.
///
/// # Errors
/// The system's reason, or those of `document`; nothing of the bundle is left then.
pub fn make(
    request: &Request,
    document: impl FnOnce(&BundleId, BorrowedFd) -> Result<Vec<u8>>,
) -> Result<BundleId> {
    let bundles = Bundles::open(request.store)?;
    // What a crash has left may be in the way.
    bundles.sweep()?;
    let id = BundleId::random()?;
    let mut lease = Leases::open(request.store)?.begin()?;
    lease.claim(&request.image.layers.iter().collect::<Vec<_>>())?;
    let layers = trees(request)?;

    let place = Place::prepare(request.folder)?;
    let record = Record {
        folder: place.path.clone(),
        device: place.device,
        inode: place.inode,
        made_folder: place.made,
        image: request.image_id.clone(),
        layers: if request.copy { Vec::new() } else { request.image.layers.clone() },
        is_overlay: !request.copy,
        complete: false,
    };
    let begun = bundles.begin(&id, &record).inspect_err(|_| place.take_back());
    let result = begun.and_then(|making| {
        fill(request, &place, &layers, &making, &id, document).map_err(|error| {
            match remove::parts(&bundles, &id, &record) {
                Ok(_) => error,
                Err(clean_up) => error.and(&clean_up),
            }
        })?;
        bundles.write(&id, &Record { complete: true, ..record.clone() })
    });
    result.map(|()| id)
}

fn fill(
    request: &Request,
    place: &Place,
    layers: &[PathBuf],
    making: &Making,
    id: &BundleId,
    document: impl FnOnce(&BundleId, BorrowedFd) -> Result<Vec<u8>>,
) -> Result<()> {
    let folder = place.open.as_fd();
    write(folder, MARKER, id.as_str().as_bytes())?;
    // The image says what others may see of its root; the bundle's own folder is private.
    fs::mkdirat(folder, ROOT, Mode::from_raw_mode(0o755)).during(|| format!("mkdir {ROOT:?}"))?;
    if request.copy {
        copy::copy(layers, open_root(folder)?.as_fd(), request.interrupted)?;
    } else {
        mount(request, layers, making, id, folder)?;
    }
    let root = open_root(folder)?;
    let bytes = document(id, root.as_fd())?;
    write(folder, DOCUMENT, &bytes)?;
    check(request.interrupted)
}

/// The error of who was interrupted.
///
/// # Errors
/// Somebody wants it to end.
pub(super) fn check(interrupted: &AtomicBool) -> Result<()> {
    if interrupted.load(Ordering::Relaxed) {
        Err(Error::new(Kind::Interrupted, "interrupted"))
    } else {
        Ok(())
    }
}

/// Trees of the layers that are to be seen, the lowest first.
fn trees(request: &Request) -> Result<Vec<PathBuf>> {
    let layers = Layers::open(request.store)?;
    let mut trees = Vec::new();
    for chain_id in &request.image.layers {
        let layer = layers.get(chain_id)?.ok_or_else(|| {
            Error::not_found(format!("layer {chain_id} is missing: pull or load the image again"))
        })?;
        if layer.hides_all_below {
            trees.clear();
        }
        trees.push(layers.tree(chain_id));
    }
    Ok(trees)
}

fn mount(
    request: &Request,
    layers: &[PathBuf],
    making: &Making,
    id: &BundleId,
    folder: BorrowedFd,
) -> Result<()> {
    let [upper, work, empty] = ["upper", "work", "empty"].map(|name| making.path().join(name));
    for path in [&upper, &work] {
        std::fs::create_dir(path).during(|| format!("mkdir {path:?}"))?;
    }
    let mut lower: Vec<PathBuf> = layers.iter().rev().cloned().collect();
    if lower.is_empty() {
        std::fs::create_dir(&empty).during(|| format!("mkdir {empty:?}"))?;
        lower.push(empty);
    }
    // An overlay's root looks as its upper folder does.
    let open = |path: &PathBuf| File::open(path).map(OwnedFd::from).during(|| format!("open {path:?}"));
    copy_description(&open(&lower[0])?, &open(&upper)?).during(|| format!("{upper:?}"))?;
    let source = overlay::source(id);
    let overlay = overlay::Overlay {
        source: &source,
        lower: &lower,
        upper: &upper,
        work: &work,
        who: request.who,
        passing: false,
        label: None,
    };
    overlay::attach(&overlay, folder, ROOT)
}

fn open_root(folder: BorrowedFd) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(folder, ROOT, flags, Mode::empty()).during(|| format!("open {ROOT:?}"))
}

fn write(folder: BorrowedFd, name: &str, bytes: &[u8]) -> Result<()> {
    let words = || format!("write {name:?}");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let mut file = File::from(fs::openat(folder, name, flags, mode).during(words)?);
    file.write_all(bytes).and_then(|()| file.sync_all()).during(words)
}

/// The bundle's folder.
struct Place {
    path: PathBuf,
    open: OwnedFd,
    device: u64,
    inode: u64,
    made: bool,
}

impl Place {
    /// Makes the folder, or takes one that is empty and the caller's; nobody else may do anything in it.
    fn prepare(given: &Path) -> Result<Place> {
        let words = || format!("bundle {given:?}");
        let path = std::path::absolute(given).during(words)?;
        let made = match std::fs::create_dir(&path) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error).during(words),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = File::from(fs::open(&path, flags, Mode::empty()).during(words)?);
        let stat = open.metadata().during(words)?;
        if stat.uid() != rustix::process::geteuid().as_raw() {
            let reason = format!("it belongs to user {}", stat.uid());
            return Err(Error::new(Kind::Denied, reason)).during(words);
        }
        if !made {
            let mut entries = fs::Dir::read_from(&open).during(words)?;
            let is_entry = |name: &[u8]| name != b"." && name != b"..";
            if entries.any(|entry| entry.is_ok_and(|entry| is_entry(entry.file_name().to_bytes()))) {
                return Err(Error::conflict("it is not empty")).during(words);
            }
        }
        fs::fchmod(&open, Mode::RWXU).during(words)?;
        Ok(Place { path, open: open.into(), device: stat.dev(), inode: stat.ino(), made })
    }

    /// Nothing was put into it.
    fn take_back(&self) {
        if self.made {
            // It is empty, or somebody has use for it.
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}
