//! A container of the runtime under test, driven through the command line alone.
//!
//! It has a unique id and a `--root` of its own, so tests run in parallel. When the value goes, a container
//! that is still there is deleted by force; a runtime that cannot do that fails the test.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::call::captured;
use crate::scratch::unique_name;
use crate::{Bundle, Call, Output, Process, Running, runtime_under_test, wait_for};

/// A container, or the id of one that may come to be.
#[derive(Debug)]
pub struct Container {
    id: String,
    globals: Vec<String>,
    /// What the container's program prints when it is not run in the foreground.
    printed: PathBuf,
    state_root: PathBuf,
    /// Another binary than the runtime under test.
    binary: Option<PathBuf>,
    bundle: Arc<Bundle>,
    /// Keeps alive whose `--root` is shared.
    _host: Option<Arc<Bundle>>,
}

impl Container {
    pub(crate) fn of(bundle: Bundle) -> Container {
        let state_root = bundle.scratch().join("state");
        Container::assemble(Arc::new(bundle), state_root, None)
    }

    fn assemble(bundle: Arc<Bundle>, state_root: PathBuf, host: Option<Arc<Bundle>>) -> Container {
        let id = unique_name();
        let printed = bundle.scratch().join(format!("printed-{id}"));
        fs::create_dir(&printed).expect("create the folder for the container's output");
        Container { id, globals: Vec::new(), printed, state_root, binary: None, bundle, _host: host }
    }

    /// A second container, of the same bundle and under the same `--root`.
    #[must_use]
    pub fn sibling(&self) -> Container {
        Container::assemble(Arc::clone(&self.bundle), self.state_root.clone(), None)
    }

    /// Puts this container under the `--root` of another, so that both are in one `list`.
    #[must_use]
    pub fn beside(mut self, other: &Container) -> Container {
        self.state_root.clone_from(&other.state_root);
        self._host = Some(Arc::clone(&other.bundle));
        self
    }

    /// Gives it another id, for tests of ids. Not unique any more: `--root` is.
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Container {
        id.clone_into(&mut self.id);
        self
    }

    /// Adds global options, before the command, to every call: `&["--log", path, "--log-format", "json"]`.
    #[must_use]
    pub fn with_globals(mut self, globals: &[&str]) -> Container {
        self.globals.extend(globals.iter().map(|option| (*option).to_owned()));
        self
    }

