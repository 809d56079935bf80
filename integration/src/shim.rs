//! The shim under test, with folders of its own.
//!
//! When the value ends, also in a test that panics, its containers and their monitors are gone: first by `rm --force`,
//! then, whatever the shim thinks of it, by the runtime and by the pids of processes that have the shim's folder in
//! their command line. What only the second way removed fails the test: it was left behind.
//!
//! `SHIM_UNDER_TEST` names the binary (an absolute path); otherwise it is the `shim` that cargo put beside the test
//! executable. It is not built from here: `cargo build -p shim` comes first.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::remains::cgroups_of;
use crate::under_test::program;
use crate::{Call, Host, ImageMaker, Output, Process, Scratch, runtime_under_test, wait_for};

/// The path of the shim under test. Panics when there is none.
#[must_use]
pub fn shim_under_test() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| program("SHIM_UNDER_TEST", "shim"))
}

/// A shim whose images are nobody else's. All of it is gone with the value.
#[derive(Debug)]
pub struct Shim {
    /// The network namespace that its calls run in, if not the host's.
    network: Option<Arc<Host>>,
    scratch: Scratch,
}

impl Shim {
    /// One without images.
    #[must_use]
    #[track_caller]
    pub fn new() -> Shim {
        Shim { network: None, scratch: Scratch::new() }
    }

    /// The same in memory: syncfs(2) waits for all that anybody writes to a disk.
    #[must_use]
    #[track_caller]
    pub fn in_memory() -> Shim {
        Shim { network: None, scratch: Scratch::in_memory() }
    }

    /// The same in memory, with the image `busybox`: [`crate::ImageMaker::busybox`], made once per process.
    #[must_use]
    #[track_caller]
    pub fn with_busybox() -> Shim {
        Shim::in_memory().and_busybox()
    }

    /// The same on a host of its own as far as networks go ([`Host`]), where containers get the network that the words
    /// ask for, or the default one.
    #[must_use]
    #[track_caller]
    pub fn networked() -> Shim {
        Shim::networked_without_images().and_busybox()
    }

    /// The same without images.
    #[must_use]
    #[track_caller]
    pub fn networked_without_images() -> Shim {
        Shim { network: Some(Arc::new(Host::new())), scratch: Scratch::in_memory() }
    }

    /// Another one on the same host, with folders of its own and the image `busybox`.
    #[must_use]
    #[track_caller]
    pub fn beside(other: &Shim) -> Shim {
        Shim { network: other.network.clone(), scratch: Scratch::in_memory() }.and_busybox()
    }

    /// The host that its networks are on; panics for one that is not [`Shim::networked`].
    #[must_use]
    #[track_caller]
    pub fn host(&self) -> &Host {
        self.network.as_deref().expect("a shim with a network namespace of its own")
    }

    #[track_caller]
    fn and_busybox(self) -> Shim {
        static ARCHIVE: OnceLock<Vec<u8>> = OnceLock::new();
        let made = || {
            let scratch = Scratch::in_memory();
            let archive =
                ImageMaker::busybox().named("busybox").docker_archive(&scratch.path().join("image"));
            fs::read(archive).expect("read an archive that was just made")
        };
        self.call(&["load"]).stdin_bytes(ARCHIVE.get_or_init(made).clone()).output().expect_ok();
        self
    }

