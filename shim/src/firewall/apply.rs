//! Has the kernel take a table, in one transaction.

use crate::error::{Context as _, Result};
use crate::firewall::Table;
use crate::firewall::netfilter::Netfilter;
use crate::firewall::nf_tables::{self, Batch, INET};

/// Is a table of ours there? One question to the kernel. Where it cannot be asked, the change that follows tells why.
#[must_use]
pub fn is_there(table: &Table) -> bool {
    let asked =
        Netfilter::open().and_then(|mut netfilter| nf_tables::is_there(&mut netfilter, INET, table.name()));
    asked.unwrap_or(false)
}

/// Has the kernel do what is in a batch, whole or not at all.
///
/// # Errors
/// What it will not have, and why.
pub fn load(batch: Batch) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    Netfilter::open().and_then(|mut netfilter| batch.commit(&mut netfilter)).during(|| "firewall".to_owned())
}
