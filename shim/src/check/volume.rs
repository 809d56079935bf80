//! Are volumes as they should be, and is nothing of a crash left in them?

use crate::check::{Broken, Problem, Repaired, Report};
use crate::container::store::Containers;
use crate::container::volumes;
use crate::error::Result;
use crate::store::Store;
use crate::volume::sweep::{self, Leftover};

/// What is wrong with volumes, and what is of no use any more.
///
/// # Errors
/// The system's reason.
pub(super) fn look(store: &Store) -> Result<(Vec<Problem>, Vec<Leftover>)> {
    let containers = Containers::open(&store.folders)?;
    let found = sweep::find(&volumes::open(&containers)?, &containers)?;
    let (problems, leftovers): (Vec<Leftover>, Vec<Leftover>) =
        found.into_iter().partition(Leftover::is_problem);
    let problem = |leftover: Leftover| Problem { words: leftover.words(), broken: Broken::Volume(leftover) };
    Ok((problems.into_iter().map(problem).collect(), leftovers))
}

/// Puts right what can be, whether it was a problem or of no use.
///
/// # Errors
/// The system's reason.
pub(super) fn mend(store: &Store, report: &Report, repaired: &mut Repaired) -> Result<()> {
    let containers = Containers::open(&store.folders)?;
    let volumes = volumes::open(&containers)?;
    let broken = report.problems.iter().filter_map(|problem| match &problem.broken {
        Broken::Volume(leftover) => Some(leftover),
        _ => None,
    });
    for leftover in broken.chain(&report.of_volumes) {
        repaired.note(&leftover.words(), sweep::mend(&volumes, &containers, leftover));
    }
    Ok(())
}
