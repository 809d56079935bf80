//! What lies on the disk, and the only code that knows how.

pub mod content;
pub mod folder;
pub mod gc;
pub mod image;
pub mod intake;
pub mod layer;
pub mod lease;
pub mod record;
#[cfg(test)]
pub(crate) mod scratch;
