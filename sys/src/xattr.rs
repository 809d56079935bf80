//! listxattrat(2), getxattrat(2) and setxattrat(2) (Linux 6.13): extended attributes of an entry of a folder.
//!
//! The older calls take a descriptor that a link or a device never gives (it is opened, not referred to), or a
//! path. Neither nix nor rustix has these.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Error, Result};

/// Numbers that all architectures of the build targets share.
const SETXATTRAT: libc::c_long = 463;
const GETXATTRAT: libc::c_long = 464;
const LISTXATTRAT: libc::c_long = 465;

/// `struct xattr_args` of linux/xattr.h.
#[repr(C, align(8))]
struct Args {
    value: u64,
    size: u32,
    flags: u32,
}

/// The names of all attributes of `name` in `folder`, each with a zero byte behind it. A link is not followed.
///
/// # Errors
/// ENOSYS before Linux 6.13, ERANGE where `list` is too small, EOPNOTSUPP where the file system has none.
pub fn list_at(folder: BorrowedFd<'_>, name: &CStr, list: &mut [u8]) -> Result<usize> {
    // SAFETY: the name ends with a zero byte, and the kernel writes no more than the length that it is given,
    // which is that of `list`; the descriptor is open for as long as it is borrowed.
    let length = unsafe {
        let nofollow = libc::AT_SYMLINK_NOFOLLOW;
        let (folder, list_start) = (folder.as_raw_fd(), list.as_mut_ptr());
        libc::syscall(LISTXATTRAT, folder, name.as_ptr(), nofollow, list_start, list.len())
    };
    usize::try_from(length).map_err(|_| Error::last("listxattrat", format!("{name:?}")))
}

/// The value of one attribute of `name` in `folder`. A link is not followed.
///
/// # Errors
/// As [`list_at`]; ENODATA where it has no such attribute.
pub fn get_at(folder: BorrowedFd<'_>, name: &CStr, attribute: &CStr, value: &mut [u8]) -> Result<usize> {
    let failed = || Error::last("getxattrat", format!("{name:?}, {attribute:?}"));
    let args = args(value.as_mut_ptr() as u64, value.len());
    // SAFETY: the arguments are those of `value`, to which nothing else refers meanwhile.
    let length = unsafe { call(GETXATTRAT, folder, name, attribute, args) };
    usize::try_from(length).map_err(|_| failed())
}

/// Sets one attribute of `name` in `folder`. A link is not followed.
///
/// # Errors
/// As [`list_at`], and EPERM where the type of the file may not have it.
pub fn set_at(folder: BorrowedFd<'_>, name: &CStr, attribute: &CStr, value: &[u8]) -> Result<()> {
    let args = args(value.as_ptr() as u64, value.len());
    // SAFETY: the arguments are those of `value`, which the kernel only reads.
    let result = unsafe { call(SETXATTRAT, folder, name, attribute, args) };
    if result == 0 { Ok(()) } else { Err(Error::last("setxattrat", format!("{name:?}, {attribute:?}"))) }
}

/// getxattrat(2) or setxattrat(2), by its number: both take the same.
///
/// # Safety
/// The pointer and the size in `args` are those of memory that may be read, and written by getxattrat, until
/// the call is over.
unsafe fn call(
    number: libc::c_long,
    folder: BorrowedFd<'_>,
    name: &CStr,
    attribute: &CStr,
    args: Args,
) -> libc::c_long {
    let (name, attribute, folder) = (name.as_ptr(), attribute.as_ptr(), folder.as_raw_fd());
    // SAFETY: both names end with a zero byte and are borrowed; the arguments are a live xattr_args of the size
    // passed, of whose content the caller answers.
    unsafe {
        let nofollow = libc::AT_SYMLINK_NOFOLLOW;
        libc::syscall(number, folder, name, nofollow, attribute, &raw const args, size_of::<Args>())
    }
}

/// A value larger than 4 GiB is none that the kernel takes; it says so itself (E2BIG).
fn args(value: u64, size: usize) -> Args {
    Args { value, size: u32::try_from(size).unwrap_or(u32::MAX), flags: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn attributes_of_a_link_are_its_own() {
        let path = std::env::temp_dir().join(format!("caisson-test-xattr-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        std::os::unix::fs::symlink("nowhere", path.join("link")).unwrap();
        let folder = std::fs::File::open(&path).unwrap();
        let (folder, mut buffer) = (folder.as_fd(), [0_u8; 256]);
        match set_at(folder, c"link", c"trusted.caisson", b"value") {
            Ok(()) => {
                let length = get_at(folder, c"link", c"trusted.caisson", &mut buffer).unwrap();
                assert_eq!(&buffer[..length], b"value");
                let length = list_at(folder, c"link", &mut buffer).unwrap();
                let mut names = buffer[..length].split(|byte| *byte == 0);
                assert!(names.any(|name| name == b"trusted.caisson"));
                assert_eq!(list_at(folder, c"link", &mut [0; 3]).unwrap_err().errno, libc::ERANGE);
                let missing = get_at(folder, c"link", c"trusted.none", &mut buffer).unwrap_err();
                assert_eq!(missing.errno, libc::ENODATA);
            }
            // An older kernel, a file system without them, or a caller without the right to them.
            Err(error) => {
                assert!([libc::ENOSYS, libc::EOPNOTSUPP, libc::EPERM].contains(&error.errno), "{error}");
                eprintln!("left out: {error}");
            }
        }
        std::fs::remove_file(path.join("link")).unwrap();
        std::fs::remove_dir(&path).unwrap();
    }
}
