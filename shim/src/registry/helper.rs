//! Credential helpers: programs of the user's that keep passwords elsewhere.
//!
//! A helper is `docker-credential-NAME` from `$PATH`, called with one word; the registry's address, or a document, goes
//! to its standard input, so nothing of it is in a command line. Source: docker-credential-helpers, "Development".

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Kind, Result};

/// Longest answer that is read, in bytes.
const ANSWER_MAX: u64 = 1 << 20;
/// What a helper prints when it has nothing, whatever the system's language.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// What a helper has for a registry.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Entry {
    /// The registry's address.
    #[serde(default, rename = "ServerURL")]
    pub server: String,
    /// A name, or `<token>`: then the secret is an identity token.
    pub username: String,
    /// A password or token.
    pub secret: String,
}

/// A helper by its name, which is a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    program: String,
}

impl Helper {
    /// The helper with this name.
    ///
    /// # Errors
    /// A name that could lead elsewhere than to a program in `$PATH`.
    pub fn new(name: &str) -> Result<Helper> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(is_word) {
            return Err(Error::invalid(format!("credential helper {name:?}: the name has to be a word")));
        }
        Ok(Helper { program: format!("docker-credential-{name}") })
    }

    /// What it has for this registry.
    ///
    /// # Errors
    /// The helper is not there, fails, or answers nonsense.
    pub fn get(&self, server: &str) -> Result<Option<Entry>> {
        match self.call("get", server.as_bytes())? {
            Answer::Nothing => Ok(None),
            Answer::Text(text) => serde_json::from_slice(&text)
                .map(Some)
                // Without the text: a secret may be in it.
                .map_err(|_| Error::invalid(format!("{}: get: it answered no credentials", self.program))),
        }
    }

    /// Gives it something to keep.
    ///
    /// # Errors
    /// As for [`Helper::get`].
    pub fn store(&self, entry: &Entry) -> Result<()> {
        let bytes = serde_json::to_vec(entry).map_err(|error| Error::invalid(error.to_string()))?;
        self.call("store", &bytes).map(drop)
    }

    /// Makes it forget a registry; false if it had nothing.
    ///
    /// # Errors
    /// As for [`Helper::get`].
    pub fn erase(&self, server: &str) -> Result<bool> {
        Ok(matches!(self.call("erase", server.as_bytes())?, Answer::Text(_)))
    }

    fn call(&self, word: &str, input: &[u8]) -> Result<Answer> {
        let words = || format!("{} {word}", self.program);
        let mut command = Command::new(&self.program);
        command.arg(word).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        // Signals are blocked here for a thread that waits for them: Ctrl-C would not end a helper that asks somebody.
        sys::spawn::inherit_nothing(&mut command);
        let mut child = command.spawn().during(words)?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(input) {
                // One that does not read has said all it has to.
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    return Err(error).during(words);
                }
                _ => {}
            }
        }
        let mut text = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(ANSWER_MAX).read_to_end(&mut text).during(words)?;
        }
        let status = child.wait().during(words)?;
        if status.success() {
            return Ok(Answer::Text(text));
        }
        // Errors are on standard output too, by the protocol.
        let reason = String::from_utf8_lossy(&text).trim().to_owned();
        if reason.contains(NOT_FOUND) {
            return Ok(Answer::Nothing);
        }
        let reason = if reason.is_empty() { format!("it ended with {status}") } else { reason };
        Err(Error::new(Kind::Denied, reason)).during(words)
    }
}

enum Answer {
    Nothing,
    Text(Vec<u8>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_is_a_program_of_the_path_and_nothing_else() {
        assert_eq!(Helper::new("pass").unwrap().program, "docker-credential-pass");
        for name in ["", "../x", "a/b", "a b", "a;b", "$x"] {
            assert!(Helper::new(name).is_err(), "{name:?}");
        }
        let error = Helper::new("that-nobody-has").unwrap().get("host").map(drop).unwrap_err();
        let text = "docker-credential-that-nobody-has get: No such file or directory";
        assert_eq!((error.to_string().as_str(), error.kind()), (text, Kind::NotFound));
    }
}
