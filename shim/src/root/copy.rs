//! A root as a copy of the store's layers, the lowest first: each hides what it says is hidden, and what is in it takes
//! the place of what was there.
//!
//! Both sides are walked by descriptors and no link is followed. The layers are the store's own and do not change; the
//! copy lies in a folder that is the caller's alone. Hard links, holes, owners, modes, times and extended attributes
//! are those of the layers; overlayfs's own marks stay behind.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::root::data;
use crate::root::make::check;
use crate::store::layer::{copy_description, is_opaque};
use crate::unpack::c_string;
use crate::unpack::remove::remove_all;
use crate::unpack::tree::is_the_hosts;

/// Copies the trees of the layers, the lowest first, into an empty folder.
///
/// # Errors
/// The first file that cannot be copied, by its name; somebody wants it to end. What was copied stays: the caller throws
/// it away.
pub fn copy(layers: &[PathBuf], target: BorrowedFd, interrupted: &AtomicBool) -> Result<()> {
    for layer in layers {
        let words = || format!("copy {layer:?}");
        let source = fs::open(layer, FOLDER, Mode::empty()).during(words)?;
        let target = target.try_clone_to_owned().during(words)?;
        let mut copy = Copy { root: target.as_fd(), at: Vec::new(), links: HashMap::new(), interrupted };
        copy.folder(&source, &target).during(words)?;
    }
    Ok(())
}

/// Copies what is in a folder, which does not change meanwhile, into an empty one, which then looks like it.
///
/// # Errors
/// As [`copy`].
pub fn contents(source: &OwnedFd, target: &OwnedFd, interrupted: &AtomicBool) -> Result<()> {
    let mut copy = Copy { root: target.as_fd(), at: Vec::new(), links: HashMap::new(), interrupted };
    copy.folder(source, target)
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Folders in folders that are copied: each is open on both sides meanwhile, and 1024 descriptors are what is usual.
const DEPTH_MAX: usize = 400;

struct Copy<'a> {
    /// Where everything is copied to.
    root: BorrowedFd<'a>,
    /// Names of the folders down to the one that is being copied.
    at: Vec<CString>,
    /// Where, below the root, the first name of a file with several was copied to. Descriptors of them would run out.
    links: HashMap<(u64, u64), Vec<u8>>,
    interrupted: &'a AtomicBool,
}

impl Copy<'_> {
    fn folder(&mut self, source: &OwnedFd, target: &OwnedFd) -> Result<()> {
        // All names first: what reads them has a descriptor of its own.
        let entries = fs::Dir::read_from(source).and_then(Iterator::collect::<rustix::io::Result<Vec<_>>>);
        for entry in entries.during(|| "getdents".into())? {
            let name = entry.file_name().to_owned();
            if !matches!(name.as_bytes(), b"." | b"..") {
                self.entry(source, target, &name).during(|| format!("{name:?}"))?;
            }
        }
        copy_description(source, target)
    }

    fn entry(&mut self, source: &OwnedFd, target: &OwnedFd, name: &CString) -> Result<()> {
        check(self.interrupted)?;
        let stat = fs::statat(source, &**name, AtFlags::SYMLINK_NOFOLLOW).during(|| "fstatat".into())?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            return clear(target, name);
        }
        if kind == FileType::Directory {
            return self.inner_folder(source, target, name);
        }
        clear(target, name)?;
        let several = stat.st_nlink > 1;
        if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
            return self.link(first, target, name);
        }
        match kind {
            FileType::RegularFile => copy_file(source, target, name, &stat)?,
            FileType::Symlink => {
                let to = fs::readlinkat(source, &**name, Vec::new()).during(|| "readlinkat".into())?;
                fs::symlinkat(&*to, target, &**name).during(|| "symlinkat".into())?;
                describe(source, target, name, &stat, None)?;
            }
            kind => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                fs::mknodat(target, &**name, kind, mode, stat.st_rdev).during(|| "mknodat".into())?;
                describe(source, target, name, &stat, Some(mode))?;
            }
        }
        if several {
            let path = self.at.iter().chain([name]).map(|part| part.as_bytes()).collect::<Vec<_>>();
            self.links.insert((stat.st_dev, stat.st_ino), path.join(&b'/'));
        }
        Ok(())
    }

    /// One more name for a file that is copied.
    fn link(&self, first: &[u8], target: &OwnedFd, name: &CStr) -> Result<()> {
        let (folder, first) = match first.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (open_folder(self.root, &c_string(&first[..at])?)?, &first[at + 1..]),
            None => (self.root.try_clone_to_owned().during(|| "dup".into())?, first),
        };
        fs::linkat(folder, &*c_string(first)?, target, name, AtFlags::empty()).during(|| "linkat".into())
    }

    fn inner_folder(&mut self, source: &OwnedFd, target: &OwnedFd, name: &CString) -> Result<()> {
        if self.at.len() >= DEPTH_MAX {
            return Err(Error::invalid(format!("more than {DEPTH_MAX} folders in one another")));
        }
        let source = open_folder(source.as_fd(), name)?;
        let there = match fs::statat(target, &**name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno).during(|| "fstatat".into()),
        };
        let stays = there == Some(FileType::Directory) && !is_opaque(&source)?;
        if !stays {
            clear(target, name)?;
            fs::mkdirat(target, &**name, Mode::RWXU).during(|| "mkdirat".into())?;
        }
        let target = open_folder(target.as_fd(), name)?;
        self.at.push(name.clone());
        let result = self.folder(&source, &target);
        self.at.pop();
        result
    }
}

