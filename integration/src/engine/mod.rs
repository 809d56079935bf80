//! Real engines on the runtime under test: Docker, containerd, Podman and Buildah as Debian packages them.
//!
//! Each test has a [`World`]: namespaces in which an engine's daemons run and that take everything with them.
//! The engines are configured by the very lines of docs/engines.md ([`manual`]). Nothing is downloaded: images
//! are made from busybox ([`image`]).

mod docker;
pub mod image;
pub mod manual;
mod world;

pub use docker::Docker;
pub use world::World;
