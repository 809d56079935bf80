//! Empties a folder by descriptor: nothing is reached by a path, no link is followed, no mount is entered.
//!
//! A container's folder holds nothing that needs this. It is for what somebody else has put there, which must
//! neither keep `delete` from its end nor lead it elsewhere.

use std::ffi::{CString, OsStr};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Call, Result};

/// Folders within folders: far beyond what anybody means, far below what the stack and the descriptors hold.
const MAX_DEPTH: usize = 64;

/// Removes everything in the folder `dir`; `path` is for messages.
///
/// # Errors
/// The call that failed, on which name; EXDEV for a mount point.
pub(super) fn clear(dir: BorrowedFd<'_>, path: &Path) -> Result<()> {
    clear_level(dir, path, 0)
}

fn clear_level(dir: BorrowedFd<'_>, path: &Path, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        crate::bail!("{} lies more than {MAX_DEPTH} folders deep", path.display());
    }
    for name in names(dir, path)? {
        let path = path.join(OsStr::from_bytes(name.to_bytes()));
        let at = || format!("{path:?}");
        let stat = match rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat.call("fstatat", at)?,
        };
        let folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if folder {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
            let below = rustix::fs::openat2(dir, &name, flags, Mode::empty(), resolve).call("openat2", at)?;
            clear_level(std::os::fd::AsFd::as_fd(&below), &path, depth + 1)?;
        }
        let flags = if folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        rustix::fs::unlinkat(dir, &name, flags).call("unlinkat", at)?;
    }
    Ok(())
}

fn names(dir: BorrowedFd<'_>, path: &Path) -> Result<Vec<CString>> {
    let at = || format!("{path:?}");
    let mut names = Vec::new();
    for item in Dir::read_from(dir).call("open", at)? {
        let item = item.call("getdents64", at)?;
        let name = item.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
