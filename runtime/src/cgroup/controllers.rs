//! Controllers: switched on for the container's cgroup in every level above it: those that its limits need, and, as
//! runc does, whatever else there is, since engines read the statistics of containers without limits too.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{Hierarchy, file, tree};
use crate::error::{Error, Result};

const CONTROL: &str = "cgroup.subtree_control";
const AVAILABLE: &str = "cgroup.controllers";

/// Sees that the cgroup `names` has the controllers `needed`, each with the field that asks for it.
///
/// # Errors
/// A controller that cgroup v2 does not have here, or that a level above cannot pass on; with the field and
/// the cure.
pub fn enable(hierarchy: &Hierarchy, names: &[&str], needed: &[(&str, &str)]) -> Result<()> {
    if needed.is_empty() {
        return Ok(());
    }
    let available = file::read(hierarchy.root(), AVAILABLE)?;
    for (controller, field) in needed {
        if !available.split_whitespace().any(|name| name == *controller) {
            return Err(missing(hierarchy, controller, field));
        }
    }
    let mut path = hierarchy.path().to_owned();
    let mut level = None;
    for name in names {
        let above = level.as_ref().map_or(hierarchy.root(), AsFd::as_fd);
        let enabled = file::read(above, CONTROL)?;
        for (controller, field) in needed {
            if enabled.split_whitespace().any(|name| name == *controller) {
                continue;
            }
            file::write(above, CONTROL, &format!("+{controller}"))
                .map_err(|error| explain(error, &path, controller, field))?;
        }
        level = Some(tree::open_level(above, name)?);
        path = format!("{path}/{name}");
    }
    Ok(())
}

/// Sees that the cgroup `own`, at `names`, has all controllers that the levels above it can pass on. What a level
/// refuses (to a user it is not delegated to, or because it has processes) nobody has asked for.
///
/// # Errors
/// A level that cannot be read.
pub fn enable_others(hierarchy: &Hierarchy, own: BorrowedFd<'_>, names: &[&str]) -> Result<()> {
    // After the first container in a place they are all on, and no level has to be looked at.
    let (all, here) = (file::read(hierarchy.root(), AVAILABLE)?, file::read(own, AVAILABLE)?);
    if all.split_whitespace().all(|controller| here.split_whitespace().any(|name| name == controller)) {
        return Ok(());
    }
    let mut level: Option<OwnedFd> = None;
    for name in names {
        let above = level.as_ref().map_or(hierarchy.root(), AsFd::as_fd);
        // Some controllers would be taken by a level that has processes, and make it a threaded one: no container
        // could live below it then (cgroup-v2.rst, "Threads").
        if level.is_some()
            && file::read(above, "cgroup.procs").map_or(true, |processes| !processes.is_empty())
        {
            return Ok(());
        }
        let (available, enabled) = (file::read(above, AVAILABLE)?, file::read(above, CONTROL)?);
        let is_off = |controller: &&str| !enabled.split_whitespace().any(|name| name == *controller);
        let missing: Vec<String> =
            available.split_whitespace().filter(is_off).map(|controller| format!("+{controller}")).collect();
        // One write for all, where one refusal is the refusal of all; then each by itself.
        if !missing.is_empty()
            && file::write(above, CONTROL, &missing.join(" ")).is_err()
            && missing.len() > 1
        {
            for controller in &missing {
                let _ = file::write(above, CONTROL, controller);
            }
        }
        level = Some(tree::open_level(above, name)?);
    }
    Ok(())
}

/// Why a level does not pass a controller on.
fn explain(error: sys::Error, path: &str, controller: &str, field: &str) -> Error {
    let why = match error.errno {
        libc::EBUSY => "has processes of its own: move them away, or give a linux.cgroupsPath elsewhere",
        libc::EOPNOTSUPP => "is threaded: give a linux.cgroupsPath elsewhere",
        libc::ENOENT => "was not given it by the cgroup above",
        libc::EACCES | libc::EPERM => "is not delegated to this user",
        _ => "does not take it",
    };
    let step = format!("{field} needs the controller {controller:?} in {path:?}, which {why}");
    Error::from(error).context(step)
}

/// A controller that the root of the hierarchy does not have, and what to do about it.
fn missing(hierarchy: &Hierarchy, controller: &str, field: &str) -> Error {
    // /proc/cgroups has every controller that the kernel was built with; some have other names there.
    let v1_name = if controller == "io" { "blkio" } else { controller };
    let text = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let why = why_missing(&text, v1_name);
    let path = hierarchy.path();
    Error::other(format!(
        "{field} needs the controller {controller:?}, which cgroup v2 does not have in {path:?}: {why}"
    ))
}

/// The reason from /proc/cgroups: lines of name, hierarchy, number of cgroups, enabled (cgroups(7)).
fn why_missing(cgroups: &str, v1_name: &str) -> String {
    let line = cgroups.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    match line.filter(|fields| fields.len() == 4).find(|fields| fields[0] == v1_name) {
        Some(fields) if fields[3] == "0" => {
            format!("it is switched off; boot without cgroup_disable={v1_name}")
        }
        Some(fields) if fields[1] != "0" => {
            "cgroup v1 has it; boot with systemd.unified_cgroup_hierarchy=1 or cgroup_no_v1=all".to_owned()
        }
        Some(_) => {
            "it is not delegated to where this hierarchy begins; delegate it in the cgroup above".to_owned()
        }
        None => "this kernel was built without it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_controller_comes_with_the_cure() {
        let text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n\
                    cpu\t1\t1\t1\nmemory\t0\t1\t0\npids\t0\t9\t1\n";
        let cases = [
            ("cpu", "cgroup v1 has it; boot with systemd.unified_cgroup_hierarchy=1 or cgroup_no_v1=all"),
            ("memory", "it is switched off; boot without cgroup_disable=memory"),
            ("pids", "it is not delegated to where this hierarchy begins; delegate it in the cgroup above"),
            ("rdma", "this kernel was built without it"),
        ];
        for (name, wanted) in cases {
            assert_eq!(why_missing(text, name), wanted);
        }
    }

    #[test]
    fn a_refusing_level_is_named() {
        let error =
            explain(sys::Error::new("write", "", libc::EBUSY), "/c/x", "cpu", "linux.resources.cpu.shares");
        assert_eq!(
            error.to_string(),
            "linux.resources.cpu.shares needs the controller \"cpu\" in \"/c/x\", which has processes of its own: \
             move them away, or give a linux.cgroupsPath elsewhere: write(): device or resource busy (EBUSY)"
        );
    }
}
