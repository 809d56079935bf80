//! Facts of the host that decide about documents ([`crate::bundle::host`]), read from where the kernel tells them.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::OnceLock;

use jiff::tz::TimeZone;

use crate::bundle::defaults::{ALL_CAPABILITIES, APPARMOR_PROFILE};
use crate::bundle::host::{Host, UserMappings};
use crate::bundle::spec::Device;
use crate::error::{Context, Error, Result};
use crate::image::platform::Platform;

/// Folders of /dev that are not of devices, or are each container's own (as Docker passes them over).
const NOT_DEVICES: [&str; 6] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts"];

/// Where the host is, for times that people read: `TZ`, or else `/etc/localtime` (tzset(3)); UTC where there is neither.
#[must_use]
pub fn time_zone() -> TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    let read = || {
        if std::env::var_os("TZ").is_some() {
            return TimeZone::system();
        }
        // jiff would look through the whole database for its name.
        let rules = fs::read("/etc/localtime").ok();
        rules.and_then(|rules| TimeZone::tzif("Local", &rules).ok()).unwrap_or(TimeZone::UTC)
    };
    ZONE.get_or_init(read).clone()
}

/// The facts. `user` are the ids of an ordinary user's containers; devices are looked for if `with_devices`.
///
/// # Errors
/// The system's reason.
pub fn read(user: Option<UserMappings>, with_devices: bool) -> Result<Host> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let last = text("/proc/sys/kernel/cap_last_cap").trim().parse().unwrap_or(ALL_CAPABILITIES.len() - 1);
    let profiles = text("/sys/kernel/security/apparmor/profiles");
    let is_default = |line: &str| line.split(" (").next() == Some(APPARMOR_PROFILE);
    let apparmor = text("/sys/module/apparmor/parameters/enabled").starts_with('Y');
    Ok(Host {
        architecture: Platform::host().architecture,
        kernel: version(&release).ok_or_else(|| Error::invalid(format!("kernel release {release:?}")))?,
        last_capability: last,
        cpus: std::thread::available_parallelism()
            .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
        hostname: uname.nodename().to_string_lossy().into_owned(),
        apparmor,
        apparmor_has_default: apparmor && profiles.lines().any(is_default),
        selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        has_mqueue: Path::new("/dev/mqueue").is_dir(),
        thermal_throttles: thermal_throttles(),
        devices: if with_devices { devices_below(Path::new("/dev"))? } else { Vec::new() },
        user,
    })
}

/// The first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|char: char| !char.is_ascii_digit()).map(str::parse::<u32>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn thermal_throttles() -> Vec<String> {
    let entries = fs::read_dir("/sys/devices/system/cpu").into_iter().flatten().flatten();
    let folders = entries.map(|entry| entry.path().join("thermal_throttle")).filter(|path| path.is_dir());
    let mut found: Vec<String> = folders.map(|path| path.to_string_lossy().into_owned()).collect();
    found.sort();
    found
}

/// One device by its path, links followed; None for what is none.
///
/// # Errors
/// The system's reason.
pub fn device(path: &Path) -> Result<Option<Device>> {
    let stat = fs::metadata(path).during(|| format!("device {path:?}"))?;
    let kind = match stat.file_type() {
        kind if kind.is_char_device() => 'c',
        kind if kind.is_block_device() => 'b',
        _ => return Ok(None),
    };
    Ok(Some(Device {
        kind,
        path: path.to_string_lossy().into_owned(),
        major: rustix::fs::major(stat.rdev()),
        minor: rustix::fs::minor(stat.rdev()),
        file_mode: stat.permissions().mode() & 0o777,
        uid: stat.uid(),
        gid: stat.gid(),
    }))
}

/// All devices below a folder, links not followed.
///
/// # Errors
/// The system's reason.
pub fn devices_below(folder: &Path) -> Result<Vec<Device>> {
    let mut found = Vec::new();
    let words = || format!("devices in {folder:?}");
    for entry in fs::read_dir(folder).during(words)? {
        let entry = entry.during(words)?;
        let (kind, path) = (entry.file_type().during(words)?, entry.path());
        if kind.is_dir() {
            if !NOT_DEVICES.iter().any(|name| entry.file_name() == *name) {
                found.extend(devices_below(&path)?);
            }
        } else if (kind.is_char_device() || kind.is_block_device()) && entry.file_name() != "console" {
            found.extend(device(&path)?);
        }
    }
    found.sort_by(|one, two| one.path.cmp(&two.path));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_its_version() {
        assert_eq!(version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(version("5.10-rc1"), Some((5, 10)));
        assert_eq!(version("next"), None);
    }

    #[test]
    fn devices_are_found_with_their_numbers() {
        let null = device(Path::new("/dev/null")).unwrap().unwrap();
        assert_eq!((null.kind, null.major, null.minor), ('c', 1, 3));
        assert_eq!(device(Path::new("/")).unwrap(), None);
        assert!(device(Path::new("/dev/no-such-thing")).is_err());
        let all = devices_below(Path::new("/dev")).unwrap();
        assert!(all.contains(&null) && !all.iter().any(|device| device.path.starts_with("/dev/pts/")));
        let host = read(None, false).unwrap();
        assert!(host.devices.is_empty() && host.cpus > 0 && host.last_capability >= 37);
    }
}
