//! Where paths lead: on the host as everywhere, in a container never out of its root (openat2(2), RESOLVE_IN_ROOT).
//!
//! What is found is a descriptor; whoever moves folders and links around afterwards moves nothing here. What the kernel
//! makes up (procfs, sysfs and the like) is no part of a container's files, as in Docker: reading such a file may wait, and
//! writing one may change the host.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::copy::path::{Absolute, End, There, split};
use crate::error::{Context, Error, Result};
use crate::unpack::c_string;

/// How many links of links are followed to find a target.
const LINKS_MAX: usize = 40;
/// How often the kernel may say that somebody has moved a folder meanwhile (openat2(2), EAGAIN).
const MOVES_MAX: usize = 1000;

/// Magic numbers of file systems without files (statfs(2)).
const MADE_UP: [i64; 18] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x1cd1,      // devpts
    0x6373_6673, // securityfs
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0xcafe_4a11, // bpf
    0x1980_0202, // mqueue
    0x6165_676c, // pstore
    0xde5e_81e4, // efivarfs
    0x4249_4e4d, // binfmt_misc
    0xf97c_ff8c, // selinux
    0x4341_5d53, // smack
    0x6265_6570, // configfs
    0x0187,      // autofs
    0x6e73_6673, // nsfs
];

/// Has the kernel made this up?
///
/// # Errors
/// The system's reason.
pub fn is_made_up(file: impl AsFd) -> Result<bool> {
    let kind = fs::fstatfs(file).during(|| "fstatfs".into())?.f_type;
    Ok(MADE_UP.contains(&kind))
}

/// A tree of files, by its root.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    is_container: bool,
}

/// Where something is to be put.
#[derive(Debug)]
pub struct Target {
    /// What is there.
    pub there: There,
    /// It, if it is a folder, or the one around it.
    pub folder: OwnedFd,
    /// Its name in the folder around it; empty for a folder that is there.
    pub name: CString,
    /// Its path, without links.
    pub path: Vec<u8>,
}

