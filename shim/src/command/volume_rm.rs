//! `shim volume rm`

use crate::cli::flags::{Arity, Form, Given, switch};
use crate::cli::{Globals, Verb};
use crate::command::{containers, report};
use crate::container::volumes;
use crate::error::{Kind, Result};
use crate::output;
use crate::volume::users;

pub(super) const VERB: Verb = Verb {
    names: &["volume rm", "volume remove"],
    about: "Remove one or more volumes",
    form: Form {
        usage: "[OPTIONS] VOLUME [VOLUME...]",
        flags: &[&[switch(
            "force",
            "Force the removal of one or more volumes: none of this name is no error",
        )
        .short('f')]],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let containers = containers(globals)?;
    let volumes = volumes::open(&containers)?;
    let mut code = 0;
    for name in given.words()? {
        match users::remove(&volumes, &containers, name) {
            Ok(()) => output::print(&format!("{name}\n"))?,
            Err(error) if given.is_on("force") && error.kind() == Kind::NotFound => {
                output::print(&format!("{name}\n"))?;
            }
            Err(error) => code = code.max(report(&error)),
        }
    }
    Ok(code)
}
