//! Capability names to the five sets that the kernel can be given.
//!
//! Names that nobody knows or that cannot be granted here are warnings and never errors (config.md,
//! `process.capabilities`). The sets obey the kernel's rules of capset(2) and PR_CAP_AMBIENT already, so
//! that carrying them out cannot fail halfway. Absent sets are empty, as with runc: an image gets nothing
//! that the document does not list (CVE-2022-29162). capabilities(7).

use std::str::FromStr;

use caps::Capability;

use crate::spec;

/// Five sets of capability numbers, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sets {
    /// What execve can ever give.
    pub bounding: u64,
    /// What is in force; part of `permitted`.
    pub effective: u64,
    /// What may be put in force.
    pub permitted: u64,
    /// What files may pass on; part of `bounding`.
    pub inheritable: u64,
    /// What unprivileged programs keep over execve; part of `permitted` and of `inheritable`.
    pub ambient: u64,
}

impl Sets {
    /// The sets that `process.capabilities` asks for, out of those that are `grantable`.
    ///
    /// Each name that is unknown or cannot be granted is one line in `warnings`, however often it stands
    /// there; so is each set from which the kernel's rules take something.
    pub fn new(document: Option<&spec::Capabilities>, grantable: u64, warnings: &mut Vec<String>) -> Self {
        let Some(document) = document else { return Self::default() };
        let mut reader = Reader { grantable, refused: Vec::new(), warnings };
        let mut sets = Self {
            bounding: reader.set(&document.bounding),
            effective: reader.set(&document.effective),
            permitted: reader.set(&document.permitted),
            inheritable: reader.set(&document.inheritable),
            ambient: reader.set(&document.ambient),
        };
        keep(&mut sets.effective, sets.permitted, "effective", "permitted", warnings);
        keep(&mut sets.inheritable, sets.bounding, "inheritable", "bounding", warnings);
        let base = sets.permitted & sets.inheritable;
        keep(&mut sets.ambient, base, "ambient", "both permitted and inheritable", warnings);
        sets
    }
}

/// Reads sets of one document and remembers which names were complained of.
struct Reader<'a> {
    grantable: u64,
    refused: Vec<&'a str>,
    warnings: &'a mut Vec<String>,
}

impl<'a> Reader<'a> {
    fn set(&mut self, names: &'a [String]) -> u64 {
        names.iter().fold(0, |set, name| set | self.bit(name))
    }

    fn bit(&mut self, name: &'a str) -> u64 {
        let reason = match Capability::from_str(name) {
            Ok(capability) if self.grantable & capability.bitmask() != 0 => return capability.bitmask(),
            Ok(_) => "cannot be granted here",
            Err(_) => "is unknown",
        };
        if !self.refused.contains(&name) {
            self.refused.push(name);
            self.warnings.push(format!("process.capabilities: {name:?} {reason} and is ignored"));
        }
        0
    }
}

/// Takes out of `set` what is not in `base`, with one line for all of it.
fn keep(set: &mut u64, base: u64, name: &str, base_name: &str, warnings: &mut Vec<String>) {
    let beyond = *set & !base;
    if beyond == 0 {
        return;
    }
    *set &= base;
    let names: Vec<_> = (0..64).filter(|bit| beyond & (1 << bit) != 0).map(name_of).collect();
    warnings.push(format!(
        "process.capabilities.{name}: ignored, as the kernel wants them in {base_name}: {}",
        names.join(", ")
    ));
}

