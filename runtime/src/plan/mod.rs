//! Specification and host facts become a plan: plain data, no I/O.

pub mod seccomp;
