//! Subnets, and which address is the next one. Pure.
//!
//! Addresses of both families are counted as numbers of 128 bits. Docker's default pools are those of its daemon
//! (docs.docker.com, "Networking overview", "Subnet allocation").

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::{Error, Result};

/// Addresses with the same beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subnet {
    /// The first one.
    address: IpAddr,
    /// How many bits are the same.
    length: u8,
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl Subnet {
    /// The subnet that an address is in.
    #[must_use]
    pub fn around(address: IpAddr, length: u8) -> Subnet {
        let length = length.min(bits(address));
        let subnet = Subnet { address, length };
        Subnet { address: with_number(address, number(address) & !subnet.host_mask()), length }
    }

    /// Reads `ADDRESS/LENGTH`, which has to be the subnet's own address.
    ///
    /// # Errors
    /// Docker's words.
    pub fn parse(text: &str) -> Result<Subnet> {
        let (subnet, address) = Subnet::parse_address(text)?;
        if subnet.address != address {
            return Err(Error::usage(format!("invalid subnet {text}: it should be {subnet}")));
        }
        Ok(subnet)
    }

    /// Reads `ADDRESS/LENGTH` with any address of the subnet.
    ///
    /// # Errors
    /// Docker's words.
    pub fn parse_address(text: &str) -> Result<(Subnet, IpAddr)> {
        let wrong = || Error::usage(format!("invalid CIDR address: {text}"));
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length = length.parse().ok().filter(|length| is_number && *length <= bits(address));
        Ok((Subnet::around(address, length.ok_or_else(wrong)?), address))
    }

    /// Its first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits are the same.
    #[must_use]
    pub fn length(self) -> u8 {
        self.length
    }

    /// Is it of IPv4?
    #[must_use]
    pub fn is_ipv4(self) -> bool {
        self.address.is_ipv4()
    }

    fn host_mask(self) -> u128 {
        let free = u32::from(bits(self.address).saturating_sub(self.length));
        if free >= 128 { u128::MAX } else { (1 << free) - 1 }
    }

    /// Is this address in it?
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_ipv4() && Subnet::around(address, self.length) == self
    }

    /// Is all of the other one in it?
    #[must_use]
    pub fn covers(self, other: Subnet) -> bool {
        self.length <= other.length && self.contains(other.address)
    }

    /// Have the two addresses in common?
    #[must_use]
    pub fn overlaps(self, other: Subnet) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The address to everybody, of an IPv4 subnet that has one.
    #[must_use]
    pub fn broadcast(self) -> Option<Ipv4Addr> {
        match self.last() {
            IpAddr::V4(last) if self.length <= 30 => Some(last),
            _ => None,
        }
    }

    fn last(self) -> IpAddr {
        with_number(self.address, number(self.address) | self.host_mask())
    }

    /// Can a host have this address? Not the first one, nor IPv4's last.
    #[must_use]
    pub fn is_for_hosts(self, address: IpAddr) -> bool {
        let is_whole = self.length + 1 >= bits(self.address);
        let is_end =
            address == self.address || self.broadcast().is_some_and(|last| address == IpAddr::V4(last));
        self.contains(address) && (is_whole || !is_end)
    }

    /// The lowest address of this part that a host of the subnet can have and that is free.
    pub fn first_free(self, part: Subnet, is_taken: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        /// More than any host can have containers: what is behind that many taken addresses is not looked at.
        const LOOKED_AT: u128 = 1 << 20;
        let (first, last) = (number(part.address), number(part.last()));
        let last = last.min(first.saturating_add(LOOKED_AT));
        let all = (first..=last).map(|number| with_number(part.address, number));
        all.into_iter().find(|address| self.is_for_hosts(*address) && !is_taken(*address))
    }
}

/// A subnet that nobody has, of docker's default pools; the first of these if that is free.
#[must_use]
pub fn free_ipv4(preferred: Option<Subnet>, is_taken: impl Fn(Subnet) -> bool) -> Option<Subnet> {
    let of = |address: [u8; 4], length| Subnet::around(IpAddr::from(address), length);
    // Docker's own first network is the last choice: it may come to this host yet.
    let large = (18..32).chain([17]).map(|second| of([172, second, 0, 0], 16));
    let small = (0..16_u8).map(|third| of([192, 168, third * 16, 0], 20));
    preferred.into_iter().chain(large).chain(small).find(|subnet| !is_taken(*subnet))
}

