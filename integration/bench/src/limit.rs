//! The smallest limit of memory under which a container of /bin/true comes to its end. What a runtime uses of
//! memory inside the container's cgroup, before the program takes over, counts against the container's limit.

use std::fmt::Write as _;

use anyhow::{Result, bail};

use crate::bundle::Bundles;
use crate::contestant::{Contestant, Kind};
use crate::workshop::Workshop;

/// A limit is enough when it is so each time.
const TIMES: usize = 3;

/// The limits that are tried, in KiB: fine steps where the small runtimes are, coarse ones above.
fn tried_kib() -> impl Iterator<Item = u64> {
    (16..512).step_by(16).chain((512..1024).step_by(64)).chain((1024..=16_384).step_by(512))
}

/// The table; needs the memory controller on cgroup v2.
///
/// # Errors
/// Without that controller; a container that does not run under any of the limits.
pub fn table(contestants: &[Contestant], bundles: &Bundles, workshop: &Workshop) -> Result<String> {
    workshop.pass_on("memory")?;
    let mut text = String::from("| | smallest memory limit of a container of /bin/true (KiB) |\n|---|--:|\n");
    for contestant in contestants.iter().filter(|contestant| contestant.kind == Kind::Runtime) {
        let smallest = smallest_kib(contestant, bundles, workshop)?;
        writeln!(text, "| {} ({}) | {smallest} |", contestant.name, contestant.version)?;
    }
    Ok(text)
}

fn smallest_kib(contestant: &Contestant, bundles: &Bundles, workshop: &Workshop) -> Result<u64> {
    for kib in tried_kib() {
        bundles.write_limited(contestant, kib * 1024, workshop)?;
        let mut enough = true;
        for _ in 0..TIMES {
            let mut run = contestant.run(bundles, workshop, false, Bundles::program());
            enough &= run.finish(workshop)?.0 == Some(0);
            contestant.remove_rest(workshop);
            if !enough {
                break;
            }
        }
        if enough {
            return Ok(kib);
        }
    }
    bail!("{} does not run a container of /bin/true under any limit that was tried", contestant.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_grow() {
        let tried: Vec<u64> = tried_kib().collect();
        assert!(tried.is_sorted() && tried.contains(&192) && tried.contains(&4096));
    }
}
