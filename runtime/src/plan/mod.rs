//! The specification turned into plain data that the kernel modules carry out. Nothing here does I/O.

pub mod capability;
pub mod intel_rdt;
pub mod network;
pub mod rlimit;
pub mod scheduler;
pub mod sysctl;
