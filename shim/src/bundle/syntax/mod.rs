//! The grammar of flags' values, as docker's command line reads them: text in, plain data out. Pure.

pub mod device;
pub mod environment;
pub mod mount;
pub mod size;
pub mod tmpfs;
pub mod ulimit;
pub mod volume;