fn open_folder(parent: BorrowedFd, name: &CStr) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    fs::openat2(parent, name, FOLDER, Mode::empty(), resolve).during(|| "openat2".into())
}

/// Takes away what a lower layer has under this name.
fn clear(target: &OwnedFd, name: &CString) -> Result<()> {
    match fs::unlinkat(target, &**name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => remove_all(target.as_fd(), name),
        Err(errno) => Err(errno).during(|| "unlinkat".into()),
    }
}

/// A file with its data; holes stay holes, and where the file system can, the data is shared (copy_file_range(2)).
fn copy_file(source: &OwnedFd, target: &OwnedFd, name: &CString, stat: &Stat) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let from = fs::openat(source, &**name, flags, Mode::empty()).during(|| "openat".into())?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let to = fs::openat(target, &**name, flags, Mode::RUSR | Mode::WUSR).during(|| "openat".into())?;
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    if data::copy(&from, &to, size)? < size {
        return Err(Error::invalid("the file became shorter"));
    }
    // The owner first: changing it takes set-id bits and capabilities away.
    copy_description(&from, &to)
}

/// Owner, attributes, mode and times of what cannot be opened: links, pipes, sockets, devices.
fn describe(
    source: &OwnedFd,
    target: &OwnedFd,
    name: &CString,
    stat: &Stat,
    mode: Option<Mode>,
) -> Result<()> {
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fs::chownat(target, &**name, Some(uid), Some(gid), nofollow).during(|| "fchownat".into())?;
    copy_attributes(source, target, name)?;
    if let Some(mode) = mode {
        // Made here, just now, and no link.
        fs::chmodat(target, &**name, mode, AtFlags::empty()).during(|| "fchmodat".into())?;
    }
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or_default(),
    };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    fs::utimensat(target, &**name, &times, nofollow).during(|| "utimensat".into())
}

