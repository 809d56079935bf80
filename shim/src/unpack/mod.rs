//! Layers onto the disk: tar streams become trees of files, confined to their folder.

pub mod archive;
mod header;
mod pax;
pub mod remove;
pub mod stream;
pub mod tree;
#[cfg(test)]
pub(crate) mod written;

use std::ffi::CString;

use crate::error::{Error, Result};

/// A name or path as the kernel takes it.
///
/// # Errors
/// A NUL in it.
pub(crate) fn c_string(bytes: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(bytes).map_err(|_| Error::invalid("a NUL in a name"))
}
