//! Volumes: folders of the store's that outlive containers, with Docker's layout and Docker's words.
//!
//! `store` is the only code that knows where they lie; `options` reads what the driver `local` is to mount, and `attach`
//! mounts it at the first use and takes it away after the last; `fill` puts into a new volume what the image has at its
//! place. Which container has which volume stands in the containers' records (`users`); what containers do with volumes
//! is `container::volumes`'. What lies in a volume is the containers': it is never reached by a path of theirs.

pub mod attach;
pub mod fill;
pub mod filter;
pub mod options;
pub mod prune;
pub mod relabel;
pub mod store;
pub mod sweep;
pub mod users;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::escape::one_line;

/// The only driver.
pub const DRIVER: &str = "local";
/// Docker's label of volumes that nobody has named.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";
/// Longest name, in bytes: that of a file.
const NAME_MAX: usize = 255;
/// Characters that a name may have behind the first, which is a letter or a digit.
const NAME: &str = "[a-zA-Z0-9][a-zA-Z0-9_.-]";

/// What was asked for when a volume was made: `volume.json`, with Docker's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Volume {
    /// When it was made, as RFC 3339 has it.
    pub created_at: String,
    /// Always [`DRIVER`].
    pub driver: String,
    /// Notes of the user's.
    pub labels: Option<BTreeMap<String, String>>,
    /// The folder's name.
    pub name: String,
    /// What the driver is to mount: `type`, `device`, `o`.
    pub options: Option<BTreeMap<String, String>>,
}

impl Volume {
    /// Has nobody named it?
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.labels.as_ref().is_some_and(|labels| labels.contains_key(ANONYMOUS))
    }

    /// Is something to be mounted on its folder?
    #[must_use]
    pub fn is_mount(&self) -> bool {
        self.options.as_ref().is_some_and(|options| !options.is_empty())
    }
}

/// Is this a name? It becomes the name of a folder.
///
/// # Errors
/// Docker's words.
pub fn check_name(name: &str) -> Result<()> {
    if name.len() == 1 {
        return Err(Error::invalid(
            "volume name is too short, names should be at least two alphanumeric characters",
        ));
    }
    let mut bytes = name.bytes();
    let is_first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !is_first || !bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
        let name = one_line(name);
        return Err(Error::invalid(format!(
            "\"{name}\" includes invalid characters for a local volume name, only \"{NAME}\" are allowed. If you \
             intended to pass a host directory, use absolute path"
        )));
    }
    if name.len() > NAME_MAX {
        return Err(Error::invalid(format!("volume name is too long: at most {NAME_MAX} characters")));
    }
    Ok(())
}

/// The error of who names a volume that is not there, in Docker's words.
#[must_use]
pub fn missing(name: &str) -> Error {
    Error::not_found(format!("get {name}: no such volume"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dockers() {
        for name in ["ab", "a_b.c-d", "0a", &"x".repeat(255)] {
            check_name(name).unwrap();
        }
        for (name, words) in [
            ("a", "volume name is too short"),
            ("", "includes invalid characters"),
            (".a", "includes invalid characters"),
            ("..", "includes invalid characters"),
            ("a/b", "\"a/b\" includes invalid characters for a local volume name, only"),
            ("a b", "includes invalid characters"),
            ("a\n", "includes invalid characters"),
            ("äb", "includes invalid characters"),
            (&"x".repeat(256), "too long"),
        ] {
            assert!(check_name(name).unwrap_err().to_string().contains(words), "{name:?}");
        }
    }
}
