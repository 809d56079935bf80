//! Device nodes: the specification's list and the default ones (config-linux.md "Devices").

use crate::error::{Error, Kind, Result};
use crate::spec;

/// What kind of node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeType {
    /// Character device (`c`, `u`).
    Character,
    /// Block device (`b`).
    Block,
    /// FIFO (`p`).
    Fifo,
}

/// One node to supply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Where the entry stands, for messages (`linux.devices[2]`, or `default device`).
    pub pointer: String,
    /// Absolute path inside the container.
    pub path: String,
    /// Kind of node.
    pub kind: NodeType,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner inside the container.
    pub uid: u32,
    /// Group inside the container.
    pub gid: u32,
}

/// config-linux.md "Default Devices"; /dev/console and /dev/ptmx are made elsewhere.
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/tty", 5, 0),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
];

/// The default devices that the configuration does not replace, then its own.
///
/// # Errors
/// An unknown type, or a number that no device can have.
pub fn plan(devices: &[spec::Device]) -> Result<Vec<Device>> {
    let mut planned: Vec<Device> = DEFAULTS
        .iter()
        .filter(|(path, ..)| devices.iter().all(|device| device.path != *path))
        .map(|(path, major, minor)| Device {
            pointer: "default device".to_owned(),
            path: (*path).to_owned(),
            kind: NodeType::Character,
            major: *major,
            minor: *minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .collect();
    for (index, device) in devices.iter().enumerate() {
        planned.push(one(index, device)?);
    }
    Ok(planned)
}

fn one(index: usize, device: &spec::Device) -> Result<Device> {
    let pointer = format!("linux.devices[{index}]");
    let refuse =
        |field: &str, what: String| Err(Error::new(Kind::Spec, format!("{pointer}.{field}: {what}")));
    let kind = match device.kind.as_str() {
        "c" | "u" => NodeType::Character,
        "b" => NodeType::Block,
        "p" => NodeType::Fifo,
        other => return refuse("type", format!("unknown device type {other:?}")),
    };
    let (Ok(major), Ok(minor)) = (u32::try_from(device.major), u32::try_from(device.minor)) else {
        return refuse("major", format!("no device has the number {}:{}", device.major, device.minor));
    };
    Ok(Device {
        path: device.path.clone(),
        kind,
        major,
        minor,
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
        pointer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_replaces_a_default() {
        let own = spec::Device {
            kind: "c".into(),
            path: "/dev/null".into(),
            major: 1,
            minor: 3,
            file_mode: Some(0o600),
            ..spec::Device::default()
        };
        let planned = plan(&[own]).unwrap();
        assert_eq!(planned.len(), 6);
        assert_eq!(planned[5].mode, 0o600);
    }

    #[test]
    fn a_wrong_type_or_number_names_its_field() {
        let wrong = spec::Device { kind: "x".into(), path: "/dev/x".into(), ..spec::Device::default() };
        assert_eq!(
            plan(&[wrong]).unwrap_err().to_string(),
            "linux.devices[0].type: unknown device type \"x\""
        );
        let wrong = spec::Device { kind: "c".into(), major: -1, ..spec::Device::default() };
        let text = "linux.devices[0].major: no device has the number -1:0";
        assert_eq!(plan(&[wrong]).unwrap_err().to_string(), text);
    }
}
