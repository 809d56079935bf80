//! `shim logs`, and what becomes of a container's output on its way there.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::path::PathBuf;

use integration::{Output, Shim, Value, is_root, requires, wait_for};
use rustix::process::{Pid, Signal, kill_process};

const NOT_ROOT: &str = "containers with layers of their own need root";

/// Prints the numbers from 1 on, a line each.
fn numbers(last: u32) -> String {
    (1..=last).map(|number| format!("{number}\n")).collect()
}

/// A container that has run to its end; its id.
fn ended(shim: &Shim, flags: &[&str], script: &str) -> String {
    let id = shim.detached(&[flags, &["busybox", "sh", "-c", script]].concat());
    wait_for("the end", || (shim.recorded_state(&id)["status"] == "exited").then_some(()));
    id
}

fn logs(shim: &Shim, words: &[&str]) -> Output {
    shim.call(&["logs"]).args(words).output().expect_ok()
}

fn log_file(shim: &Shim, id: &str) -> PathBuf {
    shim.container_folder(id).join(format!("{id}-json.log"))
}

#[test]
fn both_streams_come_back_as_they_were_printed_with_what_is_asked_for() {
    requires!(is_root(), "{NOT_ROOT}");
    let shim = Shim::with_busybox();
    let options =
        ["--log-opt", "labels=tier", "--log-opt", "tag={{.Name}}", "--label", "tier=web", "--name", "box"];
    let script = "echo one; echo oops >&2; printf 'a\\tb \"<&>\" \\303\\251\\n'; echo; printf last";
    let id = ended(&shim, &options, script);
    let all = logs(&shim, &["box"]);
    assert_eq!((all.stdout.as_str(), all.stderr.as_str()), ("one\na\tb \"<&>\" é\n\nlast", "oops\n"));

    let first = fs::read_to_string(log_file(&shim, &id)).unwrap().lines().next().unwrap().to_owned();
    let head =
        "{\"log\":\"one\\n\",\"stream\":\"stdout\",\"attrs\":{\"tag\":\"box\",\"tier\":\"web\"},\"time\":\"";
    assert!(first.starts_with(head), "{first}");
    let time = serde_json::from_str::<Value>(&first).unwrap()["time"].as_str().unwrap().to_owned();

    let shown = logs(&shim, &["--timestamps", "--details", "--tail", "5", &id[..12]]).stdout;
    let line = shown.lines().next().unwrap().to_owned();
    let (stamp, rest) = line.split_once(' ').unwrap();
    // Nine digits, always; the file leaves out zeroes at the end.
    assert!(stamp.len() == 30 && stamp.starts_with(time.trim_end_matches('Z')), "{stamp} {time}");
    assert_eq!(rest, "tag=box,tier=web one");

    assert_eq!(logs(&shim, &["--tail", "1", "box"]).stdout, "last");
    assert_eq!(logs(&shim, &["-n", "0", "box"]).stdout, "");
    assert_eq!(logs(&shim, &["--since", "1h", "box"]).stdout, all.stdout);
    assert_eq!(logs(&shim, &["--since", "2100-01-01", "box"]).stdout, "");
    assert_eq!(logs(&shim, &["--until", "2000-01-01T00:00:00Z", "box"]).stdout, "");
    assert_eq!(logs(&shim, &["--until", "0s", "--follow", "box"]).stdout, all.stdout);
    let error = shim.cli(&["logs", "--since", "yesterday", "box"]).expect_code(1);
    error.expect_stderr("failed to parse \"yesterday\"");
    shim.cli(&["container", "logs", "nobody"]).expect_code(1).expect_stderr("No such container: nobody");
}

