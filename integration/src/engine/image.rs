//! Images made on the spot: busybox as a tar archive, for engines that import one.

use std::fs::File;
use std::path::PathBuf;

use crate::{Call, Scratch, rootfs};

/// Writes a root folder of busybox as a tar archive into a folder; its path.
#[must_use]
#[track_caller]
pub fn archive(folder: &Scratch) -> PathBuf {
    let (root, path) = (folder.path().join("image"), folder.path().join("image.tar"));
    rootfs::populate(&root);
    let call = Call::of("tar").args(["--create", "--owner=0", "--group=0", "--sort=name", "--mtime=@0"]);
    call.args(["--file".as_ref(), path.as_os_str(), "--directory".as_ref(), root.as_os_str(), ".".as_ref()])
        .output()
        .expect_ok();
    path
}

/// The archive of [`archive`], open: standard input of an import.
#[must_use]
#[track_caller]
pub fn open_archive() -> File {
    let folder = Scratch::new();
    File::open(archive(&folder)).expect("open an archive that was just written")
}
