//! Moves network devices of the host into the container's network namespace.
//!
//! A device keeps what the kernel lets it keep (addresses of hardware, MTU), gets its permanent addresses of
//! global scope again, which the kernel takes on a move, and is switched on. All devices and names are
//! looked at before the first one moves. The runtime enters the container's namespace only for as long as
//! opening a socket takes. rtnetlink(7), config-linux.md "Network Devices".

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::thread::LinkNameSpaceType;

use super::netlink::{Request, Socket, attributes, i32_at, text, u32_at};
use crate::bail;
use crate::error::{Call, Context, Result};
use crate::kernel::procfs::Procfs;
use crate::plan::network::NetDevice;

// <linux/rtnetlink.h>
const NEWLINK: u16 = 16;
const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
/// NLM_F_CREATE | NLM_F_EXCL.
const CREATE: u16 = 0x600;

// <linux/if_link.h>
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_NEW_IFINDEX: u16 = 49;
/// Size of `struct ifinfomsg`.
const LINK: usize = 16;

// <linux/if_addr.h>
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_PROTO: u16 = 11;
const PERMANENT: u32 = 0x80;
/// NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN: what somebody asked for. The other flags are
/// states in which the kernel found the address.
const KEPT: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;
/// Size of `struct ifaddrmsg`.
const ADDRESS: usize = 8;
/// RT_SCOPE_UNIVERSE.
const GLOBAL: u8 = 0;

/// Moves `devices` into the namespace `network`, names them and switches them on.
///
/// # Errors
/// A device that is not there or cannot be moved, a name that is taken inside, an address that is refused.
/// The first two are found before anything is moved, except for what only the move itself tells.
pub fn move_devices(devices: &[NetDevice], network: BorrowedFd<'_>) -> Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    let mut host = Socket::open()?;
    let mut inside = socket_inside(network)?;
    let field = |device: &NetDevice| format!("linux.netDevices[{:?}]", device.host);
    let mut found = Vec::with_capacity(devices.len());
    for device in devices {
        found.push(Found::new(&mut host, &mut inside, device).context(|| field(device))?);
    }
    for (device, found) in devices.iter().zip(&found) {
        found.transfer(&mut host, &mut inside, network, device).context(|| field(device))?;
    }
    Ok(())
}

/// A netlink socket of the namespace `network`; the calling thread is back in its own afterwards.
fn socket_inside(network: BorrowedFd<'_>) -> Result<Socket> {
    let own = own_network()?;
    enter(network).context(|| "enter the container's network namespace")?;
    let socket = Socket::open();
    enter(own.as_fd()).context(|| "return to the runtime's network namespace")?;
    socket
}

fn own_network() -> Result<OwnedFd> {
    let folder = Procfs::shared()?.open("thread-self/ns", OFlags::PATH | OFlags::DIRECTORY)?;
    rustix::fs::openat(&folder, "net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .call("open", || "\"/proc/thread-self/ns/net\"")
}

fn enter(network: BorrowedFd<'_>) -> Result<()> {
    rustix::thread::move_into_link_name_space(network, Some(LinkNameSpaceType::Network))
        .call("setns", || "CLONE_NEWNET")
}

/// A device of the host before it moves.
struct Found {
    index: i32,
    name: String,
    addresses: Vec<Address>,
}

impl Found {
    fn new(host: &mut Socket, inside: &mut Socket, device: &NetDevice) -> Result<Self> {
        let Some(Link { index, name }) = link_of_name(host, &device.host)? else {
            bail!("the host has no network device {:?}", device.host)
        };
        // With a pattern the kernel finds a name that is free.
        if !device.container.contains('%') && link_of_name(inside, &device.container)?.is_some() {
            bail!("the name {:?} is taken in the container's network namespace", device.container);
        }
        let addresses = addresses(host, index, &name)?;
        Ok(Self { index, name, addresses })
    }

    fn transfer(
        &self,
        host: &mut Socket,
        inside: &mut Socket,
        network: BorrowedFd<'_>,
        device: &NetDevice,
    ) -> Result<()> {
        let new_index = free_index(inside, self.index)?;
        let request = Request::new(NEWLINK, 0, &link_header(self.index, 0), "RTM_NEWLINK, move".to_owned())
            .attribute(IFLA_NET_NS_FD, &network.as_raw_fd().to_ne_bytes())?
            .attribute(IFLA_NEW_IFINDEX, &new_index.to_ne_bytes())?
            .text(IFLA_IFNAME, &device.container)?;
        host.ask(&request)?;
        let name = match link_of_index(inside, new_index)? {
            Some(link) if device.container.contains('%') || link.name == device.container => link.name,
            _ => bail!("it is not {:?} after the move", device.container),
        };
        for address in &self.addresses {
            inside.ask(&address.request(new_index, &self.name, &name)?)?;
        }
        // After the addresses, as the kernel makes its own link-local one when the device goes up.
        let up = link_header(new_index, libc::IFF_UP.cast_unsigned());
        inside.ask(&Request::new(NEWLINK, 0, &up, format!("RTM_NEWLINK, {name:?}, IFF_UP"))).map(|_| ())
    }
}

