//! Writes a classic BPF program backwards: what is decided first comes last.
//!
//! A jump only ever goes forward, so its target is already there when it is written and its distance known.
//! Conditional jumps reach 255 instructions; what is further away gets an own return or a long jump just
//! behind them (linux/filter.h, Documentation/networking/filter.rst).

use seccompiler::sock_filter;

use super::profile::Action;

/// The longest program the kernel takes (`BPF_MAXINSNS`).
pub const LONGEST: usize = 4096;
/// The furthest a conditional jump goes.
const FURTHEST: usize = u8::MAX as usize;

/// Loads a word of `seccomp_data` into the accumulator.
const LOAD: u16 = 0x20;
/// Keeps the bits of a mask in the accumulator.
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;

/// How the accumulator is compared; the values are BPF's opcodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Compare {
    /// Equal.
    Equal = 0x15,
    /// Above, unsigned.
    Above = 0x25,
    /// At least, unsigned.
    AtLeast = 0x35,
    /// Any bit in common.
    AnyBit = 0x45,
}

/// An instruction that was written, counted from the end of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(usize);

/// Where the program goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goto {
    /// At an instruction.
    Label(Label),
    /// Nowhere: this is the answer.
    Return(Action),
}

/// A program in the making.
#[derive(Debug, Default)]
pub struct Assembler {
    /// Last instruction first.
    reversed: Vec<sock_filter>,
    /// Where each action was returned last.
    returns: Vec<(Action, usize)>,
}

impl Assembler {
    /// The program in its order.
    pub fn finish(mut self) -> Vec<sock_filter> {
        self.reversed.reverse();
        self.reversed
    }

    /// A load of the word at `offset` in front of `next`.
    pub fn load(&mut self, offset: u32, next: Goto) -> Label {
        self.fall_into(next);
        self.push(LOAD, 0, 0, offset)
    }

    /// Keeps the bits of `mask`, in front of `next`.
    pub fn and(&mut self, mask: u32, next: Goto) -> Label {
        self.fall_into(next);
        self.push(AND, 0, 0, mask)
    }

    /// Compares the accumulator with `value`.
    pub fn branch(&mut self, compare: Compare, value: u32, yes: Goto, no: Goto) -> Goto {
        if yes == no {
            return yes;
        }
        // Writing the other's stopover moves this one's away by an instruction.
        let yes = self.stopover(yes, 1);
        let no = self.stopover(no, 0);
        let (jt, jf) = (self.distance(yes), self.distance(no));
        Goto::Label(self.push(compare as u16, jt, jf, value))
    }

    /// The target itself, or something within reach that leads there; `reserve` instructions may come between.
    fn stopover(&mut self, target: Goto, reserve: usize) -> usize {
        let here = self.reversed.len() + reserve;
        match target {
            Goto::Return(action) => self.give_back(action, here),
            Goto::Label(Label(position)) if here - position - 1 <= FURTHEST => position,
            Goto::Label(Label(position)) => self.jump(position),
        }
    }

    /// A return of the action within reach of `here`.
    fn give_back(&mut self, action: Action, here: usize) -> usize {
        let next = self.reversed.len();
        match self.returns.iter_mut().find(|(known, _)| *known == action) {
            Some((_, position)) if here - *position - 1 <= FURTHEST => return *position,
            Some((_, position)) => *position = next,
            None => self.returns.push((action, next)),
        }
        self.push(RETURN, 0, 0, action.0).0
    }

    /// Makes sure that the instruction written last is what `next` means.
    fn fall_into(&mut self, next: Goto) {
        match next {
            Goto::Label(Label(position)) if position + 1 == self.reversed.len() => {}
            Goto::Label(Label(position)) => {
                self.jump(position);
            }
            Goto::Return(action) => {
                let next = self.reversed.len();
                match self.returns.iter_mut().find(|(known, _)| *known == action) {
                    Some((_, position)) if *position + 1 == next => return,
                    Some((_, position)) => *position = next,
                    None => self.returns.push((action, next)),
                }
                self.push(RETURN, 0, 0, action.0);
            }
        }
    }

    fn jump(&mut self, position: usize) -> usize {
        // A program that is too long for this to fit is refused as a whole for its length.
        let distance = u32::try_from(self.reversed.len() - position - 1).unwrap_or(u32::MAX);
        self.push(JUMP, 0, 0, distance).0
    }

    /// Instructions that a conditional jump written now would skip.
    fn distance(&self, position: usize) -> u8 {
        let distance = self.reversed.len() - position - 1;
        debug_assert!(distance <= FURTHEST);
        (distance & FURTHEST).to_le_bytes()[0]
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(sock_filter { code, jt, jf, k });
        Label(self.reversed.len() - 1)
    }
}
