//! What a container has from outside, and images therefore do not hold: bind mounts of the host's files, devices
//! and masks, namespaces that were joined.
//!
//! Which they are is asked of the config.json that was kept; where they are is asked of the kernel, because the path in config.json
//! may have led through links of the image. Everything is looked up through the container's root by openat2(2)
//! with RESOLVE_IN_ROOT. A container that has changed its own mounts changes its own checkpoint, and nothing else.

use std::collections::HashMap;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, OFlags, StatxAttributes, StatxFlags};

use crate::bail;
use crate::error::{Call, Context, Result};
use crate::kernel::namespace::root_of;
use crate::kernel::procfs::Procfs;
use crate::kernel::root::RootFd;
use crate::plan::device;
use crate::plan::mount::{self, Mount, What};
use crate::plan::namespace::{self, Namespace, Namespaces};
use crate::spec::Spec;

/// Larger than the mount table of any container.
const LARGEST_MOUNTINFO: usize = 16 << 20;

/// The part of a configuration that matters to CRIU.
#[derive(Debug)]
pub struct External {
    mounts: Vec<Mount>,
    masked_paths: Vec<String>,
    devices: Vec<String>,
    /// The container's namespaces.
    pub namespaces: Namespaces,
    /// CRIU's own configuration file; `None` for none.
    pub config_file: Option<String>,
}

/// CRIU's configuration file where no annotation names another, as in runc.
const CONFIG_FILE: &str = "/etc/criu/runc.conf";
/// The annotation that does; an empty value stands for none at all.
const CONFIG_ANNOTATION: &str = "org.criu.config";

impl External {
    /// Finds the part, and refuses what CRIU would restore as something else.
    ///
    /// # Errors
    /// Kind `Spec` for a configuration that cannot be carried out; what cannot be restored, by its field.
    pub fn of(spec: &Spec, bundle: &str) -> Result<Self> {
        let namespaces = namespace::plan(&spec.linux)?;
        let mut mounts = Vec::with_capacity(spec.mounts.len());
        for (index, entry) in spec.mounts.iter().enumerate() {
            mounts.push(mount::plan(index, entry, bundle, &spec.linux.mount_label)?.0);
        }
        refuse(&mounts, &namespaces)?;
        let devices = device::plan(&spec.linux.devices)?.into_iter().map(|device| device.path).collect();
        Ok(Self {
            mounts,
            masked_paths: spec.linux.masked_paths.clone(),
            devices,
            namespaces,
            config_file: config_file(spec),
        })
    }

