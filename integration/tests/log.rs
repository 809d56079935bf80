//! The log file: what is in it on success and on failure, in the forms that engines read, and what stderr says.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use integration::{Bundle, Call, Value, asleep, json, known_gap};

#[test]
fn the_last_of_two_logs_is_written() {
    let container = Bundle::new().container();
    let (first, second) =
        (container.bundle().scratch_file("first"), container.bundle().scratch_file("second"));
    let container = container.with_globals(&["--log", &first, "--log", &second]);
    container.state_output().expect_code(1);
    assert!(!fs::read_to_string(second).unwrap().is_empty());
    assert!(!fs::exists(first).unwrap()); // not even made
}

/// Runs something that fails, with a log; gives the log's text and what stderr says.
fn failing(globals: &[&str]) -> (String, String) {
    let container = Bundle::new().container();
    let log = container.bundle().scratch_file("log");
    let container = container.with_globals(&["--log", &log]).with_globals(globals);
    let output = container.state_output().expect_code(1);
    (fs::read_to_string(log).unwrap(), output.stderr)
}

/// RFC 3339, section 5.6, strictly: `2026-01-02T03:04:05[.678](Z|±hh:mm)`.
fn is_rfc3339(time: &str) -> bool {
    let digits = |range: std::ops::Range<usize>| {
        time.get(range).is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    let fixed = marks.iter().all(|(at, mark)| time.as_bytes().get(*at) == Some(mark));
    let numbers = [0..4, 5..7, 8..10, 11..13, 14..16, 17..19].into_iter().all(digits);
    let Some(rest) = time.get(19..) else { return false };
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let zone = rest == "Z" || (rest.len() == 6 && rest.starts_with(['+', '-']) && rest.as_bytes()[3] == b':');
    fixed && numbers && zone
}

#[test]
fn a_failure_writes_exactly_one_json_object_to_the_log() {
    let (log, stderr) = failing(&["--log-format", "json"]);
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.ends_with('\n'), "{log:?}");
    let value: Value = serde_json::from_str(&log).unwrap();
    assert_eq!(value["level"], "error");
    assert!(is_rfc3339(value["time"].as_str().unwrap()), "{log}");
    let message = value["msg"].as_str().unwrap();
    assert!(!message.is_empty() && !message.contains('\n'), "{log}");
    known_gap!(Crun, "words its messages in other ways");
    assert!(message.contains("container does not exist"), "{log}");
    assert!(stderr.contains("container does not exist"), "{stderr:?}");
}

#[test]
fn a_failed_create_writes_exactly_one_json_object_to_the_log() {
    known_gap!(Runc, "1.1.5 may add the words of its init");
    known_gap!(Crun, "1.8.1 may add a warning");
    for bundle in [
        Bundle::new().args(&["no-such-program"]),
        Bundle::new().args(&["/etc/passwd"]),
        Bundle::new().bind("/no/such/source", "/mnt", &["bind"]),
        Bundle::new().set("/root/path", json!("gone")),
    ] {
        let container = bundle.container();
        let log = container.bundle().scratch_file("log.json");
        let container = container.with_globals(&["--log", &log, "--log-format", "json"]);
        container.create().expect_fail();
        let log = fs::read_to_string(log).unwrap();
        let objects: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(objects.len(), 1, "{log}");
        assert_eq!(objects[0]["level"], "error");
        assert!(is_rfc3339(objects[0]["time"].as_str().unwrap()), "{log}");
    }
}

#[test]
fn the_log_is_text_by_default_and_appended_to() {
    known_gap!(Crun, "has a text format of its own");
    for globals in [&[][..], &["--log-format", "text"], &["--log-format=text"]] {
        let (log, _) = failing(globals);
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.starts_with("time=\""), "{log}");
        assert!(log.contains(" level=error msg="), "{log}");
        assert!(is_rfc3339(log["time=\"".len()..].split('"').next().unwrap()), "{log}");
    }
    let container = Bundle::new().container();
    let log = container.bundle().scratch_file("log");
    let container = container.with_globals(&["--log", &log]);
    container.state_output().expect_fail();
    container.start().expect_fail();
    assert_eq!(fs::read_to_string(log).unwrap().lines().count(), 2);
}

