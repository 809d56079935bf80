//! Are networks and published ports as they should be, and is nothing left of those that are gone?

use crate::check::{Broken, Problem, Repaired, Report};
use crate::container::store::Containers;
use crate::error::Result;
use crate::store::Store;
use crate::{network, port};

/// Something of networks, or of published ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leftover {
    /// Devices, bridges, leases.
    Network(network::sweep::Leftover),
    /// Ports, proxies, rules.
    Port(port::sweep::Leftover),
}

impl Leftover {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Leftover::Network(leftover) => leftover.words(),
            Leftover::Port(leftover) => leftover.words(),
        }
    }

    fn is_problem(&self) -> bool {
        match self {
            Leftover::Network(leftover) => leftover.is_problem(),
            Leftover::Port(leftover) => leftover.is_problem(),
        }
    }
}

/// What is wrong with networks, and what is of no use any more.
///
/// # Errors
/// A damaged record; the system's reason.
pub(super) fn look(store: &Store) -> Result<(Vec<Problem>, Vec<Leftover>)> {
    let containers = Containers::open(&store.folders)?;
    let ports = port::sweep::find(&containers)?.into_iter().map(Leftover::Port);
    let networks = network::sweep::find(&containers)?.into_iter().map(Leftover::Network);
    let (problems, leftovers): (Vec<Leftover>, Vec<Leftover>) =
        ports.chain(networks).partition(Leftover::is_problem);
    let problem = |leftover: Leftover| Problem { words: leftover.words(), broken: Broken::Network(leftover) };
    Ok((problems.into_iter().map(problem).collect(), leftovers))
}

/// Puts right what was found. First what is of no use: with it goes what it has in the packet filter; last what is wrong,
/// bridges before rules.
///
/// # Errors
/// The system's reason.
pub(super) fn mend(store: &Store, report: &Report, repaired: &mut Repaired) -> Result<()> {
    let containers = Containers::open(&store.folders)?;
    let broken = report.problems.iter().filter_map(|problem| match &problem.broken {
        Broken::Network(leftover) => Some(leftover),
        _ => None,
    });
    let (bridges, rules): (Vec<_>, Vec<_>) =
        broken.partition(|leftover| matches!(leftover, Leftover::Network(_)));
    for leftover in report.of_networks.iter().chain(bridges).chain(rules) {
        let mended = match leftover {
            Leftover::Network(leftover) => network::sweep::mend(&containers, leftover),
            Leftover::Port(leftover) => port::sweep::mend(&containers, leftover),
        };
        repaired.note(&leftover.words(), mended);
    }
    Ok(())
}
