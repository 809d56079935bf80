//! Kubernetes' container runtime interface, from the side of kubelet.

pub mod client;
mod image;
pub mod machine;
pub mod messages;