/// The name of capability `number`: `CAP_KILL`, or `capability 63` for one without a name.
pub fn name_of(number: u8) -> String {
    caps::all()
        .into_iter()
        .find(|known| known.index() == number)
        .map_or_else(|| format!("capability {number}"), |known| known.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = (1 << 41) - 1;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn sets(document: &spec::Capabilities, grantable: u64) -> (Sets, Vec<String>) {
        let mut warnings = Vec::new();
        (Sets::new(Some(document), grantable, &mut warnings), warnings)
    }

    #[test]
    fn absent_sets_are_empty() {
        let mut warnings = Vec::new();
        assert_eq!(Sets::new(None, ALL, &mut warnings), Sets::default());
        assert_eq!(sets(&spec::Capabilities::default(), ALL).0, Sets::default());
        assert!(warnings.is_empty());
    }

    #[test]
    fn names_become_bits_of_their_own_set() {
        let (sets, warnings) = sets(
            &spec::Capabilities {
                bounding: names(&["CAP_CHOWN", "CAP_KILL", "CAP_CHECKPOINT_RESTORE"]),
                effective: names(&["CAP_KILL"]),
                permitted: names(&["CAP_KILL", "CAP_CHOWN"]),
                inheritable: names(&["CAP_CHOWN"]),
                ambient: names(&["CAP_CHOWN", "CAP_CHOWN"]),
            },
            ALL,
        );
        let expected = Sets {
            bounding: 1 | 1 << 5 | 1 << 40,
            effective: 1 << 5,
            permitted: 1 | 1 << 5,
            inheritable: 1,
            ambient: 1,
        };
        assert_eq!(sets, expected);
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn a_name_that_cannot_be_had_is_one_warning_in_the_whole_document() {
        let list = names(&["CAP_KILL", "CAP_FLY", "cap_kill", "CAP_SYS_RESOURCE"]);
        let (sets, warnings) = sets(
            &spec::Capabilities {
                bounding: list.clone(),
                effective: list.clone(),
                permitted: list.clone(),
                inheritable: list.clone(),
                ambient: list,
            },
            ALL & !(1 << 24),
        );
        let kill = 1 << 5;
        let expected =
            Sets { bounding: kill, effective: kill, permitted: kill, inheritable: kill, ambient: kill };
        assert_eq!(sets, expected);
        assert_eq!(
            warnings,
            [
                "process.capabilities: \"CAP_FLY\" is unknown and is ignored",
                "process.capabilities: \"cap_kill\" is unknown and is ignored",
                "process.capabilities: \"CAP_SYS_RESOURCE\" cannot be granted here and is ignored",
            ]
        );
    }

    #[test]
    fn the_default_of_runc_spec_is_one_warning() {
        let list = names(&["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
        let (sets, warnings) = sets(
            &spec::Capabilities {
                bounding: list.clone(),
                effective: list.clone(),
                permitted: list.clone(),
                inheritable: Vec::new(),
                ambient: list,
            },
            ALL,
        );
        assert_eq!(sets.ambient, 0);
        assert_eq!(sets.effective, 1 << 5 | 1 << 10 | 1 << 29);
        assert_eq!(
            warnings,
            [
                "process.capabilities.ambient: ignored, as the kernel wants them in both permitted and inheritable: \
              CAP_KILL, CAP_NET_BIND_SERVICE, CAP_AUDIT_WRITE"
            ]
        );
    }

    #[test]
    fn effective_and_inheritable_stay_within_their_base() {
        let (sets, warnings) = sets(
            &spec::Capabilities {
                bounding: names(&["CAP_KILL"]),
                effective: names(&["CAP_KILL", "CAP_CHOWN"]),
                permitted: names(&["CAP_KILL"]),
                inheritable: names(&["CAP_KILL", "CAP_CHOWN"]),
                ambient: names(&["CAP_KILL", "CAP_CHOWN"]),
            },
            ALL,
        );
        let kill = 1 << 5;
        let expected =
            Sets { bounding: kill, effective: kill, permitted: kill, inheritable: kill, ambient: kill };
        assert_eq!(sets, expected);
        let fields: Vec<_> = warnings.iter().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(
            fields,
            [
                "process.capabilities.effective",
                "process.capabilities.inheritable",
                "process.capabilities.ambient"
            ]
        );
    }

    #[test]
    fn numbers_have_names() {
        assert_eq!(name_of(0), "CAP_CHOWN");
        assert_eq!(name_of(24), "CAP_SYS_RESOURCE");
        assert_eq!(name_of(40), "CAP_CHECKPOINT_RESTORE");
        assert_eq!(name_of(41), "capability 41");
    }
}
