//! What a pull shows on a terminal, as somebody before the screen sees it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod pulled;

use std::fs;
use std::sync::{Arc, Condvar, Mutex};

use integration::{Fake, ImageMaker, Layout, PATIENCE, Running, Shim, Terminal, is_root, requires};
use pulled::{contents, layout, shim_call};

/// The picture on a terminal that knows no more than vt100's lines: what was printed so far.
struct Screen {
    rows: usize,
    columns: usize,
    /// With what has left the screen at its top.
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Screen {
    fn of(text: &str, rows: usize, columns: usize) -> Vec<String> {
        let mut screen = Screen { rows, columns, lines: vec![Vec::new()], row: 0, column: 0 };
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            match char {
                '\r' => screen.column = 0,
                '\n' => screen.down(),
                '\x1b' => {
                    assert_eq!(chars.next(), Some('['), "{text:?}");
                    let digits: String = chars.by_ref().take_while(char::is_ascii_digit).collect();
                    // take_while has eaten the letter: it is the one behind the digits.
                    let at = text.len() - chars.as_str().len() - 1;
                    screen.command(text.as_bytes()[at], digits.parse().unwrap());
                }
                char => screen.put(char),
            }
        }
        screen.lines.into_iter().map(|line| line.into_iter().collect()).collect()
    }

    fn top(&self) -> usize {
        self.lines.len().saturating_sub(self.rows)
    }

    fn down(&mut self) {
        self.row += 1;
        if self.row == self.lines.len() {
            self.lines.push(Vec::new());
        }
    }

    fn command(&mut self, letter: u8, number: usize) {
        match letter {
            // What has left the screen is out of reach.
            b'A' => self.row = self.row.saturating_sub(number).max(self.top()),
            b'B' => self.row = (self.row + number).min(self.lines.len() - 1),
            b'K' => self.lines[self.row].clear(),
            letter => panic!("command {:?}", char::from(letter)),
        }
    }

    fn put(&mut self, char: char) {
        if self.column == self.columns {
            self.column = 0;
            self.down();
        }
        let line = &mut self.lines[self.row];
        line.resize(line.len().max(self.column + 1), ' ');
        line[self.column] = char;
        self.column += 1;
    }
}

/// An image of five layers.
fn image(shim: &Shim) -> Layout {
    let maker = ["a", "b", "c", "d"].iter().fold(ImageMaker::busybox(), |maker, name| {
        maker.layer(name, |folder| fs::write(folder.join(name), name).unwrap())
    });
    layout(&shim.folder().join("layout"), &maker)
}

fn short(layout: &Layout) -> Vec<String> {
    layout.layers.iter().map(|(digest, _)| digest["sha256:".len()..][..12].to_owned()).collect()
}

/// A pull at a terminal of this size.
fn pull(shim: &Shim, registry: &Fake, (rows, columns): (u16, u16), term: &str) -> (Terminal, Running) {
    let (terminal, other) = Terminal::pair();
    terminal.resize(rows, columns);
    let call = shim_call(shim, &["pull", &format!("{}/box:1", registry.host())]).env("TERM", term);
    (terminal, call.on_terminal(other).spawn())
}

/// The lines of the layers in a picture: one for each of them, in the image's order.
#[track_caller]
fn of_layers<'a>(picture: &'a [String], layers: &[String]) -> Vec<&'a str> {
    let is_layers = |line: &&String| layers.iter().any(|id| line.starts_with(id.as_str()));
    let before_end = picture.iter().take_while(|line| !line.starts_with("Digest: "));
    let lines: Vec<&String> = before_end.filter(is_layers).collect();
    assert_eq!(lines.len(), layers.len(), "one line for each layer: {picture:#?}");
    lines.iter().zip(layers).map(|(line, id)| line.strip_prefix(id.as_str()).expect("in order")).collect()
}

#[test]
fn each_layer_has_a_line_that_ends_in_pull_complete_on_a_terminal_of_any_width() {
    requires!(is_root(), "unpacking layers needs root");
    for (columns, end) in [(80, ": Pull complete"), (20, ": Pull "), (10, "")] {
        let shim = Shim::in_memory();
        let layout = image(&shim);
        let layers: Vec<String> =
            short(&layout).into_iter().map(|id| id.chars().take(columns - 1).collect()).collect();
        let registry = Fake::start(move |request| layout.answer(request));
        let size = (24, u16::try_from(columns).unwrap());
        let (mut terminal, running) = pull(&shim, &registry, size, "xterm");
        running.wait().expect_ok();
        let text = terminal.read_to_end();
        let picture = Screen::of(&text, 100, columns);
        let lines = of_layers(&picture, &layers);
        assert!(lines.iter().all(|line| *line == end), "{columns}: {picture:#?}");
        assert!(picture.concat().contains("Status: Downloaded newer image for"), "{picture:#?}");
    }
}

#[test]
fn what_has_left_a_low_terminal_stays_as_it_was() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::in_memory();
    let layout = image(&shim);
    let layers = short(&layout);
    let registry = Fake::start(move |request| layout.answer(request));
    let (mut terminal, running) = pull(&shim, &registry, (4, 80), "xterm");
    running.wait().expect_ok();
    let text = terminal.read_to_end();
    assert!(!text.contains("\x1b[4A") && !text.contains("\x1b[5A"), "{text:?}");
    let picture = Screen::of(&text, 4, 80);
    let lines = of_layers(&picture, &layers);
    assert!(lines[2..].iter().all(|line| *line == ": Pull complete"), "{picture:#?}");
}

#[test]
fn a_terminal_that_becomes_narrower_gets_a_new_picture() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::in_memory();
    let layout = image(&shim);
    let layers = short(&layout);
    // The lowest layer comes when the test says so, and so no layer is complete before.
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let (held, last) = (Arc::clone(&gate), layout.layers[0].0.clone());
    let registry = Fake::start(move |request| {
        if request.target.ends_with(&last) {
            let (open, changed) = &*held;
            let open = open.lock().unwrap();
            drop(changed.wait_timeout_while(open, PATIENCE, |open| !*open).unwrap());
        }
        layout.answer(request)
    });
    let (mut terminal, running) = pull(&shim, &registry, (24, 80), "xterm");
    for id in &layers[1..] {
        terminal.read_until(&format!("{id}: Download complete"));
    }
    let before = terminal.read_until(&layers[0]).len();
    terminal.resize(24, 29);
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    running.wait().expect_ok();
    let text = terminal.read_to_end();
    // Lines of more columns are there, which a terminal may have wrapped, or not: they are out of the game.
    let picture = Screen::of(&text[before..], 24, 29);
    let first = picture.iter().rposition(|line| line.starts_with(&layers[0])).expect("a line of the first");
    let lines = of_layers(&picture[first..], &layers);
    assert!(lines.iter().all(|line| *line == ": Pull complete"), "{picture:#?}");
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::in_memory();
    let layout = image(&shim);
    let layers = short(&layout);
    let registry = Fake::start(move |request| layout.answer(request));
    let (mut terminal, running) = pull(&shim, &registry, (24, 80), "dumb");
    running.wait().expect_ok();
    let text = terminal.read_to_end();
    assert!(!text.contains('\x1b'), "{text:?}");
    for id in &layers {
        assert_eq!(text.matches(&format!("{id}: Pulling fs layer\r\n")).count(), 1, "{text}");
        assert_eq!(text.matches(&format!("{id}: Pull complete\r\n")).count(), 1, "{text}");
    }
    let kept = contents(&shim.root());
    assert!(kept.keys().all(|path| !path.starts_with("ingest/")), "{kept:#?}");
}
