//! Unpacked layers, by chain id: a folder tree that overlayfs can take as it is, and a record.
//!
//! `layers/HEX/` is complete: it gets this name when all of it is on the disk. It is made in `ingest/layer-HEX`,
//! which who makes it has locked; what a crash left there, the next one throws away. Layers of one image are
//! unpacked at the same time but completed from the lowest up, because what a layer does not say of a folder
//! (owner, mode, …) it has from the layers below.

use std::ffi::CStr;
use std::fs::{self as std_fs, File};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::store::folder::make_private;
use crate::store::record;
use crate::unpack::c_string;
use crate::unpack::remove::remove_all;
use crate::unpack::tree::{As, Unpacked, is_the_hosts};

/// What is known of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Layer {
    /// Digest of the unpacked archive.
    pub diff_id: Digest,
    /// The layer below.
    pub parent: Option<Digest>,
    /// Bytes of all files' data, and of where links lead.
    pub size: u64,
    /// Nothing of the layers below is to be seen.
    pub hides_all_below: bool,
    /// What could not be kept, in words.
    pub lost: Vec<String>,
}

/// The layers of a store.
#[derive(Clone, Debug)]
pub struct Layers {
    done: PathBuf,
    ingest: PathBuf,
}

impl Layers {
    /// The layers below this folder, made if it is not there.
    ///
    /// # Errors
    /// The system's reason.
    pub fn open(root: &Path) -> Result<Layers> {
        let (done, ingest) = (root.join("layers"), root.join("ingest"));
        make_private(&done)?;
        make_private(&ingest)?;
        Ok(Layers { done, ingest })
    }

    /// Where the layer lies once it is there.
    #[must_use]
    pub fn path(&self, chain_id: &Digest) -> PathBuf {
        self.done.join(chain_id.hex())
    }

    /// The layer's tree of files.
    #[must_use]
    pub fn tree(&self, chain_id: &Digest) -> PathBuf {
        self.done.join(chain_id.hex()).join("diff")
    }

    /// What is known of a layer; None if it is not there.
    ///
    /// # Errors
    /// A damaged record, or the system's reason.
    pub fn get(&self, chain_id: &Digest) -> Result<Option<Layer>> {
        record::read(&self.done.join(chain_id.hex()).join("layer.json"))
    }

    /// Chain ids of all that are there, in order.
    ///
    /// # Errors
    /// A name that is no digest's, or the system's reason.
    pub fn list(&self) -> Result<Vec<Digest>> {
        let words = || format!("read {:?}", self.done);
        let mut found = Vec::new();
        for entry in std_fs::read_dir(&self.done).during(words)? {
            let name = entry.during(words)?.file_name();
            let hex = name.to_string_lossy();
            // The lowest layer's chain id is its own digest, which may be of either kind.
            let kinds = ["sha256", "sha512"].map(|kind| Digest::parse(&format!("{kind}:{hex}")));
            let [sha256, sha512] = kinds;
            found.push(sha256.or(sha512).during(words)?);
        }
        found.sort();
        Ok(found)
    }

    /// Begins a layer; None if it is there. While somebody else makes the same, this waits.
    ///
    /// # Errors
    /// The system's reason.
    pub fn begin(&self, chain_id: &Digest) -> Result<Option<Making>> {
        let folder = self.ingest.join(format!("layer-{}", chain_id.hex()));
        let done = self.done.join(chain_id.hex());
        let words = || format!("layer {chain_id}");
        loop {
            match make_private(&folder) {
                // Whoever made the same has just given it its name in the store.
                Err(error) if error.kind() == Kind::NotFound => continue,
                made => made?,
            }
            let lock = match File::open(&folder) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                open => open.during(words)?,
            };
            lock.lock().during(words)?;
            let is_done = done.try_exists().during(words)?;
            // It may have been renamed or removed between the calls: then the name is another's, or nobody's.
            let (mine, there) = (lock.metadata().during(words)?, std_fs::symlink_metadata(&folder).ok());
            let is_mine = there.is_some_and(|there| (there.dev(), there.ino()) == (mine.dev(), mine.ino()));
            match (is_done, is_mine) {
                (true, true) => return remove(&folder).map(|()| None),
                (true, false) => return Ok(None),
                (false, false) => {}
                (false, true) => {
                    empty(&folder).during(words)?;
                    let tree = folder.join("diff");
                    // What others may see of it, the image's own root folder says; if it does not, they may look in,
                    // whatever our umask is.
                    std_fs::create_dir(&tree).during(words)?;
                    let tree: OwnedFd = File::open(&tree).during(words)?.into();
                    fs::fchmod(&tree, Mode::from_raw_mode(0o755)).during(words)?;
                    return Ok(Some(Making { folder, done, tree, _lock: lock }));
                }
            }
        }
    }

    /// Removes a layer, which nothing may use any more.
    ///
    /// # Errors
    /// The system's reason.
    pub fn remove(&self, chain_id: &Digest) -> Result<()> {
        let words = || format!("layer {chain_id}");
        // First out of sight: what is half removed must not be taken for a layer.
        let gone = self.ingest.join(format!("gone-{}", record::unique_name()));
        match std_fs::rename(self.done.join(chain_id.hex()), &gone) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            result => result.during(words)?,
        }
        remove(&gone).during(words)
    }
}

