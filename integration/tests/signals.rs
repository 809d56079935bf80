//! Signals to a foreground `run`, to a `create` at work, and what the program finds of the caller's own
//! signal settings. (signal(7), runtime-spec runtime.md "Kill".)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;

use integration::{Bundle, Call, Container, json, known_gap, leaks, runtime_under_test, wait_for};
use rustix::process::Signal;

/// A program that names each signal it gets, until it gets SIGQUIT.
const TELLER: &str = "for s in HUP INT TERM USR1 USR2 ALRM CONT; do trap \"echo got $s\" $s; done; \
                      trap 'echo got QUIT; exit 5' QUIT; echo ready; while :; do sleep 0.05; done";

/// A program that every signal ends, unless it is process 1 of a pid namespace.
const ENDED_BY_ANY: &str = "echo ready; exec sleep 1000";

#[test]
fn run_forwards_signals_to_the_program() {
    let container = Bundle::new().sh(TELLER).container();
    let folder = container.bundle().scratch().to_owned();
    let mut running = container.birth("run", &[]).output_in(&folder).spawn();
    let printed = || fs::read_to_string(folder.join("stdout")).unwrap();
    wait_for("ready", || {
        running.expect_alive();
        printed().contains("ready").then_some(())
    });
    for (signal, name) in [
        (Signal::HUP, "HUP"),
        (Signal::INT, "INT"),
        (Signal::TERM, "TERM"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::ALARM, "ALRM"),
        (Signal::CONT, "CONT"),
    ] {
        running.signal(signal);
        wait_for(name, || {
            running.expect_alive();
            printed().contains(&format!("got {name}\n")).then_some(())
        });
    }
    running.signal(Signal::QUIT);
    let output = running.wait().expect_code(5);
    assert!(output.stderr.is_empty(), "{output}");
    container.state_output().expect_code(1);
}

#[test]
fn a_signal_that_ends_the_program_is_the_status_of_run() {
    // Not process 1 of its own pid namespace, which would be spared.
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129), (Signal::USR1, 138)] {
        let container = Bundle::new().sh(ENDED_BY_ANY).remove_namespace("pid").container();
        let folder = container.bundle().scratch().to_owned();
        let running = container.birth("run", &[]).output_in(&folder).spawn();
        wait_for("ready", || {
            fs::read_to_string(folder.join("stdout")).unwrap().contains("ready").then_some(())
        });
        running.signal(signal);
        running.wait().expect_code(code);
        container.state_output().expect_code(1);
    }
}

#[test]
fn kill_of_each_kind_gives_the_foreground_run_its_status() {
    for (signal, code) in [("KILL", 137), ("9", 137), ("SEGV", 139), ("ABRT", 134)] {
        let container = Bundle::new().args(&["sleep", "1000"]).remove_namespace("pid").container();
        let mut running = container.spawn_run();
        container.wait_running(&mut running);
        container.kill(signal).expect_ok();
        running.wait().expect_code(code);
    }
}

/// `run` of a container as the end of a bash script that arranges the signals first.
fn run_after(container: &Container, script: &str) -> Call {
    container.birth_by(&["bash", "-c", script, "bash"], "run", &[])
}

#[test]
fn the_program_starts_with_clean_signals() {
    // The caller ignores some and (by env(1)) blocks others; neither is the container's business.
    let container = Bundle::new().args(&["grep", "-E", "Sig(Blk|Ign|Cgt)", "/proc/self/status"]).container();
    known_gap!(Crun, "1.8.1 hands on what the caller ignores");
    known_gap!(Runc, "1.1.5 hands on what the caller ignores");
    let script = "trap '' HUP INT TERM PIPE USR1 CHLD RTMIN; exec env --block-signal=USR2,TERM \"$@\"";
    let output = run_after(&container, script).output().expect_ok();
    let zero = "0000000000000000";
    assert_eq!(output.stdout, format!("SigBlk:\t{zero}\nSigIgn:\t{zero}\nSigCgt:\t{zero}\n"));
}

#[test]
fn a_caller_that_ignores_its_children_gets_the_status_all_the_same() {
    // With SIGCHLD ignored the kernel reaps children itself (wait(2), NOTES).
    let container = Bundle::new().sh("exit 7").container();
    known_gap!(Crun, "1.8.1 cannot wait for its child then");
    run_after(&container, "trap '' CHLD; exec \"$@\"").output().expect_code(7);
    container.state_output().expect_code(1);
}

/// One hook of a shell script.
fn hook(script: &str) -> integration::Value {
    json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}])
}

