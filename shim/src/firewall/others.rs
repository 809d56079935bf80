//! What others' rules do to packets that pass through the host, as far as that can be known without reading them: a chain
//! of theirs may drop whatever it does not let pass (iptables' `FORWARD` with the policy `DROP`, as Docker and ufw set it).
//!
//! What one chain drops no other one can let pass, and theirs are not ours to change. So where it is like that, published
//! ports are left to the proxy: what comes for it comes to the host itself, and their rules for the host's own ports count.

use crate::error::Result;
use crate::firewall::attributes::number;
use crate::firewall::netfilter::Netfilter;
use crate::firewall::nf_tables::{self, FORWARD, INET, IP, IP6};
use crate::netlink::find;

/// Attributes of a chain and of its hook (`NFTA_CHAIN_…`, `NFTA_HOOK_…` of linux/netfilter/nf_tables.h).
const CHAIN_TABLE: u16 = 1;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const HOOK_NUMBER: u16 = 1;
/// `NF_DROP`.
const DROP: u32 = 0;

/// Which families others drop by default when they pass through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// IPv4.
    pub four: bool,
    /// IPv6.
    pub six: bool,
}

/// Asks the kernel for all chains: of nftables, and of the iptables that is made of it.
///
/// # Errors
/// The system's reason.
pub fn dropped() -> Result<Dropped> {
    let mut dropped = Dropped::default();
    Netfilter::open()?.ask(&nf_tables::all_chains(), |family, attributes| {
        let hook = find(attributes, CHAIN_HOOK).and_then(|hook| number(hook, HOOK_NUMBER));
        // Of whichever store.
        let is_own = family == INET && find(attributes, CHAIN_TABLE).is_some_and(is_of_ours);
        if hook == Some(FORWARD) && number(attributes, CHAIN_POLICY) == Some(DROP) && !is_own {
            dropped.four |= matches!(family, INET | IP);
            dropped.six |= matches!(family, INET | IP6);
        }
    })?;
    Ok(dropped)
}

fn is_of_ours(table: &[u8]) -> bool {
    let behind = table.strip_prefix(crate::firewall::NAME.as_bytes());
    behind.and_then(<[u8]>::first).is_some_and(|next| matches!(next, 0 | b'-'))
}