/// A layer in the making.
#[derive(Debug)]
pub struct Making {
    folder: PathBuf,
    done: PathBuf,
    tree: OwnedFd,
    _lock: File,
}

impl Making {
    /// Where its files are to be unpacked.
    #[must_use]
    pub fn tree(&self) -> BorrowedFd<'_> {
        self.tree.as_fd()
    }

    /// All is unpacked, and the layers below are complete: `below` are their trees, the highest first.
    ///
    /// # Errors
    /// The system's reason; the layer is then not there.
    pub fn complete(self, layer: &Layer, unpacked: &Unpacked, below: &[PathBuf]) -> Result<()> {
        settle(self.tree(), unpacked, below)?;
        let path = self.folder.join("layer.json");
        let words = || format!("write {path:?}");
        let text =
            serde_json::to_vec(layer).map_err(|error| Error::invalid(error.to_string())).during(words)?;
        std_fs::write(&path, text).during(words)?;
        // One call for all its files, which a crash of the host would otherwise leave empty, and for the record.
        fs::syncfs(&self.tree).during(|| "syncfs".into())?;
        std_fs::rename(&self.folder, &self.done).during(|| format!("rename {:?}", self.folder))?;
        let parent = self.done.parent().unwrap_or(Path::new("/"));
        File::open(parent).and_then(|parent| parent.sync_all()).during(|| format!("fsync {parent:?}"))
    }

    /// Throws it away.
    ///
    /// # Errors
    /// The system's reason.
    pub fn abandon(self) -> Result<()> {
        remove(&self.folder)
    }
}

/// Gives an unpacked tree what it has because of the layers below, `below`, the highest first: whiteouts that hide nothing
/// go, and folders that its archive does not describe are as theirs.
///
/// # Errors
/// The system's reason.
pub fn settle(tree: BorrowedFd, unpacked: &Unpacked, below: &[PathBuf]) -> Result<()> {
    // What it hides is what the root holds, not the root itself, which each layer has.
    let root_below = below.first();
    let below = if unpacked.hides_all_below { &[] } else { below };
    let opened: Vec<OwnedFd> = below
        .iter()
        .map(|tree| File::open(tree).map(OwnedFd::from).during(|| format!("open {tree:?}")))
        .collect::<Result<_>>()?;
    for path in &unpacked.whiteouts {
        drop_idle_whiteout(tree, path, &opened)
            .during(|| format!("whiteout {:?}", String::from_utf8_lossy(path)))?;
    }
    for path in unpacked.implied_folders.iter().filter(|path| !path.is_empty()) {
        inherit(tree, path, &opened).during(|| format!("folder {:?}", String::from_utf8_lossy(path)))?;
    }
    if unpacked.implied_folders.contains(&b""[..]) {
        describe_root(tree, root_below).during(|| "the root".into())?;
    }
    Ok(())
}