impl Tree {
    /// The host's.
    ///
    /// # Errors
    /// The system's reason.
    pub fn of_host() -> Result<Tree> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = fs::open("/", flags, Mode::empty()).during(|| "open \"/\"".into())?;
        Ok(Tree { root, is_container: false })
    }

    /// A container's, by its root.
    #[must_use]
    pub fn of_container(root: OwnedFd) -> Tree {
        Tree { root, is_container: true }
    }

    /// Its root.
    #[must_use]
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// What a path leads to; a link at its end is followed if that is asked for, or a slash behind it. None where there is
    /// nothing.
    ///
    /// # Errors
    /// The system's reason.
    pub fn source(&self, wanted: &Absolute, follow: bool) -> Result<Option<OwnedFd>> {
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        if wanted.end != End::Name {
            flags |= OFlags::DIRECTORY;
        } else if !follow {
            flags |= OFlags::NOFOLLOW;
        }
        let found = match self.open(&wanted.path, flags) {
            Err(Errno::NOENT) => return Ok(None),
            found => found.during(|| format!("open {:?}", wanted.shown()))?,
        };
        if !self.is_container || !is_made_up(&found)? {
            return Ok(Some(found));
        }
        // What it is mounted on is the container's, and empty (as in Docker).
        let is_mounted_on = match wanted.split() {
            Some((parent, _)) => self.folder(parent)?.is_some(),
            None => false,
        };
        Ok(is_mounted_on.then_some(found))
    }

    /// A folder; None where there is none.
    ///
    /// # Errors
    /// The system's reason.
    pub fn folder(&self, path: &[u8]) -> Result<Option<OwnedFd>> {
        match self.open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC) {
            Err(Errno::NOENT) => Ok(None),
            found => {
                let found = found.during(|| format!("open {:?}", String::from_utf8_lossy(path)))?;
                Ok(if self.is_container && is_made_up(&found)? { None } else { Some(found) })
            }
        }
    }

    /// The same, made with those above it where they are not there, each 0755 and root's.
    ///
    /// # Errors
    /// Something else is in the way; the system's reason.
    pub fn make_folder(&self, path: &[u8]) -> Result<OwnedFd> {
        if let Some(folder) = self.folder(path)? {
            return Ok(folder);
        }
        let missing = || Error::not_found("it has no root");
        let mut folder = self.folder(b"")?.ok_or_else(missing)?;
        // From the root down and not by recursion: a path may have thousands of parts.
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in slashes.chain([path.len()]) {
            let path = &path[..end];
            folder = match (self.folder(path)?, split(path)) {
                (Some(folder), _) => folder,
                (None, None) => continue,
                (None, Some((_, name))) => {
                    let words = || format!("mkdir {:?}", String::from_utf8_lossy(path));
                    let name = c_string(name)?;
                    let mode = Mode::from_raw_mode(0o755);
                    match fs::mkdirat(&folder, &*name, mode) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno).during(words),
                    }
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let made = fs::openat(&folder, &*name, flags, Mode::empty()).during(words)?;
                    // The umask took some bits.
                    fs::fchmod(&made, mode).during(words)?;
                    made
                }
            };
        }
        Ok(folder)
    }

    /// A path without links: those on its way and at its end are followed, also where they lead to nothing yet.
    ///
    /// # Errors
    /// Links without end; something that is no folder on the way; the system's reason.
    pub fn resolved(&self, path: &[u8]) -> Result<Vec<u8>> {
        let parts = |path: &[u8]| -> Vec<Vec<u8>> {
            let parts = path.split(|byte| *byte == b'/').filter(|part| !matches!(**part, [] | [b'.']));
            parts.rev().map(<[u8]>::to_vec).collect()
        };
        let (mut done, mut left, mut links) = (Vec::<u8>::new(), parts(path), 0);
        while let Some(part) = left.pop() {
            if part == b".." {
                done.truncate(split(&done).map_or(0, |(parent, _)| parent.len()));
                continue;
            }
            let name = c_string(part.clone())?;
            let to = match self.folder(&done)? {
                None => None,
                Some(folder) => match fs::readlinkat(&folder, &*name, Vec::new()) {
                    Err(Errno::NOENT | Errno::INVAL) => None,
                    to => Some(to.during(|| format!("readlink {name:?}"))?),
                },
            };
            let Some(to) = to else {
                if !done.is_empty() {
                    done.push(b'/');
                }
                done.extend(part);
                continue;
            };
            links += 1;
            if links > LINKS_MAX {
                let shown = String::from_utf8_lossy(path);
                return Err(Error::invalid(format!("too many symlinks in /{shown}")));
            }
            if to.as_bytes().starts_with(b"/") {
                done.clear();
            }
            left.extend(parts(to.as_bytes()));
        }
        Ok(done)
    }

    /// Where a path leads as a target: through links to the end, also through one that leads to nothing, which is made
    /// then. None where the folder around it is not there.
    ///
    /// # Errors
    /// Links without end; the system's reason.
    pub fn target(&self, wanted: &Absolute) -> Result<Option<Target>> {
        let mut path = wanted.path.clone();
        for _ in 0..LINKS_MAX {
            let Some((parent, name)) = split(&path) else {
                let folder = self.folder(b"")?;
                return Ok(folder.map(|folder| Target {
                    there: There::Folder,
                    folder,
                    name: CString::default(),
                    path,
                }));
            };
            let name = c_string(name)?;
            let Some(folder) = self.folder(parent)? else { return Ok(None) };
            let kind = match fs::statat(&folder, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(errno).during(|| format!("stat {name:?}")),
            };
            match kind {
                Some(FileType::Symlink) => {
                    let to = fs::readlinkat(&folder, &*name, Vec::new())
                        .during(|| format!("readlink {name:?}"))?;
                    path = Absolute::of(&[b"/", parent].concat(), to.as_bytes()).path;
                }
                Some(FileType::Directory) => {
                    let Some(folder) = self.folder(&path)? else { return Ok(None) };
                    return Ok(Some(Target { there: There::Folder, folder, name: CString::default(), path }));
                }
                kind => {
                    let there = if kind.is_some() { There::File } else { There::Nothing };
                    return Ok(Some(Target { there, folder, name, path }));
                }
            }
        }
        Err(Error::invalid(format!("too many symlinks in {}", wanted.shown())))
    }

    fn open(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { b".".to_vec() } else { path.to_vec() };
        let path = CString::new(path).map_err(|_| Errno::INVAL)?;
        let resolve = if self.is_container {
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS
        } else {
            ResolveFlags::empty()
        };
        for _ in 0..MOVES_MAX {
            match fs::openat2(&self.root, &*path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                found => return found,
            }
        }
        Err(Errno::AGAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_containers_paths_stay_in_its_root() {
        let scratch = Scratch::new();
        std::fs::create_dir_all(scratch.join("root/etc")).unwrap();
        std::fs::write(scratch.join("root/etc/file"), "inside").unwrap();
        std::fs::write(scratch.join("secret"), "outside").unwrap();
        let link = |to: &str, name: &str| symlink(to, scratch.join("root").join(name)).unwrap();
        link("../secret", "up");
        link("/etc/new", "dangling");
        link("/etc", "folder");
        link("/loop", "loop");
        link("/proc/self/root", "magic");
        let root = OwnedFd::from(std::fs::File::open(scratch.join("root")).unwrap());
        let tree = Tree::of_container(root);
        let of = |text: &str| Absolute::of(b"/", text.as_bytes());
        assert!(tree.source(&of("/up"), true).unwrap().is_none(), "there is no such file inside");
        let found = tree.source(&of("/up"), false).unwrap().unwrap();
        assert!(FileType::from_raw_mode(fs::fstat(found).unwrap().st_mode).is_symlink());
        assert!(tree.source(&of("/folder/file"), false).unwrap().is_some());
        assert!(tree.source(&of("/etc/file/"), false).is_err(), "it is no folder");
        let target = |text: &str| tree.target(&of(text)).unwrap().map(|found| (found.there, found.path));
        assert_eq!(target("/dangling"), Some((There::Nothing, b"etc/new".to_vec())));
        assert_eq!(target("/folder"), Some((There::Folder, b"etc".to_vec())));
        assert_eq!(target("/folder/file"), Some((There::File, b"folder/file".to_vec())));
        assert_eq!(target("/up"), Some((There::Nothing, b"secret".to_vec())), "/secret inside");
        assert_eq!(target("/nothing/file"), None);
        assert_eq!(target("/"), Some((There::Folder, Vec::new())));
        assert_eq!(target("/magic/tmp/x"), None, "there is no /proc inside");
        assert_eq!(tree.target(&of("/loop")).unwrap_err().to_string(), "too many symlinks in /loop");
        let resolved = |path: &str| {
            let resolved = tree.resolved(path.as_bytes()).map_err(|error| error.to_string());
            resolved.map(|path| String::from_utf8(path).unwrap())
        };
        for (path, led) in [
            ("dangling/a", "etc/new/a"),
            ("up/x", "secret/x"),
            ("folder/../file", "file"),
            ("folder/file", "etc/file"),
            ("nothing/at/all", "nothing/at/all"),
            ("../..", ""),
        ] {
            assert_eq!(resolved(path).as_deref(), Ok(led), "{path}");
        }
        assert_eq!(resolved("loop/x").unwrap_err(), "too many symlinks in /loop/x");
    }

    #[test]
    fn what_the_kernel_makes_up_is_no_file_of_a_container() {
        let tree = Tree::of_container(OwnedFd::from(std::fs::File::open("/").unwrap()));
        let of = |text: &str| Absolute::of(b"/", text.as_bytes());
        assert!(tree.source(&of("/proc/version"), false).unwrap().is_none());
        assert!(tree.target(&of("/proc/sys/kernel/core_pattern")).unwrap().is_none());
        let host = Tree::of_host().unwrap();
        assert!(host.source(&of("/proc/version"), false).unwrap().is_some());
    }
}
