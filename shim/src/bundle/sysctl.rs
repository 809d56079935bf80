//! `linux.sysctl`: the kernel's parameters of the container's own namespaces, and no others. Pure.

use std::collections::BTreeMap;

use crate::bundle::host::Host;
use crate::bundle::options::{Options, Whose};
use crate::error::{Error, Result};

/// Of an IPC namespace (ipc_namespaces(7)).
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];
/// Docker's for networks of their own: no program needs a right to listen on a low port or to send pings.
const NETWORK: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

/// Docker's, and those of `--sysctl` and `--domainname`.
///
/// # Errors
/// A parameter of the host's, in Docker's words.
pub fn parameters(options: &Options, host: &Host) -> Result<BTreeMap<String, String>> {
    let whose = options.namespaces;
    let mut parameters = BTreeMap::new();
    if whose.network == Whose::Own {
        // In a user namespace there are not as many groups.
        let fit =
            NETWORK.iter().filter(|(name, _)| host.user.is_none() || !name.ends_with("ping_group_range"));
        parameters.extend(fit.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    }
    if let Some(domain) = &options.domainname {
        if whose.uts == Whose::Host {
            return Err(Error::usage("conflicting options: domainname and the UTS mode"));
        }
        // As Docker: runtimes of before 2023 do not know the specification's `domainname`.
        parameters.insert("kernel.domainname".to_owned(), domain.clone());
    }
    for (name, value) in &options.sysctls {
        let anothers = |whose: Whose, kind: &str| {
            let whose = if whose == Whose::Host { "host" } else { "another container's" };
            Err(Error::usage(format!("sysctl '{name}={value}' is not allowed in {whose} {kind} namespace")))
        };
        match name.as_str() {
            name if name.starts_with("net.") && whose.network != Whose::Own => {
                return anothers(whose.network, "network");
            }
            name if name.starts_with("net.") => {}
            name if (IPC.contains(&name) || name.starts_with("fs.mqueue.")) && whose.ipc != Whose::Own => {
                return anothers(whose.ipc, "ipc");
            }
            name if IPC.contains(&name) || name.starts_with("fs.mqueue.") => {}
            _ => return Err(Error::usage(format!("sysctl '{name}={value}' is not allowed"))),
        }
        parameters.insert(name.clone(), value.clone());
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::options::Namespaces;

    #[test]
    fn only_parameters_of_the_containers_own_are_taken() {
        let host = Namespaces { network: Whose::Host, ipc: Whose::Host, ..Namespaces::default() };
        let with = |name: &str, namespaces| {
            let sysctls = BTreeMap::from([(name.to_owned(), "1".to_owned())]);
            let options = Options { sysctls, namespaces, ..Options::default() };
            parameters(&options, &Host::plain()).map_err(|error| error.to_string())
        };
        let none = Namespaces::default();
        let joined = Namespaces { network: Whose::Joined, ..none };
        assert_eq!(with("net.ipv4.ip_forward", none).unwrap().len(), 3);
        assert_eq!(with("net.ipv4.ip_unprivileged_port_start", none).unwrap().values().next().unwrap(), "1");
        for name in ["kernel.sem", "fs.mqueue.msg_max"] {
            assert!(with(name, none).is_ok(), "{name}");
            assert!(with(name, host).unwrap_err().ends_with("host ipc namespace"), "{name}");
        }
        assert!(with("net.core.somaxconn", host).unwrap_err().ends_with("host network namespace"));
        let refused = with("net.core.somaxconn", joined).unwrap_err();
        assert!(refused.ends_with("in another container's network namespace"), "{refused}");
        assert!(with("kernel.sem", joined).is_ok_and(|parameters| parameters.len() == 1));
        for name in ["kernel.core_pattern", "vm.swappiness", "kernel.semx", "fs.file-max", "kernel/sem"] {
            assert_eq!(with(name, none).unwrap_err(), format!("sysctl '{name}=1' is not allowed"));
        }
    }
}