    /// Has every call made by this binary: a copy of the runtime under test, say.
    #[must_use]
    pub fn with_binary(mut self, binary: &Path) -> Container {
        self.binary = Some(binary.to_owned());
        self
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its bundle.
    #[must_use]
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The folder given as `--root`; it exists once the runtime has made it.
    #[must_use]
    pub fn state_root(&self) -> &Path {
        &self.state_root
    }

    /// A call of the runtime with `--root`, the global options and a command; append the rest.
    #[must_use]
    pub fn call(&self, command: &str) -> Call {
        self.binary
            .as_ref()
            .map_or_else(Call::runtime, Call::of)
            .args(["--root".as_ref(), self.state_root.as_os_str()])
            .args(&self.globals)
            .args([command])
    }

    /// `command options… id`.
    #[track_caller]
    fn verb(&self, command: &str, options: &[&str]) -> Output {
        self.call(command).args(options).args([&self.id]).output()
    }

    /// The call of `create` or `run`, for tests that want to change its environment, input or terminal.
    #[must_use]
    pub fn birth(&self, command: &str, options: &[&str]) -> Call {
        self.call(command)
            .args(["--bundle".as_ref(), self.bundle.path().as_os_str()])
            .args(options)
            .args([&self.id])
    }

    /// `create` or `run` as the last words of another program's command line, which changes its own process and
    /// then becomes the runtime: `&["setpriv", "--pdeathsig", "KILL", "--"]`.
    #[must_use]
    pub fn birth_by(&self, caller: &[&str], command: &str, options: &[&str]) -> Call {
        Call::of(caller[0])
            .args(&caller[1..])
            .args([self.binary.as_deref().unwrap_or_else(|| runtime_under_test())])
            .args(["--root".as_ref(), self.state_root.as_os_str()])
            .args(&self.globals)
            .args([command.as_ref(), "--bundle".as_ref(), self.bundle.path().as_os_str()])
            .args(options)
            .args([&self.id])
    }

    /// `create`. The container's output goes to files: see [`Container::stdout`].
    #[track_caller]
    pub fn create(&self) -> Output {
        self.create_with(&[])
    }

    /// `create` with options.
    #[track_caller]
    pub fn create_with(&self, options: &[&str]) -> Output {
        self.birth("create", options).output_in(&self.printed).output()
    }

    /// `start`.
    #[track_caller]
    pub fn start(&self) -> Output {
        self.verb("start", &[])
    }

    /// `run` in the foreground, without input.
    #[track_caller]
    pub fn run(&self) -> Output {
        self.run_with(&[])
    }

    /// `run` in the foreground with options, without input.
    #[track_caller]
    pub fn run_with(&self, options: &[&str]) -> Output {
        self.birth("run", options).output()
    }

    /// `run` in the foreground, left running; its input is a pipe ([`Running::stdin`]).
    #[track_caller]
    pub fn spawn_run(&self) -> Running {
        self.birth("run", &[]).stdin_pipe().spawn()
    }

    /// Waits until the program of a foreground `run` is running; panics with what `run` printed if that ends
    /// before.
    #[track_caller]
    pub fn wait_running(&self, run: &mut Running) {
        wait_for(&format!("{} running", self.id), || {
            run.expect_alive();
            let state = self.state_output();
            (state.status.success() && state.json()["status"] == "running").then_some(())
        });
    }

    /// `run --detach`. The container's output goes to files.
    #[track_caller]
    pub fn run_detached(&self) -> Output {
        self.birth("run", &["--detach"]).output_in(&self.printed).output()
    }

    /// The call of `exec` with options, for words inside.
    #[must_use]
    pub fn exec_call(&self, options: &[&str], words: &[&str]) -> Call {
        self.call("exec").args(options).args([&self.id]).args(words)
    }

    /// `exec` in the foreground, without input.
    #[track_caller]
    pub fn exec(&self, words: &[&str]) -> Output {
        self.exec_call(&[], words).output()
    }

    /// What busybox's `sh -c script` prints by `exec` with options, without the newline at its end; panics unless
    /// it ends with 0.
    #[track_caller]
    pub fn exec_sh(&self, options: &[&str], script: &str) -> String {
        let output = self.exec_call(options, &["sh", "-c", script]).output().expect_ok();
        output.stdout.trim_end_matches('\n').to_owned()
    }

    /// `exec --detach` with options, whose program prints into files; the process by its pid file, once its
    /// command line is these words.
    #[track_caller]
    pub fn exec_detached(&self, options: &[&str], words: &[&str]) -> Process {
        let file = self.bundle.scratch_file(&unique_name());
        let call = self.exec_call(&[&["--detach", "--pid-file", &file], options].concat(), words);
        call.output_in(&self.printed).output().expect_ok();
        let pid = fs::read_to_string(&file).expect("read the pid file");
        let process = Process::new(pid.parse().expect("a pid file holds a number and nothing else"));
        wait_for("the program", || (process.cmdline() == words).then_some(()));
        process
    }

    /// `kill` with a signal, named or numbered.
    #[track_caller]
    pub fn kill(&self, signal: &str) -> Output {
        self.call("kill").args([&self.id, signal]).output()
    }

    /// `pause`.
    #[track_caller]
    pub fn pause(&self) -> Output {
        self.verb("pause", &[])
    }

    /// `resume`.
    #[track_caller]
    pub fn resume(&self) -> Output {
        self.verb("resume", &[])
    }

    /// `update` with flags.
    #[track_caller]
    pub fn update(&self, flags: &[&str]) -> Output {
        self.verb("update", flags)
    }

    /// `update --resources -` with a document on standard input.
    #[track_caller]
    pub fn update_to(&self, resources: &Value) -> Output {
        let call = self.call("update").args(["--resources", "-", &self.id]);
        call.stdin_bytes(resources.to_string()).output()
    }

    /// The process ids that `ps` gives, in order; panics unless it succeeds and says nothing else.
    #[track_caller]
    pub fn ps(&self) -> Vec<u32> {
        let output = self.verb("ps", &["--format", "json"]).expect_ok().expect_no_stderr();
        let pids: Option<Vec<u32>> = serde_json::from_value(output.json()).expect("a list of process ids");
        let mut pids = pids.unwrap_or_default(); // Go writes an empty list as null
        pids.sort_unstable();
        pids
    }

    /// What `events --stats` gives as `data`; panics unless it succeeds and says nothing else.
    #[track_caller]
    pub fn stats(&self) -> Value {
        let output = self.verb("events", &["--stats"]).expect_ok().expect_no_stderr();
        let mut event = output.json();
        assert_eq!((&event["type"], &event["id"]), (&Value::from("stats"), &Value::from(self.id())));
        event["data"].take()
    }

    /// `delete`.
    #[track_caller]
    pub fn delete(&self) -> Output {
        self.verb("delete", &[])
    }

    /// `delete --force`.
    #[track_caller]
    pub fn delete_force(&self) -> Output {
        self.verb("delete", &["--force"])
    }

    /// The output of `state`, whatever it says.
    #[track_caller]
    pub fn state_output(&self) -> Output {
        self.verb("state", &[])
    }

    /// `state` as JSON; panics unless it succeeds.
    #[track_caller]
    pub fn state(&self) -> Value {
        self.state_output().expect_ok().json()
    }

    /// The status in `state`.
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("status is text").to_owned()
    }

