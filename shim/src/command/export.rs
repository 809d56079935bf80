//! `shim export`

use crate::cli::flags::{Arity, Form, Given, value};
use crate::cli::{Globals, Verb};
use crate::command::containers;
use crate::container::export::export;
use crate::error::Result;
use crate::escape::one_line;
use crate::output::{self, archive};

pub(super) const VERB: Verb = Verb {
    names: &["container export", "export"],
    about: "Export a container's filesystem as a tar archive",
    form: Form {
        usage: "[OPTIONS] CONTAINER",
        flags: &[&[value("output", "string", "Write to a file, instead of STDOUT").short('o')]],
        arity: Arity::Exactly(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let containers = containers(globals)?;
    let id = containers.find(words.first().copied().unwrap_or_default())?;
    let changed = archive::write(given.path("output"), |out| export(&containers, &id, out))?;
    for path in &changed {
        output::complain(&format!(
            "WARNING: {} became shorter while it was read: zeroes stand in place of the rest",
            one_line(path)
        ));
    }
    Ok(0)
}
