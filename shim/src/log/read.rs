//! Reading a `json-file` log while it is written: which files there are, where the last lines begin, what comes next.
//!
//! Files are opened below the container's folder, which stays open: so a log can be read to its end while its container
//! is being removed. The newest file is opened first. As files only ever get higher numbers, one may be met twice, but
//! none is missed.

use std::fs::{File, Metadata};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::entry::{self, Entry};
use super::settings::FILES_MAX;
use crate::error::{Context as _, Result};

/// Longest line that is read, in bytes: a piece of output is 16 KiB, and six times that where all of it is escaped.
const LINE_MAX: usize = 1 << 20;
/// How much is read at once, in bytes.
const CHUNK: usize = 128 << 10;

/// The files of a log.
#[derive(Debug)]
pub(super) struct Folder {
    folder: OwnedFd,
    name: String,
}

impl Folder {
    /// The log of this container.
    pub(super) fn open(folder: &Path, id: &str) -> Result<Folder> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = openat(CWD, folder, flags, Mode::empty()).during(|| format!("open {folder:?}"))?;
        Ok(Folder { folder: open, name: format!("{id}-json.log") })
    }

    /// The file with this number, 0 being the newest.
    fn file(&self, number: u32) -> Result<Option<File>> {
        let name = if number == 0 { self.name.clone() } else { format!("{}.{number}", self.name) };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(&self.folder, &name, flags, Mode::empty()) {
            Ok(file) => Ok(Some(file.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).during(|| format!("open {name:?}")),
        }
    }

    /// All files, the newest first.
    fn files(&self) -> Result<Vec<File>> {
        let mut files: Vec<File> = Vec::new();
        let mut last = None;
        let mut missing = 0;
        for number in 0..FILES_MAX {
            let Some(file) = self.file(number)? else {
                // In the middle of a rotation, one number has no file.
                missing += 1;
                if missing > 2 {
                    break;
                }
                continue;
            };
            let this = identity(&file.metadata().during(|| "log".to_owned())?);
            if last != Some(this) {
                files.push(file);
            }
            last = Some(this);
        }
        Ok(files)
    }
}

fn identity(stat: &Metadata) -> (u64, u64) {
    (stat.dev(), stat.ino())
}

/// Lines of a log, from some place on to its end, which may move on.
#[derive(Debug)]
pub(super) struct Lines {
    folder: Folder,
    /// Files that come behind the one that is read, the next one last.
    behind: Vec<File>,
    file: Option<File>,
    /// Where to read on.
    offset: u64,
    buffer: Vec<u8>,
    /// Where in the buffer the next line begins.
    start: usize,
    /// Up to where no end of line is in the buffer.
    seen: usize,
    /// A line that is too long goes on.
    is_skipping: bool,
    /// Lines that were left out because they cannot be read.
    pub(super) unreadable: u64,
}

impl Lines {
    /// All lines, or the last ones.
    pub(super) fn open(folder: Folder, last: Option<u64>) -> Result<Lines> {
        let mut behind = folder.files()?;
        let mut offset = 0;
        if let Some(mut wanted) = last {
            for (index, file) in behind.iter().enumerate() {
                let (found, start) = last_lines(file, wanted).during(|| "read the log".to_owned())?;
                wanted -= found;
                if wanted == 0 {
                    offset = start;
                    behind.truncate(index + 1);
                    break;
                }
            }
        }
        let file = behind.pop();
        let buffer = Vec::new();
        Ok(Lines {
            folder,
            behind,
            file,
            offset,
            buffer,
            start: 0,
            seen: 0,
            is_skipping: false,
            unreadable: 0,
        })
    }