/// Number and name of a device.
struct Link {
    index: i32,
    name: String,
}

impl Link {
    fn parse(message: &[u8]) -> Option<Self> {
        let (_, name) = attributes(message.get(LINK..)?).find(|(kind, _)| *kind == IFLA_IFNAME)?;
        Some(Self { index: i32_at(message, 4)?, name: text(name) })
    }
}

/// `struct ifinfomsg`: family, type, index, flags, which of them are meant.
fn link_header(index: i32, flags: u32) -> [u8; LINK] {
    let mut header = [0; LINK];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

fn link_of_name(socket: &mut Socket, name: &str) -> Result<Option<Link>> {
    let request = Request::new(GETLINK, 0, &link_header(0, 0), format!("RTM_GETLINK, {name:?}"));
    link(socket, &request.text(IFLA_IFNAME, name)?)
}

fn link_of_index(socket: &mut Socket, index: i32) -> Result<Option<Link>> {
    link(socket, &Request::new(GETLINK, 0, &link_header(index, 0), format!("RTM_GETLINK, {index}")))
}

fn link(socket: &mut Socket, request: &Request) -> Result<Option<Link>> {
    match socket.ask(request) {
        Ok(messages) => Ok(messages.iter().find_map(|message| Link::parse(message))),
        Err(error) if error.errno() == libc::ENODEV => Ok(None),
        Err(error) => Err(error),
    }
}

/// A number for the device that is free inside: its own if possible.
fn free_index(inside: &mut Socket, wanted: i32) -> Result<i32> {
    if link_of_index(inside, wanted)?.is_none() {
        return Ok(wanted);
    }
    let all = inside.ask(&Request::listing(GETLINK, &link_header(0, 0), "RTM_GETLINK".to_owned()))?;
    let highest = all.iter().filter_map(|message| i32_at(message, 4)).max().unwrap_or(wanted);
    match highest.checked_add(1) {
        Some(free) => Ok(free),
        None => bail!("the container's network namespace has no free number for a device"),
    }
}

/// An address that moves with its device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    family: u8,
    prefix: u8,
    flags: u32,
    label: Option<String>,
    /// Attributes that stay as they are.
    rest: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// The address of a message, where it is of device `index`, permanent and global.
    fn parse(message: &[u8], index: i32) -> Option<Self> {
        let &[family, prefix, flags, scope] = message.first_chunk()?;
        let mut address = Self { family, prefix, flags: u32::from(flags), label: None, rest: Vec::new() };
        for (kind, value) in attributes(message.get(ADDRESS..)?) {
            match kind {
                IFA_FLAGS => address.flags = u32_at(value, 0)?,
                IFA_LABEL => address.label = Some(text(value)),
                IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST | IFA_RT_PRIORITY | IFA_PROTO => {
                    address.rest.push((kind, value.to_vec()));
                }
                _ => {}
            }
        }
        let is_kept = i32_at(message, 4)? == index && scope == GLOBAL && address.flags & PERMANENT != 0;
        is_kept.then_some(address)
    }

    /// The request that gives it to device `index`, now `new_name`.
    fn request(&self, index: i32, old_name: &str, new_name: &str) -> Result<Request> {
        let flags = self.flags & KEPT;
        let mut header = [self.family, self.prefix, 0, GLOBAL, 0, 0, 0, 0];
        header[4..].copy_from_slice(&index.to_ne_bytes());
        let name = format!("RTM_NEWADDR, {}", self.describe());
        let mut request =
            Request::new(NEWADDR, CREATE, &header, name).attribute(IFA_FLAGS, &flags.to_ne_bytes())?;
        for (kind, value) in &self.rest {
            request = request.attribute(*kind, value)?;
        }
        // A label is the device's name, perhaps with more behind it (`eth0:1`).
        match self.label.as_deref().map(|label| label.strip_prefix(old_name).ok_or(label)) {
            None => Ok(request),
            Some(Ok(suffix)) => request.text(IFA_LABEL, &format!("{new_name}{suffix}")),
            Some(Err(other)) => request.text(IFA_LABEL, other),
        }
    }

    fn describe(&self) -> String {
        let value =
            |wanted| self.rest.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value.as_slice());
        // With IPv4 a peer's address stands in the place of the device's own.
        let Some(bytes) = value(IFA_LOCAL).or_else(|| value(IFA_ADDRESS)) else { return String::new() };
        if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
            format!("{}/{}", std::net::Ipv4Addr::from(bytes), self.prefix)
        } else if let Ok(bytes) = <[u8; 16]>::try_from(bytes) {
            format!("{}/{}", std::net::Ipv6Addr::from(bytes), self.prefix)
        } else {
            format!("{bytes:02x?}")
        }
    }
}

fn addresses(host: &mut Socket, index: i32, name: &str) -> Result<Vec<Address>> {
    let mut header = [0; ADDRESS];
    header[4..].copy_from_slice(&index.to_ne_bytes());
    let all = host.ask(&Request::listing(GETADDR, &header, format!("RTM_GETADDR, {name:?}")))?;
    Ok(all.iter().filter_map(|message| Address::parse(message, index)).collect())
}

#[cfg(test)]
mod tests;
