//! The folders: made level by level, walked, and removed from the bottom up.
//!
//! A container that owns its cgroup may nest others in it as deeply as it likes. Walking therefore keeps one
//! descriptor and goes back up through `..`, which cannot lead astray: cgroups are never moved.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;

use super::file::failed;
use super::freezer::{self, Watch};
use super::{Cgroup, file};
use crate::bail;
use crate::error::{Error, Result};

/// How often making is begun anew where another runtime removes a level under it.
const ATTEMPTS: usize = 32;

/// Carried by each level that was made only to hold containers' cgroups: the last of those to go takes it along,
/// whichever made it. Cgroup v2 takes attributes of users since Linux 5.7.
const MARK: &CStr = c"user.caisson.made";

/// A cgroup that `make` made or found.
pub struct Made {
    /// Its folder.
    pub fd: OwnedFd,
    /// Levels made, from the lowest upwards.
    pub created: usize,
}

/// Makes the folders `names` below `root`; an existing one is opened.
pub fn make(root: BorrowedFd<'_>, names: &[String]) -> Result<Made> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match try_make(root, names) {
            // A level above was empty, and who had made it has just removed it.
            Err(error) if attempt < ATTEMPTS && matches!(error.errno, libc::ENOENT | libc::ENODEV) => {}
            done => return Ok(done?),
        }
    }
}

fn try_make(root: BorrowedFd<'_>, names: &[String]) -> sys::Result<Made> {
    let Some((leaf, above)) = names.split_last() else {
        return Err(sys::Error::new("mkdirat", "", libc::EINVAL));
    };
    if above.is_empty() {
        return make_level(root, leaf, 0);
    }
    // Mostly all but the lowest are there.
    let path = above.join("/");
    match lookup(root, &path, OFlags::PATH) {
        Ok(parent) => return make_level(parent.as_fd(), leaf, 0),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(failed("openat2", format!("{path:?}"), errno)),
    }
    let mut made = make_level(root, &names[0], 0)?;
    for (depth, name) in names.iter().enumerate().skip(1) {
        if made.created > 0 {
            mark(made.fd.as_fd());
        }
        match make_level(made.fd.as_fd(), name, made.created) {
            Ok(next) => made = next,
            Err(error) => {
                // In vain where another uses them by now.
                let _ = remove_upwards(made.fd, &names[..depth], made.created);
                return Err(error);
            }
        }
    }
    Ok(made)
}

/// Where it cannot be marked, only the container that made it removes it, if it is the last to go.
fn mark(level: BorrowedFd<'_>) {
    let _ = rustix::fs::fsetxattr(level, MARK, b"", XattrFlags::empty());
}

fn is_marked(level: BorrowedFd<'_>) -> bool {
    rustix::fs::fgetxattr(level, MARK, &mut [0_u8; 1]).is_ok()
}

/// Makes one folder, below `created` that were made before it.
fn make_level(parent: BorrowedFd<'_>, name: &str, created: usize) -> sys::Result<Made> {
    let created = match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => created + 1,
        Err(Errno::EXIST) => 0,
        Err(errno) => return Err(failed("mkdirat", format!("{name:?}"), errno)),
    };
    Ok(Made { fd: open_level(parent, name)?, created })
}

/// Opens one folder.
pub fn open_level(parent: BorrowedFd<'_>, name: &str) -> sys::Result<OwnedFd> {
    file::open(parent, name, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens the folder `path` below `root`; `None` where it is not there.
pub fn open(root: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>> {
    match lookup(root, path, OFlags::RDONLY) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(failed("openat2", format!("{path:?}"), errno).into()),
    }
}

/// Whether the folder `path` is there below `root`.
pub fn has(root: BorrowedFd<'_>, path: &str) -> Result<bool> {
    match lookup(root, path, OFlags::PATH) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(failed("openat2", format!("{path:?}"), errno).into()),
    }
}

/// openat2(2) of a folder, which stays below `root`, in its file system, and off symbolic links.
fn lookup(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let stay = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(root, path, flags | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), stay)
}

/// Removes the lowest of `names` below `root` where it is empty or gone, and the marked levels above it that
/// nobody uses any more; false where the lowest is in use.
pub fn remove_leaf(root: BorrowedFd<'_>, names: &[&str]) -> Result<bool> {
    let Some((leaf, above)) = names.split_last() else { return Ok(false) };
    if above.is_empty() {
        return Ok(remove_level(root, *leaf)?);
    }
    let path = above.join("/");
    match lookup(root, &path, OFlags::RDONLY) {
        Ok(parent) => {
            let removed = remove_level(parent.as_fd(), *leaf)?;
            if removed && is_marked(parent.as_fd()) {
                remove_upwards(parent, above, 0)?;
            }
            Ok(removed)
        }
        Err(Errno::NOENT) => Ok(true),
        Err(errno) => Err(failed("openat2", format!("{path:?}"), errno).into()),
    }
}

/// Removes what is left of the levels above the lowest of `names`, which is gone: of the `made` lowest those that
/// nobody uses, and those that are marked.
pub fn remove_rest(root: BorrowedFd<'_>, names: &[&str], made: usize) -> Result<()> {
    for depth in (1..names.len()).rev() {
        let (above, gone) = (&names[..depth], names.len() - depth);
        let path = above.join("/");
        match lookup(root, &path, OFlags::RDONLY) {
            Ok(level) => return Ok(remove_upwards(level, above, made.saturating_sub(gone)).map(drop)?),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed("openat2", format!("{path:?}"), errno).into()),
        }
    }
    Ok(())
}