/// The root, of which its own archive says nothing, is as in the layer below, which has all that those below it
/// say. A root that no archive describes has no time that could be told: the same one always, as with umoci.
fn describe_root(tree: BorrowedFd, below: Option<&PathBuf>) -> Result<()> {
    if let Some(below) = below {
        let below = File::open(below).map(OwnedFd::from).during(|| format!("open {below:?}"))?;
        return copy_description(&below, &tree.try_clone_to_owned()?);
    }
    let never = fs::Timespec { tv_sec: 0, tv_nsec: 0 };
    let times = fs::Timestamps { last_access: never, last_modification: never };
    fs::futimens(tree, &times).during(|| "utimensat".into())
}

/// Gives a folder what the folder of the same name in the layers below has, if overlayfs would show one.
fn inherit(tree: BorrowedFd, path: &[u8], below: &[OwnedFd]) -> Result<()> {
    // In its own layer it is there; one of the folders on the way may hide what is below.
    let folder = match look_up(tree, path)? {
        LookUp::Folder(folder, Below::Seen) => folder,
        LookUp::Folder(_, Below::Hidden) => return Ok(()),
        LookUp::Hidden | LookUp::Nothing => return Err(Error::new(Kind::NotFound, "it is gone")),
    };
    for layer in below {
        match look_up(layer.as_fd(), path)? {
            LookUp::Folder(source, _) => return copy_description(&source, &folder),
            LookUp::Hidden => return Ok(()),
            LookUp::Nothing => {}
        }
    }
    Ok(())
}

/// Takes away a whiteout that hides nothing. overlayfs looks for whiteouts only where it merges folders: in others it
/// would list the name of one, and then not find it.
fn drop_idle_whiteout(tree: BorrowedFd, path: &[u8], below: &[OwnedFd]) -> Result<()> {
    let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&b"."[..], path),
    };
    let name = c_string(name)?;
    let folder = match look_up(tree, parent)? {
        LookUp::Folder(folder, Below::Hidden) => folder,
        LookUp::Folder(folder, Below::Seen) if !shows(below, parent, &name)? => folder,
        // It hides something, or an entry of the same archive has taken its folder away again.
        _ => return Ok(()),
    };
    if !is_whiteout(folder.as_fd(), &name)? {
        return Ok(());
    }
    let stat = fs::fstat(&folder).during(|| "fstat".into())?;
    fs::unlinkat(&folder, &*name, AtFlags::empty()).during(|| "unlinkat".into())?;
    fs::futimens(&folder, &times(&stat)).during(|| "utimensat".into())
}

/// Whether there is anything of this name to be seen in the folder of that path, the highest layer first.
fn shows(layers: &[OwnedFd], parent: &[u8], name: &CStr) -> Result<bool> {
    for layer in layers {
        match look_up(layer.as_fd(), parent)? {
            LookUp::Hidden => return Ok(false),
            LookUp::Nothing => {}
            LookUp::Folder(folder, below) => {
                match fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(_) => return Ok(!is_whiteout(folder.as_fd(), name)?),
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno).during(|| "fstatat".into()),
                }
                if matches!(below, Below::Hidden) {
                    return Ok(false);
                }
            }
        }
    }
    Ok(false)
}

fn is_whiteout(folder: BorrowedFd, name: &CStr) -> Result<bool> {
    match fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => {
            let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
            Ok(is_device && stat.st_rdev == 0)
        }
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).during(|| "fstatat".into()),
    }
}

/// What a layer says of a path.
enum LookUp {
    /// It has this folder.
    Folder(OwnedFd, Below),
    /// Nothing of it, nor of the layers below it, is to be seen.
    Hidden,
    /// Nothing: the layers below count.
    Nothing,
}

/// What becomes of the same folder in the layers below.
enum Below {
    /// The two are merged.
    Seen,
    /// One of the folders on the way is opaque.
    Hidden,
}

/// Goes down the path as overlayfs does in one layer.
fn look_up(layer: BorrowedFd, path: &[u8]) -> Result<LookUp> {
    let mut opaque = false;
    let mut at = None;
    for end in
        path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([path.len()])
    {
        match open_beneath(layer, &path[..end])? {
            Some(folder) => {
                opaque |= is_opaque(&folder)?;
                at = Some(folder);
            }
            // A file, a link or a whiteout hides the folder; where nothing is, the layers below are seen, unless a
            // folder above is opaque.
            None if exists(layer, &path[..end])? || opaque => return Ok(LookUp::Hidden),
            None => return Ok(LookUp::Nothing),
        }
    }
    let below = if opaque { Below::Hidden } else { Below::Seen };
    Ok(at.map_or(LookUp::Nothing, |folder| LookUp::Folder(folder, below)))
}

