//! `shim kill`

use crate::cli::flags::{Arity, Form, Given, value};
use crate::cli::{Globals, Verb};
use crate::command::{containers, for_each};
use crate::container::{end, signal};
use crate::error::{Context as _, Result};

pub(super) const VERB: Verb = Verb {
    names: &["container kill", "kill"],
    about: "Kill one or more running containers",
    form: Form {
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        flags: &[&[
            value("signal", "string", "Signal to send to the container (default \"SIGKILL\")").short('s')
        ]],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let signal = given.text("signal")?.filter(|text| !text.is_empty());
    let signal = signal.map_or(Ok(signal::KILL), signal::number)?;
    let containers = containers(globals)?;
    for_each(given, |word| {
        let id = containers.find(word)?;
        end::kill(&containers, &id, signal).during(|| format!("cannot kill container: {word}"))
    })
}
