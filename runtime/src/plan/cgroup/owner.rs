//! To whom the container's cgroup is given (config-linux.md "Cgroup ownership").

use crate::plan::namespace::on_host;
use crate::spec::{IdMapping, Mount, Spec};

/// The host's user id that is to own the cgroup: that of the program, where it has a cgroup namespace of its
/// own and sees the cgroup through a writable mount. `None` where root keeps it, or where nobody on the host
/// is known to be the user. `mappings` are the users of its user namespace, if it has one.
pub fn owner(spec: &Spec, mappings: &[IdMapping]) -> Option<u32> {
    let namespaces = &spec.linux.namespaces;
    if !namespaces.iter().any(|namespace| namespace.kind == "cgroup" && namespace.path.is_empty()) {
        return None;
    }
    if !spec
        .mounts
        .iter()
        .rev()
        .find(|mount| is_cgroup_folder(&mount.destination))
        .is_some_and(is_writable_cgroup)
    {
        return None;
    }
    let uid = spec.process.as_ref()?.user.uid;
    let host = match namespaces.iter().find(|namespace| namespace.kind == "user") {
        None => uid,
        Some(_) => on_host(mappings, uid)?,
    };
    (host != 0).then_some(host)
}

fn is_cgroup_folder(destination: &str) -> bool {
    destination.split('/').filter(|name| !matches!(*name, "" | ".")).eq(["sys", "fs", "cgroup"])
}

fn is_writable_cgroup(mount: &Mount) -> bool {
    let last =
        mount.options.iter().rev().find(|option| matches!(option.as_str(), "ro" | "rro" | "rw" | "rrw"));
    matches!(mount.kind.as_str(), "cgroup" | "cgroup2") && last.is_none_or(|option| option.ends_with("rw"))
}
