//! Options of a netlink socket (netlink(7)), which neither nix nor rustix has.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Error, Result};

/// An option that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// NETLINK_EXT_ACK: refusals come with a text.
    ExtendedAck,
    /// NETLINK_CAP_ACK: refusals repeat the header of the request and not all of it.
    CappedAck,
    /// NETLINK_GET_STRICT_CHK: dumps are filtered as the request says.
    StrictCheck,
}

/// Switches an option on.
///
/// # Errors
/// ENOPROTOOPT where the kernel does not know it.
pub fn switch_on(socket: BorrowedFd<'_>, flag: Flag) -> Result<()> {
    let option = match flag {
        Flag::ExtendedAck => libc::NETLINK_EXT_ACK,
        Flag::CappedAck => libc::NETLINK_CAP_ACK,
        Flag::StrictCheck => libc::NETLINK_GET_STRICT_CHK,
    };
    let on: c_int = 1;
    // SAFETY: the value is a live int, and 4 is its size on every Linux.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_NETLINK, option, (&raw const on).cast(), 4) };
    if result == 0 { Ok(()) } else { Err(Error::last("setsockopt", format!("SOL_NETLINK, {flag:?}"))) }
}
