//! Carries out the plan: one kernel concept per file, each a list of steps. No policy is decided here.

pub mod capability;
pub mod copy_up;
pub mod device;
pub mod idmap;
pub mod intel_rdt;
pub mod keyring;
pub mod lsm;
pub mod mask;
pub mod mount;
pub mod namespace;
pub mod net_device;
pub mod netlink;
pub mod network;
pub mod procfs;
pub mod rlimit;
pub mod root;
pub mod rootfs;
pub mod scheduler;
pub mod sysctl;
pub mod tty;
pub mod xattr;

#[cfg(test)]
pub(crate) mod throwaway;
