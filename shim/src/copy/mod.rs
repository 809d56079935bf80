//! `cp`: files out of containers and into them.
//!
//! What the arguments mean is `path`'s, where paths lead `lookup`'s, what a container's files are `view`'s. Files are read in one
//! way (`walk`) and become files (`tree`, by `make`) or an archive (`archive`); an archive becomes files by `extract`. No
//! program of the container runs for it and none of its code is loaded; nothing in its root is reached by a plain path.

mod archive;
mod extract;
mod lookup;
mod make;
pub mod path;
mod tree;
mod view;
mod walk;

use std::ffi::CString;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{self, FileType, StatVfsMountFlags};

use crate::container::ContainerId;
use crate::container::record::Container;
use crate::container::store::Containers;
use crate::copy::lookup::{Target, Tree};
use crate::copy::make::Owners;
use crate::copy::path::{Absolute, End, How, There, how};
use crate::copy::view::View;
use crate::error::{Context, Error, Kind, Result};
use crate::event;
use crate::unpack::c_string;

/// How it is copied.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Owners stay as they are.
    pub archive: bool,
    /// Of a link, what it leads to is copied.
    pub follow: bool,
}

/// What came of it, and what could not be copied as it was, by the paths.
#[derive(Debug, Default)]
pub struct Notes {
    /// Bytes of all files.
    pub size: u64,
    /// Devices, which are left out.
    pub devices: Vec<String>,
    /// Sockets, likewise.
    pub sockets: Vec<String>,
    /// Files that became shorter while they were read.
    pub shorter: Vec<String>,
    /// Attributes that have no place where files went.
    pub lost: Vec<String>,
}

/// Copies something of a container to a path of the host. `word` is what the container was called.
///
/// # Errors
/// Docker's words for what is not there or contradicts itself; the first file that cannot be copied; the system's reason.
pub fn out(containers: &Containers, word: &str, from: &[u8], to: &[u8], options: Options) -> Result<Notes> {
    let host = Tree::of_host()?;
    let wanted = Absolute::of(current_folder()?.as_bytes(), to);
    let View { root, container, lock: _lock } = open(containers, word)?;
    let (source, tree) = (Absolute::of(b"/", from), Tree::of_container(root));
    check_output(&host, &wanted)?;
    let found = of_container(&tree, &source, word, options.follow)?;
    event::emit(containers.state_root(), "archive-path", &container, &[]);
    let target = host.target(&wanted)?;
    let target = target.ok_or_else(|| Error::not_found(format!("{}: no such directory", wanted.shown())))?;
    let owners = if options.archive { Owners::Kept } else { Owners::Maker };
    put(&found, &source, target, wanted.end, owners)
}

/// Writes something of a container into an archive.
///
/// # Errors
/// As for [`out`].
pub fn pack(
    containers: &Containers,
    word: &str,
    from: &[u8],
    out: impl Write,
    options: Options,
) -> Result<Notes> {
    let View { root, container, lock: _lock } = open(containers, word)?;
    let (source, tree) = (Absolute::of(b"/", from), Tree::of_container(root));
    let found = of_container(&tree, &source, word, options.follow)?;
    event::emit(containers.state_root(), "archive-path", &container, &[]);
    let name = match source.split() {
        Some((_, name)) if source.end != End::Dot => c_string(name)?,
        _ => c".".to_owned(),
    };
    let mut sink = archive::Out::new(out);
    walk::file(&found, &name, &mut sink).during(|| source.shown())?;
    sink.finish()
}

/// Copies something of the host to a path in a container.
///
/// # Errors
/// As for [`out`].
pub fn into(containers: &Containers, word: &str, from: &[u8], to: &[u8], options: Options) -> Result<Notes> {
    let source = Absolute::of(current_folder()?.as_bytes(), from);
    let host = Tree::of_host()?;
    // Until the end of the function nobody starts it, if it does not run.
    let View { root, container, lock: _lock } = open(containers, word)?;
    let (wanted, tree) = (Absolute::of(b"/", to), Tree::of_container(root));
    let target = target_in(&tree, &container, &wanted, word)?;
    let found = host.source(&source, options.follow)?;
    let found = found
        .ok_or_else(|| Error::not_found(format!("lstat {}: no such file or directory", source.shown())))?;
    let owners = if options.archive { Owners::Kept } else { Owners::Root };
    let notes = put(&found, &source, target, wanted.end, owners)?;
    event::emit(containers.state_root(), "extract-to-dir", &container, &[]);
    Ok(notes)
}

