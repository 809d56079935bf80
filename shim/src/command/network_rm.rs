//! `shim network rm`

use crate::cli::flags::{Arity, Form, Given, switch};
use crate::cli::{Globals, Verb};
use crate::command::{containers, report};
use crate::container::store::Containers;
use crate::error::{Error, Kind, Result};
use crate::event;
use crate::network::filter::is_custom;
use crate::network::store::Networks;
use crate::network::{NAMES_ONLY, Network};
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
    if NAMES_ONLY.contains(&word) || matches!(word, "bridge" | "default") {
        return Err(Error::new(
            Kind::Denied,
            format!("{word} is a pre-defined network and cannot be removed"),
        ));
    }
    let network = Networks::of(containers).find(word)?;
    if is_custom(&network) {
        return Ok(network);
    }
    Err(Error::new(Kind::Denied, format!("{} is a pre-defined network and cannot be removed", network.name)))
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
