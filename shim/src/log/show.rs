//! What `logs` shows of a log, and how long it waits for more.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use super::entry::Entry;
use super::read::{Folder, Lines};
use crate::error::{Context as _, Error, Kind, Result};
use crate::output;

/// How long nothing has to happen before it is looked whether the container is there still.
const LOOK: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
/// What is written to the output at once, about, in bytes.
const BATCH: usize = 64 << 10;

/// What is to be shown.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Nothing before this.
    pub since: Option<Timestamp>,
    /// Nothing after this.
    pub until: Option<Timestamp>,
    /// Only that many lines, the last ones.
    pub tail: Option<u64>,
    /// The time before each line.
    pub timestamps: bool,
    /// What the log tells of the container before each line.
    pub details: bool,
}

/// Shows the log of the container with this folder. With `is_over`, what comes later too, until that says so; it is asked
/// when something in the folder has changed, and now and then.
///
/// # Errors
/// A log that cannot be read; [`Kind::Unread`] where nobody reads the output any more.
pub fn show(
    folder: &Path,
    id: &str,
    request: &Request,
    is_over: Option<&mut dyn FnMut() -> Result<bool>>,
) -> Result<()> {
    // First the watch: what changes after the first look is seen by it.
    let watch = is_over.is_some().then(|| Watch::new(folder, id)).transpose()?;
    let mut lines = Lines::open(Folder::open(folder, id)?, request.tail)?;
    let mut printer = Printer::new(request);
    let (Some(watch), Some(is_over)) = (watch, is_over) else {
        return printer.print_all(&mut lines).map(drop);
    };
    let mut ends = is_over()?;
    loop {
        // Whoever has ended has written all before.
        if !printer.print_all(&mut lines)? || ends {
            return Ok(());
        }
        match watch.wait(request.until)? {
            Event::Written => {}
            Event::Other => ends = is_over()?,
            Event::Unread => return Err(Error::new(Kind::Unread, "standard output is closed")),
            Event::TooLate => ends = true,
        }
    }
}

/// What has happened while we waited.
enum Event {
    /// The log has grown, or nothing that we know of.
    Written,
    /// The container's records may have changed.
    Other,
    /// Nobody reads our output any more.
    Unread,
    /// Nothing that comes is wanted.
    TooLate,
}

/// Sees changes of a container's folder (inotify(7)).
struct Watch {
    inotify: OwnedFd,
    log: String,
}

impl Watch {
    fn new(folder: &Path, id: &str) -> Result<Watch> {
        use inotify::{CreateFlags, WatchFlags};
        let words = || format!("inotify {folder:?}");
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).during(words)?;
        let changes = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        let ends = WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF | WatchFlags::ONLYDIR;
        inotify::add_watch(&inotify, folder, changes | ends).during(words)?;
        Ok(Watch { inotify, log: format!("{id}-json.log") })
    }

    fn wait(&self, until: Option<Timestamp>) -> Result<Event> {
        let mut patience = LOOK;
        if let Some(until) = until {
            let left = until.duration_since(Timestamp::now());
            if left.is_negative() || left.is_zero() {
                return Ok(Event::TooLate);
            }
            if left.as_secs() < LOOK.tv_sec {
                patience = Timespec { tv_sec: left.as_secs(), tv_nsec: left.subsec_nanos().into() };
            }
        }
        let stdout = std::io::stdout();
        let mut fds = [
            PollFd::new(&self.inotify, PollFlags::IN),
            PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut fds, Some(&patience)) {
            Ok(0) => return Ok(Event::Other),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Event::Written),
            Err(errno) => return Err(errno).during(|| "poll".to_owned()),
        }
        if fds[1].revents().intersects(PollFlags::ERR | PollFlags::NVAL) {
            return Ok(Event::Unread);
        }
        let mut space = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut space);
        let mut found = Event::Written;
        while let Ok(event) = reader.next() {
            let is_log = event.file_name().is_some_and(|name| name.to_bytes() == self.log.as_bytes());
            if !is_log {
                found = Event::Other;
            }
        }
        Ok(found)
    }
}

/// Writes lines to where their stream belongs.
struct Printer<'a> {
    request: &'a Request,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl<'a> Printer<'a> {
    fn new(request: &'a Request) -> Printer<'a> {
        Printer { request, stdout: Vec::new(), stderr: Vec::new() }
    }

    /// All lines that are there; false behind the last one that is wanted.
    fn print_all(&mut self, lines: &mut Lines) -> Result<bool> {
        let mut go_on = true;
        while go_on {
            match lines.next(|entry| self.print(entry))? {
                Some(more) => go_on = more,
                None => break,
            }
        }
        self.flush()?;
        if lines.unreadable > 0 {
            let count = std::mem::take(&mut lines.unreadable);
            output::complain(&format!("{count} lines of the log were left out: they cannot be read"));
        }
        Ok(go_on)
    }

    fn print(&mut self, entry: &Entry) -> Result<bool> {
        let Request { since, until, timestamps, details, .. } = *self.request;
        let mut time = None;
        if since.is_some() || until.is_some() || timestamps {
            // A time that is none is no reason to keep the line from anybody.
            time = entry.time.parse::<Timestamp>().ok();
        }
        if time.zip(since).is_some_and(|(time, since)| time < since) {
            return Ok(true);
        }
        if time.zip(until).is_some_and(|(time, until)| time > until) {
            return Ok(false);
        }
        let is_stderr = entry.stream == "stderr";
        // One after the other, as they were printed: both may be the same terminal.
        if is_stderr == self.stderr.is_empty() {
            self.flush()?;
        }
        let out = if is_stderr { &mut self.stderr } else { &mut self.stdout };
        let failed = |error| Error::from(error);
        if timestamps {
            match time {
                Some(time) => write!(out, "{time:.9} ").map_err(failed)?,
                None => write!(out, "{} ", entry.time).map_err(failed)?,
            }
        }
        if details {
            for (index, (name, value)) in entry.attrs.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                write!(out, "{comma}{}={}", query_escaped(name), query_escaped(value)).map_err(failed)?;
            }
            out.push(b' ');
        }
        out.extend_from_slice(entry.log.as_bytes());
        if out.len() >= BATCH {
            self.flush()?;
        }
        Ok(true)
    }

    fn flush(&mut self) -> Result<()> {
        write_to(&mut std::io::stdout().lock(), &mut self.stdout, "standard output")?;
        write_to(&mut std::io::stderr().lock(), &mut self.stderr, "standard error")
    }
}

fn write_to(to: &mut impl Write, bytes: &mut Vec<u8>, name: &str) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let written = to.write_all(bytes).and_then(|()| to.flush());
    bytes.clear();
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Error::from(error).of(Kind::Unread),
        _ => error.into(),
    };
    written.map_err(failed).during(|| format!("write to {name}"))
}

/// As Go's `url.QueryEscape`, in which docker tells details.
fn query_escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte))
            }
            b' ' => escaped.push('+'),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_escaped_as_dockers() {
        assert_eq!(query_escaped("a b=c,é/~"), "a+b%3Dc%2C%C3%A9%2F~");
    }
}
