//! An archive into a folder of a container.
//!
//! Names in it lead where they would lead inside of the container (openat2(2) from its root), `..` nowhere. Owners are the
//! archive's. Devices are left out: those that a container may have, its runtime has given it.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::copy::Notes;
use crate::copy::lookup::Tree;
use crate::copy::make::{Look, Maker, Owners};
use crate::copy::path::split;
use crate::error::{Context, Error, Result};
use crate::unpack::archive::{Archive, Entry, Kind, Piece};
use crate::unpack::c_string;
use crate::unpack::stream::Unpacking;

/// Longest name, in bytes: no program could use a longer one (PATH_MAX).
const NAME_MAX: usize = 4095;
/// What is written at once, in bytes.
const BUFFER: usize = 1 << 17;

/// Unpacks an archive, packed or not, into the folder `target` of a tree: its path without links.
///
/// # Errors
/// What is no archive; the first entry that cannot be made, by its name. What was made before it stays.
pub fn extract(input: impl Read, tree: &Tree, target: &[u8]) -> Result<Notes> {
    let mut archive = Archive::new(Unpacking::new(input)?);
    let mut extract = Extract {
        tree,
        target,
        maker: Maker::new(Owners::Kept),
        last: None,
        folders: BTreeMap::new(),
        notes: Notes::default(),
    };
    while let Some(entry) = archive.next_entry()? {
        let name = String::from_utf8_lossy(&entry.path[..entry.path.len().min(NAME_MAX)]).into_owned();
        if entry.path.len() > NAME_MAX {
            return Err(Error::invalid(format!("a name of {} bytes is too long", entry.path.len())));
        }
        extract.add(&mut archive, &entry).during(|| format!("entry {name:?}"))?;
    }
    extract.finish()
}

struct Extract<'a> {
    tree: &'a Tree,
    target: &'a [u8],
    maker: Maker,
    /// The folder of the entry before, which is that of the next one most of the time.
    last: Option<(Vec<u8>, OwnedFd)>,
    /// Times of folders, set when nothing changes in them any more.
    folders: BTreeMap<Vec<u8>, (i64, u32)>,
    notes: Notes,
}

impl Extract<'_> {
    fn add<R: Read>(&mut self, archive: &mut Archive<R>, entry: &Entry) -> Result<()> {
        let path = inside(&entry.path)?;
        // The target itself stays as it is (as in Docker).
        let Some((parent, name)) = split(&path) else { return Ok(()) };
        let name = c_string(name)?;
        let look = Look {
            owner: (entry.uid, entry.gid),
            mode: entry.mode,
            mtime: (entry.mtime.0, entry.mtime.1.into()),
            attributes: &entry.attributes,
        };
        let folder = match self.last.take() {
            Some((known, folder)) if known == parent => folder,
            _ => self.tree.make_folder(&[self.target, b"/", parent].concat())?,
        };
        let made = self.make(archive, entry, &path, (&folder, &name), &look);
        self.last = Some((parent.to_vec(), folder));
        made
    }

    fn make<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        entry: &Entry,
        path: &[u8],
        (folder, name): (&OwnedFd, &CString),
        look: &Look,
    ) -> Result<()> {
        match &entry.kind {
            Kind::File(size, pieces) => {
                self.maker.file(folder, name, look, |file| write(archive, file, *size, pieces))
            }
            Kind::Folder => {
                let made = self.maker.folder(folder, name)?;
                self.folders.insert(path.to_vec(), entry.mtime);
                self.maker.describe(&made, name, look)
            }
            Kind::Symlink(to) => self.maker.symlink(folder, name, look, &c_string(&to[..])?),
            Kind::HardLink(to) => self.link(to, folder, name),
            Kind::Fifo => self.maker.pipe(folder, name, look),
            Kind::Character(..) | Kind::Block(..) => {
                self.notes.devices.push(String::from_utf8_lossy(path).into_owned());
                Ok(())
            }
        }
    }

    fn link(&mut self, to: &[u8], folder: &OwnedFd, name: &CString) -> Result<()> {
        let words = || format!("link to {:?}", String::from_utf8_lossy(to));
        let path = inside(to).during(words)?;
        let (parent, first) =
            split(&path).ok_or_else(|| Error::invalid("it is the folder itself")).during(words)?;
        let parent =
            self.existing(parent).during(words)?.ok_or_else(|| Error::from(Errno::NOENT)).during(words)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let first = fs::openat(&parent, &*c_string(first)?, flags, Mode::empty()).during(words)?;
        self.maker.link(folder, name, &first).during(words)
    }

    /// A folder below the target.
    fn existing(&self, path: &[u8]) -> Result<Option<OwnedFd>> {
        self.tree.folder(&[self.target, b"/", path].concat())
    }

    /// The folders' times, from the innermost outwards.
    fn finish(mut self) -> Result<Notes> {
        for (path, (seconds, nanoseconds)) in std::mem::take(&mut self.folders).into_iter().rev() {
            // Whoever has taken it away meanwhile, wants no time of it.
            let Some(folder) = self.existing(&path)? else { continue };
            let time = fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
            let times = fs::Timestamps { last_access: time, last_modification: time };
            let by = c_string(format!("/proc/self/fd/{}", folder.as_raw_fd()))?;
            fs::utimensat(fs::CWD, &*by, &times, AtFlags::empty()).during(|| "utimensat".into())?;
        }
        self.notes.lost.append(&mut self.maker.lost);
        self.notes.size = self.maker.size;
        Ok(self.notes)
    }
}

/// The name of an entry below the target.
fn inside(path: &[u8]) -> Result<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop().ok_or_else(|| Error::invalid("it leads out of the target"))?),
            _ => parts.push(part),
        }
    }
    Ok(parts.join(&b'/'))
}

fn write<R: Read>(archive: &mut Archive<R>, file: &OwnedFd, size: u64, pieces: &[Piece]) -> Result<u64> {
    let mut buffer = vec![0; BUFFER];
    for piece in pieces {
        let (mut offset, end) = (piece.offset, piece.offset + piece.length);
        while offset < end {
            let wanted = buffer.len().min(usize::try_from(end - offset).unwrap_or(usize::MAX));
            let count = archive.read_data(&mut buffer[..wanted])?;
            let mut written = 0;
            while written < count {
                let now =
                    rustix::io::pwrite(file, &buffer[written..count], offset).during(|| "write".into())?;
                written += now;
                offset += now as u64;
            }
        }
    }
    if pieces.last().map_or(0, |last| last.offset + last.length) < size {
        fs::ftruncate(file, size).during(|| "ftruncate".into())?;
    }
    Ok(size)
}
