//! `hooks` that fail: what each kind's failure means for the container, and what the caller hears.
//! (runtime-spec 1.3.0 runtime.md "Lifecycle": steps 3, 4, 5, 7, 9 and 13.)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::path::{Path, PathBuf};

use integration::{Bundle, Container, Process, Value, json, known_gap, wait_for};

/// A container with notes as in `hooks.rs`: `$N` is a folder that hooks and program see. Every hook listed is
/// a kind and a script; poststop hooks always note themselves.
fn container(program: &str, hooks: &[(&str, &str)]) -> (Container, PathBuf) {
    let mut bundle = Bundle::new();
    let folder = bundle.scratch().join("notes");
    fs::create_dir(&folder).unwrap();
    bundle = bundle.bind(folder.to_str().unwrap(), "/notes", &["bind"]);
    for (kind, script) in hooks.iter().chain(&[("poststop", "echo poststop >>$N/log")]) {
        let at = if *kind == "startContainer" { "/notes" } else { folder.to_str().unwrap() };
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script.replace("$N", at)]});
        bundle = bundle.push(&format!("/hooks/{kind}"), hook);
    }
    (bundle.sh(program).container(), folder)
}

fn log(folder: &Path) -> Vec<String> {
    fs::read_to_string(folder.join("log")).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn gone(container: &Container) {
    container.state_output().expect_code(1).expect_runc_phrase("does not exist");
}

const FAILS: &str = "echo the reason >&2; exit 3";

#[test]
fn a_failed_hook_of_create_undoes_the_container() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let hooks = [(kind, "echo first >>$N/log"), (kind, FAILS), (kind, "echo third >>$N/log")];
        for command in ["create", "run"] {
            let (container, folder) = container("echo program >>/notes/log", &hooks);
            let output = container.birth(command, &[]).output().expect_fail().expect_stdout("");
            gone(&container);
            known_gap!(Runc, Crun, "words of their own, and no poststop hooks");
            let words = format!("hook {kind}[1] \"/bin/sh\": exit status 3: \"the reason\"");
            assert_eq!(output.stderr.trim_end().lines().count(), 1, "{output}");
            output.expect_code(1).expect_stderr(&words);
            assert_eq!(log(&folder), ["first", "poststop"], "{command} {kind}");
        }
    }
}

#[test]
fn a_failed_start_container_hook_stops_and_destroys_the_container() {
    known_gap!(Runc, Crun, "these versions leave the container, or lose the error");
    let hooks = [("startContainer", "echo first >>$N/log"), ("startContainer", FAILS)];
    let (container, folder) = container("echo program >>/notes/log", &hooks);
    container.create().expect_ok();
    let init = container.init();
    container.start().expect_code(1).expect_stderr("hook startContainer[1] \"/bin/sh\": exit status 3");
    assert!(!init.is_alive());
    gone(&container);
    assert_eq!(log(&folder), ["first", "poststop"]);
}

#[test]
fn a_failed_start_container_hook_of_run_is_an_error() {
    known_gap!(Runc, Crun, "these versions leave the container, or lose the error");
    let (container, folder) = container("echo program >>/notes/log", &[("startContainer", FAILS)]);
    container
        .run()
        .expect_code(1)
        .expect_stderr("hook startContainer[0] \"/bin/sh\": exit status 3: \"the reason\"");
    gone(&container);
    assert_eq!(log(&folder), ["poststop"]);
}

#[test]
fn a_failed_poststart_hook_stops_and_destroys_the_container() {
    known_gap!(
        Runc,
        Crun,
        "these versions leave the container, or only warn, as the specification had it up to 1.2"
    );
    let hooks =
        [("poststart", "echo first >>$N/log"), ("poststart", FAILS), ("poststart", "echo third >>$N/log")];
    let (container, folder) = self::container("while :; do sleep 1; done", &hooks);
    container.create().expect_ok();
    let init = container.init();
    container
        .start()
        .expect_code(1)
        .expect_stderr("hook poststart[1] \"/bin/sh\": exit status 3: \"the reason\"");
    assert!(!init.is_alive());
    gone(&container);
    assert_eq!(log(&folder), ["first", "poststop"]);
    for options in [&["--detach"][..], &[]] {
        let (container, folder) = self::container("while :; do sleep 1; done", &hooks);
        let output = container.birth("run", options).output_in(container.bundle().scratch()).output();
        output.expect_code(1).expect_stderr("hook poststart[1]");
        gone(&container);
        assert_eq!(log(&folder), ["first", "poststop"]);
    }
}

