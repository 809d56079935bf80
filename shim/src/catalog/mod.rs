//! Images as people see them: what is told of each, which are meant, and what becomes of the others when one goes.

pub mod filter;
pub mod history;
pub mod inspect;
mod pattern;
pub mod remove;
pub mod summary;
pub mod usage;
