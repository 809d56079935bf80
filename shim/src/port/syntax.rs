//! What `--publish` and `--expose` say, in Docker's grammar and words: `[[IP:][HOST]:]CONTAINER[/PROTOCOL]`, where ports may
//! be ranges. Pure.
//!
//! What is kept is Docker's: `80/tcp` and, of the host, an address and a port as texts. They are read again at each start
//! ([`Publication::of_record`]), so what a record says is checked as what a user says.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::container::host_config::PortBinding;
use crate::error::{Error, Result};
use crate::image::config::Empty;

/// What a port is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
    /// Streams of messages (sctp(7)).
    Sctp,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

    /// Its number (/etc/protocols).
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

/// A port of a container: `80/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Not 0.
    pub number: u16,
    /// Of what.
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.protocol)
    }
}

impl FromStr for Port {
    type Err = Error;

    /// `80`, `80/udp`.
    fn from_str(text: &str) -> Result<Port> {
        let wrong = || Error::invalid(format!("invalid port {text:?}"));
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = protocol_of(protocol).ok_or_else(wrong)?;
        let number = port_number(number).filter(|number| *number > 0).ok_or_else(wrong)?;
        Ok(Port { number, protocol })
    }
}

/// Where one port of a container is to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Of the host; None is all its addresses, of both families.
    pub host: Option<IpAddr>,
    /// One of these ports of the host, the first that is free.
    pub ports: (u16, u16),
    /// Of the container.
    pub port: Port,
}

impl Publication {
    /// Any free port will do.
    #[must_use]
    pub fn is_random(&self) -> bool {
        self.ports == (0, 0)
    }

    /// What a container's record says: `80/tcp`, and where.
    ///
    /// # Errors
    /// A text that is none, which nobody of ours has written.
    pub fn of_record(port: &str, binding: &PortBinding) -> Result<Publication> {
        let wrong = |what: &str| Error::invalid(format!("invalid {what} of the published port {port}"));
        let host = match binding.host_ip.as_str() {
            "" => None,
            address => Some(address.parse().map_err(|_| wrong("address"))?),
        };
        let ports = match binding.host_port.as_str() {
            "" => (0, 0),
            ports => range(ports).ok_or_else(|| wrong("host port"))?,
        };
        Ok(Publication { host, ports, port: port.parse()? })
    }
}

/// `--publish`, all of them: by port of the container, where they are to be published.
///
/// # Errors
/// Docker's words.
pub fn published(texts: &[&str]) -> Result<BTreeMap<String, Vec<PortBinding>>> {
    let mut all: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for text in texts {
        let text = if text.contains('=') { standard(text)? } else { (*text).to_owned() };
        for (port, binding) in publications(&text)? {
            all.entry(port.to_string()).or_default().push(binding);
        }
    }
    Ok(all)
}

/// `published=8080,target=80,protocol=udp` in the usual form.
fn standard(text: &str) -> Result<String> {
    let (mut host, mut container, mut protocol) = ("", "", "tcp");
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("published", value)) => host = value,
            Some(("target", value)) => container = value,
            Some(("protocol", value)) => protocol = value,
            Some(("mode", "" | "host" | "ingress")) => {}
            _ => {
                return Err(Error::usage(format!(
                    "invalid publish opts format (should be name=value but got '{part}')"
                )));
            }
        }
    }
    Ok(format!("{host}:{container}/{protocol}"))
}

