//! `--link`: what Docker had before containers of a network found one another by name.
//!
//! In a network that somebody has made, a link is one more name of another container, which only this one knows. On the
//! default network, where there are no names, it is lines in /etc/hosts and variables of the environment (docs.docker.com,
//! "Legacy container links"): the other one has to run when this one starts, the variables stay as they were then, and the lines
//! are written anew when the other one starts again. What the other one's image says becomes nothing but values of variables
//! whose names begin with the alias that the user has chosen.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::container::ContainerId;
use crate::container::record::Container;
use crate::container::store::Containers;
use crate::error::{Context, Error, Result};
use crate::network::lease::{Lease, Leases};
use crate::network::store::Networks;
use crate::network::{DEFAULT, EndpointConfig, files, is_of_networks};

/// A link on the default network, in the record of the container that has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Link {
    /// The other container.
    #[serde(rename = "ID")]
    pub id: String,
    /// What it was called then.
    pub name: String,
    /// What it is called here.
    pub alias: String,
}

/// The other end of a link, as it is now.
#[derive(Debug)]
struct Linked {
    other: Container,
    address: Option<Ipv4Addr>,
    is_running: bool,
}

/// Reads `CONTAINER[:ALIAS]`: name and alias.
///
/// # Errors
/// Docker's words.
pub fn parse(text: &str) -> Result<(&str, &str)> {
    let wrong = || Error::usage(format!("bad format for links: {text}"));
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    let is_plain =
        |word: &str| !word.is_empty() && !word.chars().any(|char| char.is_whitespace() || char.is_control());
    match () {
        () if text.is_empty() => Err(Error::usage("empty string specified for links")),
        () if alias.contains(':') || !is_plain(name) || !is_plain(alias) => Err(wrong()),
        () => Ok((name, alias)),
    }
}

/// Finds the containers that links on the default network name.
///
/// # Errors
/// None of this name, or one that can have no links, in Docker's words.
pub fn resolve(containers: &Containers, texts: &[String]) -> Result<Vec<Link>> {
    let link = |text: &String| {
        let (word, alias) = parse(text)?;
        let words = || format!("could not get container for {word}");
        let id = containers.find(word).during(words)?;
        let other = containers.get(&id)?.ok_or_else(|| crate::container::missing(word)).during(words)?;
        if other.host_config.network_mode == "host" {
            let reason =
                "host type networking can't be used with links. This would result in undefined behavior";
            return Err(Error::usage(format!("conflicting options: {reason}")));
        }
        Ok(Link { id: id.to_string(), name: other.name, alias: alias.to_owned() })
    };
    texts.iter().map(link).collect()
}

/// The links that a container has on the default network.
#[must_use]
pub fn of(container: &Container) -> &[Link] {
    let none = !is_of_networks(&container.host_config);
    let config = container.endpoints.get(DEFAULT).filter(|_| !none);
    config.map_or(&[], |config: &EndpointConfig| &config.linked)
}

/// As Docker tells them: `/db:/web/alias`.
#[must_use]
pub fn told(containers: &Containers, container: &Container) -> Option<Vec<String>> {
    let told = |link: &Link| {
        let other = ContainerId::parse(&link.id).and_then(|id| containers.get(&id)).ok().flatten();
        let name = other.map_or_else(|| link.name.clone(), |other| other.name);
        format!("/{name}:/{}/{}", container.name, link.alias)
    };
    Some(of(container).iter().map(told).collect()).filter(|links: &Vec<String>| !links.is_empty())
}

