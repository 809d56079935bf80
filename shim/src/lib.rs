//! The shim: docker's commands without a daemon. It makes OCI bundles of images and drives an OCI runtime by its
//! command line; it links no code of the runtime.
#![forbid(unsafe_code)]

pub mod bundle;
pub mod catalog;
pub mod cdi;
pub mod check;
pub mod cli;
pub mod command;
pub mod container;
pub mod copy;
pub mod digest;
pub mod error;
pub mod escape;
pub mod event;
pub mod firewall;
pub mod host;
pub mod image;
pub mod import;
pub mod load;
pub mod log;
pub mod monitor;
pub mod netlink;
pub mod network;
pub mod output;
pub mod own_program;
pub mod pack;
pub mod port;
pub mod pull;
pub mod reference;
pub mod registry;
pub mod root;
pub mod rootless;
pub mod runtime;
pub mod save;
pub mod signals;
pub mod store;
pub mod stream;
pub mod time;
pub mod unpack;
pub mod volume;
