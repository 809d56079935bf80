//! Hosts, addresses and proxies. Pure.
//!
//! Proxies are chosen as Go's `net/http/httpproxy` chooses them, by which everything about registries was written:
//! by scheme, with `NO_PROXY`, and never for the own host.

use std::net::IpAddr;

/// `host[:port]` without the port; brackets of IPv6 addresses are taken off.
#[must_use]
pub fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// The own host, which nobody listens in on the way to: Docker's rule for plain http.
#[must_use]
pub fn is_loopback(authority: &str) -> bool {
    let host = host_of(authority);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A network such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// Reads `address/prefix`; None for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Network> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let prefix: u32 = prefix.parse().ok()?;
        (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some(Network { address, prefix })
    }

    /// Is this address in it?
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (mine, its, length) = match (self.address, address) {
            (IpAddr::V4(mine), IpAddr::V4(its)) => {
                (u128::from(mine.to_bits()), u128::from(its.to_bits()), 32)
            }
            (IpAddr::V6(mine), IpAddr::V6(its)) => (mine.to_bits(), its.to_bits(), 128),
            _ => return false,
        };
        (mine ^ its).checked_shr(length - self.prefix).unwrap_or_default() == 0
    }
}

/// Does a list like `NO_PROXY` name this authority? `port` is the one that is meant where none is written.
#[must_use]
pub fn is_listed(list: &str, authority: &str, port: &str) -> bool {
    let host = host_of(authority).to_ascii_lowercase();
    let behind = authority.rsplit_once(']').map_or(authority, |(_, behind)| behind);
    let port = behind.rsplit_once(':').map_or(port, |(_, port)| port);
    let address: Option<IpAddr> = host.parse().ok();
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return true;
        }
        if let Some(network) = Network::parse(&entry) {
            return address.is_some_and(|address| network.contains(address));
        }
        let named_port = match entry.parse::<IpAddr>() {
            Ok(entry) => return address == Some(entry),
            Err(_) => entry.rsplit_once(']').map_or(&*entry, |(_, behind)| behind).rsplit_once(':'),
        };
        if named_port.is_some_and(|(_, named)| named != port) {
            return false;
        }
        let name = host_of(&entry);
        // `.example.org` is what is below it; `example.org` is itself too.
        match name.strip_prefix("*.").or(name.strip_prefix('.')) {
            Some(above) => host.ends_with(&format!(".{above}")),
            None => host == name || host.ends_with(&format!(".{name}")),
        }
    })
}

/// The proxy for a request to this authority, by the environment as `variable` gives it.
#[must_use]
pub fn proxy(is_https: bool, authority: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let either = |upper: &str, lower: &str| {
        variable(upper).or_else(|| variable(lower)).filter(|value| !value.is_empty())
    };
    let (proxy, port) = if is_https {
        (either("HTTPS_PROXY", "https_proxy")?, "443")
    } else {
        (either("HTTP_PROXY", "http_proxy")?, "80")
    };
    let no_proxy = either("NO_PROXY", "no_proxy").unwrap_or_default();
    let is_direct = is_loopback(authority) || is_listed(&no_proxy, authority, port);
    (!is_direct).then_some(proxy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_the_own_host_and_nothing_like_it() {
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:5000", "[::1]", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["localhost.example.org", "127.0.0.1.example.org:80", "128.0.0.1", "[::2]:5000", "docker.io"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn networks_contain_their_addresses() {
        let contains = |network: &str, address: &str| {
            Network::parse(network).unwrap().contains(address.parse().unwrap())
        };
        assert!(contains("10.1.0.0/16", "10.1.255.3") && !contains("10.1.0.0/16", "10.2.0.0"));
        assert!(contains("0.0.0.0/0", "9.9.9.9") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("fd00::/8", "fdff::1") && !contains("::/1", "ffff::"));
        assert!(contains("::/0", "ffff::") && contains("1.2.3.4/32", "1.2.3.4"));
        for text in ["10.0.0.0", "10.0.0.0/33", "x/8", "::/129", "10.0.0.0/"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    #[test]
    fn proxies_are_chosen_by_scheme_and_left_out_where_the_list_says() {
        let environment = |name: &str| {
            Some(match name {
                "HTTPS_PROXY" => "http://secure:1".to_owned(),
                "http_proxy" => "http://plain:2".to_owned(),
                "NO_PROXY" => "inside.org, .below.org,*.star.org,10.0.0.0/8,9.9.9.9,port.org:5000".to_owned(),
                _ => return None,
            })
        };
        let proxy = |is_https: bool, host: &str| proxy(is_https, host, environment);
        assert_eq!(proxy(true, "a.org").as_deref(), Some("http://secure:1"));
        assert_eq!(proxy(false, "a.org:80").as_deref(), Some("http://plain:2"));
        for host in [
            "localhost:5000",
            "inside.org",
            "a.inside.org:1",
            "a.below.org",
            "a.star.org",
            "10.2.3.4:5",
            "9.9.9.9",
            "port.org:5000",
        ] {
            assert_eq!(proxy(true, host), None, "{host}");
        }
        for host in ["below.org", "notinside.org", "11.0.0.1", "port.org", "port.org:443"] {
            assert!(proxy(true, host).is_some(), "{host}");
        }
        assert_eq!(super::proxy(true, "a.org", |_| None), None);
    }
}
