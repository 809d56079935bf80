//! Trees of files into an archive, by descriptors: no link is followed and no other file system entered.
//!
//! What goes away while it is read is left out; a file that becomes shorter meanwhile is filled up with zeroes, as its
//! length stands before it, and told of. Sockets have no place in an archive. Of the extended attributes those are kept that
//! mean the same everywhere: capabilities, access control lists, and the users' own.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::pack::tar::{Entry, Tar, Type};
use crate::unpack::c_string;
use crate::unpack::tree::is_the_hosts;

/// Longest list of attributes, and longest value, in bytes (xattr(7)).
const ATTRIBUTE_MAX: usize = 1 << 16;
/// What is read at once, in bytes.
const BUFFER: usize = 1 << 17;

/// What is above a path, and its last part.
#[must_use]
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// A folder below the root; None if there is none of this path (any more).
///
/// # Errors
/// The system's reason.
pub fn open_folder(root: BorrowedFd, path: &[u8]) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let at = if path.is_empty() { c".".to_owned() } else { c_string(path)? };
    match fs::openat2(root, &*at, flags, Mode::empty(), resolve) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
        Err(errno) => Err(errno).during(|| format!("open {:?}", String::from_utf8_lossy(path))),
    }
}

/// Names in a folder, in order.
///
/// # Errors
/// The system's reason.
pub fn names(folder: &OwnedFd) -> Result<Vec<CString>> {
    let entries = fs::Dir::read_from(folder).and_then(Iterator::collect::<rustix::io::Result<Vec<_>>>);
    let entries = match entries {
        // Somebody has removed it since it was opened.
        Err(Errno::NOENT) => Vec::new(),
        entries => entries.during(|| "getdents".into())?,
    };
    let names = entries.into_iter().map(|entry| entry.file_name().to_owned());
    let mut names: Vec<CString> = names.filter(|name| !matches!(name.as_bytes(), b"." | b"..")).collect();
    names.sort_unstable();
    Ok(names)
}

/// What is under a name, itself; None if there is nothing.
///
/// # Errors
/// The system's reason.
pub fn stat(folder: &OwnedFd, name: &CStr) -> Result<Option<Stat>> {
    match fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).during(|| format!("fstatat {name:?}")),
    }
}

/// Puts files of one tree into an archive.
#[derive(Debug)]
pub struct Packer<'a, W> {
    tar: Tar<W>,
    root: BorrowedFd<'a>,
    /// Under which path a file with several names is in the archive.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// The folder of the entry before, which is that of the next one most of the time.
    last: Option<(Vec<u8>, OwnedFd)>,
    changed: Vec<String>,
    buffer: Vec<u8>,
}

impl<'a, W: Write> Packer<'a, W> {
    /// Of the tree below this folder.
    pub fn new(root: BorrowedFd<'a>, out: W) -> Packer<'a, W> {
        Packer {
            tar: Tar::new(out),
            root,
            links: HashMap::new(),
            last: None,
            changed: Vec::new(),
            buffer: vec![0; BUFFER],
        }
    }

    /// All of it, in order of the names.
    ///
    /// # Errors
    /// The first file that cannot be read, by its path; what cannot be written.
    pub fn all(&mut self) -> Result<()> {
        // Paths, the next one at the end: however deep the tree, one folder is open.
        let mut waiting: Vec<Vec<u8>> = vec![Vec::new()];
        while let Some(path) = waiting.pop() {
            let is_folder = path.is_empty() || self.add(&path)?;
            if !is_folder {
                continue;
            }
            let Some(folder) = open_folder(self.root, &path)? else { continue };
            let inner = names(&folder)?.into_iter().rev();
            waiting.extend(inner.map(|name| below(&path, name.as_bytes())));
        }
        Ok(())
    }

    /// One file, link, folder or device, by its path below the root. Whether it is a folder.
    ///
    /// # Errors
    /// As for [`Packer::all`].
    pub fn add(&mut self, path: &[u8]) -> Result<bool> {
        self.try_add(path).during(|| format!("{:?}", String::from_utf8_lossy(path)))
    }

    /// A mark that this path of the layers below is gone (OCI image-spec, "Whiteouts").
    ///
    /// # Errors
    /// What cannot be written.
    pub fn add_whiteout(&mut self, path: &[u8]) -> Result<()> {
        let (parent, name) = split(path);
        let name = [b".wh.", name].concat();
        self.tar.begin(&Entry { mode: 0, ..Entry::file(&below(parent, &name), 0) })
    }

    /// Ends the archive. What it was written to comes back, and the files that changed while they were read.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn end(self) -> Result<(W, Vec<String>)> {
        Ok((self.tar.end()?, self.changed))
    }

