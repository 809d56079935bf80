//! `shim stop`

use crate::cli::flags::{Arity, Flag, Form, Given, value};
use crate::cli::spec_flags::integer;
use crate::cli::{Globals, Verb};
use crate::command::{containers, for_each};
use crate::container::end::{self, Stop};
use crate::container::signal;
use crate::error::{Error, Result};

/// Of `stop` and `restart`. `--time` is what docker called it before version 28.
pub(super) const FLAGS: [Flag; 3] = [
    value("signal", "string", "Signal to send to the container").short('s'),
    value("timeout", "int", "Seconds to wait before killing the container").short('t').checked(integer),
    value("time", "int", "Seconds to wait before killing the container").hidden().checked(integer),
];

pub(super) const VERB: Verb = Verb {
    names: &["container stop", "stop"],
    about: "Stop one or more running containers",
    form: Form {
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        flags: &[&FLAGS],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let (how, containers) = (how(given)?, containers(globals)?);
    for_each(given, |word| end::stop(&containers, &containers.find(word)?, how))
}

/// What the flags say.
pub(super) fn how(given: &Given) -> Result<Stop> {
    let signal = given.text("signal")?.filter(|text| !text.is_empty()).map(signal::number).transpose()?;
    let seconds = match (given.text("timeout")?, given.text("time")?) {
        (Some(_), Some(_)) => {
            return Err(Error::usage("conflicting options: cannot specify both --timeout and --time"));
        }
        (one, other) => one.or(other),
    };
    Ok(Stop { signal, timeout: seconds.and_then(|seconds| seconds.parse().ok()) })
}
