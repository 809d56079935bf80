//! Are containers as they should be, and is nothing left of those that are gone?

use crate::check::{Broken, Problem, Repaired, Report};
use crate::container::store::Containers;
use crate::container::sweep::{self, Leftover};
use crate::error::{Kind, Result};
use crate::store::Store;

/// What is wrong with containers, and in words what is of no use any more.
///
/// # Errors
/// The system's reason.
pub(super) fn look(store: &Store) -> Result<(Vec<Problem>, Vec<Leftover>)> {
    let found = match sweep::find(&Containers::open(&store.folders)?) {
        Err(error) if error.kind() == Kind::Invalid => {
            return Ok((vec![Problem { words: error.to_string(), broken: Broken::Record }], Vec::new()));
        }
        found => found?,
    };
    let (problems, leftovers): (Vec<Leftover>, Vec<Leftover>) =
        found.into_iter().partition(Leftover::is_problem);
    let problem =
        |leftover: Leftover| Problem { words: leftover.words(), broken: Broken::Container(leftover) };
    Ok((problems.into_iter().map(problem).collect(), leftovers))
}

/// Puts right what can be, whether it was a problem or of no use.
///
/// # Errors
/// The system's reason.
pub(super) fn mend(store: &Store, report: &Report, repaired: &mut Repaired) -> Result<()> {
    let containers = Containers::open(&store.folders)?;
    let broken = report.problems.iter().filter_map(|problem| match &problem.broken {
        Broken::Container(leftover) => Some(leftover),
        _ => None,
    });
    for leftover in broken.chain(&report.of_containers) {
        repaired.note(&leftover.words(), sweep::mend(&containers, leftover));
    }
    Ok(())
}
