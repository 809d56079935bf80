//! A tar archive as a stream of entries: framing, long names, pax headers, sparse files.
//!
//! It reads as Go's `archive/tar` does, by which every image there is was read before, but refuses what readers
//! could disagree about. It holds one entry at a time, in bounded memory, and looks at no path: [`super::tree`] does.
//! The `tar` crate is not used for it, because it reads headers of any length into memory, knows no pax sparse
//! files, and has disagreed with others about lengths (CVE-2026-33055).

use std::io::Read;

use crate::error::{Context, Error, Result};
use crate::unpack::header::{self, BLOCK, Header};
use crate::unpack::pax::{self, Records};

/// Longest extended header, long name or map of a sparse file, in bytes (as in Go).
const EXTENSION_MAX: usize = 1 << 20;

/// One entry. Its data, if any, is read from the archive before the next entry.
#[derive(Debug, PartialEq)]
pub struct Entry {
    /// As written: may begin with `/` or `./`, and contain `..`.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions, set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of change: seconds since 1970, nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes, in order.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry is.
#[derive(Debug, PartialEq)]
pub enum Kind {
    /// A file of this length in bytes, made of these pieces; between and behind them are holes.
    File(u64, Vec<Piece>),
    /// A folder.
    Folder,
    /// A symbolic link and where it leads.
    Symlink(Vec<u8>),
    /// One more name of the file with this path.
    HardLink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A character device: major, minor.
    Character(u32, u32),
    /// A block device: major, minor.
    Block(u32, u32),
}

/// A part of a file that has data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// An archive that is being read.
pub struct Archive<R> {
    input: R,
    /// Bytes of the entry's data that nobody has read.
    left: u64,
    /// Bytes behind the data up to the next block.
    padding: u64,
    ended: bool,
}

impl<R: Read> Archive<R> {
    /// Nothing is read yet.
    pub fn new(input: R) -> Archive<R> {
        Archive { input, left: 0, padding: 0, ended: false }
    }

    /// The next entry; what is left of the one before is passed over.
    ///
    /// # Errors
    /// What is no tar archive, or not one that everybody reads alike; the stream's own errors.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut records = Records::default();
        let (mut long_path, mut long_link) = (None, None);
        let mut has_records = false;
        while !self.ended {
            self.pass_over()?;
            let mut block = [0; BLOCK];
            if !self.read_block(&mut block)? {
                break;
            }
            let header = Header::parse(&block)?;
            let size = header.size()?;
            match header.typeflag() {
                b'x' if has_records => return Err(bad("two pax headers before one entry")),
                b'x' => {
                    records = pax::parse(&self.extension(size)?)?;
                    has_records = true;
                }
                // What is said of all entries: nobody applies it (nor does Go), but it has to be well-formed.
                b'g' => drop(pax::parse(&self.extension(size)?)?),
                b'L' => long_path = Some(until_nul(self.extension(size)?)),
                b'K' => long_link = Some(until_nul(self.extension(size)?)),
                _ => {
                    if (long_path.is_some() && records.path.is_some())
                        || (long_link.is_some() && records.link.is_some())
                    {
                        return Err(bad("a name is given twice, by pax and by GNU tar"));
                    }
                    records.path = records.path.or(long_path);
                    records.link = records.link.or(long_link);
                    return self.entry(&header, size, records).map(Some);
                }
            }
        }
        if has_records || long_path.is_some() || long_link.is_some() {
            return Err(bad("it ends behind an extended header"));
        }
        self.ended = true;
        Ok(None)
    }