#[test]
fn a_log_is_followed_through_rotation_until_the_container_has_ended() {
    requires!(is_root(), "{NOT_ROOT}");
    let shim = Shim::with_busybox();
    let options = ["-i", "--log-opt", "max-size=20k", "--log-opt", "max-file=100"];
    let script = "read go; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; done; exit 3";
    let id = shim.detached(&[&options[..], &["busybox", "sh", "-c", script]].concat());
    let follower = shim.call(&["logs", "--follow", &id]).spawn();
    let attached = shim.call(&["attach", &id]).stdin_bytes("go\n").output().expect_code(3);
    assert_eq!(attached.stdout, numbers(3000));
    let followed = follower.wait().expect_ok();
    assert_eq!(followed.stdout, numbers(3000));
    assert!(log_file(&shim, &id).with_extension("log.2").exists(), "there was a rotation");
    assert_eq!(logs(&shim, &["--tail", "1234", &id]).stdout, numbers(3000)[numbers(1766).len()..]);

    // What is kept is bounded.
    let id = ended(&shim, &["--log-opt", "max-size=20k", "--log-opt", "max-file=2"], "seq 1 3000");
    let kept = logs(&shim, &[&id]).stdout;
    assert!(numbers(3000).ends_with(&kept) && kept.lines().count() > 200, "{} lines", kept.lines().count());
    assert!(!log_file(&shim, &id).with_extension("log.2").exists());
}

#[test]
fn long_lines_and_bytes_of_any_kind_come_back_whole() {
    requires!(is_root(), "{NOT_ROOT}");
    let shim = Shim::with_busybox();
    let script = "head -c 100000 /dev/zero | tr '\\0' x; echo; printf '\\377\\n'";
    let id = ended(&shim, &[], script);
    assert_eq!(logs(&shim, &[&id]).stdout, format!("{}\n\u{fffd}\n", "x".repeat(100_000)));
    let id = ended(&shim, &["-t"], "echo one; echo two >&2");
    let shown = logs(&shim, &[&id]);
    assert_eq!(
        (shown.stdout.as_str(), shown.stderr.as_str()),
        ("one\r\ntwo\r\n", ""),
        "a terminal is one stream"
    );
}

#[test]
fn drivers_and_options_that_are_not_there_are_refused_by_name() {
    requires!(is_root(), "{NOT_ROOT}");
    let shim = Shim::with_busybox();
    for (flags, words) in [
        (&["--log-driver", "syslog"][..], "log driver \"syslog\" is not supported"),
        (&["--log-driver", "nothing"], "logger: no log driver named 'nothing' is registered"),
        (&["--log-opt", "max-sise=1m"], "unknown log opt 'max-sise' for json-file log driver"),
        (&["--log-opt", "max-size=0"], "max-size must be a positive number"),
    ] {
        let output = shim.run(&[flags, &["busybox", "true"]].concat()).expect_code(125);
        output.expect_stderr(words);
    }
    assert!(shim.container_ids().is_empty());
    let id = ended(&shim, &["--log-driver", "none"], "echo unheard");
    assert!(!log_file(&shim, &id).exists());
    let refused = shim.cli(&["logs", &id]).expect_code(1);
    refused.expect_stderr("configured logging driver does not support reading");
}

#[test]
fn no_line_is_lost_or_doubled_when_the_supervisor_is_killed_again_and_again() {
    requires!(is_root(), "{NOT_ROOT}");
    let shim = Shim::with_busybox();
    let script = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); echo $i; done; echo done >&2";
    let options = ["--log-opt", "max-size=300k", "--log-opt", "max-file=90"];
    let id = shim.detached(&[&options[..], &["busybox", "sh", "-c", script]].concat());
    let worker = || {
        let state = shim.recorded_state(&id);
        let pid = state.pointer("/monitor/pid").and_then(Value::as_i64)?;
        Some((pid, state["status"] == "running"))
    };
    let mut last = None;
    for _ in 0..15 {
        // A new worker each time, which is in the middle of it.
        let found = wait_for("another worker, or the end", || match worker() {
            Some((pid, true)) if Some(pid) == last => None,
            other => Some(other),
        });
        let Some((pid, true)) = found else { break };
        last = Some(pid);
        std::thread::sleep(std::time::Duration::from_millis(30));
        // It may have ended with the container.
        let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL);
    }
    assert!(last.is_some(), "somebody was killed");
    wait_for("the end", || {
        (shim.cli(&["inspect", &id]).json()[0]["State"]["Status"] == "exited").then_some(())
    });
    let shown = logs(&shim, &[&id]);
    assert_eq!(shown.stderr, "done\n");
    let lines: Vec<&str> = shown.stdout.lines().collect();
    let wrong = lines.iter().zip(1..).find(|(line, number)| **line != number.to_string());
    assert_eq!((wrong, lines.len()), (None, 60_000));
}
