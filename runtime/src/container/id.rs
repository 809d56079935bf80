//! A container's id, which is also the name of its folder: checked once, so that no other module ever joins
//! an unchecked name to a path.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// NAME_MAX: the longest name of a folder, in bytes.
const MAX_BYTES: usize = 255;

/// A valid id: letters, digits and `_+-.`, neither `.` nor `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

impl ContainerId {
    /// Checks an id.
    ///
    /// # Errors
    /// With the phrase "invalid container ID format", which engines search for.
    pub fn parse(text: &str) -> Result<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
        let valid = !matches!(text, "" | "." | "..") && text.len() <= MAX_BYTES && text.bytes().all(allowed);
        if valid { Ok(Self(text.to_owned())) } else { Err(invalid(text)) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn invalid(text: &str) -> Error {
    if text.len() > MAX_BYTES {
        return Error::other(format!(
            "invalid container ID format: {} bytes, at most {MAX_BYTES} are allowed",
            text.len()
        ));
    }
    Error::other(format!("invalid container ID format: {text:?}"))
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ContainerId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_runcs() {
        for id in ["a", "0", "web-1", "A_b+c.d", "...", ".hidden", "-x", &"x".repeat(255)] {
            assert_eq!(ContainerId::parse(id).unwrap().as_str(), id);
        }
        for id in ["", ".", "..", "a/b", "/", "../up", "a b", "a\n", "a\0", "ä", "a:b", &"x".repeat(256)] {
            let error = ContainerId::parse(id).unwrap_err().to_string();
            assert!(error.starts_with("invalid container ID format: "), "{id:?}: {error}");
        }
    }

    #[test]
    fn a_document_cannot_bring_in_an_unchecked_id() {
        assert_eq!(serde_json::from_str::<ContainerId>("\"web\"").unwrap().to_string(), "web");
        assert!(serde_json::from_str::<ContainerId>("\"../web\"").is_err());
        assert_eq!(serde_json::to_string(&ContainerId::parse("web").unwrap()).unwrap(), "\"web\"");
    }
}
