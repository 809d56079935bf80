//! Folders for work that has no name yet, such as an archive being taken apart. One that nobody has locked is what a
//! crash has left.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::error::{Context, Result};
use crate::store::folder::make_private;
use crate::store::lease::Leases;
use crate::store::record::unique_name;
use crate::unpack::c_string;
use crate::unpack::remove::remove_all;

/// What names of such folders begin with.
pub const KINDS: [&str; 4] = ["load-", "import-", "check-", "commit-"];

/// A folder, which is gone when the work is done.
#[derive(Debug)]
pub struct Draft {
    ingest: File,
    name: CString,
    path: PathBuf,
    /// Open and locked.
    folder: File,
    is_there: bool,
}

impl Draft {
    /// Makes an empty folder in the store below `root`; `kind` is one of [`KINDS`].
    ///
    /// # Errors
    /// The system's reason.
    pub fn new(root: &Path, kind: &str) -> Result<Draft> {
        let ingest = root.join("ingest");
        make_private(&ingest)?;
        let path = ingest.join(format!("{kind}{}", unique_name()));
        let words = || format!("folder {path:?}");
        let ingest = File::open(&ingest).during(words)?;
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let name = c_string(name)?;
        // Nobody sweeps between the folder's birth and its lock.
        let _gate = Leases::open(root)?.keep_open()?;
        rustix::fs::mkdirat(&ingest, &*name, Mode::RWXU).during(words)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = File::from(rustix::fs::openat(&ingest, &*name, flags, Mode::empty()).during(words)?);
        folder.lock().during(words)?;
        Ok(Draft { ingest, name, path, folder, is_there: true })
    }

    /// The folder, open.
    #[must_use]
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, and gives what came of the work, or why it cannot be removed.
    ///
    /// # Errors
    /// Those of the work first, then the system's reason.
    pub fn end<T>(mut self, result: Result<T>) -> Result<T> {
        self.is_there = false;
        match (result, remove_all(self.ingest.as_fd(), &self.name)) {
            (Err(error), Err(clean_up)) => Err(error.and(&clean_up)),
            (Ok(_), Err(clean_up)) => Err(clean_up),
            (result, Ok(())) => result,
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.is_there {
            // What cannot be removed now, `system check` finds: its lock ends here.
            let _ = remove_all(self.ingest.as_fd(), &self.name);
        }
    }
}
