//! Registries for the tests: one that lies as it is told ([`fake`]) and Debian's docker-registry ([`docker`]). Both are
//! on a port of 127.0.0.1 that the kernel chose, and end with their value.

pub mod docker;
pub mod fake;

pub use docker::Registry;
pub use fake::{Answer, Body, Fake, Layout, Request};
