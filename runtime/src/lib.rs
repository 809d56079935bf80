//! An OCI container runtime: `create`, `start`, `state`, `kill`, `delete`, in runc's place.
//!
//! The flow is `cli → command → spec → plan → create::parent ⇄ create::init → container`. Left of `create`
//! everything is pure or read-only; right of it everything is a list of steps. See ARCHITECTURE.md.
#![forbid(unsafe_code)]

pub mod cgroup;
pub mod cli;
pub mod command;
pub mod container;
pub mod create;
pub mod criu;
pub mod error;
pub mod exec;
pub mod foreground;
pub mod hooks;
pub mod kernel;
pub mod plan;
pub mod report;
mod requirement;
pub mod seal;
pub mod signals;
pub mod spec;
pub mod time;
