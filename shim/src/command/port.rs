//! `shim port`

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::command::containers;
use crate::container;
use crate::container::attend::attend;
use crate::error::{Error, Result};
use crate::output;
use crate::port::listing;
use crate::port::syntax::Port;

pub(super) const VERB: Verb = Verb {
    names: &["container port", "port"],
    about: "List port mappings or a specific mapping for the container",
    form: Form {
        usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
        flags: &[],
        arity: Arity::Between(1, 2),
        flags_end_at_argument: false,
    },
    run,
};

/// What is published, now: of a container that does not run, nothing.
fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let word = words.first().copied().unwrap_or_default();
    let wanted = words.get(1).map(|port| private(port)).transpose()?;
    let containers = containers(globals)?;
    let found = attend(&containers, &containers.find(word)?)?.ok_or_else(|| container::missing(word))?;
    let lines = listing::published(&found.state.ports, wanted);
    match wanted {
        Some(port) if lines.is_empty() => {
            Err(Error::not_found(format!("no public port '{port}' published for {word}")))
        }
        _ => output::print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>()).map(|()| 0),
    }
}

/// `80`, `80/udp`.
fn private(text: &str) -> Result<Port> {
    text.parse().map_err(|_| Error::usage(format!("invalid port {text:?}")))
}
