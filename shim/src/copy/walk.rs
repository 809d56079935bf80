//! The files of one side, in order: told to a sink, which makes files or an archive of them.
//!
//! Each file is opened once, as what it is (O_PATH), and looked at, read and described by that descriptor alone: who exchanges
//! names meanwhile exchanges nothing that is read here. No link is followed, no pipe waited for, no device opened, and
//! nobody who writes to a file without end is read without end.

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{self, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::copy::lookup::is_made_up;
use crate::error::{Context, Error, Result};
use crate::pack::tree::{attributes_by, names};
use crate::unpack::c_string;

/// Folders in folders: each is open on both sides meanwhile, and 1024 descriptors are what is usual.
const DEPTH_MAX: usize = 400;

/// What a file is, besides its data and its name.
#[derive(Debug)]
pub struct About {
    /// Owner, mode, times, size.
    pub stat: Stat,
    /// Extended attributes that mean the same everywhere.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl About {
    /// By which a file with several names is known.
    #[must_use]
    pub fn inode(&self) -> (u64, u64) {
        (self.stat.st_dev, self.stat.st_ino)
    }

    /// Has it more than one name?
    #[must_use]
    pub fn has_names(&self) -> bool {
        self.stat.st_nlink > 1
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or_default()
    }
}

/// What becomes of files. A folder's names come between its beginning and its end.
pub trait Sink {
    /// A folder begins.
    ///
    /// # Errors
    /// It cannot be made.
    fn begin(&mut self, name: &CStr, about: &About) -> Result<()>;
    /// The folder that began last ends.
    ///
    /// # Errors
    /// It cannot be described.
    fn end(&mut self, about: &About) -> Result<()>;
    /// A file.
    ///
    /// # Errors
    /// It cannot be made.
    fn file(&mut self, name: &CStr, about: &About, data: &OwnedFd) -> Result<()>;
    /// A link.
    ///
    /// # Errors
    /// It cannot be made.
    fn symlink(&mut self, name: &CStr, about: &About, to: &CStr) -> Result<()>;
    /// A pipe.
    ///
    /// # Errors
    /// It cannot be made.
    fn pipe(&mut self, name: &CStr, about: &About) -> Result<()>;
    /// A character or block device.
    ///
    /// # Errors
    /// It cannot be made.
    fn device(&mut self, name: &CStr, about: &About) -> Result<()>;
    /// What cannot be copied at all: a socket.
    fn skip(&mut self, name: &CStr);
}

/// Tells all of a file, or of a folder with what is in it. `data` has been opened with O_PATH.
///
/// # Errors
/// The first file that cannot be read, by its name; those of the sink.
pub fn file(data: &OwnedFd, name: &CStr, sink: &mut dyn Sink) -> Result<()> {
    entry(data, name, sink, None, 0)
}

/// Tells what is in a folder.
///
/// # Errors
/// As [`file`].
pub fn contents(folder: &OwnedFd, sink: &mut dyn Sink) -> Result<()> {
    if is_made_up(folder)? {
        return Ok(());
    }
    let device = fs::fstat(folder).during(|| "fstat".into())?.st_dev;
    inside(folder, sink, device, 0)
}

/// `device`: of the folder around it, if it was told.
fn entry(file: &OwnedFd, name: &CStr, sink: &mut dyn Sink, device: Option<u64>, depth: usize) -> Result<()> {
    let stat = fs::fstat(file).during(|| "fstat".into())?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let attributes = attributes_by(file)?;
    let about = About { stat, attributes };
    match kind {
        FileType::Directory => {
            if depth >= DEPTH_MAX {
                return Err(Error::invalid(format!("more than {DEPTH_MAX} folders in one another")));
            }
            sink.begin(name, &about)?;
            // Of procfs and the like the folder is there on which it is mounted.
            if device == Some(about.stat.st_dev) || !is_made_up(file)? {
                inside(file, sink, about.stat.st_dev, depth + 1)?;
            }
            sink.end(&about)
        }
        FileType::RegularFile => {
            let data = reopen(file, OFlags::RDONLY | OFlags::NONBLOCK)?;
            sink.file(name, &about, &data)
        }
        FileType::Symlink => {
            let to = fs::readlinkat(file, c"", Vec::new()).during(|| "readlinkat".into())?;
            sink.symlink(name, &about, &to)
        }
        FileType::Fifo => sink.pipe(name, &about),
        FileType::CharacterDevice | FileType::BlockDevice => sink.device(name, &about),
        _ => {
            sink.skip(name);
            Ok(())
        }
    }
}

fn inside(folder: &OwnedFd, sink: &mut dyn Sink, device: u64, depth: usize) -> Result<()> {
    let folder = reopen(folder, OFlags::RDONLY | OFlags::DIRECTORY)?;
    for name in names(&folder)? {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let told = match fs::openat(&folder, &*name, flags, Mode::empty()) {
            // It has gone since.
            Err(Errno::NOENT) => continue,
            found => found
                .during(|| "openat".into())
                .and_then(|found| entry(&found, &name, sink, Some(device), depth)),
        };
        told.during(|| format!("{name:?}"))?;
    }
    Ok(())
}

/// The same file, to be read.
fn reopen(file: &OwnedFd, flags: OFlags) -> Result<OwnedFd> {
    let by = c_string(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    fs::open(&*by, flags | OFlags::CLOEXEC, Mode::empty()).during(|| "open".into())
}
