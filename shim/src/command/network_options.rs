//! `--network` of `run` and `create`, in its short and its long form, with the flags that say more of the first one.
//!
//! The long form is a line of comma-separated values (docs.docker.com, "docker container run", "Connect a container to a
//! network"): `name=mine,alias=web,ip=10.0.0.5`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::bundle::syntax::mount::fields;
use crate::cli::flags::Given;
use crate::container::modes::{self, Mode};
use crate::error::{Error, Kind, Result};
use crate::network::{DEFAULT, EndpointConfig, NAMES_ONLY, link, netlink};

/// One of `--network`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// A network's name or id, or a mode.
    pub target: String,
    /// What was asked for there; the network's id is not known yet.
    pub config: EndpointConfig,
}

/// Reads all of `--network` and `--net`, in their order.
///
/// # Errors
/// Docker's words.
pub fn attachments(given: &Given) -> Result<Vec<Attachment>> {
    let words = given.pairs().filter(|(name, _)| matches!(*name, "net" | "network"));
    let text = |(name, value): (&str, &std::ffi::OsStr)| {
        let text = value.to_str().ok_or_else(|| Error::usage(format!("--{name} {value:?} is not UTF-8")))?;
        parse(text)
    };
    words.map(text).collect()
}

fn parse(text: &str) -> Result<Attachment> {
    let is_long = text.contains('=');
    if !is_long {
        return Ok(Attachment { target: text.to_owned(), ..Attachment::default() });
    }
    let wrong = |field: &str| Error::usage(format!("invalid field {field}"));
    let mut attachment = Attachment::default();
    let config = &mut attachment.config;
    let fields =
        fields(text).ok_or_else(|| Error::usage(format!("--network {text}: a quote is not closed")))?;
    for field in fields {
        let (key, value) = field.split_once('=').ok_or_else(|| wrong(&field))?;
        let (key, value) = (key.trim().to_lowercase(), value.trim());
        match key.as_str() {
            "name" => value.clone_into(&mut attachment.target),
            "alias" => config.aliases.push(value.to_owned()),
            "ip" => config.ip = Some(value.parse().map_err(|_| wrong(&field))?),
            "ip6" => config.ip6 = Some(value.parse().map_err(|_| wrong(&field))?),
            "mac-address" => value.clone_into(&mut config.mac_address),
            "link-local-ip" => {
                return Err(Error::usage(format!(
                    "--network {field}: it is not supported: addresses are of the network's subnets (ip, ip6)"
                )));
            }
            "driver-opt" => {
                let (name, value) = value.split_once('=').ok_or_else(|| wrong(&field))?;
                return Err(Error::usage(format!(
                    "--network driver-opt={name}={value}: it is not supported"
                )));
            }
            "gw-priority" => {
                let number = || Error::usage(format!("invalid gw-priority: {value}"));
                config.gw_priority = value.parse().map_err(|_| number())?;
            }
            _ => return Err(Error::usage(format!("invalid field key {key}"))),
        }
    }
    if attachment.target.is_empty() {
        return Err(Error::usage("network name/id is not specified"));
    }
    if !attachment.config.mac_address.is_empty() {
        netlink::mac(&attachment.config.mac_address)?;
    }
    Ok(attachment)
}

/// What was asked for in each network, by what the user calls it; nothing where the mode is no network.
///
/// # Errors
/// What contradicts itself, in Docker's words.
pub fn endpoints(given: &Given, mode: &Mode) -> Result<BTreeMap<String, EndpointConfig>> {
    let mut all = attachments(given)?;
    if all.is_empty() {
        all.push(Attachment { target: mode.word(DEFAULT), ..Attachment::default() });
    }
    if let Some(first) = all.first_mut() {
        complete(given, &mut first.config)?;
    }
    let is_user_defined = |target: &str| {
        !matches!(target, "" | "default" | DEFAULT)
            && !NAMES_ONLY.contains(&target)
            && modes::container(target).is_none()
    };
    let (own, others): (Vec<&Attachment>, Vec<&Attachment>) =
        all.iter().partition(|attachment| is_user_defined(&attachment.target));
    if !own.is_empty() && !others.is_empty() {
        return Err(Error::usage(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
        ));
    }
    if let (Some(first), false) = (others.first(), matches!(mode, Mode::Network(_))) {
        return refuse(&first.config, mode);
    }
    let mut endpoints = BTreeMap::new();
    for Attachment { target, config } in all {
        let target = if matches!(target.as_str(), "" | "default") { DEFAULT.to_owned() } else { target };
        if endpoints.insert(target.clone(), config).is_some() {
            return Err(Error::usage(format!("network {target:?} is specified multiple times")));
        }
    }
    // Who is in one that is not user-defined is in one alone.
    if others_of_one_kind(&endpoints) {
        Ok(endpoints)
    } else {
        Err(Error::usage("conflicting options: more than one network mode"))
    }
}

