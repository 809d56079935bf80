//! `create`, `run` and what `inspect` tells of it, beside Docker: the same image and the same command lines.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::engine::compare::{differences, said, values, with_sorted_mounts, without_ids};
use integration::engine::{Client, Docker};
use integration::{ImageMaker, Output, Shim, json, skip};

/// Command lines, whether standard output and the words on standard error are the same too, and not the exit status alone.
const LINES: [(&[&str], bool); 25] = [
    (&["run", "--rm", "--network", "none", "made"], true),
    (&["run", "--rm", "--network", "none", "made", "sh", "-c", "echo out; echo err >&2; exit 9"], true),
    (
        &[
            "run",
            "--rm",
            "--network=none",
            "-e",
            "A=own",
            "-e",
            "B",
            "made",
            "sh",
            "-c",
            "echo $A $B; pwd; id",
        ],
        true,
    ),
    (
        &[
            "run",
            "--rm",
            "--network=none",
            "-h",
            "host",
            "--add-host",
            "db:10.0.0.1",
            "made",
            "tail",
            "-n1",
            "/etc/hosts",
        ],
        true,
    ),
    (&["run", "--rm", "--network", "none", "made", "no-such-program"], false),
    (&["run", "--rm", "--network", "none", "-w", "relative", "made"], true),
    (&["run", "--rm", "--network", "none", "-u", "stranger", "made"], true),
    // Docker since 27 has other words for this.
    (&["run", "--rm", "--restart", "always", "made"], false),
    (&["run", "--rm", "--network", "container:nothing", "made"], true),
    (&["run", "--rm", "--pid", "container:", "made"], false),
    (&["run", "--rm", "--uts", "nothing", "made"], false),
    (&["run", "--rm", "--entrypoint", "", "made"], true),
    (&["run", "-it", "made"], true),
    (&["create", "--name", "a/b", "made"], true),
    (&["start", "nothing"], true),
    (&["start", "-a", "nothing", "other"], true),
    (&["rm", "nothing"], true),
    (&["rm", "-f", "nothing"], true),
    (&["rename", "nothing", "other"], true),
    (&["create", "--name", "one", "--network", "none", "made"], true),
    (&["create", "--name", "one", "made"], true),
    (&["start", "-a", "one"], true),
    (&["rmi", "made"], true),
    (&["rename", "one", "one"], true),
    // One name twice has two answers of docker's, which removes them at the same time.
    (&["rm", "one", "nobody"], true),
];

/// Where what is told differs: Docker's version, and what each program keeps where.
const TOLD: [&str; 9] = [
    "/Created",
    "/GraphDriver/Data/",
    // Docker 28 has more of them.
    "/HostConfig/MaskedPaths/",
    "/HostConfig/Runtime",
    // Docker writes these at the first start.
    "/HostnamePath",
    "/HostsPath",
    "/LogPath",
    "/ResolvConfPath",
    "/Id",
];

/// A container with most of what can be asked for.
const RICH: [&str; 68] = [
    "create",
    "--name",
    "rich",
    "--network",
    "none",
    "-e",
    "A=own",
    "-l",
    "a=b",
    "-u",
    "1000:2000",
    "-v",
    "/etc:/host:ro",
    "--mount",
    "type=tmpfs,dst=/t",
    "--tmpfs",
    "/run:size=1m",
    "--cap-add",
    "SYS_TIME",
    "--cap-drop",
    "mknod",
    "--security-opt",
    "no-new-privileges",
    "--ulimit",
    "nofile=100:200",
    "--restart",
    "on-failure:3",
    "--init",
    "--stop-timeout",
    "7",
    "--add-host",
    "db:10.0.0.1",
    "--dns",
    "9.9.9.9",
    "--dns-search",
    "lan",
    "--log-opt",
    "max-size=1m",
    "--health-cmd",
    "true",
    "--health-interval",
    "90s",
    "--read-only",
    "--shm-size",
    "1m",
    "--group-add",
    "7",
    "-h",
    "host",
    "--domainname",
    "lan",
    "--expose",
    "99/udp",
    "--oom-score-adj",
    "5",
    "--sysctl",
    "net.ipv4.ip_forward=1",
    "-i",
    "-t",
    "-w",
    "/tmp",
    "--entrypoint",
    "sh",
    "--device",
    "/dev/null:/dev/nothing:r",
    "made",
    "-c",
    "true",
];

#[test]
fn the_same_command_lines_come_to_the_same() {
    if let Some(obstacle) = Docker::obstacle() {
        skip!("{obstacle}");
    }
    let (docker, shim) = (Docker::start(), Shim::in_memory());
    let config = json!({"Env": ["PATH=/bin", "A=image"], "Cmd": ["echo", "of the image"], "Labels": {"b": "image"},
        "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGINT", "WorkingDir": "/srv"});
    let maker = ImageMaker::busybox().with("config", config).named("made:latest");
    let archive = maker.docker_archive(&docker.world().folder().join("made.tar"));
    docker.cli(&["load", "--input", "/run/world/made.tar"]).expect_ok();
    shim.load(&archive);

    for (words, is_same) in LINES {
        let (theirs, ours) = (docker.cli(words), shim.cli(words));
        let told =
            |output: &Output| (output.code(), is_same.then(|| (without_ids(&output.stdout), said(output))));
        assert_eq!(told(&ours), told(&theirs), "{words:?}\n{ours}\n{theirs}");
    }

    docker.cli(&RICH).expect_ok();
    shim.cli(&RICH).expect_ok();
    let told = |output: Output| values(&with_sorted_mounts(output.expect_ok().json()[0].clone()));
    let (theirs, ours) = (told(docker.cli(&["inspect", "rich"])), told(shim.cli(&["inspect", "rich"])));
    let differences = differences(&theirs, &ours, &TOLD);
    assert!(differences.is_empty(), "{differences:#?}");
    assert!(theirs.len() > 60, "much is told: {theirs:#?}");
}