/// The folder with this path, if all of it is folders.
fn open_beneath(tree: BorrowedFd, path: &[u8]) -> Result<Option<OwnedFd>> {
    let at = c_string(path)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match fs::openat2(tree, &*at, flags, Mode::empty(), resolve) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno).during(|| "openat2".into()),
    }
}

/// Is there anything under this name, in a folder that is known to be one?
fn exists(tree: BorrowedFd, path: &[u8]) -> Result<bool> {
    let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (open_beneath(tree, &path[..at])?, &path[at + 1..]),
        None => (None, path),
    };
    let name = c_string(name)?;
    let folder = parent.as_ref().map_or(tree, OwnedFd::as_fd);
    match fs::statat(folder, &*name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).during(|| "fstatat".into()),
    }
}

/// Does overlayfs show nothing of this folder in the layers below?
///
/// # Errors
/// The system's reason.
pub(crate) fn is_opaque(folder: &OwnedFd) -> Result<bool> {
    for mark in [As::Root.opaque_mark(), As::UserNamespaceRoot.opaque_mark()] {
        let mut value = [0; 8];
        match fs::fgetxattr(folder, mark, &mut value[..]) {
            Ok(length) if value[..length] == *b"y" => return Ok(true),
            Ok(_) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => {}
            Err(errno) => return Err(errno).during(|| format!("fgetxattr {mark}")),
        }
    }
    Ok(false)
}

/// Owner, attributes, mode and times of one open file or folder for another, in the order in which none takes another
/// away; overlayfs's own attributes stay behind.
///
/// # Errors
/// The system's reason.
pub(crate) fn copy_description(source: &OwnedFd, target: &OwnedFd) -> Result<()> {
    let stat = fs::fstat(source).during(|| "fstat".into())?;
    let (uid, gid) = (fs::Uid::from_raw(stat.st_uid), fs::Gid::from_raw(stat.st_gid));
    fs::fchown(target, Some(uid), Some(gid)).during(|| "fchown".into())?;
    let mut names = vec![0; 1 << 16];
    let length = match fs::flistxattr(source, &mut names) {
        Err(Errno::OPNOTSUPP) => 0,
        result => result.during(|| "flistxattr".into())?,
    };
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let name = CStr::from_bytes_with_nul(name).map_err(|_| Error::invalid("a name of an attribute"))?;
        if is_the_hosts(name.to_bytes()) {
            continue;
        }
        let mut value = vec![0; 1 << 16];
        let length = fs::fgetxattr(source, name, &mut value[..]).during(|| format!("fgetxattr {name:?}"))?;
        fs::fsetxattr(target, name, &value[..length], XattrFlags::empty())
            .during(|| format!("fsetxattr {name:?}"))?;
    }
    fs::fchmod(target, Mode::from_raw_mode(stat.st_mode & 0o7777)).during(|| "fchmod".into())?;
    fs::futimens(target, &times(&stat)).during(|| "utimensat".into())
}

/// Of a file, for another one.
pub(crate) fn times(stat: &fs::Stat) -> fs::Timestamps {
    let time = |seconds, nanoseconds: u64| fs::Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or_default(),
    };
    fs::Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// Removes a folder of the store with all in it.
fn remove(folder: &Path) -> Result<()> {
    let parent =
        File::open(folder.parent().unwrap_or(Path::new("/"))).during(|| format!("open above {folder:?}"))?;
    let name = folder.file_name().unwrap_or_default().as_bytes();
    let name = c_string(name)?;
    remove_all(parent.as_fd(), &name)
}

/// Removes all that is in a folder of the store.
fn empty(folder: &Path) -> Result<()> {
    let open = File::open(folder)?;
    for entry in std_fs::read_dir(folder)? {
        let name = c_string(entry?.file_name().as_bytes())?;
        let stat = fs::statat(&open, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            remove_all(open.as_fd(), &name)?;
        } else {
            fs::unlinkat(&open, &*name, AtFlags::empty())?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "layer_tests.rs"]
mod tests;
