//! Extended attributes, copied from one file to another (xattr(7)): file capabilities, access control lists,
//! and what users and modules keep there.
//!
//! By descriptor only. A link and a special file cannot be opened for that; theirs are reached through their
//! folder, on kernels that can (6.13), and left behind on others.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use crate::error::{Call, Result};

/// XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/limits.h.
const MAX_BYTES: usize = 65_536;

/// A file whose attributes are meant.
#[derive(Debug, Clone, Copy)]
pub enum At<'a> {
    /// The file that is open.
    Open(BorrowedFd<'a>),
    /// The entry of an open folder, which is not followed where it is a link.
    Entry(BorrowedFd<'a>, &'a CStr),
}

impl At<'_> {
    fn list(self, names: &mut Vec<u8>) -> Result<()> {
        names.clear();
        match self {
            At::Open(fd) => {
                rustix::fs::flistxattr(fd, spare_capacity(names)).call("flistxattr", || "").map(drop)
            }
            At::Entry(folder, name) => {
                names.resize(MAX_BYTES, 0);
                let length = sys::xattr::list_at(folder, name, names)?;
                names.truncate(length);
                Ok(())
            }
        }
    }

    fn get(self, attribute: &CStr, value: &mut Vec<u8>) -> Result<()> {
        value.clear();
        match self {
            At::Open(fd) => rustix::fs::fgetxattr(fd, attribute, spare_capacity(value))
                .call("fgetxattr", || format!("{attribute:?}"))
                .map(drop),
            At::Entry(folder, name) => {
                value.resize(MAX_BYTES, 0);
                let length = sys::xattr::get_at(folder, name, attribute, value)?;
                value.truncate(length);
                Ok(())
            }
        }
    }

    fn set(self, attribute: &CStr, value: &[u8]) -> Result<()> {
        match self {
            At::Open(fd) => rustix::fs::fsetxattr(fd, attribute, value, rustix::fs::XattrFlags::empty())
                .call("fsetxattr", || format!("{attribute:?}")),
            At::Entry(folder, name) => Ok(sys::xattr::set_at(folder, name, attribute, value)?),
        }
    }
}

/// Gives `to` the extended attributes of `from`, as far as its file system has them.
///
/// After owner and mode: chown(2) takes file capabilities away, and an access control list decides the mode.
///
/// # Errors
/// Of reading them, and of writing those that a file system has but does not take (ENOSPC, E2BIG).
pub fn copy(from: At<'_>, to: At<'_>) -> Result<()> {
    let mut names = Vec::with_capacity(MAX_BYTES);
    match from.list(&mut names) {
        Ok(()) => {}
        Err(error) if matches!(error.errno(), libc::EOPNOTSUPP | libc::ENOSYS) => return Ok(()),
        Err(error) => return Err(error),
    }
    if names.is_empty() {
        return Ok(());
    }
    let mut value = Vec::with_capacity(MAX_BYTES);
    for attribute in names.split_inclusive(|byte| *byte == 0) {
        let Ok(attribute) = CStr::from_bytes_with_nul(attribute) else { continue };
        match from.get(attribute, &mut value) {
            Ok(()) => {}
            // Gone by now; or a capability for ids that are not in our user namespace, where it means nothing.
            Err(error) if matches!(error.errno(), libc::ENODATA | libc::EOVERFLOW) => continue,
            Err(error) => return Err(error),
        }
        match to.set(attribute, &value) {
            Err(error) if !may_miss(attribute, Errno::from_raw_os_error(error.errno())) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a file may do without an attribute that cannot be set for this reason.
fn may_miss(attribute: &CStr, reason: Errno) -> bool {
    match reason {
        // user.* on tmpfs before Linux 6.6, system.* of another file system, a label under option `context`.
        Errno::OPNOTSUPP => true,
        // Labels and sums of modules (SELinux, IMA, EVM), which decide themselves who sets them.
        Errno::PERM | Errno::ACCESS | Errno::INVAL => {
            attribute.to_bytes().starts_with(b"security.") && attribute != c"security.capability"
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_the_file_system_or_a_module_may_be_missing() {
        assert!(may_miss(c"user.a", Errno::OPNOTSUPP));
        assert!(may_miss(c"security.selinux", Errno::PERM));
        assert!(!may_miss(c"security.capability", Errno::PERM));
        assert!(!may_miss(c"trusted.a", Errno::PERM));
        assert!(!may_miss(c"user.a", Errno::NOSPC));
    }
}
