//! Health checks: what they find, and who is told.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod monitored;

use std::fs;

use integration::{Shim, Value, is_root, json, requires, wait_for};
use monitored::{ROOT, actions, ended, kill, wait_for_state, worker};
use rustix::process::Signal;

/// Waits until a container's health is this.
#[track_caller]
fn wait_for_health(shim: &Shim, id: &str, status: &str) -> Value {
    wait_for_state(shim, id, status, |state| state["health"]["Status"] == status)["health"].clone()
}

fn health_events(shim: &Shim, id: &str) -> Vec<String> {
    actions(shim, id).into_iter().filter(|action| action.starts_with("health_status")).collect()
}

const WAITS: [&str; 4] = ["busybox", "sh", "-c", "until [ -e /stop ]; do sleep 0.02; done"];

#[test]
fn a_container_is_healthy_or_not_by_its_checks_in_a_row() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let flags = ["--health-cmd", "echo looked; cat /ok", "--health-interval=100ms", "--health-retries=3"];
    let id = shim.detached(&[&flags[..], &WAITS].concat());
    let process = shim.process(&id);
    let health = wait_for_health(&shim, &id, "unhealthy");
    let log = health["Log"].as_array().unwrap();
    assert!(log.len() >= 3 && health["FailingStreak"].as_u64() >= Some(3), "{health}");
    assert_eq!(log[0]["ExitCode"], 1);
    assert!(log[0]["Output"].as_str().unwrap().starts_with("looked\ncat: "), "{health}");
    assert!(log[0]["End"].as_str() >= log[0]["Start"].as_str());
    fs::write(process.inside("ok"), "x".repeat(5000)).unwrap();
    let health = wait_for_health(&shim, &id, "healthy");
    assert_eq!(health["FailingStreak"], 0);
    let last = health["Log"].as_array().unwrap().last().unwrap()["Output"].as_str().unwrap().to_owned();
    assert!(last.len() == 4096 + 3 && last.ends_with("x..."), "{} bytes", last.len());
    assert_eq!(health_events(&shim, &id), ["health_status: unhealthy", "health_status: healthy"]);
    let told = shim.stdout(&["inspect", "--format", "{{.State.Health.Status}}", &id]);
    assert_eq!(told, "healthy\n");
    // The last five are kept, and they go on when the worker was killed.
    kill(worker(&shim, &id));
    fs::remove_file(process.inside("ok")).unwrap();
    assert_eq!(wait_for_health(&shim, &id, "unhealthy")["Log"].as_array().unwrap().len(), 5);
    fs::write(process.inside("stop"), "").unwrap();
    assert_eq!(ended(&shim, &id)["health"]["Status"], "unhealthy");
}

#[test]
fn a_check_that_takes_too_long_is_ended() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let check = "echo $$ >>/pids; while :; do sleep 0.02; done";
    let flags =
        ["--health-cmd", check, "--health-interval=50ms", "--health-timeout=500ms", "--health-retries=1"];
    let id = shim.detached(&[&flags[..], &WAITS].concat());
    let process = shim.process(&id);
    let health = wait_for_health(&shim, &id, "unhealthy");
    let first = &health["Log"][0];
    let told = (&first["ExitCode"], &first["Output"]);
    assert_eq!(told, (&json!(-1), &json!("Health check exceeded timeout (500ms)")), "{health}");
    // By their pids inside: only the one that is under way is there.
    wait_for("further checks", || {
        let pids = fs::read_to_string(process.inside("pids")).unwrap_or_default();
        let pids: Vec<&str> = pids.lines().collect();
        let alive = |pid: &&&str| {
            let stat = fs::read_to_string(process.inside(&format!("proc/{pid}/stat"))).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z")
        };
        (pids.len() >= 3 && pids[..pids.len() - 1].iter().filter(alive).count() == 0).then_some(())
    });
}

#[test]
fn a_check_that_cannot_be_run_is_no_success() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let flags = ["--health-cmd", "exit 0", "--health-interval=100ms", "--health-retries=1"];
    let id = shim.detached(&[&flags[..], &WAITS].concat());
    let process = shim.process(&id);
    wait_for_health(&shim, &id, "healthy");
    fs::remove_file(process.inside("bin/sh")).unwrap();
    let health = wait_for_health(&shim, &id, "unhealthy");
    let last = health["Log"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["ExitCode"], -1, "{last}");
    assert!(last["Output"].as_str().unwrap().contains("no such file or directory"), "{last}");
}

#[test]
fn early_failures_do_not_count_and_a_paused_container_is_left_alone() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let flags = [
        "--health-cmd=test -e /ok",
        "--health-interval=100ms",
        "--health-start-period=1h",
        "--health-start-interval=50ms",
        "--health-retries=1",
    ];
    let id = shim.detached(&[&flags[..], &WAITS].concat());
    let process = shim.process(&id);
    let state = wait_for_state(&shim, &id, "five checks", |state| {
        state["health"]["Log"].as_array().is_some_and(|log| log.len() == 5)
    });
    assert_eq!(
        (&state["health"]["Status"], &state["health"]["FailingStreak"]),
        (&json!("starting"), &json!(0)),
        "{state}"
    );
    fs::write(process.inside("ok"), "").unwrap();
    wait_for_health(&shim, &id, "healthy");
    // A check in a paused container would wait for its end.
    shim.cli(&["pause", &id]).expect_ok();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let before = shim.recorded_state(&id)["health"].clone();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(shim.recorded_state(&id)["health"], before);
    shim.cli(&["unpause", &id]).expect_ok();
    wait_for_state(&shim, &id, "more checks", |state| state["health"]["Log"] != before["Log"]);
    fs::remove_file(process.inside("ok")).unwrap();
    wait_for_health(&shim, &id, "unhealthy");
    monitored::signal(process, Signal::KILL);
    assert_eq!(ended(&shim, &id)["exit_code"], 137);
}
