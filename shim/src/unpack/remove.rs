//! Whole trees away: what was unpacked or copied and is not wanted any more.
//!
//! Links are removed, not followed, and nothing of another mount is touched. Whoever made an image decides how deep its
//! folders are: neither descriptors nor the stack may run out by that, or the tree could never be removed.

use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// Folders that are open at once, one in the other. What lies deeper is moved up first.
const DEPTH_MAX: usize = 32;

/// Removes a folder with all in it; links are removed, not followed, and nothing of another mount is touched.
///
/// # Errors
/// The system's reason, EXDEV for what is mounted in it; what was not removed yet stays.
pub fn remove_all(parent: BorrowedFd, name: &CString) -> Result<()> {
    let top = open(parent, name)?;
    let mut removal = Removal { top: top.as_fd(), moved: 0 };
    // What was moved up meanwhile may have come too late to be listed: it is met in the next round.
    let mut known = None;
    while known != Some(removal.moved) {
        known = Some(removal.moved);
        removal.empty(&top, 1)?;
    }
    fs::unlinkat(parent, &**name, AtFlags::REMOVEDIR).during(|| format!("unlinkat {name:?}"))
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    /// How many folders were moved up: each gets a name of its own.
    moved: u64,
}

impl Removal<'_> {
    fn empty(&mut self, folder: &OwnedFd, depth: usize) -> Result<()> {
        for entry in fs::Dir::read_from(folder).during(|| "getdents".into())? {
            let entry = entry.during(|| "getdents".into())?;
            let name = entry.file_name().to_owned();
            if matches!(name.as_bytes(), b"." | b"..") {
                continue;
            }
            match fs::unlinkat(folder, &*name, AtFlags::empty()) {
                Err(Errno::ISDIR) if depth == DEPTH_MAX => self.move_up(folder, &name)?,
                Err(Errno::ISDIR) => {
                    self.empty(&open(folder.as_fd(), &name)?, depth + 1)?;
                    fs::unlinkat(folder, &*name, AtFlags::REMOVEDIR)
                        .during(|| format!("unlinkat {name:?}"))?;
                }
                result => result.during(|| format!("unlinkat {name:?}"))?,
            }
        }
        Ok(())
    }

    /// Into the uppermost folder, under a name that nobody has there. (An empty folder of this name would be replaced:
    /// it was to go anyway.)
    fn move_up(&mut self, folder: &OwnedFd, name: &CString) -> Result<()> {
        loop {
            self.moved += 1;
            match fs::renameat(folder, &**name, self.top, format!(".moved-up-{}", self.moved)) {
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                result => return result.during(|| format!("renameat {name:?}")),
            }
        }
    }
}

fn open(parent: BorrowedFd, name: &CString) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    fs::openat2(parent, &**name, flags, Mode::empty(), resolve).during(|| format!("openat2 {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;
    use std::fs::File;

    /// A chain of `depth` folders named `d`, a file in each, made from its end upwards: no name reaches it.
    fn chain(scratch: &Scratch, depth: usize) {
        std::fs::create_dir(scratch.join("d")).unwrap();
        for _ in 1..depth {
            let outer = scratch.join("outer");
            std::fs::create_dir(&outer).unwrap();
            std::fs::write(outer.join(".moved-up-1"), "in the way").unwrap();
            std::fs::rename(scratch.join("d"), outer.join("d")).unwrap();
            std::fs::rename(outer, scratch.join("d")).unwrap();
        }
    }

    #[test]
    fn a_tree_deeper_than_descriptors_and_stack_reach_is_removed() {
        let scratch = Scratch::new();
        chain(&scratch, 1200);
        std::fs::write(scratch.join("canary"), "sings").unwrap();
        std::os::unix::fs::symlink(scratch.path(), scratch.join("d/link")).unwrap();
        let parent = File::open(scratch.path()).unwrap();
        remove_all(parent.as_fd(), &c"d".to_owned()).unwrap();
        let left: Vec<_> =
            std::fs::read_dir(scratch.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["canary"]);
    }
}
