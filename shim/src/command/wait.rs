//! `shim wait`

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::command::{containers, report};
use crate::container::end;
use crate::error::Result;
use crate::output;

pub(super) const VERB: Verb = Verb {
    names: &["container wait", "wait"],
    about: "Block until one or more containers stop, then print their exit codes",
    form: Form {
        usage: "CONTAINER [CONTAINER...]",
        flags: &[],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run,
};

/// One after the other: all have to end, and the codes stand in the order of the names.
fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let containers = containers(globals)?;
    let mut code = 0;
    for word in given.words()? {
        match containers.find(word).and_then(|id| end::wait(&containers, &id)) {
            Ok(status) => output::print(&format!("{status}\n"))?,
            Err(error) => code = report(&error),
        }
    }
    Ok(code)
}
