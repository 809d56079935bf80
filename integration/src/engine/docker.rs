//! Docker: a daemon in a world of its own whose default runtime is the runtime under test.

use crate::engine::{Client, World, manual};
use crate::{Running, wait_for};

/// A Docker daemon, configured by the lines of docs/engines.md.
#[derive(Debug)]
pub struct Docker {
    // Before the world, which takes its own end badly if its daemon is still waited for.
    daemon: Running,
    /// How often the daemon has come up: it says so in the same log each time.
    starts: usize,
    options: Vec<String>,
    /// Else dockerd starts it, and gives up when that takes long.
    _containerd: Option<Running>,
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
        Docker::start_in(World::new(), options, None)
    }

    /// Starts a daemon with options in the virtual machine, with a containerd that was there before, as Debian's services
    /// have it.
    #[must_use]
    #[track_caller]
    pub fn start_in_machine(options: &[&str]) -> Docker {
        let world = World::machine();
        let containerd = world.daemon("containerd", &["containerd"]);
        wait_for("containerd", || world.call(&["ctr", "version"]).output().status.success().then_some(()));
        Docker::start_in(world, options, Some(containerd))
    }

    #[track_caller]
    fn start_in(world: World, options: &[&str], containerd: Option<Running>) -> Docker {
        world.write("/etc/docker/daemon.json", &manual::block("/etc/docker/daemon.json"));
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let daemon = spawn(&world, &options);
        let mut docker = Docker { daemon, starts: 0, options, _containerd: containerd, world };
        docker.wait_ready();
        docker.import();
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
    pub fn murder(&mut self) {
        self.world.murder("dockerd", &mut self.daemon);
    }

    /// Starts the daemon again after its end.
    #[track_caller]
    pub fn restart(&mut self) {
        self.daemon = spawn(&self.world, &self.options);
        self.wait_ready();
    }
}

impl Client for Docker {
    const PROGRAM: &str = "docker";
    const USUAL_CAPABILITIES: u64 = 0xa804_25fb;
    const ALL_CAPABILITIES: u64 = (1 << 38) - 1; // 20.10; 38 to 40 came later

    fn world(&self) -> &World {
        &self.world
    }
}

#[track_caller]
fn spawn(world: &World, options: &[String]) -> Running {
    let words: Vec<&str> = std::iter::once("dockerd").chain(options.iter().map(String::as_str)).collect();
    world.daemon("dockerd", &words)
}
