//! The documents that describe images.

pub mod config;
pub mod manifest;
pub mod platform;
