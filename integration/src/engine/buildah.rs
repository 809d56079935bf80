//! Buildah, which runs the steps of a build on the runtime by itself.

use crate::engine::{Podman, World, image};
use crate::{Call, Output};

/// A world with Buildah in it, configured by the lines of docs/engines.md, with an image to build on.
#[derive(Debug)]
pub struct Buildah {
    world: World,
}

impl Buildah {
    /// Why there can be no Buildah here, if so.
    #[must_use]
    pub fn obstacle() -> Option<String> {
        World::obstacle(&["buildah"])
    }

    /// A Buildah with an image, made from scratch.
    #[must_use]
    #[track_caller]
    pub fn start() -> Buildah {
        Buildah::start_in(World::new())
    }

    /// A Buildah in a world that is there.
    #[must_use]
    #[track_caller]
    pub fn start_in(world: World) -> Buildah {
        Podman::configure(&world);
        let buildah = Buildah { world };
        let scratch = buildah.buildah(&["from", "scratch"]).expect_ok().stdout.trim().to_owned();
        let path = buildah.world.folder().join("image.tar");
        std::io::copy(&mut image::open_archive(), &mut std::fs::File::create(path).expect("create a file"))
            .expect("copy an archive");
        buildah.buildah(&["add", "--quiet", &scratch, "/run/world/image.tar", "/"]).expect_ok();
        buildah.buildah(&["config", "--env", "PATH=/bin", "--cmd", "sh", &scratch]).expect_ok();
        buildah.buildah(&["commit", "--quiet", "--rm", &scratch, "box"]).expect_ok();
        buildah
    }

    /// Where it runs.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// A call of buildah(1).
    #[must_use]
    pub fn call(&self, args: &[&str]) -> Call {
        self.world.call(&["buildah"]).args(args)
    }

    /// buildah(1), run to its end.
    #[track_caller]
    pub fn buildah(&self, args: &[&str]) -> Output {
        self.call(args).output()
    }
}
