//! The life of a container: run, create, start, state, kill, delete, list; statuses, exit codes, and the
//! phrases that callers look for. (runtime-spec, runtime.md: "Lifecycle", "Operations".)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;

use integration::{Bundle, Flavour, Value, created, flavour, json, known_gap};

#[test]
fn run_gives_the_status_of_a_program_that_succeeds() {
    Bundle::new().args(&["/bin/true"]).run().expect_ok().expect_no_stderr();
}

#[test]
fn run_gives_the_status_of_a_program_that_fails() {
    Bundle::new().sh("exit 7").run().expect_code(7);
}

#[test]
fn run_gives_128_and_the_number_of_the_signal_that_ended_the_program() {
    // The first process of a pid namespace ignores signals it sends to itself: the host has to do it.
    let container = Bundle::new().args(&["sleep", "600"]).container();
    let mut running = container.spawn_run();
    container.wait_running(&mut running);
    container.kill("KILL").expect_ok();
    running.wait().expect_code(128 + 9);
}

#[test]
fn run_passes_output_and_errors_through() {
    let output = Bundle::new().sh("echo out; echo err >&2").run().expect_ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn run_passes_input_through() {
    let container = Bundle::new().args(&["cat"]).container();
    let output = container.birth("run", &[]).stdin_bytes("some input").output().expect_ok();
    assert_eq!(output.stdout, "some input");
}

#[test]
fn run_removes_the_container_at_the_end() {
    let container = Bundle::new().container();
    container.run().expect_ok();
    container.state_output().expect_code(1).expect_runc_phrase("does not exist");
}

#[test]
fn the_statuses_follow_create_start_kill_and_delete() {
    let container = created(Bundle::new().sleeping());
    assert_eq!(container.status(), "created");
    container.start().expect_ok().expect_no_stderr();
    assert_eq!(container.status(), "running");
    container.kill("KILL").expect_ok().expect_no_stderr();
    container.wait_status("stopped");
    container.delete().expect_ok().expect_no_stderr();
    container.state_output().expect_code(1).expect_runc_phrase("does not exist");
}

#[test]
fn the_program_does_not_run_before_start() {
    let container = created(Bundle::new().sh("echo started"));
    assert_eq!(container.stdout(), "");
    container.start().expect_ok();
    container.wait_status("stopped");
    assert_eq!(container.stdout(), "started\n");
}

#[test]
fn state_has_what_the_specification_asks_for() {
    let container = created(Bundle::new().sleeping().set("/annotations/org.example.key", json!("value")));
    let state = container.state();
    assert_eq!(state["id"], container.id());
    assert_eq!(state["status"], "created");
    assert_eq!(state["bundle"], container.bundle().path().to_str().unwrap());
    assert_eq!(state["annotations"]["org.example.key"], "value");
    let version = state["ociVersion"].as_str().expect("ociVersion is text");
    assert_eq!(version.split('.').next(), Some("1"), "{state}");
    let pid = container.init();
    assert!(pid.is_alive());
    assert_ne!(pid.namespace("pid"), integration::Process::this().namespace("pid"));
}

#[test]
fn state_has_the_keys_that_callers_of_runc_read() {
    let container = created(Bundle::new().sleeping());
    known_gap!(Crun, "1.8.1 gives rootfs as the configuration has it, and an owner in state");
    let state = container.state();
    assert_eq!(state["rootfs"], container.bundle().rootfs().to_str().unwrap());
    assert_eq!(state["owner"], "");
    let time = state["created"].as_str().expect("created is text");
    // RFC 3339 with a fraction, in UTC: 2026-01-02T03:04:05.123456789Z.
    assert!(time.len() > 20 && time.as_bytes()[10] == b'T' && time.ends_with('Z'), "{time}");
}

#[test]
fn state_of_a_stopped_container_has_no_pid() {
    let container = created(Bundle::new());
    container.start().expect_ok();
    container.wait_status("stopped");
    assert_eq!(container.state()["pid"], 0);
}

#[test]
fn the_pid_file_has_the_pid_and_no_newline() {
    let container = Bundle::new().sleeping().container();
    let file = container.bundle().scratch_file("pid");
    container.create_with(&["--pid-file", &file]).expect_ok();
    assert_eq!(fs::read_to_string(file).unwrap(), container.init_pid().to_string());
}

#[test]
fn an_id_in_use_is_refused() {
    let container = created(Bundle::new().sleeping());
    let same = container.sibling().with_id(container.id());
    same.create().expect_code(1).expect_runc_phrase("container with given ID already exists");
    assert_eq!(container.status(), "created");
}

#[test]
fn every_command_on_a_missing_container_says_so() {
    let container = Bundle::new().container();
    for output in [container.state_output(), container.start(), container.kill("TERM"), container.delete()] {
        output.expect_code(1).expect_runc_phrase("does not exist");
    }
}

#[test]
fn a_missing_container_is_deleted_by_force() {
    Bundle::new().container().delete_force().expect_ok();
}

#[test]
fn ids_outside_the_grammar_are_refused() {
    known_gap!(
        Crun,
        "1.8.1 accepts blanks and letters of any alphabet, and leaves the root's parent open to `..`"
    );
    let container = Bundle::new().container();
    for id in ["a/b", "../up", ".", "..", "a b", "é", ""] {
        let refused = container.sibling().with_id(id);
        refused.create().expect_fail();
        let left: Vec<_> = fs::read_dir(container.state_root()).into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "{id:?} left {left:?}");
    }
}

