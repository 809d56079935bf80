//! `shim network inspect`

use crate::cli::flags::{Arity, Form, Given, switch};
use crate::cli::{Globals, Verb};
use crate::command::containers;
use crate::command::inspect::{FORMAT, tell};
use crate::container::store::{Containers, Found};
use crate::error::Result;
use crate::network::lease::Lease;
use crate::network::store::Networks;
use crate::network::told;
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
    if let Some(network) = told::name_only(word) {
        return Ok(told::inspect(&network, &running_in(containers, &network.name)?));
    }
    let network = networks.find(word)?;
    Ok(told::inspect(&network, &networks.leases(containers, &network.id)?))
}

/// The containers that run with this mode, as if they had leases.
fn running_in(containers: &Containers, mode: &str) -> Result<Vec<Lease>> {
    let mut found = Vec::new();
    for id in containers.ids()? {
        let Some(Found { container, state, .. }) = containers.observe(&id)? else { continue };
        let own = container.host_config.network_mode.as_str();
        if state.status.has_process() && (own == mode || own.is_empty() && mode == "none") {
            let endpoint = told::endpoint_id(&container.id, mode);
            found.push(Lease { container: container.id, name: container.name, endpoint, ..Lease::default() });
        }
    }
    Ok(found)
}
