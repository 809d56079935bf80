//! Network devices of the host moved into a container (config-linux.md "Network devices").

use std::os::fd::BorrowedFd;

use crate::bail;
use crate::error::Result;
use crate::plan::network::NetDevice;

/// Moves the devices into the network namespace; refused until the netlink part is back.
///
/// # Errors
/// Always, where there are any.
pub fn move_devices(devices: &[NetDevice], _netns: BorrowedFd<'_>) -> Result<()> {
    match devices.first() {
        None => Ok(()),
        Some(device) => bail!("linux.netDevices[{:?}]: not supported by this build", device.host),
    }
}
