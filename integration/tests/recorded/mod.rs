//! Containers that nobody made: records as the shim writes them, of states that take long to come about.

use std::fs::{self, File};
use std::path::PathBuf;

use integration::{Shim, Value, json};

/// A store with records in it. Monitors' locks are held as long as the value lives.
pub struct Recorded {
    pub shim: Shim,
    locks: Vec<File>,
}

impl Recorded {
    /// One without containers.
    pub fn new() -> Recorded {
        let shim = Shim::in_memory();
        // The shim makes its folders itself, as private as it wants them.
        shim.stdout(&["ps", "-aq"]);
        Recorded { shim, locks: Vec::new() }
    }

    /// A container: its number makes its id; members of its record and its state take the place of the usual ones.
    pub fn add(&mut self, number: usize, name: &str, record: &Value, state: &Value) -> String {
        let id = format!("{number:04x}{}", "0123456789ab".repeat(5));
        let folder = self.folder(&id);
        fs::create_dir(&folder).unwrap();
        let usual = json!({
            "Id": id, "Name": name, "Created": "2026-01-01T00:00:00Z", "Image": format!("sha256:{}", "1".repeat(64)),
            "Layers": [], "Path": "sh", "Args": ["-c", "echo hello; sleep 1000"], "RuntimePath": "/usr/bin/runtime",
            "Config": {"Image": "box:1"}, "HostConfig": {"NetworkMode": "none"}, "Mounts": [],
        });
        fs::write(folder.join("container.json"), with(usual, record).to_string()).unwrap();
        fs::write(folder.join("state.json"), state.to_string()).unwrap();
        fs::write(self.shim.root().join("names").join(name), &id).unwrap();
        id
    }

    /// The same, whose program runs: it is this test itself, and so is its monitor.
    pub fn add_running(&mut self, number: usize, name: &str, record: &Value, state: &Value) -> String {
        let own = json!({
            "status": "running", "boot": boot_id(), "started_at": now(-90),
            "process": {"pid": std::process::id(), "start_time": start_time()},
        });
        let id = self.add(number, name, record, &with(own, state));
        let folder = self.shim.state().join("containers").join(&id);
        fs::create_dir_all(&folder).unwrap();
        let lock = File::create(folder.join("monitor.lock")).unwrap();
        lock.lock().unwrap();
        self.locks.push(lock);
        id
    }

    /// Where the container's records are.
    pub fn folder(&self, id: &str) -> PathBuf {
        self.shim.root().join("containers").join(id)
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        // Nobody is to end the process that these records name.
        for name in ["containers", "names"] {
            let folder = self.shim.root().join(name);
            let _ = fs::remove_dir_all(&folder);
            let _ = fs::create_dir(&folder);
        }
    }
}

fn with(mut usual: Value, members: &Value) -> Value {
    let members = members.as_object().unwrap().clone();
    usual.as_object_mut().unwrap().extend(members);
    usual
}

/// So many seconds from now, as RFC 3339 has it.
pub fn now(seconds: i64) -> String {
    let date = integration::Call::of("date").args([
        "--utc",
        "+%Y-%m-%dT%H:%M:%SZ",
        "--date",
        &format!("{seconds} seconds"),
    ]);
    date.output().expect_ok().stdout.trim_end().to_owned()
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim_end().to_owned()
}

/// Field 22 of proc_pid_stat(5).
fn start_time() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, behind) = stat.rsplit_once(") ").unwrap();
    behind.split(' ').nth(19).unwrap().parse().unwrap()
}
