//! What a container prints, kept: the log drivers `json-file`, `journald` and `none`.
//!
//! Three parts: what `--log-driver` and `--log-opt` mean (`settings`), the [`Writer`] that the monitor has, and what
//! `logs` reads (`read`, `show`). Output is cut into lines (`piece`), and a line of the file is an object of JSON
//! (`entry`), both exactly as docker does it, so that what reads docker's files reads these.
//!
//! The writer never fails: a container does not end, nor wait, because its log cannot be written. What is lost is
//! counted and told in the log itself, as soon as it can be written again. It keeps no more than an unfinished line of
//! each stream and one batch in memory, because it is part of every container's monitor.

mod attributes;
mod entry;
mod journald;
mod json_file;
mod piece;
mod read;
mod settings;
mod show;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::container::record::Container;
use crate::error::Result;
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
    JsonFile(JsonFile),
    Journald(Journald),
    None,
}

impl Writer {
    /// Opens the log of a container whose folder this is. A line that was cut off by the death of the one who wrote it is
    /// put in order.
    ///
    /// # Errors
    /// A file that cannot be opened; journald that is not there; a `tag` that is no template.
    pub fn open(container: &Container, folder: &Path) -> Result<Writer> {
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
        };
        Writer::new(&settings, &origin)
    }

    /// The same by what is known otherwise.
    ///
    /// # Errors
    /// As [`Writer::open`].
    pub fn new(settings: &Settings, origin: &Origin) -> Result<Writer> {
        let sink = match settings {
            Settings::JsonFile(options) => Sink::JsonFile(JsonFile::open(options, origin)?),
            Settings::Journald(attributes) => Sink::Journald(Journald::open(attributes, origin)?),
            Settings::None => Sink::None,
        };
        Ok(Writer { sink, pending: Default::default() })
    }

    /// Takes what was read from a stream: whole lines are written, in one write(2) unless they are many.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) {
        if matches!(self.sink, Sink::None) {
            return;
        }
        self.sink.begin();
        let sink = &mut self.sink;
        self.pending[stream as usize].feed(bytes, |piece| sink.put(stream, piece));
        self.sink.commit();
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
