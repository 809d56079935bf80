//! Device rules to an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE (config-linux.md "Allowed Device
//! list"; Documentation/admin-guide/cgroup-v2.rst "Device controller").
//!
//! The rules mean what they say, in their order, on a ground where everything is denied: the last rule that
//! matches a device decides on each access it names. After them come the devices without which no program
//! runs, as runc adds them.
//!
//! The program has no jumps. The verifier walks it once, and what is denied costs what is allowed costs. It
//! puts type, major and minor number into one 33-bit key (Linux's device numbers have 12 and 20 bits), and a
//! rule matches where `key ^ wanted` is zero, that is where the sign of `(key ^ wanted) - 1` is set. Rules of
//! one effect are or-ed together before the effect is applied.

mod allow_list;
#[cfg(test)]
mod tests;

use sys::bpf::Instruction;

use crate::error::{Error, Kind, Result};
use crate::spec::DeviceRule;
pub use allow_list::{AllowList, allow_list};

const MKNOD: i32 = 1; // BPF_DEVCG_ACC_MKNOD
const READ: i32 = 2;
const WRITE: i32 = 4;
const EVERY_ACCESS: i32 = MKNOD | READ | WRITE;

/// Bits of the minor number in the key.
const MINOR_BITS: i32 = 20;
/// Bits of major and minor number in the key; the type is the bit above.
const NUMBER_BITS: i32 = 32;
const MAX_MAJOR: i64 = (1 << 12) - 1;
const MAX_MINOR: i64 = (1 << MINOR_BITS) - 1;

/// What a rule applies to; a field that is absent fits all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    allow: bool,
    block: Option<bool>,
    major: Option<u32>,
    minor: Option<u32>,
    access: i32,
}

impl Rule {
    const fn allow(block: Option<bool>, major: Option<u32>, minor: Option<u32>, access: i32) -> Self {
        Self { allow: true, block, major, minor, access }
    }

    fn fits_all(self) -> bool {
        self.block.is_none() && self.major.is_none() && self.minor.is_none()
    }

    /// Whether nothing of `other` is left where this rule follows it.
    fn covers(self, other: Self) -> bool {
        fn wider<T: PartialEq>(own: Option<T>, other: Option<T>) -> bool {
            own.is_none() || own == other
        }
        wider(self.block, other.block)
            && wider(self.major, other.major)
            && wider(self.minor, other.minor)
            && other.access & !self.access == 0
    }
}

/// What every container may use: making any node, null, zero, full, random, urandom, tty, ptmx, and
/// pseudoterminals.
const DEFAULTS: [Rule; 9] = [
    Rule::allow(None, None, None, MKNOD),
    Rule::allow(Some(false), Some(1), Some(3), EVERY_ACCESS),
    Rule::allow(Some(false), Some(1), Some(5), EVERY_ACCESS),
    Rule::allow(Some(false), Some(1), Some(7), EVERY_ACCESS),
    Rule::allow(Some(false), Some(1), Some(8), EVERY_ACCESS),
    Rule::allow(Some(false), Some(1), Some(9), EVERY_ACCESS),
    Rule::allow(Some(false), Some(5), Some(0), EVERY_ACCESS),
    Rule::allow(Some(false), Some(5), Some(2), EVERY_ACCESS),
    Rule::allow(Some(false), Some(136), None, EVERY_ACCESS),
];

/// The program for these rules and the default devices; `None` where everything is allowed.
///
/// # Errors
/// A rule that the kernel cannot express; the field is named.
pub fn program(rules: &[DeviceRule]) -> Result<Option<Vec<Instruction>>> {
    let rules = alive(rules)?;
    Ok((!allows_everything(&rules)).then(|| compile(&rules)))
}

/// The rules that matter, those of the default devices among them.
fn alive(rules: &[DeviceRule]) -> Result<Vec<Rule>> {
    let mut parsed = Vec::with_capacity(rules.len() + DEFAULTS.len());
    for (position, rule) in rules.iter().enumerate() {
        parsed.push(parse(rule).map_err(|(field, why)| {
            Error::new(Kind::Spec, format!("linux.resources.devices[{position}].{field}: {why}"))
        })?);
    }
    parsed.extend(DEFAULTS);
    Ok(without_dead(&parsed))
}

