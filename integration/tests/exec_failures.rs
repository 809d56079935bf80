//! A program that cannot be executed: the caller hears of it, with the phrases engines search for, and
//! nothing stays behind. (docs of the callers: Docker turns the phrases into 126 and 127.)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;

use integration::{Bundle, Container, Flavour, flavour, json, known_gap};

/// `create` fails with the phrase and leaves nothing; so does `run`.
fn refused(bundle: Bundle, phrases: &[&str]) {
    let container = bundle.container();
    for command in ["create", "run"] {
        let output = container.birth(command, &[]).output().expect_code(1);
        if flavour() != Flavour::Crun {
            let found = phrases.iter().any(|phrase| output.stderr.contains(phrase));
            assert!(found, "{command}: none of {phrases:?}: {output}");
        }
        assert_eq!(output.stdout, "", "{command}");
        gone(&container);
    }
}

fn gone(container: &Container) {
    container.state_output().expect_code(1).expect_runc_phrase("does not exist");
}

#[test]
fn a_name_that_is_not_in_path_is_refused() {
    refused(Bundle::new().args(&["nosuch"]), &["executable file not found in $PATH"]);
}

#[test]
fn a_name_is_not_found_without_path() {
    let bundle = Bundle::new().args(&["sh", "-c", "true"]).set("/process/env", json!(["A=1"]));
    known_gap!(Crun, "1.8.1 searches a path of its own then");
    refused(bundle, &["executable file not found in $PATH"]);
}

#[test]
fn an_absolute_path_that_is_missing_is_refused() {
    refused(Bundle::new().args(&["/no/such"]), &["no such file or directory"]);
}

#[test]
fn a_path_below_a_file_is_refused() {
    refused(Bundle::new().args(&["/etc/hosts/x"]), &["not a directory"]);
}

#[test]
fn a_file_without_the_execute_bit_is_refused() {
    refused(Bundle::new().args(&["/etc/hosts"]), &["permission denied"]);
}

#[test]
fn a_file_that_this_user_may_not_execute_is_refused() {
    let bundle = Bundle::new().file("/opt/tool", 0o700, b"#!/bin/sh\n").args(&["/opt/tool"]);
    known_gap!(Runc, "1.1.5 looks as root, and fails later, at execve");
    refused(bundle.set("/process/user", json!({"uid": 1000, "gid": 1000})), &["permission denied"]);
}

#[test]
fn a_folder_is_refused() {
    refused(Bundle::new().args(&["/etc"]), &["is a directory", "permission denied"]);
}

#[test]
fn no_arguments_at_all_are_refused() {
    for args in [json!([]), json!(null)] {
        let container = Bundle::new().set("/process/args", args).container();
        container.create().expect_fail();
        gone(&container);
    }
}

#[test]
fn a_process_that_is_missing_is_refused() {
    let container = Bundle::new().remove("/process").container();
    known_gap!(Crun, "1.8.1 creates the container, as the specification allows until start");
    container.create().expect_fail();
    gone(&container);
}

#[test]
fn a_nul_byte_in_an_argument_is_refused() {
    known_gap!(Runc, Crun, "these versions cut the argument short, silently");
    for pointer in ["/process/args", "/process/env"] {
        let container = Bundle::new().push(pointer, json!("A=a\u{0}b")).container();
        container.create().expect_code(1).expect_stderr(&pointer[1..].replace('/', "."));
        gone(&container);
    }
}

#[test]
fn a_variable_without_equals_sign_is_refused() {
    known_gap!(Crun, "1.8.1 passes it on as it is");
    let container = Bundle::new().push("/process/env", json!("NOTHING")).container();
    container.create().expect_code(1);
    gone(&container);
}

#[test]
fn a_file_that_is_no_program_fails_at_start() {
    known_gap!(Runc, "1.1.5 says so in the container's own stderr, and start succeeds");
    known_gap!(Crun, "start of 1.8.1 succeeds, and the reason is lost");
    let bundle = Bundle::new().file("/opt/tool", 0o755, b"neither ELF nor script\n").args(&["/opt/tool"]);
    let container = bundle.container();
    container.create().expect_ok();
    container.start().expect_code(1).expect_stderr("exec format error");
    container.wait_status("stopped");
    container.delete().expect_ok();
}

#[test]
fn a_file_that_is_no_program_fails_run() {
    let bundle = Bundle::new().file("/opt/tool", 0o755, b"neither ELF nor script\n").args(&["/opt/tool"]);
    let container = bundle.container();
    container.run().expect_code(1).expect_runc_phrase("exec format error");
    gone(&container);
}

#[test]
fn a_script_whose_interpreter_is_missing_fails_run() {
    let bundle = Bundle::new().file("/opt/tool", 0o755, b"#!/no/interpreter\n").args(&["/opt/tool"]);
    let container = bundle.container();
    container.run().expect_code(1).expect_runc_phrase("no such file or directory");
    gone(&container);
}

#[test]
fn the_failure_is_one_line_and_one_entry_in_the_log() {
    known_gap!(Runc, "1.1.5 logs the command's failure twice");
    known_gap!(Crun, "words and format of its own");
    let container = Bundle::new().args(&["nosuch"]).container();
    let log = container.bundle().scratch_file("log");
    let container = container.with_globals(&["--log", &log, "--log-format", "json"]);
    let output = container.birth("create", &[]).output().expect_code(1);
    assert!(output.stderr.trim_end().lines().count() <= 1, "{output}");
    let text = fs::read_to_string(&log).unwrap();
    let entries: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries.len(), 1, "{text}");
    assert_eq!(entries[0]["level"], "error");
    let message = entries[0]["msg"].as_str().unwrap();
    assert!(message.contains("exec: \"nosuch\": executable file not found in $PATH"), "{message}");
}