#[test]
fn a_failed_poststop_hook_is_a_warning() {
    known_gap!(Runc, Crun, "1.1.5 runs no poststop hook after a failed one, 1.8.1 is killed by SIGPIPE");
    let hooks = [("poststop", "echo first >>$N/log"), ("poststop", FAILS)];
    let (container, folder) = container("true", &hooks);
    let warnings = container.bundle().scratch_file("warnings");
    let container = container.with_globals(&["--log", &warnings]);
    container.create().expect_ok();
    container.start().expect_ok();
    container.wait_status("stopped");
    container.delete().expect_ok();
    gone(&container);
    assert_eq!(log(&folder), ["first", "poststop"]);
    let text = fs::read_to_string(warnings).unwrap();
    assert!(text.contains("warning") && text.contains("hook poststop[1]"), "{text}");
}

#[test]
fn a_failed_poststop_hook_changes_no_exit_status() {
    known_gap!(Runc, "1.1.5 runs no poststop hook after a failed one");
    let (container, folder) = container("exit 6", &[("poststop", FAILS)]);
    container.run().expect_code(6);
    gone(&container);
    assert_eq!(log(&folder), ["poststop"]);
}

#[test]
fn poststop_hooks_run_after_forced_deletion_too() {
    let (container, folder) = container("while :; do sleep 1; done", &[]);
    container.create().expect_ok();
    container.start().expect_ok();
    container.delete_force().expect_ok();
    assert_eq!(log(&folder), ["poststop"]);
    let (created, folder) = self::container("true", &[]);
    created.create().expect_ok();
    created.delete_force().expect_ok();
    assert_eq!(log(&folder), ["poststop"]);
}

#[test]
fn a_hook_that_takes_too_long_is_killed_with_all_it_has_started() {
    known_gap!(Runc, Crun, "these versions wait for the child that holds the hook's output");
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        let mut bundle = Bundle::new().sleeping();
        let notes = bundle.scratch().join("notes");
        fs::create_dir(&notes).unwrap();
        bundle = bundle.bind(notes.to_str().unwrap(), "/notes", &["bind"]);
        let at = if kind == "startContainer" { "/notes" } else { notes.to_str().unwrap() };
        // The name of the process tells it from all others on the host.
        let script = format!("echo begun >{at}/log; sleep 98765 & wait");
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 1});
        let container = bundle.push(&format!("/hooks/{kind}"), hook).container();
        let output = match kind {
            "startContainer" | "poststart" => {
                container.create().expect_ok();
                container.start()
            }
            _ => container.create(),
        };
        assert_eq!(fs::read_to_string(notes.join("log")).unwrap(), "begun\n");
        output.expect_code(1).expect_stderr(&format!("hook {kind}[0] \"/bin/sh\": timed out after 1 s"));
        gone(&container);
        wait_for("the end of the hook's child", || (!sleeps_98765(&notes)).then_some(()));
    }
}

/// Whether a `sleep 98765` of these tests is alive: one whose folder of work is below the scratch folder, or
/// whose root is.
fn sleeps_98765(notes: &Path) -> bool {
    let scratch = notes.parent().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.map(Process::new).filter(|process| process.is_alive()).any(|process| {
        let command = fs::read(process.path("cmdline")).unwrap_or_default();
        let place = fs::read_link(process.path("cwd")).unwrap_or_default();
        command.ends_with(b"98765\0") && place.starts_with(scratch)
    })
}

#[test]
fn a_hook_within_its_time_is_no_failure() {
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "sleep 0.1"], "timeout": 50}]);
    Bundle::new().set("/hooks/createRuntime", hook).run().expect_ok();
}