    fn try_add(&mut self, path: &[u8]) -> Result<bool> {
        let (parent, name) = split(path);
        let folder = match self.last.take() {
            Some((known, folder)) if known == parent => folder,
            _ => match open_folder(self.root, parent)? {
                Some(folder) => folder,
                None => return Ok(false),
            },
        };
        let added = self.entry(&folder, path, &c_string(name)?);
        self.last = Some((parent.to_vec(), folder));
        added
    }

    fn entry(&mut self, folder: &OwnedFd, path: &[u8], name: &CStr) -> Result<bool> {
        let Some(stat) = stat(folder, name)? else { return Ok(false) };
        let device = (fs::major(stat.st_rdev), fs::minor(stat.st_rdev));
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Type::File,
            FileType::Directory => Type::Folder,
            FileType::Symlink => Type::Symlink,
            FileType::Fifo => Type::Fifo,
            FileType::CharacterDevice => Type::Characters(device.0, device.1),
            FileType::BlockDevice => Type::Blocks(device.0, device.1),
            // Sockets, and what there is not yet.
            _ => return Ok(false),
        };
        let mut entry = Entry {
            path,
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: stat.st_mtime,
            ..Entry::file(path, 0)
        };
        let inode = (stat.st_dev, stat.st_ino);
        let has_names = kind != Type::Folder && stat.st_nlink > 1;
        if let Some(first) = self.links.get(&inode).filter(|_| has_names) {
            let target = first.clone();
            self.tar.begin(&Entry { kind: Type::Link, target: &target, ..entry })?;
            return Ok(false);
        }
        let attributes = attributes(folder, name)?;
        entry.attributes = &attributes;
        match kind {
            Type::Folder => {
                let path = [path, b"/"].concat();
                self.tar.begin(&Entry { path: &path, ..entry })?;
                return Ok(true);
            }
            Type::File => {
                if !self.file(folder, name, &stat, entry)? {
                    return Ok(false);
                }
            }
            Type::Symlink => {
                let target = match fs::readlinkat(folder, name, Vec::new()) {
                    Err(Errno::NOENT | Errno::INVAL) => return Ok(false),
                    target => target.during(|| "readlinkat".into())?,
                };
                // Links have no permissions of their own.
                self.tar.begin(&Entry { target: target.as_bytes(), mode: 0o777, ..entry })?;
            }
            _ => self.tar.begin(&entry)?,
        }
        if has_names {
            self.links.insert(inode, path.to_vec());
        }
        Ok(false)
    }

    /// A file with its data; whether it was there still.
    fn file(&mut self, folder: &OwnedFd, name: &CStr, stat: &Stat, entry: Entry) -> Result<bool> {
        // What has taken its place meanwhile may be a pipe that nobody writes to.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match fs::openat(folder, name, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(false),
            file => file.during(|| "openat".into())?,
        };
        let now = fs::fstat(&file).during(|| "fstat".into())?;
        if (now.st_dev, now.st_ino) != (stat.st_dev, stat.st_ino) {
            return Ok(false);
        }
        let size = u64::try_from(now.st_size).unwrap_or_default();
        self.tar.begin(&Entry { size, ..entry })?;
        let mut at = 0;
        while at < size {
            let wanted = usize::try_from(size - at).unwrap_or(BUFFER).min(BUFFER);
            let count =
                rustix::io::pread(file.as_fd(), &mut self.buffer[..wanted], at).during(|| "read".into())?;
            if count == 0 {
                self.changed.push(String::from_utf8_lossy(entry.path).into_owned());
                self.fill(size - at)?;
                break;
            }
            self.tar.write(&self.buffer[..count])?;
            at += count as u64;
        }
        self.tar.pad(size)?;
        Ok(true)
    }

    fn fill(&mut self, mut left: u64) -> Result<()> {
        self.buffer.fill(0);
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            self.tar.write(&self.buffer[..count])?;
            left -= count as u64;
        }
        Ok(())
    }
}

/// The path of a name in a folder.
#[must_use]
pub fn below(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

/// Attributes of a name that are kept, in order. (There is no llistxattrat(2) before Linux 6.13: the folder is reached by its
/// descriptor, the last part is not followed.)
fn attributes(folder: &OwnedFd, name: &CStr) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let path = format!("/proc/self/fd/{}/", folder.as_raw_fd());
    let path = c_string([path.as_bytes(), name.to_bytes()].concat())?;
    kept(|list| fs::llistxattr(&*path, list), |name, value| fs::lgetxattr(&*path, name, value))
}

/// The same of what a descriptor is of, which may have been opened with O_PATH.
///
/// # Errors
/// The system's reason.
pub fn attributes_by(file: &OwnedFd) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // The link of procfs leads to it and nowhere else; what it is itself is not followed.
    let path = c_string(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    kept(|list| fs::listxattr(&*path, list), |name, value| fs::getxattr(&*path, name, value))
}

