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

struct Screen<W> {
    output: W,
    /// In columns.
    width: usize,
    layers: Vec<Shown>,
}

struct Shown {
    number: usize,
    status: Status,
    since: Instant,
}

impl<W: Write> Terminal<W> {
    /// On this terminal, which is `width` columns wide.
    pub fn new(output: W, width: usize) -> Terminal<W> {
        Terminal { screen: Mutex::new(Screen { output, width: width.max(20), layers: Vec::new() }) }
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
        let text = line(id, status, self.width);
        let Some(at) = self.layers.iter().position(|shown| shown.number == number) else {
            self.layers.push(Shown { number, status, since: now });
            writeln!(self.output, "{text}")?;
            return self.output.flush();
        };
        let up = self.layers.len() - at;
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
        write!(self.output, "\x1b[{up}A\x1b[2K\r{text}\x1b[{up}B\r")?;
        self.output.flush()
    }
}

/// `4f4fb700ef54: Downloading [=====>      ]  10.2MB/29.1MB`, within this many columns.
fn line(id: &str, status: Status, width: usize) -> String {
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
        let terminal = Terminal::new(Vec::new(), 80);
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
    fn a_bar_fits_the_terminal() {
        assert_eq!(line("a", Status::Downloading(5, 10), 45), "a: Downloading [=========>        ]  5B/10B");
        assert_eq!(line("a", Status::Downloading(10, 10), 30), "a: Downloading 10B/10B");
        for width in 20..200 {
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
