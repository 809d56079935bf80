//! `tmpcopyup`: a tmpfs starts with the content of the folder it covers.
//!
//! Works on descriptors only, before the tmpfs is attached: links are copied as links and never followed,
//! and every entry is opened relative to its folder without leaving it.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawMode, Stat};

use super::xattr::{self, At};
use crate::bail;
use crate::error::{Call, Context, Result};

/// A tree deeper than this is refused rather than followed until the stack ends.
const MAX_DEPTH: usize = 256;

/// What the configuration says of the new file system's own folder, and what is therefore not copied.
#[derive(Debug, Clone, Copy)]
pub struct Given {
    /// The option `mode`.
    pub mode: bool,
    /// The option `uid`.
    pub owner: bool,
    /// The option `gid`.
    pub group: bool,
}

/// Copies the content of the folder `from` into the empty folder `to`, with owners, modes, times, extended
/// attributes, links and special files; and, except for what is `given`, its own metadata. Both may be `O_PATH` descriptors.
///
/// # Errors
/// The failing call with the entry's name.
pub fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, given: Given) -> Result<()> {
    // fchown(2) and fchmod(2) do not take the descriptor of fsmount(2), which is an O_PATH one.
    let (from, to) = (open_folder(from, c".")?, open_folder(to, c".")?);
    let own = rustix::fs::fstat(&to).call("fstat", || "the new file system")?;
    copy_folder(&from, to.as_fd(), 0)?;
    if given.owner || given.group {
        let (owner, group) = ids(&own);
        rustix::fs::fchown(&to, given.owner.then_some(owner), given.group.then_some(group))
            .call("fchown", || "")?;
    }
    if given.mode {
        let mode: RawMode = own.st_mode & 0o7777;
        rustix::fs::fchmod(&to, Mode::from_raw_mode(mode)).call("fchmod", || "")?;
    }
    Ok(())
}

fn copy_folder(from: &OwnedFd, to: BorrowedFd<'_>, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        bail!("tmpcopyup: more than {MAX_DEPTH} folders deep");
    }
    let entries = rustix::fs::Dir::read_from(from).call("getdents64", || "")?;
    for entry in entries {
        let entry = entry.call("getdents64", || "")?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        copy_entry(from.as_fd(), to, name, depth).context(|| format!("copy {name:?}"))?;
    }
    let stat = rustix::fs::fstat(from).call("fstat", || "")?;
    copy_metadata(from.as_fd(), to, &stat)
}

fn copy_entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<()> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).call("fstatat", || "")?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, Mode::RWXU).call("mkdirat", || "")?;
            let inner = open_folder(to, name)?;
            copy_folder(&open_folder(from, name)?, inner.as_fd(), depth + 1)
        }
        FileType::RegularFile => copy_file(from, to, name, mode),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new()).call("readlinkat", || "")?;
            rustix::fs::symlinkat(&target, to, name).call("symlinkat", || "")?;
            own_entry(to, name, &stat)?;
            xattr::copy(At::Entry(from, name), At::Entry(to, name))
        }
        kind => {
            rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev).call("mknodat", || "")?;
            own_entry(to, name, &stat)?;
            rustix::fs::chmodat(to, name, mode, AtFlags::empty()).call("fchmodat", || "")?;
            xattr::copy(At::Entry(from, name), At::Entry(to, name))
        }
    }
}

fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, mode: Mode) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, flags, Mode::empty()).call("openat", || "")?;
    let stat = rustix::fs::fstat(&source).call("fstat", || "")?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = rustix::fs::openat(to, name, flags, mode).call("openat", || "O_CREAT")?;
    let (mut source, mut copy) = (std::fs::File::from(source), std::fs::File::from(copy));
    std::io::copy(&mut source, &mut copy).call("read", || "")?;
    copy_metadata(source.as_fd(), copy.as_fd(), &stat)
}

fn open_folder(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty()).call("openat", || format!("{name:?}, O_DIRECTORY"))
}

fn own_entry(folder: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
    let (owner, group) = ids(stat);
    rustix::fs::chownat(folder, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)
        .call("fchownat", || "")
}

/// Owner first: chown clears set-id bits and file capabilities, chmod and the attributes put them back.
fn copy_metadata(from: BorrowedFd<'_>, fd: BorrowedFd<'_>, stat: &Stat) -> Result<()> {
    let (owner, group) = ids(stat);
    rustix::fs::fchown(fd, Some(owner), Some(group)).call("fchown", || "")?;
    let mode: RawMode = stat.st_mode & 0o7777;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(mode)).call("fchmod", || "")?;
    xattr::copy(At::Open(from), At::Open(fd))?;
    let time =
        |secs, nanos: u64| rustix::fs::Timespec { tv_sec: secs, tv_nsec: nanos.try_into().unwrap_or(0) };
    let times = rustix::fs::Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    rustix::fs::futimens(fd, &times).call("futimens", || "")
}

fn ids(stat: &Stat) -> (rustix::fs::Uid, rustix::fs::Gid) {
    (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid))
}
