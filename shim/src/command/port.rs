//! `shim port`

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::command::containers;
use crate::container;
use crate::error::{Error, Result};
use crate::output;

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

/// What is published, by the record: nothing as long as there is no network but the host's.
fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let word = words.first().copied().unwrap_or_default();
    let containers = containers(globals)?;
    let container = containers.get(&containers.find(word)?)?.ok_or_else(|| container::missing(word))?;
    let wanted = words.get(1).map(|port| private(port)).transpose()?;
    let mut text = String::new();
    for (port, bindings) in &container.host_config.port_bindings {
        if wanted.as_ref().is_some_and(|wanted| wanted != port) {
            continue;
        }
        for binding in bindings {
            let address = if binding.host_ip.contains(':') {
                format!("[{}]:{}", binding.host_ip, binding.host_port)
            } else {
                format!("{}:{}", binding.host_ip, binding.host_port)
            };
            text.push_str(&if wanted.is_some() {
                format!("{address}\n")
            } else {
                format!("{port} -> {address}\n")
            });
        }
    }
    match wanted {
        Some(port) if text.is_empty() => {
            Err(Error::not_found(format!("no public port '{port}' published for {word}")))
        }
        _ => output::print(&text).map(|()| 0),
    }
}

/// `80`, `80/udp`.
fn private(text: &str) -> Result<String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    match number.parse::<u16>() {
        Ok(number) if matches!(protocol, "tcp" | "udp" | "sctp") => Ok(format!("{number}/{protocol}")),
        _ => Err(Error::usage(format!("invalid port {text:?}"))),
    }
}
