//! What a container prints, kept: the log drivers `json-file`, `journald` and `none`.
//!
//! Four parts: what `--log-driver` and `--log-opt` mean (`settings`), the [`Writer`] that the monitor has, what
//! survives that (`journal`), and what `logs` reads (`read`, `show`). Output is cut into lines (`piece`), and a line of the file is an object of JSON
//! (`entry`), both exactly as docker does it, so that what reads docker's files reads these.
//!
//! The writer never fails: a container does not end, nor wait, because its log cannot be written. What is lost is
//! counted and told in the log itself, as soon as it can be written again. It keeps no more than an unfinished line of
//! each stream and one batch in memory, because it is part of every container's monitor.

mod attributes;
mod entry;
mod journal;
mod journald;
mod json_file;
mod piece;
mod read;
mod settings;
mod show;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::container::record::Container;
use crate::error::{Context as _, Result};
use journal::Journal;
use journald::Journald;
use json_file::JsonFile;
use piece::Pending;
pub use settings::Settings;
pub use show::{Request, show};

/// Which of a program's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output; all output of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// As docker's log files call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// What drivers tell of the container beside its output.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Full id.
    pub id: &'a str,
    /// Name, without a slash.
    pub name: &'a str,
    /// Labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Its environment, `NAME=value`.
    pub env: &'a [String],
    /// The image's name, as it was given.
    pub image_name: &'a str,
    /// The image's id.
    pub image_id: &'a str,
    /// Where `json-file` writes: `ID-json.log` in the container's folder.
    pub path: &'a Path,
    /// Where is kept what was taken and is not in the log yet; None for a terminal.
    pub journal: Option<&'a Path>,
}

/// Where `json-file` writes a container's newest lines, below the container's folder.
#[must_use]
pub fn path(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}-json.log"))
}

/// Takes the output of one container.
#[derive(Debug)]
pub struct Writer {
    sink: Sink,
    pending: [Pending; 2],
}

#[derive(Debug)]
enum Sink {
    JsonFile(Box<JsonFile>),
    Journald(Journald),
    None,
}

impl Writer {
    /// Opens the log of a container with these folders: its own and that for its state. What a writer that was killed has
    /// left is put in order.
    ///
    /// # Errors
    /// A file that cannot be opened; journald that is not there; a `tag` that is no template.
    pub fn open(container: &Container, folder: &Path, state_folder: &Path) -> Result<Writer> {
        let config = &container.host_config.log_config;
        let settings = Settings::parse(&config.kind, &config.config)?;
        let origin = Origin {
            id: &container.id,
            name: &container.name,
            labels: &container.config.labels,
            env: &container.config.env,
            image_name: &container.config.image,
            image_id: &container.image.to_string(),
            path: &path(folder, &container.id),
            journal: (!container.config.tty).then_some(state_folder),
        };
        Writer::new(&settings, &origin)
    }

    /// The same by what is known otherwise.
    ///
    /// # Errors
    /// As [`Writer::open`].
    pub fn new(settings: &Settings, origin: &Origin) -> Result<Writer> {
        let sink = match settings {
            Settings::JsonFile(options) => Sink::JsonFile(Box::new(JsonFile::open(options, origin)?)),
            Settings::Journald(attributes) => Sink::Journald(Journald::open(attributes, origin)?),
            Settings::None => Sink::None,
        };
        let mut writer = Writer { sink, pending: Default::default() };
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(journal) = writer.journal() {
                let rest = journal.rest(stream).during(|| "what is to be logged".to_owned())?;
                writer.write(stream, &rest);
            }
        }
        Ok(writer)
    }

    fn journal(&mut self) -> Option<&mut Journal> {
        match &mut self.sink {
            Sink::JsonFile(file) => file.journal.as_mut(),
            Sink::Journald(_) | Sink::None => None,
        }
    }

    /// Reads once from an output of the container and logs what it has read; `buffer` gets it too. From a pipe it is taken
    /// so that whoever opens this log after us, if we are killed, has it: no line is lost, and none is there twice.
    ///
    /// # Errors
    /// As read(2).
    pub fn take(&mut self, stream: Stream, from: BorrowedFd, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        let taken = self.journal().map(|journal| journal.take(stream, from, buffer));
        let count = match taken {
            Some(Ok(count)) => count,
            Some(Err(errno @ (Errno::AGAIN | Errno::INTR))) => return Err(errno),
            other => {
                // A full state folder keeps nobody from logging.
                if let (Some(Err(_)), Sink::JsonFile(file)) = (other, &mut self.sink)
                    && let Some(journal) = file.journal.take()
                {
                    journal.give_up();
                }
                rustix::io::read(from, &mut *buffer)?
            }
        };
        self.write(stream, &buffer[..count]);
        Ok(count)
    }

    /// Logs what was read from a stream: whole lines are written, in one write(2) unless they are many.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) {
        if matches!(self.sink, Sink::None) {
            return;
        }
        self.sink.begin();
        let sink = &mut self.sink;
        self.pending[stream as usize].feed(bytes, |piece| sink.put(stream, piece));
        self.sink.commit();
    }

    /// What the log lacks without telling it itself, because it cannot be written still.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        match &self.sink {
            Sink::JsonFile(file) => file.lost(),
            Sink::Journald(journald) => journald.lost(),
            Sink::None => None,
        }
    }

    /// The streams have ended: what has no end of line yet is written as it is.
    pub fn flush(&mut self) {
        self.sink.begin();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let sink = &mut self.sink;
            self.pending[stream as usize].end(|piece| sink.put(stream, piece));
        }
        self.sink.commit();
    }
}

impl Sink {
    fn begin(&mut self) {
        if let Sink::JsonFile(file) = self {
            file.begin();
        }
    }

    fn put(&mut self, stream: Stream, piece: &[u8]) {
        match self {
            Sink::JsonFile(file) => file.put(stream, piece),
            Sink::Journald(journald) => journald.put(stream, piece),
            Sink::None => {}
        }
    }

    fn commit(&mut self) {
        if let Sink::JsonFile(file) = self {
            file.commit();
        }
    }
}
