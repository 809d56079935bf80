//! Files, links, pipes and folders, made under a name in an open folder.
//!
//! A file gets its name when it is whole: whoever looks meanwhile, and whoever comes after a kill, sees the old one or the new
//! one. Nothing that is there is written into: a link, a pipe or a device of that name is replaced. A folder replaces nothing
//! and nothing replaces a folder, as in Docker.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, Stat, StatxAttributes, StatxFlags, Timespec, Timestamps, Uid,
    XattrFlags,
};
use rustix::io::Errno;

use crate::copy::walk::About;
use crate::error::{Context, Error, Result};
use crate::store::record::unique_name;
use crate::unpack::c_string;
use crate::unpack::tree::is_the_hosts;

/// What names of files in the making begin with.
const NEW: &str = ".caisson-cp-";
const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;

/// Whose files become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Whoever makes them.
    Maker,
    /// Root's.
    Root,
    /// As they are on the other side.
    Kept,
}

/// What a new file is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Its owner on the other side.
    pub owner: (u32, u32),
    /// Permissions with set-id bits.
    pub mode: u32,
    /// Of the last change: seconds, nanoseconds.
    pub mtime: (i64, i64),
    /// Extended attributes.
    pub attributes: &'a [(Vec<u8>, Vec<u8>)],
}

impl About {
    /// What a copy is to be like.
    #[must_use]
    pub fn look(&self) -> Look<'_> {
        Look {
            owner: (self.stat.st_uid, self.stat.st_gid),
            mode: self.stat.st_mode & 0o7777,
            mtime: (self.stat.st_mtime, i64::try_from(self.stat.st_mtime_nsec).unwrap_or_default()),
            attributes: &self.attributes,
        }
    }
}

/// Makes files, and counts what it cannot make as it should be.
#[derive(Debug)]
pub struct Maker {
    owners: Owners,
    /// Bytes of files.
    pub size: u64,
    /// Attributes that the file system does not take.
    pub lost: Vec<String>,
}

impl Maker {
    /// Nothing is made yet.
    #[must_use]
    pub fn new(owners: Owners) -> Maker {
        Maker { owners, size: 0, lost: Vec::new() }
    }

