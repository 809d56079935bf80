//! Flags of a network device by ioctl (netdevice(7)), which neither nix nor rustix can set.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Error, Result};

/// Sets IFF_UP of network device `name`. `socket` is a socket of any family; its network namespace counts.
///
/// # Errors
/// ENODEV for a device that is not there, ENAMETOOLONG, EPERM without CAP_NET_ADMIN.
pub fn set_up(socket: BorrowedFd<'_>, name: &str) -> Result<()> {
    // SAFETY: ifreq holds integers, arrays of them and a pointer, for all of which zeroes are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(Error::new("ioctl", format!("{name:?}"), libc::ENAMETOOLONG));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed() as libc::c_char;
    }
    // SAFETY: the request is a live ifreq with a name that ends in NUL; the kernel writes its flags.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) } != 0 {
        return Err(Error::last("ioctl", format!("SIOCGIFFLAGS, {name:?}")));
    }
    let up = libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
    // SAFETY: the kernel has just written this member of the union.
    unsafe { request.ifr_ifru.ifru_flags |= up };
    // SAFETY: the request is a live ifreq that the kernel only reads.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } != 0 {
        return Err(Error::last("ioctl", format!("SIOCSIFFLAGS, {name:?}, IFF_UP")));
    }
    Ok(())
}
