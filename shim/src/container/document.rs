//! A container's document for its runtime, as it lies in the container's folder: read whole, and never more than it may have.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Context as _, Error, Result};

/// Longest document, in bytes: what `create` writes has some 30 KiB, with a seccomp profile of the user's more.
const LENGTH_MAX: u64 = 16 << 20;

/// Reads it, or what is wanted of it.
///
/// # Errors
/// One that is too long or not of this form; the system's reason.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let words = || format!("read {path:?}");
    let mut bytes = Vec::new();
    File::open(path).during(words)?.take(LENGTH_MAX + 1).read_to_end(&mut bytes).during(words)?;
    if bytes.len() as u64 > LENGTH_MAX {
        return Err(Error::invalid(format!("it is longer than {LENGTH_MAX} bytes"))).during(words);
    }
    serde_json::from_slice(&bytes).map_err(|error| Error::invalid(error.to_string())).during(words)
}
