//! Carries out the parts of the plan: one kernel concept, one file.

pub mod capability;
pub mod intel_rdt;
pub mod keyring;
pub mod lsm;
pub mod net_device;
pub mod netlink;
pub mod network;
pub mod procfs;
pub mod rlimit;
pub mod scheduler;
pub mod sysctl;
#[cfg(test)]
pub mod throwaway;
