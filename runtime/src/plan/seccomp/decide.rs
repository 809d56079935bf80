//! The rules of a profile, sorted by the numbers of one architecture.

use super::arch::Arch;
use super::calls::{ARM_PRIVATE_BASE, Column};
use super::conditions::Conjunction;
use super::multiplex::{self, Derived};
use super::profile::{Action, Profile, wrong};
use super::ranges::Ranges;
use super::terms::List;
use crate::error::Result;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Always the same.
    Act(Action),
    /// It depends on the arguments: position in the filter's lists.
    List(usize),
}

/// What happens to every number of the architecture; lists that are new are added to `lists`.
///
/// # Errors
/// Two rules with the same conditions for the same call, but different actions.
pub fn decide(profile: &Profile, arch: &Arch, lists: &mut Vec<List>) -> Result<Ranges<Decision>> {
    let derived = multiplex::derive(profile, arch);
    let (mut uses, largest) = numbers(profile, arch);
    // A multiplexer may have rules of its own, derived ones, or both.
    uses.extend(derived.iter().map(|derived| (derived.number, DERIVED)));
    uses.sort_unstable();

    let default = Decision::Act(profile.default);
    let mut ranges = Ranges::default();
    ranges.begin(arch.base(), default);
    let (ordinary, private) = uses.split_at(uses.partition_point(|&(number, _)| !is_private(arch, number)));
    for group in ordinary.chunk_by(|left, right| left.0 == right.0) {
        ranges.begin(group[0].0, decide_call(profile, arch, group, &derived, lists)?);
        ranges.begin(group[0].0 + 1, default);
    }
    if let Some(largest) = largest {
        ranges.begin(largest + 1, Decision::Act(profile.newer()));
    }
    if matches!(arch.calls, Column::Arm) {
        ranges.begin(ARM_PRIVATE_BASE, default);
    }
    for group in private.chunk_by(|left, right| left.0 == right.0) {
        ranges.begin(group[0].0, decide_call(profile, arch, group, &derived, lists)?);
        ranges.begin(group[0].0 + 1, default);
    }
    Ok(ranges)
}

/// Whether it is one of ARM's private calls. They lie above all calls to come and are none of those, so they
/// do not say which calls a profile knows.
fn is_private(arch: &Arch, number: u32) -> bool {
    matches!(arch.calls, Column::Arm) && number >= ARM_PRIVATE_BASE
}

/// Stands for a rule that [`multiplex`] derived.
const DERIVED: usize = usize::MAX;

/// Each number with the positions of its rules, and the largest number the profile knows.
fn numbers(profile: &Profile, arch: &Arch) -> (Vec<(u32, usize)>, Option<u32>) {
    let mut uses = Vec::with_capacity(512);
    let mut largest = None;
    for (position, rule) in profile.rules.iter().enumerate() {
        for number in rule.calls.iter().filter_map(|call| call.number(arch.calls)) {
            if !is_private(arch, number) {
                largest = largest.max(Some(arch.base() + number));
            }
            if rule.action != profile.default {
                uses.push((arch.base() + number, position));
            }
        }
    }
    (uses, largest)
}

/// What happens to one call.
fn decide_call(
    profile: &Profile,
    arch: &Arch,
    uses: &[(u32, usize)],
    derived: &[Derived],
    lists: &mut Vec<List>,
) -> Result<Decision> {
    let rules = uses.iter().map(|&(_, rule)| rule).filter(|&rule| rule != DERIVED);
    let derived = derived.iter().filter(|derived| derived.number == uses[0].0);
    let mut unconditional = rules.clone().map(|rule| &profile.rules[rule]);
    if let Some(rule) = unconditional.find(|rule| rule.alternatives.is_empty()) {
        return Ok(Decision::Act(rule.action));
    }
    let mut entries: Vec<(Conjunction, Action, usize)> = Vec::new();
    for position in rules {
        let rule = &profile.rules[position];
        let conjunctions = rule.alternatives.iter().filter_map(|all| Conjunction::new(all, arch.wide));
        entries.extend(conjunctions.map(|conjunction| (conjunction, rule.action, position)));
    }
    entries.extend(derived.map(|derived| (derived.conjunction.clone(), derived.action, DERIVED)));
    entries.sort_by(|left, right| left.0.precedence(&right.0).then(left.2.cmp(&right.2)));
    for pair in entries.windows(2) {
        let ((left, left_action, first), (right, right_action, second)) = (&pair[0], &pair[1]);
        // What a profile says of a multiplexer itself goes before what follows from other rules.
        if left == right && left_action != right_action && *second != DERIVED {
            return Err(wrong(format!(
                "linux.seccomp.syscalls[{second}]: same call and conditions as linux.seccomp.syscalls[{first}] \
                 on {}, but another action",
                arch.name
            )));
        }
    }
    entries.dedup_by(|right, left| left.0 == right.0);
    let rules: Vec<_> = entries.into_iter().map(|(conjunction, action, _)| (conjunction, action)).collect();
    if rules.is_empty() {
        return Ok(Decision::Act(profile.default));
    }
    // Where no high word is looked at, both kinds of ABI share one list.
    let wide = arch.wide && rules.iter().any(|(conjunction, _)| conjunction.needs_high_words());
    let list = List { rules, otherwise: profile.default, wide, big_endian: arch.big_endian };
    let known = lists.iter().position(|known| *known == list);
    Ok(Decision::List(known.unwrap_or_else(|| {
        lists.push(list);
        lists.len() - 1
    })))
}
