//! Ports of containers that are published on the host: what was asked for (`syntax`) and how people are told of it
//! (`listing`), both pure; the host's ports, held by sockets (`bind`); all that is done at the start and the end of a run
//! (`publish`), and what is recorded of it (`record`); the process that holds the ports meanwhile (`proxy`), and how such
//! processes are found (`processes`); and what crashes leave of all of it (`sweep`).
//!
//! Nothing that an image says decides about a port of the host, but with `--publish-all`, where the user has asked for
//! that and the kernel chooses the number. Must not: touch anything of the packet filter but by `firewall`.

pub mod bind;
pub mod listing;
pub mod processes;
pub mod proxy;
pub mod publish;
pub mod record;
pub mod rules;
pub mod sweep;
pub mod syntax;
