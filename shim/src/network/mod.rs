//! Networks of containers: bridges of the host's kernel, with addresses that are handed out from the disk, without a daemon.
//!
//! `record` is what is kept and told of a network and of a container in it; `endpoint` puts a container into its networks
//! and takes it out again. Nothing here touches a device, a route or a rule that this program did not make, and nothing
//! that an image says decides about an address, a name or a right.

pub mod endpoint;
pub mod record;

pub use record::{EndpointConfig, EndpointState, Network};

use crate::container::host_config::HostConfig;

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
