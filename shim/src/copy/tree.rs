//! Files of one side into a folder of the other.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::{self, Mode, OFlags, ResolveFlags};

use crate::copy::Notes;
use crate::copy::lookup::is_made_up;
use crate::copy::make::{Maker, Owners};
use crate::copy::walk::{About, Sink};
use crate::error::{Context, Error, Result};
use crate::root::data;
use crate::unpack::c_string;

/// What is read at most of a file that the kernel makes up, in bytes.
const MADE_UP_MAX: u64 = 64 << 20;

/// Device and number of a file.
type Inode = (u64, u64);

/// Where files go.
#[derive(Debug)]
pub struct Into {
    /// The first is the target, then the folders down to where files go now.
    folders: Vec<OwnedFd>,
    /// Their names, but the target's.
    at: Vec<CString>,
    /// The name of the first file, where it is to have another.
    rename: Option<CString>,
    maker: Maker,
    /// Where, below the target, the first name of a file with several is, and which file that is.
    links: HashMap<Inode, (Vec<u8>, Inode)>,
    notes: Notes,
}

impl Into {
    /// Into this folder. `rename` is the name of what comes first.
    #[must_use]
    pub fn new(target: OwnedFd, rename: Option<CString>, owners: Owners) -> Into {
        Into {
            folders: vec![target],
            at: Vec::new(),
            rename,
            maker: Maker::new(owners),
            links: HashMap::new(),
            notes: Notes::default(),
        }
    }

    /// What could not be copied as it was, and how many bytes files had.
    #[must_use]
    pub fn finish(mut self) -> Notes {
        self.notes.lost.append(&mut self.maker.lost);
        self.notes.size = self.maker.size;
        self.notes
    }

    fn folder(&self) -> Result<&OwnedFd> {
        self.folders.last().ok_or_else(|| Error::invalid("no folder"))
    }

    fn name(&self, name: &CStr) -> CString {
        match &self.rename {
            Some(rename) if self.at.is_empty() => rename.clone(),
            _ => name.to_owned(),
        }
    }

    fn path(&self, name: &CStr) -> Vec<u8> {
        let parts: Vec<&[u8]> = self.at.iter().map(|part| part.as_bytes()).chain([name.to_bytes()]).collect();
        parts.join(&b'/')
    }

    /// One more name for a file that was copied, if it is there still.
    fn link(&self, name: &CStr, about: &About) -> Result<bool> {
        let Some((path, inode)) = self.links.get(&about.inode()) else { return Ok(false) };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let first = self.folders.first().ok_or_else(|| Error::invalid("no folder"))?;
        let Ok(first) = fs::openat2(first, &*c_string(&path[..])?, flags, Mode::empty(), resolve) else {
            return Ok(false);
        };
        let stat = fs::fstat(&first).during(|| "fstat".into())?;
        // Somebody may have put another file there.
        if (stat.st_dev, stat.st_ino) != *inode {
            return Ok(false);
        }
        self.maker.link(self.folder()?, name, &first).map(|()| true)
    }
}

impl Sink for Into {
    fn begin(&mut self, name: &CStr, _about: &About) -> Result<()> {
        let name = self.name(name);
        let folder = self.maker.folder(self.folder()?, &name)?;
        self.folders.push(folder);
        self.at.push(name);
        Ok(())
    }

    fn end(&mut self, about: &About) -> Result<()> {
        let (folder, name) = (self.folders.pop(), self.at.pop());
        let (Some(folder), Some(name)) = (folder, name) else { return Err(Error::invalid("no folder")) };
        self.maker.describe(&folder, &name, &about.look())
    }

    fn file(&mut self, name: &CStr, about: &About, data: &OwnedFd) -> Result<()> {
        let name = self.name(name);
        if about.has_names() && self.link(&name, about)? {
            return Ok(());
        }
        let folder = self.folders.last().ok_or_else(|| Error::invalid("no folder"))?;
        let mut inode = (0, 0);
        self.maker.file(folder, &name, &about.look(), |file| {
            let stat = fs::fstat(file).during(|| "fstat".into())?;
            inode = (stat.st_dev, stat.st_ino);
            if about.size() == 0 && is_made_up(data)? {
                return read_made_up(data, file);
            }
            data::copy(data, file, about.size())
        })?;
        if about.has_names() {
            self.links.insert(about.inode(), (self.path(&name), inode));
        }
        Ok(())
    }

    fn symlink(&mut self, name: &CStr, about: &About, to: &CStr) -> Result<()> {
        self.maker.symlink(self.folder()?, &self.name(name), &about.look(), to)
    }

    fn pipe(&mut self, name: &CStr, about: &About) -> Result<()> {
        self.maker.pipe(self.folder()?, &self.name(name), &about.look())
    }

    fn device(&mut self, name: &CStr, _about: &About) -> Result<()> {
        self.notes.devices.push(String::from_utf8_lossy(&self.path(name)).into_owned());
        Ok(())
    }

    fn skip(&mut self, name: &CStr) {
        self.notes.sockets.push(String::from_utf8_lossy(&self.path(name)).into_owned());
    }
}

/// A file of the host's procfs or sysfs says nothing of its length.
fn read_made_up(from: &OwnedFd, to: &OwnedFd) -> Result<u64> {
    let words = || "read".to_owned();
    let mut bytes = Vec::new();
    let from = File::from(from.try_clone().during(words)?);
    from.take(MADE_UP_MAX).read_to_end(&mut bytes).during(words)?;
    File::from(to.try_clone().during(words)?).write_all(&bytes).during(|| "write".into())?;
    Ok(bytes.len() as u64)
}