    /// Gives the next line to `take`, if there is one by now; whether there was.
    pub(super) fn next(&mut self, take: impl FnOnce(&Entry) -> Result<bool>) -> Result<Option<bool>> {
        loop {
            while let Some(end) = self.buffer[self.seen..].iter().position(|byte| *byte == b'\n') {
                let (start, end) = (self.start, self.seen + end);
                (self.start, self.seen) = (end + 1, end + 1);
                if std::mem::take(&mut self.is_skipping) {
                    self.unreadable += 1;
                    continue;
                }
                match entry::parse(&self.buffer[start..end]) {
                    Some(entry) => return take(&entry).map(Some),
                    None => self.unreadable += 1,
                }
            }
            self.seen = self.buffer.len();
            if !self.read_more()? {
                return Ok(None);
            }
        }
    }

    /// Reads on, in the next file if need be; false at the end.
    fn read_more(&mut self) -> Result<bool> {
        let words = || "read the log".to_owned();
        if self.file.is_none() {
            self.file = self.folder.file(0)?;
        }
        loop {
            if self.fill().during(words)? {
                return Ok(true);
            }
            let Some(file) = &self.file else { return Ok(false) };
            let stat = file.metadata().during(words)?;
            if stat.len() < self.offset {
                // Somebody has emptied it by hand; what is written now stands at its beginning.
                self.begin_at(0);
                continue;
            }
            let Some(next) = self.next_file(&stat)? else { return Ok(false) };
            // What was written between the last look and the rotation: nobody writes to it any more.
            if self.fill().during(words)? {
                self.behind.push(next);
                return Ok(true);
            }
            if self.buffer.len() > self.start {
                self.unreadable += 1; // a line without an end, and none will come
            }
            self.begin_at(0);
            self.file = Some(next);
        }
    }

    /// The file behind the one that is read, if that is no longer the newest.
    fn next_file(&mut self, current: &Metadata) -> Result<Option<File>> {
        if let Some(next) = self.behind.pop() {
            return Ok(Some(next));
        }
        let mut newer = Vec::new();
        for file in self.folder.files()? {
            if identity(&file.metadata().during(|| "read the log".to_owned())?) == identity(current) {
                // Of what is newer, the oldest comes next.
                self.behind = newer;
                return Ok(self.behind.pop());
            }
            newer.push(file);
        }
        // The one that is read was removed: the oldest that is there comes next.
        self.behind = newer;
        Ok(self.behind.pop())
    }

    fn begin_at(&mut self, offset: u64) {
        self.offset = offset;
        self.buffer.clear();
        (self.start, self.seen, self.is_skipping) = (0, 0, false);
    }

    /// Appends what comes next in the file to the buffer; false if nothing is there.
    fn fill(&mut self) -> std::io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        self.buffer.drain(..self.start);
        self.seen -= self.start;
        self.start = 0;
        if self.buffer.len() > LINE_MAX {
            self.is_skipping = true;
            self.buffer.clear();
            self.seen = 0;
        }
        let before = self.buffer.len();
        self.buffer.resize(before + CHUNK, 0);
        let count = file.read_at(&mut self.buffer[before..], self.offset);
        let read = count.as_ref().map_or(0, |count| *count);
        self.buffer.truncate(before + read);
        self.offset += read as u64;
        count.map(|count| count > 0)
    }
}

/// How many of the wanted last lines a file has, and where they begin. A line without an end is none.
fn last_lines(file: &File, wanted: u64) -> std::io::Result<(u64, u64)> {
    let mut buffer = vec![0; CHUNK];
    let length = file.metadata()?.len();
    let (mut at, mut ends) = (length, 0);
    if wanted == 0 {
        return Ok((0, length));
    }
    while at > 0 {
        let count = at.min(CHUNK as u64);
        at -= count;
        let chunk = &mut buffer[..usize::try_from(count).unwrap_or_default()];
        file.read_exact_at(chunk, at)?;
        for index in (0..chunk.len()).rev().filter(|index| chunk[*index] == b'\n') {
            // The end before the first wanted line.
            if ends == wanted {
                return Ok((wanted, at + index as u64 + 1));
            }
            ends += 1;
        }
    }
    Ok((ends, 0))
}