#[test]
fn a_message_stays_one_line_whatever_a_name_holds() {
    known_gap!(Runc, "prints names as they are");
    known_gap!(Crun, "prints names as they are");
    let container = Bundle::new().args(&["no\nsuch\u{1b}[31m\"program"]).container();
    let log = container.bundle().scratch_file("log");
    let container = container.with_globals(&["--log", &log, "--log-format", "json"]);
    let stderr = container.create().expect_fail().stderr;
    let log = fs::read_to_string(log).unwrap();
    assert_eq!((log.lines().count(), stderr.lines().count()), (1, 1), "{log}{stderr}");
    assert!(!stderr.contains('\u{1b}') && !log.contains('\u{1b}'), "{log}{stderr}");
}

#[test]
fn names_and_flags_of_the_command_line_keep_a_message_on_its_line() {
    known_gap!(Runc, Crun, "they print names as they are");
    let container = Bundle::new().args(&["/no\nsuch\u{1b}[31m/program"]).container();
    let refused = |output: integration::Output| {
        assert_eq!(output.stderr.lines().count(), 1, "{output}");
        assert!(!output.stderr.contains('\u{1b}'), "{output}");
        assert!(output.stderr.contains("\\n") && output.stderr.contains("\\u{1b}[31m"), "{output}");
    };
    refused(container.run().expect_code(1));
    for words in [
        &["--no\nsuch\u{1b}[31mflag", "x"][..],
        &["state", "-no\n\u{1b}[31m", "x"],
        &["create", "--=\n\u{1b}[31m"],
        &["list", "-q=\n\u{1b}[31m"],
        &["\n\u{1b}[31m"],
    ] {
        refused(Call::runtime().args(words).output().expect_code(1));
    }
}

#[test]
fn a_device_that_cannot_be_opened_as_log_is_not_taken_for_a_pipe() {
    known_gap!(Runc, Crun, "they word their messages in other ways");
    let container = Bundle::new().container().with_globals(&["--log", "/dev/tty"]);
    // A session of its own has no terminal.
    let output = container.call("state").args([container.id()]).through(&["setsid", "--wait"]).output();
    assert_eq!(
        output.expect_code(1).stderr,
        "--log: open(\"/dev/tty\"): no such device or address (ENXIO)\n"
    );
}

#[test]
fn warnings_come_before_the_first_word_of_the_program() {
    known_gap!(Runc, "1.1.5 writes warnings in a form of its own");
    known_gap!(Crun, "1.8.1 refuses unknown capabilities");
    let words = ["sh", "-c", "echo words >&2"];
    let bundle = Bundle::new().args(&words).capabilities(&["CAP_KILL", "CAP_NONSENSE"]);
    // Time enough for the program to say everything.
    let slow = json!([{"path": "/bin/sh", "args": ["sh", "-c", "sleep 0.5"]}]);
    let output = bundle.set("/hooks/poststart", slow).run().expect_ok();
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert!(lines.len() >= 2 && lines[0].starts_with("warning: "), "{output}");
    assert_eq!(lines.last(), Some(&"words"), "{output}");

    let (container, _) = asleep(Bundle::new());
    for _ in 0..10 {
        let output = container.exec_call(&["--cap", "CAP_NONSENSE"], &words).output().expect_ok();
        let lines: Vec<&str> = output.stderr.lines().collect();
        assert!(lines.len() >= 2 && lines[0].starts_with("warning: "), "{output}");
        assert_eq!(lines.last(), Some(&"words"), "{output}");
    }
}

#[test]
fn a_run_that_fails_says_so_last() {
    known_gap!(Runc, "1.1.5 may add the words of its init");
    known_gap!(Crun, "1.8.1 refuses unknown capabilities");
    // Found, and refused by execve: the warnings are out by then.
    let bundle = Bundle::new().file("/broken", 0o755, b"no program").args(&["/broken"]);
    let container = bundle.capabilities(&["CAP_KILL", "CAP_NONSENSE"]).container();
    let log = container.bundle().scratch_file("log");
    let container = container.with_globals(&["--log", &log, "--log-format", "json"]);
    container.run().expect_code(1).expect_stderr("exec format error");
    let log = fs::read_to_string(log).unwrap();
    let mut levels = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["level"].clone());
    assert_eq!(levels.next_back(), Some(json!("error")), "{log}");
}

