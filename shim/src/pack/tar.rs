//! An archive in the making: headers of ustar, and pax records for what has no place in them.
//!
//! Sources: POSIX.1-2017 `pax` ("ustar Interchange Format", "pax Extended Header"); `SCHILY.xattr.` is star's and GNU tar's
//! name for extended attributes.

use std::io::Write;

use crate::error::{Context, Result};

/// Size of a header, and what data is padded to, in bytes.
const BLOCK: usize = 512;
/// The largest number of seven octal digits: of modes and owners.
const OWNER_MAX: u64 = 0o7_777_777;
/// The largest number of eleven: of sizes and times.
const NUMBER_MAX: u64 = 0o77_777_777_777;
/// The longest name in a header.
const NAME_MAX: usize = 100;

/// What an entry is, as its header says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// With data behind it.
    File,
    /// One more name for an earlier entry.
    Link,
    /// A symbolic link.
    Symlink,
    /// A character device of this number.
    Characters(u32, u32),
    /// A block device of this number.
    Blocks(u32, u32),
    /// A folder.
    Folder,
    /// A pipe.
    Fifo,
}

/// An entry.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Relative to the root; a folder's ends in a slash.
    pub path: &'a [u8],
    /// What it is.
    pub kind: Type,
    /// Where a link leads.
    pub target: &'a [u8],
    /// Permissions, with set-id bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of data that follow.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Extended attributes.
    pub attributes: &'a [(Vec<u8>, Vec<u8>)],
}

impl<'a> Entry<'a> {
    /// A file of root's that everybody may read, of 1970.
    #[must_use]
    pub fn file(path: &'a [u8], size: u64) -> Entry<'a> {
        Entry {
            path,
            kind: Type::File,
            target: b"",
            mode: 0o644,
            uid: 0,
            gid: 0,
            size,
            mtime: 0,
            attributes: &[],
        }
    }

    /// A folder of the same kind.
    #[must_use]
    pub fn folder(path: &'a [u8]) -> Entry<'a> {
        Entry { kind: Type::Folder, mode: 0o755, ..Entry::file(path, 0) }
    }
}

/// An archive.
#[derive(Debug)]
pub struct Tar<W> {
    out: W,
}

impl<W: Write> Tar<W> {
    /// One that is written there.
    pub fn new(out: W) -> Tar<W> {
        Tar { out }
    }

    /// An entry and its data.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.begin(&Entry::file(path.as_bytes(), bytes.len() as u64))?;
        self.write(bytes)?;
        self.pad(bytes.len() as u64)
    }

    /// An entry without its data: so many bytes have to follow by [`Tar::write`], and then [`Tar::pad`].
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(&mut self, entry: &Entry) -> Result<()> {
        let records = records(entry);
        if !records.is_empty() {
            let length = records.len() as u64;
            let extended = Entry { mode: 0o644, ..Entry::file(b"PaxHeaders.0/entry", length) };
            self.write(&header(&extended, b'x'))?;
            self.write(&records)?;
            self.pad(length)?;
        }
        let letter = match entry.kind {
            Type::File => b'0',
            Type::Link => b'1',
            Type::Symlink => b'2',
            Type::Characters(..) => b'3',
            Type::Blocks(..) => b'4',
            Type::Folder => b'5',
            Type::Fifo => b'6',
        };
        self.write(&header(entry, letter))
    }

    /// Some data.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).during(|| "write the archive".into())
    }

    /// What stands behind data of this length.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn pad(&mut self, length: u64) -> Result<()> {
        let padding = usize::try_from(length.wrapping_neg() % BLOCK as u64).unwrap_or_default();
        self.write(&[0; BLOCK][..padding])
    }

    /// The end. What it was written to comes back.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(mut self) -> Result<W> {
        self.write(&[0; 2 * BLOCK])?;
        self.out.flush().during(|| "write the archive".into())?;
        Ok(self.out)
    }
}

