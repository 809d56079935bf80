//! System call numbers: runs of numbers with one decision, found by a binary search.

use super::assembler::{Assembler, Compare, Goto};
use super::profile::Action;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Always the same.
    Act(Action),
    /// It depends on the arguments: position in the filter's lists.
    List(usize),
}

/// Numbers from `first` up to the next range's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The lowest number.
    pub first: u32,
    /// What happens to all of them.
    pub decision: Decision,
}

/// Ranges in ascending order, neighbours with different decisions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range>);

impl Ranges {
    /// Numbers from `first` on are decided like this, up to the next call with a higher `first`.
    pub fn begin(&mut self, first: u32, decision: Decision) {
        if self.0.last().is_some_and(|last| last.first == first) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|last| last.decision != decision) {
            self.0.push(Range { first, decision });
        }
    }

    /// Adds ranges that begin above the present ones.
    pub fn extend(&mut self, other: &Self) {
        for range in &other.0 {
            self.begin(range.first, range.decision);
        }
    }

    /// The decision of the highest number.
    pub fn last(&self) -> Option<Decision> {
        self.0.last().map(|range| range.decision)
    }

    /// Writes the search for a number in the accumulator; `begins` says where a decision is carried out.
    pub fn write(&self, begins: &impl Fn(Decision) -> Goto, program: &mut Assembler) -> Goto {
        search(&self.leaves(), begins, program)
    }

    /// The leaves of the search tree. A single number amid others of one decision takes one instruction less
    /// as `== n` than as two bounds.
    fn leaves(&self) -> Vec<Leaf> {
        let mut leaves = Vec::with_capacity(self.0.len());
        let mut rest = self.0.as_slice();
        while let Some((range, others)) = rest.split_first() {
            let mut leaf = Leaf { first: range.first, decision: range.decision, except: None };
            rest = others;
            if let [single, after, beyond @ ..] = others
                && after.first == single.first + 1
                && after.decision == range.decision
            {
                leaf.except = Some((single.first, single.decision));
                rest = beyond;
            }
            leaves.push(leaf);
        }
        leaves
    }
}

/// Numbers from `first` up to the next leaf's.
#[derive(Debug, Clone, Copy)]
struct Leaf {
    first: u32,
    decision: Decision,
    except: Option<(u32, Decision)>,
}

fn search(leaves: &[Leaf], begins: &impl Fn(Decision) -> Goto, program: &mut Assembler) -> Goto {
    match leaves {
        [] => Goto::Return(Action::KILL_THREAD),
        [leaf] => match leaf.except {
            None => begins(leaf.decision),
            Some((number, decision)) => {
                program.branch(Compare::Equal, number, begins(decision), begins(leaf.decision))
            }
        },
        _ => {
            let (below, above) = leaves.split_at(leaves.len() / 2);
            let bound = above[0].first;
            let above = search(above, begins, program);
            let below = search(below, begins, program);
            program.branch(Compare::AtLeast, bound, above, below)
        }
    }
}
