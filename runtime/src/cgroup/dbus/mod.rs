//! A client of D-Bus, as small as the one conversation with systemd is: calls, their answers, and signals to
//! wait for (D-Bus specification 0.43, dbus.freedesktop.org).
//!
//! Owns the bytes and the socket; knows nothing of systemd. There is no executor and no thread: the runtime
//! is single-threaded when it clones. Every wait has an end, whatever the other side does or leaves undone.
//! Cargo.toml of the workspace says why this is not one of the published clients.

mod connection;
mod message;
mod value;
mod wire;

pub use connection::{Connection, Refused, Wait};
pub use message::Method;
pub use value::{MAX_DEPTH, Value, first_type};

#[cfg(test)]
pub(super) mod tests;
