//! The standard streams of a container: FIFOs in its state folder, or the master of its terminal.
//!
//! The container's own descriptors of its output are open for reading too (fifo(7)): so nobody there gets SIGPIPE and
//! nothing that is in a FIFO is lost, even while nobody supervises. Standard input is not, or its end would never come.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_setfl, mknodat, open};
use rustix::io::Errno;
use rustix::termios::{Winsize, tcsetwinsize};

use crate::error::{Context, Result};
use crate::log::Stream;

/// Room in a FIFO, in bytes (F_SETPIPE_SZ of fcntl(2)): a program that prints much waits less often.
const ROOM: usize = 256 << 10;

/// The monitor's ends, none of which blocks.
#[derive(Debug)]
pub enum Streams {
    /// FIFOs.
    Pipes {
        /// None once it has ended, or where the container has none.
        stdin: Option<OwnedFd>,
        /// To read.
        stdout: OwnedFd,
        /// To read.
        stderr: OwnedFd,
    },
    /// Everything in one.
    Terminal(OwnedFd),
}

/// The container's ends.
#[derive(Debug)]
pub struct Ends {
    /// To read: a FIFO or /dev/null.
    pub stdin: OwnedFd,
    /// To write to.
    pub stdout: OwnedFd,
    /// To write to.
    pub stderr: OwnedFd,
}

impl Streams {
    /// New FIFOs in a folder, in place of those that are there.
    ///
    /// # Errors
    /// The system's reason.
    pub fn make(folder: &Path, with_stdin: bool) -> Result<(Streams, Ends)> {
        let (stdout, program_stdout) = make_output(folder.join("stdout"))?;
        let (stderr, program_stderr) = make_output(folder.join("stderr"))?;
        let (stdin, program_stdin) = if with_stdin {
            let path = folder.join("stdin");
            make_fifo(&path)?;
            // A reader first: without one it could not be opened for writing.
            let reader = open_at(&path, OFlags::RDONLY | OFlags::NONBLOCK)?;
            let writer = open_at(&path, OFlags::WRONLY | OFlags::NONBLOCK)?;
            fcntl_setfl(&reader, OFlags::empty()).during(|| format!("fcntl {path:?}"))?;
            (Some(writer), reader)
        } else {
            (None, null(OFlags::RDONLY)?)
        };
        let ends = Ends { stdin: program_stdin, stdout: program_stdout, stderr: program_stderr };
        Ok((Streams::Pipes { stdin, stdout, stderr }, ends))
    }

    /// The FIFOs of a container that goes on and whose monitor was killed; None where there are none.
    ///
    /// # Errors
    /// The system's reason.
    pub fn find(folder: &Path) -> Result<Option<Streams>> {
        let reader = |name: &str| {
            let path = folder.join(name);
            match open(&path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
                Err(Errno::NOENT) => Ok(None),
                opened => opened.map(Some).during(|| format!("open {path:?}")),
            }
        };
        let (Some(stdout), Some(stderr)) = (reader("stdout")?, reader("stderr")?) else { return Ok(None) };
        // Nobody may read it any more (ENXIO).
        let stdin = open_at(&folder.join("stdin"), OFlags::WRONLY | OFlags::NONBLOCK).ok();
        Ok(Some(Streams::Pipes { stdin, stdout, stderr }))
    }

    /// The same streams again.
    ///
    /// # Errors
    /// No more descriptors.
    pub fn try_clone(&self) -> Result<Streams> {
        let again = |fd: &OwnedFd| fd.try_clone().during(|| "dup".to_owned());
        Ok(match self {
            Streams::Terminal(master) => Streams::Terminal(again(master)?),
            Streams::Pipes { stdin, stdout, stderr } => Streams::Pipes {
                stdin: stdin.as_ref().map(again).transpose()?,
                stdout: again(stdout)?,
                stderr: again(stderr)?,
            },
        })
    }

