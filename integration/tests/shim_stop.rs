//! Containers that run: stopped, killed, paused, waited for, looked at from outside.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::time::{Duration, Instant};

use integration::{Shim, is_root, requires, wait_for};

/// Ends at SIGTERM with 7; tells when it is ready.
const HEEDS: &str = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done";
/// Does not care.
const IGNORES: &str = "trap '' TERM; echo ready; while :; do sleep 0.1; done";

fn status(shim: &Shim, name: &str) -> String {
    shim.stdout(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name]).trim_end().to_owned()
}

/// A container that has said that it is ready.
fn ready(shim: &Shim, words: &[&str], script: &str) {
    let name = words[1];
    shim.detached(&[words, &["busybox", "sh", "-c", script]].concat());
    wait_for("the container to be ready", || {
        shim.cli(&["logs", name]).stdout.contains("ready").then_some(())
    });
}

#[test]
fn stop_asks_and_after_a_while_kills() {
    requires!(is_root(), "containers of root");
    let shim = Shim::with_busybox();
    ready(&shim, &["--name", "heeds"], HEEDS);
    ready(&shim, &["--name", "ignores", "--stop-timeout", "1"], IGNORES);
    // At once, and in the order of the words.
    assert_eq!(shim.stdout(&["stop", "heeds", "ignores"]), "heeds\nignores\n");
    assert_eq!((status(&shim, "heeds"), status(&shim, "ignores")), ("exited 7".into(), "exited 137".into()));
    // One that has ended is fine; one that is not there is told, and the others are stopped all the same.
    let output = shim.cli(&["stop", "nothing", "heeds"]).expect_code(1).expect_stdout("heeds\n");
    assert_eq!(output.stderr, "No such container: nothing\n");
    shim.cli(&["stop", "-s", "FOO", "heeds"]).expect_code(1).expect_stderr("invalid signal: FOO\n");
    let wrong = "invalid argument \"x\" for \"-t, --timeout\" flag: parsing \"x\": invalid syntax";
    shim.cli(&["stop", "-t", "x", "heeds"]).expect_code(125).expect_stderr(wrong);
}

#[test]
fn stop_takes_the_containers_signal_or_ones_own_and_waits_as_long_as_it_is_told() {
    requires!(is_root(), "containers of root");
    let shim = Shim::with_busybox();
    let script = "trap 'exit 8' USR1; trap 'exit 9' HUP; echo ready; while :; do sleep 0.1; done";
    ready(&shim, &["--name", "own", "--stop-signal", "SIGUSR1"], script);
    shim.stdout(&["stop", "own"]);
    assert_eq!(status(&shim, "own"), "exited 8");
    ready(&shim, &["--name", "other", "--stop-signal", "SIGUSR1"], script);
    shim.stdout(&["container", "stop", "--signal=HUP", "--time", "30", "other"]);
    assert_eq!(status(&shim, "other"), "exited 9");
    ready(&shim, &["--name", "ignores"], IGNORES);
    let begun = Instant::now();
    shim.stdout(&["stop", "--timeout=0", "ignores"]);
    // A lower bound of nothing: what matters is that it did not wait for the ten seconds of before.
    assert!(begun.elapsed() < Duration::from_secs(9) || status(&shim, "ignores") == "exited 137");
    assert_eq!(status(&shim, "ignores"), "exited 137");
}

#[test]
fn what_was_stopped_is_not_started_again_by_its_policy() {
    requires!(is_root(), "containers of root");
    let shim = Shim::with_busybox();
    ready(&shim, &["--name", "always", "--restart", "always"], HEEDS);
    shim.stdout(&["stop", "always"]);
    assert_eq!(status(&shim, "always"), "exited 7");
    // One that waits to be started again has no process, and is stopped all the same.
    shim.detached(&["--name", "fails", "--restart", "always", "busybox", "false"]);
    wait_for("a restart that takes a while", || {
        let count = shim.stdout(&["inspect", "-f", "{{.RestartCount}}", "fails"]);
        (count.trim_end().parse::<u32>().unwrap() > 3).then_some(())
    });
    assert_eq!(shim.stdout(&["stop", "fails"]), "fails\n");
    assert_eq!(status(&shim, "fails"), "exited 1");
}

#[test]
fn kill_sends_what_it_is_told_and_ends_it_by_itself() {
    requires!(is_root(), "containers of root");
    let shim = Shim::with_busybox();
    let script = "trap 'echo again' USR1; echo ready; while :; do sleep 0.1; done";
    ready(&shim, &["--name", "box"], script);
    assert_eq!(shim.stdout(&["kill", "-s", "USR1", "box"]), "box\n");
    wait_for("the signal's answer", || shim.cli(&["logs", "box"]).stdout.contains("again").then_some(()));
    assert_eq!(status(&shim, "box"), "running 0");
    assert_eq!(shim.stdout(&["kill", "box"]), "box\n");
    assert_eq!(status(&shim, "box"), "exited 137");
    let id = shim.stdout(&["inspect", "-f", "{{.Id}}", "box"]);
    let told = format!("cannot kill container: box: container {} is not running\n", id.trim_end());
    assert_eq!(shim.cli(&["kill", "box"]).expect_code(1).stderr, told);
    shim.cli(&["kill", "-s", "0", "box"]).expect_code(1).expect_stderr("invalid signal: 0\n");
}

