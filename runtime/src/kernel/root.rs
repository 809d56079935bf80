//! Paths inside a container's root, as descriptors.
//!
//! Nothing below a root is ever reached by a plain path: every look-up is an openat2(2) with
//! RESOLVE_IN_ROOT, so that absolute links, `..` and links swapped during the look-up stay inside
//! (CVE-2019-18837, CVE-2021-30465, CVE-2024-45310). Missing folders are made one at a time on
//! descriptors that were opened without following links.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};

use crate::bail;
use crate::error::{Call, Result};

/// As many links as the kernel follows in one look-up (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// The root folder of a container: `/` for everything that is resolved through it.
#[derive(Debug)]
pub struct RootFd(OwnedFd);

impl From<OwnedFd> for RootFd {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for RootFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What a mount target has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A folder.
    Folder,
    /// Anything that is no folder; made as an empty file.
    File,
}

impl RootFd {
    /// Opens `path` (O_PATH, links followed inside the root).
    ///
    /// # Errors
    /// ENOENT and the other errors of openat2(2).
    pub fn resolve(&self, path: &str) -> Result<OwnedFd> {
        self.open(path, OFlags::PATH)
    }

    /// Opens `path` with the given flags (O_CLOEXEC added).
    ///
    /// # Errors
    /// As openat2(2). EAGAIN, which says that a rename raced with a `..`, is tried again.
    pub fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        open_in_root(self.as_fd(), path, flags).call("openat2", || format!("{path:?} inside the root"))
    }

    /// Opens `path` as a mount target, making it and the folders above it where they are missing.
    ///
    /// # Errors
    /// Where the path exists with another type, or cannot be made.
    pub fn ensure(&self, path: &str, target: Target) -> Result<OwnedFd> {
        let found = match open_in_root(self.as_fd(), path, OFlags::PATH) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::NOENT) => self.make(path, target)?,
            Err(errno) => return Err(errno).call("openat2", || format!("{path:?} inside the root")),
        };
        let is_folder = file_type(found.as_fd(), path)? == FileType::Directory;
        match target {
            Target::Folder if !is_folder => bail!("{path:?} inside the root is not a directory"),
            Target::File if is_folder => bail!("{path:?} inside the root is a directory"),
            _ => Ok(found),
        }
    }

    /// Opens the folder `path`, making it where it is missing, and refuses it where any part is a link.
    ///
    /// # Errors
    /// "must be mounted on ordinary directory", as runc says it, where a link or a file is in the way.
    pub fn ensure_without_links(&self, path: &str) -> Result<OwnedFd> {
        let relative = path.trim_start_matches('/');
        let relative = if relative.is_empty() { "." } else { relative };
        let open = || {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat2(&self.0, relative, flags, Mode::empty(), resolve)
        };
        let opened = match open() {
            Err(rustix::io::Errno::NOENT) => {
                self.ensure(path, Target::Folder)?;
                open()
            }
            other => other,
        };
        match opened {
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
                bail!("filesystem {path:?} must be mounted on ordinary directory")
            }
            other => other.call("openat2", || format!("{path:?} inside the root")),
        }
    }

    /// Opens the folder that holds `path`'s last component, making what is missing above it, and returns
    /// that component.
    ///
    /// # Errors
    /// A path without a last component, or as [`RootFd::ensure`].
    pub fn ensure_parent<'p>(&self, path: &'p str) -> Result<(OwnedFd, &'p str)> {
        let trimmed = path.trim_end_matches('/');
        let (parent, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
        if matches!(name, "" | "." | "..") {
            bail!("{path:?} does not name a file");
        }
        let parent = if parent.is_empty() { "/" } else { parent };
        Ok((self.ensure(parent, Target::Folder)?, name))
    }

    /// Walks `path` by hand, making what is missing; a dangling link is completed inside the root.
    fn make(&self, path: &str, target: Target) -> Result<OwnedFd> {
        let mut todo: VecDeque<String> = components(path).collect();
        let mut done: Vec<String> = Vec::new();
        let mut links = 0;
        let mut here = self.reopen(&done)?;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                done.pop();
                here = self.reopen(&done)?;
                continue;
            }
            let is_last = todo.is_empty();
            let next = match open_entry(here.as_fd(), &name) {
                Ok(next) => next,
                Err(rustix::io::Errno::NOENT) => {
                    make_entry(here.as_fd(), &name, is_last && target == Target::File)?
                }
                Err(errno) => return Err(errno).call("openat2", || format!("{name:?} of {path:?}")),
            };
            if file_type(next.as_fd(), path)? == FileType::Symlink {
                links += 1;
                if links > MAX_LINKS {
                    bail!("{path:?} inside the root: too many symbolic links");
                }
                let link = rustix::fs::readlinkat(&next, "", Vec::new()).call("readlinkat", || path)?;
                let link = String::from_utf8_lossy(link.as_bytes()).into_owned();
                if link.starts_with('/') {
                    done.clear();
                    here = self.reopen(&done)?;
                }
                for component in components(&link).collect::<Vec<_>>().into_iter().rev() {
                    todo.push_front(component);
                }
                continue;
            }
            here = next;
            done.push(name);
        }
        Ok(here)
    }

    /// Opens a path without links below the root; the root itself for none.
    fn reopen(&self, components: &[String]) -> Result<OwnedFd> {
        let path = if components.is_empty() { ".".to_owned() } else { components.join("/") };
        self.resolve(&path)
    }
}

