//! Conditions as instructions: 64-bit comparisons on a machine with 32-bit words.

use std::collections::BTreeMap;

use super::assembler::{Assembler, Compare, Goto, Label};
use super::conditions::{Conjunction, Interval, Test};
use super::profile::Action;
use super::ranges::Ranges;

/// The conditional rules of a call, first match first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Conditions and what is done where they all hold.
    pub rules: Vec<(Conjunction, Action)>,
    /// What is done where no rule matches.
    pub otherwise: Action,
    /// Whether arguments have 64 bits.
    pub wide: bool,
    /// Order of an argument's words.
    pub big_endian: bool,
}

/// Where a piece of program begins, and where it begins for those who have its first word loaded.
#[derive(Debug, Clone, Copy)]
struct Entry {
    start: Goto,
    loaded: Option<(u32, Goto)>,
}

impl Entry {
    /// Entry for someone with the word at `offset` in the accumulator.
    fn with(self, offset: u32) -> Goto {
        match self.loaded {
            Some((known, start)) if known == offset => start,
            _ => self.start,
        }
    }

    fn answer(action: Action) -> Self {
        Self { start: Goto::Return(action), loaded: None }
    }
}

/// Searches of words that are written: offset of the word, its outcomes, beginning.
pub type Searches = Vec<(u32, Ranges<Goto>, Goto)>;

/// Writes the list; it begins at what is returned.
pub fn write(list: &List, program: &mut Assembler, searches: &mut Searches) -> Goto {
    let mut next = Entry::answer(list.otherwise);
    let mut rules = list.rules.as_slice();
    while let Some(((conjunction, action), before)) = rules.split_last() {
        let run =
            rules.iter().rev().take_while(|rule| is_searched_with(conjunction, &rule.0, list.wide)).count();
        if run > 1 {
            let (before, run) = rules.split_at(rules.len() - run);
            next = search(list, run, next, program, searches);
            rules = before;
            continue;
        }
        let mut yes = Entry::answer(*action);
        for &(argument, test) in conjunction.tests().iter().rev() {
            yes = Words::new(list, argument).test(test, yes, next, program);
        }
        next = yes;
        rules = before;
    }
    next.start
}

/// Whether two rules look for intervals of the same argument only: then one search serves both.
fn is_searched_with(one: &Conjunction, other: &Conjunction, wide: bool) -> bool {
    let searched = |conjunction: &Conjunction| match conjunction.tests() {
        &[(argument, test)] => test.interval(largest(wide)).map(|_| argument),
        _ => None,
    };
    searched(one).is_some() && searched(one) == searched(other)
}

fn largest(wide: bool) -> u64 {
    if wide { u64::MAX } else { u64::from(u32::MAX) }
}

/// Writes rules on intervals of one argument as a search for its value.
fn search(
    list: &List,
    rules: &[(Conjunction, Action)],
    next: Entry,
    program: &mut Assembler,
    searches: &mut Searches,
) -> Entry {
    let mut outcomes = Outcomes::default();
    // The first rule that matches counts, so it is written over the others.
    for (conjunction, action) in rules.iter().rev() {
        for &(_, test) in conjunction.tests() {
            outcomes.paint(test, *action, largest(list.wide));
        }
    }
    let argument = rules[0].0.tests()[0].0;
    Words::new(list, argument).search(&outcomes, next, program, searches)
}

/// What happens to each value of an argument: from a value up to the next one; `None` where no rule matches.
#[derive(Debug)]
struct Outcomes(BTreeMap<u64, Option<Action>>);

impl Default for Outcomes {
    fn default() -> Self {
        Self(BTreeMap::from([(0, None)]))
    }
}

impl Outcomes {
    /// Values that pass the test have this outcome, whatever they had before.
    fn paint(&mut self, test: Test, action: Action, all: u64) {
        match test.interval(all) {
            Some(Interval { first, last, inside: true }) => self.paint_interval(first, last, action, all),
            Some(Interval { first, last, inside: false }) => {
                if let Some(below) = first.checked_sub(1) {
                    self.paint_interval(0, below, action, all);
                }
                if last < all {
                    self.paint_interval(last + 1, all, action, all);
                }
            }
            None => {}
        }
    }

    fn paint_interval(&mut self, first: u64, last: u64, action: Action, all: u64) {
        if last < all {
            let behind = self.0.range(..=last + 1).next_back().and_then(|(_, outcome)| *outcome);
            self.0.insert(last + 1, behind);
        }
        let covered: Vec<u64> = self.0.range(first..=last).map(|(value, _)| *value).collect();
        for value in covered {
            self.0.remove(&value);
        }
        self.0.insert(first, Some(action));
    }
}

/// The two words of an argument in `struct seccomp_data` (linux/seccomp.h).
#[derive(Debug, Clone, Copy)]
struct Words {
    low: u32,
    /// None where the ABI has no high words.
    high: Option<u32>,
}

impl Words {
    fn new(list: &List, argument: u8) -> Self {
        let first = 16 + 8 * u32::from(argument);
        let (low, high) = if list.big_endian { (first + 4, first) } else { (first, first + 4) };
        Self { low, high: list.wide.then_some(high) }
    }

