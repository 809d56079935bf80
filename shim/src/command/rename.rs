//! `shim rename`

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::command::containers;
use crate::container::name;
use crate::error::{Error, Result};
use crate::event;
use crate::network::endpoint;

pub(super) const VERB: Verb = Verb {
    names: &["container rename", "rename"],
    about: "Rename a container",
    form: Form {
        usage: "CONTAINER NEW_NAME",
        flags: &[],
        arity: Arity::Exactly(2),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let [old, new] = words[..] else { return Err(Error::usage("requires 2 arguments")) };
    if old.is_empty() || new.is_empty() {
        return Err(Error::usage("Neither old nor new names may be empty"));
    }
    let containers = containers(globals)?;
    let id = containers.find(old)?;
    let new = name::parse(new)?;
    let _lock = containers.operation(&id)?;
    let before = containers.rename(&id, new)?;
    if let Some(container) = containers.get(&id)? {
        endpoint::rename(&containers, &container)?;
        event::emit(containers.state_root(), "rename", &container, &[("oldName", &format!("/{before}"))]);
    }
    Ok(0)
}
