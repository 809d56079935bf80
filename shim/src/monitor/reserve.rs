//! Room on the disk for a record: what a container's log or somebody else fills must not keep its end from being
//! written down.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

/// Two records of the usual size, each in its own blocks.
const SIZE: u64 = 32 << 10;

fn path(folder: &Path) -> PathBuf {
    folder.join("reserve")
}

/// Keeps room in a folder, if there is some.
pub fn make(folder: &Path) {
    let path = path(folder);
    let is_there = fs::metadata(&path).is_ok_and(|stat| stat.len() == SIZE);
    if !is_there {
        let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        if made.is_ok_and(|file: File| fallocate(&file, FallocateFlags::empty(), 0, SIZE).is_err()) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Frees the room.
pub fn spend(folder: &Path) {
    let _ = fs::remove_file(path(folder));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    #[test]
    fn room_is_kept_until_it_is_spent() {
        let scratch = Scratch::new();
        let size = || fs::metadata(path(scratch.path())).map(|stat| stat.len()).ok();
        make(scratch.path());
        make(scratch.path());
        assert_eq!(size(), Some(SIZE));
        spend(scratch.path());
        spend(scratch.path());
        assert_eq!(size(), None);
        make(&scratch.join("nowhere"));
    }
}
