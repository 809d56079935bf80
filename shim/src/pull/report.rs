//! What a pull says while it goes on: Docker's lines, or on a terminal a line for each layer that changes in place.
//!
//! Nothing of it is stored or decided here; a line that cannot be written is not worth ending a pull for.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What happens to a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is to come.
    Pulling,
    /// Others come first.
    Waiting,
    /// So many bytes of so many have come.
    Downloading(u64, u64),
    /// All has come.
    Verifying,
    /// It is what it has to be.
    Downloaded,
    /// So many packed bytes of so many are on the disk as files.
    Extracting(u64, u64),
    /// It is complete.
    Complete,
    /// It was there before.
    Exists,
}

impl Status {
    fn words(self) -> &'static str {
        match self {
            Status::Pulling => "Pulling fs layer",
            Status::Waiting => "Waiting",
            Status::Downloading(..) => "Downloading",
            Status::Verifying => "Verifying Checksum",
            Status::Downloaded => "Download complete",
            Status::Extracting(..) => "Extracting",
            Status::Complete => "Pull complete",
            Status::Exists => "Already exists",
        }
    }

    fn amount(self) -> Option<(u64, u64)> {
        match self {
            Status::Downloading(done, whole) | Status::Extracting(done, whole) => Some((done, whole)),
            _ => None,
        }
    }
}

/// Who is told.
pub trait Report: Sync {
    /// A line of its own.
    fn line(&self, text: &str);
    /// A new image begins: its layers are others.
    fn begin(&self) {}
    /// Something about the layer with this number and short id.
    fn layer(&self, number: usize, id: &str, status: Status);
}

/// Says nothing.
pub struct Quiet;

impl Report for Quiet {
    fn line(&self, _: &str) {}

    fn layer(&self, _: usize, _: &str, _: Status) {}
}

/// A line for each thing that happens.
pub struct Lines<W> {
    output: Mutex<W>,
}

impl<W: Write> Lines<W> {
    /// Into this.
    pub fn new(output: W) -> Lines<W> {
        Lines { output: Mutex::new(output) }
    }

    fn write(&self, text: &str) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(output, "{text}").and_then(|()| output.flush());
    }
}

impl<W: Write + Send> Report for Lines<W> {
    fn line(&self, text: &str) {
        self.write(text);
    }

    fn layer(&self, _: usize, id: &str, status: Status) {
        if status.amount().is_none() {
            self.write(&format!("{id}: {}", status.words()));
        }
    }
}

/// Between two pictures of the same layer's progress.
const PERIOD: Duration = Duration::from_millis(100);

/// A line for each layer, which changes in place.
pub struct Terminal<W> {
    screen: Mutex<Screen<W>>,
}

/// Rows and columns of a terminal; it may be made smaller or larger at any moment.
pub type Size = (usize, usize);

struct Screen<W> {
    output: W,
    size: Box<dyn Fn() -> Size + Send>,
    layers: Vec<Shown>,
}

struct Shown {
    number: usize,
    id: String,
    status: Status,
    since: Instant,
    /// Width of its line, as it was written.
    columns: usize,
}

impl<W: Write> Terminal<W> {
    /// On this terminal, whose size is asked for before each picture.
    pub fn new(output: W, size: impl Fn() -> Size + Send + 'static) -> Terminal<W> {
        Terminal { screen: Mutex::new(Screen { output, size: Box::new(size), layers: Vec::new() }) }
    }
}

impl<W: Write + Send> Report for Terminal<W> {
    fn line(&self, text: &str) {
        let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(screen.output, "{text}").and_then(|()| screen.output.flush());
        // What stands above this line is not touched any more.
        screen.layers.clear();
    }

    fn begin(&self) {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).layers.clear();
    }

    fn layer(&self, number: usize, id: &str, status: Status) {
        let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = screen.show(number, id, status);
    }
}

impl<W: Write> Screen<W> {
    fn show(&mut self, number: usize, id: &str, status: Status) -> std::io::Result<()> {
        let now = Instant::now();
        let Some(at) = self.layers.iter().position(|shown| shown.number == number) else {
            let (_, columns) = (self.size)();
            self.layers.push(Shown { number, id: id.to_owned(), status, since: now, columns: 0 });
            return self.write_anew(self.layers.len() - 1, columns);
        };
        let shown = &mut self.layers[at];
        let goes_on = shown.status.words() == status.words();
        let is_whole = status.amount().is_some_and(|(done, whole)| done == whole);
        if goes_on && (shown.status == status || (now - shown.since < PERIOD && !is_whole)) {
            return Ok(());
        }
        // Bytes come and files are made at the same time: what is written to the disk is news only after that.
        if matches!((shown.status, status), (Status::Downloading(..), Status::Extracting(..))) {
            return Ok(());
        }
        (shown.status, shown.since) = (status, now);
        let (rows, columns) = (self.size)();
        // The terminal has become narrower. Some wrap then what they show, others cut it off: nobody knows which line
        // is where, so that all of them are written once more below.
        if self.layers.iter().any(|shown| shown.columns > columns) {
            return self.write_anew(0, columns);
        }
        let up = self.layers.len() - at;
        // What has left the terminal at its top is out of reach.
        if up >= rows {
            return Ok(());
        }
        let text = line(id, status, columns);
        self.layers[at].columns = text.len();
        write!(self.output, "\x1b[{up}A\x1b[2K\r{text}\x1b[{up}B\r")?;
        self.output.flush()
    }

