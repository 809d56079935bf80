//! The host's network devices that the container gets: names checked. config-linux.md "Network devices".
//!
//! Pure.

use std::collections::BTreeMap;

use crate::bail;
use crate::error::Result;
use crate::spec;

/// IFNAMSIZ without the NUL byte.
const LONGEST: usize = 15;

/// One device to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub host: String,
    /// Its name in the container; `%d` in it stands for the lowest free number.
    pub container: String,
}

/// The devices of `linux.netDevices`. `own_network` says that the container's network namespace is not the
/// runtime's.
pub fn net_devices(wanted: &BTreeMap<String, spec::NetDevice>, own_network: bool) -> Result<Vec<NetDevice>> {
    let mut devices: Vec<NetDevice> = Vec::with_capacity(wanted.len());
    for (host, device) in wanted {
        let field = format!("linux.netDevices[{host:?}]");
        if !own_network {
            bail!("{field}: the container has no network namespace of its own to move a device into");
        }
        check_name(&field, host)?;
        let container = if device.name.is_empty() { host } else { &device.name };
        check_name(&format!("{field}.name"), container)?;
        let template = container.contains('%');
        if template && (container.matches('%').count() != 1 || !container.contains("%d")) {
            bail!("{field}.name: {container:?}: the only thing that may follow a percent sign is one \"d\"");
        }
        if let Some(other) = devices.iter().find(|other| !template && other.container == *container) {
            bail!("{field}.name: {container:?} is also the name of linux.netDevices[{:?}]", other.host);
        }
        devices.push(NetDevice { host: host.clone(), container: container.clone() });
    }
    Ok(devices)
}

/// What the kernel takes as a name (`dev_valid_name`).
fn check_name(field: &str, name: &str) -> Result<()> {
    let bad = |c: char| matches!(c, '/' | ':' | '\0') || c.is_ascii_whitespace() || c == '\x0b';
    if name.is_empty() || name.len() > LONGEST || matches!(name, "." | "..") || name.contains(bad) {
        bail!(
            "{field}: {name:?} is not a name of a network device: 1 to 15 bytes without '/', ':' and spaces"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(devices: &[(&str, &str)], own_network: bool) -> Result<Vec<NetDevice>> {
        let device = |&(host, name): &(&str, &str)| (host.into(), spec::NetDevice { name: name.into() });
        net_devices(&devices.iter().map(device).collect(), own_network)
    }

    #[test]
    fn names() {
        let devices =
            plan(&[("eth0", ""), ("eth1", "net0"), ("eth2", "x%d"), ("eth3", "x%d")], true).unwrap();
        let names: Vec<_> = devices.iter().map(|d| (d.host.as_str(), d.container.as_str())).collect();
        assert_eq!(names, [("eth0", "eth0"), ("eth1", "net0"), ("eth2", "x%d"), ("eth3", "x%d")]);
        assert!(plan(&[], false).unwrap().is_empty());
    }

    #[test]
    fn mistakes() {
        let name = "is not a name of a network device: 1 to 15 bytes without '/', ':' and spaces";
        let percent = "the only thing that may follow a percent sign is one \"d\"";
        for (devices, own, message) in [
            (
                &[("eth0", "")][..],
                false,
                "linux.netDevices[\"eth0\"]: the container has no network namespace of its own to move a device into"
                    .to_owned(),
            ),
            (&[("", "a")], true, format!("linux.netDevices[\"\"]: \"\" {name}")),
            (&[("e", "a/b")], true, format!("linux.netDevices[\"e\"].name: \"a/b\" {name}")),
            (&[("e", "a:1")], true, format!("linux.netDevices[\"e\"].name: \"a:1\" {name}")),
            (&[("e", "a b")], true, format!("linux.netDevices[\"e\"].name: \"a b\" {name}")),
            (&[("e", "..")], true, format!("linux.netDevices[\"e\"].name: \"..\" {name}")),
            (
                &[("e", "sixteen-bytes-ab")],
                true,
                format!("linux.netDevices[\"e\"].name: \"sixteen-bytes-ab\" {name}"),
            ),
            (&[("e", "a%s")], true, format!("linux.netDevices[\"e\"].name: \"a%s\": {percent}")),
            (&[("e", "a%d%d")], true, format!("linux.netDevices[\"e\"].name: \"a%d%d\": {percent}")),
            (
                &[("a", "x"), ("x", "")],
                true,
                "linux.netDevices[\"x\"].name: \"x\" is also the name of linux.netDevices[\"a\"]".to_owned(),
            ),
        ] {
            assert_eq!(plan(devices, own).unwrap_err().to_string(), message);
        }
        assert!(plan(&[("e", "fifteen-bytes-a")], true).is_ok());
    }
}