#[test]
fn a_success_leaves_no_error_in_the_log() {
    let container = Bundle::new().sleeping().container();
    let log = container.bundle().scratch_file("log");
    let container = container.with_globals(&["--log", &log, "--log-format", "json"]);
    container.create().expect_ok();
    container.start().expect_ok();
    container.delete_force().expect_ok();
    let log = fs::read_to_string(log).unwrap_or_default();
    assert!(!log.contains("\"error\""), "{log}");
}

#[test]
fn the_programs_output_does_not_mix_with_the_log() {
    let container = Bundle::new().sh("echo out; echo err >&2; exit 3").container();
    let log = container.bundle().scratch_file("log");
    let container = container.with_globals(&["--debug", "--log", &log, "--log-format", "json"]);
    let output = container.run().expect_code(3);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
    let log = fs::read_to_string(log).unwrap_or_default();
    for line in log.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value["level"] != "error", "{line}");
    }
}

#[test]
fn a_log_that_cannot_be_opened_stops_the_command_before_it_does_anything() {
    known_gap!(Crun, "words its messages in other ways");
    for (path, reason) in [("/nonexistent/folder/log", "no such file or directory"), ("/", "is a directory")]
    {
        for globals in [&["--log", path][..], &["--log", path, "--log-format", "json"]] {
            let container = Bundle::new().container().with_globals(globals);
            let output = container.create().expect_code(1).expect_stderr(reason);
            assert_eq!(output.stderr.lines().count(), 1, "{output}");
            assert!(!container.state_root().exists(), "{output}");
            if globals.len() > 2 {
                let value: Value = serde_json::from_str(&output.stderr).unwrap();
                assert_eq!(value["level"], "error");
            }
        }
    }
}

#[test]
fn a_fifo_as_log_is_never_waited_for() {
    known_gap!(Runc, "1.1.5 waits");
    known_gap!(Crun, "1.8.1 waits");
    let container = Bundle::new().container();
    let fifo = container.bundle().scratch_file("fifo");
    nix::unistd::mkfifo(fifo.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let container = container.with_globals(&["--log", &fifo, "--log-format", "json"]);
    container.state_output().expect_code(1).expect_stderr("nobody reads it");
    // With a reader all of it arrives.
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
    let mut pipe = File::options().read(true).write(true).custom_flags(nonblock).open(&fifo).unwrap();
    container.state_output().expect_code(1);
    let mut bytes = [0; 4096];
    let length = pipe.read(&mut bytes).unwrap();
    let value: Value = serde_json::from_slice(&bytes[..length]).unwrap();
    assert_eq!(value["level"], "error");
    // A reader that has fallen asleep keeps nobody waiting, and what it misses is told.
    while pipe.write(&bytes).is_ok() {}
    container.state_output().expect_code(1).expect_stderr("does not exist (and --log \"");
}

#[test]
fn the_log_is_made_for_its_owner_to_write_and_never_truncated() {
    known_gap!(Crun, "1.8.1 makes it 0700");
    for (umask, mode) in [("000", 0o644), ("077", 0o600), ("022", 0o644)] {
        let container = Bundle::new().container();
        let log = container.bundle().scratch_file("log");
        let script = format!("umask {umask} && exec \"$0\" \"$@\"");
        let runtime = integration::runtime_under_test().to_str().unwrap();
        let list = |globals: &[&str]| {
            let call = Call::of("sh").args(["-c", &script, runtime]).args(globals);
            call.args(["--root", container.state_root().to_str().unwrap(), "state", "nobody"]).output()
        };
        list(&["--log", &log]).expect_code(1);
        assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o7777, mode, "umask {umask}");
        let first = fs::read_to_string(&log).unwrap();
        list(&["--log", &log, "--log-format", "json"]).expect_code(1);
        let both = fs::read_to_string(&log).unwrap();
        assert!(both.len() > first.len() && both.starts_with(&first), "{both}");
    }
}

#[test]
fn a_log_that_is_full_leaves_the_reason_on_stderr() {
    known_gap!(Runc, "tells that it could not write the log, too");
    known_gap!(Crun, "words its messages in other ways");
    let container = Bundle::new().container().with_globals(&["--log", "/dev/full"]);
    let output = container.state_output().expect_code(1).expect_stderr("container does not exist");
    output.clone().expect_stderr("/dev/full");
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
}

