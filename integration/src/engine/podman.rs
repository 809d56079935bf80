//! Podman, which has no daemon: its containers are children of conmon(8).

use crate::engine::{Client, World, manual};
use crate::{Call, has_controller};

const CONFIGURATION: &str = "/etc/containers/containers.conf.d/caisson.conf";

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
        world.write(CONFIGURATION, &manual::block(CONFIGURATION));
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

/// Podman of an ordinary user with a range of ids of its own.
#[derive(Debug)]
pub struct RootlessPodman {
    world: World,
    home: &'static str,
    /// Its `XDG_RUNTIME_DIR`, where the user manager's bus is, if there is one.
    runtime_dir: &'static str,
}

impl RootlessPodman {
    /// Why there can be no rootless Podman here, if so.
    #[must_use]
    pub fn obstacle() -> Option<String> {
        World::obstacle(&["podman", "conmon", "catatonit", "newuidmap"])
    }

    /// Podman of a user who has no cgroup to write, with an image to run.
    #[must_use]
    #[track_caller]
    pub fn start() -> RootlessPodman {
        let world = World::new();
        let script = "useradd --uid 1777 --home-dir /run/tester tester; \
            for file in /etc/subuid /etc/subgid; do echo tester:700000:65536 >$file; done; \
            mkdir -p /run/tester /run/user/1777; chown tester /run/tester /run/user/1777; \
            chmod 700 /run/tester /run/user/1777";
        world.sh(script).output().expect_ok();
        world.write("/run/tester/.config/containers/containers.conf", &manual::block(CONFIGURATION));
        // A network of its own needs slirp4netns(1), a limit of processes needs a cgroup.
        let here = "[containers]\nnetns = \"host\"\npids_limit = 0\n";
        world.write("/etc/containers/containers.conf.d/here.conf", here);
        let podman = RootlessPodman { world, home: "/run/tester", runtime_dir: "/run/user/1777" };
        podman.import();
        podman
    }

    /// Podman of the user "tester" of the virtual machine (scripts/vm-root), to whose manager systemd delegates cgroups.
    #[must_use]
    #[track_caller]
    pub fn start_in_machine() -> RootlessPodman {
        let world = World::machine();
        // A network of its own needs more than the machine has.
        let lines = manual::block(CONFIGURATION) + "[containers]\nnetns = \"host\"\n";
        world.write("/home/tester/.config/containers/containers.conf", &lines);
        world.sh("chown -R tester /home/tester/.config").output().expect_ok();
        let podman = RootlessPodman { world, home: "/home/tester", runtime_dir: "/run/user/1000" };
        podman.import();
        podman
    }

    /// A call of any program as that user.
    #[must_use]
    pub fn as_user(&self, args: &[&str]) -> Call {
        let user = ["setpriv", "--reuid=tester", "--regid=tester", "--init-groups", "env"];
        let (home, runtime_dir) = (self.home, self.runtime_dir);
        let environment = ["HOME", "TMPDIR"].map(|name| format!("{name}={home}"));
        self.world.call(&user).args(environment).args([format!("XDG_RUNTIME_DIR={runtime_dir}")]).args(args)
    }
}

impl Client for RootlessPodman {
    const PROGRAM: &str = "podman";
    const USUAL_CAPABILITIES: u64 = Podman::USUAL_CAPABILITIES;
    const ALL_CAPABILITIES: u64 = Podman::ALL_CAPABILITIES;

    fn world(&self) -> &World {
        &self.world
    }

    fn call(&self, args: &[&str]) -> Call {
        self.as_user(&[Self::PROGRAM]).args(args)
    }
}
