//! The bundles: a root folder with Debian's busybox, and for each runtime the configuration that `runc spec`
//! writes, with three changes: no terminal, a cgroup of the benchmark's own, and no ambient capabilities
//! (without inheritable ones these cannot be set, and warnings would be measured).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::contestant::{Contestant, Kind};
use crate::workshop::Workshop;

const BUSYBOX: &str = "/bin/busybox";
/// What the measured containers run.
const TRUE: [&str; 1] = ["/bin/true"];
/// What a contestant has to run first: ends with 7 in a container only, as process 1, with the host name,
/// the read-only root, the devices, the hidden and the read-only paths of the configuration.
const PROOF: &str = "[ $$ = 1 ] && [ \"$(/bin/hostname)\" = runc ] && [ -c /dev/null ] && ! (: >/x) 2>/dev/null \
    && { [ ! -e /proc/keys ] || [ -c /proc/keys ]; } && ! (: >/proc/sys/kernel/hostname) 2>/dev/null \
    && exit 7; exit 8";
/// The same under a filter.
const PROOF_SECCOMP: &str = "/bin/grep -q '^Seccomp:.2$' /proc/self/status && exit 7; exit 8";

/// All bundles of a benchmark.
pub struct Bundles {
    root: PathBuf,
    seccomp: Option<Value>,
}

/// Reads a profile: the object that a configuration has at `linux.seccomp`.
pub fn read_profile(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let profile: Value =
        serde_json::from_slice(&text).with_context(|| format!("read {} as JSON", path.display()))?;
    if profile.get("defaultAction").is_none() || profile.get("archMap").is_some() {
        bail!(
            "{} is no linux.seccomp of a configuration (an engine's own profile is not one)",
            path.display()
        );
    }
    Ok(profile)
}

impl Bundles {
    /// Makes the root folder.
    pub fn new(workshop: &Workshop, seccomp: Option<Value>) -> Result<Self> {
        let root = workshop.path("rootfs");
        for folder in ["bin", "dev", "proc", "sys"] {
            fs::create_dir_all(root.join(folder)).with_context(|| format!("make {folder} in the root"))?;
        }
        fs::copy(BUSYBOX, root.join("bin/busybox"))
            .with_context(|| format!("copy {BUSYBOX} (Debian's busybox-static)"))?;
        for applet in ["sh", "true", "hostname", "grep"] {
            symlink("busybox", root.join("bin").join(applet)).with_context(|| format!("link {applet}"))?;
        }
        Ok(Self { root, seccomp })
    }

    /// The root folder of all containers.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Is there a profile for runs with seccomp?
    pub fn with_seccomp(&self) -> bool {
        self.seccomp.is_some()
    }

    /// Lets each contestant prove itself, then writes the bundles to measure. The contestants that failed,
    /// each with the last line of what it said.
    pub fn prove_all(
        &self,
        contestants: &[Contestant],
        resources: bool,
        workshop: &Workshop,
    ) -> Result<Vec<(String, String)>> {
        let mut failed = Vec::new();
        for contestant in contestants {
            if let Err(error) = self.prove(contestant, resources, workshop)? {
                failed.push((contestant.name.clone(), error));
            }
        }
        Ok(failed)
    }

    fn prove(
        &self,
        contestant: &Contestant,
        resources: bool,
        workshop: &Workshop,
    ) -> Result<std::result::Result<(), String>> {
        let mut proofs = vec![(false, PROOF)];
        if self.with_seccomp() && contestant.kind == Kind::Runtime {
            proofs.push((true, PROOF_SECCOMP));
        }
        for (seccomp, script) in proofs {
            let program = ["/bin/sh", "-c", script];
            self.write(contestant, resources, seccomp, &program, workshop)?;
            let mut command = contestant.run(self, workshop, seccomp, &program);
            let (status, said) = command.finish(workshop)?;
            if status != Some(7) {
                contestant.remove_rest(workshop);
                let ended = status.map_or("a signal".to_owned(), |status| format!("status {status}"));
                return Ok(Err(if said.is_empty() { ended } else { said }));
            }
            self.write(contestant, resources, seccomp, &TRUE, workshop)?;
        }
        Ok(Ok(()))
    }

    /// What the measured containers run, for contestants without a configuration.
    pub fn program() -> &'static [&'static str] {
        &TRUE
    }

    /// Writes the bundle with a limit of memory (bytes).
    pub fn write_limited(&self, contestant: &Contestant, limit: u64, workshop: &Workshop) -> Result<()> {
        let mut config = configuration(&self.root, &workshop.cgroup_path(&contestant.name), &TRUE);
        config["linux"]["resources"] = json!({"memory": {"limit": limit}});
        save(&config, &contestant.bundle(workshop, false))
    }

    fn write(
        &self,
        contestant: &Contestant,
        resources: bool,
        seccomp: bool,
        program: &[&str],
        workshop: &Workshop,
    ) -> Result<()> {
        if contestant.kind == Kind::Floor {
            return Ok(());
        }
        let folder = contestant.bundle(workshop, seccomp);
        let mut config = configuration(&self.root, &workshop.cgroup_path(&contestant.name), program);
        if resources {
            config["linux"]["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]});
        }
        if let Some(profile) = self.seccomp.as_ref().filter(|_| seccomp) {
            config["linux"]["seccomp"] = profile.clone();
        }
        save(&config, &folder)
    }
}

fn save(config: &Value, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let path = folder.join("config.json");
    let text = serde_json::to_vec_pretty(config).context("render the configuration")?;
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// As `runc spec` of runc 1.1 writes it.
fn configuration(root: &Path, cgroup: &str, program: &[&str]) -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "ociVersion": "1.0.2-dev",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": program,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": root, "readonly": true},
        "hostname": "runc",
        "mounts": mounts(),
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                {"type": "cgroup"}
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

fn mounts() -> Value {
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": source, "options": options});
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &pts),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ])
}
