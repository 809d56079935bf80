//! What the files say that are bound over a container's /etc/hosts, /etc/hostname and /etc/resolv.conf: hosts(5),
//! resolv.conf(5). Pure.

use std::net::IpAddr;

use crate::error::{Error, Result};

/// Longest of the host's files that is copied, in bytes.
pub const FILE_MAX: u64 = 1 << 20;

/// What every container's /etc/hosts begins with, as Docker writes it.
const LOCAL: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
    ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// A name that the user adds, and where it leads: None is the host, by the gateway of the container's networks.
pub type Extra = (String, Option<IpAddr>);

/// One of `--add-host`: `NAME:ADDRESS`, or `NAME=ADDRESS`, an IPv6 address with or without brackets, or `host-gateway`.
///
/// # Errors
/// Docker's words.
pub fn extra(text: &str) -> Result<Extra> {
    let bad = || Error::usage(format!("bad format for add-host: {text:?}"));
    let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(bad)?;
    let is_name = !name.is_empty() && !name.contains(|char: char| char.is_whitespace() || char.is_control());
    if !is_name {
        return Err(bad());
    }
    if address == "host-gateway" {
        return Ok((name.to_owned(), None));
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    match bare.parse() {
        Ok(address) => Ok((name.to_owned(), Some(address))),
        Err(_) => Err(Error::usage(format!("invalid IP address in add-host: {address:?}"))),
    }
}

/// /etc/hosts of a container without a network, or, `of_host`, the host's own with more behind it. Where there is no gateway,
/// no name leads to it.
#[must_use]
pub fn hosts(of_host: Option<&str>, extra: &[Extra], gateway: Option<IpAddr>) -> String {
    let mut text = of_host.unwrap_or(LOCAL).to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for (name, address) in extra {
        let Some(address) = address.or(gateway) else { continue };
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text
}

/// What the user says of name servers; an empty list leaves the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// `--dns`.
    pub servers: Vec<String>,
    /// `--dns-search`; `.` means none.
    pub search: Vec<String>,
    /// `--dns-option`.
    pub options: Vec<String>,
}

impl Resolver {
    /// Does the user say nothing?
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.servers.is_empty() && self.search.is_empty() && self.options.is_empty()
    }

    /// Refuses what would not be one word of the file.
    ///
    /// # Errors
    /// Docker's words.
    pub fn check(&self) -> Result<()> {
        let is_word = |text: &str| {
            !text.contains(|char: char| char.is_whitespace() || char.is_control() || char == '#')
        };
        for name in &self.search {
            let is_domain = !name.is_empty() && name.len() <= 255 && is_word(name);
            if !is_domain {
                return Err(Error::usage(format!("{name} is not a valid domain")));
            }
        }
        match self.options.iter().find(|option| option.is_empty() || !is_word(option)) {
            Some(option) => Err(Error::usage(format!("--dns-option {option:?}: it is not one word"))),
            None => Ok(()),
        }
    }

    /// /etc/resolv.conf, made of the host's. `keep_local` keeps its name servers on the loopback, which nobody reaches
    /// from another network.
    #[must_use]
    pub fn file(&self, of_host: &str, keep_local: bool) -> String {
        if self.is_silent() && keep_local {
            return of_host.to_owned();
        }
        let lines = || of_host.lines().map(str::trim);
        let of = |key: &str| -> Vec<String> {
            let values = |line: &str| {
                let mut words = line.split_whitespace();
                (words.next() == Some(key)).then(|| words.map(str::to_owned).collect::<Vec<_>>())
            };
            match key {
                // Each line has one; of the others the last line counts.
                "nameserver" => {
                    lines().filter_map(values).filter_map(|words| words.into_iter().next()).collect()
                }
                _ => lines().filter_map(values).next_back().unwrap_or_default(),
            }
        };
        let mut servers = if self.servers.is_empty() { of("nameserver") } else { self.servers.clone() };
        if self.servers.is_empty() && !keep_local {
            servers.retain(|server| !is_loopback(server));
        }
        let search = match &self.search[..] {
            [] => of("search"),
            [dot] if dot == "." => Vec::new(),
            given => given.to_vec(),
        };
        let options = if self.options.is_empty() { of("options") } else { self.options.clone() };
        let mut text = String::from("# Generated by Caisson.\n");
        servers.iter().for_each(|server| text.push_str(&format!("nameserver {server}\n")));
        for (key, words) in [("search", search), ("options", options)] {
            if !words.is_empty() {
                text.push_str(&format!("{key} {}\n", words.join(" ")));
            }
        }
        text
    }
}