    /// Reads of the data of the entry, the pieces of a sparse file one behind the other. 0 at its end.
    ///
    /// # Errors
    /// Those of the stream, and an end before the entry's.
    pub fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut buffer[..wanted]).during(|| "read tar".into())?;
        if count == 0 {
            return Err(bad("unexpected end inside of a file"));
        }
        self.left -= count as u64;
        Ok(count)
    }

    /// The stream, which may hold more behind the archive's end.
    pub fn into_inner(self) -> R {
        self.input
    }

    fn entry(&mut self, header: &Header, size: i64, mut records: Records) -> Result<Entry> {
        let attributes = std::mem::take(&mut records.attributes);
        let path = match (records.sparse.name.take(), records.path.take()) {
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => header.path(),
        };
        if path.is_empty() {
            return Err(bad("an entry has no name"));
        }
        let link = match records.link.take() {
            Some(link) => link,
            None => header.link(),
        };
        let device = || -> Result<(u32, u32)> {
            let (major, minor) = header.device()?;
            Ok((narrow(major, "devmajor")?, narrow(minor, "devminor")?))
        };
        let kind = match header.typeflag() {
            // Before ustar a folder was a file whose name ends so.
            0 if path.ends_with(b"/") => Kind::Folder,
            b'0' | 0 | b'7' | b'S' => {
                let stored = records.size.unwrap_or(size);
                self.begin_data(stored)?;
                self.file(header, stored, &records)?
            }
            b'1' => Kind::HardLink(link),
            b'2' => Kind::Symlink(link),
            b'3' => device().map(|(major, minor)| Kind::Character(major, minor))?,
            b'4' => device().map(|(major, minor)| Kind::Block(major, minor))?,
            b'5' => Kind::Folder,
            b'6' => Kind::Fifo,
            other => return Err(bad(&format!("unknown kind of entry {:?}", char::from(other)))),
        };
        if matches!(&kind, Kind::HardLink(to) | Kind::Symlink(to) if to.is_empty()) {
            return Err(bad("a link leads nowhere"));
        }
        Ok(Entry {
            path,
            kind,
            mode: narrow(header.mode()? & 0o7777, "mode")?,
            uid: owner(records.uid.map_or_else(|| header.uid(), Ok)?, "uid")?,
            gid: owner(records.gid.map_or_else(|| header.gid(), Ok)?, "gid")?,
            mtime: records.mtime.map_or_else(|| header.mtime().map(|seconds| (seconds, 0)), Ok)?,
            attributes,
        })
    }

    /// The pieces of a file whose `stored` bytes of data follow.
    fn file(&mut self, header: &Header, stored: i64, records: &Records) -> Result<Kind> {
        let sparse = &records.sparse;
        let (numbers, whole) = if header.typeflag() == b'S' {
            let (first, mut more, whole) = header.sparse()?;
            let mut numbers = old_sparse(first)?;
            while more {
                let mut block = [0; BLOCK];
                // These blocks stand before the data and are not counted in its length.
                self.input.read_exact(&mut block).during(|| "read tar".into())?;
                numbers.extend(old_sparse(&block[..504])?);
                more = block[504] != 0;
                if numbers.len() * 12 > EXTENSION_MAX {
                    return Err(bad("a sparse file has too many pieces"));
                }
            }
            (numbers, whole)
        } else if sparse.is_in_data {
            (self.map_in_data()?, sparse.size.ok_or_else(|| bad("GNU.sparse.realsize is missing"))?)
        } else if let Some(whole) = sparse.size {
            (sparse.map.clone(), whole)
        } else if sparse.map.is_empty() {
            let length = unsigned(stored, "size")?;
            let piece = Piece { offset: 0, length };
            return Ok(Kind::File(length, if length == 0 { vec![] } else { vec![piece] }));
        } else {
            return Err(bad("GNU.sparse.size is missing"));
        };
        let whole = unsigned(whole, "realsize")?;
        Ok(Kind::File(whole, pieces(&numbers, whole, self.left)?))
    }

    /// GNU's sparse files 1.0: a number of pieces, and offset and length of each, a number a line, in whole blocks.
    fn map_in_data(&mut self) -> Result<Vec<i64>> {
        let mut text = Vec::new();
        let mut numbers: Vec<i64> = Vec::new();
        let mut begin = 0;
        loop {
            while let Some(end) = text[begin..].iter().position(|byte| *byte == b'\n') {
                let number = pax::decimal(&text[begin..begin + end])
                    .ok_or_else(|| bad("a sparse map has no numbers"))?;
                numbers.push(number);
                begin += end + 1;
                // The first says how many pairs follow it.
                let pairs = i64::try_from(numbers.len() / 2).unwrap_or(i64::MAX);
                if numbers.len() % 2 == 1 && numbers[0] == pairs {
                    return Ok(numbers.split_off(1));
                }
            }
            if text.len() >= EXTENSION_MAX {
                return Err(bad("a sparse file has too many pieces"));
            }
            let mut block = [0; BLOCK];
            let mut filled = 0;
            while filled < BLOCK {
                match self.read_data(&mut block[filled..])? {
                    0 => return Err(bad("a sparse map has no end")),
                    count => filled += count,
                }
            }
            text.extend_from_slice(&block);
        }
    }

    fn begin_data(&mut self, size: i64) -> Result<()> {
        self.left = unsigned(size, "size")?;
        self.padding = self.left.wrapping_neg() % BLOCK as u64;
        Ok(())
    }

    /// The data of an extended header.
    fn extension(&mut self, size: i64) -> Result<Vec<u8>> {
        self.begin_data(size)?;
        let length = usize::try_from(self.left).ok().filter(|length| *length <= EXTENSION_MAX);
        let length =
            length.ok_or_else(|| bad(&format!("an extended header of {size} bytes is too large")))?;
        let mut data = vec![0; length];
        self.input.read_exact(&mut data).during(|| "read tar".into())?;
        self.left = 0;
        Ok(data)
    }

    fn pass_over(&mut self) -> Result<()> {
        let mut buffer = [0; 8192];
        while self.read_data(&mut buffer)? > 0 {}
        while let Some(padding) = usize::try_from(self.padding).ok().filter(|padding| *padding > 0) {
            match self.input.read(&mut buffer[..padding]).during(|| "read tar".into())? {
                // All data is there, and nothing can follow: `umoci insert` ends its layers so, and Go takes it for
                // the archive's end.
                0 => self.padding = 0,
                count => self.padding -= count as u64,
            }
        }
        Ok(())
    }

    /// The next header's block; false at the archive's end, which is two blocks of zeros, or the stream's end.
    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool> {
        for zeros in 0..2 {
            let mut filled = 0;
            while filled < BLOCK {
                match self.input.read(&mut block[filled..]).during(|| "read tar".into())? {
                    0 if filled == 0 => return Ok(false),
                    0 => return Err(bad("unexpected end inside of a header")),
                    count => filled += count,
                }
            }
            if block.iter().any(|byte| *byte != 0) {
                return if zeros == 0 { Ok(true) } else { Err(bad("an entry behind a block of zeros")) };
            }
        }
        Ok(false)
    }
}