/// As in `unpack`: the folder by its descriptor, the last part not followed.
fn copy_attributes(source: &OwnedFd, target: &OwnedFd, name: &CString) -> Result<()> {
    let by = |folder: &OwnedFd| {
        let folder = format!("/proc/self/fd/{}/", folder.as_raw_fd());
        c_string([folder.as_bytes(), name.as_bytes()].concat())
    };
    let (from, to) = (by(source)?, by(target)?);
    let mut names = vec![0; 1 << 16];
    let length = match fs::llistxattr(&*from, &mut names) {
        Err(Errno::OPNOTSUPP) => 0,
        result => result.during(|| "llistxattr".into())?,
    };
    for attribute in names[..length].split_inclusive(|byte| *byte == 0) {
        let attribute =
            CStr::from_bytes_with_nul(attribute).map_err(|_| Error::invalid("a name of an attribute"))?;
        if is_the_hosts(attribute.to_bytes()) {
            continue;
        }
        let mut value = vec![0; 1 << 16];
        let words = || format!("xattr {attribute:?}");
        let length = fs::lgetxattr(&*from, attribute, &mut value[..]).during(words)?;
        fs::lsetxattr(&*to, attribute, &value[..length], XattrFlags::empty()).during(words)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;
    use std::fs as std_fs;
    use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink};

    fn whiteout(path: &std::path::Path) {
        let parent = std_fs::File::open(path.parent().unwrap()).unwrap();
        let name = path.file_name().unwrap();
        fs::mknodat(&parent, name, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    }

    fn copied(scratch: &Scratch, layers: &[&str]) -> PathBuf {
        let target = scratch.join("target");
        std_fs::create_dir(&target).unwrap();
        let layers: Vec<PathBuf> = layers.iter().map(|layer| scratch.join(layer)).collect();
        copy(&layers, std_fs::File::open(&target).unwrap().as_fd(), &AtomicBool::new(false)).unwrap();
        target
    }

    #[test]
    fn a_higher_layer_hides_and_replaces_what_a_lower_one_has() {
        let scratch = Scratch::new();
        let (low, high) = (scratch.join("low"), scratch.join("high"));
        for folder in [
            "low/gone/deep",
            "low/opaque/old",
            "low/merged",
            "low/becomes-file",
            "high/opaque",
            "high/merged",
        ] {
            std_fs::create_dir_all(scratch.join(folder)).unwrap();
        }
        for file in
            ["gone/deep/file", "hidden", "opaque/old/file", "merged/low", "becomes-file/x", "replaced"]
        {
            std_fs::write(low.join(file), "low").unwrap();
        }
        symlink("/etc", low.join("becomes-folder")).unwrap();
        std_fs::create_dir(high.join("becomes-folder")).unwrap();
        for file in ["opaque/new", "merged/high", "becomes-file", "replaced", "becomes-folder/file"] {
            std_fs::write(high.join(file), "high").unwrap();
        }
        whiteout(&high.join("gone"));
        whiteout(&high.join("hidden"));
        whiteout(&high.join("never-there"));
        let opaque = std_fs::File::open(high.join("opaque")).unwrap();
        fs::fsetxattr(&opaque, "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        let target = copied(&scratch, &["low", "high"]);
        for gone in ["gone", "hidden", "never-there", "opaque/old"] {
            assert!(std_fs::symlink_metadata(target.join(gone)).is_err(), "{gone}");
        }
        for (file, text) in [
            ("opaque/new", "high"),
            ("merged/low", "low"),
            ("merged/high", "high"),
            ("becomes-file", "high"),
            ("replaced", "high"),
            ("becomes-folder/file", "high"),
        ] {
            assert_eq!(std_fs::read_to_string(target.join(file)).unwrap(), text, "{file}");
        }
        assert!(std_fs::symlink_metadata(target.join("becomes-folder")).unwrap().is_dir());
        let open = std_fs::File::open(target.join("opaque")).unwrap();
        let mark = fs::fgetxattr(&open, "trusted.overlay.opaque", &mut [0_u8; 8][..]);
        assert_eq!(mark, Err(Errno::NODATA), "the mark stays behind");
        assert_eq!(std_fs::read_to_string(low.join("hidden")).unwrap(), "low", "the layer is as it was");
    }

    #[test]
    fn everything_about_a_file_is_copied() {
        let scratch = Scratch::new();
        let low = scratch.join("low");
        std_fs::create_dir_all(low.join("d")).unwrap();
        std_fs::write(low.join("set-id"), "x").unwrap();
        chown(low.join("set-id"), Some(7), Some(8)).unwrap();
        std_fs::set_permissions(low.join("set-id"), std_fs::Permissions::from_mode(0o6755)).unwrap();
        std_fs::hard_link(low.join("set-id"), low.join("d/same")).unwrap();
        let sparse = std_fs::File::create(low.join("sparse")).unwrap();
        sparse.write_all_at(b"end", 50 << 20).unwrap();
        sparse.set_len(60 << 20).unwrap();
        symlink("/nowhere", low.join("link")).unwrap();
        let open = std_fs::File::open(&low).unwrap();
        fs::mknodat(&open, "null", FileType::CharacterDevice, Mode::RUSR, fs::makedev(1, 3)).unwrap();
        fs::mknodat(&open, "pipe", FileType::Fifo, Mode::RWXU, 0).unwrap();
        let attribute = |path: &std::path::Path| {
            let mut value = [0; 8];
            fs::lgetxattr(path, "trusted.test", &mut value[..]).map(|length| value[..length].to_vec())
        };
        for name in ["set-id", "pipe", "link"] {
            fs::lsetxattr(low.join(name), "trusted.test", b"v", XattrFlags::empty()).unwrap();
        }
        chown(low.join("d"), Some(9), Some(9)).unwrap();
        let times = Timestamps {
            last_access: Timespec { tv_sec: 5, tv_nsec: 6 },
            last_modification: Timespec { tv_sec: 7, tv_nsec: 8 },
        };
        for name in ["set-id", "d", "link", "sparse"] {
            fs::utimensat(&open, name, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }
        let target = copied(&scratch, &["low"]);
        for name in ["set-id", "d/same", "sparse", "link", "null", "pipe", "d"] {
            let [old, new] = [&low, &target].map(|root| std_fs::symlink_metadata(root.join(name)).unwrap());
            let of = |stat: &std_fs::Metadata| {
                (stat.mode(), stat.uid(), stat.gid(), stat.mtime(), stat.mtime_nsec(), stat.rdev())
            };
            assert_eq!(of(&old), of(&new), "{name}");
            assert_eq!(attribute(&low.join(name)), attribute(&target.join(name)), "{name}");
        }
        let stat = |name: &str| std_fs::symlink_metadata(target.join(name)).unwrap();
        assert_eq!((stat("set-id").ino(), stat("set-id").nlink()), (stat("d/same").ino(), 2));
        assert_eq!(stat("sparse").len(), 60 << 20);
        assert!(stat("sparse").blocks() * 512 < 1 << 20, "the hole is one");
        assert_eq!(std_fs::read_link(target.join("link")).unwrap().to_str(), Some("/nowhere"));
    }

    #[test]
    fn hard_links_and_deep_folders_use_up_neither_descriptors_nor_the_stack() {
        // As much stack as the main thread has, and not what the test harness gives.
        let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(copy_links_and_deep_folders);
        thread.unwrap().join().unwrap();
    }

    fn copy_links_and_deep_folders() {
        let scratch = Scratch::new();
        let low = scratch.join("low/d");
        std_fs::create_dir_all(&low).unwrap();
        // More than there are descriptors, as a rule.
        for number in 0..1100 {
            std_fs::write(low.join(format!("{number}a")), "x").unwrap();
            std_fs::hard_link(low.join(format!("{number}a")), low.join(format!("{number}b"))).unwrap();
        }
        let deep: PathBuf = std::iter::repeat_n("n", DEPTH_MAX - 1).collect();
        std_fs::create_dir_all(low.join(&deep)).unwrap();
        let target = copied(&scratch, &["low"]);
        for number in [0, 1099] {
            let inode = |name: String| std_fs::metadata(target.join("d").join(name)).unwrap().ino();
            assert_eq!(inode(format!("{number}a")), inode(format!("{number}b")));
        }
        assert!(target.join("d").join(&deep).is_dir());

        std_fs::create_dir(low.join(deep).join("n")).unwrap();
        std_fs::create_dir(scratch.join("second")).unwrap();
        let second = std_fs::File::open(scratch.join("second")).unwrap();
        let error =
            copy(&[scratch.join("low")], second.as_fd(), &AtomicBool::new(false)).unwrap_err().to_string();
        assert!(error.ends_with("more than 400 folders in one another"), "{error}");
    }
}
