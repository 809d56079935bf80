//! `shim top`

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::command::containers;
use crate::container::processes;
use crate::error::Result;
use crate::output;

pub(super) const VERB: Verb = Verb {
    names: &["container top", "top"],
    about: "Display the running processes of a container",
    form: Form {
        usage: "CONTAINER [ps OPTIONS]",
        flags: &[],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: true,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let (word, options) = words.split_first().map_or(("", &[][..]), |(word, options)| (*word, options));
    let containers = containers(globals)?;
    let listed = processes::top(&containers, &containers.find(word)?, options)?;
    output::print(&output::table::align_wide(&listed))?;
    Ok(0)
}