    /// A folder for whatever a test needs beside the shim's own.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// What `--root` says: images, layers.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    /// What `--state` says: what ends with the host's uptime.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.scratch.path().join("state")
    }

    /// A call of its command line: the global flags for its folders, then these words.
    #[must_use]
    pub fn call<S: AsRef<OsStr>>(&self, args: &[S]) -> Call {
        let folders = ["--root".into(), self.root(), "--state".into(), self.state()];
        match &self.network {
            None => Call::of(shim_under_test()).args(folders).shown_as("shim").args(args).without_network(),
            Some(host) => host.call(shim_under_test()).args(folders).shown_as("shim").args(args),
        }
    }

    /// A command, run to its end.
    #[track_caller]
    pub fn cli<S: AsRef<OsStr>>(&self, args: &[S]) -> Output {
        self.call(args).output()
    }

    /// What a command prints that has to succeed without complaints.
    #[track_caller]
    pub fn stdout<S: AsRef<OsStr>>(&self, args: &[S]) -> String {
        self.cli(args).expect_ok().expect_no_stderr().stdout
    }

    /// `run` with these words, to its end.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Output {
        self.call(&["run"]).args(words).output()
    }

    /// `run --detach` with these words; the id that it prints.
    #[track_caller]
    pub fn detached(&self, words: &[&str]) -> String {
        let output = self.call(&["run", "--detach"]).args(words).output().expect_ok().expect_no_stderr();
        output.stdout.trim_end().to_owned()
    }

    /// The folder of a container, by its full id.
    #[must_use]
    pub fn container_folder(&self, id: &str) -> PathBuf {
        self.root().join("containers").join(id)
    }

    /// Its `container.json`.
    #[must_use]
    #[track_caller]
    pub fn record(&self, id: &str) -> Value {
        read_json(&self.container_folder(id).join("container.json"))
    }

    /// Its `state.json`.
    #[must_use]
    #[track_caller]
    pub fn recorded_state(&self, id: &str) -> Value {
        read_json(&self.container_folder(id).join("state.json"))
    }

    /// Its OCI document.
    #[must_use]
    #[track_caller]
    pub fn document(&self, id: &str) -> Value {
        read_json(&self.container_folder(id).join("config.json"))
    }

    /// What `inspect` tells of one container or image.
    #[must_use]
    #[track_caller]
    pub fn inspect(&self, name: &str) -> Value {
        let told: Value = self.cli(&["inspect", name]).expect_ok().json();
        told.get(0).cloned().expect("one thing is told of")
    }

    /// The first process of a running container.
    #[must_use]
    #[track_caller]
    pub fn process(&self, id: &str) -> Process {
        let state = self.recorded_state(id);
        let pid = state.pointer("/process/pid").and_then(Value::as_u64);
        Process::new(u32::try_from(pid.unwrap_or_else(|| panic!("it has a pid: {state}"))).expect("a pid"))
    }

    /// Full ids of all containers, by the folders that there are.
    #[must_use]
    pub fn container_ids(&self) -> Vec<String> {
        names_in(&self.root().join("containers"))
    }

    /// Processes that have this shim's folder in their command line: monitors, and commands under way.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        let mark = self.scratch.path().as_os_str().as_encoded_bytes();
        let is_ours = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            *pid != std::process::id() && line.windows(mark.len()).any(|part| part == mark)
        };
        let pids = names_in(Path::new("/proc")).into_iter().filter_map(|name| name.parse().ok());
        pids.filter(is_ours).map(Process::new).filter(Process::is_alive).collect()
    }

    /// Loads an archive.
    #[track_caller]
    pub fn load(&self, archive: &Path) {
        self.cli(&["load".as_ref(), "--input".as_ref(), archive.as_os_str()]).expect_ok();
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        let ids = self.container_ids();
        let mut left = Vec::new();
        if !ids.is_empty() {
            let removed = self.call(&["rm", "--force"]).args(&ids).output();
            if removed.code() != 0 {
                left.push(removed.to_string());
            }
            let still = self.container_ids();
            if !still.is_empty() {
                left.push(format!("containers {still:?}"));
            }
        }
        left.extend(self.remove_by_force());
        left.extend(cgroups_of(&ids).iter().map(|folder| format!("cgroup {}", folder.display())));
        if !left.is_empty() && !std::thread::panicking() {
            panic!("left behind: {}", left.join("\n"));
        }
    }
}

impl Shim {
    /// Ends what the shim has left: monitors first, as they would restart containers. What there was.
    fn remove_by_force(&self) -> Vec<String> {
        let mut left = Vec::new();
        // A monitor of a container that was removed may be on its way out.
        for _ in 0..100 {
            if self.processes().is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        for process in self.processes() {
            let line = fs::read(process.path("cmdline")).unwrap_or_default();
            left.push(format!(
                "process {} {}",
                process.pid(),
                String::from_utf8_lossy(&line).replace('\0', " ")
            ));
            process.kill();
        }
        wait_for("the end of processes", || self.processes().is_empty().then_some(()));
        // Each runtime has records of its own there, in a folder of its name.
        let state = self.state().join("runtime");
        for runtime in names_in(&state) {
            let records = state.join(&runtime);
            for id in names_in(&records) {
                left.push(format!("{runtime}'s container {id}"));
                let program = if runtime == "runtime" { runtime_under_test() } else { Path::new(&runtime) };
                let call = Call::of(program).args(["--root".as_ref(), records.as_os_str()]);
                let _ = call.args(["delete", "--force", &id]).output();
            }
        }
        left
    }
}

pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[track_caller]
fn read_json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Default for Shim {
    fn default() -> Self {
        Shim::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shim_has_left_ends_with_it_and_is_told() {
        let shim = Shim::new();
        let folder = shim.folder().display().to_string();
        let mut left = Call::of("sh").args(["-c", "read x", "monitor", &folder]).stdin_pipe().spawn();
        // Its words are there a moment after its parent goes on (execve(2) closes descriptors first).
        let pids = wait_for("its words", || {
            let pids: Vec<u32> = shim.processes().iter().map(Process::pid).collect();
            (!pids.is_empty()).then_some(pids)
        });
        assert_eq!(pids, [left.pid()]);
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(shim))).unwrap_err();
        let told = told.downcast_ref::<String>().unwrap();
        assert!(told.contains(&format!("process {} sh -c read x monitor {folder}", left.pid())), "{told}");
        assert!(!left.is_running() && !Path::new(&folder).exists());
    }
}
