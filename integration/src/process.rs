//! A process of a container as the host's /proc shows it (proc_pid_*(5), cgroups(7), namespaces(7)).

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::cgroup2_mount;

/// A process of the host's pid namespace.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pid: u32,
}

impl Process {
    /// The process of a pid.
    #[must_use]
    pub fn new(pid: u32) -> Process {
        Process { pid }
    }

    /// The test itself: the host's namespaces.
    #[must_use]
    pub fn this() -> Process {
        Process { pid: std::process::id() }
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it is there and no zombie.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let status = fs::read_to_string(self.path("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:") && !line.contains('Z') && !line.contains('X'))
    }

    /// Kills it, unless it has become another program by then: through a descriptor, as its pid may be another's.
    /// Whether there was anything to kill.
    pub fn kill(&self) -> bool {
        let line = || fs::read(self.path("cmdline")).unwrap_or_default();
        let known = line();
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return false };
        let Ok(open) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        !known.is_empty() && line() == known && pidfd_send_signal(&open, Signal::KILL).is_ok()
    }

    /// A path in its folder of /proc.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    /// A file of its folder: `limits`, `oom_score_adj`, `attr/current`, `timens_offsets`, ….
    #[must_use]
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A field of its `status`: `CapEff`, `NoNewPrivs`, `Seccomp`, `Groups`, `Umask`, ….
    #[must_use]
    #[track_caller]
    pub fn status(&self, field: &str) -> String {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {field} in /proc/{}/status", self.pid)).trim().to_owned()
    }

    /// The processor time that it has taken, its own and the kernel's for it, in ticks of a hundredth of a second
    /// (proc_pid_stat(5), fields 14 and 15).
    #[must_use]
    #[track_caller]
    pub fn ticks(&self) -> u64 {
        let stat = self.read("stat");
        // The name, in parentheses, may have anything in it but ends at the last one.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let field = |at: usize| fields[at].parse::<u64>().expect("a number");
        field(11) + field(12)
    }

    /// Its parent.
    #[must_use]
    #[track_caller]
    pub fn parent(&self) -> Process {
        Process { pid: self.status("PPid").parse().expect("a pid") }
    }

    /// Its environment, in order.
    #[must_use]
    #[track_caller]
    pub fn environ(&self) -> Vec<String> {
        self.read("environ").split_terminator('\0').map(str::to_owned).collect()
    }

    /// Its command line.
    #[must_use]
    #[track_caller]
    pub fn cmdline(&self) -> Vec<String> {
        self.read("cmdline").split_terminator('\0').map(str::to_owned).collect()
    }

    /// Soft and hard limit of a resource as `limits` names it: `Max open files`.
    #[must_use]
    #[track_caller]
    pub fn limit(&self, name: &str) -> (String, String) {
        let limits = self.read("limits");
        let values = limits.lines().find_map(|line| line.strip_prefix(name));
        let values = values.unwrap_or_else(|| panic!("no {name} in /proc/{}/limits", self.pid));
        let mut words = values.split_whitespace().map(str::to_owned);
        (words.next().expect("a soft limit"), words.next().expect("a hard limit"))
    }

    /// Its namespace of a kind, as `net:[4026531840]`; equal texts are the same namespace. The kinds are the
    /// names in /proc/PID/ns: cgroup, ipc, mnt, net, pid, time, user, uts.
    #[must_use]
    #[track_caller]
    pub fn namespace(&self, kind: &str) -> String {
        let path = self.path("ns").join(kind);
        let target = fs::read_link(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        target.to_string_lossy().into_owned()
    }

    /// All its mounts, in order.
    #[must_use]
    #[track_caller]
    pub fn mounts(&self) -> Vec<MountEntry> {
        self.read("mountinfo").lines().filter_map(MountEntry::parse).collect()
    }

    /// The topmost mount at exactly this path inside the container.
    #[must_use]
    #[track_caller]
    pub fn mount_at(&self, destination: &str) -> MountEntry {
        let mut mounts = self.mounts();
        let index = mounts.iter().rposition(|mount| mount.destination.as_os_str() == destination);
        mounts.swap_remove(index.unwrap_or_else(|| panic!("nothing mounted at {destination}: {mounts:#?}")))
    }

    /// Its cgroup v2, below the mount of cgroup v2: the third field of the line `0::`.
    #[must_use]
    #[track_caller]
    pub fn cgroup(&self) -> String {
        let cgroups = self.read("cgroup");
        let path = cgroups.lines().find_map(|line| line.strip_prefix("0::"));
        path.unwrap_or_else(|| panic!("no cgroup v2 in /proc/{}/cgroup", self.pid)).to_owned()
    }

    /// The folder of its cgroup v2 on the host.
    #[must_use]
    #[track_caller]
    pub fn cgroup_folder(&self) -> PathBuf {
        let mount = cgroup2_mount().expect("a mount of cgroup v2");
        mount.join(self.cgroup().trim_start_matches('/'))
    }

    /// A file of its cgroup v2, without the newline at its end: `pids.max`.
    #[must_use]
    #[track_caller]
    pub fn cgroup_file(&self, name: &str) -> String {
        let path = self.cgroup_folder().join(name);
        let text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        text.trim_end_matches('\n').to_owned()
    }

    /// A path inside the container, reached from the host through /proc/PID/root.
    #[must_use]
    pub fn inside(&self, path: &str) -> PathBuf {
        self.path("root").join(path.trim_start_matches('/'))
    }

    /// Its open descriptors and what they lead to.
    #[must_use]
    #[track_caller]
    pub fn descriptors(&self) -> Vec<(u32, String)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.path("fd")).expect("list the descriptors") {
            let entry = entry.expect("list the descriptors");
            let number = entry.file_name().to_string_lossy().parse().expect("descriptors are numbers");
            if let Ok(target) = fs::read_link(entry.path()) {
                found.push((number, target.to_string_lossy().into_owned()));
            }
        }
        found.sort_unstable();
        found
    }
}

