//! Thin wrappers of kernel calls, the only unsafe code of the project.
//!
//! A wrapper stands here only where neither `nix` nor `rustix` serves: the call is missing there, or its
//! type cannot say what a container runtime has to say. Each wrapper is one system call, names its man
//! page, and returns an [`Error`] that carries the call, its arguments and the errno. No policy lives here.

mod error;
pub mod interface;
pub mod keyctl;
pub mod netlink;
pub mod numa;
pub mod sched;

pub use error::{Error, Result, errno_name, errno_text};
