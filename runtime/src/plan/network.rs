//! Which network devices of the host the container gets, and under which names.
//!
//! config-linux.md "Network Devices"; the kernel's rules for names are those of its `dev_valid_name`.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::spec;

/// A device to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub host: String,
    /// Its name inside; with `%d` the kernel counts: `eth%d`.
    pub container: String,
}

/// Longest name of a device in bytes (IFNAMSIZ without the NUL).
const LONGEST: usize = 15;

/// The devices of `linux.netDevices`; `own_network` is whether the container has a network namespace that is
/// not the host's.
///
/// # Errors
/// Kind `Spec`: no such namespace, a name that no device can have, one that two would have.
pub fn net_devices(
    document: &BTreeMap<String, spec::NetDevice>,
    own_network: bool,
) -> Result<Vec<NetDevice>> {
    let mut devices: Vec<NetDevice> = Vec::with_capacity(document.len());
    for (host, entry) in document {
        let wrong =
            |reason: String| Err(Error::new(Kind::Spec, format!("linux.netDevices[{host:?}]: {reason}")));
        if !own_network {
            return wrong("needs a network namespace of the container's own".to_owned());
        }
        let container = if entry.name.is_empty() { host } else { &entry.name };
        for name in [host, container] {
            if !is_name(name) {
                return wrong(format!("{name:?} cannot be the name of a network device"));
            }
        }
        if container.contains('%') && !is_pattern(container) {
            return wrong(format!("{container:?} is neither a name nor a pattern with one %d"));
        }
        if let Some(other) =
            devices.iter().find(|other| other.container == *container && !is_pattern(container))
        {
            return wrong(format!("is to be {container:?}, as {:?} is", other.host));
        }
        devices.push(NetDevice { host: host.clone(), container: container.clone() });
    }
    Ok(devices)
}

fn is_name(name: &str) -> bool {
    let forbidden = |byte: u8| matches!(byte, b'/' | b':' | 0 | b' ' | 0x09..=0x0d | 0xa0);
    (1..=LONGEST).contains(&name.len()) && !matches!(name, "." | "..") && !name.bytes().any(forbidden)
}

fn is_pattern(name: &str) -> bool {
    name.matches('%').count() == 1 && name.contains("%d")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)], own: bool) -> Result<Vec<NetDevice>> {
        let entry = |name: &str| spec::NetDevice { name: name.to_owned() };
        let document = pairs.iter().map(|(host, name)| ((*host).to_owned(), entry(name))).collect();
        net_devices(&document, own)
    }

    fn device(host: &str, container: &str) -> NetDevice {
        NetDevice { host: host.to_owned(), container: container.to_owned() }
    }

    #[test]
    fn a_device_keeps_its_name_unless_it_gets_another() {
        assert_eq!(
            parse(&[("ens1", ""), ("ens2", "eth0"), ("ens3", "eth%d"), ("ens4", "eth%d")], true).unwrap(),
            [
                device("ens1", "ens1"),
                device("ens2", "eth0"),
                device("ens3", "eth%d"),
                device("ens4", "eth%d")
            ]
        );
        assert_eq!(parse(&[], false).unwrap(), []);
    }

    #[test]
    fn wrong_names_and_contradictions_are_errors() {
        let error = |pairs: &[(&str, &str)], own| parse(pairs, own).unwrap_err().to_string();
        assert_eq!(
            error(&[("eth0", "")], false),
            "linux.netDevices[\"eth0\"]: needs a network namespace of the container's own"
        );
        for name in ["a/b", "a:b", "a b", "a\tb", "..", ".", "sixteen-bytes-xx", "a\0"] {
            assert_eq!(
                error(&[("eth0", name)], true),
                format!("linux.netDevices[\"eth0\"]: {name:?} cannot be the name of a network device")
            );
        }
        assert!(error(&[("", "a")], true).contains("\"\" cannot be"));
        for name in ["eth%", "eth%s", "%d%d", "eth%d%"] {
            assert_eq!(
                error(&[("eth0", name)], true),
                format!("linux.netDevices[\"eth0\"]: {name:?} is neither a name nor a pattern with one %d")
            );
        }
        assert_eq!(
            error(&[("ens1", "eth0"), ("ens2", "eth0")], true),
            "linux.netDevices[\"ens2\"]: is to be \"eth0\", as \"ens1\" is"
        );
    }
}