/// Do those run that a container is linked to?
///
/// # Errors
/// Docker's words if not; a damaged record, or the system's reason.
pub fn check(containers: &Containers, container: &Container) -> Result<()> {
    for link in of(container) {
        let whole = |name: &str| format!("/{name} AS /{}/{}", container.name, link.alias);
        let stands =
            |name: &str| Error::conflict(format!("Cannot link to a non running container: {}", whole(name)));
        match look(containers, link)? {
            None => return Err(stands(&link.name)),
            Some(linked) if !linked.is_running => return Err(stands(&linked.other.name)),
            Some(Linked { address: None, other, .. }) => {
                let words =
                    format!("Cannot link to /{}, as it does not belong to the default network", other.name);
                return Err(Error::conflict(words));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Names and addresses for /etc/hosts; nothing of those that do not run.
///
/// # Errors
/// A damaged record, or the system's reason.
pub fn hosts(containers: &Containers, container: &Container) -> Result<Vec<(String, Option<IpAddr>)>> {
    let mut lines = Vec::new();
    for link in of(container) {
        let Some(Linked { other, address: Some(address), .. }) = look(containers, link)? else { continue };
        let mut names = format!("{} {}", link.alias, other.config.hostname);
        if link.alias != other.name {
            names = format!("{names} {}", other.name);
        }
        lines.push((names, Some(address.into())));
    }
    Ok(lines)
}

/// The variables of all links of a container that is about to start.
///
/// # Errors
/// A damaged record, or the system's reason.
pub fn environment(containers: &Containers, container: &Container) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for link in of(container) {
        let Some(Linked { other, address: Some(address), .. }) = look(containers, link)? else { continue };
        let mut ports: Vec<(u16, &str)> = other
            .config
            .exposed_ports
            .keys()
            .filter_map(|port| port.split_once('/'))
            .filter_map(|(number, protocol)| Some((number.parse().ok()?, protocol)))
            .collect();
        // Of one number, tcp comes first.
        ports.sort_by_key(|(number, protocol)| (*number, *protocol != "tcp", *protocol));
        let name = format!("/{}/{}", container.name, link.alias);
        all.extend(variables(&link.alias, &name, address, &ports, &other.config.env));
    }
    Ok(all)
}

/// The variables of one link, with Docker's names.
fn variables(
    alias: &str,
    name: &str,
    address: Ipv4Addr,
    ports: &[(u16, &str)],
    env: &[String],
) -> Vec<(String, String)> {
    let prefix = prefix(alias);
    let mut all = Vec::new();
    let mut add = |name: String, value: String| all.push((format!("{prefix}{name}"), value));
    let url = |(number, protocol): (u16, &str)| format!("{protocol}://{address}:{number}");
    if let Some(first) = ports.first() {
        add("PORT".to_owned(), url(*first));
    }
    let key = |(number, protocol): (u16, &str)| format!("PORT_{number}_{}", protocol.to_uppercase());
    for run in runs(ports) {
        if let ([first, _, ..], Some(last)) = (run, run.last()) {
            let (key, of_last) = (key(*first), format!("PORT_{}_{}", first.0, last.1.to_uppercase()));
            add(format!("{key}_START"), url(*first));
            add(format!("{key}_PORT_START"), first.0.to_string());
            add(format!("{of_last}_END"), url(*last));
            add(format!("{of_last}_PORT_END"), last.0.to_string());
        }
    }
    for port in ports {
        let key = key(*port);
        add(key.clone(), url(*port));
        add(format!("{key}_ADDR"), address.to_string());
        add(format!("{key}_PORT"), port.0.to_string());
        add(format!("{key}_PROTO"), port.1.to_owned());
    }
    add("NAME".to_owned(), name.to_owned());
    for (name, value) in env.iter().filter_map(|variable| variable.split_once('=')) {
        if !matches!(name, "HOME" | "PATH") {
            add(format!("ENV_{name}"), value.to_owned());
        }
    }
    all
}

/// What the names of a link's variables begin with.
fn prefix(alias: &str) -> String {
    format!("{}_", alias.to_uppercase().replace('-', "_"))
}

/// Ports in order, in runs of consecutive numbers; what Docker takes for a run has three at least.
fn runs<'a, 'b>(ports: &'a [(u16, &'b str)]) -> Vec<&'a [(u16, &'b str)]> {
    let runs = ports.chunk_by(|one, next| next.0 <= one.0.saturating_add(1));
    runs.filter(|run| run.len() > 2).collect()
}