    /// A file, whose data `write` writes; itself, opened for writing.
    ///
    /// # Errors
    /// A folder is there; those of `write`; the system's reason.
    pub fn file(
        &mut self,
        folder: &OwnedFd,
        name: &CStr,
        look: &Look,
        write: impl FnOnce(&OwnedFd) -> Result<u64>,
    ) -> Result<()> {
        expect_no_folder(folder, name)?;
        let (file, draft) = draft(folder)?;
        let made = (|| {
            self.size = self.size.saturating_add(write(&file)?);
            self.describe(&file, name, look)?;
            match &draft {
                Some(draft) => rename(folder, draft, name),
                None => {
                    let by = c_string(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
                    replacing(folder, name, |name| {
                        fs::linkat(fs::CWD, &*by, folder, name, AtFlags::SYMLINK_FOLLOW)
                    })
                }
            }
        })();
        if let (Err(_), Some(draft)) = (&made, &draft) {
            let _ = fs::unlinkat(folder, &**draft, AtFlags::empty());
        }
        made
    }

    /// One more name for a file that was made before, which is open.
    ///
    /// # Errors
    /// A folder is there; the system's reason.
    pub fn link(&self, folder: &OwnedFd, name: &CStr, first: &OwnedFd) -> Result<()> {
        expect_no_folder(folder, name)?;
        let by = c_string(format!("/proc/self/fd/{}", first.as_raw_fd()))?;
        replacing(folder, name, |name| fs::linkat(fs::CWD, &*by, folder, name, AtFlags::SYMLINK_FOLLOW))
    }

    /// A symbolic link.
    ///
    /// # Errors
    /// A folder is there; the system's reason.
    pub fn symlink(&self, folder: &OwnedFd, name: &CStr, look: &Look, to: &CStr) -> Result<()> {
        expect_no_folder(folder, name)?;
        replacing(folder, name, |name| {
            fs::symlinkat(to, folder, name)?;
            self.describe_name(folder, name, look)
        })
    }

    /// A pipe.
    ///
    /// # Errors
    /// A folder is there; the system's reason.
    pub fn pipe(&self, folder: &OwnedFd, name: &CStr, look: &Look) -> Result<()> {
        expect_no_folder(folder, name)?;
        replacing(folder, name, |name| {
            fs::mknodat(folder, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
            let made =
                fs::openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            self.describe_name(folder, name, look)?;
            // There is no fchmodat(2) that does not follow: by the descriptor, it is what was made.
            let by = CString::new(format!("/proc/self/fd/{}", made.as_raw_fd())).map_err(|_| Errno::INVAL)?;
            if FileType::from_raw_mode(fs::fstat(&made)?.st_mode).is_fifo() {
                fs::chmod(&*by, Mode::from_raw_mode(look.mode & 0o777))?;
            }
            Ok(())
        })
    }

    /// A folder, made if it is not there. It is described when it is full ([`Maker::describe`]).
    ///
    /// # Errors
    /// Something else is there; the system's reason.
    pub fn folder(&self, folder: &OwnedFd, name: &CStr) -> Result<OwnedFd> {
        match fs::mkdirat(folder, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).during(|| "mkdirat".into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::openat(folder, name, flags, Mode::empty()) {
            Err(Errno::NOTDIR | Errno::LOOP) => Err(Error::conflict(format!(
                "cannot overwrite non-directory {name:?} with directory {name:?}"
            ))),
            open => open.during(|| "openat".into()),
        }
    }

    /// Owner, attributes, mode and times of an open file or folder.
    ///
    /// # Errors
    /// The system's reason.
    pub fn describe(&mut self, file: &OwnedFd, name: &CStr, look: &Look) -> Result<()> {
        // The owner first: changing it takes set-id bits and capabilities away.
        if let Some((uid, gid)) = self.owner(look) {
            let words = || format!("chown to {}:{}", uid.as_raw(), gid.as_raw());
            fs::fchown(file, Some(uid), Some(gid)).during(words)?;
        }
        let now = fs::fstat(file).during(|| "fstat".into())?;
        for (attribute, value) in look.attributes {
            if is_the_hosts(attribute) || attribute == b"security.capability" && now.st_uid != look.owner.0 {
                continue;
            }
            let attribute = c_string(&attribute[..])?;
            match fs::fsetxattr(file, &*attribute, value, XattrFlags::empty()) {
                Err(Errno::OPNOTSUPP | Errno::PERM) => {
                    self.lost.push(format!("attribute {attribute:?} of {name:?}"))
                }
                result => result.during(|| format!("setxattr {attribute:?}"))?,
            }
        }
        fs::fchmod(file, Mode::from_raw_mode(mode(look, &now))).during(|| "fchmod".into())?;
        fs::futimens(file, &times(look)).during(|| "utimensat".into())
    }

    /// Owner and times of what cannot be opened.
    fn describe_name(&self, folder: &OwnedFd, name: &CStr, look: &Look) -> rustix::io::Result<()> {
        if let Some((uid, gid)) = self.owner(look) {
            fs::chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        fs::utimensat(folder, name, &times(look), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn owner(&self, look: &Look) -> Option<(Uid, Gid)> {
        match self.owners {
            Owners::Maker => None,
            Owners::Root => Some((Uid::ROOT, Gid::ROOT)),
            Owners::Kept => Some((Uid::from_raw(look.owner.0), Gid::from_raw(look.owner.1))),
        }
    }
}

/// Whoever runs a set-id file gets its owner's rights: those bits stay with the owner that they were made for.
fn mode(look: &Look, now: &Stat) -> u32 {
    let is_folder = FileType::from_raw_mode(now.st_mode).is_dir();
    let mut mode = look.mode;
    if now.st_uid != look.owner.0 {
        mode &= !SET_UID;
    }
    if now.st_gid != look.owner.1 && !is_folder {
        mode &= !SET_GID;
    }
    mode
}

fn times(look: &Look) -> Timestamps {
    let time = Timespec { tv_sec: look.mtime.0, tv_nsec: look.mtime.1 };
    Timestamps { last_access: time, last_modification: time }
}

fn expect_no_folder(folder: &OwnedFd, name: &CStr) -> Result<()> {
    expect_no_mount(folder, name)?;
    match fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => {
            Err(Error::conflict(format!("cannot overwrite directory {name:?} with non-directory {name:?}")))
        }
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).during(|| "fstatat".into()),
    }
}

/// The kernel refuses to replace what something is mounted on only to those who are in the same mount namespace; for all
/// others the mount would be gone (rename(2), EBUSY).
fn expect_no_mount(folder: &OwnedFd, name: &CStr) -> Result<()> {
    match fs::statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty()) {
        Ok(stat) if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) => {
            Err(Errno::BUSY).during(|| format!("cannot replace {name:?}, which something is mounted on"))
        }
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).during(|| "statx".into()),
    }
}

/// A file without a name, or where there is no such thing, one with a name that means nothing.
fn draft(folder: &OwnedFd) -> Result<(OwnedFd, Option<CString>)> {
    let mode = Mode::RUSR | Mode::WUSR;
    match fs::openat(folder, c".", OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, mode) {
        Ok(file) => return Ok((file, None)),
        // The file system has none, or the kernel does not know.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {}
        Err(errno) => return Err(errno).during(|| "openat".into()),
    }
    let name = c_string(format!("{NEW}{}", unique_name()))?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::openat(folder, &*name, flags, mode).during(|| "openat".into())?;
    Ok((file, Some(name)))
}

/// Makes something under this name; where something is, beside it, and then in its place.
fn replacing(folder: &OwnedFd, name: &CStr, make: impl Fn(&CStr) -> rustix::io::Result<()>) -> Result<()> {
    match make(name) {
        Err(Errno::EXIST) => {}
        made => return made.during(|| "create".into()),
    }
    let new = c_string(format!("{NEW}{}", unique_name()))?;
    make(&new).during(|| "create".into())?;
    rename(folder, &new, name).inspect_err(|_| {
        let _ = fs::unlinkat(folder, &*new, AtFlags::empty());
    })
}

fn rename(folder: &OwnedFd, from: &CStr, to: &CStr) -> Result<()> {
    let folder: BorrowedFd = folder.as_fd();
    fs::renameat(folder, from, folder, to).during(|| "rename".into())
}
