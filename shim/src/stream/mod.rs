//! A container's streams, between its monitor and whoever is attached.
//!
//! `protocol` is what both say. The rest is the client's side: what somebody at a terminal (`terminal`) types goes to the
//! container but for the keys by which he leaves (`keys`), and what the container prints comes to him (`client`, `output`).
//! `session` is all of it for a container that a record tells of.

pub mod client;
pub mod keys;
mod output;
pub mod protocol;
pub mod session;
pub mod terminal;