/// What has no place in a header, as pax records.
fn records(entry: &Entry) -> Vec<u8> {
    let mut text = Vec::new();
    let is_plain = |name: &[u8]| name.len() <= NAME_MAX && name.is_ascii();
    let decimal = |number: &dyn std::fmt::Display| number.to_string().into_bytes();
    if !is_plain(entry.path) {
        record(&mut text, b"path", entry.path);
    }
    if !is_plain(entry.target) {
        record(&mut text, b"linkpath", entry.target);
    }
    if entry.size > NUMBER_MAX {
        record(&mut text, b"size", &decimal(&entry.size));
    }
    for (name, number) in [("uid", entry.uid), ("gid", entry.gid)] {
        if u64::from(number) > OWNER_MAX {
            record(&mut text, name.as_bytes(), &decimal(&number));
        }
    }
    if !u64::try_from(entry.mtime).is_ok_and(|mtime| mtime <= NUMBER_MAX) {
        record(&mut text, b"mtime", &decimal(&entry.mtime));
    }
    for (name, value) in entry.attributes {
        record(&mut text, &[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    text
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(text: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    text.extend(format!("{length} ").into_bytes());
    text.extend_from_slice(key);
    text.push(b'=');
    text.extend_from_slice(value);
    text.push(b'\n');
}

fn header(entry: &Entry, letter: u8) -> [u8; BLOCK] {
    let mut block = [0_u8; BLOCK];
    let cut = |name: &[u8]| name[..name.len().min(NAME_MAX)].to_vec();
    let (path, target) = (cut(entry.path), cut(entry.target));
    block[..path.len()].copy_from_slice(&path);
    block[100..108].copy_from_slice(format!("{:07o}\0", entry.mode & 0o7777).as_bytes());
    // What is too large stands in a record; here is what an old program can make of it.
    let owner = |id: u32| if u64::from(id) > OWNER_MAX { 0 } else { id };
    block[108..116].copy_from_slice(format!("{:07o}\0", owner(entry.uid)).as_bytes());
    block[116..124].copy_from_slice(format!("{:07o}\0", owner(entry.gid)).as_bytes());
    block[124..136].copy_from_slice(&size_field(entry.size));
    let mtime = u64::try_from(entry.mtime).unwrap_or_default().min(NUMBER_MAX);
    block[136..148].copy_from_slice(format!("{mtime:011o}\0").as_bytes());
    block[148..156].copy_from_slice(b"        ");
    block[156] = letter;
    block[157..157 + target.len()].copy_from_slice(&target);
    block[257..265].copy_from_slice(b"ustar\x0000");
    if let Type::Characters(major, minor) | Type::Blocks(major, minor) = entry.kind {
        block[329..337].copy_from_slice(format!("{:07o}\0", major & 0o7_777_777).as_bytes());
        block[337..345].copy_from_slice(format!("{:07o}\0", minor & 0o7_777_777).as_bytes());
    }
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Eleven octal digits; beyond 8 GiB the number itself, with the highest bit set, as GNU tar has it and all read it.
fn size_field(size: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if size <= NUMBER_MAX {
        field.copy_from_slice(format!("{size:011o}\0").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&size.to_be_bytes());
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::archive::{Archive, Kind};

    #[test]
    fn what_is_written_is_an_archive() {
        let mut tar = Tar::new(Vec::new());
        tar.begin(&Entry::folder(b"blobs/")).unwrap();
        tar.file("a", b"text").unwrap();
        tar.file("b", &[7; 512]).unwrap();
        let bytes = tar.end().unwrap();
        let mut archive = Archive::new(&bytes[..]);
        let mut found = Vec::new();
        while let Some(entry) = archive.next_entry().unwrap() {
            let size = if let Kind::File(size, _) = entry.kind { Some(size) } else { None };
            found.push((String::from_utf8(entry.path).unwrap(), size, entry.mode));
        }
        assert_eq!(
            found,
            [("blobs/".into(), None, 0o755), ("a".into(), Some(4), 0o644), ("b".into(), Some(512), 0o644)]
        );
    }

    #[test]
    fn what_has_no_place_in_a_header_is_found_again() {
        let path = [b"\xc3\xa4/".repeat(80), b"\xff".to_vec()].concat();
        let attributes = [(b"user.a".to_vec(), b"1\n\x00=2".to_vec())];
        let entry = Entry {
            path: &path,
            kind: Type::Symlink,
            target: &b"t/".repeat(70),
            uid: 4_000_000_000,
            gid: 2_097_152,
            mtime: -5,
            attributes: &attributes,
            ..Entry::file(b"", 0)
        };
        let mut tar = Tar::new(Vec::new());
        tar.begin(&entry).unwrap();
        let bytes = tar.end().unwrap();
        let found = Archive::new(&bytes[..]).next_entry().unwrap().unwrap();
        assert_eq!((found.path, found.uid, found.gid), (path.clone(), 4_000_000_000, 2_097_152));
        assert_eq!(found.attributes, attributes);
        assert_eq!(found.mtime, (-5, 0));
        let Kind::Symlink(target) = found.kind else { panic!() };
        assert_eq!(target, entry.target);
    }

    #[test]
    fn sizes_beyond_eight_gibibytes_have_their_place() {
        assert_eq!(&size_field(8), b"00000000010\0");
        assert_eq!(&size_field((1 << 33) - 1), b"77777777777\0");
        assert_eq!(size_field(1 << 33), [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
        let mut text = Vec::new();
        // The length counts its own digits: of 100 bytes there is none.
        record(&mut text, b"k", &[b'v'; 93]);
        record(&mut text, b"k", &[b'v'; 94]);
        assert!(text.starts_with(b"99 k=") && text[99..].starts_with(b"101 k=") && text.len() == 200);
    }
}
