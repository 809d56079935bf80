//! Configuration to plan: plain data that the steps carry out. Nothing here does I/O.

pub mod cgroup;
pub mod devices;
