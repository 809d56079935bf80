//! `--publish`, `--publish-all` and `--expose` of `create` and `run`.

use std::net::Ipv4Addr;

use crate::cli::flags::Given;
use crate::container::config::Config;
use crate::container::host_config::HostConfig;
use crate::container::modes::Mode;
use crate::error::{Error, Result};
use crate::image::config::Empty;
use crate::port::syntax;

/// Puts what the flags say into the records, with the warnings that Docker has for it.
///
/// # Errors
/// What cannot be read, or contradicts the network that is asked for, in Docker's words.
pub(super) fn apply(
    given: &Given,
    network: &Mode,
    config: &mut Config,
    host_config: &mut HostConfig,
) -> Result<Vec<String>> {
    config.exposed_ports = syntax::exposed(&given.texts("expose")?)?;
    host_config.port_bindings = syntax::published(&given.texts("publish")?)?;
    host_config.publish_all_ports = given.is_on("publish-all");
    let publishes = !host_config.port_bindings.is_empty() || host_config.publish_all_ports;
    if network.container().is_some() && (publishes || !config.exposed_ports.is_empty()) {
        let what = if publishes { "publishing" } else { "exposing" };
        return Err(Error::usage(format!(
            "conflicting options: port {what} and the container type network mode"
        )));
    }
    config.exposed_ports.extend(host_config.port_bindings.keys().map(|port| (port.clone(), Empty {})));
    if host_config.hardened {
        // Who wants more of a hardened container says to whom.
        let everywhere = host_config.port_bindings.values_mut().flatten();
        everywhere
            .filter(|binding| binding.host_ip.is_empty())
            .for_each(|binding| binding.host_ip = Ipv4Addr::LOCALHOST.to_string());
    }
    let mode = match network {
        Mode::Host => "host",
        Mode::Own => "none",
        _ => return Ok(Vec::new()),
    };
    Ok(Vec::from_iter(
        publishes.then(|| format!("Published ports are discarded when using {mode} network mode")),
    ))
}
