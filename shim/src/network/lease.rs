//! Who has which address of a network: `leases.json` in the state folder, and what is chosen for the next one.
//!
//! A lease is worth something only as long as its container may run; whoever allocates drops the others. So a crash leaks
//! none, and nothing has to be given back for the network to have room. All of it ends with the host's uptime.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::network::address::{self, Subnet};
use crate::network::netlink;
use crate::network::{EndpointConfig, Network};
use crate::store::folder::make_private;
use crate::store::record::{self, Lock};

/// What a container has in a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lease {
    /// The container's id.
    pub container: String,
    /// And the name that it was started by.
    pub name: String,
    /// Its endpoint's id.
    pub endpoint: String,
    /// Its address.
    pub ip: Option<Ipv4Addr>,
    /// And that of IPv6.
    pub ip6: Option<Ipv6Addr>,
    /// Of its device.
    pub mac: String,
    /// The end of the device at the bridge.
    pub veth: String,
    /// What others in the network find it by; none on the default network.
    pub names: Vec<String>,
    /// Ids of the containers whose addresses are in its /etc/hosts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub linked: Vec<String>,
}

/// The document.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    leases: Vec<Lease>,
}

/// The leases of a network, locked: nobody else reads them to change them.
#[derive(Debug)]
pub struct Leases {
    path: PathBuf,
    all: Vec<Lease>,
    _lock: Lock,
}

impl Leases {
    /// Opens and locks those in a network's state folder, which is made if need be.
    ///
    /// # Errors
    /// A damaged record; the system's reason.
    pub fn open(folder: &Path) -> Result<Leases> {
        make_private(folder)?;
        let lock = Lock::exclusive(&folder.join("lock"))?;
        let path = folder.join("leases.json");
        let document: Document = record::read(&path)?.unwrap_or_default();
        Ok(Leases { path, all: document.leases, _lock: lock })
    }

    /// What is leased at this moment, without a lock.
    ///
    /// # Errors
    /// A damaged record; the system's reason.
    pub fn read(folder: &Path) -> Result<Vec<Lease>> {
        Ok(record::read::<Document>(&folder.join("leases.json"))?.unwrap_or_default().leases)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Lease] {
        &self.all
    }