fn kept(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&CStr, &mut [u8]) -> rustix::io::Result<usize>,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // Most files have none: asked first, with a short buffer.
    let mut listed = vec![0; 256];
    let length = loop {
        match list(&mut listed) {
            Err(Errno::OPNOTSUPP | Errno::NOENT) => break 0,
            Err(Errno::RANGE) if listed.len() < ATTRIBUTE_MAX => listed.resize(ATTRIBUTE_MAX, 0),
            length => break length.during(|| "llistxattr".into())?,
        }
    };
    let mut found = Vec::new();
    for attribute in listed[..length].split(|byte| *byte == 0).filter(|name| is_kept(name)) {
        let attribute = c_string(attribute)?;
        let mut value = vec![0; ATTRIBUTE_MAX];
        match get(&attribute, &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                found.push((attribute.into_bytes(), value));
            }
            Err(Errno::NODATA | Errno::NOENT | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno).during(|| format!("lgetxattr {attribute:?}")),
        }
    }
    found.sort();
    Ok(found)
}

fn is_kept(name: &[u8]) -> bool {
    let is_general = name == b"security.capability"
        || name.starts_with(b"system.posix_acl_")
        || name.starts_with(b"user.");
    is_general && !is_the_hosts(name)
}

/// What changed while it was read, in words.
///
/// # Errors
/// Never where nothing has.
pub fn expect_unchanged(changed: &[String]) -> Result<()> {
    match changed.first() {
        None => Ok(()),
        Some(first) => Err(Error::conflict(format!("{first:?} became shorter while it was read"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;
    use crate::unpack::archive::Archive;
    use crate::unpack::tree::{As, unpack};
    use std::fs as std_fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    #[test]
    fn a_tree_comes_back_as_it_was_and_the_archive_is_always_the_same() {
        let scratch = Scratch::new();
        let tree = scratch.join("tree");
        std_fs::create_dir_all(tree.join("b/c")).unwrap();
        std_fs::write(tree.join("b/file"), vec![b'x'; BUFFER + 7]).unwrap();
        std_fs::set_permissions(tree.join("b/file"), std_fs::Permissions::from_mode(0o4711)).unwrap();
        std_fs::hard_link(tree.join("b/file"), tree.join("b/same")).unwrap();
        symlink("/etc/passwd", tree.join("a")).unwrap();
        let open = std_fs::File::open(&tree).unwrap();
        fs::mknodat(&open, "pipe", FileType::Fifo, Mode::RUSR, 0).unwrap();
        fs::mknodat(&open, "null", FileType::CharacterDevice, Mode::RUSR, fs::makedev(1, 3)).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
        std_fs::write(tree.join("long-".repeat(50)), "long").unwrap();
        let pack = || {
            let mut packer = Packer::new(open.as_fd(), Vec::new());
            packer.all().unwrap();
            packer.end().unwrap()
        };
        let (bytes, changed) = pack();
        assert!(changed.is_empty());
        assert_eq!(bytes, pack().0);
        let target = scratch.join("target");
        std_fs::create_dir(&target).unwrap();
        let into = std_fs::File::open(&target).unwrap();
        unpack(&mut Archive::new(&bytes[..]), into.as_fd(), As::Root).unwrap();
        for name in ["a", "b", "b/c", "b/file", "pipe", "null", &"long-".repeat(50)] {
            let [old, new] = [&tree, &target].map(|root| std_fs::symlink_metadata(root.join(name)).unwrap());
            let of = |stat: &std_fs::Metadata| (stat.mode(), stat.uid(), stat.mtime(), stat.rdev());
            assert_eq!(of(&old), of(&new), "{name}");
            // Folders have what size their file system likes.
            assert!(old.is_dir() || old.len() == new.len(), "{name}");
        }
        let inode = |name: &str| std_fs::metadata(target.join(name)).unwrap().ino();
        assert_eq!(inode("b/file"), inode("b/same"));
        assert!(!target.join("socket").exists());
    }

    #[test]
    fn links_in_the_way_lead_nowhere() {
        let scratch = Scratch::new();
        let tree = scratch.join("tree");
        std_fs::create_dir_all(&tree).unwrap();
        std_fs::write(scratch.join("outside"), "secret").unwrap();
        symlink("..", tree.join("up")).unwrap();
        let open = std_fs::File::open(&tree).unwrap();
        let mut packer = Packer::new(open.as_fd(), Vec::new());
        assert!(!packer.add(b"up/outside").unwrap());
        assert!(!packer.add(b"gone").unwrap());
        packer.add_whiteout(b"up/gone").unwrap();
        let (bytes, _) = packer.end().unwrap();
        let mut archive = Archive::new(&bytes[..]);
        assert_eq!(archive.next_entry().unwrap().unwrap().path, b"up/.wh.gone");
        assert!(archive.next_entry().unwrap().is_none());
    }
}
