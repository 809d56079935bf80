//! Real engines on the runtime under test: Docker, containerd, Podman and Buildah as Debian packages them.
//!
//! Each test has a [`World`]: namespaces in which an engine's daemons run and that take everything with them.
//! The engines are configured by the very lines of docs/engines.md ([`manual`]). Nothing is downloaded: images
//! are made from busybox ([`image`]). What people do with engines that have docker's command line ([`Client`])
//! is in [`workloads`], for all of them; what they say beside what the shim says, in [`compare`].

mod buildah;
mod client;
pub mod compare;
mod containerd;
mod docker;
pub mod image;
pub mod manual;
mod podman;
pub mod workloads;
mod world;

pub use buildah::Buildah;
pub use client::{Client, IMAGE};
pub use containerd::Containerd;
pub use docker::Docker;
pub use podman::{Podman, RootlessPodman};
pub use world::World;
