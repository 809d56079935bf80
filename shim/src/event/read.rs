//! Events as they were written, and as they come: both files, through the moment when one is put aside.
//!
//! inotify(7) tells that something was written; what, the file says. A line that no program of this kind has written, or
//! that a full disk has cut, is passed over.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Kind, Result};
use crate::event::{ASIDE, Event, FILE, LOCK};
use crate::store::record::Lock;

/// Longest line, in bytes.
const LINE_MAX: u64 = 1 << 20;

/// Reads events.
#[derive(Debug)]
pub struct Reader {
    state: PathBuf,
    watch: OwnedFd,
    /// What is to be read: the last one is the one that grows.
    files: Vec<BufReader<File>>,
    /// A line that is not whole yet.
    begun: Vec<u8>,
}

impl Reader {
    /// Of this state folder: those that there are, or only those that come.
    ///
    /// # Errors
    /// The system's reason.
    pub fn open(state: &Path, from_begin: bool) -> Result<Reader> {
        let words = || format!("inotify {state:?}");
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).during(words)?;
        // Before anything is read: nothing is missed between.
        let changes = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_FROM;
        inotify::add_watch(&watch, state, changes).during(words)?;
        let mut reader = Reader { state: state.to_owned(), watch, files: Vec::new(), begun: Vec::new() };
        // Nobody puts one aside between the two.
        let _lock = Lock::shared(&state.join(LOCK))?;
        for name in [ASIDE, FILE] {
            reader.files.extend(reader.open_file(name)?);
        }
        if !from_begin && let Some(mut last) = reader.files.pop() {
            last.seek(SeekFrom::End(0)).during(|| format!("seek in {FILE:?}"))?;
            reader.files = vec![last];
        }
        Ok(reader)
    }

    fn open_file(&self, name: &str) -> Result<Option<BufReader<File>>> {
        let path = self.state.join(name);
        match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            open => open.map(|file| Some(BufReader::new(file))).during(|| format!("open {path:?}")),
        }
    }

    /// The next event that is there.
    ///
    /// # Errors
    /// The system's reason.
    pub fn read(&mut self) -> Result<Option<Event>> {
        loop {
            let Some(file) = self.files.first_mut() else {
                self.renew()?;
                if self.files.is_empty() {
                    return Ok(None);
                }
                continue;
            };
            let left = LINE_MAX.saturating_sub(self.begun.len() as u64).max(1);
            let count = file.by_ref().take(left).read_until(b'\n', &mut self.begun);
            if count.during(|| format!("read {FILE:?}"))? == 0 {
                // Behind the last one there may be another by now; this one grows no more then.
                if self.files.len() == 1 && !self.renew()? {
                    return Ok(None);
                }
                // What was written between is read first.
                if self.files.first_mut().is_some_and(|file| file.fill_buf().is_ok_and(<[u8]>::is_empty)) {
                    self.files.remove(0);
                    // The end of a line that was cut is nowhere.
                    self.begun.clear();
                }
                continue;
            }
            if self.begun.ends_with(b"\n") || self.begun.len() as u64 >= LINE_MAX {
                let line = std::mem::take(&mut self.begun);
                if let Ok(event) = serde_json::from_slice(&line) {
                    return Ok(Some(event));
                }
            }
        }
    }

    /// Looks for files behind those that are read. Whether there is one.
    fn renew(&mut self) -> Result<bool> {
        let inode = |file: &BufReader<File>| file.get_ref().metadata().map(|stat| (stat.dev(), stat.ino()));
        let words = || format!("stat {FILE:?}");
        let known = self.files.last().map(inode).transpose().during(words)?;
        let current = self.open_file(FILE)?;
        if current.as_ref().map(inode).transpose().during(words)? == known {
            return Ok(false);
        }
        let _lock = Lock::shared(&self.state.join(LOCK))?;
        let (aside, current) = (self.open_file(ASIDE)?, self.open_file(FILE)?);
        for file in [aside, current].into_iter().flatten() {
            // What is put aside may be what was read, or one more that nobody has seen.
            let inode = inode(&file).during(words)?;
            if known != Some(inode) {
                self.files.push(file);
            }
        }
        Ok(self.files.len() > 1 || known.is_none() && !self.files.is_empty())
    }

    /// Waits until something is written, or until this moment; false then.
    ///
    /// # Errors
    /// [`Kind::Unread`] where nobody reads standard output any more; the system's reason.
    pub fn wait(&self, until: Option<Timestamp>) -> Result<bool> {
        let stdout = std::io::stdout();
        loop {
            let left = until.map(|until| until.duration_since(Timestamp::now()));
            if left.is_some_and(|left| !left.is_positive()) {
                return Ok(false);
            }
            let left =
                left.map(|left| Timespec { tv_sec: left.as_secs(), tv_nsec: left.subsec_nanos().into() });
            // Nothing is asked of the output: an end of it is always told.
            let mut wanted =
                [PollFd::new(&self.watch, PollFlags::IN), PollFd::new(&stdout, PollFlags::empty())];
            match poll(&mut wanted, left.as_ref()) {
                Err(Errno::INTR) => continue,
                count => drop(count.during(|| "poll".into())?),
            }
            if wanted[1].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
                return Err(Error::new(Kind::Unread, "standard output is closed"));
            }
            if wanted[0].revents().contains(PollFlags::IN) {
                let mut space = [std::mem::MaybeUninit::uninit(); 4096];
                let mut reader = inotify::Reader::new(&self.watch, &mut space);
                while reader.next().is_ok() {}
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event;
    use crate::store::scratch::Scratch;

    #[test]
    fn events_are_read_through_both_files_and_as_they_come() {
        let scratch = Scratch::new();
        let state = scratch.path();
        let tell = |name: &str| event::volume(state, "create", name, &[]);
        let names = |reader: &mut Reader| {
            let mut names = Vec::new();
            while let Some(event) = reader.read().unwrap() {
                names.push(event.actor.id);
            }
            names
        };
        let mut early = Reader::open(state, true).unwrap();
        assert_eq!(names(&mut early), [""; 0]);
        tell("one");
        std::fs::rename(state.join(FILE), state.join(ASIDE)).unwrap();
        tell("two");
        std::fs::OpenOptions::new()
            .append(true)
            .open(state.join(FILE))
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"{\"Type\":\nno event\n"))
            .unwrap();
        let mut late = Reader::open(state, false).unwrap();
        assert_eq!(names(&mut early), ["one", "two"]);
        assert_eq!(names(&mut Reader::open(state, true).unwrap()), ["one", "two"]);
        tell("three");
        assert!(late.wait(None).unwrap());
        assert_eq!(
            (names(&mut late), names(&mut early)),
            (vec!["three".to_owned()], vec!["three".to_owned()])
        );
        // Written, put aside, and written to the next one, before anybody looks.
        tell("four");
        std::fs::rename(state.join(FILE), state.join(ASIDE)).unwrap();
        tell("five");
        std::fs::rename(state.join(FILE), state.join(ASIDE)).unwrap();
        tell("six");
        assert_eq!(names(&mut late), ["four", "five", "six"]);
        let soon = Timestamp::now().checked_add(jiff::SignedDuration::from_millis(20)).unwrap();
        while late.wait(Some(soon)).unwrap() {}
        assert!(Timestamp::now() >= soon);
    }
}