#[test]
fn a_hook_that_leaves_a_process_behind_is_not_waited_for() {
    known_gap!(Runc, Crun, "these versions wait until the output is closed");
    // It holds the hook's output open, and ends by itself long before the test gives up.
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "sleep 20 & echo begun"]}]);
    let begun = std::time::Instant::now();
    Bundle::new().set("/hooks/createRuntime", hook).run().expect_ok();
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "it was waited for");
}

#[test]
fn a_hook_killed_by_a_signal_is_a_failure() {
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "kill -KILL $$"]}]);
    let container = Bundle::new().set("/hooks/createRuntime", hook).container();
    let output = container.create().expect_fail();
    gone(&container);
    known_gap!(Runc, Crun, "words of their own");
    output.expect_code(1).expect_stderr("hook createRuntime[0] \"/bin/sh\": killed by SIGKILL");
}

#[test]
fn a_hook_that_is_missing_or_no_program_is_a_failure_with_its_path() {
    let scratch = integration::Scratch::new();
    let plain = scratch.path().join("plain");
    fs::write(&plain, "not executable").unwrap();
    let plain = plain.to_str().unwrap();
    for (path, words) in
        [("/no/such/hook", "no such file or directory"), (plain, "permission denied"), ("/", "denied")]
    {
        for kind in ["prestart", "createRuntime", "createContainer"] {
            let container = Bundle::new().set(&format!("/hooks/{kind}"), json!([{"path": path}])).container();
            let output = container.create().expect_fail();
            gone(&container);
            if integration::flavour() == integration::Flavour::Ours {
                output.expect_code(1).expect_stderr(&format!("hook {kind}[0] {path:?}")).expect_stderr(words);
            }
        }
    }
}

#[test]
fn a_missing_start_container_hook_is_a_failure_of_start() {
    known_gap!(Runc, Crun, "these versions leave the container, or lose the error");
    let container = Bundle::new().set("/hooks/startContainer", json!([{"path": "/no/hook"}])).container();
    container.create().expect_ok();
    let output = container.start().expect_code(1);
    output.expect_stderr("hook startContainer[0] \"/no/hook\"").expect_stderr("no such file or directory");
    gone(&container);
}

#[test]
fn hooks_that_cannot_be_meant_are_refused_before_anything_is_made() {
    known_gap!(Runc, Crun, "these versions find it when the hook's time has come, or never");
    let cases: [(Value, &str); 6] = [
        (json!({"path": "bin/hook"}), "path"),
        (json!({"path": ""}), "path"),
        (json!({"path": "/bin/true", "timeout": 0}), "timeout"),
        (json!({"path": "/bin/true", "timeout": -1}), "timeout"),
        (json!({"path": "/bin/true", "env": ["NOTHING"]}), "env[0]"),
        (json!({"path": "/bin/true", "args": ["a\u{0}b"]}), "args[0]"),
    ];
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        for (hook, field) in &cases {
            let container = Bundle::new().set(&format!("/hooks/{kind}"), json!([hook])).container();
            container.create().expect_code(1).expect_stderr(&format!("hooks.{kind}[0].{field}"));
            gone(&container);
        }
    }
}

#[test]
fn a_flood_of_output_neither_blocks_nor_fills_the_message() {
    known_gap!(Runc, Crun, "these versions keep all of it");
    let script = "dd if=/dev/zero bs=1M count=5 2>/dev/null | tr '\\0' x; echo the end; exit 1";
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let container = Bundle::new().set("/hooks/createRuntime", hook).container();
    let output = container.create().expect_code(1).expect_stderr("the end");
    assert!(output.stderr.len() < 5000, "{} bytes", output.stderr.len());
}

#[test]
fn the_message_stays_one_line() {
    known_gap!(Runc, Crun, "words of their own");
    let script = "printf 'one\\ntwo\\n\\033[31mred\\033[0m \"quoted\" \\377' >&2; exit 1";
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let container = Bundle::new().set("/hooks/createRuntime", hook).container();
    let output = container.create().expect_code(1);
    assert_eq!(output.stderr.trim_end().lines().count(), 1, "{output}");
    assert!(!output.stderr.contains('\u{1b}'), "an escape got through: {output}");
}
