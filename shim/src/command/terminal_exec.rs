//! `shim terminal-exec`: what has the terminal of an `exec`. Hidden: `exec` starts it.

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::container::ContainerId;
use crate::error::{Error, Result};
use crate::monitor::{self, terminal_exec};

pub(super) const VERB: Verb = Verb {
    names: &[terminal_exec::VERB],
    about: "",
    form: Form {
        usage: "ID DESCRIPTOR DESCRIPTOR",
        flags: &[],
        arity: Arity::Exactly(3),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let [id, process, caller] = words[..] else {
        return Err(Error::usage("a container and two descriptors"));
    };
    let (process, caller) = (monitor::inherited(process)?, monitor::inherited(caller)?);
    let containers = super::containers(globals)?;
    terminal_exec::run(&containers, &ContainerId::parse(id)?, process, caller)?;
    Ok(0)
}
