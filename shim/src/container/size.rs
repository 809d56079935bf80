//! What a container's own files take: those that it has written, in its layer above the image's.
//!
//! The folder is walked by descriptors and no link is followed, since what is in it is the container's.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// The folder of a container in which its own files are.
pub const UPPER: &str = "upper";

/// Bytes of all files below this folder; nothing of one that is not there. What goes away meanwhile does not count.
///
/// # Errors
/// The system's reason.
pub fn of_files(folder: &Path) -> Result<u64> {
    let open = match File::open(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        open => open.during(|| format!("open {folder:?}"))?,
    };
    walk(open.into()).during(|| format!("read {folder:?}"))
}

/// One folder is open at a time, with the names on the way to it: depth costs memory, not descriptors.
fn walk(root: OwnedFd) -> Result<u64> {
    let mut sum = 0_u64;
    let mut counted = BTreeSet::new();
    let mut waiting: Vec<Vec<CString>> = vec![Vec::new()];
    while let Some(way) = waiting.pop() {
        let Some(folder) = descend(&root, &way)? else { continue };
        let names = fs::Dir::read_from(&folder).and_then(Iterator::collect::<rustix::io::Result<Vec<_>>>);
        let names = match names {
            Err(Errno::NOENT) => continue,
            names => names.during(|| "getdents".into())?,
        };
        for entry in names {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = match fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => stat.during(|| format!("fstatat {name:?}"))?,
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let mut inner = way.clone();
                    inner.push(name.to_owned());
                    waiting.push(inner);
                }
                // A file with several names takes its place once.
                _ if stat.st_nlink > 1 && !counted.insert((stat.st_dev, stat.st_ino)) => {}
                _ => sum = sum.saturating_add(u64::try_from(stat.st_size).unwrap_or_default()),
            }
        }
    }
    Ok(sum)
}

/// The folder at the end of the way; None if it is no more, or no folder any more.
fn descend(root: &OwnedFd, way: &[CString]) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut folder = root.try_clone().during(|| "dup".into())?;
    for name in way {
        folder = match fs::openat(&folder, &**name, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            open => open.during(|| format!("openat {name:?}"))?,
        };
    }
    Ok(Some(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    #[test]
    fn files_are_counted_and_links_are_not_followed() {
        let scratch = Scratch::new();
        let folder = scratch.join("upper");
        assert_eq!(of_files(&folder).unwrap(), 0);
        std::fs::create_dir_all(folder.join("a/b")).unwrap();
        std::fs::write(folder.join("a/file"), [0; 100]).unwrap();
        std::fs::write(folder.join("a/b/file"), [0; 20]).unwrap();
        std::fs::hard_link(folder.join("a/file"), folder.join("same")).unwrap();
        std::fs::write(scratch.join("outside"), [0; 5000]).unwrap();
        std::os::unix::fs::symlink("../outside", folder.join("link")).unwrap();
        assert_eq!(of_files(&folder).unwrap(), 100 + 20 + 10);
    }
}
