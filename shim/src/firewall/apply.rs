//! Has the kernel take a table, in one transaction.

use rustix::net::netlink::NETFILTER;

use crate::error::{Context as _, Result};
use crate::firewall::Table;
use crate::firewall::nf_tables::{self, Batch, INET};
use crate::netlink::Socket;

/// Is a table of ours there? One question to the kernel. Where it cannot be asked, the change that follows tells why.
#[must_use]
pub fn is_there(table: &Table) -> bool {
    open().and_then(|mut socket| nf_tables::is_there(&mut socket, INET, table.name())).unwrap_or(false)
}

/// Has the kernel do what is in a batch, whole or not at all.
///
/// # Errors
/// What it will not have, and why.
pub fn load(batch: &Batch) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    open().and_then(|mut socket| batch.commit(&mut socket)).during(|| "firewall".to_owned())
}

/// A socket to netfilter in the network namespace that this thread is in.
///
/// # Errors
/// The system's reason.
pub fn open() -> Result<Socket> {
    Socket::open(Some(NETFILTER)).during(|| "netfilter's netlink".to_owned())
}
