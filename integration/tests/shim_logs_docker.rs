//! A log beside Docker's: the same image and the same program, and the same file but for the times.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::engine::{Client, Docker};
use integration::{ImageMaker, Output, Shim, Value, skip, wait_for};

/// Prints of all that logs have to escape; never on both streams at once, whose order nobody knows.
const PROGRAM: &str = "#!/bin/sh
echo plain
printf 'a\\001\\002\\011\\015\\033\\037\\042\\047\\057\\134<>&\\177\\n'
printf '\\303\\251\\342\\202\\254\\360\\237\\246\\200\\n'
printf '\\342\\200\\250\\342\\200\\251\\n'
printf '\\377\\376x\\342\\200\\n\\n'
head -c 40000 /dev/zero | tr '\\0' y
echo
sleep 1
echo error >&2
sleep 1
printf last
";

const RUN: [&str; 14] = [
    "run",
    "--network=none",
    "--name=box",
    "--log-opt",
    "labels=tier,none",
    "--log-opt",
    "env=E",
    "--log-opt",
    "tag={{.Name}}/{{.ImageName}}",
    "--label=tier=web",
    "--env=E=1 2",
    "--env=F=3",
    "made",
    "/program",
];

/// The lines of a file without their times.
fn lines(file: &str) -> Vec<String> {
    let timeless = |line: &str| {
        let time = serde_json::from_str::<Value>(line).unwrap()["time"].as_str().unwrap().to_owned();
        line.replace(&time, "TIME")
    };
    file.lines().map(timeless).collect()
}

/// Without the times, which have to have docker's length: one before each piece of a line.
fn timeless(output: &Output) -> (String, String) {
    const LENGTH: usize = "2026-01-02T03:04:05.123456789".len();
    let each = |text: &str| {
        let mut parts: Vec<&str> = text.split("Z ").collect();
        let last = parts.pop();
        let is_time = |time: &str| time.bytes().all(|byte| byte.is_ascii_digit() || b"-T:.".contains(&byte));
        let without = parts.into_iter().map(|part| {
            let time = part.len().checked_sub(LENGTH).filter(|at| is_time(&part[*at..]));
            time.map_or_else(|| format!("{part}Z "), |at| part[..at].to_owned())
        });
        without.collect::<String>() + last.unwrap_or_default()
    };
    (each(&output.stdout), each(&output.stderr))
}

#[test]
fn a_log_is_dockers_to_the_byte_and_so_is_what_is_shown_of_it() {
    if let Some(obstacle) = Docker::obstacle() {
        skip!("{obstacle}");
    }
    let docker = Docker::start();
    let shim = Shim::in_memory();
    let maker = ImageMaker::busybox().named("made:latest").layer("program", |folder| {
        let path = folder.join("program");
        std::fs::write(&path, PROGRAM).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    });
    let archive = maker.docker_archive(&docker.world().folder().join("made.tar"));
    docker.cli(&["load", "--input", "/run/world/made.tar"]).expect_ok();
    shim.load(&archive);

    let (theirs, ours) = (docker.cli(&RUN).expect_ok(), shim.cli(&RUN).expect_ok());
    assert_eq!((theirs.stdout, theirs.stderr), (ours.stdout, ours.stderr), "what is attached sees the same");

    let path = docker.cli(&["inspect", "--format", "{{.LogPath}}", "box"]).expect_ok().stdout;
    let theirs = docker.world().call(&["cat", path.trim()]).output().expect_ok().stdout;
    let path = shim.cli(&["inspect", "--format", "{{.LogPath}}", "box"]).expect_ok().stdout;
    let ours = wait_for("its log", || std::fs::read_to_string(path.trim()).ok());
    assert_eq!(lines(&theirs), lines(&ours));

    for words in [
        &["logs", "box"][..],
        &["logs", "--tail", "3", "box"],
        &["logs", "--tail", "all", "-f", "box"],
        &["logs", "-t", "--details", "box"],
        &["logs", "--since", "1h", "--until", "0s", "box"],
        &["logs", "--until", "1h", "box"],
        &["logs", "nothing"],
        &["attach", "box"],
        &["exec", "nothing", "true"],
    ] {
        let (theirs, ours) = (docker.cli(words), shim.cli(words));
        assert_eq!(theirs.code(), ours.code(), "{theirs}\n{ours}");
        if theirs.code() == 0 {
            // Too long to be shown.
            assert!(timeless(&theirs) == timeless(&ours), "{words:?}");
            let has_times = timeless(&ours).0.len() < ours.stdout.len();
            assert_eq!(has_times, words.contains(&"-t"), "{words:?}");
        }
    }
}