/// One `--publish`.
fn publications(text: &str) -> Result<Vec<(Port, PortBinding)>> {
    let (address, host, container) = split(text);
    let (container, protocol) = container.split_once('/').unwrap_or((container, "tcp"));
    if container.is_empty() {
        return Err(Error::usage(format!("no port specified: {text}<empty>")));
    }
    let protocol = if protocol.is_empty() { "tcp" } else { protocol };
    let protocol = protocol_of(protocol).ok_or_else(|| Error::usage(format!("invalid proto: {protocol}")))?;
    let address = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let host_ip = match address {
        "" => String::new(),
        address => {
            let parsed = address.parse::<IpAddr>();
            parsed.map_err(|_| Error::usage(format!("invalid IP address: {address}")))?.to_string()
        }
    };
    let wrong = || Error::usage(format!("invalid containerPort: {container}"));
    let (first, last) = range(container).filter(|(first, _)| *first > 0).ok_or_else(wrong)?;
    if host.is_empty() {
        let binding = PortBinding { host_ip, host_port: String::new() };
        return Ok((first..=last).map(|number| (Port { number, protocol }, binding.clone())).collect());
    }
    // 0 is the kernel's choice, and so no end of a range.
    let of_host = range(host).filter(|(first, last)| *first > 0 || *last == 0);
    let of_host = of_host.ok_or_else(|| Error::usage(format!("invalid hostPort: {host}")))?;
    let has_one = first == last;
    if !has_one && last - first != of_host.1 - of_host.0 {
        return Err(Error::usage(format!(
            "invalid ranges specified for container and host Ports: {container} and {host}"
        )));
    }
    if has_one {
        // A range of the host's for one port: any of them.
        let host_port = match of_host {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        return Ok(vec![(Port { number: first, protocol }, PortBinding { host_ip, host_port })]);
    }
    let pairs = (first..=last).zip(of_host.0..=of_host.1);
    Ok(pairs
        .map(|(number, host_port)| {
            let binding = PortBinding { host_ip: host_ip.clone(), host_port: host_port.to_string() };
            (Port { number, protocol }, binding)
        })
        .collect())
}

/// Address, port of the host, and what is behind; an address has colons of its own.
fn split(text: &str) -> (&str, &str, &str) {
    match text.rsplit_once(':') {
        None => ("", "", text),
        Some((rest, container)) => match rest.rsplit_once(':') {
            None => ("", rest, container),
            Some((address, host)) => (address, host, container),
        },
    }
}

/// `--expose`: `80`, `80/udp`, `8000-8010/tcp`.
///
/// # Errors
/// Docker's words.
pub fn exposed(texts: &[&str]) -> Result<BTreeMap<String, Empty>> {
    let mut ports = BTreeMap::new();
    for text in texts {
        let wrong =
            |reason: &str| Error::usage(format!("invalid range format for --expose: {text}: {reason}"));
        let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = protocol_of(protocol).ok_or_else(|| wrong(&format!("invalid proto: {protocol}")))?;
        let first_and_last = range(numbers).filter(|(first, _)| *first > 0);
        let (first, last) = first_and_last.ok_or_else(|| wrong("invalid range"))?;
        ports.extend((first..=last).map(|number| (Port { number, protocol }.to_string(), Empty {})));
    }
    Ok(ports)
}

fn protocol_of(text: &str) -> Option<Protocol> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// Digits alone: Rust takes a sign.
fn port_number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `80`, `8000-8010`.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((port_number(first)?, port_number(last)?)).filter(|(first, last)| first <= last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `port address|port`, each on a line.
    fn told(texts: &[&str]) -> String {
        let all = published(texts).unwrap();
        let lines = all.iter().flat_map(|(port, bindings)| {
            bindings.iter().map(move |binding| format!("{port} {}|{}", binding.host_ip, binding.host_port))
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn ports_are_published_in_every_form() {
        for (text, expected) in [
            ("80", "80/tcp |"),
            ("80/UDP", "80/udp |"),
            ("80/", "80/tcp |"),
            (":80", "80/tcp |"),
            ("0:80", "80/tcp |0"),
            ("8080:80", "80/tcp |8080"),
            ("8080:80/sctp", "80/sctp |8080"),
            ("127.0.0.1:8080:80", "80/tcp 127.0.0.1|8080"),
            ("127.0.0.1::80", "80/tcp 127.0.0.1|"),
            ("0.0.0.0:53:53/udp", "53/udp 0.0.0.0|53"),
            ("[::1]:8080:80", "80/tcp ::1|8080"),
            ("::1:8080:80", "80/tcp ::1|8080"),
            ("[2001:DB8::0:1]::80", "80/tcp 2001:db8::1|"),
            ("8000-8010:80", "80/tcp |8000-8010"),
            ("8000-8000:80", "80/tcp |8000"),
            ("80-81", "80/tcp |\n81/tcp |"),
            ("8080-8081:80-81/udp", "80/udp |8080\n81/udp |8081"),
            ("published=8080,target=80", "80/tcp |8080"),
            ("target=80,protocol=udp", "80/udp |"),
        ] {
            assert_eq!(told(&[text]), expected, "{text}");
        }
        assert_eq!(told(&["80:80", "81:80", "[::1]:80:80/udp"]), "80/tcp |80\n80/tcp |81\n80/udp ::1|80");
        assert_eq!(published(&["1-65535:1-65535"]).unwrap().len(), 65535);
    }

    #[test]
    fn what_cannot_be_read_is_told_in_dockers_words() {
        for (text, reason) in [
            ("", "no port specified: <empty>"),
            ("8080:", "no port specified: 8080:<empty>"),
            ("127.0.0.1:8080:/tcp", "no port specified: 127.0.0.1:8080:/tcp<empty>"),
            ("80/icmp", "invalid proto: icmp"),
            ("80/tcp/udp", "invalid proto: tcp/udp"),
            ("x", "invalid containerPort: x"),
            ("0", "invalid containerPort: 0"),
            ("+80", "invalid containerPort: +80"),
            ("65536", "invalid containerPort: 65536"),
            ("81-80", "invalid containerPort: 81-80"),
            ("1-2-3", "invalid containerPort: 1-2-3"),
            ("y:80", "invalid hostPort: y"),
            ("99999:80", "invalid hostPort: 99999"),
            ("0-8:80", "invalid hostPort: 0-8"),
            ("localhost:8080:80", "invalid IP address: localhost"),
            ("[::1:8080:80", "invalid IP address: [::1"),
            ("127.1:80:80", "invalid IP address: 127.1"),
            ("fe80::1%eth0:80:80", "invalid IP address: fe80::1%eth0"),
            ("8000-8001:80-82", "invalid ranges specified for container and host Ports: 80-82 and 8000-8001"),
            ("=80", "invalid publish opts format (should be name=value but got '=80')"),
            ("target=80,x", "invalid publish opts format (should be name=value but got 'x')"),
            ("target=80,name=x", "invalid publish opts format (should be name=value but got 'name=x')"),
            ("published=8080", "no port specified: 8080:/tcp<empty>"),
        ] {
            assert_eq!(published(&[text]).unwrap_err().to_string(), reason, "{text}");
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for (port, host_ip, host_port, host, ports) in [
            ("80/tcp", "", "", None, (0, 0)),
            ("80/udp", "::", "8000-8010", Some("::"), (8000, 8010)),
            ("80/tcp", "127.0.0.1", "80", Some("127.0.0.1"), (80, 80)),
        ] {
            let binding = PortBinding { host_ip: host_ip.to_owned(), host_port: host_port.to_owned() };
            let read = Publication::of_record(port, &binding).unwrap();
            assert_eq!(read.host, host.map(|host| host.parse().unwrap()));
            assert_eq!((read.ports, read.port.to_string().as_str()), (ports, port));
            assert_eq!(read.is_random(), host_port.is_empty());
        }
        for (port, host_ip, host_port) in
            [("0/tcp", "", ""), ("80", "x", ""), ("80", "", "x"), ("80/x", "", "")]
        {
            let binding = PortBinding { host_ip: host_ip.to_owned(), host_port: host_port.to_owned() };
            assert!(Publication::of_record(port, &binding).is_err(), "{port} {host_ip} {host_port}");
        }
    }

    #[test]
    fn exposed_ports_are_numbers_and_ranges() {
        let ports = exposed(&["80", "53/UDP", "8000-8002"]).unwrap();
        let ports: Vec<&str> = ports.keys().map(String::as_str).collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp"]);
        for text in ["x", "80/icmp", "2-1", "0", "1-2-3", "70000", "", "-1"] {
            let error = exposed(&[text]).unwrap_err().to_string();
            assert!(error.starts_with("invalid range format for --expose: "), "{text}: {error}");
        }
    }
}
