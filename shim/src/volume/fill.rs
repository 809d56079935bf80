//! What an image has at a volume's place becomes the content of the new volume, as in Docker: owners, modes, attributes,
//! times, links and holes included.
//!
//! The image is read by descriptors from the container's root and its links lead where they would lead inside
//! (CVE-2022-23648). A volume is filled whole or not at all: what is copied lies beside its data under a name of ours,
//! is renamed when it is whole, and then moved in, entry by entry. Who is killed before that has left garbage, and
//! afterwards something that the next user of the volume goes on with; both are seen under the volume's lock.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicBool;

use rustix::fs::{self, AtFlags, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::root::copy;
use crate::store::layer::{copy_description, times};
use crate::unpack::c_string;
use crate::unpack::remove::remove_all;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Where a volume is filled; whoever has one has the volume's lock.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// What containers see.
    pub data: &'a OwnedFd,
    /// On the same file system: the volume's own folder, or the data where something is mounted there.
    pub beside: &'a OwnedFd,
}

/// Names beside the data: of what is being copied, and of what is whole and not moved in yet.
const COPYING: &CStr = c".caisson-copying";
const COPIED: &CStr = c".caisson-copied";

impl Place<'_> {
    /// Has a user of this volume been killed while he filled it?
    pub fn is_unsettled(&self) -> Result<bool> {
        let is_there = |name: &CStr| match fs::statat(self.beside, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(false),
            stat => stat.map(|_| true).during(|| format!("stat {name:?}")),
        };
        Ok(is_there(COPYING)? || is_there(COPIED)?)
    }

    /// Throws away what is half copied, and moves in what is whole.
    pub fn settle(&self) -> Result<()> {
        drop_folder(self.beside, COPYING)?;
        let copied = match fs::openat(self.beside, COPIED, FOLDER, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            open => open.during(|| format!("open {COPIED:?}"))?,
        };
        // Who takes something out of a folder changes its times.
        let times = times(&fs::fstat(&copied).during(|| "fstat".into())?);
        for name in names(&copied)? {
            match fs::renameat_with(&copied, &*name, self.data, &*name, RenameFlags::NOREPLACE) {
                // A container has written something of this name since; it is the one that counts.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno).during(|| format!("rename {name:?}")),
            }
        }
        copy_description(&copied, self.data)?;
        fs::futimens(self.data, &times).during(|| "utimensat".into())?;
        drop(copied);
        drop_folder(self.beside, COPIED)
    }

    /// Fills the volume, if it is empty, with what `root` has at `path`, which is absolute. `lasting` has it survive a
    /// crash of the host.
    pub fn fill(&self, root: BorrowedFd, path: &str, lasting: bool) -> Result<()> {
        self.settle()?;
        if !is_empty(self.data)? {
            return Ok(());
        }
        let Some(source) = find(root, path)? else { return Ok(()) };
        let words = || format!("copy {path:?} of the image");
        fs::mkdirat(self.beside, COPYING, Mode::RWXU).during(words)?;
        let copied = (|| {
            let target = fs::openat(self.beside, COPYING, FOLDER, Mode::empty())?;
            copy::contents(&source, &target, &AtomicBool::new(false))?;
            if lasting { Ok(fs::syncfs(&target)?) } else { Ok(()) }
        })();
        if let Err(error) = copied {
            let error: Error = error;
            return Err(match drop_folder(self.beside, COPYING) {
                Ok(()) => error,
                Err(clean_up) => error.and(&clean_up),
            })
            .during(words);
        }
        // From here on it is whole, whoever moves it in.
        fs::renameat(self.beside, COPYING, self.beside, COPIED).during(words)?;
        self.settle()
    }
}

/// A folder of the image's; None where there is none.
fn find(root: BorrowedFd, path: &str) -> Result<Option<OwnedFd>> {
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    // What a link at the end leads to, inside.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match fs::openat2(root, path, flags, Mode::empty(), inside) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::NOTDIR) => {
            Err(Error::invalid(format!("cannot mount volume over existing file, file exists {path}")))
        }
        Err(errno) => Err(errno).during(|| format!("{path:?} of the image")),
    }
}

fn names(folder: &OwnedFd) -> Result<Vec<std::ffi::CString>> {
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(folder).during(|| "getdents".into())? {
        let entry = entry.during(|| "getdents".into())?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn is_empty(folder: &OwnedFd) -> Result<bool> {
    Ok(names(folder)?.is_empty())
}

fn drop_folder(parent: &OwnedFd, name: &CStr) -> Result<()> {
    match remove_all(parent.as_fd(), &c_string(name.to_bytes())?) {
        Err(error) if error.kind() == crate::error::Kind::NotFound => Ok(()),
        result => result,
    }
}
