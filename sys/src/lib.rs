//! Thin wrappers of kernel calls, the only unsafe code of the project.
//!
//! A wrapper stands here only where neither `nix` nor `rustix` serves: the call is missing there, or its
//! type cannot say what a container runtime has to say. Each wrapper is one system call, names its man
//! page, and returns an [`Error`] that carries the call, its arguments and the errno. No policy lives here.

pub mod bpf;
mod error;
pub mod exe;
pub mod fd;
pub mod interface;
pub mod keyctl;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod numa;
mod pidfd;
pub mod process;
pub mod sched;
pub mod seccomp;
pub mod spawn;
pub mod start;
pub mod xattr;

pub use error::{Error, Result, errno_name, errno_text, write_call};
pub use pidfd::{exit_code, pidfd_send_signal};
