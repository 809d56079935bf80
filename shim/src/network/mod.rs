//! Networks of containers: bridges of the host's kernel, with addresses that are handed out from the disk, without a daemon.
//!
//! `record` is what is kept and told of a network and of a container in it; `endpoint` puts a container into its networks
//! and takes it out again. Nothing here touches a device, a route or a rule that this program did not make, and nothing
//! that an image says decides about an address, a name or a right.

pub mod address;
pub mod bridge;
pub mod connect;
pub mod dns;
pub mod endpoint;
pub mod files;
pub mod filter;
pub mod lease;
pub mod link;
pub mod names;
pub mod namespace;
pub mod netlink;
pub mod record;
pub mod store;
pub mod sweep;
pub mod told;

pub use record::{EndpointConfig, EndpointState, Network};

use std::collections::BTreeMap;

use crate::container::host_config::HostConfig;
use crate::container::store::Containers;
use crate::error::{Error, Result};
use crate::network::store::Networks;

/// The network that a container is in when nobody says otherwise.
pub const DEFAULT: &str = "bridge";
/// Modes that are no networks of ours: docker's names for the host's own namespace, and for none at all.
pub const NAMES_ONLY: [&str; 2] = ["host", "none"];

/// Is a container of this mode in networks of ours, and its network namespace made by us?
#[must_use]
pub fn is_of_networks(host_config: &HostConfig) -> bool {
    let mode = host_config.network_mode.as_str();
    !mode.is_empty() && !NAMES_ONLY.contains(&mode) && !mode.starts_with("container:")
}

/// Finds the networks that a new container is to be in, by what the user calls them; in its record they have their names.
///
/// # Errors
/// A network that is not there, or where what was asked for cannot be, in Docker's words.
pub fn resolve(
    containers: &Containers,
    asked: BTreeMap<String, EndpointConfig>,
    host_config: &mut HostConfig,
) -> Result<BTreeMap<String, EndpointConfig>> {
    let networks = Networks::of(containers);
    let mut endpoints = BTreeMap::new();
    for (word, mut config) in asked {
        let network = networks.find(&word)?;
        check(&network, &config)?;
        config.network_id.clone_from(&network.id);
        if network.name == DEFAULT {
            // No names there: it is known which containers are meant, whatever they are called later.
            config.linked = link::resolve(containers, &std::mem::take(&mut config.links))?;
        }
        if host_config.network_mode == word {
            host_config.network_mode.clone_from(&network.name);
        }
        if endpoints.insert(network.name.clone(), config).is_some() {
            return Err(Error::usage(format!("network {:?} is specified multiple times", network.name)));
        }
    }
    Ok(endpoints)
}

/// Can this be asked for in this network?
///
/// # Errors
/// Docker's words.
pub fn check(network: &Network, config: &EndpointConfig) -> Result<()> {
    if network.name == DEFAULT && (config.ip.is_some() || config.ip6.is_some()) {
        return Err(Error::invalid("user specified IP address is supported on user defined networks only"));
    }
    if network.name == DEFAULT && !config.aliases.is_empty() {
        return Err(Error::invalid(
            "network-scoped alias is supported only for containers in user defined networks",
        ));
    }
    Ok(())
}