fn bad(reason: &str) -> Error {
    Error::invalid(format!("tar: {reason}"))
}

fn until_nul(mut text: Vec<u8>) -> Vec<u8> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    text.truncate(end);
    text
}

fn narrow(value: i64, field: &str) -> Result<u32> {
    u32::try_from(value).map_err(|_| bad(&format!("{field} {value} is out of range")))
}

fn unsigned(value: i64, field: &str) -> Result<u64> {
    u64::try_from(value).map_err(|_| bad(&format!("{field} {value} is out of range")))
}

/// Not the highest number, which chown(2) takes for "as it is".
fn owner(value: i64, field: &str) -> Result<u32> {
    match narrow(value, field)? {
        u32::MAX => Err(bad(&format!("{field} {value} is out of range"))),
        owner => Ok(owner),
    }
}

/// Offsets and lengths, 12 bytes each; an empty one ends them.
fn old_sparse(fields: &[u8]) -> Result<Vec<i64>> {
    fields
        .chunks_exact(24)
        .take_while(|piece| piece[0] != 0)
        .flat_map(|piece| [&piece[..12], &piece[12..]])
        .map(|field| header::number(field, "sparse"))
        .collect()
}

/// Offsets and lengths as pieces, in order, apart, inside of the file, and with as many bytes as are `stored`.
fn pieces(numbers: &[i64], whole: u64, stored: u64) -> Result<Vec<Piece>> {
    let wrong = || bad("the pieces of a sparse file contradict its length");
    if !numbers.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let (mut pieces, mut end, mut sum) = (Vec::new(), 0, 0_u64);
    for pair in numbers.chunks_exact(2) {
        let (offset, length) = (unsigned(pair[0], "offset")?, unsigned(pair[1], "numbytes")?);
        if offset < end {
            return Err(wrong());
        }
        end = offset.checked_add(length).filter(|end| *end <= whole).ok_or_else(wrong)?;
        sum += length;
        if length > 0 {
            pieces.push(Piece { offset, length });
        }
    }
    if sum == stored { Ok(pieces) } else { Err(wrong()) }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
