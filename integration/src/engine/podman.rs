//! Podman, which has no daemon: its containers are children of conmon(8).

use crate::engine::{Client, World, manual};
use crate::has_controller;

/// A world with Podman in it, configured by the lines of docs/engines.md.
#[derive(Debug)]
pub struct Podman {
    world: World,
}

impl Podman {
    /// Why there can be no Podman here, if so.
    #[must_use]
    pub fn obstacle() -> Option<String> {
        World::obstacle(&["podman", "conmon", "catatonit"])
    }

    /// A Podman with an image to run.
    #[must_use]
    #[track_caller]
    pub fn start() -> Podman {
        Podman::start_in(World::new())
    }

    /// A Podman in a world that is there.
    #[must_use]
    #[track_caller]
    pub fn start_in(world: World) -> Podman {
        Podman::configure(&world);
        let podman = Podman { world };
        podman.import();
        podman
    }

    /// Writes the configuration that Podman and Buildah share.
    #[track_caller]
    pub(super) fn configure(world: &World) {
        let path = "/etc/containers/containers.conf.d/caisson.conf";
        world.write(path, &manual::block(path));
        if !has_controller("pids") {
            // Podman limits the processes of every container, and fails where it cannot.
            let path = "/etc/containers/containers.conf.d/no-limits-here.conf";
            world.write(path, "[containers]\npids_limit = 0\n");
        }
        // For --userns=auto.
        world
            .sh("for file in /etc/subuid /etc/subgid; do echo containers:400000:200000 >>$file; done")
            .output()
            .expect_ok();
    }
}

impl Client for Podman {
    const PROGRAM: &str = "podman";
    const USUAL_CAPABILITIES: u64 = 0x8004_05fb;
    const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

    fn world(&self) -> &World {
        &self.world
    }
}
