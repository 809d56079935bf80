//! A container goes into its networks before its runtime is called, and out of them at each end of a run.
//!
//! Both are done by the container's monitor; whoever removes or adopts a container whose monitor was killed does the second
//! too, so that taking out what is not in is nothing.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use crate::container::record::Container;
use crate::container::store::Containers;
use crate::error::{Kind, Result};
use crate::network::{EndpointState, is_of_networks};

/// A container that is in its networks.
#[derive(Debug)]
pub struct Attached {
    /// Its network namespace, in which no program runs yet.
    pub netns: OwnedFd,
    /// What it has in its networks, by their names.
    pub networks: BTreeMap<String, EndpointState>,
}

/// Makes a network namespace for a container and puts it into its networks; None where it has none of its own making.
/// What it has is recorded in its state.
///
/// # Errors
/// A network that is not there, an address that is taken or not to be had, in Docker's words; the system's reason. Nothing
/// is left then.
pub fn attach(containers: &Containers, container: &Container) -> Result<Option<Attached>> {
    let _ = containers;
    if !is_of_networks(&container.host_config) {
        return Ok(None);
    }
    Err(crate::error::Error::usage(format!(
        "network {}: there are none yet",
        container.host_config.network_mode
    )))
}

/// Takes a container out of all its networks, and what was recorded of them out of its state. What is not there is
/// nothing.
///
/// # Errors
/// The system's reason.
pub fn detach(containers: &Containers, container: &Container) -> Result<()> {
    if !is_of_networks(&container.host_config) {
        return Ok(());
    }
    let id = crate::container::ContainerId::parse(&container.id)?;
    let forgotten = containers.update_state(&id, false, |state| {
        state.networks.clear();
        state.ports.clear();
    });
    match forgotten {
        // Removed by somebody else.
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        forgotten => forgotten,
    }
}
