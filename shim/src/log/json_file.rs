//! The driver `json-file`: lines appended to a file that is followed by another when it is full.
//!
//! The newest file is `ID-json.log`; older ones have `.1`, `.2`, … behind it, the oldest the highest number. A file is
//! never shortened but at its end, by what could not be written whole, so a reader that has it open reads on.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::journal::{Journal, Mark};
use super::settings::Files;
use super::{Origin, Stream, attributes, entry};
use crate::error::{Context as _, Result};

/// What is written at once, about, in bytes: a batch is written when it has become longer.
const BATCH: usize = 32 << 10;
/// Longest line that is looked for at the end of a file that was cut off, in bytes.
const LINE_MAX: u64 = 1 << 20;

/// The files, and what is to be written to them.
#[derive(Debug)]
pub(super) struct JsonFile {
    path: PathBuf,
    file: File,
    /// How long the file is.
    size: u64,
    max_size: Option<u64>,
    max_file: u32,
    /// An object of JSON, or nothing.
    attrs: String,
    batch: Vec<u8>,
    /// How many lines the batch has.
    lines: u64,
    /// What stands behind the text in the lines of this batch, by stream.
    tails: [String; 2],
    lost: Option<Lost>,
    /// What was taken from the container and is not written yet, unless its output is a terminal.
    pub(super) journal: Option<Journal>,
    /// How much of each stream is in the batch, in bytes.
    taken: [u64; 2],
}

/// Lines that could not be written.
#[derive(Debug)]
struct Lost {
    lines: u64,
    reason: String,
}

impl JsonFile {
    /// Opens the newest file and puts its end in order.
    pub(super) fn open(options: &Files, origin: &Origin) -> Result<JsonFile> {
        let mut extra = attributes::extra(&options.attributes, origin);
        if let Some(tag) = attributes::tag(&options.attributes, origin)? {
            extra.insert("tag".to_owned(), tag);
        }
        let attrs = if extra.is_empty() {
            String::new()
        } else {
            serde_json::to_string(&extra).unwrap_or_default() // texts only: it cannot fail
        };
        let words = || format!("log {:?}", origin.path);
        let file = append_to(origin.path).during(words)?;
        let stat = file.metadata().during(words)?;
        let journal = origin.journal.map(Journal::open).transpose()?;
        let mut log = JsonFile {
            path: origin.path.to_owned(),
            size: stat.len(),
            file,
            max_size: options.max_size,
            max_file: options.max_file,
            attrs,
            batch: Vec::new(),
            lines: 0,
            tails: Default::default(),
            lost: None,
            journal,
            taken: [0; 2],
        };
        if let Some(mark) = log.journal.as_ref().and_then(|journal| journal.mark)
            && mark.inode == stat.ino()
            && mark.size < log.size
        {
            // What stands behind it is in the journal still, and is written again.
            log.size = mark.size;
            log.file.set_len(log.size).during(words)?;
        }
        log.repair().during(words)?;
        log.tell_journal();
        Ok(log)
    }

    /// The journal learns what is in the log by now.
    fn tell_journal(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        let Some(journal) = &mut self.journal else { return };
        let inode = self.file.metadata().map_or(0, |stat| stat.ino());
        journal.wrote(taken, Mark { inode, size: self.size });
    }

    /// Whoever wrote the last line may have been killed in the middle of it: what is there of it becomes a line.
    fn repair(&mut self) -> Result<()> {
        let start = self.size.saturating_sub(LINE_MAX);
        let mut end = vec![0; usize::try_from(self.size - start).unwrap_or_default()];
        self.file.read_exact_at(&mut end, start)?;
        let torn = end.iter().rposition(|byte| *byte == b'\n').map_or(&end[..], |at| &end[at + 1..]);
        if torn.is_empty() {
            return Ok(());
        }
        self.size -= torn.len() as u64;
        self.file.set_len(self.size)?;
        if let Some((text, stream)) = entry::text_of_torn(torn) {
            let stream = if stream == Some("stderr") { Stream::Stderr } else { Stream::Stdout };
            self.begin();
            self.add(stream, text.as_bytes());
            self.commit();
        }
        Ok(())
    }

    /// Lines that could not be written, and are not told of in the log yet.
    pub(super) fn lost(&self) -> Option<String> {
        let Lost { lines, reason } = self.lost.as_ref()?;
        Some(format!("{lines} lines of output are missing in the log: {reason}"))
    }

