//! Layers onto the disk: tar streams become trees of files, confined to their folder.

pub mod archive;
mod header;
mod pax;
pub mod remove;
pub mod stream;
pub mod tree;
#[cfg(test)]
pub(crate) mod written;
