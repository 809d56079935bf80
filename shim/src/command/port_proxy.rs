//! `shim port-proxy`: what holds the published ports of a container that runs. Hidden: its monitor starts it.

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::container::ContainerId;
use crate::error::{Error, Result};
use crate::port::proxy;

pub(super) const VERB: Verb = Verb {
    names: &[proxy::VERB],
    about: "",
    form: Form { usage: "ID", flags: &[], arity: Arity::Exactly(1), flags_end_at_argument: false },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let [id] = words[..] else { return Err(Error::usage("a container")) };
    let containers = super::containers(globals)?;
    proxy::run(&containers, &ContainerId::parse(id)?)?;
    Ok(0)
}
