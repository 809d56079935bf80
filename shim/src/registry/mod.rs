//! Registries of the OCI distribution specification, and Docker's before it.
//!
//! [`client`] speaks to one registry; what it says is checked by who asks (`manifest`, `blob`). Nothing that comes
//! from a registry is believed before its digest was checked, everything that comes is bounded, and credentials go
//! to the registry they belong to and to the token server it names, and nowhere else. What a registry answers never
//! gets into a path.
//!
//! Sources: OCI distribution-spec 1.1; the distribution project's "Docker Registry v2 authentication via central
//! service" and "… using OAuth2"; RFC 6750 and 7235 for challenges.

pub mod address;
pub mod blob;
pub mod cancel;
pub mod challenge;
pub mod client;
pub mod credentials;
pub mod helper;
pub mod manifest;
pub mod network;
pub mod response;
pub mod settings;
pub mod tls;
pub mod token;