/// rmdir(2) of a folder below `parent`; false where it is in use.
fn remove_level<P: rustix::path::Arg + std::fmt::Debug + Copy>(
    parent: BorrowedFd<'_>,
    name: P,
) -> sys::Result<bool> {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        // ENODEV: the parent was removed before it could be looked at.
        Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(true),
        Err(Errno::BUSY | Errno::NOTEMPTY) => Ok(false),
        Err(errno) => Err(failed("unlinkat", format!("{name:?}, AT_REMOVEDIR"), errno)),
    }
}

/// Removes the last of `names`, which is the folder `lowest`, and the levels above it as far up as nobody else
/// uses them: the last `made` of all, and those that are marked. False where the lowest itself is in use.
///
/// Who removes the last cgroup inside a level finds it empty afterwards, however many do this at once.
fn remove_upwards<S: AsRef<str>>(lowest: OwnedFd, names: &[S], made: usize) -> sys::Result<bool> {
    let mut here = lowest;
    for (position, name) in names.iter().rev().enumerate() {
        if position >= made && !is_marked(here.as_fd()) {
            break;
        }
        let parent = up(here.as_fd())?;
        if !remove_level(parent.as_fd(), name.as_ref())? {
            return Ok(position > 0);
        }
        here = parent;
    }
    Ok(true)
}

fn up(here: BorrowedFd<'_>) -> sys::Result<OwnedFd> {
    file::open(here, "..", OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Removes a cgroup, the last of `names`, with what is inside and the levels above it that were made for it (the
/// last `made` of all) or for others like it. One that was there before is left.
pub fn remove(cgroup: &Cgroup, names: &[&str], made: usize, patience: Duration) -> Result<()> {
    if made == 0 {
        return Ok(());
    }
    let deadline = freezer::deadline(patience);
    // Removal goes first: mostly the cgroup is empty by now, and nothing else is worth asking.
    while !remove_upwards(duplicate(cgroup.fd())?, names, made)? {
        // Busy: cgroups inside it, or processes that are not gone yet.
        let mut removed = false;
        walk(
            cgroup.fd(),
            |_| Ok(()),
            |parent, name| {
                removed |= remove_level(parent, name)?;
                Ok(())
            },
        )?;
        if removed {
            continue;
        }
        let watch = Watch::open(cgroup)?;
        let populated = watch.events()?.populated;
        if Instant::now() >= deadline {
            let pids = cgroup.pids().unwrap_or_default();
            bail!("it is still in use after {patience:?}: populated {populated}, processes {pids:?}");
        }
        if populated {
            watch.wait(deadline, |events| !events.populated)?;
        } else {
            // The kernel has let go of the last process but not yet of its cgroup.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

fn duplicate(cgroup: BorrowedFd<'_>) -> sys::Result<OwnedFd> {
    cgroup.try_clone_to_owned().map_err(|error| sys::Error::from_io("fcntl", "F_DUPFD_CLOEXEC", &error))
}

/// Visits `top` and every cgroup below it: `enter` on the way down, `leave` with the folder above and the
/// name on the way up (not for `top`). Cgroups that vanish meanwhile are passed over.
pub fn walk(
    top: BorrowedFd<'_>,
    mut enter: impl FnMut(BorrowedFd<'_>) -> Result<()>,
    mut leave: impl FnMut(BorrowedFd<'_>, &CStr) -> Result<()>,
) -> Result<()> {
    enter(top)?;
    let mut here = duplicate(top)?;
    let mut pending = vec![children(here.as_fd())?];
    let mut trail: Vec<CString> = Vec::new();
    loop {
        match pending.last_mut().and_then(Vec::pop) {
            Some(child) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                let fd = match rustix::fs::openat(&here, &child, flags, Mode::empty()) {
                    Ok(fd) => fd,
                    Err(Errno::NOENT | Errno::NODEV) => continue,
                    Err(errno) => return Err(Error::from(failed("openat", format!("{child:?}"), errno))),
                };
                enter(fd.as_fd())?;
                pending.push(children(fd.as_fd())?);
                trail.push(child);
                here = fd;
            }
            None => {
                pending.pop();
                let Some(name) = trail.pop() else { return Ok(()) };
                here = up(here.as_fd())?;
                leave(here.as_fd(), &name)?;
            }
        }
    }
}

/// Names of the cgroups inside one.
fn children(cgroup: BorrowedFd<'_>) -> Result<Vec<CString>> {
    let mut names = Vec::new();
    let entries = match Dir::read_from(cgroup) {
        Ok(entries) => entries,
        Err(Errno::NOENT | Errno::NODEV) => return Ok(names),
        Err(errno) => return Err(failed("open", "\".\"", errno).into()),
    };
    for entry in entries {
        match entry {
            Ok(entry) => {
                let name = entry.file_name();
                if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
                    names.push(name.to_owned());
                }
            }
            Err(Errno::NOENT | Errno::NODEV) => break,
            Err(errno) => return Err(failed("getdents64", "", errno).into()),
        }
    }
    Ok(names)
}
