//! containerd, driven by ctr(8).

use crate::engine::{World, image, manual};
use crate::scratch::unique_name;
use crate::{Call, Output, Running, has_controller, wait_for};

/// Where the runtime is in a world.
const RUNTIME: &str = "/usr/local/sbin/runtime";

/// A containerd, configured by the lines of docs/engines.md.
#[derive(Debug)]
pub struct Containerd {
    daemon: Running,
    world: World,
}

impl Containerd {
    /// Why there can be no containerd here, if so.
    #[must_use]
    pub fn obstacle() -> Option<String> {
        World::obstacle(&["containerd", "ctr", "containerd-shim-runc-v2"])
    }

    /// Starts a daemon, with an image to run.
    #[must_use]
    #[track_caller]
    pub fn start() -> Containerd {
        Containerd::start_in(World::new())
    }

    /// Starts a daemon in a world that is there.
    #[must_use]
    #[track_caller]
    pub fn start_in(world: World) -> Containerd {
        world.write("/etc/containerd/config.toml", &manual::block("/etc/containerd/config.toml"));
        let mut containerd = Containerd { daemon: world.daemon("containerd", &["containerd"]), world };
        containerd.wait_ready();
        let archive = image::oci_archive(containerd.world.folder());
        let name = archive.file_name().expect("an archive is a file").to_string_lossy();
        containerd.ctr(&["image", "import", &format!("/run/world/{name}")]).expect_ok();
        containerd
    }

    #[track_caller]
    fn wait_ready(&mut self) {
        wait_for("containerd", || {
            self.daemon.expect_alive();
            self.ctr(&["version"]).status.success().then_some(())
        });
    }

    /// Kills the daemon with SIGKILL and starts it again; shims and containers live on meanwhile.
    #[track_caller]
    pub fn murder_and_restart(&mut self) {
        self.world.murder("containerd", &mut self.daemon);
        self.daemon = self.world.daemon("containerd", &["containerd"]);
        self.wait_ready();
    }

    /// Where it runs.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// A call of ctr(8).
    #[must_use]
    pub fn call(&self, args: &[&str]) -> Call {
        self.world.call(&["ctr"]).args(args)
    }

    /// ctr(8), run to its end.
    #[track_caller]
    pub fn ctr(&self, args: &[&str]) -> Output {
        self.call(args).output()
    }

    /// A call of `ctr run OPTIONS IMAGE NAME PROGRAM` on the runtime under test.
    #[must_use]
    pub fn run(&self, options: &[&str], name: &str, program: &[&str]) -> Call {
        let words = [
            &["run"],
            self.no_limits(),
            &["--runc-binary", RUNTIME],
            options,
            &[image::REFERENCE, name],
            program,
        ]
        .concat();
        self.call(&words)
    }

    /// ctr(8) gives every container a weight, which no runtime can set where there is no controller for it.
    #[must_use]
    pub fn no_limits(&self) -> &'static [&'static str] {
        if has_controller("cpu") { &[] } else { &["--cpu-shares", "0"] }
    }

    /// `ctr run --rm` of a shell script, to its end.
    #[track_caller]
    pub fn sh(&self, options: &[&str], script: &str) -> Output {
        self.run(&[&["--rm"], options].concat(), &unique_name(), &["sh", "-c", script]).output()
    }

    /// `ctr run --detach` of a shell script; the container's name.
    #[track_caller]
    pub fn detached(&self, script: &str) -> String {
        let name = unique_name();
        // Its output is nobody's; a pipe of ours would keep ctr from its end.
        let call = self.run(&["--detach", "--null-io"], &name, &["sh", "-c", script]);
        call.output().expect_ok();
        name
    }

    /// A call of `ctr task exec OPTIONS NAME sh -c SCRIPT`.
    #[must_use]
    pub fn exec(&self, options: &[&str], name: &str, script: &str) -> Call {
        let id = unique_name();
        self.call(&[&["task", "exec", "--exec-id", &id], options, &[name, "sh", "-c", script]].concat())
    }

    /// The status of a task, as `ctr task list` gives it.
    #[track_caller]
    pub fn status(&self, name: &str) -> Option<String> {
        let list = self.ctr(&["task", "list"]).expect_ok().stdout;
        let line = list.lines().find(|line| line.split_whitespace().next() == Some(name))?;
        line.split_whitespace().nth(2).map(str::to_owned)
    }

    /// Writes all events down as they come, as long as the value lives: for [`Containerd::wait_event`].
    #[must_use]
    #[track_caller]
    pub fn watch(&self) -> Running {
        let running = self.world.daemon("events", &["ctr", "events"]);
        // What happens before it listens it does not hear: something harmless happens until it has heard of that.
        let log = self.world.folder().join("events.log");
        wait_for("ctr events", || {
            self.ctr(&["namespaces", "label", "default", "caisson.test=watched"]).expect_ok();
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            said.contains("/namespaces/update").then_some(())
        });
        running
    }

    /// Waits for an event (its topic) of a container; its line.
    #[track_caller]
    pub fn wait_event(&self, topic: &str, name: &str) -> String {
        let log = self.world.folder().join("events.log");
        wait_for(&format!("{topic} of {name}"), || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            said.lines().find(|line| line.contains(topic) && line.contains(name)).map(str::to_owned)
        })
    }

    /// Waits for a status.
    #[track_caller]
    pub fn wait_status(&self, name: &str, status: &str) {
        wait_for(&format!("status {status} of {name}"), || {
            (self.status(name).as_deref() == Some(status)).then_some(())
        });
    }
}