fn others_of_one_kind(endpoints: &BTreeMap<String, EndpointConfig>) -> bool {
    endpoints.len() < 2 || !endpoints.contains_key(DEFAULT)
}

/// What `--ip` and its kin say of the first network, unless that says it itself.
fn complete(given: &Given, config: &mut EndpointConfig) -> Result<()> {
    let twice = |flag: &str, what: &str| {
        Err(Error::usage(format!("conflicting options: cannot specify both --{flag} and per-network {what}")))
    };
    let aliases = given.texts("network-alias")?;
    if !aliases.is_empty() {
        if !config.aliases.is_empty() {
            return twice("network-alias", "alias");
        }
        config.aliases = aliases.into_iter().map(str::to_owned).collect();
    }
    config.links = links(given)?;
    if let Some(ip) = given.text("ip")?.filter(|ip| !ip.is_empty()) {
        if config.ip.is_some() {
            return twice("ip", "IPv4 address");
        }
        config.ip = ip.parse::<Ipv4Addr>().ok();
    }
    if let Some(ip6) = given.text("ip6")?.filter(|ip| !ip.is_empty()) {
        if config.ip6.is_some() {
            return twice("ip6", "IPv6 address");
        }
        config.ip6 = ip6.parse::<Ipv6Addr>().ok();
    }
    if let Some(mac) = given.text("mac-address")?.filter(|mac| !mac.is_empty()) {
        if !config.mac_address.is_empty() {
            return twice("mac-address", "MAC address");
        }
        mac.clone_into(&mut config.mac_address);
    }
    Ok(())
}

/// `--link`, each as `CONTAINER:ALIAS`.
pub(super) fn links(given: &Given) -> Result<Vec<String>> {
    let whole = |text: &str| link::parse(text).map(|(name, alias)| format!("{name}:{alias}"));
    given.texts("link")?.into_iter().map(whole).collect()
}

/// Where there is no network of ours, nothing can be asked of it.
fn refuse(config: &EndpointConfig, mode: &Mode) -> Result<BTreeMap<String, EndpointConfig>> {
    let invalid = |words: &str| Err(Error::new(Kind::Invalid, words));
    match () {
        () if !config.mac_address.is_empty() => {
            Err(Error::usage("conflicting options: mac-address and the network mode"))
        }
        () if config.ip.is_some() || config.ip6.is_some() => {
            invalid("user specified IP address is supported on user defined networks only")
        }
        () if !config.aliases.is_empty() => {
            invalid("network-scoped alias is supported only for containers in user defined networks")
        }
        () if !config.links.is_empty() => {
            Err(Error::usage("links are only supported for user-defined networks"))
        }
        () if config.gw_priority != 0 => {
            Err(Error::usage(format!("gw-priority is of networks, and not of {}", mode.word("none"))))
        }
        () => Ok(BTreeMap::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_long_form_says_more_of_one_network() {
        let read = parse(
            "name=mine,alias=a,\"alias=b\",ip=10.0.0.5,ip6=fd00::5,mac-address=02:42:00:00:00:01,gw-priority=-1",
        );
        let Attachment { target, config } = read.unwrap();
        assert_eq!((target.as_str(), config.aliases.join(" ").as_str()), ("mine", "a b"));
        assert_eq!((config.ip, config.ip6), ("10.0.0.5".parse().ok(), "fd00::5".parse().ok()));
        assert_eq!((config.mac_address.as_str(), config.gw_priority), ("02:42:00:00:00:01", -1));
        assert_eq!(parse("container:x").unwrap().target, "container:x");
        for (text, words) in [
            ("alias=a", "network name/id is not specified"),
            ("name=mine,x", "invalid field x"),
            ("name=mine,x=y", "invalid field key x"),
            ("name=mine,ip=fd00::1", "invalid field ip=fd00::1"),
            ("name=mine,link-local-ip=169.254.1.1", "is not supported"),
            ("name=mine,driver-opt=a=b", "is not supported"),
            ("name=mine,gw-priority=x", "invalid gw-priority: x"),
            ("name=mine,mac-address=x", "x is not a valid mac address"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