    /// Keeps those whose containers these are; whether that were all.
    ///
    /// # Errors
    /// The system's reason.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&Lease) -> Result<bool>) -> Result<bool> {
        let mut kept = Vec::new();
        for lease in &self.all {
            if is_kept(lease)? {
                kept.push(lease.clone());
            }
        }
        if kept.len() == self.all.len() {
            return Ok(true);
        }
        self.all = kept;
        self.write().map(|()| false)
    }

    /// Leases addresses to a container in the place of what it had, as it asks for them or the lowest ones that are free.
    /// `lease` has all but the addresses.
    ///
    /// # Errors
    /// An address that is taken or not of the network, or no more addresses, in Docker's words; the system's reason.
    pub fn take(&mut self, network: &Network, config: &EndpointConfig, mut lease: Lease) -> Result<Lease> {
        self.all.retain(|known| known.container != lease.container);
        for part in Part::all(network)? {
            let is_v4 = part.subnet.is_ipv4();
            let asked = if is_v4 { config.ip.map(IpAddr::from) } else { config.ip6.map(IpAddr::from) };
            let is_leased = |address: IpAddr| {
                self.all.iter().any(|known| {
                    known.ip.map(IpAddr::from) == Some(address)
                        || known.ip6.map(IpAddr::from) == Some(address)
                })
            };
            let is_taken = |address: IpAddr| is_leased(address) || part.reserved.contains(&address);
            let address = match asked {
                Some(address) if !part.subnet.is_for_hosts(address) => return Err(outside(address)),
                Some(address) if is_leased(address) || part.gateway == Some(address) => {
                    return Err(Error::conflict("Address already in use"));
                }
                Some(address) => address,
                None => part.subnet.first_free(part.range, is_taken).ok_or_else(|| {
                    let range = part.range;
                    Error::conflict(format!(
                        "no available IPv{} addresses on this network's address pools: {} ({range})",
                        if is_v4 { 4 } else { 6 },
                        network.name
                    ))
                })?,
            };
            match address {
                IpAddr::V4(address) => lease.ip = Some(address),
                IpAddr::V6(address) => lease.ip6 = Some(address),
            }
        }
        for (asked, leased) in [
            (config.ip.map(IpAddr::from), lease.ip.map(IpAddr::from)),
            (config.ip6.map(IpAddr::from), lease.ip6.map(IpAddr::from)),
        ] {
            if let Some(asked) = asked.filter(|_| leased.is_none()) {
                return Err(outside(asked));
            }
        }
        if lease.mac.is_empty() {
            lease.mac =
                netlink::mac_text(lease.ip.map_or_else(|| random_mac(&lease.endpoint), address::mac_of));
        }
        self.all.push(lease.clone());
        self.write()?;
        Ok(lease)
    }

    /// Takes back what a container has; whether it had anything.
    ///
    /// # Errors
    /// The system's reason.
    pub fn give_back(&mut self, container: &str) -> Result<bool> {
        self.retain(|lease| Ok(lease.container != container)).map(|all| !all)
    }

    /// Changes what others find a container by.
    ///
    /// # Errors
    /// The system's reason.
    pub fn rename(&mut self, container: &str, name: &str) -> Result<()> {
        for lease in self.all.iter_mut().filter(|lease| lease.container == container) {
            let old = std::mem::replace(&mut lease.name, name.to_owned());
            lease.names.iter_mut().filter(|known| **known == old).for_each(|known| name.clone_into(known));
        }
        self.write()
    }

    fn write(&self) -> Result<()> {
        record::write_fast(&self.path, &Document { leases: self.all.clone() })
    }
}

fn outside(address: IpAddr) -> Error {
    Error::usage(format!("invalid endpoint settings: no configured subnet contains IP address {address}"))
}

/// A hardware address of local administration for who has no IPv4 address, by the random digits of its endpoint's id.
fn random_mac(endpoint: &str) -> [u8; 6] {
    let digits = u64::from_str_radix(endpoint.get(..10).unwrap_or_default(), 16).unwrap_or_default();
    let [.., a, b, c, d, e] = digits.to_be_bytes();
    [0x02, a, b, c, d, e]
}

/// A network's subnet of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// All of it.
    pub subnet: Subnet,
    /// What addresses are taken from.
    pub range: Subnet,
    /// The bridge's own.
    pub gateway: Option<IpAddr>,
    /// The bridge's, and what the user keeps back.
    pub reserved: Vec<IpAddr>,
}