/// Those variables of a container's environment that are of its links: what a further program of it gets too.
#[must_use]
pub fn of_environment<'a>(container: &Container, env: impl Iterator<Item = &'a str>) -> Vec<String> {
    let prefixes: Vec<String> = of(container).iter().map(|link| prefix(&link.alias)).collect();
    let is_ours = |name: &str| {
        let mut rest = prefixes.iter().filter_map(|prefix| name.strip_prefix(prefix.as_str()));
        rest.any(|rest| matches!(rest.split('_').next(), Some("PORT" | "NAME" | "ENV")))
    };
    let is_of_link = |variable: &&str| variable.split_once('=').is_some_and(|(name, _)| is_ours(name));
    env.filter(is_of_link).map(str::to_owned).collect()
}

/// Has those that run and are linked to this one know its address. One that cannot be told, because it is being removed
/// at this moment or its record is damaged, keeps nobody else from starting.
pub fn tell_others(containers: &Containers, container: &Container, network: &str) {
    let leases = Leases::read(&Networks::of(containers).state_folder(network)).unwrap_or_default();
    for lease in leases.iter().filter(|lease| lease.linked.contains(&container.id)) {
        let _ = tell(containers, lease);
    }
}

fn tell(containers: &Containers, lease: &Lease) -> Result<()> {
    let id = ContainerId::parse(&lease.container)?;
    let Some(other) = containers.get(&id)?.filter(|_| containers.may_run(&id).unwrap_or_default()) else {
        return Ok(());
    };
    files::write(containers, &other, &containers.state(&id)?.networks)
}

/// None if it has been removed.
fn look(containers: &Containers, link: &Link) -> Result<Option<Linked>> {
    let id = ContainerId::parse(&link.id)?;
    let Some(other) = containers.get(&id)? else { return Ok(None) };
    let state = containers.state(&id)?;
    let is_running = state.status.has_process() && containers.may_run(&id)?;
    let own = state.networks.get(DEFAULT).filter(|_| containers.may_run(&id).unwrap_or_default());
    let address = own.and_then(|own| own.ip_address.parse().ok());
    Ok(Some(Linked { other, address, is_running }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_as_docker_reads_them() {
        assert_eq!(parse("db").unwrap(), ("db", "db"));
        assert_eq!(parse("db:alias").unwrap(), ("db", "alias"));
        for (text, words) in [
            ("", "empty string specified for links"),
            ("db:a:b", "bad format for links: db:a:b"),
            (":a", "bad format for links: :a"),
            ("db:", "bad format for links: db:"),
            ("db:a b", "bad format for links: db:a b"),
            ("db:a\nb", "bad format for links: db:a\\nb"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn ports_that_follow_one_another_are_told_together_too() {
        let ports =
            [(53, "udp"), (80, "tcp"), (81, "tcp"), (82, "udp"), (83, "tcp"), (90, "tcp"), (91, "tcp")];
        let env = ["FOO=a=b".to_owned(), "PATH=/bin".to_owned(), "HOME=/".to_owned(), "BARE".to_owned()];
        let all = variables("my-db", "/web/my-db", Ipv4Addr::new(10, 0, 0, 2), &ports, &env);
        let of = |name: &str| all.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        for (name, value) in [
            ("MY_DB_PORT", "udp://10.0.0.2:53"),
            ("MY_DB_PORT_80_TCP_START", "tcp://10.0.0.2:80"),
            ("MY_DB_PORT_80_TCP_END", "tcp://10.0.0.2:83"),
            ("MY_DB_PORT_80_TCP_PORT_START", "80"),
            ("MY_DB_PORT_80_TCP_PORT_END", "83"),
            ("MY_DB_PORT_82_UDP", "udp://10.0.0.2:82"),
            ("MY_DB_PORT_82_UDP_ADDR", "10.0.0.2"),
            ("MY_DB_PORT_90_TCP_PROTO", "tcp"),
            ("MY_DB_NAME", "/web/my-db"),
            ("MY_DB_ENV_FOO", "a=b"),
        ] {
            assert_eq!(of(name), Some(value), "{name}");
        }
        assert!(
            of("MY_DB_PORT_90_TCP_START").is_none()
                && of("MY_DB_ENV_PATH").is_none()
                && of("MY_DB_ENV_BARE").is_none()
        );
    }
}
