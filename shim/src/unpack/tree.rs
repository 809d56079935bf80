//! One layer onto the disk: entries of an archive become files below one folder, and nowhere else.
//!
//! Every name is resolved by openat2(2) with RESOLVE_IN_ROOT from the folder's descriptor, as a chroot would do it,
//! without changing the process's root: links of the image lead where they would lead inside of it. The last part
//! of a name is never followed. Nobody else writes into the folder meanwhile: it lies in the store (0700) and is not
//! part of any image yet.
//!
//! Whiteouts (OCI image-spec, "Image Layer Filesystem Changeset") become overlayfs's (kernel documentation,
//! "Overlay Filesystem", section "whiteouts and opaque directories").

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::unpack::archive::{Archive, Entry, Kind, Piece};
use crate::unpack::c_string;
use crate::unpack::remove::remove_all;

/// Before the name of what a layer hides of the layers below.
const WHITEOUT: &[u8] = b".wh.";
/// In a folder of which nothing of the layers below is to be seen.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// aufs's own notes, which mean nothing to others.
const AUFS: &[u8] = b".wh..wh.";
/// Longest name, in bytes: no program could use a longer one (PATH_MAX, without the NUL).
const NAME_MAX: usize = 4095;
/// Folders kept open between entries, so that names need not be walked from the root each time.
const OPEN_FOLDERS_MAX: usize = 64;

/// Who unpacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum As {
    /// Root of the host: everything can be made, overlayfs's marks are `trusted.`.
    Root,
    /// Root of a user namespace: no devices, and overlayfs's marks are `user.`.
    UserNamespaceRoot,
    /// Root of a user namespace that has no other id: everything is root's.
    Alone,
    /// Whoever wants to read the files: they are the caller's own, and nothing but files, folders and links.
    Reader,
}

impl As {
    /// The attribute by which overlayfs knows a folder that hides what is below it.
    #[must_use]
    pub const fn opaque_mark(self) -> &'static str {
        match self {
            As::Root => "trusted.overlay.opaque",
            As::UserNamespaceRoot | As::Alone | As::Reader => "user.overlay.opaque",
        }
    }
}

/// What unpacking a layer came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of all files' data, and of where links lead, as Docker counts.
    pub size: u64,
    /// The layer hides everything below it. (overlayfs does not look for the mark on a layer's root.)
    pub hides_all_below: bool,
    /// Folders that the archive does not describe but has entries in: theirs are the owner, mode, … of the folder
    /// of the same name in the layers below, if there is one. The root (an empty path) is one of them.
    pub implied_folders: BTreeSet<Vec<u8>>,
    /// Names that the archive takes away, as far as nothing of the same archive stands there.
    pub whiteouts: Vec<Vec<u8>>,
    /// What could not be kept, in words, such as an attribute that the file system does not have.
    pub lost: Vec<String>,
}

/// Unpacks a whole archive into an empty folder.
///
/// # Errors
/// The first entry that cannot be made as it is described, named. What was made so far stays: the caller throws the
/// folder away.
pub fn unpack<R: Read>(archive: &mut Archive<R>, folder: BorrowedFd, who: As) -> Result<Unpacked> {
    let mut tree =
        Tree { root: folder, who, open: HashMap::new(), times: BTreeMap::new(), done: Unpacked::default() };
    while let Some(entry) = archive.next_entry()? {
        let name = String::from_utf8_lossy(&entry.path[..entry.path.len().min(NAME_MAX)]).into_owned();
        if entry.path.len() > NAME_MAX {
            let (name, length): (String, _) = (name.chars().take(64).collect(), entry.path.len());
            return Err(Error::invalid(format!("entry {name:?}…: a name of {length} bytes is too long")));
        }
        tree.add(archive, entry).during(|| format!("entry {name:?}"))?;
    }
    tree.finish()
}

