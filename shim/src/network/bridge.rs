//! The bridge of a network: a device of the host's, its addresses, and what the host has to forward for it.
//!
//! A device of ours has our mark as its alias, which names this root and what the device is for. One without it is somebody
//! else's, and is left alone. The mark comes last, with the device going up: one that is up and marked is whole, whoever
//! was killed.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;

use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::firewall;
use crate::network::Network;
use crate::network::lease::{Leases, Part};
use crate::network::netlink::{Link, Netlink};
use crate::network::store::{Networks, OPTION_BRIDGE, OPTION_ICC, OPTION_MASQUERADE, OPTION_MTU};
use crate::port::rules;

/// What devices without an option have.
const MTU: u32 = 1500;
/// Smallest and largest that the kernel takes for both families.
const MTU_RANGE: std::ops::RangeInclusive<u32> = 68..=65535;
/// Longest name of a device (IFNAMSIZ of netdevice(7), without the final 0).
const NAME_MAX: usize = 15;
/// What the default network's bridge is called, with the first number that is free.
const DEFAULT_BRIDGE: &str = "caisson";
/// How many of those are looked at.
const NUMBERS: u32 = 100;

/// What a device of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For<'a> {
    /// A network's bridge.
    Network(&'a str),
    /// A container's end of a pair.
    Container(&'a str),
}

/// What a device is marked with.
#[must_use]
pub fn mark(root: &Path, what: For) -> String {
    let (kind, id) = match what {
        For::Network(id) => ("network", id),
        For::Container(id) => ("container", id),
    };
    format!("{}{kind} {id}", prefix(root))
}

/// What the mark of a device of this root says that it is for.
#[must_use]
pub fn read_mark<'a>(root: &Path, alias: &'a str) -> Option<For<'a>> {
    match alias.strip_prefix(&prefix(root))?.split_once(' ')? {
        ("network", id) => Some(For::Network(id)),
        ("container", id) => Some(For::Container(id)),
        _ => None,
    }
}

fn prefix(root: &Path) -> String {
    let digest = Digest::of(root.as_os_str().as_encoded_bytes());
    format!("caisson {:.16} ", digest.hex())
}

/// A network's device.
#[must_use]
pub fn name(network: &Network) -> String {
    match network.options.get(OPTION_BRIDGE) {
        Some(name) if !name.is_empty() => name.clone(),
        _ => format!("br-{:.12}", network.id),
    }
}

/// Names of all devices there are.
///
/// # Errors
/// The system's reason.
pub fn device_names() -> Result<Vec<String>> {
    Ok(Netlink::open()?.links()?.into_iter().map(|link| link.name).collect())
}

/// A name for the default network's bridge that none of these devices has.
///
/// # Errors
/// None is free.
pub fn free_default_name(taken: &[String]) -> Result<String> {
    let mut names = (0..NUMBERS).map(|number| format!("{DEFAULT_BRIDGE}{number}"));
    let free = names.find(|name| !taken.contains(name));
    free.ok_or_else(|| Error::conflict(format!("devices {DEFAULT_BRIDGE}0 and all that follow are there")))
}

/// How long packets of a network may be, in bytes.
///
/// # Errors
/// An option that is no such number.
pub fn mtu(network: &Network) -> Result<u32> {
    let Some(text) = network.options.get(OPTION_MTU).filter(|text| !text.is_empty()) else { return Ok(MTU) };
    let lowest = if network.enable_ipv6 { 1280 } else { *MTU_RANGE.start() };
    let fits = |mtu: &u32| MTU_RANGE.contains(mtu) && *mtu >= lowest;
    let wrong = || {
        Error::usage(format!(
            "{OPTION_MTU}={text}: it has to be a number from {lowest} to {}",
            MTU_RANGE.end()
        ))
    };
    text.parse().ok().filter(fits).ok_or_else(wrong)
}

/// An option that is on or off.
///
/// # Errors
/// One that is neither.
pub fn switch(network: &Network, option: &str, default: bool) -> Result<bool> {
    match network.options.get(option).map(String::as_str) {
        None => Ok(default),
        Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
        Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(Error::usage(format!("{option}={other}: it has to be true or false"))),
    }
}

