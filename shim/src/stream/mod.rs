//! A container's streams, between its monitor and whoever is attached.

pub mod protocol;
