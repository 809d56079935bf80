//! maskedPaths and readonlyPaths (config-linux.md), by descriptor.
//!
//! Folders are covered by clones of one empty read-only tmpfs, everything else by the null device, whose
//! number is verified before it is used (CVE-2025-31133). A path that does not exist is left out.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, OFlags};

use super::mount;
use super::root::{RootFd, verify_char_device};
use crate::error::{Call, Context, Result};
use crate::plan::mount::{Attributes, RDONLY};

/// Covers the paths so that nothing below or behind them can be read.
///
/// # Errors
/// The failing call with the path's place in the specification.
pub fn mask(root: &RootFd, paths: &[String], label: &str) -> Result<()> {
    let mut empty: Option<OwnedFd> = None;
    let mut null: Option<OwnedFd> = None;
    for (index, path) in paths.iter().enumerate() {
        let step = || format!("linux.maskedPaths[{index}] {path:?}");
        let Some(target) = open_existing(root, path).context(step)? else { continue };
        let stat = rustix::fs::fstat(&target).call("fstat", || format!("{path:?}")).context(step)?;
        let cover = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            match &empty {
                // The first folder gets the file system itself, the others clones: nothing is left over
                // that would have to be unmounted again.
                None => {
                    let tree = empty_folder(label).context(step)?;
                    mount::attach(tree.as_fd(), target.as_fd()).context(step)?;
                    empty = Some(tree);
                    continue;
                }
                Some(tree) => mount::clone_tree(tree.as_fd(), false).context(step)?,
            }
        } else {
            if null.is_none() {
                null = Some(open_null(root).context(step)?);
            }
            let Some(null) = &null else { continue };
            mount::clone_tree(null.as_fd(), false).context(step)?
        };
        mount::attach(cover.as_fd(), target.as_fd()).context(step)?;
    }
    Ok(())
}

/// Makes the paths read-only, each by a mount of itself.
///
/// # Errors
/// The failing call with the path's place in the specification.
pub fn make_readonly(root: &RootFd, paths: &[String]) -> Result<()> {
    for (index, path) in paths.iter().enumerate() {
        let step = || format!("linux.readonlyPaths[{index}] {path:?}");
        let Some(target) = open_existing(root, path).context(step)? else { continue };
        let tree = mount::clone_tree(target.as_fd(), true).context(step)?;
        mount::set_attributes(tree.as_fd(), Attributes { set: RDONLY, clear: 0 }, false).context(step)?;
        mount::attach(tree.as_fd(), target.as_fd()).context(step)?;
    }
    Ok(())
}

fn open_existing(root: &RootFd, path: &str) -> Result<Option<OwnedFd>> {
    match root.resolve(path) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if matches!(error.errno(), libc::ENOENT | libc::ENOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

fn empty_folder(label: &str) -> Result<OwnedFd> {
    let mut parameters = vec![("nr_blocks".to_owned(), Some("1".to_owned()))];
    parameters.push(("nr_inodes".to_owned(), Some("1".to_owned())));
    if !label.is_empty() {
        parameters.push(("context".to_owned(), Some(label.to_owned())));
    }
    mount::new_filesystem("tmpfs", "tmpfs", &parameters, RDONLY)
}

/// The container's own null device, or the host's where the container has none; verified either way.
fn open_null(root: &RootFd) -> Result<OwnedFd> {
    let verified = |fd: OwnedFd| verify_char_device(fd.as_fd(), "/dev/null", 1, 3).map(|()| fd);
    match root.open("/dev/null", OFlags::PATH | OFlags::NOFOLLOW) {
        Ok(fd) => verified(fd),
        Err(error) if error.errno() == libc::ENOENT => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let host = rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty());
            verified(host.call("open", || "\"/dev/null\"")?)
        }
        Err(error) => Err(error),
    }
}
