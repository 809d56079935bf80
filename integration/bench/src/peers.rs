//! What the benchmarks of the shim have in common: docker and podman beside it in one world, an image for all, and the place of
//! a table in a document.

use std::fs;
use std::path::{Path, PathBuf};

use integration::engine::{World, image};
use integration::{ImageMaker, Running, has_controller, wait_for};

/// Starts containerd and dockerd, whose data lie below `root`; they end with what this returns.
pub fn daemons(world: &World, root: &str) -> Vec<Running> {
    let containerd = world.daemon("containerd", &["containerd"]);
    wait_for("containerd", || world.call(&["ctr", "version"]).output().status.success().then_some(()));
    let data = format!("{root}/docker");
    let words = ["dockerd", "--data-root", &data, "--containerd", "/run/containerd/containerd.sock"];
    let dockerd = world.daemon("dockerd", &words);
    wait_for("dockerd", || world.call(&["docker", "version"]).output().status.success().then_some(()));
    vec![dockerd, containerd]
}

/// Podman limits the processes of every container, and fails where it cannot: it is told not to.
pub fn configure_podman(world: &World) {
    if !has_controller("pids") {
        let path = "/etc/containers/containers.conf.d/no-limits-here.conf";
        world.write(path, "[containers]\npids_limit = 0\n");
    }
}

/// Gives busybox, under the name `box`, to the one of this name with this command.
pub fn import(world: &World, name: &str, program: &[String]) {
    let call = world.call(program);
    if name == "shim" {
        let archive = ImageMaker::busybox().named("box").docker_archive(&world.folder().join("image"));
        call.args(["load", "-i"]).args([seen(world, &archive)]).output().expect_ok();
    } else {
        let change = ["import", "--change", "ENV PATH=/bin", "--change", "CMD [\"sh\"]", "-", "box"];
        call.args(change).stdin_from(image::open_archive()).output().expect_ok();
    }
}

/// A file of the world's folder, by its path in the world.
pub fn seen(world: &World, path: &Path) -> PathBuf {
    Path::new("/run/world").join(path.strip_prefix(world.folder()).unwrap())
}

/// Puts a text between the lines of a document that are kept for it.
pub fn write_into(document: &Path, name: &str, text: &str) {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let whole = fs::read_to_string(document).unwrap();
    let (before, rest) = whole.split_once(&begin).expect("the line before the table");
    let (_, after) = rest.split_once(&end).expect("the line behind the table");
    fs::write(document, format!("{before}{begin}\n{text}\n{end}{after}")).unwrap();
}