/// One rule; the error is the field and the reason.
fn parse(rule: &DeviceRule) -> std::result::Result<Rule, (&'static str, String)> {
    let block = match rule.kind.as_str() {
        "" | "a" => None,
        "b" => Some(true),
        "c" => Some(false),
        other => return Err(("type", format!("{other:?} is none of \"a\", \"b\", \"c\""))),
    };
    let mut access = 0;
    for letter in rule.access.chars() {
        access |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            other => return Err(("access", format!("{other:?} is none of 'r', 'w', 'm'"))),
        };
    }
    Ok(Rule {
        allow: rule.allow,
        block,
        major: number(rule.major, MAX_MAJOR).map_err(|why| ("major", why))?,
        minor: number(rule.minor, MAX_MINOR).map_err(|why| ("minor", why))?,
        // An empty access means every one, as in `{"allow": false}`.
        access: if access == 0 { EVERY_ACCESS } else { access },
    })
}

/// A device number; -1 stands for all, as Docker writes `*`.
fn number(number: Option<i64>, max: i64) -> std::result::Result<Option<u32>, String> {
    match number {
        None | Some(-1) => Ok(None),
        Some(number) => match u32::try_from(number) {
            Ok(small) if number <= max => Ok(Some(small)),
            _ => Err(format!("{number} is not between 0 and {max}, nor -1 for all")),
        },
    }
}

/// The rules without those that a later one overrides entirely.
fn without_dead(rules: &[Rule]) -> Vec<Rule> {
    let alive =
        |&(position, rule): &(usize, &Rule)| !rules[position + 1..].iter().any(|later| later.covers(*rule));
    rules.iter().enumerate().filter(alive).map(|(_, rule)| *rule).collect()
}

/// Whether no access to any device is denied.
fn allows_everything(rules: &[Rule]) -> bool {
    let allowed = rules.iter().fold(0, |allowed, rule| match rule {
        rule if !rule.allow => allowed & !rule.access,
        rule if rule.fits_all() => allowed | rule.access,
        _ => allowed,
    });
    allowed == EVERY_ACCESS
}

// Registers. The kernel passes its context in the first and reads the answer from RESULT.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const KEY: u8 = 3;
const MATCH: u8 = 4;
const ANY: u8 = 5;
const CONSTANT: u8 = 6;

// Operation codes (Documentation/bpf/standardization/instruction-set.rst), on 64 bits but where it says W.
const LOAD_W: u8 = 0x61;
const LOAD_CONSTANT: u8 = 0x18;
const MOVE: u8 = 0xb7;
const MOVE_REG: u8 = 0xbf;
const MOVE_REG_W: u8 = 0xbc;
const ADD: u8 = 0x07;
const AND: u8 = 0x57;
const AND_W: u8 = 0x54;
const AND_REG: u8 = 0x5f;
const OR: u8 = 0x47;
const OR_REG: u8 = 0x4f;
const XOR: u8 = 0xa7;
const XOR_REG: u8 = 0xaf;
const SHIFT_LEFT: u8 = 0x67;
const SHIFT_RIGHT: u8 = 0x77;
const SHIFT_RIGHT_SIGNED: u8 = 0xc7;
const EXIT: u8 = 0x95;

/// The instructions under construction.
struct Code(Vec<Instruction>);

impl Code {
    /// An operation with an immediate.
    fn op(&mut self, code: u8, to: u8, immediate: i32) {
        self.0.push(Instruction::new(code, to, 0, 0, immediate));
    }

    /// An operation of two registers.
    fn reg(&mut self, code: u8, to: u8, from: u8) {
        self.0.push(Instruction::new(code, to, from, 0, 0));
    }

    /// CONSTANT = a value of more than 31 bits.
    fn constant(&mut self, value: u64) {
        let half = |bits: u64| u32::try_from(bits & 0xffff_ffff).unwrap_or_default().cast_signed();
        self.op(LOAD_CONSTANT, CONSTANT, half(value));
        self.op(0, 0, half(value >> 32));
    }

