//! Kubernetes' container runtime interface, from the side of kubelet.

pub mod client;
pub mod machine;
pub mod messages;
pub mod stream;