#[test]
fn hooks_start_with_no_signal_blocked() {
    let bundle = Bundle::new();
    let told = bundle.scratch_file("told");
    let hook = hook(&format!("grep SigBlk /proc/self/status >>{told}"));
    let container = bundle
        .set("/hooks/createRuntime", hook.clone())
        .set("/hooks/poststart", hook.clone())
        .set("/hooks/poststop", hook)
        .container();
    container.run().expect_ok();
    assert_eq!(fs::read_to_string(told).unwrap(), "SigBlk:\t0000000000000000\n".repeat(3));
}

/// A container with a hook that says that it runs and waits for leave: both are files.
fn slow(kind: &str) -> (Container, String, String) {
    let bundle = Bundle::new().sleeping();
    let (entered, leave) = (bundle.scratch_file("entered"), bundle.scratch_file("leave"));
    let hook = hook(&format!("touch {entered}; until test -e {leave}; do sleep 0.05; done"));
    (bundle.set(&format!("/hooks/{kind}"), hook).container(), entered, leave)
}

/// Cgroups of the container, and processes that have its scratch folder in their command line (its hooks).
fn remains(container: &Container) -> Vec<String> {
    let scratch = container.bundle().scratch().to_str().unwrap();
    let of_it = |line: &String| {
        (line.starts_with("cgroup ") && line.contains(container.id()))
            || (line.starts_with("process ") && line.contains(scratch))
    };
    leaks::snapshot().into_iter().filter(of_it).collect()
}

#[test]
fn a_create_that_is_told_to_end_cleans_up() {
    known_gap!(Runc, "1.1.5 leaves its init behind");
    known_gap!(Crun, "1.8.1 leaves its init behind");
    for (kind, signal) in [
        ("createRuntime", Signal::TERM),
        ("createRuntime", Signal::INT),
        ("createContainer", Signal::TERM),
        ("createContainer", Signal::HUP),
    ] {
        let (container, entered, leave) = slow(kind);
        let folder = container.bundle().scratch().to_owned();
        let call = container.birth("create", &[]).output_in(&folder).spawn();
        wait_for("the hook", || fs::exists(&entered).unwrap().then_some(()));
        call.signal(signal);
        // The hook may be waited for, or be ended; either way it does not stay.
        fs::write(&leave, "").unwrap();
        call.wait().expect_fail().expect_stderr("interrupted");
        container.state_output().expect_code(1).expect_stderr("does not exist");
        wait_for(kind, || remains(&container).is_empty().then_some(()));
    }
}

#[test]
fn a_create_does_not_wait_for_its_hook_when_told_to_end() {
    known_gap!(Runc, "1.1.5 leaves its init behind");
    known_gap!(Crun, "1.8.1 leaves its init behind");
    for kind in ["createRuntime", "createContainer"] {
        let (container, entered, leave) = slow(kind);
        let folder = container.bundle().scratch().to_owned();
        let call = container.birth("create", &[]).output_in(&folder).spawn();
        wait_for("the hook", || fs::exists(&entered).unwrap().then_some(()));
        call.signal(Signal::TERM);
        let output = call.wait();
        fs::write(&leave, "").unwrap();
        output.expect_fail().expect_stderr("interrupted");
        container.state_output().expect_code(1).expect_stderr("does not exist");
        wait_for(kind, || remains(&container).is_empty().then_some(()));
    }
}

#[test]
fn delete_force_ends_a_create_at_work() {
    known_gap!(Runc, "1.1.5 has no state of it yet");
    known_gap!(Crun, "1.8.1 does not wait for the create");
    let (container, entered, leave) = slow("createContainer");
    let folder = container.bundle().scratch().to_owned();
    let call = container.birth("create", &[]).output_in(&folder).spawn();
    wait_for("the hook", || fs::exists(&entered).unwrap().then_some(()));
    // The hook goes on for as long as it is let: what ends it is the delete.
    container.delete_force().expect_ok();
    call.wait().expect_fail();
    fs::write(&leave, "").unwrap();
    container.state_output().expect_code(1).expect_stderr("does not exist");
    wait_for("nothing left", || remains(&container).is_empty().then_some(()));
}

#[test]
fn the_container_outlives_the_caller_of_create() {
    // PR_SET_PDEATHSIG of the caller's own (go-runc sets it on each call) is not the container's.
    known_gap!(Crun, "needs the harness's wrapper on a hybrid host");
    let container = Bundle::new().sleeping().container();
    let folder = container.bundle().scratch().to_owned();
    let call =
        Call::of("setpriv").args(["--pdeathsig", "KILL"]).args([runtime_under_test()]).args(["--root"]);
    let call = call.args([container.state_root()]).args(["create", "-b"]).args([container.bundle().path()]);
    call.args([container.id()]).output_in(&folder).output().expect_ok();
    assert_eq!(container.status(), "created");
    container.start().expect_ok();
    assert_eq!(container.status(), "running");
}
