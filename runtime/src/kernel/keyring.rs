//! The container's own session keyring, so that its programs see no keys of whoever called the runtime.
//!
//! keyrings(7), session-keyring(7), keyctl(2). As runc, so that `exec` of either finds it by its name.

use std::ffi::CString;

use crate::bail;
use crate::error::{Context, Result};

/// Right to search (KEY_OTH_SEARCH of <linux/key.h>; the others are shifted).
const SEARCH: u32 = 0x08;

/// Gives the calling thread the session keyring `_ses.ID`. Its owner may search it, which is what finds it
/// by its name again; with a user namespace others may too, as the owner's id may be another one there.
/// A kernel without keys has none to protect.
///
/// # Errors
/// EDQUOT where the user has too many keyrings, EACCES.
pub fn join_session(id: &str, user_namespace: bool) -> Result<()> {
    let Ok(name) = CString::new(format!("_ses.{id}")) else {
        bail!("session keyring: the container's id {id:?} holds a NUL byte")
    };
    let keyring = match sys::keyctl::join_session(&name) {
        Err(error) if error.errno == libc::ENOSYS => return Ok(()),
        result => result.context(|| "session keyring")?,
    };
    let description = sys::keyctl::describe(keyring).context(|| "session keyring")?;
    let Some(present) = permissions(&description) else {
        bail!("session keyring: keyctl(KEYCTL_DESCRIBE) said {description:?}")
    };
    let search = if user_namespace { SEARCH | SEARCH << 16 } else { SEARCH << 16 };
    sys::keyctl::set_permissions(keyring, present | search).context(|| "session keyring")
}

/// The fourth field of `type;uid;gid;permissions;description`.
fn permissions(description: &str) -> Option<u32> {
    u32::from_str_radix(description.split(';').nth(3)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::throwaway::alone;
    use sys::keyctl::{SESSION, describe};

    fn check(user_namespace: bool, rights: u32) {
        let before = describe(SESSION).unwrap();
        join_session("throw-away", user_namespace).unwrap();
        let after = describe(SESSION).unwrap();
        assert_ne!(after, before);
        assert!(after.starts_with("keyring;0;0;") && after.ends_with(";_ses.throw-away"), "{after}");
        assert_eq!(permissions(&after), Some(0x3f13_0000 | rights), "{after}");
        // Joining it while in it, and from elsewhere as `exec` does, finds the same one.
        join_session("throw-away", user_namespace).unwrap();
        assert_eq!(describe(SESSION).unwrap(), after);
        std::thread::spawn(move || {
            let first = sys::keyctl::join_session(c"_ses.throw-away").unwrap();
            let other = sys::keyctl::join_session(c"_ses.elsewhere").unwrap();
            assert_ne!(describe(other).unwrap(), after);
            let second = sys::keyctl::join_session(c"_ses.throw-away").unwrap();
            assert!(first == SESSION && second > 0);
            assert_eq!(describe(second).unwrap(), after);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn the_session_keyring_is_the_container_s() {
        if alone("kernel::keyring::tests::the_session_keyring_is_the_container_s", &[]) {
            check(false, SEARCH << 16);
        }
    }

    #[test]
    fn in_a_user_namespace_others_may_search() {
        if alone(
            "kernel::keyring::tests::in_a_user_namespace_others_may_search",
            &["--user", "--map-root-user"],
        ) {
            check(true, SEARCH | SEARCH << 16);
        }
    }

    #[test]
    fn permissions_are_the_fourth_field() {
        assert_eq!(permissions("keyring;1000;1000;3f1b0000;_ses.a;b"), Some(0x3f1b_0000));
        assert_eq!(permissions("keyring;1000;1000"), None);
        assert_eq!(permissions("keyring;1000;1000;what;x"), None);
    }

    #[test]
    fn an_id_with_a_nul_is_an_error() {
        assert!(join_session("a\0b", false).unwrap_err().to_string().contains("holds a NUL byte"));
    }
}