/// Unpacks an archive into a folder of a container.
///
/// # Errors
/// As for [`out`]; what is no archive.
pub fn unpack(containers: &Containers, word: &str, input: impl Read, to: &[u8]) -> Result<Notes> {
    let View { root, container, lock: _lock } = open(containers, word)?;
    let (wanted, tree) = (Absolute::of(b"/", to), Tree::of_container(root));
    let target = target_in(&tree, &container, &wanted, word)?;
    if target.there != There::Folder {
        let to = String::from_utf8_lossy(to);
        return Err(Error::usage(format!("destination \"{word}:{to}\" must be a directory")));
    }
    let notes = extract::extract(input, &tree, &target.path)?;
    event::emit(containers.state_root(), "extract-to-dir", &container, &[]);
    Ok(notes)
}

fn open(containers: &Containers, word: &str) -> Result<View> {
    let id: ContainerId = containers.find(word)?;
    view::open(containers, &id)
}

fn target_in(tree: &Tree, container: &Container, wanted: &Absolute, word: &str) -> Result<Target> {
    let missing =
        || Error::not_found(format!("Could not find the file {} in container {word}", wanted.shown()));
    let target = tree.target(wanted)?.ok_or_else(missing)?;
    check_writable(tree, &target, container.host_config.readonly_rootfs)?;
    if target.there == There::File {
        let stat = fs::statat(&target.folder, &*target.name, fs::AtFlags::SYMLINK_NOFOLLOW);
        let kind = stat.map(|stat| FileType::from_raw_mode(stat.st_mode)).during(|| "fstatat".into())?;
        if kind.is_char_device() || kind.is_block_device() {
            let reason = "must be a directory or a regular file: got a device";
            return Err(Error::usage(format!("destination \"{word}:{}\" {reason}", wanted.shown())));
        }
    }
    Ok(target)
}

/// A container of which nothing but its volumes may be written to; the same of a volume.
fn check_writable(tree: &Tree, target: &Target, readonly_root: bool) -> Result<()> {
    let device = |file: &OwnedFd| fs::fstat(file).map(|stat| stat.st_dev).during(|| "fstat".into());
    let is_in_root = device(tree.root())? == device(&target.folder)?;
    let flags = fs::fstatvfs(&target.folder).during(|| "fstatvfs".into())?.f_flag;
    if is_in_root && readonly_root {
        return Err(Error::new(Kind::Denied, "container rootfs is marked read-only"));
    }
    if flags.contains(StatVfsMountFlags::RDONLY) {
        return Err(Error::new(Kind::Denied, "mounted volume is marked read-only"));
    }
    Ok(())
}

fn of_container(tree: &Tree, source: &Absolute, word: &str, follow: bool) -> Result<OwnedFd> {
    let missing =
        || Error::not_found(format!("Could not find the file {} in container {word}", source.shown()));
    tree.source(source, follow)?.ok_or_else(missing)
}

/// Docker's check of a path that something is to be written to.
fn check_output(host: &Tree, wanted: &Absolute) -> Result<()> {
    let Some((parent, _)) = wanted.split() else { return Ok(()) };
    if host.folder(parent)?.is_none() {
        let parent = format!("/{}", String::from_utf8_lossy(parent));
        return Err(Error::usage(format!("invalid output path: directory {parent:?} does not exist")));
    }
    let Some(found) = host.source(&Absolute { end: End::Name, ..wanted.clone() }, true)? else {
        return Ok(());
    };
    let kind = FileType::from_raw_mode(fs::fstat(found).during(|| "fstat".into())?.st_mode);
    if kind.is_char_device() || kind.is_block_device() {
        let reason = "must be a directory or a regular file: got a device";
        return Err(Error::usage(format!("invalid output path: {:?} {reason}", wanted.shown())));
    }
    Ok(())
}

/// Copies what was found to where it is to be.
fn put(found: &OwnedFd, source: &Absolute, target: Target, end: End, owners: Owners) -> Result<Notes> {
    let kind = FileType::from_raw_mode(fs::fstat(found).during(|| "fstat".into())?.st_mode);
    // In a folder it is left out and told; where it is all that was asked for, nothing would be there.
    if kind.is_char_device() || kind.is_block_device() || kind.is_socket() {
        let what = if kind.is_socket() { "a socket" } else { "a device" };
        return Err(Error::usage(format!("cannot copy {}: it is {what}", source.shown())));
    }
    let how = how(kind.is_dir(), source.end, target.there, end)?;
    let name = match source.split() {
        Some((_, name)) => c_string(name)?,
        None => CString::default(),
    };
    let rename = (how == How::As).then_some(target.name);
    let mut sink = tree::Into::new(target.folder, rename, owners);
    let told = match how {
        How::Contents => walk::contents(found, &mut sink),
        How::Into | How::As => walk::file(found, &name, &mut sink),
    };
    told.during(|| source.shown())?;
    Ok(sink.finish())
}

fn current_folder() -> Result<std::ffi::OsString> {
    std::env::current_dir().map(Into::into).during(|| "getcwd".into())
}
