//! Containers: what is known of them, and what can be done with them.
//!
//! `record` is what was asked for, `state` what is happening; `store` is the only code that knows where they lie. What a
//! record says of processes is believed only as far as the kernel agrees (`process`). Nothing in a container's root is
//! reached by a plain path, and nothing that an image says is in charge of anything here.

pub mod attend;
pub mod boot;
pub mod changes;
pub mod commit;
pub mod config;
pub mod configure;
pub mod create;
pub mod document;
pub mod end;
pub mod exec;
pub mod export;
pub mod filter;
pub mod freeze;
pub mod host_config;
pub mod hosts;
pub mod init;
pub mod inspect;
pub mod labels;
pub mod limits;
pub mod listing;
pub mod modes;
pub mod name;
pub mod network_settings;
pub mod process;
pub mod processes;
pub mod prune;
pub mod record;
pub mod remove;
pub mod root;
pub mod signal;
pub mod size;
pub mod start;
pub mod state;
pub mod stats;
pub mod store;
pub mod sweep;
pub mod update;
pub mod users;
pub mod volumes;

/// Names a container: 64 hexadecimal digits, safe as a file's name.
pub use crate::root::record::BundleId as ContainerId;

use crate::error::Error;

/// The error of who names a container, by whatever word, that is not there; in Docker's words.
#[must_use]
pub fn missing(word: impl std::fmt::Display) -> Error {
    Error::not_found(format!("No such container: {word}"))
}

/// What Go calls no time at all, and Docker shows for what has not happened.
pub const NEVER: &str = "0001-01-01T00:00:00Z";