    /// A batch begins: all of its lines have this moment.
    pub(super) fn begin(&mut self) {
        let now = Timestamp::now().to_string();
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.tails[stream as usize] = entry::tail(stream.name(), &self.attrs, &now);
        }
        if let Some(lost) = self.lost.take() {
            let Lost { lines, reason } = &lost;
            let text = format!("[{lines} lines of output are missing here: {reason}]\n");
            self.add(Stream::Stderr, text.as_bytes());
            self.commit();
            if let Some(still) = &mut self.lost {
                still.lines = lost.lines;
            }
        }
    }

    /// Adds a line of the container's.
    pub(super) fn put(&mut self, stream: Stream, piece: &[u8]) {
        self.make_room();
        self.taken[stream as usize] += piece.len() as u64;
        self.add(stream, piece);
    }

    /// Begins a new file if this one is full.
    fn make_room(&mut self) {
        let length = self.size + self.batch.len() as u64;
        if self.max_size.is_some_and(|max| length >= max) {
            self.commit();
            self.rotate();
        }
    }

    fn add(&mut self, stream: Stream, piece: &[u8]) {
        entry::push(&mut self.batch, piece, &self.tails[stream as usize]);
        self.lines += 1;
        if self.batch.len() >= BATCH {
            self.commit();
        }
    }

    /// Writes the batch: all of it, or nothing.
    pub(super) fn commit(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        match self.file.write_all(&self.batch) {
            Ok(()) => self.size += self.batch.len() as u64,
            Err(error) => {
                // It is not known how much was written. If the file is shorter than we think, somebody emptied it.
                let length = self.file.metadata().map_or(self.size, |stat| stat.len());
                self.size = self.size.min(length);
                let _ = self.file.set_len(self.size);
                self.lose(self.lines, crate::error::Error::from(error).to_string());
            }
        }
        self.batch.clear();
        self.batch.shrink_to(2 * BATCH);
        self.lines = 0;
        self.tell_journal();
    }

    fn lose(&mut self, lines: u64, reason: String) {
        let before = self.lost.take().map_or(0, |lost| lost.lines);
        self.lost = Some(Lost { lines: before + lines, reason });
    }

    /// Gives every file the next number and begins a new one. Where that is refused, the log goes on in the old one.
    fn rotate(&mut self) {
        // Somebody may have emptied the file by hand.
        self.size = self.file.metadata().map_or(self.size, |stat| stat.len());
        if self.max_size.is_some_and(|max| self.size < max) {
            return;
        }
        for number in (1..self.max_file.saturating_sub(1)).rev() {
            let _ = fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1));
        }
        let moved = if self.max_file > 1 {
            fs::rename(&self.path, numbered(&self.path, 1))
        } else {
            fs::remove_file(&self.path)
        };
        if moved.is_err() {
            return;
        }
        if let Ok(file) = append_to(&self.path) {
            (self.file, self.size) = (file, 0);
            self.tell_journal();
        }
    }
}

/// The file with this number; the newest has none.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    if number > 0 {
        name.push(format!(".{number}"));
    }
    PathBuf::from(name)
}

