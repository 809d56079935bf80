//! `shim load`

use std::fmt::Write as _;
use std::fs::File;
use std::io::{IsTerminal as _, Read};
use std::path::Path;

use crate::cli::flags::{Arity, Form, Given, switch, value};
use crate::cli::{Globals, Verb};
use crate::command::{platform, store};
use crate::error::{Context, Error, Result};
use crate::event;
use crate::load::load;
use crate::output;
use crate::rootless;

pub(super) const VERB: Verb = Verb {
    names: &["image load", "load"],
    about: "Load images from a tar archive or standard input",
    form: Form {
        usage: "[OPTIONS]",
        flags: &[&[
            value("input", "string", "Read from tar archive file, instead of STDIN").short('i'),
            value(
                "platform",
                "string",
                "Of images for several platforms, load the one for this platform (e.g., \"linux/amd64\")",
            ),
            switch("quiet", "Suppress the load output: there is no progress to be seen anyway").short('q'),
        ]],
        arity: Arity::Exactly(0),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let platform = platform(given)?;
    let input = open(given.path("input"))?;
    let store = store(globals)?;
    let mut text = String::new();
    for loaded in load(store.folders.root(), input, platform.as_ref(), rootless::who()?)? {
        event::image(&store, "load", Some(&loaded.id), &loaded.id.to_string(), &loaded.id.to_string());
        if loaded.names.is_empty() {
            let _ = writeln!(text, "Loaded image ID: {}", loaded.id);
        }
        for name in loaded.names {
            let _ = writeln!(text, "Loaded image: {name}");
        }
    }
    output::print(&text)?;
    Ok(0)
}

/// The file, or standard input.
fn open(path: Option<&Path>) -> Result<Box<dyn Read>> {
    match path {
        Some(path) if path != "-" => Ok(Box::new(File::open(path).during(|| format!("open {path:?}"))?)),
        _ if std::io::stdin().is_terminal() => {
            Err(Error::usage("requested load from stdin, but stdin is empty"))
        }
        _ => Ok(Box::new(std::io::stdin())),
    }
}
