//! Numbers in runs with one outcome each, found by a binary search.
//!
//! Call numbers are searched like this, and the words of arguments.

use super::assembler::{Assembler, Compare, Goto};
use super::profile::Action;

/// Numbers from `first` up to the next range's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range<T> {
    first: u32,
    outcome: T,
}

/// Ranges in ascending order, neighbours with different outcomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges<T>(Vec<Range<T>>);

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy + PartialEq> Ranges<T> {
    /// Numbers from `first` on have this outcome, up to the next call with a higher `first`.
    pub fn begin(&mut self, first: u32, outcome: T) {
        if self.0.last().is_some_and(|last| last.first == first) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|last| last.outcome != outcome) {
            self.0.push(Range { first, outcome });
        }
    }

    /// Adds ranges that begin above the present ones.
    pub fn extend(&mut self, other: &Self) {
        for range in &other.0 {
            self.begin(range.first, range.outcome);
        }
    }

    /// Whether all numbers have the same outcome.
    pub fn is_uniform(&self) -> bool {
        self.0.len() <= 1
    }

    /// The outcome of the highest number.
    pub fn last(&self) -> Option<T> {
        self.0.last().map(|range| range.outcome)
    }

    /// Writes the search for the number in the accumulator; `begins` says where an outcome is carried out.
    pub fn write(&self, begins: &impl Fn(T) -> Goto, program: &mut Assembler) -> Goto {
        search(&self.leaves(), begins, program)
    }

    /// The leaves of the search tree. A single number amid others of one outcome takes one instruction less
    /// as `== n` than as two bounds.
    fn leaves(&self) -> Vec<Leaf<T>> {
        let mut leaves = Vec::with_capacity(self.0.len());
        let mut rest = self.0.as_slice();
        while let Some((&Range { first, outcome }, mut others)) = rest.split_first() {
            let mut leaf = Leaf { first, outcome, exceptions: [None; EXCEPTIONS] };
            for exception in &mut leaf.exceptions {
                match others {
                    [single, after, beyond @ ..]
                        if after.first == single.first + 1 && after.outcome == outcome =>
                    {
                        *exception = Some(*single);
                        others = beyond;
                    }
                    _ => break,
                }
            }
            leaves.push(leaf);
            rest = others;
        }
        leaves
    }
}

/// More exceptions in a leaf make the program shorter and the way through it longer.
const EXCEPTIONS: usize = 3;

/// Numbers from `first` up to the next leaf's.
#[derive(Debug, Clone, Copy)]
struct Leaf<T> {
    first: u32,
    outcome: T,
    /// Single numbers with another outcome.
    exceptions: [Option<Range<T>>; EXCEPTIONS],
}

fn search<T: Copy>(leaves: &[Leaf<T>], begins: &impl Fn(T) -> Goto, program: &mut Assembler) -> Goto {
    match leaves {
        [] => Goto::Return(Action::KILL_THREAD),
        [leaf] => leaf.exceptions.iter().flatten().rev().fold(begins(leaf.outcome), |next, exception| {
            program.branch(Compare::Equal, exception.first, begins(exception.outcome), next)
        }),
        _ => {
            let (below, above) = leaves.split_at(leaves.len() / 2);
            let bound = above[0].first;
            let above = search(above, begins, program);
            let below = search(below, begins, program);
            program.branch(Compare::AtLeast, bound, above, below)
        }
    }
}