#[cfg(test)]
mod tests {
    use super::super::Stream;
    use super::super::json_file::tests::open;
    use super::*;
    use crate::store::scratch::Scratch;
    use std::fs;

    fn rest(lines: &mut Lines) -> String {
        let mut text = String::new();
        let mut take = |entry: &Entry| {
            text.push_str(&entry.log);
            Ok(true)
        };
        while lines.next(&mut take).unwrap().is_some() {}
        text
    }

    fn numbers(range: std::ops::Range<u32>) -> String {
        range.map(|number| format!("line {number:05}\n")).collect()
    }

    fn lines_of(scratch: &Scratch, last: Option<u64>) -> Lines {
        Lines::open(Folder::open(scratch.path(), "x").unwrap(), last).unwrap()
    }

    #[test]
    fn all_or_the_last_lines_are_read_over_all_files() {
        let scratch = Scratch::new();
        let path = scratch.join("x-json.log");
        assert_eq!(rest(&mut lines_of(&scratch, None)), "");
        let mut log = open(&path, &[("max-size", "100k"), ("max-file", "5")]);
        log.write(Stream::Stdout, numbers(0..4000).as_bytes());
        assert!(scratch.join("x-json.log.3").exists());
        assert_eq!(rest(&mut lines_of(&scratch, None)), numbers(0..4000));
        for last in [0, 1, 2, 999, 1000, 1001, 2500, 3999, 4000, 4001, u64::MAX] {
            let from = 4000 - u32::try_from(last.min(4000)).unwrap();
            assert_eq!(rest(&mut lines_of(&scratch, Some(last))), numbers(from..4000), "{last}");
        }
    }

    #[test]
    fn a_reader_reads_on_through_rotation_and_emptying() {
        let scratch = Scratch::new();
        let path = scratch.join("x-json.log");
        let mut before = lines_of(&scratch, None);
        let mut log = open(&path, &[("max-size", "10k"), ("max-file", "9")]);
        let mut text = rest(&mut before);
        for step in 0..40 {
            // Up to three files are new at once.
            let count = [1, 7, 100, 300][step as usize % 4];
            let from = step * 1000;
            log.write(Stream::Stdout, numbers(from..from + count).as_bytes());
            let new = rest(&mut before);
            assert_eq!(new, numbers(from..from + count), "{step}");
            text.push_str(&new);
        }
        assert_eq!(before.unreadable, 0);
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        log.write(Stream::Stdout, b"again\n");
        assert_eq!(rest(&mut before), "again\n");

        let alone = Scratch::new();
        let mut log = open(&alone.join("x-json.log"), &[("max-size", "1k")]);
        log.write(Stream::Stdout, numbers(0..3).as_bytes());
        let mut lines = lines_of(&alone, None);
        assert_eq!(rest(&mut lines), numbers(0..3));
        for step in 1..20 {
            log.write(Stream::Stdout, numbers(step * 10..step * 10 + 3).as_bytes());
            assert_eq!(rest(&mut lines), numbers(step * 10..step * 10 + 3), "{step}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_counted() {
        let scratch = Scratch::new();
        let path = scratch.join("x-json.log");
        open(&path, &[]).write(Stream::Stdout, b"one\n");
        let mut content = fs::read(&path).unwrap();
        content.extend(b"rubbish\n\0\0\0{}\n");
        content.extend(vec![b'x'; LINE_MAX * 3]);
        content.extend(b"\n");
        fs::write(&path, &content).unwrap();
        open(&path, &[]).write(Stream::Stdout, b"two\n");
        let mut lines = lines_of(&scratch, None);
        assert_eq!(rest(&mut lines), "one\ntwo\n");
        assert_eq!(lines.unreadable, 3);
        // A line that is being written is none yet.
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 2]).unwrap();
        let mut lines = lines_of(&scratch, Some(1));
        assert_eq!(rest(&mut lines), "");
        fs::write(&path, &whole).unwrap();
        assert_eq!(rest(&mut lines), "two\n");
    }
}
