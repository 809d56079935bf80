//! Ports of containers that are published on the host: what was asked for (`syntax`), and how people are told of it
//! (`listing`); both are pure.
//!
//! Nothing that an image says decides about a port of the host, but with `--publish-all`, where the user has asked for
//! that and the kernel chooses the number.

pub mod listing;
pub mod syntax;
