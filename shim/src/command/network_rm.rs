//! `shim network rm`

use crate::cli::flags::{Arity, Form, Given, switch};
use crate::cli::{Globals, Verb};
use crate::command::{containers, report};
use crate::container::store::Containers;
use crate::error::{Error, Kind, Result};
use crate::event;
use crate::network::filter::is_custom;
use crate::network::store::Networks;
use crate::network::{Network, told};
use crate::output;

pub(super) const VERB: Verb = Verb {
    names: &["network rm", "network remove"],
    about: "Remove one or more networks",
    form: Form {
        usage: "NETWORK [NETWORK...]",
        flags: &[&[switch("force", "Do not error if the network does not exist").short('f')]],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let containers = containers(globals)?;
    let mut code = 0;
    for word in given.words()? {
        match find(&containers, word).and_then(|network| remove(&containers, &network)) {
            Ok(()) => output::print(&format!("{word}\n"))?,
            Err(error) if error.kind() == Kind::NotFound && given.is_on("force") => {}
            Err(error) => code = report(&error),
        }
    }
    Ok(code)
}

fn find(containers: &Containers, word: &str) -> Result<Network> {
    let denied = |name: &str| {
        Error::new(Kind::Denied, format!("{name} is a pre-defined network and cannot be removed"))
    };
    if matches!(word, "bridge" | "default") {
        return Err(denied(word));
    }
    if let Some(network) = told::name_only(word) {
        return Err(denied(&network.name));
    }
    let network = Networks::of(containers).find(word)?;
    if is_custom(&network) { Ok(network) } else { Err(denied(&network.name)) }
}

/// Removes a network and tells of it.
///
/// # Errors
/// Those of [`Networks::remove`].
pub(super) fn remove(containers: &Containers, network: &Network) -> Result<()> {
    Networks::of(containers).remove(containers, network)?;
    let attributes = [("name", &*network.name), ("type", &network.driver)];
    event::network(containers.state_root(), "destroy", &network.id, &attributes);
    Ok(())
}
