//! Has the kernel take the table, in one transaction.

use rustix::net::netlink::NETFILTER;

use crate::error::{Context as _, Result};
use crate::firewall::NAME;
use crate::firewall::nf_tables::{self, Batch, INET};
use crate::netlink::Socket;

/// Is our table there? One question to the kernel. Where it cannot be asked, the change that follows tells why.
#[must_use]
pub fn is_there() -> bool {
    open().and_then(|mut socket| nf_tables::is_there(&mut socket, INET, NAME)).unwrap_or(false)
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

fn open() -> Result<Socket> {
    Socket::open(Some(NETFILTER)).during(|| "netfilter's netlink".to_owned())
}
