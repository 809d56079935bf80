//! `shim rm`

use crate::cli::flags::{Arity, Form, Given, switch};
use crate::cli::{Globals, Verb};
use crate::command::{containers, report};
use crate::container::remove::remove;
use crate::error::{Error, Kind, Result};
use crate::output;

pub(super) const VERB: Verb = Verb {
    names: &["container rm", "container remove", "rm"],
    about: "Remove one or more containers",
    form: Form {
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        flags: &[&[
            switch("force", "Force the removal of a running container (uses SIGKILL)").short('f'),
            switch("link", "Remove the specified link: a link goes with its container").short('l').hidden(),
            switch("volumes", "Remove anonymous volumes associated with the container").short('v'),
        ]],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    if given.is_on("link") {
        return Err(Error::usage("--link is not supported: a link goes with the container that has it"));
    }
    let (containers, by_force) = (containers(globals)?, given.is_on("force"));
    let mut code = 0;
    for word in given.words()? {
        let name = word.trim_matches('/');
        if name.is_empty() {
            code = code.max(report(&Error::usage("Container name cannot be empty")));
            continue;
        }
        match remove(&containers, name, by_force, given.is_on("volumes")) {
            Ok(()) => output::print(&format!("{word}\n"))?,
            // By force, what is not there is as it should be.
            Err(error) if by_force && error.kind() == Kind::NotFound => drop(report(&error)),
            Err(error) => code = code.max(report(&error)),
        }
    }
    Ok(code)
}