struct Tree<'a> {
    root: BorrowedFd<'a>,
    who: As,
    /// By their path without leading or trailing slash.
    open: HashMap<Vec<u8>, Rc<OwnedFd>>,
    /// Of folders, set when nothing changes in them any more.
    times: BTreeMap<Vec<u8>, (i64, u32)>,
    done: Unpacked,
}

/// A place in the tree: an open folder and a name in it that is neither `.` nor `..`.
struct Place {
    folder: Rc<OwnedFd>,
    name: CString,
}

impl Tree<'_> {
    fn add<R: Read>(&mut self, archive: &mut Archive<R>, mut entry: Entry) -> Result<()> {
        if self.who == As::Reader {
            (entry.uid, entry.gid) =
                (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            entry.mode = if entry.kind == Kind::Folder { 0o700 } else { 0o600 };
            entry.attributes.clear();
        }
        if self.who == As::Alone && (entry.uid, entry.gid) != (0, 0) {
            let path = String::from_utf8_lossy(&entry.path);
            self.done.lost.push(format!("owner {}:{} of {path:?}", entry.uid, entry.gid));
            (entry.uid, entry.gid) = (0, 0);
        }
        let path = clean(&entry.path)?;
        let Some((parent, name)) = split_last(&path) else {
            return match entry.kind {
                Kind::Folder => {
                    self.times.insert(path, entry.mtime);
                    let root = self.open_folder(b"")?;
                    self.describe_folder(&root, &entry)
                }
                _ => Err(Error::invalid("the root is no folder")),
            };
        };
        if name.starts_with(WHITEOUT) && self.who != As::Reader {
            return self.hide(parent, name);
        }
        let place = Place { folder: self.make_folder(parent)?, name: c_string(name)? };
        if entry.kind == Kind::Folder {
            self.times.insert(path.clone(), entry.mtime);
            return self.add_folder(&place, &path, &entry);
        }
        self.make_room(&place, &path)?;
        match &entry.kind {
            Kind::File(size, pieces) => return self.add_file(archive, &place, &entry, *size, pieces),
            Kind::HardLink(target) => return self.link(&place, target),
            Kind::Symlink(target) => {
                fs::symlinkat(&*c_string(&target[..])?, &*place.folder, &*place.name)
                    .during(|| "symlinkat".into())?;
                self.done.size += target.len() as u64;
            }
            Kind::Fifo => make_node(&place, FileType::Fifo, entry.mode, 0)?,
            Kind::Character(..) | Kind::Block(..) if self.who != As::Root => {
                // Docker does the same: the runtime gives the container the devices that it is to have.
                self.done.lost.push(format!("device {:?}", String::from_utf8_lossy(&entry.path)));
                return Ok(());
            }
            Kind::Character(major, minor) => {
                make_node(&place, FileType::CharacterDevice, entry.mode, fs::makedev(*major, *minor))?;
            }
            Kind::Block(major, minor) => {
                make_node(&place, FileType::BlockDevice, entry.mode, fs::makedev(*major, *minor))?;
            }
            Kind::Folder => {}
        }
        self.describe_node(&place, &entry)
    }

    fn add_folder(&mut self, place: &Place, path: &[u8], entry: &Entry) -> Result<()> {
        let mut hid = false;
        match kind_of(place)? {
            Some(FileType::Directory) => {
                // It was made before for what is in it; now it is described.
                self.done.implied_folders.remove(path);
            }
            other => {
                hid = other == Some(FileType::CharacterDevice) && is_whiteout(place)?;
                self.make_room(place, path)?;
                fs::mkdirat(&*place.folder, &*place.name, Mode::RWXU).during(|| "mkdirat".into())?;
            }
        }
        let folder = self.open_folder(path)?;
        if hid {
            self.make_opaque(&folder, path)?;
        }
        self.describe_folder(&folder, entry)
    }

    fn add_file<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        place: &Place,
        entry: &Entry,
        size: u64,
        pieces: &[Piece],
    ) -> Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&*place.folder, &*place.name, flags, Mode::RUSR | Mode::WUSR)
            .during(|| "openat".into())?;
        let mut buffer = vec![0; 1 << 17];
        for piece in pieces {
            let mut offset = piece.offset;
            let end = piece.offset + piece.length;
            while offset < end {
                let wanted = buffer.len().min(usize::try_from(end - offset).unwrap_or(usize::MAX));
                let count = archive.read_data(&mut buffer[..wanted])?;
                let mut written = 0;
                while written < count {
                    let now = rustix::io::pwrite(&file, &buffer[written..count], offset)
                        .during(|| "write".into())?;
                    written += now;
                    offset += now as u64;
                }
            }
        }
        if pieces.last().map_or(0, |last| last.offset + last.length) < size {
            fs::ftruncate(&file, size).during(|| "ftruncate".into())?;
        }
        self.done.size = self.done.size.saturating_add(size);
        // The owner first: changing it takes set-id bits and capabilities away.
        fs::fchown(&file, Some(uid(entry)), Some(gid(entry))).during(|| chown_words(entry))?;
        for (name, value) in self.attributes(entry)? {
            let result = fs::fsetxattr(&file, &*name, value, fs::XattrFlags::empty());
            self.note_attribute(entry, &name, result)?;
        }
        fs::fchmod(&file, mode(entry)).during(|| "fchmod".into())?;
        fs::futimens(&file, &times(entry.mtime)).during(|| "utimensat".into())
    }

    fn link(&mut self, place: &Place, target: &[u8]) -> Result<()> {
        let target_path = clean(target)?;
        let words = || format!("linkat to {:?}", String::from_utf8_lossy(target));
        let Some((parent, name)) = split_last(&target_path) else {
            return Err(Error::invalid("a hard link to the root"));
        };
        let folder = self.open_folder(parent).during(words)?;
        let name = c_string(name)?;
        fs::linkat(&*folder, &*name, &*place.folder, &*place.name, AtFlags::empty()).during(words)
    }

    /// A whiteout: `.wh.NAME` hides NAME of the layers below, never of its own layer.
    fn hide(&mut self, parent: &[u8], name: &[u8]) -> Result<()> {
        let folder = self.make_folder(parent)?;
        if name == OPAQUE {
            return self.make_opaque(&folder, parent);
        }
        if name.starts_with(AUFS) {
            return Ok(());
        }
        let hidden = &name[WHITEOUT.len()..];
        // `.wh.` and two more points would be the folder above.
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Error::invalid("a whiteout of no name"));
        }
        let place = Place { folder, name: c_string(hidden)? };
        match kind_of(&place)? {
            None => {
                self.done.whiteouts.push(join(parent, hidden));
                make_node(&place, FileType::CharacterDevice, 0, 0)
            }
            Some(FileType::Directory) => {
                let path = join(parent, hidden);
                let folder = self.open_folder(&path)?;
                self.make_opaque(&folder, &path)
            }
            // A file of this layer hides what is below it anyway.
            Some(_) => Ok(()),
        }
    }

    fn make_opaque(&mut self, folder: &OwnedFd, path: &[u8]) -> Result<()> {
        if path.is_empty() {
            self.done.hides_all_below = true;
            return Ok(());
        }
        let mark = self.who.opaque_mark();
        fs::fsetxattr(folder, mark, b"y", fs::XattrFlags::empty()).during(|| format!("fsetxattr {mark}"))
    }

    /// Takes away what an earlier entry of this name made.
    fn make_room(&mut self, place: &Place, path: &[u8]) -> Result<()> {
        match kind_of(place)? {
            None => Ok(()),
            Some(FileType::Directory) => {
                let below = join(path, b"");
                self.open.retain(|open, _| open != path && !open.starts_with(&below));
                // Only those are looked at: an archive may do this as often as it has entries.
                let implied = &mut self.done.implied_folders;
                implied.remove(path);
                let from = implied.range(below.clone()..);
                let gone: Vec<Vec<u8>> = from.take_while(|path| path.starts_with(&below)).cloned().collect();
                for path in &gone {
                    implied.remove(path);
                }
                self.times.remove(path);
                let from = self.times.range(below.clone()..);
                let gone: Vec<Vec<u8>> =
                    from.map(|(path, _)| path).take_while(|path| path.starts_with(&below)).cloned().collect();
                for path in &gone {
                    self.times.remove(path);
                }
                remove_all(place.folder.as_fd(), &place.name)
            }
            Some(_) => {
                fs::unlinkat(&*place.folder, &*place.name, AtFlags::empty()).during(|| "unlinkat".into())
            }
        }
    }

    /// The folder with this path, made with those above it where the archive has not described them (yet).
    fn make_folder(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>> {
        let mut folder = match self.open_folder(path) {
            Err(error) if path.is_empty() => return Err(error),
            Err(_) => self.open_folder(b"")?,
            found => return found,
        };
        // From the root down and not by recursion: a name may have thousands of parts.
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in slashes.chain([path.len()]) {
            folder = match self.open_folder(&path[..end]) {
                Err(error) => self.imply_folder(folder, &path[..end], error)?,
                Ok(there) => there,
            };
        }
        Ok(folder)
    }

    /// Makes one folder that the archive has not described, in the folder `parent`. It could not be opened: `error`.
    fn imply_folder(&mut self, parent: Rc<OwnedFd>, path: &[u8], error: Error) -> Result<Rc<OwnedFd>> {
        let (_, name) = split_last(path).ok_or_else(|| Error::invalid("the root is missing"))?;
        let place = Place { folder: parent, name: c_string(name)? };
        let hid = match kind_of(&place)? {
            None => false,
            Some(FileType::CharacterDevice) if is_whiteout(&place)? => {
                self.make_room(&place, path)?;
                true
            }
            // A file, or a link that leads nowhere.
            Some(_) => return Err(error),
        };
        fs::mkdirat(&*place.folder, &*place.name, Mode::from_raw_mode(0o755)).during(|| "mkdirat".into())?;
        self.done.implied_folders.insert(path.to_vec());
        let folder = self.open_folder(path)?;
        if hid {
            self.make_opaque(&folder, path)?;
        }
        Ok(folder)
    }

    fn open_folder(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>> {
        if let Some(open) = self.open.get(path) {
            return Ok(Rc::clone(open));
        }
        let at = if path.is_empty() { c_string(b".")? } else { c_string(path)? };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let folder = fs::openat2(self.root, &*at, flags, Mode::empty(), resolve)
            .during(|| format!("openat2 {:?}", String::from_utf8_lossy(path)))?;
        if self.open.len() >= OPEN_FOLDERS_MAX {
            self.open.clear();
        }
        let folder = Rc::new(folder);
        self.open.insert(path.to_vec(), Rc::clone(&folder));
        Ok(folder)
    }

    fn describe_folder(&mut self, folder: &OwnedFd, entry: &Entry) -> Result<()> {
        fs::fchown(folder, Some(uid(entry)), Some(gid(entry))).during(|| chown_words(entry))?;
        for (name, value) in self.attributes(entry)? {
            let result = fs::fsetxattr(folder, &*name, value, fs::XattrFlags::empty());
            self.note_attribute(entry, &name, result)?;
        }
        fs::fchmod(folder, mode(entry)).during(|| "fchmod".into())
    }

    /// Owner, attributes and times of what cannot be opened: links, pipes, devices.
    fn describe_node(&mut self, place: &Place, entry: &Entry) -> Result<()> {
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        fs::chownat(&*place.folder, &*place.name, Some(uid(entry)), Some(gid(entry)), nofollow)
            .during(|| chown_words(entry))?;
        for (name, value) in self.attributes(entry)? {
            // There is no lsetxattrat(2) before Linux 6.13; the folder is reached by its descriptor, the last part is
            // not followed.
            let by = format!("/proc/self/fd/{}/", std::os::fd::AsRawFd::as_raw_fd(&*place.folder));
            let by = c_string([by.as_bytes(), place.name.as_bytes()].concat())?;
            let result = fs::lsetxattr(&*by, &*name, value, fs::XattrFlags::empty());
            self.note_attribute(entry, &name, result)?;
        }
        fs::utimensat(&*place.folder, &*place.name, &times(entry.mtime), nofollow)
            .during(|| "utimensat".into())
    }

    /// Those that an image may set: overlayfs's own would lead its look-ups elsewhere, and labels are given by the host.
    fn attributes<'e>(&self, entry: &'e Entry) -> Result<Vec<(CString, &'e [u8])>> {
        let attributes = entry.attributes.iter().filter(|(name, _)| !is_the_hosts(name));
        attributes.map(|(name, value)| Ok((c_string(&name[..])?, &value[..]))).collect()
    }

    /// As Docker: what the file system or the user may not have is left out, and told.
    fn note_attribute(
        &mut self,
        entry: &Entry,
        name: &CString,
        result: rustix::io::Result<()>,
    ) -> Result<()> {
        match result {
            Err(Errno::OPNOTSUPP | Errno::PERM) => {
                let path = String::from_utf8_lossy(&entry.path);
                self.done.lost.push(format!("attribute {name:?} of {path:?}"));
                Ok(())
            }
            other => other.during(|| format!("setxattr {name:?}")),
        }
    }

    /// The folders' times, from the innermost outwards.
    fn finish(mut self) -> Result<Unpacked> {
        let times_of_folders = std::mem::take(&mut self.times);
        if !times_of_folders.contains_key(&b""[..]) {
            self.done.implied_folders.insert(Vec::new());
        }
        for (path, time) in times_of_folders.into_iter().rev() {
            let words = || format!("entry {:?}: utimensat", String::from_utf8_lossy(&path));
            let folder = self.open_folder(&path).during(words)?;
            fs::futimens(&*folder, &times(time)).during(words)?;
        }
        Ok(self.done)
    }
}

