//! Names of containers in the networks that a container is in, answered at 127.0.0.11 in its network namespace, as Docker
//! does (docs.docker.com, "Networking overview", "DNS services").
//!
//! The sockets have ports of their own, and a rule in the container's own namespace leads port 53 there: a program of the
//! container may have port 53. Who serves them is the container's monitor (`monitor::resolver`). What there is to know is
//! read from leases and records at each question: nobody has to be told when a container comes, goes or gets a new address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::BorrowedFd;

use crate::container::ContainerId;
use crate::container::store::Containers;
use crate::error::{Context, Result};
use crate::firewall::{apply, rules};
use crate::network::lease::Leases;
use crate::network::store::{self, Networks};
use crate::network::{DEFAULT, EndpointState, link, namespace};

/// Where programs find it.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// Sockets of a container's resolver.
#[derive(Debug)]
pub struct Sockets {
    /// Datagrams.
    pub udp: UdpSocket,
    /// Connections.
    pub tcp: TcpListener,
}

impl Sockets {
    /// Opens them in a network namespace, at these ports or, with 0, at any that are free.
    ///
    /// # Errors
    /// The system's reason.
    pub fn open(netns: BorrowedFd, ports: [u16; 2]) -> Result<Sockets> {
        let words = || format!("sockets at {SERVER}");
        namespace::inside(netns, || {
            let udp = UdpSocket::bind(SocketAddr::new(SERVER.into(), ports[0])).during(words)?;
            let tcp = TcpListener::bind(SocketAddr::new(SERVER.into(), ports[1])).during(words)?;
            udp.set_nonblocking(true).during(words)?;
            tcp.set_nonblocking(true).during(words)?;
            Ok(Sockets { udp, tcp })
        })
    }

    /// Their ports.
    ///
    /// # Errors
    /// The system's reason.
    pub fn ports(&self) -> Result<[u16; 2]> {
        let words = || "getsockname".to_owned();
        Ok([self.udp.local_addr().during(words)?.port(), self.tcp.local_addr().during(words)?.port()])
    }
}

/// Has the namespace lead questions to these ports.
///
/// # Errors
/// What the kernel will not have, and why.
pub fn lead(netns: BorrowedFd, ports: [u16; 2]) -> Result<()> {
    namespace::inside(netns, || apply::load(rules::of_names(SERVER, ports)))
}

/// Are there names in any of these networks?
#[must_use]
pub fn are_in<'a>(mut networks: impl Iterator<Item = &'a String>) -> bool {
    networks.any(|name| name != DEFAULT)
}

/// What a container may know.
#[derive(Debug)]
pub struct Known {
    /// The addresses of a name; None for a name that nobody has here.
    pub addresses: Option<Vec<IpAddr>>,
    /// Others may be asked: one of its networks has a way out.
    pub may_ask: bool,
}

/// Looks a name up in the networks that a container is in at this moment: a container's name, alias or short id, alone or
/// with the network's name behind it.
///
/// # Errors
/// A damaged record; the system's reason.
pub fn look_up(containers: &Containers, id: &ContainerId, name: &str) -> Result<Known> {
    // What it alone calls somebody comes first.
    for called in called_by(containers, id, name)? {
        let known = look_up_name(containers, id, &called)?;
        if known.addresses.is_some() {
            return Ok(known);
        }
    }
    look_up_name(containers, id, name)
}

/// What the links of a container in its networks say of a name.
fn called_by(containers: &Containers, id: &ContainerId, name: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (network, state) in &containers.state(id)?.networks {
        for (other, alias) in state.links.iter().filter_map(|text| link::parse(text).ok()) {
            let bare =
                name.strip_suffix(network.as_str()).and_then(|rest| rest.strip_suffix('.')).unwrap_or(name);
            if alias.eq_ignore_ascii_case(name) || alias.eq_ignore_ascii_case(bare) {
                found.push(format!("{other}.{network}"));
            }
        }
    }
    Ok(found)
}

fn look_up_name(containers: &Containers, id: &ContainerId, name: &str) -> Result<Known> {
    let (mut found, mut is_known) = (Vec::new(), false);
    let may_ask = each_lease(containers, id, |network, lease| {
        let bare = name.strip_suffix(network).and_then(|rest| rest.strip_suffix('.')).unwrap_or(name);
        let is_one = |known: &String| known.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(bare);
        if lease.names.iter().any(is_one) && store::is_up(containers, lease)? {
            is_known = true;
            found.extend([lease.ip.map(IpAddr::from), lease.ip6.map(IpAddr::from)].into_iter().flatten());
        }
        Ok(())
    })?;
    Ok(Known { addresses: is_known.then_some(found), may_ask })
}

/// The name of who has an address in the networks of a container, and whether others may be asked.
///
/// # Errors
/// As of [`look_up`].
pub fn reverse(containers: &Containers, id: &ContainerId, address: IpAddr) -> Result<(Option<String>, bool)> {
    let mut found = None;
    let may_ask = each_lease(containers, id, |network, lease| {
        let has = lease.ip.map(IpAddr::from) == Some(address) || lease.ip6.map(IpAddr::from) == Some(address);
        if has && !lease.names.is_empty() && store::is_up(containers, lease)? {
            found = Some(format!("{}.{network}", lease.name));
        }
        Ok(())
    })?;
    Ok((found, may_ask))
}

/// Shows all leases of a container's networks, with the networks' names; whether one of these has a way out.
fn each_lease(
    containers: &Containers,
    id: &ContainerId,
    mut show: impl FnMut(&str, &super::lease::Lease) -> Result<()>,
) -> Result<bool> {
    let networks = Networks::of(containers);
    let state = containers.state(id)?;
    for (name, EndpointState { network_id, .. }) in &state.networks {
        for lease in Leases::read(&networks.state_folder(network_id))? {
            show(name, &lease)?;
        }
    }
    Ok(state.networks.values().any(|state| !state.gateway.is_empty() || !state.ipv6_gateway.is_empty()))
}
