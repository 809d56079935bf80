//! The shim and Docker side by side: the same scripts, with `d` for each one's command, in folders of their own.

use integration::engine::compare::{said, without_ids};
use integration::engine::{Client, Docker};
use integration::{Call, ImageMaker, Output, Shim, json, shim_under_test};

/// Both, with the image `made`: busybox that sleeps, exposes two ports and has a label.
pub struct Beside {
    pub docker: Docker,
    pub shim: Shim,
}

/// What a script comes to: its exit status, what it prints, and what it says beside.
type Told = (i32, String, String);

impl Beside {
    /// Starts both.
    #[track_caller]
    pub fn start() -> Beside {
        let (docker, shim) = (Docker::start(), Shim::networked_without_images());
        let config = json!({"Env": ["PATH=/bin", "A=image"], "Cmd": ["sleep", "1000"], "Labels": {"b": "image"},
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}}});
        let maker = ImageMaker::busybox().with("config", config).named("made:latest");
        let archive = maker.docker_archive(&docker.world().folder().join("made.tar"));
        docker.cli(&["load", "--input", "/run/world/made.tar"]).expect_ok();
        shim.load(&archive);
        std::fs::create_dir(shim.folder().join("work")).unwrap();
        docker.world().sh("mkdir /run/world/work").output().expect_ok();
        Beside { docker, shim }
    }

    /// A script with each of them.
    fn calls(&self, script: &str) -> [Call; 2] {
        let shim =
            [shim_under_test(), &self.shim.root(), &self.shim.state()].map(|path| path.display().to_string());
        let [program, root, state] = shim;
        let of_shim = format!("d() {{ {program} --root {root} --state {state} \"$@\"; }}\n{script}");
        let of_docker = format!("cd /run/world/work; d() {{ docker \"$@\"; }}\n{script}");
        [
            self.docker.world().call(&["sh", "-c", &of_docker]),
            self.shim.host().call("sh").args(["-c", &of_shim]).current_dir(&self.shim.folder().join("work")),
        ]
    }

    /// Runs each script with both, in order. Of those that begin with `~` the exit status alone is the same: docker's
    /// newer versions have other words than Debian's.
    #[track_caller]
    pub fn expect_same(&self, scripts: &[&str]) {
        let mut differences = Vec::new();
        for script in scripts {
            let (script, is_same) =
                script.strip_prefix("~ ").map_or((*script, true), |script| (script, false));
            let [theirs, ours] = self.calls(script).map(|call| call.output());
            let told = |output: &Output| {
                if is_same { told(output) } else { (output.code(), String::new(), String::new()) }
            };
            if told(&ours) != told(&theirs) {
                differences.push(format!("{script}\n{ours}\n{theirs}"));
            }
        }
        assert!(
            differences.is_empty(),
            "{} of {}:\n{}",
            differences.len(),
            scripts.len(),
            differences.join("\n----\n")
        );
    }
}

/// Without what is each one's own: ids, the default network's subnet, where files are, and how usage is explained.
fn told(output: &Output) -> Told {
    let plain = |text: &str| without_ids(text).replace("172.30.", "172.17.");
    // Behind an empty line there is help.
    let first = output.stderr.split("\n\n").next().unwrap_or_default().to_owned();
    let cut = Output { stderr: first, ..output.clone() };
    (output.code(), plain(output.stdout.trim_end()), plain(&said(&cut)))
}