#[test]
fn ids_of_the_whole_grammar_are_accepted() {
    // A mark in the name: the id names the cgroup too, where nothing else keeps it unique.
    let id = format!("{}{}_A+b.c-9", integration::mark(), std::process::id());
    let container = Bundle::new().container().with_id(&id);
    container.create().expect_ok();
    assert_eq!(container.state()["id"], id);
}

#[test]
fn a_container_that_is_not_stopped_is_deleted_only_by_force() {
    let container = created(Bundle::new().sleeping());
    container.start().expect_ok();
    let pid = container.init();
    container.delete().expect_fail().expect_runc_phrase("not stopped");
    assert_eq!(container.status(), "running");
    container.delete_force().expect_ok();
    assert!(!pid.is_alive());
    container.state_output().expect_code(1).expect_runc_phrase("does not exist");
}

#[test]
fn a_running_container_is_not_started_again() {
    let container = created(Bundle::new().sleeping());
    container.start().expect_ok();
    container.start().expect_fail();
    assert_eq!(container.status(), "running");
}

#[test]
fn signals_are_given_by_name_or_number() {
    // Lower case is runc's too; crun 1.8.1 ignores it, and succeeds.
    let lower: &[&str] = if flavour() == Flavour::Crun { &[] } else { &["term", "sigterm"] };
    for signal in ["TERM", "SIGTERM", "15"].iter().chain(lower) {
        let container = Bundle::new()
            .sh("trap 'echo got; exit 0' TERM; echo ready; while :; do sleep 1 & wait $!; done")
            .container();
        container.run_detached().expect_ok();
        container.wait_stdout("ready");
        container.kill(signal).expect_ok();
        container.wait_stdout("got");
    }
}

#[test]
fn an_unknown_signal_is_refused() {
    let container = created(Bundle::new().sleeping());
    known_gap!(Crun, "1.8.1 ignores a signal it does not know, and succeeds");
    container.kill("NOSUCH").expect_code(1).expect_runc_phrase("unknown signal \"NOSUCH\"");
}

#[test]
fn a_stopped_container_gets_no_signal() {
    let container = created(Bundle::new());
    container.start().expect_ok();
    container.wait_status("stopped");
    container.kill("TERM").expect_code(1).expect_runc_phrase("container not running");
}

#[test]
fn list_as_table_and_as_ids() {
    let container = created(Bundle::new().sleeping());
    let second = container.sibling();
    let third = Bundle::new().sleeping().container().beside(&container);
    third.run_detached().expect_ok();
    let table = container.call("list").output().expect_ok().stdout;
    let header: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    known_gap!(Crun, "its table is headed NAME and BUNDLE PATH");
    assert_eq!(header, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let row = table.lines().find(|line| line.starts_with(container.id())).expect("a row");
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words[1..3], [container.init_pid().to_string().as_str(), "created"]);
    assert_eq!(words[3], container.bundle().path().to_str().unwrap());
    assert_eq!(words[5], "root");

    let mut ids = [container.id(), third.id()];
    ids.sort_unstable();
    for flag in ["-q", "--quiet"] {
        let quiet = container.call("list").args([flag]).output().expect_ok().stdout;
        let mut listed: Vec<&str> = quiet.lines().collect();
        listed.sort_unstable();
        assert_eq!(listed, ids);
    }
    assert!(!table.contains(second.id()));
}

#[test]
fn list_as_json() {
    let container = created(Bundle::new().sleeping());
    known_gap!(Crun, "1.8.1 lists neither ociVersion nor rootfs");
    for flags in [&["--format", "json"][..], &["-f", "json"], &["--format=json"]] {
        let list = container.call("list").args(flags).output().expect_ok().json();
        assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
        let state = container.state();
        for key in ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created"] {
            assert_eq!(list[0][key], state[key], "{key}");
        }
        assert_eq!(list[0]["owner"], "root");
    }
}

#[test]
fn list_of_nothing() {
    let container = Bundle::new().container();
    known_gap!(Crun, "prints an empty list for nothing");
    let list = container.call("list").args(["--format", "json"]).output().expect_ok();
    assert_eq!(list.json(), Value::Null);
    let table = container.call("list").output().expect_ok();
    assert_eq!(table.stdout.lines().count(), 1, "{table}");
    assert_eq!(container.call("list").args(["-q"]).output().expect_ok().stdout, "");
}

#[test]
fn a_bundle_without_configuration_is_refused() {
    let container = Bundle::new().container_without_config();
    container.create().expect_code(1).expect_runc_phrase("config.json");
}
