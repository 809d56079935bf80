//! `shim network inspect`

use crate::cli::flags::{Arity, Form, Given, switch};
use crate::cli::{Globals, Verb};
use crate::command::containers;
use crate::command::inspect::{FORMAT, tell};
use crate::container::store::Containers;
use crate::error::{Error, Kind, Result};
use crate::network::store::Networks;
use crate::network::{NAMES_ONLY, told};
use crate::output::value::Value;

pub(super) const VERB: Verb = Verb {
    names: &["network inspect"],
    about: "Display detailed information on one or more networks",
    form: Form {
        usage: "[OPTIONS] NETWORK [NETWORK...]",
        flags: &[&[
            FORMAT,
            switch("verbose", "Verbose output for diagnostics: there is none beside").short('v'),
        ]],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let containers = containers(globals)?;
    tell(given, |word| inspected(&containers, word))
}

/// A network with who is in it.
///
/// # Errors
/// None of this name, in Docker's words; the system's reason.
pub(super) fn inspected(containers: &Containers, word: &str) -> Result<Value> {
    let networks = Networks::of(containers);
    if NAMES_ONLY.contains(&word)
        && let Some(network) = told::names_only().iter().find(|network| network.name == word)
    {
        return Ok(told::inspect(network, &[]));
    }
    let network = networks.find(word).map_err(|error| match error.kind() {
        Kind::NotFound => Error::not_found(format!("network {word} not found")),
        _ => error,
    })?;
    Ok(told::inspect(&network, &networks.leases(containers, &network.id)?))
}
