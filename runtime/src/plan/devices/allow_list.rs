//! Device rules as a list of what is allowed, the only form that systemd's `DeviceAllow` has
//! (systemd.resource-control(5)).
//!
//! The list never allows less than the rules: each access is decided by all programs on the cgroup, and the
//! runtime's own says exactly what the rules say. What no list can say (an exception from something allowed,
//! one minor number of every major one) is therefore left to that program, and the list is wider here.

use super::{EVERY_ACCESS, MKNOD, READ, Rule, WRITE, alive};
use crate::error::Result;
use crate::spec::DeviceRule;

/// What systemd is to allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowList {
    /// Every device.
    Everything,
    /// These and no others.
    Only(Vec<Entry>),
}

/// Devices of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    block: bool,
    major: Option<u32>,
    /// None where there is no major number either.
    minor: Option<u32>,
    access: i32,
}

impl Entry {
    /// systemd's name for the devices.
    pub fn specifier(&self) -> String {
        let kind = if self.block { "block" } else { "char" };
        match (self.major, self.minor) {
            (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
            (Some(major), None) => format!("{kind}-{major}"),
            (None, _) => format!("{kind}-*"),
        }
    }

    /// Letters of `r`, `w` and `m`.
    pub fn access(&self) -> String {
        let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
        letters.iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| letter).collect()
    }

    fn covers(&self, other: &Self) -> bool {
        self.block == other.block
            && (self.major.is_none() || self.major == other.major)
            && (self.minor.is_none() || self.minor == other.minor)
    }
}

/// The list for these rules and the default devices.
///
/// # Errors
/// A rule that the kernel cannot express; the field is named.
pub fn allow_list(rules: &[DeviceRule]) -> Result<AllowList> {
    let mut entries: Vec<Entry> = Vec::new();
    for rule in alive(rules)?.into_iter().filter(|rule| rule.allow) {
        for block in [true, false] {
            add(&mut entries, rule, block);
        }
    }
    // systemd looks for one entry that allows all of an access: each has what wider ones allow too.
    for position in 0..entries.len() {
        let entry = entries[position];
        let wider = entries.iter().filter(|wider| wider.covers(&entry));
        entries[position].access = wider.fold(entry.access, |access, wider| access | wider.access);
    }
    let everything = |block| {
        entries
            .iter()
            .any(|entry| entry.block == block && entry.major.is_none() && entry.access == EVERY_ACCESS)
    };
    Ok(if everything(true) && everything(false) { AllowList::Everything } else { AllowList::Only(entries) })
}

/// Adds what a rule allows of one type of device.
fn add(entries: &mut Vec<Entry>, rule: Rule, block: bool) {
    if rule.block.is_some_and(|only| only != block) {
        return;
    }
    let minor = rule.minor.filter(|_| rule.major.is_some());
    match entries
        .iter_mut()
        .find(|entry| (entry.block, entry.major, entry.minor) == (block, rule.major, minor))
    {
        Some(entry) => entry.access |= rule.access,
        None => entries.push(Entry { block, major: rule.major, minor, access: rule.access }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(allow: bool, kind: &str, major: Option<i64>, minor: Option<i64>, access: &str) -> DeviceRule {
        DeviceRule { allow, kind: kind.into(), major, minor, access: access.into() }
    }

    fn listed(rules: &[DeviceRule]) -> Vec<String> {
        match allow_list(rules).unwrap() {
            AllowList::Everything => vec!["everything".into()],
            AllowList::Only(entries) => {
                entries.iter().map(|entry| format!("{} {}", entry.specifier(), entry.access())).collect()
            }
        }
    }

    const DEFAULTS: [&str; 10] = [
        "block-* m",
        "char-* m",
        "/dev/char/1:3 rwm",
        "/dev/char/1:5 rwm",
        "/dev/char/1:7 rwm",
        "/dev/char/1:8 rwm",
        "/dev/char/1:9 rwm",
        "/dev/char/5:0 rwm",
        "/dev/char/5:2 rwm",
        "char-136 rwm",
    ];

    #[test]
    fn without_rules_there_are_the_default_devices() {
        assert_eq!(listed(&[]), DEFAULTS);
        assert_eq!(listed(&[rule(false, "", None, None, "rwm")]), DEFAULTS);
    }

    #[test]
    fn an_entry_allows_what_wider_ones_allow() {
        let rules = [
            rule(false, "a", None, None, "rwm"),
            rule(true, "b", Some(8), Some(0), "r"),
            rule(true, "c", Some(10), Some(200), "w"),
            rule(true, "c", Some(10), None, "r"),
        ];
        let mut wanted = vec!["/dev/block/8:0 rm", "/dev/char/10:200 rwm", "char-10 rm"];
        wanted.extend(DEFAULTS);
        assert_eq!(listed(&rules), wanted);
    }

    #[test]
    fn what_a_list_cannot_say_makes_it_wider() {
        // All but the disks: systemd has no exceptions.
        let everything = rule(true, "a", None, None, "rwm");
        assert_eq!(listed(std::slice::from_ref(&everything)), ["everything"]);
        assert_eq!(listed(&[everything.clone(), rule(false, "b", Some(8), None, "w")]), ["everything"]);
        // One minor number of every major one.
        assert_eq!(listed(&[rule(true, "c", None, Some(7), "r")])[0], "char-* rm");
        // Block devices alone leave character devices as they were.
        let mut wanted = vec!["block-* rwm", "char-* m"];
        wanted.extend(&DEFAULTS[2..]);
        assert_eq!(listed(&[rule(true, "b", None, None, "rwm")]), wanted);
        // A rule that another takes back altogether is none.
        let taken = [rule(true, "b", Some(8), Some(0), "r"), rule(false, "b", None, None, "rwm")];
        assert_eq!(listed(&taken), DEFAULTS);
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let error = allow_list(&[rule(true, "x", None, None, "r")]).unwrap_err().to_string();
        assert_eq!(error, "linux.resources.devices[0].type: \"x\" is none of \"a\", \"b\", \"c\"");
    }
}