    /// ACCESS = the bits asked for, KEY = type, major and minor (`struct bpf_cgroup_dev_ctx`).
    fn prologue(&mut self) {
        self.0.push(Instruction::new(LOAD_W, ACCESS, CONTEXT, 0, 0)); // access << 16 | type
        self.0.push(Instruction::new(LOAD_W, MATCH, CONTEXT, 4, 0)); // major
        self.0.push(Instruction::new(LOAD_W, ANY, CONTEXT, 8, 0)); // minor
        self.reg(MOVE_REG, KEY, ACCESS);
        self.op(AND, KEY, 1); // the type: BPF_DEVCG_DEV_BLOCK is 1, BPF_DEVCG_DEV_CHAR 2
        self.op(SHIFT_LEFT, KEY, NUMBER_BITS);
        self.op(SHIFT_LEFT, MATCH, MINOR_BITS);
        self.reg(OR_REG, KEY, MATCH);
        self.reg(OR_REG, KEY, ANY);
        self.op(SHIFT_RIGHT, ACCESS, 16);
    }

    /// Sets the sign of `to` where the rule matches.
    fn matches(&mut self, rule: Rule, to: u8) {
        // A rule for both types looks at the key without its topmost bit.
        self.reg(if rule.block.is_none() { MOVE_REG_W } else { MOVE_REG }, to, KEY);
        let block = u64::from(rule.block == Some(true));
        let wanted = match (rule.major.map(u64::from), rule.minor.map(u64::from)) {
            (Some(major), Some(minor)) => block << NUMBER_BITS | major << MINOR_BITS | minor,
            (Some(major), None) => {
                self.op(SHIFT_RIGHT, to, MINOR_BITS);
                block << (NUMBER_BITS - MINOR_BITS) | major
            }
            (None, Some(minor)) if rule.block.is_none() => {
                self.op(AND_W, to, (1 << MINOR_BITS) - 1);
                minor
            }
            (None, Some(minor)) => {
                self.constant(1 << NUMBER_BITS | ((1 << MINOR_BITS) - 1));
                self.reg(AND_REG, to, CONSTANT);
                block << NUMBER_BITS | minor
            }
            (None, None) => {
                self.op(SHIFT_RIGHT, to, NUMBER_BITS);
                block
            }
        };
        match i32::try_from(wanted) {
            Ok(0) => {}
            Ok(small) => self.op(XOR, to, small),
            Err(_) => {
                self.constant(wanted);
                self.reg(XOR_REG, to, CONSTANT);
            }
        }
        self.op(ADD, to, -1);
    }

    /// RESULT with the effect of rules that allow or deny the same access.
    fn apply(&mut self, rules: &[Rule]) {
        for (position, rule) in rules.iter().enumerate() {
            if position == 0 {
                self.matches(*rule, ANY);
            } else {
                self.matches(*rule, MATCH);
                self.reg(OR_REG, ANY, MATCH);
            }
        }
        self.op(SHIFT_RIGHT_SIGNED, ANY, 63); // all ones where any matched
        self.op(AND, ANY, rules[0].access);
        if rules[0].allow {
            self.reg(OR_REG, RESULT, ANY);
        } else {
            self.op(XOR, ANY, -1);
            self.reg(AND_REG, RESULT, ANY);
        }
    }

    /// RESULT = 1 where every access asked for is allowed, else 0.
    fn epilogue(&mut self) {
        self.op(XOR, RESULT, EVERY_ACCESS);
        self.reg(AND_REG, RESULT, ACCESS);
        self.op(ADD, RESULT, -1);
        self.op(SHIFT_RIGHT, RESULT, 63);
        self.op(EXIT, 0, 0);
    }
}

/// The program: RESULT holds the allowed accesses while the rules pass by.
fn compile(rules: &[Rule]) -> Vec<Instruction> {
    let mut code = Code(Vec::with_capacity(24 + 5 * rules.len()));
    code.prologue();
    // What fits all is known before any device is.
    let constant = rules.iter().take_while(|rule| rule.fits_all());
    let (known, start) = constant.fold((0, 0), |(known, count), rule| match rule.allow {
        true => (known | rule.access, count + 1),
        false => (known & !rule.access, count + 1),
    });
    code.op(MOVE, RESULT, known);
    let same_effect =
        |a: &Rule, b: &Rule| a.allow == b.allow && a.access == b.access && !a.fits_all() && !b.fits_all();
    for group in rules[start..].chunk_by(same_effect) {
        match group {
            [rule] if rule.fits_all() && rule.allow => code.op(OR, RESULT, rule.access),
            [rule] if rule.fits_all() => code.op(AND, RESULT, !rule.access),
            rules => code.apply(rules),
        }
    }
    code.epilogue();
    code.0
}
