//! `shim stats`

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use crate::cli::flags::{Arity, Form, Given, switch, value};
use crate::cli::{Globals, Verb};
use crate::command::containers;
use crate::container::attend::attend;
use crate::container::stats::Sample;
use crate::container::store::{Containers, Found};
use crate::container::{ContainerId, listing};
use crate::error::{Context, Error, Kind, Result};
use crate::escape::harmless;
use crate::output::value::Value;
use crate::output::{self, format, human};

pub(super) const VERB: Verb = Verb {
    names: &["container stats", "stats"],
    about: "Display a live stream of container(s) resource usage statistics",
    form: Form {
        usage: "[OPTIONS] [CONTAINER...]",
        flags: &[&[
            switch("all", "Show all containers (default shows just running)").short('a'),
            value("format", "string", format::HELP),
            switch("no-stream", "Disable streaming stats and only pull the first result"),
            switch("no-trunc", "Do not truncate output"),
        ]],
        arity: Arity::AtLeast(0),
        flags_end_at_argument: false,
    },
    run,
};

const TABLE: &str =
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";
const HEADERS: [(&str, &str); 9] = [
    ("BlockIO", "BLOCK I/O"),
    ("CPUPerc", "CPU %"),
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("MemPerc", "MEM %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("Name", "NAME"),
    ("NetIO", "NET I/O"),
    ("PIDs", "PIDS"),
];
/// How long lies between two looks, as in docker.
const INTERVAL: Duration = Duration::from_secs(1);

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let containers = containers(globals)?;
    let words = given.words()?;
    let format = given.text("format")?.filter(|format| !format.is_empty()).unwrap_or("table");
    let looks = Looks {
        containers: &containers,
        named: words.iter().map(|word| Ok((containers.find(word)?, *word))).collect::<Result<_>>()?,
        all: given.is_on("all"),
        is_short: !given.is_on("no-trunc"),
    };
    // What cannot be shown is told before anybody waits for it.
    format::render(format, TABLE, &HEADERS, &[])?;
    let mut before = looks.take()?;
    let mut screen = Screen { is_first: true, is_terminal: std::io::stdout().is_terminal() };
    loop {
        std::thread::sleep(INTERVAL);
        let now = looks.take()?;
        let rows: Vec<Value> = now.iter().map(|one| looks.row(one, &before)).collect();
        let text = format::render(format, TABLE, &HEADERS, &rows)?;
        if given.is_on("no-stream") {
            output::print(&text)?;
            return Ok(0);
        }
        screen.show(&text)?;
        if now.is_empty() && !looks.named.is_empty() {
            // All that was asked for is gone.
            return Ok(0);
        }
        before = now;
    }
}

/// One container at one moment.
struct Look<'a> {
    word: Option<&'a str>,
    found: Found,
    sample: Sample,
}

/// How containers are looked at.
struct Looks<'a> {
    containers: &'a Containers,
    named: Vec<(ContainerId, &'a str)>,
    all: bool,
    is_short: bool,
}

impl<'a> Looks<'a> {
    /// Those that are meant, as they are now: the latest first, or as they were named.
    fn take(&self) -> Result<Vec<Look<'a>>> {
        let ids: Vec<(ContainerId, Option<&str>)> = if self.named.is_empty() {
            self.containers.ids()?.into_iter().map(|id| (id, None)).collect()
        } else {
            self.named.iter().map(|(id, word)| (id.clone(), Some(*word))).collect()
        };
        let mut looks = Vec::new();
        for (id, word) in ids {
            let found = match attend(self.containers, &id) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err(error) if error.kind() == Kind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if word.is_some() || self.all || found.state.status.has_process() {
                let sample = Sample::take(&found.container, &found.state);
                looks.push(Look { word, found, sample });
            }
        }
        if self.named.is_empty() {
            let age =
                |look: &Look| look.found.container.created.parse::<jiff::Timestamp>().unwrap_or_default();
            looks.sort_by_key(|look| std::cmp::Reverse(age(look)));
        }
        Ok(looks)
    }

    fn row(&self, look: &Look, before: &[Look]) -> Value {
        let (container, sample) = (&look.found.container, &look.sample);
        let earlier = before.iter().find(|other| other.found.container.id == container.id);
        let earlier = earlier.map_or(sample, |other| &other.sample);
        let id = listing::id(container, self.is_short);
        let percent = |number: f64| format!("{number:.2}%");
        let pair = |(one, other): (u64, u64)| format!("{} / {}", human::size(one), human::size(other));
        let memory = format!("{} / {}", human::bytes(sample.memory), human::bytes(sample.memory_limit));
        let members = [
            ("BlockIO", pair(sample.block)),
            ("CPUPerc", percent(sample.cpu_since(earlier))),
            ("Container", look.word.map_or_else(|| listing::id(container, true).to_owned(), str::to_owned)),
            ("ID", id.to_owned()),
            ("MemPerc", percent(sample.memory_percent())),
            ("MemUsage", memory),
            ("Name", container.name.clone()),
            ("NetIO", pair(sample.network)),
            ("PIDs", sample.pids.to_string()),
        ];
        Value::Object("stats", members.into_iter().map(|(name, text)| (name, text.into())).collect())
    }
}

/// Where figures replace the ones before; what is no terminal gets one after the other.
struct Screen {
    is_first: bool,
    is_terminal: bool,
}

impl Screen {
    fn show(&mut self, text: &str) -> Result<()> {
        if !self.is_terminal {
            return output::print(text);
        }
        // To the first place; what is left of a longer line goes, and what is left below (console_codes(4)).
        let clear = if std::mem::take(&mut self.is_first) { "\x1b[2J" } else { "" };
        let shown = harmless(text).replace('\n', "\x1b[K\n");
        let mut stdout = std::io::stdout().lock();
        let written = write!(stdout, "{clear}\x1b[H{shown}\x1b[J").and_then(|()| stdout.flush());
        written.map_err(Error::from).during(|| "write to standard output".into())
    }
}
