//! Keyrings: keyctl(2), which neither nix nor rustix has.

use std::ffi::{CStr, c_char, c_long};

use crate::{Error, Result};

/// The calling thread's session keyring, instead of a serial number.
pub const SESSION: i32 = -3;

const JOIN_SESSION_KEYRING: i32 = 1;
const SETPERM: i32 = 5;
const DESCRIBE: i32 = 6;

/// KEYCTL_JOIN_SESSION_KEYRING: the session keyring of this name, made where there is none, becomes that of
/// the calling thread. Returns its serial number, or [`SESSION`] where it was that already.
///
/// # Errors
/// ENOSYS where the kernel has no keys or a filter forbids them, EDQUOT where the user has too many, EACCES.
pub fn join_session(name: &CStr) -> Result<i32> {
    // SAFETY: the name is a live C string that the kernel copies.
    let serial = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) };
    match i32::try_from(checked(serial, || format!("KEYCTL_JOIN_SESSION_KEYRING, {name:?}"))?) {
        Ok(0) => Ok(SESSION),
        Ok(serial) => Ok(serial),
        Err(_) => {
            Err(Error::new("keyctl", format!("KEYCTL_JOIN_SESSION_KEYRING, {name:?}"), libc::EOVERFLOW))
        }
    }
}

/// KEYCTL_DESCRIBE: `type;uid;gid;permissions;description` of a key, with the permissions in hexadecimal.
///
/// # Errors
/// ENOKEY, EACCES without the right to view.
pub fn describe(key: i32) -> Result<String> {
    let mut text = vec![0u8; 256];
    loop {
        let pointer: *mut c_char = text.as_mut_ptr().cast();
        // SAFETY: pointer and length are of one live vector of bytes, the only memory the kernel writes.
        let length = unsafe { libc::syscall(libc::SYS_keyctl, DESCRIBE, key, pointer, text.len()) };
        let length = checked(length, || format!("KEYCTL_DESCRIBE, {key}"))?;
        let length = usize::try_from(length).unwrap_or(0);
        if length <= text.len() {
            text.truncate(length.saturating_sub(1)); // the closing NUL
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
        text.resize(length, 0);
    }
}

/// KEYCTL_SETPERM: 8 bits each for possessor, user, group and others (keyrings(7)).
///
/// # Errors
/// EACCES without the right to set attributes.
pub fn set_permissions(key: i32, permissions: u32) -> Result<()> {
    // SAFETY: the call takes three integers and no memory.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, SETPERM, key, permissions) };
    checked(result, || format!("KEYCTL_SETPERM, {key}, {permissions:#x}")).map(|_| ())
}

fn checked(result: c_long, args: impl FnOnce() -> String) -> Result<c_long> {
    if result < 0 { Err(Error::last("keyctl", args())) } else { Ok(result) }
}
