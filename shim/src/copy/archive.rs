//! Files of a container into an archive.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io::Write;
use std::os::fd::OwnedFd;

use rustix::fs;

use crate::copy::Notes;
use crate::copy::walk::{About, Sink};
use crate::error::{Context, Result};
use crate::pack::tar::{Entry, Tar, Type};

/// What is read at once, in bytes.
const BUFFER: usize = 1 << 17;

/// An archive that files go to.
#[derive(Debug)]
pub struct Out<W> {
    tar: Tar<W>,
    /// Of the folder that the next name is in, with a slash behind it, or nothing.
    prefix: Vec<u8>,
    /// Under which path a file with several names is in the archive.
    links: HashMap<(u64, u64), Vec<u8>>,
    notes: Notes,
    buffer: Vec<u8>,
}

impl<W: Write> Out<W> {
    /// An archive of nothing yet.
    pub fn new(out: W) -> Out<W> {
        Out {
            tar: Tar::new(out),
            prefix: Vec::new(),
            links: HashMap::new(),
            notes: Notes::default(),
            buffer: vec![0; BUFFER],
        }
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn finish(self) -> Result<Notes> {
        self.tar.end()?;
        Ok(self.notes)
    }

    fn path(&self, name: &CStr) -> Vec<u8> {
        [&self.prefix[..], name.to_bytes()].concat()
    }

    /// Begins an entry, which is one more name if the file is in the archive already: whether its data is to follow.
    fn entry(&mut self, name: &CStr, about: &About, kind: Type, target: &[u8]) -> Result<bool> {
        let path = self.path(name);
        let stat = &about.stat;
        let entry = Entry {
            kind,
            target,
            mode: if kind == Type::Symlink { 0o777 } else { stat.st_mode & 0o7777 },
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: stat.st_mtime,
            attributes: &about.attributes,
            ..Entry::file(&path, if kind == Type::File { about.size() } else { 0 })
        };
        if about.has_names() {
            if let Some(first) = self.links.get(&about.inode()) {
                self.tar.begin(&Entry {
                    kind: Type::Link,
                    target: first,
                    size: 0,
                    attributes: &[],
                    ..entry
                })?;
                return Ok(false);
            }
            self.links.insert(about.inode(), path.clone());
        }
        self.tar.begin(&entry)?;
        Ok(true)
    }
}

impl<W: Write> Sink for Out<W> {
    fn begin(&mut self, name: &CStr, about: &About) -> Result<()> {
        let path = [&self.path(name)[..], b"/"].concat();
        let stat = &about.stat;
        self.tar.begin(&Entry {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: stat.st_mtime,
            attributes: &about.attributes,
            ..Entry::folder(&path)
        })?;
        self.prefix = path;
        Ok(())
    }

    fn end(&mut self, _about: &About) -> Result<()> {
        self.prefix.pop();
        let above = self.prefix.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        self.prefix.truncate(above);
        Ok(())
    }

    fn file(&mut self, name: &CStr, about: &About, data: &OwnedFd) -> Result<()> {
        if !self.entry(name, about, Type::File, b"")? {
            return Ok(());
        }
        let (size, mut at) = (about.size(), 0);
        while at < size {
            let wanted = usize::try_from(size - at).unwrap_or(BUFFER).min(BUFFER);
            let mut count =
                rustix::io::pread(data, &mut self.buffer[..wanted], at).during(|| "read".into())?;
            if count == 0 {
                // Its length stands before it: what is missing now is filled up.
                self.buffer[..wanted].fill(0);
                count = wanted;
                let path = String::from_utf8_lossy(&self.path(name)).into_owned();
                if self.notes.shorter.last() != Some(&path) {
                    self.notes.shorter.push(path);
                }
            }
            self.tar.write(&self.buffer[..count])?;
            at += count as u64;
        }
        self.notes.size = self.notes.size.saturating_add(size);
        self.tar.pad(size)
    }

    fn symlink(&mut self, name: &CStr, about: &About, to: &CStr) -> Result<()> {
        self.entry(name, about, Type::Symlink, to.to_bytes()).map(drop)
    }

    fn pipe(&mut self, name: &CStr, about: &About) -> Result<()> {
        self.entry(name, about, Type::Fifo, b"").map(drop)
    }

    fn device(&mut self, name: &CStr, about: &About) -> Result<()> {
        let device = (fs::major(about.stat.st_rdev), fs::minor(about.stat.st_rdev));
        let kind = if fs::FileType::from_raw_mode(about.stat.st_mode).is_char_device() {
            Type::Characters(device.0, device.1)
        } else {
            Type::Blocks(device.0, device.1)
        };
        self.entry(name, about, kind, b"").map(drop)
    }

    fn skip(&mut self, name: &CStr) {
        self.notes.sockets.push(String::from_utf8_lossy(&self.path(name)).into_owned());
    }
}