    /// The mounts that CRIU is not to dump: where they are, and the name by which `restore` finds their source.
    ///
    /// # Errors
    /// What reading the container's root and mount table gives.
    pub fn mounts(&self, host: &Procfs, pid: i32) -> Result<Vec<(String, String)>> {
        let seen = Seen::of(host, pid)?;
        let mut found: Vec<(String, String)> = Vec::new();
        let mut add = |point: &str, name: &str| {
            if found.iter().all(|(known, _)| known != point) {
                found.push((point.to_owned(), name.to_owned()));
            }
        };
        for mount in self.mounts.iter().filter(|mount| matches!(mount.what, What::Bind { .. })) {
            if let Some((line, _)) = seen.mount_at(&mount.destination).context(|| mount.describe())? {
                add(&line.point, &line.point);
            }
        }
        for path in &self.devices {
            if let Some((line, FileType::CharacterDevice | FileType::BlockDevice)) = seen.mount_at(path)? {
                add(&line.point, &line.point);
            }
        }
        for path in &self.masked_paths {
            // Of the container's own null device CRIU makes the mask again; the host's has to be brought.
            match seen.mount_at(path)? {
                Some((line, kind)) if kind != FileType::Directory && !seen.is_own(line) => {
                    add(&line.point, "/dev/null");
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Which of standard input, output and error are terminals from outside, by CRIU's names for them.
    ///
    /// # Errors
    /// What reading the process's descriptors and mount table gives.
    pub fn terminals(&self, host: &Procfs, pid: i32) -> Result<[Option<String>; 3]> {
        let seen = Seen::of(host, pid)?;
        let folder = host.open(&format!("{pid}/fd"), OFlags::PATH | OFlags::DIRECTORY)?;
        let mut names = [const { None }; 3];
        for (fd, name) in names.iter_mut().enumerate() {
            let Ok(stat) = rustix::fs::statat(&folder, fd.to_string(), AtFlags::empty()) else { continue };
            let info = host.read(&format!("{pid}/fdinfo/{fd}"), 64 * 1024)?;
            let info = String::from_utf8_lossy(&info).into_owned();
            let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
            let is_terminal = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
                && SLAVES.contains(&rustix::fs::major(stat.st_rdev));
            if is_terminal && mount.is_some_and(|mount: u64| !seen.lines.contains_key(&mount)) {
                *name = Some(format!("tty[{:x}:{:x}]", stat.st_rdev, stat.st_dev));
            }
        }
        Ok(names)
    }
}

/// The major numbers of the slaves of pseudoterminals (admin-guide/devices.rst).
const SLAVES: std::ops::RangeInclusive<u32> = 136..=143;

/// The configuration file that CRIU reads.
pub fn config_file(spec: &Spec) -> Option<String> {
    let annotated = spec.annotations.get(CONFIG_ANNOTATION).map(String::as_str);
    let path = annotated.unwrap_or(CONFIG_FILE);
    (!path.is_empty()).then(|| path.to_owned())
}

/// What CRIU cannot restore as it was.
///
/// # Errors
/// The field.
pub fn refuse(mounts: &[Mount], namespaces: &Namespaces) -> Result<()> {
    if !namespaces.is_new(Namespace::Mount) {
        bail!("linux.namespaces: criu needs a container with a mount namespace of its own");
    }
    if namespaces.is_joined(Namespace::Cgroup) {
        bail!("linux.namespaces: criu cannot restore into a cgroup namespace of somebody else's");
    }
    if let Some(mount) = mounts.iter().find(|mount| mount.idmap.is_some()) {
        bail!("{}: criu cannot restore an id-mapped mount", mount.describe());
    }
    Ok(())
}

/// A line of proc_pid_mountinfo(5).
#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// Major and minor number of the file system.
    device: String,
    /// What of the file system is mounted.
    root: String,
    /// Where.
    point: String,
}

/// A container's mounts.
struct Seen {
    root: RootFd,
    lines: HashMap<u64, Line>,
}

impl Seen {
    fn of(host: &Procfs, pid: i32) -> Result<Self> {
        let root = root_of(host, pid)?;
        let table = host.read(&format!("{pid}/mountinfo"), LARGEST_MOUNTINFO)?;
        Ok(Self { root: root.into(), lines: parse(&String::from_utf8_lossy(&table)) })
    }

    /// The mount whose root lies at `path`, and of what type that is; `None` where nothing is mounted.
    fn mount_at(&self, path: &str) -> Result<Option<(&Line, FileType)>> {
        let file = match self.root.resolve(path) {
            Ok(file) => file,
            Err(error) if matches!(error.errno(), libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let wanted = StatxFlags::TYPE | StatxFlags::MNT_ID;
        let stat = rustix::fs::statx(file.as_fd(), "", AtFlags::EMPTY_PATH, wanted)
            .call("statx", || format!("{path:?} inside the root"))?;
        let is_root = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
        let line = self.lines.get(&stat.stx_mnt_id).filter(|line| is_root && line.point != "/");
        Ok(line.map(|line| (line, FileType::from_raw_mode(stat.stx_mode.into()))))
    }

    /// Whether the whole file system that the mount shows a part of is mounted in the container.
    fn is_own(&self, line: &Line) -> bool {
        self.lines.values().any(|other| other.device == line.device && other.root == "/")
    }
}

fn parse(table: &str) -> HashMap<u64, Line> {
    let line = |line: &str| {
        let mut fields = line.split(' ');
        let id = fields.next()?.parse().ok()?;
        let device = fields.nth(1)?.to_owned();
        let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
        Some((id, Line { device, root, point }))
    };
    table.lines().filter_map(line).collect()
}

/// Undoes the escapes of proc_pid_mountinfo(5).
fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    #[test]
    fn the_mount_table_is_read() {
        let table = "30 23 0:24 / /dev/shm rw,relatime - tmpfs tmpfs rw,inode64\n\
                     31 24 8:1 /a\\040b /x\\134y rw shared:7 - ext4 /dev/vda rw\n\
                     broken\n";
        let lines = parse(table);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[&30], Line { device: "0:24".into(), root: "/".into(), point: "/dev/shm".into() });
        assert_eq!(lines[&31], Line { device: "8:1".into(), root: "/a b".into(), point: "/x\\y".into() });
    }

    #[test]
    fn of_a_process_only_mounts_are_found() {
        let host = Procfs::shared().unwrap();
        let seen = Seen::of(host, std::process::id().cast_signed()).unwrap();
        let (line, kind) = seen.mount_at("/proc").unwrap().unwrap();
        assert_eq!((line.point.as_str(), kind), ("/proc", FileType::Directory));
        assert!(seen.is_own(line));
        assert!(seen.mount_at("/proc/sys").unwrap().is_none());
        assert!(seen.mount_at("/none").unwrap().is_none());
    }

    fn spec_with(namespaces: &[(&str, &str)], options: &[&str]) -> Spec {
        let entry =
            |(kind, path): &(&str, &str)| spec::Namespace { kind: (*kind).into(), path: (*path).into() };
        let mut spec = Spec::default();
        spec.linux.namespaces = namespaces.iter().map(entry).collect();
        spec.mounts = vec![spec::Mount {
            destination: "/data".into(),
            source: "/srv".into(),
            kind: "bind".into(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            ..spec::Mount::default()
        }];
        spec
    }

    #[test]
    fn what_criu_would_restore_as_something_else_is_refused_by_its_field() {
        let refused = |spec: &Spec| External::of(spec, "/b").unwrap_err().to_string();
        let error = refused(&spec_with(&[("pid", "")], &["bind"]));
        assert_eq!(error, "linux.namespaces: criu needs a container with a mount namespace of its own");
        let error = refused(&spec_with(&[("mount", "/proc/1/ns/mnt")], &["bind"]));
        assert_eq!(error, "linux.namespaces: criu needs a container with a mount namespace of its own");
        let error = refused(&spec_with(&[("mount", ""), ("cgroup", "/proc/1/ns/cgroup")], &["bind"]));
        assert!(
            error.starts_with("linux.namespaces: criu cannot restore into a cgroup namespace"),
            "{error}"
        );
        let error = refused(&spec_with(&[("mount", ""), ("user", "")], &["bind", "idmap"]));
        assert_eq!(error, "mounts[0] at \"/data\": criu cannot restore an id-mapped mount");
        External::of(&spec_with(&[("mount", ""), ("network", "/n")], &["bind"]), "/b").unwrap();
    }

    #[test]
    fn an_annotation_names_the_configuration_of_criu_or_none() {
        let mut spec = Spec::default();
        assert_eq!(config_file(&spec).as_deref(), Some("/etc/criu/runc.conf"));
        spec.annotations.insert("org.criu.config".into(), "/x".into());
        assert_eq!(config_file(&spec).as_deref(), Some("/x"));
        spec.annotations.insert("org.criu.config".into(), String::new());
        assert_eq!(config_file(&spec), None);
    }
}
