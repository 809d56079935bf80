//! `shim monitor`: what looks after a container while it runs. Hidden: other commands start it.

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::container::ContainerId;
use crate::error::{Error, Result};
use crate::monitor;

pub(super) const VERB: Verb = Verb {
    names: &[monitor::VERB],
    about: "",
    form: Form { usage: "ID DESCRIPTOR", flags: &[], arity: Arity::Exactly(2), flags_end_at_argument: false },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let [id, descriptor] = words[..] else { return Err(Error::usage("a container and a descriptor")) };
    let starter = monitor::inherited(descriptor)?;
    let containers = super::containers(globals)?;
    monitor::run(containers, ContainerId::parse(id)?, starter)?;
    Ok(0)
}