/// Do all name servers of this file stand on the loopback, as systemd-resolved's does?
#[must_use]
pub fn is_stub(file: &str) -> bool {
    let mut servers = file.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let first = servers.next();
    first.is_some() && first.into_iter().chain(servers).all(|server| is_loopback(server.trim()))
}

fn is_loopback(server: &str) -> bool {
    // A zone may stand behind it: `fe80::1%eth0`.
    let address = server.split('%').next().unwrap_or(server);
    address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_named_as_docker_writes_them() {
        let more =
            [extra("db:10.0.0.1").unwrap(), extra("six=[2001:db8::1]").unwrap(), extra("v6:::1").unwrap()];
        let text = hosts(None, &more, None);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("ff02::2\tip6-allrouters\n10.0.0.1\tdb\n2001:db8::1\tsix\n::1\tv6\n"));
        assert_eq!(hosts(Some("1.2.3.4 own"), &more[..1], None), "1.2.3.4 own\n10.0.0.1\tdb\n");
        let host = [extra("host.docker.internal:host-gateway").unwrap()];
        assert_eq!(
            hosts(Some("own"), &host, "10.0.0.1".parse().ok()),
            "own\n10.0.0.1\thost.docker.internal\n"
        );
        assert_eq!(hosts(Some("own"), &host, None), "own\n");
        for (text, words) in [
            ("db", "bad format for add-host: \"db\""),
            (":1.2.3.4", "bad format for add-host"),
            ("a b:1.2.3.4", "bad format for add-host"),
            ("a\nb:1.2.3.4", "bad format for add-host"),
            ("db:1.2.3", "invalid IP address in add-host: \"1.2.3\""),
        ] {
            let error = extra(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn name_servers_are_the_hosts_unless_the_user_says_otherwise() {
        let of_host = "# comment\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nsearch a b\noptions edns0\nsearch lan example\n";
        let silent = Resolver::default();
        assert_eq!(silent.file(of_host, true), of_host);
        let begin = "# Generated by Caisson.\n";
        assert_eq!(
            silent.file(of_host, false),
            format!("{begin}nameserver 10.0.0.2\nsearch lan example\noptions edns0\n")
        );
        let said = Resolver {
            servers: vec!["127.0.0.1".into(), "::1".into()],
            search: vec![".".into()],
            options: vec!["ndots:2".into(), "rotate".into()],
        };
        assert_eq!(
            said.file(of_host, false),
            format!("{begin}nameserver 127.0.0.1\nnameserver ::1\noptions ndots:2 rotate\n")
        );
        assert!(is_stub("nameserver 127.0.0.53\noptions x\n") && !is_stub(of_host) && !is_stub(""));
    }

    #[test]
    fn nothing_of_the_users_adds_a_line() {
        let with = |search: &str, option: &str| {
            Resolver { servers: vec![], search: vec![search.into()], options: vec![option.into()] }.check()
        };
        assert!(with("example.com", "ndots:1").is_ok());
        for (search, option) in [("a b", "x"), ("a\nb", "x"), ("", "x"), ("a", "x\nnameserver 1"), ("a", "")]
        {
            assert!(with(search, option).is_err(), "{search:?} {option:?}");
        }
    }
}