/// Type of what `fd` refers to.
fn file_type(fd: BorrowedFd<'_>, path: &str) -> Result<FileType> {
    let stat = rustix::fs::fstat(fd).call("fstat", || format!("{path:?}"))?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

fn components(path: &str) -> impl Iterator<Item = String> {
    path.split('/').filter(|c| !matches!(*c, "" | ".")).map(str::to_owned)
}

fn open_in_root(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    loop {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Opens one directory entry itself, link or not.
fn open_entry(folder: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(folder, name, flags, Mode::empty(), ResolveFlags::BENEATH)
}

/// Makes one directory entry; losing a race against another maker is fine, what is there is opened.
fn make_entry(folder: BorrowedFd<'_>, name: &str, file: bool) -> Result<OwnedFd> {
    if file {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
        match rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o755)) {
            Ok(_) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(errno).call("openat", || format!("{name:?}, O_CREAT|O_EXCL")),
        }
    } else {
        match rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(errno).call("mkdirat", || format!("{name:?}")),
        }
    }
    open_entry(folder, name).call("openat2", || format!("{name:?}"))
}

/// Verifies that `fd` is a character device with this number.
///
/// # Errors
/// Where it is anything else: never trust what lies at a path (CVE-2025-31133).
pub fn verify_char_device(fd: BorrowedFd<'_>, name: &str, major: u32, minor: u32) -> Result<()> {
    let stat = rustix::fs::fstat(fd).call("fstat", || format!("{name:?}"))?;
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if !is_device || stat.st_rdev != rustix::fs::makedev(major, minor) {
        bail!("{name:?} is not the character device {major}:{minor}: possible container breakout detected");
    }
    Ok(())
}

/// Makes a symbolic link at `path`; one that is there already stays.
///
/// # Errors
/// As symlinkat(2), except EEXIST.
pub fn symlink(folder: BorrowedFd<'_>, name: &str, target: &str) -> Result<()> {
    match rustix::fs::symlinkat(target, folder, name) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).call("symlinkat", || format!("{name:?} to {target:?}")),
    }
}

/// `stat` of an entry itself, `None` where there is none.
///
/// # Errors
/// As fstatat(2), except ENOENT.
pub fn stat_entry(folder: BorrowedFd<'_>, name: &str) -> Result<Option<rustix::fs::Stat>> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).call("fstatat", || format!("{name:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink as link;
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("caisson-test-root-{}-{name}", std::process::id()));
            std::fs::create_dir_all(path.join("root")).unwrap();
            Self(path)
        }

        fn root(&self) -> RootFd {
            std::fs::File::open(self.0.join("root")).map(OwnedFd::from).unwrap().into()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn missing_folders_are_made_inside() {
        let folder = Folder::new("make");
        folder.root().ensure("/a/b/../c/d", Target::Folder).unwrap();
        assert!(folder.0.join("root/a/c/d").is_dir());
        folder.root().ensure("/a/f/file", Target::File).unwrap();
        assert!(folder.0.join("root/a/f/file").is_file());
    }

    #[test]
    fn links_of_every_kind_stay_inside() {
        let folder = Folder::new("links");
        let root = folder.0.join("root");
        link("/outside", root.join("absolute")).unwrap();
        link("../../../outside2", root.join("relative")).unwrap();
        folder.root().ensure("/absolute/x", Target::Folder).unwrap();
        folder.root().ensure("/relative/y", Target::File).unwrap();
        assert!(root.join("outside/x").is_dir());
        assert!(root.join("outside2/y").is_file());
        assert!(!folder.0.join("outside2").exists());
    }

    #[test]
    fn a_loop_of_links_is_an_error() {
        let folder = Folder::new("loop");
        link("b", folder.0.join("root/a")).unwrap();
        link("a", folder.0.join("root/b")).unwrap();
        let error = folder.root().ensure("/a/x", Target::Folder).unwrap_err().to_string();
        assert!(error.contains("ELOOP") || error.contains("too many symbolic links"), "{error}");
    }

    #[test]
    fn types_are_checked() {
        let folder = Folder::new("types");
        folder.root().ensure("/file", Target::File).unwrap();
        folder.root().ensure("/dir", Target::Folder).unwrap();
        assert!(folder.root().ensure("/file", Target::Folder).is_err());
        assert!(folder.root().ensure("/dir", Target::File).is_err());
    }

    #[test]
    fn a_link_at_a_device_is_not_the_device() {
        let folder = Folder::new("device");
        link("/etc/passwd", folder.0.join("root/null")).unwrap();
        std::fs::create_dir(folder.0.join("root/etc")).unwrap();
        std::fs::write(folder.0.join("root/etc/passwd"), "x").unwrap();
        let fd = folder.root().resolve("/null").unwrap();
        assert!(verify_char_device(fd.as_fd(), "/dev/null", 1, 3).is_err());
        let null = std::fs::File::open("/dev/null").unwrap();
        verify_char_device(null.as_fd(), "/dev/null", 1, 3).unwrap();
    }
}
