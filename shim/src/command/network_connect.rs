//! `shim network connect` and `shim network disconnect`

use crate::cli::create_flags::link;
use crate::cli::flags::{Arity, Form, Given, list, switch, value};
use crate::cli::spec_flags::integer;
use crate::cli::{Globals, Verb};
use crate::command::containers;
use crate::command::network_options::links;
use crate::error::{Error, Result};
use crate::network::{EndpointConfig, NAMES_ONLY, connect, told};

pub(super) const CONNECT: Verb = Verb {
    names: &["network connect"],
    about: "Connect a container to a network",
    form: Form {
        usage: "[OPTIONS] NETWORK CONTAINER",
        flags: &[&[
            list("alias", "strings", "Add network-scoped alias for the container"),
            list("driver-opt", "strings", "is not supported").hidden(),
            value("gw-priority", "int", "Highest gw-priority provides the default gateway").checked(integer),
            value("ip", "string", "IPv4 address (e.g., \"172.30.100.104\")"),
            value("ip6", "string", "IPv6 address (e.g., \"2001:db8::33\")"),
            list("link", "list", "Add link to another container").checked(link),
            list("link-local-ip", "strings", "is not supported").hidden(),
        ]],
        arity: Arity::Exactly(2),
        flags_end_at_argument: false,
    },
    run: run_connect,
};

pub(super) const DISCONNECT: Verb = Verb {
    names: &["network disconnect"],
    about: "Disconnect a container from a network",
    form: Form {
        usage: "[OPTIONS] NETWORK CONTAINER",
        flags: &[&[switch("force", "Force the container to disconnect from a network").short('f')]],
        arity: Arity::Exactly(2),
        flags_end_at_argument: false,
    },
    run: run_disconnect,
};

fn run_connect(globals: &Globals, given: &Given) -> Result<u8> {
    for (flag, why) in [
        ("driver-opt", "there are no options of endpoints"),
        ("link-local-ip", "addresses are of the network's subnets (--ip, --ip6)"),
    ] {
        if !given.texts(flag)?.is_empty() {
            return Err(Error::usage(format!("--{flag} is not supported: {why}")));
        }
    }
    let words = given.words()?;
    let [network, container] = words[..] else {
        return Err(Error::usage("it takes a network and a container"));
    };
    let network = told::name_only(network).map_or_else(|| network.to_owned(), |network| network.name);
    refuse(&network)?;
    let ip = |text: &str| text.parse().map_err(|_| Error::usage(format!("invalid IPv4 address: {text}")));
    let ip6 = |text: &str| text.parse().map_err(|_| Error::usage(format!("invalid IPv6 address: {text}")));
    let config = EndpointConfig {
        aliases: given
            .texts("alias")?
            .into_iter()
            .flat_map(|text| text.split(','))
            .map(str::to_owned)
            .collect(),
        ip: given.text("ip")?.filter(|text| !text.is_empty()).map(ip).transpose()?,
        ip6: given.text("ip6")?.filter(|text| !text.is_empty()).map(ip6).transpose()?,
        links: links(given)?,
        gw_priority: given.text("gw-priority")?.and_then(|text| text.parse().ok()).unwrap_or_default(),
        ..EndpointConfig::default()
    };
    connect::connect(&containers(globals)?, &network, container, config).map(|()| 0)
}

fn run_disconnect(globals: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let [network, container] = words[..] else {
        return Err(Error::usage("it takes a network and a container"));
    };
    let containers = containers(globals)?;
    if let Some(network) = told::name_only(network) {
        return Err(connect::not_left(&containers, &network.name, container)?);
    }
    connect::disconnect(&containers, network, container, given.is_on("force")).map(|()| 0)
}

/// Docker's words of the host's network and of none.
fn refuse(network: &str) -> Result<()> {
    match network {
        "host" => Err(Error::conflict(connect::OF_HOST)),
        network if NAMES_ONLY.contains(&network) => Err(Error::conflict(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        )),
        _ => Ok(()),
    }
}