    /// Waits until `state` gives this status.
    #[track_caller]
    pub fn wait_status(&self, status: &str) {
        wait_for(&format!("status {status} of {}", self.id), || (self.status() == status).then_some(()));
    }

    /// The pid of the container's first process on the host; panics unless it has one.
    #[track_caller]
    pub fn init_pid(&self) -> u32 {
        let pid = self.state()["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        pid.filter(|pid| *pid != 0).expect("state has the pid of a living container")
    }

    /// The container's first process, seen from outside.
    #[track_caller]
    pub fn init(&self) -> Process {
        Process::new(self.init_pid())
    }

    /// What the container (and `create` itself) has printed so far, when not run in the foreground.
    #[must_use]
    pub fn stdout(&self) -> String {
        captured(&self.printed, "stdout")
    }

    /// What the container (and `create` itself) has printed on standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        captured(&self.printed, "stderr")
    }

    /// Waits until the container has printed this.
    #[track_caller]
    pub fn wait_stdout(&self, text: &str) {
        wait_for(&format!("{text:?} on stdout of {}", self.id), || {
            self.stdout().contains(text).then_some(())
        });
    }

    /// Whether the runtime still keeps a folder for it.
    fn is_kept(&self) -> bool {
        // An id such as `..` or the empty one names some other folder, and never a container.
        let mut parts = Path::new(&self.id).components();
        let is_name = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
        is_name && self.state_root.join(&self.id).symlink_metadata().is_ok()
    }
}

/// A container of this bundle whose program sleeps until it is killed, running and detached.
#[track_caller]
#[must_use]
pub fn running(bundle: Bundle) -> Container {
    let container = bundle.sleeping().container();
    container.run_detached().expect_ok();
    container
}

/// A container of this bundle that waits for `start`.
#[track_caller]
#[must_use]
pub fn created(bundle: Bundle) -> Container {
    let container = bundle.container();
    container.create().expect_ok();
    container
}

/// A container of this bundle whose program is `sleep 600`, running and detached, and that program.
#[track_caller]
#[must_use]
pub fn asleep(bundle: Bundle) -> (Container, Process) {
    let program = ["sleep", "600"];
    let container = bundle.args(&program).container();
    container.run_detached().expect_ok();
    let init = container.init();
    // A runtime may come back before the program has begun: what is seen is then its init.
    wait_for("the program", || (init.cmdline() == program).then_some(()));
    (container, init)
}

impl Drop for Container {
    fn drop(&mut self) {
        if !self.is_kept() {
            return;
        }
        let pid = self.state_output();
        let deleted = self.delete_force();
        if deleted.status.success() && !self.is_kept() {
            return;
        }
        // The runtime does not do it: at least no process stays behind.
        let state: Value = serde_json::from_str(&pid.stdout).unwrap_or_default();
        let pid = state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::KILL);
        }
        assert!(std::thread::panicking(), "a container could not be deleted: {deleted}");
    }
}
