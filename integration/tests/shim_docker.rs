//! The shim beside docker and podman: the same image in all of them, what they say of it, and archives from each to the
//! others.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::collections::BTreeSet;
use std::fs::{self, File};

use integration::engine::{Client, Docker, IMAGE, Podman};
use integration::{ImageMaker, Output, Shim, Value, json};

fn maker() -> ImageMaker {
    let config = json!({
        "Cmd": ["sh", "-c", "echo hi"],
        "Env": ["PATH=/bin", "A=b c"],
        "Labels": {"team": "blue", "a.b/c": "<&>"},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/data": {}},
        "WorkingDir": "/srv",
        "User": "1000",
        "StopSignal": "SIGINT",
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5_000_000_000_i64},
    });
    ImageMaker::busybox()
        .layer("a step\tof more than forty-five characters, with a tab in it", |folder| {
            fs::create_dir(folder.join("srv")).unwrap();
            fs::write(folder.join("srv/file"), vec![b'x'; 123_456]).unwrap();
        })
        .with("config", config)
        .with("author", json!("somebody"))
        .named("two:1")
        .named("two:2")
        .named("localhost:5000/me/other:x")
}

/// docker's words without saying who said them. 20.10 does not tell every tag that it has looked for; 28 does.
fn said(output: &Output) -> String {
    let words = output.stderr.replace("Error response from daemon: ", "").replace("Error: ", "");
    let complete = |line: &str| match line.strip_prefix("No such image: ") {
        Some(name) if !name.contains(':') => format!("{line}:latest\n"),
        _ => format!("{line}\n"),
    };
    words.lines().map(complete).collect()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn docker_says_the_same_and_takes_what_was_saved() {
    if let Some(obstacle) = Docker::obstacle() {
        integration::skip!("{obstacle}");
    }
    let (docker, shim, maker) = (Docker::start(), Shim::new(), maker());
    let id = maker.id();
    let archive = maker.docker_archive(&docker.world().folder().join("made.tar"));
    docker.cli(&["load", "--input", "/run/world/made.tar"]).expect_ok();
    shim.load(&archive);

    // What is listed and told, to the last byte.
    let rows = "{{.ID}}|{{.Repository}}|{{.Tag}}|{{.Digest}}|{{.CreatedSince}}|{{.CreatedAt}}|{{.Size}}|{{.VirtualSize}}|\
        {{.SharedSize}}|{{.UniqueSize}}|{{.Containers}}";
    for words in [
        &["images", "two"][..],
        &["images", "--digests", "--no-trunc", "two"],
        &["images", "--filter", "label=team=blue", "--filter", "reference=localhost:5000/*/*"],
        &["images", "--format", rows, "two:2"],
        &["images", "--format", "table {{.Tag}}\\t{{upper .Repository}}\\t{{.ID}}", "two"],
        &["images", "-q", "two"],
        &["history", "two:1"],
        &["history", "--no-trunc", "--human=false", "two:1"],
        &["history", "-q", "two:1"],
        &["history", "--format", "table {{.CreatedBy}}\\t{{.Size}}", "two:1"],
        &[
            "image",
            "inspect",
            "--format",
            "{{.Id}} {{.RepoTags}} {{.Size}} {{.Os}}/{{.Architecture}} {{.Author}}",
            "two:1",
        ],
        &[
            "image",
            "inspect",
            "-f",
            "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}{{json .Config.Env}}",
            "two:1",
        ],
        &[
            "image",
            "inspect",
            "-f",
            "{{json .Config.Entrypoint}} {{.Config.Healthcheck.Interval}} {{len .RootFS.Layers}}",
            "two:1",
        ],
        &[
            "image",
            "inspect",
            "-f",
            "{{index .Config.Labels \"none\"}}{{.Config.Labels.none}}{{.Config.OnBuild}}",
            "two:1",
        ],
    ] {
        let theirs = docker.cli(words).expect_ok();
        let ours = shim.cli(words).expect_ok();
        // 20.10 shows "5s" for a duration that is not written as JSON.
        assert_eq!(ours.stdout, theirs.stdout.replace(" 5s ", " 5000000000 "), "{words:?}");
    }
    let inspected = |output: Output| output.expect_ok().json()[0].clone();
    let theirs = inspected(docker.cli(&["image", "inspect", "two:1"]));
    let ours = inspected(shim.cli(&["image", "inspect", "two:1"]));
    // What docker has dropped since.
    let old = ["Container", "ContainerConfig", "VirtualSize"].map(str::to_owned);
    let expected: BTreeSet<String> = keys(&theirs).into_iter().filter(|key| !old.contains(key)).collect();
    assert_eq!(keys(&ours), expected);
    for key in expected.iter().filter(|key| !["GraphDriver", "Metadata"].contains(&key.as_str())) {
        assert_eq!(ours[key], theirs[key], "{key}");
    }
    let json_rows = ["images", "--format", "{{json .}}", "two:1"];
    assert_eq!(keys(&shim.cli(&json_rows).json()), keys(&docker.cli(&json_rows).json()));

    // Archives, both ways.
    docker.cli(&["save", "--output", "/run/world/theirs.tar", "two"]).expect_ok();
    let other = Shim::new();
    other.load(&docker.world().folder().join("theirs.tar"));
    assert_eq!(other.stdout(&["images", "-q", "--no-trunc"]), format!("{id}\n{id}\n"));
    let ours = docker.world().folder().join("ours.tar");
    shim.cli(&["save", "-o", ours.to_str().unwrap(), "two:1", &id]).expect_ok();

    // What goes, and what is refused. (Docker's own image has the same layer below.)
    docker.cli(&["rmi", IMAGE]).expect_ok();
    let short = &id["sha256:".len()..][..12];
    for words in [
        &["rmi", short][..],
        &["rmi", "two:1"],
        &["rmi", "two:1"],
        &["rmi", "nothing", "two:2"],
        &["tag", "nothing", "x"],
        &["tag", short, "again"],
        &["rmi", "localhost:5000/me/other:x"],
        &["rmi", short],
        &["image", "inspect", short],
    ] {
        let (theirs, ours) = (docker.cli(words), shim.cli(words));
        let told = (ours.code(), ours.stdout.as_str(), said(&ours));
        assert_eq!(told, (theirs.code(), theirs.stdout.as_str(), said(&theirs)), "{words:?}");
    }
    let loaded = docker.cli(&["load", "--quiet", "-i", "/run/world/ours.tar"]).expect_ok();
    assert_eq!(loaded.stdout, "Loaded image: two:1\n");
    assert_eq!(docker.cli(&["images", "-q", "--no-trunc", "two:1"]).stdout, format!("{id}\n"));
    assert_eq!(
        docker.cli(&["run", "--rm", "--user", "0", "two:1", "wc", "-c", "/srv/file"]).stdout,
        "123456 /srv/file\n"
    );
}

#[test]
fn podman_takes_what_was_saved_and_gives_it_back() {
    if let Some(obstacle) = Podman::obstacle() {
        integration::skip!("{obstacle}");
    }
    let (podman, shim, maker) = (Podman::start(), Shim::new(), maker());
    let id = maker.id();
    shim.load(&maker.oci_archive(&shim.folder().join("made.tar")));
    let saved = podman.world().folder().join("ours.tar");
    shim.cli(&["save", "-o", saved.to_str().unwrap(), "localhost:5000/me/other:x"]).expect_ok();
    podman.cli(&["load", "--input", "/run/world/ours.tar"]).expect_ok();
    let listed = podman.cli(&["images", "--no-trunc", "--quiet", "localhost:5000/me/other:x"]).expect_ok();
    assert_eq!(listed.stdout, format!("{id}\n"));
    for format in ["docker-archive", "oci-archive"] {
        let output = format!("/run/world/{format}.tar");
        podman.cli(&["save", "--format", format, "-o", &output, "localhost:5000/me/other:x"]).expect_ok();
        let other = Shim::new();
        let archive = File::open(podman.world().folder().join(format!("{format}.tar"))).unwrap();
        other.call(&["load"]).stdin_from(archive).output().expect_ok();
        let words = ["image", "inspect", "-f", "{{index .RootFS.Layers 1}}", "localhost:5000/me/other:x"];
        assert_eq!(other.stdout(&words), shim.stdout(&words), "{format}");
        // Podman writes an image's configuration anew where the form is another, and with it the id.
        if format == "docker-archive" {
            assert_eq!(other.stdout(&["images", "-q", "--no-trunc"]), format!("{id}\n"));
        }
    }
}
