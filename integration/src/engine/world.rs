//! A world of an engine's own: its daemons and containers see an init, a network, cgroups and folders that are
//! nobody else's, and end with that init.
//!
//! The host is seen read-only: `/etc` and `/var` are overlays, `/run`, `/tmp` and the folders of the engines are
//! empty and writable, `/sys/fs/cgroup` is cgroup v2 alone, also where the host has v1 beside it. Bridges,
//! addresses and packet filters are those of a network namespace (network_namespaces(7)). What the packages of
//! the engines installed is used as it is; the runtime under test is at `/usr/local/sbin/runtime`.
//!
//! Where the whole machine is thrown away afterwards, that can be the world ([`World::machine`]): there systemd is at
//! hand, whose driver engines use.
//!
//! Must not: change anything on the host but a folder for temporary files and a cgroup, both of a marked name.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use crate::scratch::unique_name;
use crate::{Call, Process, Running, Scratch, cgroup2_mount, runtime_under_test, wait_for};

/// Makes the world; see there.
const SCRIPT: &str = include_str!("world.sh");

/// What [`World::machine`] lacks.
const MACHINE: &str = "mkdir -p /run/home /run/temporary /usr/local/sbin; rm -f /run/world
    ln -s \"$2\" /run/world; ln -sf \"$1\" /usr/local/sbin/runtime";

/// The only environment that engines and their clients get.
const ENVIRONMENT: [&str; 5] = [
    "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/run/home",
    "TMPDIR=/run/temporary",
    "LC_ALL=C.UTF-8",
    "TERM=xterm",
];

/// Namespaces, folders and a cgroup for engines. All that runs in it ends with the value.
#[derive(Debug)]
pub struct World {
    /// Below the cgroup, so that it is gone first. The machine has its own.
    init: Option<Running>,
    /// The init, as the host counts.
    pid: u32,
    cgroup: PathBuf,
    scratch: Scratch,
}

impl World {
    /// Why there can be no world with these programs here, if so: for [`crate::requires`].
    #[must_use]
    pub fn obstacle(programs: &[&str]) -> Option<String> {
        if !crate::is_root() {
            return Some("engines need root".to_owned());
        }
        if cgroup2_mount().is_none() {
            return Some("no cgroup v2 on this host".to_owned());
        }
        let found = |name: &str| {
            ["/usr/sbin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(name).is_file())
        };
        let missing: Vec<_> =
            programs.iter().chain(&["tini", "nsenter", "ip"]).filter(|name| !found(name)).collect();
        (!missing.is_empty())
            .then(|| format!("not installed here: {missing:?} (scripts/install-deps engines)"))
    }

    /// Makes a world.
    #[must_use]
    #[track_caller]
    pub fn new() -> World {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path().join("run")).expect("create a folder");
        let hierarchy = cgroup2_mount().expect("a mount of cgroup v2");
        pass_controllers_on(&hierarchy);
        let cgroup = hierarchy.join(unique_name());
        fs::create_dir(&cgroup).unwrap_or_else(|error| panic!("create {}: {error}", cgroup.display()));
        let mut world = World { init: None, pid: 0, cgroup, scratch };
        let kinds = ["--mount", "--net", "--ipc", "--uts", "--pid", "--cgroup"];
        // However this process ends, the world ends with it.
        let init = in_cgroup(&world.cgroup, &["setpriv", "--pdeathsig", "KILL", "unshare"])
            .args(kinds)
            .args(["--fork", "--kill-child", "env", "-i"])
            .args(ENVIRONMENT)
            .args(["sh", "-c", SCRIPT, "world"])
            .args([runtime_under_test(), world.scratch.path()])
            .shown_as("(the init of a world)")
            .output_in(world.scratch.path());
        let init = world.init.insert(init.spawn());
        let said = world.scratch.path().join("stdout");
        world.pid = wait_for("a world of its own", || {
            init.expect_alive();
            let said = fs::read_to_string(&said).unwrap_or_default();
            said.strip_prefix("ready ")?.strip_suffix('\n')?.parse().ok()
        });
        // Nobody stays in the cgroup that is the root for the engines: it could pass no controllers on.
        let procs = world.cgroup.join("engines/cgroup.procs");
        fs::write(&procs, init.pid().to_string())
            .unwrap_or_else(|e| panic!("write {}: {e}", procs.display()));
        world
    }

