//! `shim diff`

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::command::containers;
use crate::container;
use crate::container::changes::{Kind, sides};
use crate::error::Result;
use crate::escape::one_line;
use crate::output;

pub(super) const VERB: Verb = Verb {
    names: &["container diff", "diff"],
    about: "Inspect changes to files or directories on a container's filesystem",
    form: Form { usage: "CONTAINER", flags: &[], arity: Arity::Exactly(1), flags_end_at_argument: false },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let word = words.first().copied().unwrap_or_default();
    let containers = containers(globals)?;
    let container = containers.get(&containers.find(word)?)?.ok_or_else(|| container::missing(word))?;
    let mut text = String::new();
    for change in sides(&containers, &container)?.changes()? {
        let letter = match change.kind {
            Kind::Modified => 'C',
            Kind::Added => 'A',
            Kind::Deleted => 'D',
        };
        // A name that has an end of line in it stays on its own.
        text.push_str(&format!("{letter} /{}\n", one_line(&String::from_utf8_lossy(&change.path))));
    }
    output::print(&text)?;
    Ok(0)
}
