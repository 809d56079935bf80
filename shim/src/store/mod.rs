//! What lies on the disk, and the only code that knows how.

pub mod content;
pub mod folder;
pub mod layer;
pub mod record;
#[cfg(test)]
mod scratch;