    /// Why the machine itself cannot be the world, if so.
    #[must_use]
    pub fn machine_obstacle() -> Option<&'static str> {
        let thrown_away = std::env::var_os("CAISSON_TEST_MACHINE").is_some();
        (!thrown_away || !Path::new("/run/systemd/private").exists())
            .then_some("not in the virtual machine with systemd (make test-vm FLAVOUR=engines)")
    }

    /// The machine itself, which is thrown away when the tests are over. One world at a time.
    #[must_use]
    #[track_caller]
    pub fn machine() -> World {
        assert_eq!(World::machine_obstacle(), None);
        let scratch = Scratch::new();
        let made = Call::of("sh").args(["-euc", MACHINE, "machine"]);
        made.args([runtime_under_test(), scratch.path()]).output().expect_ok();
        World { init: None, pid: 1, cgroup: cgroup2_mount().expect("a mount of cgroup v2"), scratch }
    }

    /// A call of a program in this world.
    #[must_use]
    pub fn call<S: AsRef<OsStr>>(&self, args: &[S]) -> Call {
        if self.init.is_none() {
            return Call::of("env").args(["-i"]).args(ENVIRONMENT).shown_as("(in the machine)").args(args);
        }
        // A client may have containers as children (podman): it stands where the daemons do.
        let pid = self.pid.to_string();
        in_cgroup(&self.cgroup.join("engines"), &["nsenter", "--all", "--target", &pid, "env", "-i"])
            .args(ENVIRONMENT)
            .shown_as("(in its world)")
            .args(args)
    }

    /// A call of a shell script in this world.
    #[must_use]
    pub fn sh(&self, script: &str) -> Call {
        self.call(&["sh", "-euc", script])
    }

    /// Starts a daemon; what it prints goes to the file `NAME.log` of the world's folder, and into the report of
    /// a test that fails.
    #[must_use]
    #[track_caller]
    pub fn daemon(&self, name: &str, args: &[&str]) -> Running {
        let script = format!("exec \"$@\" >>/run/world/{name}.log 2>&1");
        let words: Vec<&str> = ["sh", "-c", &script, "daemon"].iter().chain(args).copied().collect();
        self.call(&words).spawn()
    }

    /// A folder of the test that is `/run/world` in the world.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Writes a file of the world: a configuration, by its path there.
    #[track_caller]
    pub fn write(&self, path: &str, content: &str) {
        let script = "mkdir -p \"${0%/*}\" && cat >\"$0\"";
        self.call(&["sh", "-euc", script, path]).stdin_bytes(content).output().expect_ok();
    }

    /// All processes of the world, as the host counts.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        let mut found = Vec::new();
        for folder in cgroups(&self.cgroup) {
            let pids = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(pids.lines().filter_map(|pid| pid.parse().ok()).map(Process::new));
        }
        found
    }

    /// The processes whose program has this name (as in `/proc/PID/comm`, at most 15 bytes).
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<Process> {
        let is_it = |process: &Process| {
            let comm = fs::read_to_string(process.path("comm")).unwrap_or_default();
            comm.trim_end() == name && process.is_alive()
        };
        self.processes().into_iter().filter(is_it).collect()
    }

    /// Kills a daemon, which was started as `daemon`, with SIGKILL and waits until it is gone.
    #[track_caller]
    pub fn murder(&self, name: &str, daemon: &mut Running) {
        let victims = self.named(name);
        assert!(!victims.is_empty(), "no {name} to kill");
        for victim in &victims {
            let pid = i32::try_from(victim.pid()).ok().and_then(Pid::from_raw).expect("a pid");
            kill_process(pid, Signal::KILL).expect("kill a daemon");
        }
        wait_for(&format!("the end of {name}"), || {
            // To the last trace: a daemon looks for a living one with the pid in its file. (In the machine itself it
            // is a child, of whom a trace is left until somebody asks.)
            let _ = daemon.is_running();
            victims.iter().all(|victim| !victim.path("").exists()).then_some(())
        });
    }

    /// The last lines of what the daemons printed.
    fn logs(&self) -> String {
        let mut report = String::new();
        for entry in fs::read_dir(self.scratch.path()).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|end| end == "log") {
                let text = fs::read(&path).unwrap_or_default();
                let text = String::from_utf8_lossy(&text).into_owned();
                let lines: Vec<&str> = text.lines().collect();
                let last = lines[lines.len().saturating_sub(40)..].join("\n");
                report.push_str(&format!("--- the end of {}\n{last}\n", path.display()));
            }
        }
        report
    }
}

