//! `shim network create`

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::cli::flags::{Arity, Form, Given, list, switch, value};
use crate::cli::{Globals, Verb};
use crate::command::containers;
use crate::error::{Error, Kind, Result};
use crate::event;
use crate::network::address::Subnet;
use crate::network::filter::is_custom;
use crate::network::record::IpamConfig;
use crate::network::store::Networks;
use crate::network::{Network, bridge};
use crate::output;

pub(super) const VERB: Verb = Verb {
    names: &["network create"],
    about: "Create a network",
    form: Form {
        usage: "[OPTIONS] NETWORK",
        flags: &[&[
            switch("attachable", "Enable manual container attachment: for containers it always is"),
            list("aux-address", "map", "Auxiliary IPv4 or IPv6 addresses that no container is given"),
            value("config-from", "string", "is of swarms, which there are not here").hidden(),
            switch("config-only", "is of swarms, which there are not here").hidden(),
            value("driver", "string", "Driver to manage the Network (default \"bridge\")").short('d'),
            list("gateway", "strings", "IPv4 or IPv6 Gateway for the master subnet"),
            switch("ingress", "is of swarms, which there are not here").hidden(),
            switch("internal", "Restrict external access to the network"),
            list("ip-range", "strings", "Allocate container ip from a sub-range"),
            value("ipam-driver", "string", "IP Address Management Driver (default \"default\")"),
            list("ipam-opt", "map", "is not supported: the one driver has no options").hidden(),
            switch("ipv4", "Enable or disable IPv4 address assignment"),
            switch("ipv6", "Enable or disable IPv6 address assignment"),
            list("label", "list", "Set metadata on a network").checked(label),
            list("opt", "map", "Set driver specific options").short('o'),
            value("scope", "string", "Control the network's scope: local alone is there"),
            list("subnet", "strings", "Subnet in CIDR format that represents a network segment"),
        ]],
        arity: Arity::Exactly(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let network = wanted(given)?;
    if !is_custom(&network) || network.name == "default" {
        let words = format!("operation is not permitted on predefined {} network", network.name);
        return Err(Error::new(Kind::Denied, words));
    }
    let containers = containers(globals)?;
    let made = Networks::of(&containers).create(network)?;
    let attributes = [("name", &*made.name), ("type", &made.driver)];
    event::network(containers.state_root(), "create", &made.id, &attributes);
    output::print(&format!("{}\n", made.id)).map(|()| 0)
}

/// What the flags ask for.
fn wanted(given: &Given) -> Result<Network> {
    for flag in ["config-from", "config-only", "ingress"] {
        if given.last(flag).is_some_and(|value| !matches!(value.to_str(), Some("" | "false"))) {
            return Err(Error::usage(format!("--{flag} is of swarms, which there are not here")));
        }
    }
    if !given.texts("ipam-opt")?.is_empty() {
        return Err(Error::usage("--ipam-opt is not supported: the one driver has no options"));
    }
    let words = given.words()?;
    for (flag, default, what) in [
        ("driver", "bridge", "could not find plugin %s in v1 plugin registry: plugin not found"),
        ("ipam-driver", "default", "could not find plugin %s in v1 plugin registry: plugin not found"),
        ("scope", "local", "--scope %s: local alone is there"),
    ] {
        if let Some(word) = given.text(flag)?.filter(|word| !word.is_empty() && *word != default) {
            return Err(Error::not_found(what.replace("%s", word)));
        }
    }
    let mut network = Network {
        name: words.first().copied().unwrap_or_default().to_owned(),
        enable_ipv4: given.switched("ipv4").unwrap_or(true),
        enable_ipv6: given.is_on("ipv6"),
        internal: given.is_on("internal"),
        attachable: given.is_on("attachable"),
        options: pairs(given, "opt")?,
        labels: pairs(given, "label")?,
        ..Network::default()
    };
    network.ipam.config = subnets(given)?;
    network.ipam.options = Some(BTreeMap::new());
    let has_ipv6 = network.ipam.config.iter().any(|config| config.subnet.contains(':'));
    // Who names a subnet of IPv6 wants it, as far as Docker's newest says; before, it was nothing without --ipv6.
    if has_ipv6 && !network.enable_ipv6 {
        if given.switched("ipv6") == Some(false) {
            return Err(Error::usage("conflicting options: a subnet of IPv6 and --ipv6=false"));
        }
        network.enable_ipv6 = true;
    }
    let has_ipv4 = network.ipam.config.iter().any(|config| !config.subnet.contains(':'));
    match (network.enable_ipv4, network.enable_ipv6) {
        (false, false) => return Err(Error::usage("IPv4 or IPv6 must be enabled")),
        (false, _) if has_ipv4 => {
            return Err(Error::usage("conflicting options: a subnet of IPv4 and --ipv4=false"));
        }
        _ => {}
    }
    bridge::check_options(&network)?;
    Ok(network)
}

fn pairs(given: &Given, flag: &str) -> Result<BTreeMap<String, String>> {
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        if name.is_empty() {
            return Err(Error::usage(format!("--{flag} {text}: it has to be of the form NAME=VALUE")));
        }
        Ok((name.to_owned(), value.to_owned()))
    };
    given.texts(flag)?.into_iter().map(pair).collect()
}

fn label(text: &str) -> std::result::Result<(), String> {
    let has_name = !text.is_empty() && !text.starts_with('=');
    if has_name { Ok(()) } else { Err(format!("invalid label '{text}': empty name")) }
}

/// Subnets with what belongs to each: ranges, gateways and addresses that are kept back are those of the subnet that they are
/// in.
fn subnets(given: &Given) -> Result<Vec<IpamConfig>> {
    // Each may be several, separated by commas.
    let all = |flag: &str| -> Result<Vec<String>> {
        let texts = given.texts(flag)?.into_iter().flat_map(|text| text.split(','));
        Ok(texts.map(|text| text.trim().to_owned()).collect())
    };
    let (texts, ranges, gateways) = (all("subnet")?, all("ip-range")?, all("gateway")?);
    let mut found: Vec<(Subnet, IpamConfig)> = Vec::new();
    for text in texts {
        let subnet = Subnet::parse(&text)?;
        if found.iter().any(|(other, _)| other.overlaps(subnet)) {
            return Err(Error::usage("multiple overlapping subnet configuration is not supported"));
        }
        if found.iter().any(|(other, _)| other.is_ipv4() == subnet.is_ipv4()) {
            return Err(Error::usage("bridge driver: multiple subnets of the same family are not supported"));
        }
        found.push((subnet, IpamConfig { subnet: subnet.to_string(), ..IpamConfig::default() }));
    }
    if ranges.len() > found.len() || gateways.len() > found.len() {
        return Err(Error::usage("every ip-range or gateway must have a corresponding subnet"));
    }
    let mut of = |address: IpAddr, what: &str, set: &mut dyn FnMut(&mut IpamConfig) -> bool| {
        let subnet = found.iter_mut().find(|(subnet, _)| subnet.contains(address));
        let none = || Error::usage(format!("no matching subnet for {what}"));
        let (_, config) = subnet.ok_or_else(none)?;
        if set(config) {
            Ok(())
        } else {
            Err(Error::usage(format!("cannot configure multiple {what} on the same subnet")))
        }
    };
    for text in ranges {
        let (_, address) = Subnet::parse_address(&text)?;
        of(address, &format!("range {text}"), &mut |config| {
            let is_first = config.ip_range.is_empty();
            text.clone_into(&mut config.ip_range);
            is_first
        })?;
    }
    let address = |text: &str| {
        text.parse::<IpAddr>()
            .map_err(|_| Error::usage(format!("invalid gateway or auxiliary address: {text}")))
    };
    for text in gateways {
        of(address(&text)?, &format!("gateway {text}"), &mut |config| {
            let is_first = config.gateway.is_empty();
            text.clone_into(&mut config.gateway);
            is_first
        })?;
    }
    for (name, text) in pairs(given, "aux-address")? {
        of(address(&text)?, &format!("aux-address {text}"), &mut |config| {
            config.auxiliary_addresses.insert(name.clone(), text.clone());
            true
        })?;
    }
    Ok(found.into_iter().map(|(_, config)| config).collect())
}
