//! The birth of a container: ordered steps on both sides of one clone3(2).
//!
//! `parent` opens everything that can fail cheaply, clones, and does the host's part; `init` is the clone:
//! it sets itself up in the new namespaces and becomes the program. They talk over `channel` with one
//! message enum per direction. docs/create-flow.md numbers the steps as the code does.

pub mod channel;
pub mod handover;
pub mod init;
pub mod intermediate;
pub mod parent;
pub mod program;