impl Default for World {
    fn default() -> Self {
        World::new()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = std::io::stderr().write_all(self.logs().as_bytes());
        }
        if self.init.take().is_none() {
            return;
        }
        // All in the pid namespace go with its init; then nobody makes cgroups any more.
        wait_for("the end of an init", || (!Process::new(self.pid).is_alive()).then_some(()));
        let folders = cgroups(&self.cgroup);
        // A process that is ending is not in the list any more, and still keeps its cgroup.
        let removed = |folder: &PathBuf| fs::remove_dir(folder).is_ok() || !folder.exists();
        wait_for("the end of a world", || folders.iter().rev().all(removed).then_some(()));
    }
}

/// On a machine that is thrown away after the tests, worlds get all controllers; another's stays as it is.
fn pass_controllers_on(hierarchy: &Path) {
    if std::env::var_os("CAISSON_TEST_MACHINE").is_none() {
        return;
    }
    let controllers = fs::read_to_string(hierarchy.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_whitespace() {
        let passed = fs::write(hierarchy.join("cgroup.subtree_control"), format!("+{controller}"));
        passed.unwrap_or_else(|error| panic!("pass {controller} on: {error}"));
    }
}

/// A call of a program that begins in a cgroup of the host.
fn in_cgroup(cgroup: &Path, program: &[&str]) -> Call {
    Call::of("sh").args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""]).args([cgroup]).args(program)
}

/// A cgroup and those below it, each after the one it is in.
fn cgroups(top: &Path) -> Vec<PathBuf> {
    let mut found = vec![top.to_owned()];
    let mut next = 0;
    while let Some(folder) = found.get(next) {
        let children = fs::read_dir(folder).into_iter().flatten().flatten();
        let folders: Vec<PathBuf> = children
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|e| e.path())
            .collect();
        found.extend(folders);
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_has_its_own_of_everything_and_ends_with_the_value() {
        if let Some(obstacle) = World::obstacle(&[]) {
            crate::skip!("{obstacle}");
        }
        let world = World::new();
        let init = Process::new(world.pid);
        for kind in ["mnt", "net", "pid", "ipc", "uts", "cgroup"] {
            assert_ne!(init.namespace(kind), Process::this().namespace(kind), "{kind}");
        }
        world.write("/etc/marked/file", "text\n");
        let seen =
            world.sh("cat /etc/marked/file; cat /proc/self/cgroup | grep ^0; ls /sys/class/net").output();
        seen.expect_ok().expect_stdout("text\n0::/engines\nlo\n");
        assert!(!Path::new("/etc/marked").exists());
        let written = world.sh("touch /dev/shm/x /tmp/x /run/x && touch /marked").output();
        written.expect_fail().expect_stderr("Read-only file system");
        let mut daemon = world.daemon("sleeper", &["sh", "-c", "echo begun; sleep 600"]);
        let log = world.folder().join("sleeper.log");
        wait_for("the log", || (fs::read_to_string(&log).ok()? == "begun\n").then_some(()));
        daemon.expect_alive();
        let left = world.processes();
        assert!(left.len() >= 3, "{left:?}");
        let (cgroup, folder) = (world.cgroup.clone(), world.folder().to_owned());
        drop(world);
        assert!(left.iter().all(|process| !process.is_alive()));
        assert!(!cgroup.exists() && !folder.exists());
    }
}