    /// Writes the lines from this one on where the cursor is.
    fn write_anew(&mut self, from: usize, columns: usize) -> std::io::Result<()> {
        for shown in &mut self.layers[from..] {
            let text = line(&shown.id, shown.status, columns);
            shown.columns = text.len();
            writeln!(self.output, "{text}")?;
        }
        self.output.flush()
    }
}

/// `4f4fb700ef54: Downloading [=====>      ]  10.2MB/29.1MB`, within this many columns. The last one stays free, which
/// some terminals wrap behind.
fn line(id: &str, status: Status, width: usize) -> String {
    let width = width.max(2);
    let words = format!("{id}: {}", status.words());
    let Some((done, whole)) = status.amount() else { return words.chars().take(width - 1).collect() };
    let numbers = format!("{}/{}", bytes(done), bytes(whole));
    // As wide as Docker's, where there is room.
    let room = width.saturating_sub(words.len() + numbers.len() + 7).min(50);
    let text = if room < 4 {
        format!("{words} {numbers}")
    } else {
        let parts = u64::try_from(room).unwrap_or_default();
        let full =
            usize::try_from((done.min(whole) * parts).checked_div(whole).unwrap_or(parts)).unwrap_or(room);
        let head = if full < room { ">" } else { "" };
        format!("{words} [{}{head}{}]  {numbers}", "=".repeat(full), " ".repeat(room - full - head.len()))
    };
    text.chars().take(width - 1).collect()
}

/// Decimal units with four digits, as Docker has them.
#[allow(clippy::cast_precision_loss)]
fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            let digits = if value < 10.0 {
                3
            } else if value < 100.0 {
                2
            } else {
                1
            };
            let text = format!("{value:.digits$}");
            let text =
                if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
            return format!("{text}{unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.0}PB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_what_happens_and_no_progress() {
        let lines = Lines::new(Vec::new());
        lines.line("latest: Pulling from library/x");
        for status in [Status::Pulling, Status::Downloading(1, 2), Status::Downloaded, Status::Complete] {
            lines.layer(0, "0123456789ab", status);
        }
        let text = String::from_utf8(lines.output.into_inner().unwrap()).unwrap();
        let told =
            "0123456789ab: Pulling fs layer\n0123456789ab: Download complete\n0123456789ab: Pull complete\n";
        assert_eq!(text, format!("latest: Pulling from library/x\n{told}"));
    }

    #[test]
    fn a_terminal_has_a_line_for_each_layer_that_changes_in_place() {
        let terminal = Terminal::new(Vec::new(), || (24, 80));
        terminal.layer(0, "a", Status::Pulling);
        terminal.layer(1, "b", Status::Pulling);
        terminal.layer(0, "a", Status::Downloading(0, 10));
        terminal.layer(0, "a", Status::Downloading(1, 10));
        terminal.layer(0, "a", Status::Extracting(1, 10));
        terminal.layer(1, "b", Status::Complete);
        let text = String::from_utf8(terminal.screen.into_inner().unwrap().output).unwrap();
        let begun = "a: Pulling fs layer\nb: Pulling fs layer\n";
        let first = format!("\x1b[2A\x1b[2K\ra: Downloading [>{}]  0B/10B\x1b[2B\r", " ".repeat(49));
        assert_eq!(text, format!("{begun}{first}\x1b[1A\x1b[2K\rb: Pull complete\x1b[1B\r"), "{text:?}");
    }

    #[test]
    fn a_terminal_that_is_resized_has_no_line_that_is_wrapped_and_none_in_the_wrong_place() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering};
        let size = Arc::new([AtomicUsize::new(24), AtomicUsize::new(80)]);
        let asked = Arc::clone(&size);
        let terminal = Terminal::new(Vec::new(), move || {
            (asked[0].load(Ordering::Relaxed), asked[1].load(Ordering::Relaxed))
        });
        let printed =
            || String::from_utf8(std::mem::take(&mut terminal.screen.lock().unwrap().output)).unwrap();
        terminal.layer(0, "a", Status::Pulling);
        terminal.layer(1, "b", Status::Pulling);
        printed();
        // Wide enough for what is there.
        size[1].store(19, Ordering::Relaxed);
        terminal.layer(0, "a", Status::Waiting);
        assert_eq!(printed(), "\x1b[2A\x1b[2K\ra: Waiting\x1b[2B\r");
        size[1].store(18, Ordering::Relaxed);
        terminal.layer(0, "a", Status::Complete);
        assert_eq!(printed(), "a: Pull complete\nb: Pulling fs lay\n");
        terminal.layer(1, "b", Status::Complete);
        assert_eq!(printed(), "\x1b[1A\x1b[2K\rb: Pull complete\x1b[1B\r");
        // The first of two lines is above the top, as the last row is the cursor's.
        size[0].store(2, Ordering::Relaxed);
        terminal.layer(0, "a", Status::Exists);
        terminal.layer(1, "b", Status::Exists);
        assert_eq!(printed(), "\x1b[1A\x1b[2K\rb: Already exists\x1b[1B\r");
    }

    #[test]
    fn a_bar_fits_the_terminal() {
        assert_eq!(line("a", Status::Downloading(5, 10), 45), "a: Downloading [=========>        ]  5B/10B");
        assert_eq!(line("a", Status::Downloading(10, 10), 30), "a: Downloading 10B/10B");
        for width in 2..200 {
            for done in [0, 1, 999_999, 1_000_000] {
                assert!(line("0123456789ab", Status::Extracting(done, 1_000_000), width).len() < width);
            }
        }
        for (count, text) in
            [(0, "0B"), (999, "999B"), (1500, "1.5kB"), (12_345_678, "12.35MB"), (100_000_000, "100MB")]
        {
            assert_eq!(bytes(count), text);
        }
    }
}