/// A line of mountinfo (proc_pid_mountinfo(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// The folder of the file system that is mounted.
    pub root: PathBuf,
    /// Where.
    pub destination: PathBuf,
    /// The options of this mount: `ro`, `nosuid`, ….
    pub options: Vec<String>,
    /// The optional fields: `shared:1`, `master:2`, ….
    pub propagation: Vec<String>,
    /// The type of the file system.
    pub kind: String,
    /// Its source.
    pub source: String,
    /// The options of the file system itself: `size=65536k`, ….
    pub super_options: Vec<String>,
}

impl MountEntry {
    /// Reads a line.
    #[must_use]
    pub fn parse(line: &str) -> Option<MountEntry> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let mut file_system = file_system.split(' ');
        let list = |text: &str| text.split(',').map(str::to_owned).collect();
        Some(MountEntry {
            root: unescape(mount.next()?).into(),
            destination: unescape(mount.next()?).into(),
            options: list(mount.next()?),
            propagation: mount.map(str::to_owned).collect(),
            kind: file_system.next()?.to_owned(),
            source: unescape(file_system.next()?),
            super_options: list(file_system.next()?),
        })
    }

    /// Whether this mount has an option.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|have| have == option)
    }

    /// Whether the file system has an option.
    #[must_use]
    pub fn super_has(&self, option: &str) -> bool {
        self.super_options.iter().any(|have| have == option)
    }
}

/// The kernel writes blanks, tabs, newlines and backslashes of paths as octal numbers.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_taken_apart() {
        let line =
            r"36 35 98:0 /mnt1 /a\040b rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue";
        let entry = MountEntry::parse(line).unwrap();
        assert_eq!(entry.root, PathBuf::from("/mnt1"));
        assert_eq!(entry.destination, PathBuf::from("/a b"));
        assert!(entry.has("noatime") && !entry.has("ro"));
        assert_eq!(entry.propagation, ["master:1", "shared:2"]);
        assert_eq!((entry.kind.as_str(), entry.source.as_str()), ("ext3", "/dev/root"));
        assert!(entry.super_has("errors=continue"));
    }

    #[test]
    fn the_test_itself_can_be_seen() {
        let this = Process::this();
        assert!(this.is_alive());
        assert_eq!(this.status("Pid"), std::process::id().to_string());
        assert_eq!(this.mount_at("/proc").kind, "proc");
        assert!(this.namespace("net").starts_with("net:["));
        assert!(!this.limit("Max open files").0.is_empty());
    }
}
