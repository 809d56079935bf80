//! config-linux.md "Sysctl": only parameters of a namespace that is the container's own.
//!
//! All others would change the host. The lists are runc's; see also namespaces(7), ipc_namespaces(7).

use std::collections::BTreeMap;

use super::Findings;
use super::namespaces::Own;

/// Parameters of the IPC namespace outside of fs.mqueue.
const IPC: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// The file of a parameter, relative to /proc/sys; `None` where the name has an empty part, `.` or `..`, and
/// so might lead elsewhere.
///
/// Both of sysctl(8)'s spellings are read: the first separator in the name decides, and the other character
/// stands for itself exchanged (`net.ipv4.conf.eth0/1.forwarding` is `net/ipv4/conf/eth0.1/forwarding`).
pub fn sysctl_file(name: &str) -> Option<String> {
    let slashes = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'/');
    let file: String = if slashes {
        name.to_owned()
    } else {
        name.chars()
            .map(|char| {
                if char == '.' {
                    '/'
                } else if char == '/' {
                    '.'
                } else {
                    char
                }
            })
            .collect()
    };
    let sound = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    file.split('/').all(sound).then_some(file)
}

pub(super) fn check(parameters: &BTreeMap<String, String>, own: Own, findings: &mut Findings) {
    for (name, value) in parameters {
        if let Some(reason) = refusal(name, own) {
            findings.error(format_args!("linux.sysctl[{name:?}]"), reason);
        }
        findings.text(format_args!("linux.sysctl[{name:?}]"), value);
    }
}

/// Why a parameter may not be set, `None` where it may.
fn refusal(name: &str, own: Own) -> Option<String> {
    let Some(file) = sysctl_file(name) else {
        return Some(format!("sysctl {name:?} is not the name of a kernel parameter"));
    };
    let in_tree = |tree: &str| file.strip_prefix(tree).is_some_and(|rest| rest.starts_with('/'));
    let own_or = |kind: &str, called: &str| {
        (!own.has(kind)).then(|| format!("sysctl {name:?} is not allowed in the host's {called} namespace"))
    };
    if IPC.contains(&file.as_str()) || in_tree("fs/mqueue") {
        own_or("ipc", "ipc")
    } else if in_tree("net") {
        own_or("network", "network")
    } else if file == "kernel/domainname" && own.has("uts") {
        None
    } else if file == "kernel/hostname" && own.has("uts") {
        Some(format!("sysctl {name:?} conflicts with the field hostname, which is to be used"))
    } else {
        Some(format!("sysctl {name:?} is not in a separate kernel namespace"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_name_the_same_file() {
        let table = [
            ("net.ipv4.ip_forward", Some("net/ipv4/ip_forward")),
            ("net/ipv4/ip_forward", Some("net/ipv4/ip_forward")),
            ("net.ipv4.conf.eth0/1.forwarding", Some("net/ipv4/conf/eth0.1/forwarding")),
            ("net/ipv4/conf/eth0.1/forwarding", Some("net/ipv4/conf/eth0.1/forwarding")),
            ("net/../kernel/core_pattern", None),
            ("net.//.kernel.core_pattern", None),
            ("net..ipv4", None),
            ("/net/ipv4", None),
            ("net/ipv4/", None),
            ("net.ip\0v4", None),
            ("", None),
        ];
        for (name, file) in table {
            assert_eq!(sysctl_file(name).as_deref(), file, "{name}");
        }
    }
}
