//! Conditions on arguments: what they test on a 64-bit and on a 32-bit ABI, and which comes first.

use std::cmp::Ordering;

/// `SCMP_CMP_…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Differs.
    Ne,
    /// Below.
    Lt,
    /// Below or equal.
    Le,
    /// Equal.
    Eq,
    /// Above or equal.
    Ge,
    /// Above.
    Gt,
    /// Equal in the bits of a mask.
    MaskedEq,
}

/// The operators by name, sorted.
pub const OPERATORS: &[(&str, Operator)] = &[
    ("SCMP_CMP_EQ", Operator::Eq),
    ("SCMP_CMP_GE", Operator::Ge),
    ("SCMP_CMP_GT", Operator::Gt),
    ("SCMP_CMP_LE", Operator::Le),
    ("SCMP_CMP_LT", Operator::Lt),
    ("SCMP_CMP_MASKED_EQ", Operator::MaskedEq),
    ("SCMP_CMP_NE", Operator::Ne),
];

/// A condition as the profile has it; comparisons are unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// 0 to 5.
    pub argument: u8,
    /// How the argument is compared.
    pub operator: Operator,
    /// With what.
    pub value: u64,
    /// Which bits count; all but for `MaskedEq`.
    pub mask: u64,
}

impl Condition {
    /// Whether a 32-bit argument is compared with less than was asked for.
    pub fn loses_meaning(&self) -> bool {
        (self.value & self.mask) >> 32 != 0
    }

    /// What is tested, with the low words only where the ABI is not `wide`.
    pub fn test(&self, wide: bool) -> Test {
        let all = if wide { u64::MAX } else { u64::from(u32::MAX) };
        let (value, mask) = (self.value & all, self.mask & all);
        match self.operator {
            Operator::MaskedEq if mask == 0 => Test::Always,
            Operator::MaskedEq | Operator::Eq => Test::Equal { mask, value: value & mask },
            Operator::Ne => Test::Differs(value),
            Operator::Lt if value == 0 => Test::Never,
            Operator::Lt => Test::AtMost(value - 1),
            Operator::Le if value == all => Test::Always,
            Operator::Le => Test::AtMost(value),
            Operator::Ge if value == 0 => Test::Always,
            Operator::Ge => Test::AtLeast(value),
            Operator::Gt if value == all => Test::Never,
            Operator::Gt => Test::AtLeast(value + 1),
        }
    }
}

/// What is left of a condition once operators that say the same are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// The masked argument has this value; the mask is not 0.
    Equal {
        /// Which bits count.
        mask: u64,
        /// What they are.
        value: u64,
    },
    /// An upper bound, below the largest value.
    AtMost(u64),
    /// A lower bound, above 0.
    AtLeast(u64),
    /// Any value but one.
    Differs(u64),
    /// True of everything.
    Always,
    /// True of nothing.
    Never,
}

impl Test {
    /// The values it is true of, unless a mask scatters them; `all` is the largest value of the ABI.
    pub fn interval(self, all: u64) -> Option<Interval> {
        match self {
            Self::Equal { mask, value } if mask == all => {
                Some(Interval { first: value, last: value, inside: true })
            }
            Self::AtMost(value) => Some(Interval { first: 0, last: value, inside: true }),
            Self::AtLeast(value) => Some(Interval { first: value, last: all, inside: true }),
            Self::Differs(value) => Some(Interval { first: value, last: value, inside: false }),
            Self::Equal { .. } | Self::Always | Self::Never => None,
        }
    }

    /// Sorts equality before its opposite before upper before lower bounds, and the narrower first.
    fn rank(self) -> (u8, u32, u64, u64) {
        match self {
            Self::Equal { mask, value } => (0, mask.count_zeros(), !mask, value),
            Self::Differs(value) => (1, 0, value, 0),
            Self::AtMost(value) => (2, 0, value, 0),
            Self::AtLeast(value) => (3, 0, !value, 0),
            Self::Always | Self::Never => (4, 0, 0, 0),
        }
    }
}

/// Values that pass a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// The lowest.
    pub first: u64,
    /// The highest.
    pub last: u64,
    /// Whether those inside pass, or those outside.
    pub inside: bool,
}

/// Tests of one rule that must all hold, lowest argument first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conjunction(Vec<(u8, Test)>);

impl Conjunction {
    /// The conditions on an ABI; `None` where they cannot all hold.
    pub fn new(conditions: &[Condition], wide: bool) -> Option<Self> {
        let mut tests = Vec::with_capacity(conditions.len());
        for condition in conditions {
            match condition.test(wide) {
                Test::Never => return None,
                Test::Always => {}
                test => tests.push((condition.argument, test)),
            }
        }
        tests.sort_unstable_by_key(|&(argument, _)| argument);
        Some(Self(tests))
    }

    /// Argument and test, in the order of evaluation.
    pub fn tests(&self) -> &[(u8, Test)] {
        &self.0
    }

    /// Whether any test looks at more than the low 32 bits of an argument with 64.
    pub fn needs_high_words(&self) -> bool {
        self.0.iter().any(|&(_, test)| !matches!(test, Test::Equal { mask, .. } if mask >> 32 == 0))
    }

    /// Which of two is evaluated first: as with libseccomp this does not depend on the order of the document,
    /// and the rule whose lowest argument is the higher goes first.
    ///
    /// Equal only where both are the same.
    pub fn precedence(&self, other: &Self) -> Ordering {
        for (&(left, left_test), &(right, right_test)) in self.0.iter().zip(&other.0) {
            let order = right.cmp(&left).then_with(|| left_test.rank().cmp(&right_test.rank()));
            if order.is_ne() {
                return order;
            }
        }
        // More conditions are narrower.
        other.0.len().cmp(&self.0.len())
    }
}

impl From<(u8, Test)> for Conjunction {
    fn from(test: (u8, Test)) -> Self {
        Self(vec![test])
    }
}
