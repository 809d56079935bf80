//! Labels of SELinux of a container that was asked to have one (`--security-opt label=`): its own categories, unless the
//! user says which, and its label on what is its own: the root, the shared memory, the files that tell names.
//!
//! Where the host has no SELinux nothing is labelled. Which labels what is given by volumes get is `volumes`' (`z`, `Z`).

use std::path::Path;

use crate::bundle::options::Options;
use crate::bundle::security;
use crate::container::ContainerId;
use crate::container::store::Containers;
use crate::error::{Context, Error, Kind, Result};
use crate::volume::relabel;

/// How many categories there are (the policies of distributions).
const CATEGORIES: u16 = 1024;
/// The files that tell names, in a container's folder.
const FILES: [&str; 3] = ["hostname", "hosts", "resolv.conf"];

/// The label of a container's mounts, if it was asked to have one; one with categories that no other container has, unless
/// the user has said which.
///
/// # Errors
/// A label that is none, or no SELinux; a damaged record; the system's reason.
pub fn choose(containers: &Containers, id: &ContainerId, options: &mut Options) -> Result<Option<String>> {
    let is_told = |field: &String| field == "disable" || field.starts_with("level:");
    if options.security.label.is_empty() {
        return Ok(None);
    }
    let is_enabled = relabel::is_enabled();
    if is_enabled && !options.security.label.iter().any(is_told) {
        let mut taken = Vec::new();
        for other in containers.ids()? {
            taken.extend(containers.get(&other)?.map(|container| container.process_label));
        }
        let is_free = |level: &String| !taken.iter().any(|label| level_of(label) == Some(level));
        let level = levels(id.as_str()).find(is_free);
        let level = level.ok_or_else(|| Error::new(Kind::System, "no two categories are free"))?;
        options.security.label.push(format!("level:{level}"));
    }
    Ok(security::labels(options, is_enabled)?.map(|(_, mounts)| mounts))
}

/// `USER:ROLE:TYPE:LEVEL`
fn level_of(label: &str) -> Option<&str> {
    label.splitn(4, ':').nth(3)
}

/// Levels of two categories each, by the digits of a container's id, which are random.
fn levels(id: &str) -> impl Iterator<Item = String> + '_ {
    let number = |from: usize| u16::from_str_radix(id.get(from..from + 3)?, 16).ok();
    (0..id.len()).filter_map(move |from| {
        let (one, other) = (number(from)? % CATEGORIES, number(from + 3)? % CATEGORIES);
        (one != other).then(|| format!("s0:c{},c{}", one.min(other), one.max(other)))
    })
}

/// Labels the files of a container in the making that are mounted in it.
///
/// # Errors
/// The system's reason.
pub fn label_files(folder: &Path, label: &str) -> Result<()> {
    for name in FILES {
        let path = folder.join(name);
        // Those of another container's network are the other's.
        if path.exists() {
            relabel::set_label(&path, label).during(|| format!("label {path:?}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_are_two_in_order_and_others_where_they_are_taken() {
        let found: Vec<String> = levels("0010020020fffff").collect();
        assert_eq!(found[0], "s0:c1,c2");
        // 0x002 is 2 twice; 0xfff is 4095, of which 1023 is left.
        assert!(!found.iter().any(|level| level == "s0:c2,c2"), "{found:?}");
        assert!(found.contains(&"s0:c527,c1023".to_owned()), "{found:?}");
        assert!(levels("").next().is_none() && levels("zz").next().is_none());
    }

    #[test]
    fn the_level_is_what_stands_behind_the_third_colon() {
        assert_eq!(level_of("system_u:system_r:container_t:s0:c1,c2"), Some("s0:c1,c2"));
        assert_eq!(level_of(""), None);
    }
}