/// Refuses options that mean nothing here: none is passed over.
///
/// # Errors
/// One of them.
pub fn check_options(network: &Network) -> Result<()> {
    for (name, value) in &network.options {
        match name.as_str() {
            OPTION_BRIDGE => check_name(value)?,
            OPTION_MTU => drop(mtu(network)?),
            OPTION_ICC => drop(switch(network, name, true)?),
            OPTION_MASQUERADE => drop(switch(network, name, true)?),
            crate::network::store::OPTION_HOST_ADDRESS => {
                if value.parse::<IpAddr>().is_err() {
                    return Err(Error::usage(format!("{name}={value}: it has to be an address")));
                }
            }
            _ => return Err(Error::usage(format!("--opt {name} is not supported"))),
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<()> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_dots = name.bytes().all(|byte| byte == b'.');
    if name.is_empty() || name.len() > NAME_MAX || is_dots || !name.bytes().all(is_fit) {
        return Err(Error::usage(format!("{OPTION_BRIDGE}={name}: it is no name of a device")));
    }
    Ok(())
}

/// The bridge as the packet filter has it.
///
/// # Errors
/// A record that is damaged.
pub fn of_firewall(network: &Network) -> Result<firewall::Bridge> {
    let mut subnets = Vec::new();
    for config in &network.ipam.config {
        let (subnet, address) = crate::network::address::Subnet::parse_address(&config.subnet)?;
        subnets.push((address, subnet.length()));
    }
    Ok(firewall::Bridge {
        name: name(network),
        subnets,
        is_internal: network.internal,
        masquerades: switch(network, OPTION_MASQUERADE, true)?,
        keeps_apart: !switch(network, OPTION_ICC, true)?,
    })
}

/// Has a network's bridge be there, and what belongs to it; where it is, that is one question to the kernel and one to the
/// packet filter. The caller keeps the network from being removed.
///
/// # Errors
/// A device of its name that is somebody else's; the system's reason.
pub fn up(networks: &Networks, network: &Network) -> Result<Link> {
    let _lock = networks.lock_kernel()?;
    let (name, mark) = (name(network), mark(networks.root(), For::Network(&network.id)));
    let mut netlink = Netlink::open()?;
    let found = netlink.link(&name)?;
    if let Some(link) = found.as_ref().filter(|link| link.alias == mark && link.is_up) {
        if !firewall::apply::is_there(&networks.table()) {
            load_all(networks, network)?;
        }
        return Ok(link.clone());
    }
    if let Some(link) = found {
        // Begun by somebody who was killed, or taken down by somebody who has the right to.
        let is_begun = link.kind == "bridge" && link.alias.is_empty() && !link.is_up;
        if !is_begun && link.alias != mark {
            return Err(Error::conflict(format!(
                "network device {name} is there, and is not this network's"
            )));
        }
        netlink.delete(&name)?;
    }
    forward(network)?;
    let id = u64::from_str_radix(network.id.get(..10).unwrap_or_default(), 16).unwrap_or_default();
    let [.., a, b, c, d, e] = id.to_be_bytes();
    netlink.add_bridge(&name, [0x02, a, b, c, d, e], mtu(network)?)?;
    let made = (|| {
        let link =
            netlink.link(&name)?.ok_or_else(|| Error::new(Kind::System, format!("device {name} is gone")))?;
        // Who sends advertisements of routes in it is a container.
        set(&format!("/proc/sys/net/ipv6/conf/{name}/accept_ra"), "0")?;
        for part in Part::all(network)? {
            if let Some(gateway) = part.gateway {
                netlink.add_address(link.index, gateway, part.subnet.length())?;
            }
        }
        load_all(networks, network)?;
        netlink.set_up(link.index, &mark)?;
        // Containers run on that had the one before.
        gather(networks, network, &link)?;
        Ok(Link { alias: mark, is_up: true, ..link })
    })();
    made.map_err(|error: Error| match netlink.delete(&name) {
        Ok(_) => error,
        Err(also) => error.and(&also),
    })
}

/// Removes a network's bridge, if it is its own, and what the packet filter has of it.
///
/// # Errors
/// The system's reason.
pub fn down(networks: &Networks, network: &Network) -> Result<()> {
    let _lock = networks.lock_kernel()?;
    let (name, mark) = (name(network), mark(networks.root(), For::Network(&network.id)));
    let mut netlink = Netlink::open()?;
    let is_own =
        |link: &Link| link.alias == mark || (link.alias.is_empty() && !link.is_up && link.kind == "bridge");
    if netlink.link(&name)?.is_some_and(|link| is_own(&link)) {
        netlink.delete(&name)?;
        if firewall::apply::is_there(&networks.table()) {
            // First what is there, so that taking it away cannot fail for want of it.
            let (table, bridge) = (networks.table(), of_firewall(network)?);
            let mut batch = table.with_bridge(&bridge)?;
            batch.append(table.without_bridge(&bridge)?);
            firewall::apply::load(batch)?;
        }
    }
    Ok(())
}

/// Has the packet filter know this bridge, and all others where its table is gone.
fn load_all(networks: &Networks, network: &Network) -> Result<()> {
    let table = networks.table();
    if firewall::apply::is_there(&table) {
        return firewall::apply::load(table.with_bridge(&of_firewall(network)?)?);
    }
    firewall::apply::load(rules::whole(networks)?)
}

/// Has the devices of a network's containers be ports of its bridge, which are none where somebody has removed the bridge
/// that was there; how many were not. The caller has the kernel's lock.
///
/// # Errors
/// The system's reason.
pub fn gather(networks: &Networks, network: &Network, bridge: &Link) -> Result<usize> {
    let mut netlink = Netlink::open()?;
    let isolated = !switch(network, OPTION_ICC, true)?;
    let mut count = 0;
    for lease in Leases::read(&networks.state_folder(&network.id))? {
        let mark = mark(networks.root(), For::Container(&lease.container));
        let Some(link) = netlink.link(&lease.veth)?.filter(|link| link.alias == mark) else { continue };
        if link.master == bridge.index {
            continue;
        }
        let put = netlink
            .set_master(link.index, bridge.index)
            .and_then(|()| netlink.set_port(link.index, isolated));
        match put {
            // Its container has ended meanwhile.
            Err(_) if netlink.link(&lease.veth)?.is_none() => {}
            put => put.map(|()| count += 1)?,
        }
    }
    Ok(count)
}

/// Has the host pass packets on between its devices, if that is needed.
fn forward(network: &Network) -> Result<()> {
    if network.internal {
        return Ok(());
    }
    if network.enable_ipv4 {
        set("/proc/sys/net/ipv4/ip_forward", "1")?;
    }
    if network.enable_ipv6 && !is_set("/proc/sys/net/ipv6/conf/all/forwarding", "1") {
        keep_advertised_routes()?;
        set("/proc/sys/net/ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

/// A host that forwards does not hear advertisements of routes any more (ip-sysctl of the kernel's documentation,
/// `accept_ra`): devices that did go on with it, or the host would lose its own way out.
fn keep_advertised_routes() -> Result<()> {
    let folder = "/proc/sys/net/ipv6/conf";
    for entry in fs::read_dir(folder).during(|| format!("read {folder}"))? {
        let path = entry.during(|| format!("read {folder}"))?.path().join("accept_ra");
        let path = path.to_string_lossy();
        if is_set(&path, "1") {
            set(&path, "2")?;
        }
    }
    Ok(())
}

fn is_set(path: &str, value: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.trim() == value)
}

/// Writes a sysctl unless it has this value; one that the kernel does not have is nothing (no IPv6 here).
///
/// # Errors
/// The system's reason.
pub fn set(path: &str, value: &str) -> Result<()> {
    if is_set(path, value) {
        return Ok(());
    }
    let words = || format!("write {value} to {path}");
    match fs::OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        open => open.during(words)?.write_all(value.as_bytes()).during(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(option: &str, value: &str) -> Network {
        let id = "0123456789abcdef".repeat(4);
        let options = [(option.to_owned(), value.to_owned())].into();
        Network { id, enable_ipv6: true, options, ..Network::default() }
    }

    #[test]
    fn a_mark_says_whose_a_device_is() {
        let (one, other) = (Path::new("/one"), Path::new("/other"));
        for what in [For::Network("ab"), For::Container("cd")] {
            let alias = mark(one, what);
            assert_eq!(read_mark(one, &alias), Some(what));
            assert_eq!(read_mark(other, &alias), None);
            // IFALIASZ is 256.
            assert!(mark(one, For::Container(&"0".repeat(64))).len() < 256);
        }
        for alias in ["", "caisson", "uplink", &mark(one, For::Network("x"))[1..]] {
            assert_eq!(read_mark(one, alias), None, "{alias}");
        }
    }

    #[test]
    fn options_are_heeded_or_refused() {
        assert_eq!(name(&with("x", "")), "br-0123456789ab");
        assert_eq!(name(&with(OPTION_BRIDGE, "lan0")), "lan0");
        assert_eq!(mtu(&with(OPTION_MTU, "1400")).unwrap(), 1400);
        assert_eq!(mtu(&with("x", "")).unwrap(), MTU);
        for (option, value) in [
            (OPTION_MTU, "1279"),
            (OPTION_MTU, "x"),
            (OPTION_MTU, "65536"),
            (OPTION_ICC, "maybe"),
            (OPTION_BRIDGE, "a/b"),
            (OPTION_BRIDGE, ".."),
            (OPTION_BRIDGE, "0123456789abcdef"),
            (crate::network::store::OPTION_HOST_ADDRESS, "here"),
            ("com.docker.network.bridge.inhibit_ipv4", "true"),
        ] {
            let error = check_options(&with(option, value)).unwrap_err().to_string();
            assert!(error.contains(option), "{error}");
        }
        assert!(check_options(&with(OPTION_ICC, "false")).is_ok());
        assert!(!switch(&with(OPTION_ICC, "0"), OPTION_ICC, true).unwrap());
    }
}