#[test]
fn wait_tells_the_exit_status_when_it_comes() {
    requires!(is_root(), "containers of root");
    let shim = Shim::with_busybox();
    shim.detached(&["--name", "soon", "--rm", "-i", "busybox", "sh", "-c", "sleep 1; exit 5"]);
    let made = shim.stdout(&["create", "--name", "never", "busybox"]);
    assert!(!made.is_empty());
    // Of one that goes with its end too.
    assert_eq!(shim.stdout(&["wait", "soon", "never"]), "5\n0\n");
    shim.cli(&["wait", "soon"]).expect_code(1).expect_stderr("No such container: soon\n");
}

#[test]
fn what_stands_still_goes_on_or_ends() {
    requires!(is_root(), "containers of root");
    let shim = Shim::with_busybox();
    ready(&shim, &["--name", "box"], HEEDS);
    assert_eq!(shim.stdout(&["pause", "box"]), "box\n");
    assert_eq!(status(&shim, "box"), "paused 0");
    assert!(shim.stdout(&["ps", "--format", "{{.Status}}"]).ends_with(" (Paused)\n"));
    shim.cli(&["pause", "box"]).expect_code(1).expect_stderr("is already paused\n");
    assert_eq!(shim.stdout(&["unpause", "box"]), "box\n");
    shim.cli(&["unpause", "box"]).expect_code(1).expect_stderr("is not paused\n");
    shim.stdout(&["container", "pause", "box"]);
    assert_eq!(shim.stdout(&["stop", "box"]), "box\n");
    assert_eq!(status(&shim, "box"), "exited 7");
    shim.cli(&["pause", "box"]).expect_code(1).expect_stderr("is not running\n");
    // One that does not heed the signal, and one that is sent it and does not end, go on.
    shim.detached(&["--name", "deaf", "busybox", "sleep", "600"]);
    shim.stdout(&["pause", "deaf"]);
    assert_eq!(shim.stdout(&["kill", "-s", "TERM", "deaf"]), "deaf\n");
    assert_eq!(status(&shim, "deaf"), "running 0");
    shim.stdout(&["pause", "deaf"]);
    assert_eq!(shim.stdout(&["stop", "--time", "1", "deaf"]), "deaf\n");
    assert_eq!(status(&shim, "deaf"), "exited 137");
}

#[test]
fn restart_stops_and_starts_and_takes_nothing_away() {
    requires!(is_root(), "containers of root");
    let shim = Shim::with_busybox();
    ready(&shim, &["--name", "box", "--rm"], HEEDS);
    let field = |name: &str, field: &str| shim.stdout(&["inspect", "-f", field, name]).trim_end().to_owned();
    let pid = field("box", "{{.State.Pid}}");
    assert_eq!(shim.stdout(&["restart", "--time", "20", "box"]), "box\n");
    assert_ne!(field("box", "{{.State.Pid}}"), pid);
    assert_eq!(field("box", "{{.State.Status}} {{.HostConfig.AutoRemove}}"), "running true");
    // Its next end is one again.
    shim.stdout(&["kill", "box"]);
    shim.cli(&["inspect", "box"]).expect_code(1);
    // One that does not run is started, and what cannot be started is told.
    shim.stdout(&["create", "--name", "made", "busybox", "sleep", "1000"]);
    assert_eq!(shim.stdout(&["container", "restart", "made"]), "made\n");
    assert_eq!(status(&shim, "made"), "running 0");
    shim.stdout(&["create", "--name", "cannot", "busybox", "/nothing"]);
    shim.cli(&["restart", "cannot", "nothing"]).expect_code(1).expect_stderr("No such container: nothing\n");
}

#[test]
fn processes_are_shown_by_the_hosts_ps() {
    requires!(is_root(), "containers of root");
    let shim = Shim::with_busybox();
    ready(&shim, &["--name", "box"], "sleep 1234 & echo ready; wait");
    let listed = shim.stdout(&["top", "box"]);
    assert!(listed.starts_with("UID                 PID                 PPID "), "{listed}");
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(listed.contains("sleep 1234"), "{listed}");
    let listed = shim.stdout(&["container", "top", "box", "-o", "pid,comm"]);
    let commands: Vec<&str> =
        listed.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(commands, ["sh", "sleep"]);
    shim.cli(&["top", "box", "-o", "comm"])
        .expect_code(1)
        .expect_stderr("couldn't find PID field in ps output\n");
    shim.stdout(&["kill", "box"]);
    shim.cli(&["top", "box"]).expect_code(1).expect_stderr("is not running\n");
    assert_eq!(shim.stdout(&["port", "box"]), "");
    shim.cli(&["port", "box", "80"])
        .expect_code(1)
        .expect_stderr("no public port '80/tcp' published for box\n");
}
