//! socketcall(2) and ipc(2): one call for many, chosen by its first argument.
//!
//! A rule for `socket` counts for `socketcall(SYS_SOCKET, …)`, too, or a program would get around it. But
//! what the many get as arguments lies in memory, where a filter cannot look. So a rule with conditions
//! counts there without them where it is at least as strict as the default, and not at all where it is laxer.

use super::arch::Arch;
use super::calls::{Column, Name};
use super::conditions::{Conjunction, Test};
use super::profile::{Action, Profile};

/// First arguments are below this.
const SELECTORS: usize = 32;

/// Name of the call, the column of its first arguments, and their bits that count: ipc(2) has a version
/// above 16 bits, and both take an `int`.
const MULTIPLEXERS: [(&str, Column, u64); 2] =
    [("socketcall", Column::Socketcall, 0xffff_ffff), ("ipc", Column::Ipc, 0xffff)];

/// A rule for a multiplexer that follows from rules for the calls behind it.
#[derive(Debug)]
pub struct Derived {
    /// Number of the multiplexer.
    pub number: u32,
    /// Which call behind it.
    pub conjunction: Conjunction,
    /// What is done.
    pub action: Action,
}

/// What rules say of one call behind a multiplexer.
#[derive(Debug, Clone, Copy, Default)]
struct Claim {
    /// The first rule without conditions.
    unconditional: Option<Action>,
    /// The strictest with conditions, as far as they count.
    strictest: Option<Action>,
}

/// The rules that follow for the architecture's multiplexers.
pub fn derive(profile: &Profile, arch: &Arch) -> Vec<Derived> {
    let mut derived = Vec::new();
    if !arch.multiplexed {
        return derived;
    }
    for (name, selectors, mask) in MULTIPLEXERS {
        let Some(number) = Name::find(name).and_then(|call| call.number(arch.calls)) else { continue };
        for (value, claim) in (0u64..).zip(claims(profile, selectors)) {
            if let Some(action) = claim.unconditional.or(claim.strictest) {
                let conjunction = Conjunction::from((0, Test::Equal { mask, value }));
                derived.push(Derived { number, conjunction, action });
            }
        }
    }
    derived
}

fn claims(profile: &Profile, selectors: Column) -> [Claim; SELECTORS] {
    let mut claims = [Claim::default(); SELECTORS];
    for rule in profile.rules.iter().filter(|rule| rule.action != profile.default) {
        let selected = rule.calls.iter().filter_map(|call| call.number(selectors));
        for claim in selected.filter_map(|selector| usize::try_from(selector).ok()) {
            let claim = &mut claims[claim];
            if rule.alternatives.is_empty() {
                claim.unconditional.get_or_insert(rule.action);
            } else if rule.action.is_as_strict_as(profile.default)
                && claim.strictest.is_none_or(|present| !present.is_as_strict_as(rule.action))
            {
                claim.strictest = Some(rule.action);
            }
        }
    }
    claims
}
