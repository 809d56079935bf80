//! Conditions as instructions: 64-bit comparisons on a machine with 32-bit words.

use super::assembler::{Assembler, Compare, Goto, Label};
use super::conditions::{Conjunction, Test};
use super::profile::Action;

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

/// Writes the list; it begins at what is returned.
pub fn write(list: &List, program: &mut Assembler) -> Goto {
    let mut next = Entry::answer(list.otherwise);
    for (conjunction, action) in list.rules.iter().rev() {
        let mut yes = Entry::answer(*action);
        for &(argument, test) in conjunction.tests().iter().rev() {
            yes = Words::new(list, argument).test(test, yes, next, program);
        }
        next = yes;
    }
    next.start
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
