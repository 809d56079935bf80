//! Output that is lost is a failure: engines act on what they read, and half an answer is none.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::{Bundle, Call, Container, Output, known_gap, running};

/// Each command that answers on stdout, of a running container.
fn commands(container: &Container) -> Vec<Vec<&str>> {
    let id = container.id();
    let mut commands = vec![
        vec!["state", id],
        vec!["list"],
        vec!["list", "--format", "json"],
        vec!["list", "--quiet"],
        vec!["ps", id],
        vec!["ps", "--format", "json", id],
        vec!["features"],
        vec!["--version"],
        vec!["--help"],
        vec!["kill", "--help"],
    ];
    if integration::uses_cgroup2() {
        commands.push(vec!["events", "--stats", id]);
    }
    commands
}

/// A call of a command whose standard streams the shell arranges by `redirections`.
fn redirected(container: &Container, command: &[&str], redirections: &str) -> Call {
    let script = format!("exec \"$@\" {redirections}");
    let runtime = integration::runtime_under_test().to_str().unwrap();
    let root = container.state_root().to_str().unwrap();
    Call::of("sh").args(["-c", &script, "sh", runtime]).args(["--root", root]).args(command)
}

#[track_caller]
fn expect_lost(output: Output, reason: &str) {
    let output = output.expect_code(1).expect_stderr(reason);
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
}

#[test]
fn a_stdout_that_is_full_is_an_error() {
    known_gap!(Crun, "does not look at the result of its writes");
    known_gap!(Runc, "does not look at the result of its writes everywhere");
    let container = running(Bundle::new());
    for command in commands(&container) {
        expect_lost(redirected(&container, &command, ">/dev/full").output(), "no space left on device");
    }
}

#[test]
fn a_stdout_that_is_closed_is_an_error() {
    known_gap!(Crun, "does not look at the result of its writes");
    known_gap!(Runc, "does not look at the result of its writes everywhere");
    let container = running(Bundle::new());
    for command in commands(&container) {
        expect_lost(redirected(&container, &command, ">&-").output(), "bad file descriptor");
    }
    // What has nothing to say is not concerned, with all three closed either.
    for command in
        [&["pause", container.id()][..], &["resume", container.id()], &["kill", container.id(), "KILL"]]
    {
        redirected(&container, command, "<&- >&- 2>&-").output().expect_ok();
    }
}

#[test]
fn a_stdout_that_nobody_reads_is_an_error() {
    known_gap!(Crun, "does not look at the result of its writes");
    known_gap!(Runc, "is killed by SIGPIPE");
    let container = running(Bundle::new());
    for command in commands(&container) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let call = redirected(&container, &command, ">&0 </dev/null").stdin_from(writer);
        expect_lost(call.output(), "broken pipe");
    }
}