impl Part {
    /// Those of a network, by its record.
    ///
    /// # Errors
    /// A record that is damaged.
    pub fn all(network: &Network) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        for config in &network.ipam.config {
            let subnet = Subnet::parse(&config.subnet)?;
            let range =
                if config.ip_range.is_empty() { subnet } else { Subnet::parse_address(&config.ip_range)?.0 };
            let address = |text: &str| {
                text.parse::<IpAddr>().map_err(|_| Error::invalid(format!("invalid address: {text:?}")))
            };
            let gateway = Some(&config.gateway).filter(|text| !text.is_empty());
            let gateway = gateway.map(|text| address(text)).transpose()?;
            let mut reserved =
                config.auxiliary_addresses.values().map(|text| address(text)).collect::<Result<Vec<_>>>()?;
            reserved.extend(gateway);
            parts.push(Part { subnet, range, gateway, reserved });
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::record::IpamConfig;
    use crate::store::scratch::Scratch;

    fn network(subnets: &[(&str, &str)]) -> Network {
        let mut network = Network { name: "net".to_owned(), ..Network::default() };
        network.ipam.config = subnets
            .iter()
            .map(|(subnet, gateway)| IpamConfig {
                subnet: (*subnet).to_owned(),
                gateway: (*gateway).to_owned(),
                ..IpamConfig::default()
            })
            .collect();
        network
    }

    fn lease(container: &str) -> Lease {
        Lease { container: container.to_owned(), endpoint: "0123456789ab".to_owned(), ..Lease::default() }
    }

    #[test]
    fn nobody_gets_what_somebody_has() {
        let scratch = Scratch::new();
        let net = network(&[("10.1.0.0/29", "10.1.0.1"), ("fd00::/64", "fd00::1")]);
        let mut leases = Leases::open(&scratch.join("net")).unwrap();
        let none = EndpointConfig::default();
        let one = leases.take(&net, &none, lease("one")).unwrap();
        assert_eq!(
            (one.ip.unwrap().to_string(), one.ip6.unwrap().to_string()),
            ("10.1.0.2".into(), "fd00::2".into())
        );
        assert_eq!(one.mac, "02:42:0a:01:00:02");
        let asked = |ip: &str| EndpointConfig { ip: Some(ip.parse().unwrap()), ..EndpointConfig::default() };
        for (ip, words) in [
            ("10.1.0.2", "Address already in use"),
            ("10.1.0.1", "Address already in use"),
            ("10.1.0.7", "no configured subnet contains IP address 10.1.0.7"),
            ("10.2.0.2", "no configured subnet contains IP address 10.2.0.2"),
        ] {
            let error = leases.take(&net, &asked(ip), lease("two")).unwrap_err().to_string();
            assert!(error.contains(words), "{ip}: {error}");
        }
        assert_eq!(
            leases.take(&net, &asked("10.1.0.5"), lease("two")).unwrap().ip.unwrap().to_string(),
            "10.1.0.5"
        );
        // Anew for the same container: what it had is free for it.
        assert_eq!(leases.take(&net, &none, lease("one")).unwrap().ip, one.ip);
        for name in ["three", "four", "five"] {
            leases.take(&net, &none, lease(name)).unwrap();
        }
        let error = leases.take(&net, &none, lease("six")).unwrap_err().to_string();
        assert!(error.contains("no available IPv4 addresses"), "{error}");
        assert!(leases.give_back("three").unwrap() && !leases.give_back("three").unwrap());
        assert_eq!(leases.take(&net, &none, lease("six")).unwrap().ip.unwrap().to_string(), "10.1.0.3");
        drop(leases);
        let mut again = Leases::open(&scratch.join("net")).unwrap();
        assert_eq!(again.all().len(), 5);
        assert!(!again.retain(|lease| Ok(lease.container == "one")).unwrap());
        assert_eq!(Leases::read(&scratch.join("net")).unwrap(), again.all());
    }

    #[test]
    fn what_is_kept_back_is_nobodys_but_who_asks_for_it() {
        let scratch = Scratch::new();
        let mut net = network(&[("10.1.0.0/24", "10.1.0.1")]);
        net.ipam.config[0].ip_range = "10.1.0.128/30".to_owned();
        net.ipam.config[0].auxiliary_addresses.insert("printer".to_owned(), "10.1.0.128".to_owned());
        let mut leases = Leases::open(&scratch.join("net")).unwrap();
        let none = EndpointConfig::default();
        assert_eq!(leases.take(&net, &none, lease("one")).unwrap().ip.unwrap().to_string(), "10.1.0.129");
        let asked = EndpointConfig { ip6: Some("fd00::9".parse().unwrap()), ..EndpointConfig::default() };
        let error = leases.take(&net, &asked, lease("two")).unwrap_err().to_string();
        assert!(error.contains("no configured subnet contains IP address fd00::9"), "{error}");
        let six = network(&[("fd00::/64", "fd00::1")]);
        let six = leases.take(&six, &none, lease("two")).unwrap();
        assert_eq!((six.ip, six.mac.as_str()), (None, "02:01:23:45:67:89"));
    }
}