/// A configuration that cannot be carried out in whole: a warning.
fn warned_of() -> Bundle {
    Bundle::new().sleeping().capabilities(&["CAP_KILL", "CAP_NONSENSE"])
}

#[test]
fn warnings_are_logged_on_success_and_not_on_failure() {
    known_gap!(Runc, "1.1.5 logs the warning in any case");
    known_gap!(Crun, "1.8.1 refuses unknown capabilities");
    for (bundle, levels) in [(warned_of(), vec!["warning"]), (warned_of().args(&["gone"]), vec!["error"])] {
        let container = bundle.container();
        let log = container.bundle().scratch_file("log");
        let container = container.with_globals(&["--log", &log, "--log-format", "json"]);
        let output = container.create();
        assert_eq!(output.status.success(), levels == ["warning"], "{output}");
        assert_eq!(output.stderr.is_empty(), output.status.success(), "{output}");
        let log = fs::read_to_string(log).unwrap();
        let objects: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let found: Vec<&str> = objects.iter().map(|object| object["level"].as_str().unwrap()).collect();
        assert_eq!(found, levels, "{log}");
        for object in objects {
            assert!(is_rfc3339(object["time"].as_str().unwrap()), "{log}");
            assert_eq!(object.as_object().unwrap().keys().collect::<Vec<_>>(), ["level", "msg", "time"]);
        }
    }
}

#[test]
fn stderr_says_what_the_log_says_in_one_line() {
    known_gap!(Crun, "1.8.1 writes to the log alone");
    for format in ["json", "text"] {
        let container = Bundle::new().args(&["no-such-program"]).container();
        let log = container.bundle().scratch_file("log");
        let container = container.with_globals(&["--log", &log, "--log-format", format]);
        known_gap!(Runc, "1.1.5 may add the words of its init");
        let output = container.create().expect_code(1);
        assert_eq!(output.stderr.lines().count(), 1, "{output}");
        let log = fs::read_to_string(log).unwrap();
        let message = output.stderr.trim_end();
        let quoted = message.replace('\\', "\\\\").replace('"', "\\\"");
        assert!(
            log.contains(&format!("\"{quoted}\"")) || log.contains(&format!("msg={quoted}")),
            "{log}{output}"
        );
    }
}

#[test]
fn what_callers_parse_is_alone_on_stdout_and_stderr_on_success() {
    known_gap!(Crun, "1.8.1 has no --log-format");
    let container = Bundle::new().sleeping().container();
    container.run_detached().expect_ok();
    let root = container.state_root().to_str().unwrap();
    for debug in [&[][..], &["--debug"]] {
        for command in [
            &["state", container.id()][..],
            &["ps", "--format", "json", container.id()],
            &["list", "--format", "json"],
            &["features"],
        ] {
            known_gap!(Runc, "1.1.5 has debug lines on stderr");
            let call = Call::runtime().args(debug).args(["--root", root, "--log-format", "json"]);
            let output = call.args(command).output().expect_ok().expect_no_stderr();
            drop(output.json());
        }
    }
}

#[test]
fn debug_lines_are_written_where_they_are_asked_for() {
    known_gap!(Crun, "has other words");
    known_gap!(Runc, "has other words");
    let container = Bundle::new().sleeping().container();
    let log = container.bundle().scratch_file("log");
    let container = container.with_globals(&["--debug", "--log", &log, "--log-format", "json"]);
    container.create().expect_ok().expect_no_stderr();
    let pid = container.init_pid();
    container.kill("KILL").expect_ok();
    let log = fs::read_to_string(log).unwrap();
    let objects: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(objects.iter().all(|object| object["level"] == "debug"), "{log}");
    let said = |word: &str| objects.iter().any(|object| object["msg"].as_str().unwrap().contains(word));
    for word in ["create: ", "state: ", "kill: ", &format!("process {pid}")] {
        assert!(said(word), "{word}: {log}");
    }
}

#[test]
fn a_log_format_that_does_not_exist_is_refused() {
    known_gap!(Crun, "1.8.1 ignores it");
    let container = Bundle::new().container().with_globals(&["--log-format", "xml"]);
    container.state_output().expect_fail().expect_stderr("xml");
}
