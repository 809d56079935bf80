//! Containers that are started again, as their policy says.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod monitored;

use std::time::Duration;

use integration::{Process, Shim, Value, is_root, json, requires, wait_for};
use monitored::{Client, ROOT, actions, ended, keeper, kill, printed, wait_for_state, worker};

/// Milliseconds since the epoch, as the container sees them at each of its starts.
fn starts(shim: &Shim, id: &str) -> Vec<u64> {
    printed(shim, id).lines().map(|line| line.parse().unwrap()).collect()
}

/// Prints the time with the hundredths of /proc/uptime, in milliseconds.
const TELLS_TIME: &str = "read up rest </proc/uptime; echo ${up%.*}${up#*.}0";

#[test]
fn failures_are_repeated_so_often_and_ever_more_slowly() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let program = format!("{TELLS_TIME}; exit 1");
    let id = shim.detached(&["--restart=on-failure:3", "busybox", "sh", "-c", &program]);
    let state = ended(&shim, &id);
    assert_eq!((&state["exit_code"], &state["restart_count"]), (&json!(1), &json!(3)), "{state}");
    let starts = starts(&shim, &id);
    let waits: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Upper bounds would be of the machine's.
    assert!(waits.len() == 3 && waits[0] >= 90 && waits[1] >= 190 && waits[2] >= 390, "{waits:?}");
    let wanted = ["create", "start", "die", "start", "die", "start", "die", "start", "die"];
    assert_eq!(actions(&shim, &id), wanted);
    assert_eq!(shim.inspect(&id)["RestartCount"], 3);
    // Somebody starts it: it is counted anew.
    shim.cli(&["start", &id]).expect_ok();
    assert_eq!(ended(&shim, &id)["restart_count"], 3);
    assert_eq!(printed(&shim, &id).lines().count(), 8);
}

#[test]
fn a_success_or_no_policy_is_the_end() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    for (policy, code) in [("no", 1), ("on-failure", 0)] {
        let id = shim.detached(&["--restart", policy, "busybox", "sh", "-c", &format!("exit {code}")]);
        let state = ended(&shim, &id);
        assert_eq!((&state["exit_code"], &state["restart_count"]), (&json!(code), &json!(0)), "{policy}");
    }
}

#[test]
fn a_container_that_waits_to_be_started_again_is_stopped_at_once() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let ids = ["always", "unless-stopped"]
        .map(|policy| (policy, shim.detached(&["--restart", policy, "busybox", "false"])));
    for (policy, id) in ids {
        // By now the wait has grown to almost a second.
        let state = wait_for_state(&shim, &id, "restarts", |state| {
            state["restart_count"].as_u64() >= Some(4) && state["status"] == "restarting"
        });
        assert!(state.get("process").is_none() && shim.stdout(&["ps", "-q", "--no-trunc"]).contains(&id));
        let mut client = Client::connect(&shim, &id);
        client.say(6, b"");
        let (kind, exit) = client.hear().unwrap();
        let exit: Value = serde_json::from_slice(&exit).unwrap();
        assert_eq!((kind, &exit["code"]), (69, &json!(1)), "{policy}");
        let state = ended(&shim, &id);
        assert!(state["restart_count"].as_u64() < Some(8), "{state}");
    }
}

#[test]
fn who_is_attached_sees_one_run_and_who_waits_the_last() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let program = "until [ -e /go ]; do sleep 0.02; done; echo run; n=$(cat /n 2>/dev/null); echo x$n >/n; [ \"$n\" = xx ] && exit 0; exit 3";
    let id = shim.detached(&["--restart=on-failure", "busybox", "sh", "-c", program]);
    let attached = Client::attached(&shim, &id, r#"{"stdout":true}"#);
    let mut waiting = Client::connect(&shim, &id);
    waiting.say(7, b"");
    std::fs::write(shim.process(&id).inside("go"), "").unwrap();
    let (output, exit) = attached.hear_all();
    assert_eq!((output.as_slice(), &exit.unwrap()["code"]), (&b"run\n"[..], &json!(3)));
    let (_, exit) = waiting.hear_all();
    assert_eq!(exit.unwrap()["code"], 0);
    let state = ended(&shim, &id);
    assert_eq!(state["restart_count"], 2, "{state}");
    assert_eq!(printed(&shim, &id), "run\nrun\nrun\n");
}

#[test]
fn restarts_go_on_after_the_monitor_was_killed() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let id = shim.detached(&["--restart=on-failure:5", "busybox", "false"]);
    let is_waiting =
        |state: &Value| state["restart_count"].as_u64() >= Some(3) && state["status"] == "restarting";
    wait_for_state(&shim, &id, "restarts", is_waiting);
    let (keeper, worker) = (keeper(&shim, &id), worker(&shim, &id));
    kill(keeper);
    kill(worker);
    let before = shim.recorded_state(&id)["restart_count"].as_u64().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(shim.recorded_state(&id)["restart_count"], before, "nobody is there");
    let seen = shim.stdout(&["ps", "--all", "--format", "{{.State}}"]);
    assert!(["restarting\n", "running\n"].contains(&seen.as_str()), "{seen}");
    let state = wait_for("the end", || Some(ended(&shim, &id)));
    assert_eq!((&state["exit_code"], &state["restart_count"]), (&json!(1), &json!(5)), "{state}");
}

#[test]
fn a_restart_that_is_killed_in_the_middle_leaves_a_container_that_goes_with_its_end() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let deaf = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
    let id = shim.detached(&["--rm", "busybox", "sh", "-c", deaf]);
    wait_for("the program", || printed(&shim, &id).contains("ready").then_some(()));
    let mut restart = shim.call(&["restart", "--time", "1000", &id]).spawn();
    wait_for_state(&shim, &id, "its end is wanted", |state| state["kept_by"]["pid"] == json!(restart.pid()));
    wait_for_state(&shim, &id, "its end is wanted", |state| state["stopped_by_user"] == json!(true));
    Process::new(restart.pid()).kill();
    wait_for("the end of restart", || (!restart.is_running()).then_some(()));
    assert_eq!(shim.inspect(&id)["HostConfig"]["AutoRemove"], json!(true));
    shim.cli(&["kill", &id]).expect_ok();
    wait_for("its removal", || shim.container_ids().is_empty().then_some(()));
}