fn append_to(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Settings, Writer};
    use super::*;
    use crate::store::scratch::Scratch;
    use std::collections::BTreeMap;

    /// A log in this file.
    pub(crate) fn open(path: &Path, options: &[(&str, &str)]) -> Writer {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let labels = BTreeMap::from([("tier".to_owned(), "web".to_owned())]);
        let origin = Origin {
            id: "0123456789abcdef",
            name: "box",
            labels: &labels,
            env: &["LANG=C".to_owned()],
            image_name: "box:1",
            image_id: "sha256:0",
            path,
            journal: None,
        };
        Writer::new(&Settings::parse("json-file", &options).unwrap(), &origin).unwrap()
    }

    /// The texts of a file's lines, with their streams.
    fn lines(path: &Path) -> Vec<(String, String)> {
        let content = fs::read(path).unwrap();
        let entries = content.split_inclusive(|byte| *byte == b'\n').map(|line| entry::parse(line).unwrap());
        entries.map(|entry| (entry.log.into_owned(), entry.stream.into_owned())).collect()
    }

    fn texts(path: &Path) -> String {
        lines(path).into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn lines_are_dockers() {
        let scratch = Scratch::new();
        let path = scratch.join("x-json.log");
        let mut log = open(&path, &[("labels", "tier,none"), ("env", "LANG"), ("tag", "{{.Name}}")]);
        log.write(Stream::Stdout, b"one\ntw");
        log.write(Stream::Stderr, b"oops\n");
        log.write(Stream::Stdout, b"o\nlast");
        log.flush();
        let content = fs::read_to_string(&path).unwrap();
        let first = content.lines().next().unwrap();
        let head = "{\"log\":\"one\\n\",\"stream\":\"stdout\",\
                    \"attrs\":{\"LANG\":\"C\",\"tag\":\"box\",\"tier\":\"web\"},\"time\":\"2";
        assert!(first.starts_with(head) && first.ends_with("Z\"}"), "{first}");
        let of = |text: &str, stream: &str| (text.to_owned(), stream.to_owned());
        let wanted =
            [of("one\n", "stdout"), of("oops\n", "stderr"), of("two\n", "stdout"), of("last", "stdout")];
        assert_eq!(lines(&path), wanted);
    }

    #[test]
    fn files_follow_one_another_and_the_oldest_goes() {
        let scratch = Scratch::new();
        let path = scratch.join("x-json.log");
        let mut log = open(&path, &[("max-size", "1k"), ("max-file", "3")]);
        let all: Vec<String> = (0..60).map(|number| format!("line {number:04}\n")).collect();
        log.write(Stream::Stdout, all.concat().as_bytes());
        log.flush();
        let kept: String =
            [2, 1, 0].iter().map(|number| texts(&numbered(&path, *number))).collect::<Vec<_>>().concat();
        assert!(all.concat().ends_with(&kept) && kept.len() > 200, "{kept}");
        for number in [1, 2] {
            let length = fs::metadata(numbered(&path, number)).unwrap().len();
            assert!((1000..1100).contains(&length), "{number}: {length}");
        }
        assert!(!numbered(&path, 3).exists());

        let alone = scratch.join("alone");
        let mut log = open(&alone, &[("max-size", "1k")]);
        log.write(Stream::Stdout, all.concat().as_bytes());
        assert!(all.concat().ends_with(&texts(&alone)) && !numbered(&alone, 1).exists());
    }

    #[test]
    fn a_line_that_was_cut_off_is_put_in_order() {
        let scratch = Scratch::new();
        let path = scratch.join("x-json.log");
        open(&path, &[]).write(Stream::Stdout, b"first\n");
        let whole = fs::read(&path).unwrap();
        open(&path, &[]).write(Stream::Stderr, b"second\n");
        let both = fs::read(&path).unwrap();
        for end in whole.len()..=both.len() {
            fs::write(&path, &both[..end]).unwrap();
            open(&path, &[]).write(Stream::Stdout, b"third\n");
            let found = texts(&path);
            let middle = found.strip_prefix("first\n").and_then(|rest| rest.strip_suffix("third\n"));
            assert!("second\n".starts_with(middle.unwrap()), "{end}: {found:?}");
            let is_whole = end >= whole.len() + "{\"log\":\"second\\n".len();
            assert_eq!(middle == Some("second\n"), is_whole, "{end}");
        }
        fs::write(&path, "rubbish").unwrap();
        open(&path, &[]).write(Stream::Stdout, b"third\n");
        assert_eq!(texts(&path), "third\n");
    }

    #[test]
    fn a_file_that_somebody_emptied_goes_on() {
        let scratch = Scratch::new();
        let path = scratch.join("x-json.log");
        let mut log = open(&path, &[("max-size", "1k"), ("max-file", "2")]);
        log.write(Stream::Stdout, "x\n".repeat(10).as_bytes());
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        log.write(Stream::Stdout, "y\n".repeat(11).as_bytes());
        assert_eq!(texts(&path), "y\n".repeat(11));
        assert!(!numbered(&path, 1).exists(), "it was not full");
    }

    #[test]
    fn a_full_disk_loses_lines_and_tells_it() {
        let scratch = Scratch::new();
        let path = scratch.join("x-json.log");
        let mut log = open(&path, &[]);
        log.write(Stream::Stdout, b"one\n");
        let Sink { file, .. } = Sink::of(&mut log);
        let whole = std::mem::replace(file, OpenOptions::new().write(true).open("/dev/full").unwrap());
        log.write(Stream::Stdout, b"two\nthree\n");
        log.write(Stream::Stdout, b"four\n");
        *Sink::of(&mut log).file = whole;
        log.write(Stream::Stdout, b"five\n");
        let told = "[3 lines of output are missing here: No space left on device]\n";
        let of = |text: &str, stream: &str| (text.to_owned(), stream.to_owned());
        assert_eq!(lines(&path), [of("one\n", "stdout"), of(told, "stderr"), of("five\n", "stdout")]);
    }

    /// What a test changes beneath the writer.
    struct Sink<'a> {
        file: &'a mut File,
    }

    impl Sink<'_> {
        fn of(log: &mut Writer) -> Sink<'_> {
            match &mut log.sink {
                super::super::Sink::JsonFile(json) => Sink { file: &mut json.file },
                other => panic!("{other:?}"),
            }
        }
    }
}