    fn test(self, test: Test, yes: Entry, no: Entry, program: &mut Assembler) -> Entry {
        match test {
            Test::Equal { mask, value } => self.equal(mask, value, yes, no, program),
            Test::Differs(value) => self.equal(u64::MAX, value, no, yes, program),
            Test::AtMost(value) => self.at_most(value, yes, no, program),
            // Never 0: that would be true of everything.
            Test::AtLeast(value) => self.at_most(value - 1, no, yes, program),
            Test::Always => yes,
            Test::Never => no,
        }
    }

    /// Searches for the high word, and where that does not say it all, for the low one.
    fn search(
        self,
        outcomes: &Outcomes,
        next: Entry,
        program: &mut Assembler,
        searches: &mut Searches,
    ) -> Entry {
        let then = |outcome: Option<Action>, word| outcome.map_or(next.with(word), Goto::Return);
        let mut highs = Ranges::default();
        let mut values = outcomes.0.iter().map(|(value, outcome)| (*value, *outcome)).peekable();
        // The outcome that the values so far end with.
        let mut present = None;
        while let Some(&(value, _)) = values.peek() {
            let high = high_word(value);
            let mut lows = Ranges::default();
            lows.begin(0, then(present, self.low));
            while let Some((value, outcome)) = values.next_if(|&(value, _)| high_word(value) == high) {
                lows.begin(low_word(value), then(outcome, self.low));
                present = outcome;
            }
            let Some(word) = self.high else {
                let start = low_search(self.low, lows, program, searches);
                return Entry { start, loaded: None };
            };
            let uniform = lows.is_uniform();
            highs.begin(
                high,
                if uniform { then(present, word) } else { low_search(self.low, lows, program, searches) },
            );
            if let Some(above) = high.checked_add(1) {
                highs.begin(above, then(present, word));
            }
        }
        let start = highs.write(&|goto| goto, program);
        self.high.map_or(next, |word| load(word, start, program))
    }

    fn equal(self, mask: u64, value: u64, yes: Entry, no: Entry, program: &mut Assembler) -> Entry {
        let low = equal_word(self.low, low_word(mask), low_word(value), yes, no, program);
        match self.high {
            Some(high) => equal_word(high, high_word(mask), high_word(value), low, no, program),
            None => low,
        }
    }

    fn at_most(self, value: u64, yes: Entry, no: Entry, program: &mut Assembler) -> Entry {
        let low = match low_word(value) {
            u32::MAX => yes,
            word => {
                let start = program.branch(Compare::Above, word, no.with(self.low), yes.with(self.low));
                load(self.low, start, program)
            }
        };
        let Some(high) = self.high else { return low };
        let word = high_word(value);
        let same = low.with(high);
        let start = match word {
            0 => program.branch(Compare::Equal, 0, same, no.with(high)),
            u32::MAX => program.branch(Compare::Equal, word, same, yes.with(high)),
            // With the low word full there is nothing to look at but the high one.
            _ if low_word(value) == u32::MAX => {
                program.branch(Compare::Above, word, no.with(high), yes.with(high))
            }
            _ => {
                let below = program.branch(Compare::Equal, word, same, yes.with(high));
                program.branch(Compare::Above, word, no.with(high), below)
            }
        };
        load(high, start, program)
    }
}

/// Writes a search of the word at `offset`, or finds the one already written: the same conditions on a
/// 64-bit and a 32-bit ABI differ in the high words only.
fn low_search(offset: u32, lows: Ranges<Goto>, program: &mut Assembler, searches: &mut Searches) -> Goto {
    let known = searches.iter().find(|(word, ranges, _)| *word == offset && *ranges == lows);
    if let Some(&(_, _, start)) = known {
        return start;
    }
    let start = lows.write(&|goto| goto, program);
    let start = load(offset, start, program).start;
    searches.push((offset, lows, start));
    start
}

/// Tests whether the masked word has the value.
fn equal_word(offset: u32, mask: u32, value: u32, yes: Entry, no: Entry, program: &mut Assembler) -> Entry {
    let start = if mask == 0 {
        return yes;
    } else if mask == u32::MAX {
        program.branch(Compare::Equal, value, yes.with(offset), no.with(offset))
    } else if value == 0 {
        program.branch(Compare::AnyBit, mask, no.with(offset), yes.with(offset))
    } else if value == mask && mask.is_power_of_two() {
        program.branch(Compare::AnyBit, mask, yes.with(offset), no.with(offset))
    } else {
        let compare = program.branch(Compare::Equal, value, yes.start, no.start);
        Goto::Label(program.and(mask, compare))
    };
    load(offset, start, program)
}

/// Loads a word in front of a test.
fn load(offset: u32, start: Goto, program: &mut Assembler) -> Entry {
    // A test that always ends the same way needs no word.
    match start {
        Goto::Return(_) => Entry { start, loaded: None },
        Goto::Label(_) => {
            let label: Label = program.load(offset, start);
            Entry { start: Goto::Label(label), loaded: Some((offset, start)) }
        }
    }
}

fn low_word(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

fn high_word(value: u64) -> u32 {
    (value >> 32) as u32
}
