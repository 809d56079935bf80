//! Where a container's output goes: our own standard output or standard error.
//!
//! Neither is ours alone, so it is not made non-blocking for all who have it; and a write must not wait, or nobody would
//! pass on signals meanwhile. So it is asked by poll(2), and no more is written at once than surely fits.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::error::{Context as _, Error, Kind, Result};

/// A pipe that poll(2) calls writable takes as many bytes at once without waiting (pipe(7), PIPE_BUF).
const PIPE_BUF: usize = 4096;
/// What a file, which never waits, gets at once, in bytes.
const FILE_CHUNK: usize = 64 << 10;

/// One of the two.
#[derive(Debug)]
pub(super) struct Output<F> {
    file: F,
    name: &'static str,
    /// How much is written at once.
    chunk: usize,
    waiting: Vec<u8>,
    /// How much of that was written.
    written: usize,
}

impl<F: AsFd> Output<F> {
    pub(super) fn new(file: F, name: &'static str) -> Output<F> {
        let kind = rustix::fs::fstat(&file).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let chunk = if kind == Ok(FileType::RegularFile) { FILE_CHUNK } else { PIPE_BUF };
        Output { file, name, chunk, waiting: Vec::new(), written: 0 }
    }

    /// How much was given and is not written yet, in bytes.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() - self.written
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Takes more.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.written == self.waiting.len() {
            self.waiting.clear();
            self.written = 0;
        }
        self.waiting.extend_from_slice(bytes);
    }

    /// Writes once what surely fits: to be called when poll(2) says that something does.
    pub(super) fn write(&mut self) -> Result<()> {
        let rest = &self.waiting[self.written..];
        match rustix::io::write(&self.file, &rest[..rest.len().min(self.chunk)]) {
            Ok(count) => self.written += count,
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Nobody reads it any more: the pipe's reader, or the terminal, is gone.
            Err(errno @ (Errno::PIPE | Errno::IO)) => {
                let error = Error::from(errno).of(Kind::Unread);
                return Err(error).during(|| format!("write to {}", self.name));
            }
            Err(errno) => return Err(errno).during(|| format!("write to {}", self.name)),
        }
        Ok(())
    }
}
