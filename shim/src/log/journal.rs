//! What was taken from a container's output and is not in its log yet: so that the death of its monitor, at any moment,
//! neither loses a line nor writes one twice.
//!
//! Between read(2) from a FIFO and write(2) to the log, output would be in the memory of a process alone. So it is moved
//! (splice(2)) into a file of the state folder, whose length is the kernel's own account of what was taken. A header says
//! up to where that is in the log, and how long the log is then. Whoever comes after a killed monitor cuts the log to that
//! length, because what stands behind it was about to be told in the header, and goes on with the rest of the files.
//!
//! A stream has two files: when one has become long, its rest is copied into the other one, and the header changes over.
//! Nothing of this outlives the host, so nothing is synced.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

use super::Stream;
use crate::error::{Context as _, Result};

/// When a stream's file has become this long, the other one takes its place, in bytes.
const LONG: u64 = 256 << 10;
/// Numbers in the header, of eight bytes each.
const NUMBERS: usize = 7;
/// The header's first number.
const MAGIC: u64 = 0x6361_6973_6c6f_6731;

/// The header's file, in the state folder of a container.
const HEADER: &str = "log";

/// Which file is the log's newest, and how long it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) inode: u64,
    pub(super) size: u64,
}

/// The files of a container.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    header: File,
    spools: [Spool; 2],
    /// What the header says of the log, if it says anything.
    pub(super) mark: Option<Mark>,
}

/// What was taken from a stream.
#[derive(Debug)]
struct Spool {
    files: [File; 2],
    /// Which of the two counts.
    active: usize,
    /// From here on it is not in the log.
    start: u64,
    end: u64,
}

impl Journal {
    /// Opens the files in a container's state folder, and makes what is missing.
    pub(super) fn open(folder: &Path) -> Result<Journal> {
        let words = || format!("log in {folder:?}");
        let path = folder.join(HEADER);
        let header = open(&path).during(words)?;
        let mut bytes = [0; NUMBERS * 8];
        let numbers = match header.read_exact_at(&mut bytes, 0) {
            Ok(()) => decode(&bytes),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => [0; NUMBERS],
            Err(error) => return Err(error).during(words),
        };
        let is_valid = numbers[0] == MAGIC && numbers[3] < 2 && numbers[5] < 2;
        let spool = |stream: Stream, active: u64, start: u64| -> Result<Spool> {
            let file =
                |name: &str| open(&folder.join(format!("{HEADER}.{}.{name}", stream.name()))).during(words);
            let files = [file("a")?, file("b")?];
            let (active, start) = if is_valid { (usize::from(active == 1), start) } else { (0, 0) };
            if !is_valid {
                files[active].set_len(0).during(words)?;
            }
            let end = files[active].metadata().during(words)?.len();
            Ok(Spool { files, active, start: start.min(end), end })
        };
        let spools =
            [spool(Stream::Stdout, numbers[3], numbers[4])?, spool(Stream::Stderr, numbers[5], numbers[6])?];
        let mark = is_valid.then_some(Mark { inode: numbers[1], size: numbers[2] });
        Ok(Journal { path, header, spools, mark })
    }

    /// What of a stream is not in the log.
    pub(super) fn rest(&self, stream: Stream) -> Result<Vec<u8>> {
        Ok(self.spools[stream as usize].rest()?)
    }

    /// Takes what a pipe has, at most as much as `buffer` holds, which gets it too.
    ///
    /// # Errors
    /// As splice(2).
    pub(super) fn take(
        &mut self,
        stream: Stream,
        from: BorrowedFd,
        buffer: &mut [u8],
    ) -> rustix::io::Result<usize> {
        if self.spools[stream as usize].end >= LONG {
            self.change_over(stream).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        }
        let spool = &mut self.spools[stream as usize];
        let file = &spool.files[spool.active];
        let mut at = spool.end;
        let count = splice(from, None, file, Some(&mut at), buffer.len(), SpliceFlags::NONBLOCK)?;
        file.read_exact_at(&mut buffer[..count], spool.end)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        spool.end += count as u64;
        Ok(count)
    }