/// Whether an extended attribute is the host's, whatever it is on: one of overlayfs's own, or SELinux's label. Neither comes
/// from an image, and neither goes with a copy.
#[must_use]
pub fn is_the_hosts(name: &[u8]) -> bool {
    name == b"security.selinux" || name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

/// The path without `.`, `..` and extra slashes, as Go's `path.Clean` has it; empty for the root.
fn clean(path: &[u8]) -> Result<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop().ok_or_else(|| Error::invalid("it leads out of the image's root"))?;
            }
            _ => parts.push(part),
        }
    }
    Ok(parts.join(&b'/'))
}

fn split_last(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.is_empty() {
        return None;
    }
    Some(match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    })
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

/// What is there under this name.
fn kind_of(place: &Place) -> Result<Option<FileType>> {
    match fs::statat(&*place.folder, &*place.name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).during(|| "fstatat".into()),
    }
}

fn is_whiteout(place: &Place) -> Result<bool> {
    let stat =
        fs::statat(&*place.folder, &*place.name, AtFlags::SYMLINK_NOFOLLOW).during(|| "fstatat".into())?;
    Ok(stat.st_rdev == 0)
}

fn make_node(place: &Place, kind: FileType, mode: u32, device: u64) -> Result<()> {
    let mode = Mode::from_raw_mode(mode);
    fs::mknodat(&*place.folder, &*place.name, kind, mode, device).during(|| "mknodat".into())?;
    // The umask took some bits. It is not followed anywhere: it was made here, just now, and is no link.
    fs::chmodat(&*place.folder, &*place.name, mode, AtFlags::empty()).during(|| "fchmodat".into())
}

fn uid(entry: &Entry) -> Uid {
    Uid::from_raw(entry.uid)
}

fn gid(entry: &Entry) -> Gid {
    Gid::from_raw(entry.gid)
}

fn chown_words(entry: &Entry) -> String {
    format!("chown to {}:{}", entry.uid, entry.gid)
}

fn mode(entry: &Entry) -> Mode {
    Mode::from_raw_mode(entry.mode)
}

fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
