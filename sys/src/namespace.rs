//! Questions about namespaces by ioctl (ioctl_ns(2)), which nix does not have and rustix leaves to unsafe code.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Error, Result};

/// `_IO(0xb7, 0x1)` of linux/nsfs.h.
const NS_GET_USERNS: libc::Ioctl = 0xb701;

/// The user namespace that owns a namespace (NS_GET_USERNS).
///
/// # Errors
/// EPERM where that is neither the caller's nor below it; ENOTTY for what is no namespace.
pub fn owner(namespace: BorrowedFd<'_>) -> Result<OwnedFd> {
    // SAFETY: the request takes no argument and writes to no memory; the descriptor is borrowed for the call.
    let fd = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) };
    if fd < 0 {
        return Err(Error::last("ioctl", "NS_GET_USERNS"));
    }
    // SAFETY: on success the kernel returned a new descriptor that is ours alone; it closes on exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_namespace_has_an_owner_and_a_file_none() {
        let own = File::open("/proc/self/ns/net").unwrap();
        match owner(own.as_fd()) {
            Ok(_) => {}
            // Where tests run in a user namespace of their own.
            Err(error) => assert_eq!(error.errno, libc::EPERM, "{error}"),
        }
        let file = File::open("/proc/self/status").unwrap();
        assert!(owner(file.as_fd()).is_err());
    }
}