    /// All of them.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let (terminal, stdin, outputs) = match self {
            Streams::Terminal(master) => (Some(master), None, [None, None]),
            Streams::Pipes { stdin, stdout, stderr } => (None, stdin.as_ref(), [Some(stdout), Some(stderr)]),
        };
        terminal.into_iter().chain(stdin).chain(outputs.into_iter().flatten()).map(OwnedFd::as_fd)
    }

    /// What is written to reaches the container's standard input.
    #[must_use]
    pub fn stdin(&self) -> Option<&OwnedFd> {
        match self {
            Streams::Terminal(master) => Some(master),
            Streams::Pipes { stdin, .. } => stdin.as_ref(),
        }
    }

    /// Where an output is read; a terminal has one only.
    #[must_use]
    pub fn output(&self, stream: Stream) -> Option<&OwnedFd> {
        match (self, stream) {
            (Streams::Terminal(master), Stream::Stdout) => Some(master),
            (Streams::Terminal(_), Stream::Stderr) => None,
            (Streams::Pipes { stdout, .. }, Stream::Stdout) => Some(stdout),
            (Streams::Pipes { stderr, .. }, Stream::Stderr) => Some(stderr),
        }
    }

    /// Ends the container's standard input; a terminal's does not end.
    pub fn end_stdin(&mut self) {
        if let Streams::Pipes { stdin, .. } = self {
            *stdin = None;
        }
    }

    /// Tells a terminal its size, if it is one.
    pub fn resize(&self, rows: u16, columns: u16) {
        if let Streams::Terminal(master) = self {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = tcsetwinsize(master, size);
        }
    }
}

/// /dev/null.
///
/// # Errors
/// The system's reason.
pub fn null(flags: OFlags) -> Result<OwnedFd> {
    open_at(Path::new("/dev/null"), flags)
}

fn make_output(path: PathBuf) -> Result<(OwnedFd, OwnedFd)> {
    make_fifo(&path)?;
    let reader = open_at(&path, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let writer = open_at(&path, OFlags::RDWR)?;
    // The user's share of pipe pages may be used up: it works with less.
    let _ = rustix::pipe::fcntl_setpipe_size(reader.as_fd(), ROOM);
    Ok((reader, writer))
}

fn make_fifo(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).during(|| format!("unlink {path:?}"));
        }
        _ => {}
    }
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).during(|| format!("mkfifo {path:?}"))
}

fn open_at(path: &Path, flags: OFlags) -> Result<OwnedFd> {
    open(path, flags | OFlags::CLOEXEC, Mode::empty()).during(|| format!("open {path:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    fn read(fd: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
        let mut bytes = [0; 64];
        rustix::io::read(fd, &mut bytes).map(|count| bytes[..count].to_vec())
    }

    #[test]
    fn what_is_in_a_fifo_stays_while_nobody_supervises_and_nobody_gets_sigpipe() {
        let scratch = Scratch::new();
        let (streams, ends) = Streams::make(scratch.path(), true).unwrap();
        let Streams::Pipes { stdout, stdin: Some(stdin), .. } = &streams else { panic!() };
        assert_eq!(read(stdout), Err(Errno::AGAIN), "nothing yet, and no end");
        rustix::io::write(stdin, b"in").unwrap();
        assert_eq!(read(&ends.stdin).unwrap(), b"in");
        rustix::io::write(&ends.stdout, b"before").unwrap();
        drop(streams);
        rustix::io::write(&ends.stdout, b" and after").unwrap();
        assert_eq!(read(&ends.stdin).unwrap(), b"", "standard input ends with its last writer");
        let mut found = Streams::find(scratch.path()).unwrap().unwrap();
        let Streams::Pipes { stdout, stderr, stdin: Some(_) } = &found else { panic!() };
        assert_eq!(read(stdout).unwrap(), b"before and after");
        assert_eq!(read(stderr), Err(Errno::AGAIN));
        let (stdout, stderr) = (stdout.try_clone().unwrap(), stderr.try_clone().unwrap());
        drop(ends);
        assert_eq!((read(&stdout).unwrap(), read(&stderr).unwrap()), (Vec::new(), Vec::new()), "both ended");
        found.end_stdin();
        assert!(found.stdin().is_none());
    }

    #[test]
    fn without_standard_input_it_is_empty_and_old_fifos_make_way() {
        let scratch = Scratch::new();
        drop(Streams::make(scratch.path(), true).unwrap());
        let (streams, ends) = Streams::make(scratch.path(), false).unwrap();
        assert!(streams.stdin().is_none());
        assert_eq!(read(&ends.stdin).unwrap(), b"");
        assert!(Streams::find(&scratch.join("nowhere")).unwrap().is_none());
    }
}