/// A subnet of unique local addresses (RFC 4193), with these random bits in it.
#[must_use]
pub fn unique_local(random: [u8; 5]) -> Subnet {
    let mut bytes = [0; 16];
    bytes[0] = 0xfd;
    bytes[1..6].copy_from_slice(&random);
    Subnet::around(IpAddr::from(bytes), 64)
}

/// The hardware address that an interface has for its IPv4 address: who had it before, and is remembered by neighbours,
/// had the same one.
#[must_use]
pub fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// An address of the same family.
fn with_number(like: IpAddr, number: u128) -> IpAddr {
    match like {
        // The number of an address of this family has no more bits.
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX))),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_subnet_is_read_as_it_is_told() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "10.1.2.3/32", "fd00::/64", "::/0", "fd00::1/128"] {
            assert_eq!(Subnet::parse(text).unwrap().to_string(), text);
        }
        for text in
            ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "/8", "10.0.0.0/", "10.0.0.0/+8", "x/8"]
        {
            assert_eq!(Subnet::parse(text).unwrap_err().to_string(), format!("invalid CIDR address: {text}"));
        }
        let error = Subnet::parse("172.28.5.3/16").unwrap_err().to_string();
        assert_eq!(error, "invalid subnet 172.28.5.3/16: it should be 172.28.0.0/16");
    }

    #[test]
    fn subnets_know_what_is_in_them() {
        let net = Subnet::parse("10.1.0.0/16").unwrap();
        assert!(net.contains(ip("10.1.255.255")) && !net.contains(ip("10.2.0.0")) && !net.contains(ip("::")));
        for (other, overlaps) in
            [("10.0.0.0/8", true), ("10.1.7.0/24", true), ("10.2.0.0/16", false), ("::/0", false)]
        {
            let other = Subnet::parse(other).unwrap();
            assert_eq!((net.overlaps(other), other.overlaps(net)), (overlaps, overlaps), "{other}");
        }
        assert_eq!(net.broadcast(), Some([10, 1, 255, 255].into()));
        assert_eq!(Subnet::parse("fd00::/64").unwrap().broadcast(), None);
        assert!(!net.is_for_hosts(ip("10.1.0.0")) && !net.is_for_hosts(ip("10.1.255.255")));
        let two = Subnet::parse("10.1.0.0/31").unwrap();
        assert!(two.is_for_hosts(ip("10.1.0.0")) && two.is_for_hosts(ip("10.1.0.1")));
    }

    #[test]
    fn addresses_are_given_from_the_lowest_on_until_there_are_none() {
        let net = Subnet::parse("10.1.0.0/29").unwrap();
        let mut taken = vec![ip("10.1.0.1")];
        for last in 2..7 {
            let next = net.first_free(net, |address| taken.contains(&address)).unwrap();
            assert_eq!(next, ip(&format!("10.1.0.{last}")));
            taken.push(next);
        }
        assert_eq!(net.first_free(net, |address| taken.contains(&address)), None);
        let part = Subnet::parse("10.1.0.4/30").unwrap();
        assert_eq!(
            net.first_free(part, |_| false),
            Some(ip("10.1.0.4")),
            "only the subnet's own ends are nobody's"
        );
        let six = Subnet::parse("fd00::/64").unwrap();
        assert_eq!(six.first_free(six, |address| address == ip("fd00::1")), Some(ip("fd00::2")));
        let all = Subnet::parse("::/0").unwrap();
        assert_eq!(all.first_free(all, |_| true), None, "it ends");
    }

    #[test]
    fn pools_are_gone_through_until_one_is_free() {
        let first = Subnet::parse("172.30.0.0/16").unwrap();
        assert_eq!(free_ipv4(Some(first), |_| false), Some(first));
        let taken = [first, Subnet::parse("172.16.0.0/14").unwrap()];
        let is_taken = |subnet: Subnet| taken.iter().any(|taken| taken.overlaps(subnet));
        assert_eq!(free_ipv4(Some(first), is_taken).unwrap().to_string(), "172.20.0.0/16");
        let large = Subnet::parse("172.16.0.0/12").unwrap();
        let is_taken = |subnet: Subnet| large.overlaps(subnet);
        assert_eq!(free_ipv4(None, is_taken).unwrap().to_string(), "192.168.0.0/20");
        assert_eq!(free_ipv4(Some(first), |_| true), None);
        assert_eq!(unique_local([1, 2, 3, 4, 5]).to_string(), "fd01:203:405::/64");
        assert_eq!(mac_of([172, 30, 0, 2].into()), [2, 0x42, 172, 30, 0, 2]);
    }
}
