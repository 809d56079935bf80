//! What is kept of a network, and of a container in it, with Docker's keys. Plain data.
//!
//! [`Network`] is `network.json` and, with its containers, what `network inspect` tells. [`EndpointConfig`] is what was
//! asked for, in a container's record; [`EndpointState`] what is, in its state.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::network::link::Link;

/// A network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(clippy::struct_excessive_bools)]
pub struct Network {
    /// Without `/`, unlike every other network's.
    pub name: String,
    /// 64 hexadecimal digits.
    pub id: String,
    /// When it was made, as RFC 3339 has it.
    pub created: String,
    /// `local`.
    pub scope: String,
    /// `bridge`.
    pub driver: String,
    /// Containers have IPv4 addresses.
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: bool,
    /// Containers have IPv6 addresses.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    /// Its subnets.
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    /// Nobody in it reaches anything outside.
    pub internal: bool,
    /// Docker's, of swarms: it is told as it was given.
    pub attachable: bool,
    /// `--opt`.
    pub options: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
}

/// Where a network's addresses come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Ipam {
    /// `default`.
    pub driver: String,
    /// Docker's; none.
    pub options: Option<BTreeMap<String, String>>,
    /// Subnets, at most one of each family.
    pub config: Vec<IpamConfig>,
}

impl Default for Ipam {
    fn default() -> Ipam {
        Ipam { driver: "default".to_owned(), options: None, config: Vec::new() }
    }
}

/// One subnet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct IpamConfig {
    /// Address and length.
    pub subnet: String,
    /// Part of it that addresses are taken from.
    #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty")]
    pub ip_range: String,
    /// The bridge's own address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Addresses that containers are not given, by names that are the user's own.
    #[serde(rename = "AuxiliaryAddresses", skip_serializing_if = "BTreeMap::is_empty")]
    pub auxiliary_addresses: BTreeMap<String, String>,
}

/// What was asked for when a container was put into a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct EndpointConfig {
    /// The network, whatever its name becomes.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// `--network-alias`: what others in the network find it by, beside its name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// `--ip`.
    #[serde(rename = "IPv4Address", skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ipv4Addr>,
    /// `--ip6`.
    #[serde(rename = "IPv6Address", skip_serializing_if = "Option::is_none")]
    pub ip6: Option<Ipv6Addr>,
    /// `--mac-address`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac_address: String,
    /// `driver-opt=`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    /// `--link`, in networks that somebody has made: `CONTAINER:ALIAS`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// The same on the default network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub linked: Vec<Link>,
    /// Which network's gateway is the default one: the highest number's.
    pub gw_priority: i64,
}

/// What a container has in a network as long as it runs, with the keys of `NetworkSettings.Networks`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct EndpointState {
    /// The network.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// 64 hexadecimal digits, others at each start.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// IPv4; empty where there is none, as all of these.
    pub gateway: String,
    /// IPv4.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// Of the IPv4 subnet; 0 without an address.
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    /// IPv6.
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    /// IPv6.
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    /// Of the IPv6 subnet.
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    /// Of the device inside.
    pub mac_address: String,
    /// All that others find it by; empty on the default network.
    #[serde(rename = "DNSNames")]
    pub dns_names: Vec<String>,
    /// What it alone finds others by: `CONTAINER:ALIAS`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// The device inside.
    pub interface: String,
    /// Its other end, at the bridge.
    pub veth: String,
}