    /// Says that so much more of each stream is in the log, or given up, and where that ends now.
    pub(super) fn wrote(&mut self, bytes: [u64; 2], mark: Mark) {
        for (spool, count) in self.spools.iter_mut().zip(bytes) {
            spool.start = (spool.start + count).min(spool.end);
        }
        self.mark = Some(mark);
        // A state folder that is full keeps nobody from logging; what it says is wrong then, and goes.
        if self.write_header().is_err() {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Nobody goes by it any more.
    pub(super) fn give_up(self) {
        let _ = fs::remove_file(&self.path);
    }

    fn change_over(&mut self, stream: Stream) -> std::io::Result<()> {
        let spool = &mut self.spools[stream as usize];
        let (before, rest) = (spool.active, spool.rest()?);
        let other = &spool.files[1 - before];
        other.set_len(0)?;
        other.write_all_at(&rest, 0)?;
        (spool.active, spool.start, spool.end) = (1 - before, 0, rest.len() as u64);
        self.write_header()?;
        self.spools[stream as usize].files[before].set_len(0)
    }

    fn write_header(&self) -> std::io::Result<()> {
        let Mark { inode, size } = self.mark.unwrap_or_default();
        let [out, err] = &self.spools;
        let numbers = [MAGIC, inode, size, out.active as u64, out.start, err.active as u64, err.start];
        let mut bytes = [0; NUMBERS * 8];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        // One write(2) within a page: a kill comes before or after it.
        self.header.write_all_at(&bytes, 0)
    }
}

impl Spool {
    fn rest(&self) -> std::io::Result<Vec<u8>> {
        let mut rest = vec![0; usize::try_from(self.end - self.start).unwrap_or_default()];
        self.files[self.active].read_exact_at(&mut rest, self.start)?;
        Ok(rest)
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn decode(bytes: &[u8; NUMBERS * 8]) -> [u64; NUMBERS] {
    let mut numbers = [0; NUMBERS];
    for (number, place) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
        *number = place.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::super::{Origin, Settings, Writer};
    use super::*;
    use crate::store::scratch::Scratch;
    use std::collections::BTreeMap;
    use std::io::Write as _;
    use std::os::fd::AsFd as _;

    fn open_log(scratch: &Scratch, options: &[(&str, &str)]) -> Writer {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let origin = Origin {
            id: "x",
            name: "box",
            labels: &BTreeMap::new(),
            env: &[],
            image_name: "box",
            image_id: "sha256:0",
            path: &scratch.join("x-json.log"),
            journal: Some(scratch.path()),
        };
        Writer::new(&Settings::parse("json-file", &options).unwrap(), &origin).unwrap()
    }

    fn logged(scratch: &Scratch) -> String {
        let mut text = String::new();
        for number in (0..20).rev() {
            let name = if number == 0 { "x-json.log".into() } else { format!("x-json.log.{number}") };
            let content = fs::read_to_string(scratch.join(&name)).unwrap_or_default();
            for line in content.lines() {
                text.push_str(&super::super::entry::parse(line.as_bytes()).unwrap().log);
            }
        }
        text
    }

    /// All files of a scratch folder as they are.
    fn snapshot(scratch: &Scratch) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    #[test]
    fn whoever_is_killed_loses_nothing_and_writes_nothing_twice() {
        let scratch = Scratch::new();
        let (from, mut to) = std::io::pipe().unwrap();
        let mut wanted = String::new();
        let mut buffer = vec![0; 32 << 10];
        let take =
            |log: &mut Writer, buffer: &mut [u8]| log.take(Stream::Stdout, from.as_fd(), buffer).unwrap();
        for round in 0..200 {
            let options = [("max-size", "20k"), ("max-file", "19")];
            let mut log = open_log(&scratch, &options);
            // The end of the line comes in the next round.
            let text = format!(" rest\nround {round} {}\nbegin", "x".repeat(round * 7 % 3000));
            wanted.push_str(&text);
            to.write_all(text.as_bytes()).unwrap();
            match round % 4 {
                // Killed at once; before the log; after the log, before the header; after all.
                0 => drop(log),
                1 => {
                    let journal = log.journal().unwrap();
                    journal.take(Stream::Stdout, from.as_fd(), &mut buffer).unwrap();
                }
                2 => {
                    let header = fs::read(scratch.join(HEADER)).unwrap();
                    let before = fs::read(scratch.join("x-json.log")).unwrap().len();
                    take(&mut log, &mut buffer);
                    // With a rotation in between the header was written by it.
                    if fs::read(scratch.join("x-json.log")).unwrap().len() > before {
                        fs::write(scratch.join(HEADER), header).unwrap();
                    }
                }
                _ => drop(take(&mut log, &mut buffer)),
            }
        }
        let mut log = open_log(&scratch, &[("max-size", "20k"), ("max-file", "19")]);
        log.flush();
        assert_eq!(logged(&scratch), wanted);
        assert!(scratch.join("x-json.log.5").exists());
    }

    #[test]
    fn the_files_stay_short_whatever_passes_through() {
        let scratch = Scratch::new();
        let mut log = open_log(&scratch, &[("max-size", "-1")]);
        let (from, mut to) = std::io::pipe().unwrap();
        let mut buffer = vec![0; 32 << 10];
        let mut wanted = String::new();
        for round in 0..200 {
            let text = format!("{round}{}\n{round}", "y".repeat(20_000));
            wanted.push_str(&text);
            to.write_all(text.as_bytes()).unwrap();
            assert_eq!(log.take(Stream::Stderr, from.as_fd(), &mut buffer), Ok(text.len()));
            assert_eq!(buffer[..text.len()], *text.as_bytes());
        }
        let longest = snapshot(&scratch).into_iter().filter(|(path, _)| !path.ends_with("x-json.log"));
        assert!(longest.map(|(_, content)| content.len() as u64).max().unwrap() < LONG + (32 << 10));
        drop(log);
        open_log(&scratch, &[]).flush();
        assert_eq!(logged(&scratch), wanted);
    }

    #[test]
    fn an_end_and_an_empty_pipe_are_told_apart_and_a_terminal_is_read() {
        let scratch = Scratch::new();
        let mut log = open_log(&scratch, &[]);
        let (from, to) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&from, true).unwrap();
        let mut buffer = [0; 64];
        assert_eq!(log.take(Stream::Stdout, from.as_fd(), &mut buffer), Err(Errno::AGAIN));
        drop(to);
        assert_eq!(log.take(Stream::Stdout, from.as_fd(), &mut buffer), Ok(0));
        // No pipe: it is read, and the journal is of no more use.
        let (mut one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        one.write_all(b"line\n").unwrap();
        let file = File::open("/dev/zero").unwrap();
        assert_eq!(log.take(Stream::Stdout, file.as_fd(), &mut buffer), Ok(64));
        assert!(log.journal().is_none() && !scratch.join(HEADER).exists());
        assert_eq!(log.take(Stream::Stdout, other.as_fd(), &mut buffer[..5]), Ok(5));
        log.flush();
        assert_eq!(logged(&scratch), format!("{}line\n", "\0".repeat(64)));
    }

    #[test]
    fn what_is_no_header_is_nobodys() {
        let scratch = Scratch::new();
        open_log(&scratch, &[]).write(Stream::Stdout, b"one\n");
        fs::write(scratch.join(HEADER), [0xff; 56]).unwrap();
        open_log(&scratch, &[]).write(Stream::Stdout, b"two\n");
        assert_eq!(logged(&scratch), "one\ntwo\n");
    }
}
