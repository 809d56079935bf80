//! Docker: a daemon in a world of its own whose default runtime is the runtime under test.

use crate::engine::{World, image, manual};
use crate::scratch::unique_name;
use crate::{Call, Output, Running, wait_for};

/// The image that [`Docker::start`] imports.
pub const IMAGE: &str = "box";

/// A Docker daemon, configured by the lines of docs/engines.md.
#[derive(Debug)]
pub struct Docker {
    // Before the world, which takes its own end badly if its daemon is still waited for.
    daemon: Running,
    /// How often the daemon has come up: it says so in the same log each time.
    starts: usize,
    options: Vec<String>,
    world: World,
}

impl Docker {
    /// Why there can be no Docker here, if so.
    #[must_use]
    pub fn obstacle() -> Option<String> {
        World::obstacle(&["dockerd", "docker", "containerd", "docker-init"])
    }

    /// Starts a daemon, with an image to run.
    #[must_use]
    #[track_caller]
    pub fn start() -> Docker {
        Docker::start_with(&[])
    }

    /// Starts a daemon with options.
    #[must_use]
    #[track_caller]
    pub fn start_with(options: &[&str]) -> Docker {
        let world = World::new();
        world.write("/etc/docker/daemon.json", &manual::block("/etc/docker/daemon.json"));
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let daemon = spawn(&world, &options);
        let mut docker = Docker { daemon, starts: 0, options, world };
        docker.wait_ready();
        let import = ["import", "--change", "ENV PATH=/bin", "--change", "CMD [\"sh\"]", "-", IMAGE];
        docker.call(&import).stdin_from(image::open_archive()).output().expect_ok();
        docker
    }

    #[track_caller]
    fn wait_ready(&mut self) {
        let log = self.world.folder().join("dockerd.log");
        wait_for("dockerd", || {
            self.daemon.expect_alive();
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            (said.matches("API listen on").count() > self.starts).then_some(())
        });
        self.starts += 1;
    }

    /// Kills the daemon with SIGKILL; its containerd goes with it, the containers' shims do not.
    #[track_caller]
    pub fn murder(&self) {
        self.world.murder("dockerd");
    }

    /// Starts the daemon again after its end.
    #[track_caller]
    pub fn restart(&mut self) {
        self.daemon = spawn(&self.world, &self.options);
        self.wait_ready();
    }

    /// Where it runs.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// A call of docker(1).
    #[must_use]
    pub fn call(&self, args: &[&str]) -> Call {
        self.world.call(&["docker"]).args(args)
    }

    /// docker(1), run to its end.
    #[track_caller]
    pub fn docker(&self, args: &[&str]) -> Output {
        self.call(args).output()
    }

    /// `docker run --rm OPTIONS box sh -c SCRIPT`.
    #[track_caller]
    pub fn sh(&self, options: &[&str], script: &str) -> Output {
        let words = [&["run", "--rm"], options, &[IMAGE, "sh", "-c", script]].concat();
        self.docker(&words)
    }

    /// What such a script printed, without the newline at its end; panics unless all went well and quietly.
    #[track_caller]
    pub fn in_container(&self, options: &[&str], script: &str) -> String {
        self.sh(options, script).expect_ok().stdout.trim_end_matches('\n').to_owned()
    }

    /// `docker run --detach OPTIONS box sh -c SCRIPT`; the container's name.
    #[track_caller]
    pub fn detached(&self, options: &[&str], script: &str) -> String {
        let name = unique_name();
        let words = [&["run", "--detach", "--name", &name], options, &[IMAGE, "sh", "-c", script]].concat();
        self.docker(&words).expect_ok();
        name
    }

    /// A field of `docker inspect`, by a template such as `.State.Status`.
    #[track_caller]
    pub fn inspect(&self, name: &str, field: &str) -> String {
        let format = format!("{{{{{field}}}}}");
        self.docker(&["inspect", "--format", &format, name]).expect_ok().stdout.trim_end().to_owned()
    }

    /// Waits until a field of `docker inspect` has a value.
    #[track_caller]
    pub fn wait_inspect(&self, name: &str, field: &str, value: &str) {
        wait_for(&format!("{field} {value} of {name}"), || {
            (self.inspect(name, field) == value).then_some(())
        });
    }

    /// Waits until a container has logged this.
    #[track_caller]
    pub fn wait_logs(&self, name: &str, text: &str) {
        wait_for(&format!("{text:?} in the log of {name}"), || {
            self.docker(&["logs", name]).expect_ok().stdout.contains(text).then_some(())
        });
    }
}

#[track_caller]
fn spawn(world: &World, options: &[String]) -> Running {
    let words: Vec<&str> = std::iter::once("dockerd").chain(options.iter().map(String::as_str)).collect();
    world.daemon("dockerd", &words)
}
