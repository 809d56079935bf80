//! mount_setattr(2), which neither nix nor rustix has.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Error, Result};

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountAttr {
    /// `MOUNT_ATTR_…` flags to set.
    pub attr_set: u64,
    /// `MOUNT_ATTR_…` flags to clear.
    pub attr_clr: u64,
    /// One of `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, or 0.
    pub propagation: u64,
    /// User namespace for `MOUNT_ATTR_IDMAP`.
    pub userns_fd: u64,
}

/// mount_setattr(2) on the mount that `mount` refers to; `recursive` includes all mounts below it.
///
/// # Errors
/// As the man page: EINVAL for a descriptor that is not the root of a mount, EPERM for locked flags.
pub fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<()> {
    let empty: &CStr = c"";
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated static string and `attr` is a live `struct mount_attr` of the
    // size that is passed; the kernel only reads both.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            empty.as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if result < 0 {
        return Err(Error::last("mount_setattr", describe(attr)));
    }
    Ok(())
}

fn describe(attr: &MountAttr) -> String {
    let mut parts = Vec::new();
    if attr.attr_set != 0 {
        parts.push(format!("set {:#x}", attr.attr_set));
    }
    if attr.attr_clr != 0 {
        parts.push(format!("clear {:#x}", attr.attr_clr));
    }
    if attr.propagation != 0 {
        parts.push(format!("propagation {:#x}", attr.propagation));
    }
    parts.join(", ")
}
