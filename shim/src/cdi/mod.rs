//! Devices by the names that their vendors give them: the Container Device Interface (CNCF, container-device-interface,
//! SPEC.md 1.1.0).
//!
//! Whoever looks after the host describes devices in `/etc/cdi`, and programs do in `/var/run/cdi`, as JSON or YAML
//! (`registry`, `spec`); what a description says is done to the document that a runtime gets (`edit`), at each start anew.
//! Descriptions are the host's and as much trusted as its runtime: an image has no part in any of this.

pub mod edit;
pub mod name;
pub mod registry;
pub mod request;
pub mod spec;
mod yaml;
