//! Which kernel parameters a container may set, and where they are.
//!
//! Only those of a namespace that is the container's own (config-linux.md "Sysctl"; the list is runc's, by
//! namespaces(7)): everything else would change the host. Names are read as sysctl(8) reads them.

use std::collections::BTreeMap;

use super::namespace::Namespace;
use crate::error::{Error, Kind, Result};

/// Which namespaces are not the host's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Own {
    /// IPC: System V objects and POSIX message queues.
    pub ipc: bool,
    /// Network.
    pub network: bool,
    /// UTS: the domain name.
    pub uts: bool,
}

/// One parameter to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// The name as it stands in the document.
    pub key: String,
    /// Its file, relative to the root of procfs: `sys/net/ipv4/ip_forward`.
    pub path: String,
    /// What is written there.
    pub value: String,
}

impl Sysctl {
    /// Which namespace it belongs to.
    pub fn namespace(&self) -> Namespace {
        match self.path.as_str() {
            path if path.starts_with("sys/net/") => Namespace::Network,
            "sys/kernel/domainname" => Namespace::Uts,
            _ => Namespace::Ipc,
        }
    }
}

/// Parameters of the IPC namespace under `kernel` (ipc_namespaces(7)); `fs.mqueue` is the other part.
const IPC: [&str; 8] = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];

/// The parameters of `linux.sysctl`.
///
/// # Errors
/// Kind `Spec`: a parameter that is not of a namespace of the container's own, a name that is none.
pub fn sysctls(document: &BTreeMap<String, String>, own: Own) -> Result<Vec<Sysctl>> {
    document
        .iter()
        .map(|(key, value)| {
            let wrong = |reason| Error::new(Kind::Spec, format!("linux.sysctl[{key:?}]: {reason}"));
            let parts = parts(key).ok_or_else(|| wrong("is not the name of a kernel parameter"))?;
            if let Some(reason) = refusal(&parts, own) {
                return Err(wrong(reason));
            }
            if value.contains('\0') {
                return Err(wrong("the value holds a NUL byte"));
            }
            Ok(Sysctl { key: key.clone(), path: format!("sys/{}", parts.join("/")), value: value.clone() })
        })
        .collect()
}

/// The folders and the file that a name stands for; `None` for one that could lead elsewhere.
///
/// The first separator decides (sysctl(8)): in `net.ipv4.conf.eth0/1.forwarding` dots separate and a slash
/// stands for a dot, in `net/ipv4/conf/eth0.1/forwarding` slashes separate.
fn parts(key: &str) -> Option<Vec<String>> {
    let separator = key.chars().find(|char| matches!(char, '.' | '/'))?;
    let parts: Vec<_> = key
        .split(separator)
        .map(|part| if separator == '.' { part.replace('/', ".") } else { part.to_owned() })
        .collect();
    let sound = |part: &String| !matches!(part.as_str(), "" | "." | "..") && !part.contains('\0');
    parts.iter().all(sound).then_some(parts)
}

/// Why a parameter may not be set.
fn refusal(parts: &[String], own: Own) -> Option<&'static str> {
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["kernel", name] if IPC.contains(name) => {
            needs(own.ipc, "needs an ipc namespace of the container's own")
        }
        ["fs", "mqueue", _, ..] => needs(own.ipc, "needs an ipc namespace of the container's own"),
        ["net", _, ..] => needs(own.network, "needs a network namespace of the container's own"),
        ["kernel", "domainname"] => needs(own.uts, "needs a uts namespace of the container's own"),
        ["kernel", "hostname"] => Some("is what the field hostname is for"),
        _ => Some("is not in a separate kernel namespace"),
    }
}

fn needs(own: bool, reason: &'static str) -> Option<&'static str> {
    (!own).then_some(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Own = Own { ipc: true, network: true, uts: true };

    fn one(key: &str, own: Own) -> Result<Sysctl> {
        let document = BTreeMap::from([(key.to_owned(), "1".to_owned())]);
        Ok(sysctls(&document, own)?.remove(0))
    }

    #[test]
    fn names_are_read_as_sysctl_reads_them() {
        for (key, path) in [
            ("net.ipv4.ip_forward", "sys/net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "sys/net/ipv4/ip_forward"),
            ("net.ipv4.conf.eth0/1.forwarding", "sys/net/ipv4/conf/eth0.1/forwarding"),
            ("net/ipv4/conf/eth0.1/forwarding", "sys/net/ipv4/conf/eth0.1/forwarding"),
            ("kernel.shm_rmid_forced", "sys/kernel/shm_rmid_forced"),
            ("fs.mqueue.msg_max", "sys/fs/mqueue/msg_max"),
            ("kernel.domainname", "sys/kernel/domainname"),
        ] {
            let sysctl = Sysctl { key: key.to_owned(), path: path.to_owned(), value: "1".to_owned() };
            assert_eq!(one(key, ALL).unwrap(), sysctl);
            let namespace = match path {
                "sys/kernel/domainname" => Namespace::Uts,
                "sys/kernel/shm_rmid_forced" | "sys/fs/mqueue/msg_max" => Namespace::Ipc,
                _ => Namespace::Network,
            };
            assert_eq!(sysctl.namespace(), namespace, "{key}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_none() {
        for key in [
            "",
            "kernel",
            ".",
            "..",
            "net..ipv4",
            "net.",
            ".net.x",
            "/net/x",
            "net/../kernel/core_pattern",
            "net/./x",
            "net.//.kernel.core_pattern",
            "net.ipv4\0.x",
        ] {
            let error = one(key, ALL).unwrap_err();
            let expected = format!("linux.sysctl[{key:?}]: is not the name of a kernel parameter");
            assert_eq!(error.to_string(), expected);
            assert_eq!(error.kind(), Kind::Spec);
        }
    }

    #[test]
    fn only_what_is_namespaced_is_allowed() {
        for key in [
            "kernel.core_pattern",
            "kernel/core_pattern",
            "vm.overcommit_memory",
            "fs.file-max",
            "fs.mqueue",
            "kernel.shmmax.x",
            "kernel.shmmaxx",
            "netx.ipv4",
        ] {
            assert_eq!(
                one(key, ALL).unwrap_err().to_string(),
                format!("linux.sysctl[{key:?}]: is not in a separate kernel namespace")
            );
        }
        let error = one("kernel.hostname", ALL).unwrap_err().to_string();
        assert_eq!(error, "linux.sysctl[\"kernel.hostname\"]: is what the field hostname is for");
    }

    #[test]
    fn each_needs_its_own_namespace() {
        for (key, lacking, kind) in [
            ("kernel.sem", Own { ipc: false, ..ALL }, "an ipc"),
            ("fs.mqueue.queues_max", Own { ipc: false, ..ALL }, "an ipc"),
            ("net.core.somaxconn", Own { network: false, ..ALL }, "a network"),
            ("kernel.domainname", Own { uts: false, ..ALL }, "a uts"),
        ] {
            assert!(one(key, ALL).is_ok());
            assert_eq!(
                one(key, lacking).unwrap_err().to_string(),
                format!("linux.sysctl[{key:?}]: needs {kind} namespace of the container's own")
            );
        }
    }

    #[test]
    fn a_value_is_text_without_nul() {
        let document = BTreeMap::from([("net.x".to_owned(), "1\0".to_owned())]);
        assert_eq!(
            sysctls(&document, ALL).unwrap_err().to_string(),
            "linux.sysctl[\"net.x\"]: the value holds a NUL byte"
        );
    }
}
