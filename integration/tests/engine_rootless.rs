//! Podman of an ordinary user with this runtime: no root on the host, no cgroup of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::engine::workloads::POLITE;
use integration::engine::{Client, RootlessPodman, workloads};
use integration::{Flavour, flavour, known_gap};

/// Leaves the test as skipped where there is no Podman; else one of an ordinary user, in a world of its own.
macro_rules! podman {
    () => {{
        if let Some(obstacle) = RootlessPodman::obstacle() {
            integration::skip!("{obstacle}");
        }
        RootlessPodman::start()
    }};
}

#[test]
fn a_user_is_root_inside_and_nobody_outside() {
    let podman = podman!();
    let map = podman.in_container(&[], "id -u; cat /proc/self/uid_map");
    let words: Vec<&str> = map.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "1777", "1", "1", "700000", "65536"]);
    // Root inside is then a stranger who cannot pass the user's folders; runc 1.1.5 is stopped by that.
    if flavour() != Flavour::Runc {
        let script = "id -u; touch /tmp/x; stat -c %u /tmp/x";
        assert_eq!(podman.in_container(&["--userns", "keep-id"], script), "1777\n1777");
    }
    // What it writes into a folder of the user's is the user's, and another's is out of reach.
    podman.world().sh("install -d -o tester /run/mine; install -d -m 700 /run/roots").output().expect_ok();
    let options = ["--volume", "/run/mine:/mine"];
    podman.in_container(&options, "touch /mine/file; touch /mine/others; chown 5 /mine/others");
    let owners = podman.world().sh("stat -c %u /run/mine/file /run/mine/others").output().expect_ok();
    owners.expect_stdout("1777\n700004\n");
    podman.sh(&["--volume", "/run:/all"], "touch /all/roots/x").expect_fail();
    // The host's network, which it may use and not change.
    let host = podman.in_container(&["--network", "host"], "ip link set lo down 2>/dev/null || echo refused");
    assert_eq!(host, "refused");
}

#[test]
fn the_usual_commands_work() {
    let podman = podman!();
    podman.sh(&[], "exit 7").expect_code(7);
    let missing = podman.cli(&["run", "--rm", "box", "no-such-program"]).expect_code(127);
    missing.expect_stderr("executable file not found in $PATH");
    let name = podman.detached(&[], POLITE);
    podman.wait_logs(&name, "begun");
    let exec = podman.cli(&["exec", &name, "sh", "-c", "id -u; hostname >/tmp/x; exit 4"]);
    exec.expect_code(4).expect_stdout("0\n");
    podman.cli(&["top", &name]).expect_ok();
    podman.cli(&["stop", &name]).expect_ok();
    assert_eq!(podman.inspect(&name, ".State.ExitCode"), "3");
    podman.cli(&["logs", &name]).expect_ok().expect_stdout("begun\nterm\n");
    podman.cli(&["start", &name]).expect_ok();
    podman.cli(&["kill", &name]).expect_ok();
    podman.cli(&["wait", &name]).expect_ok().expect_stdout("137\n");
    podman.cli(&["rm", &name]).expect_ok();
    podman.expect_empty();
}

#[test]
fn a_limit_that_cannot_be_set_is_an_error() {
    // No cgroup is the user's to write: what was asked for must not be lost without a word.
    known_gap!(Crun, "1.8.1 runs the program without its limit");
    let podman = podman!();
    let limited = podman.sh(&["--memory", "64m"], "true").expect_fail();
    if flavour() == Flavour::Ours {
        limited.expect_stderr("needs a cgroup").expect_stderr("OCI permission denied");
    }
}

#[test]
fn an_image_is_built_by_running_its_steps() {
    workloads::build(&podman!());
}

#[test]
fn a_terminal_is_given_resized_left_and_taken_up_again() {
    workloads::terminals(&podman!());
}

#[test]
fn a_further_program_has_a_terminal() {
    workloads::exec_on_a_terminal(&podman!());
}
