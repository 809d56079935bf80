//! Many containers by many callers at once: every call does what it says, and nothing is left.
// Helpers outside the test functions panic as these do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use integration::{Bundle, Container, Value, leaks, wait_for};

const CALLERS: usize = 8;
const CONTAINERS: usize = 100;

/// Lets the callers take numbers from one heap until it is empty.
fn share(work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                loop {
                    match next.fetch_add(1, Ordering::Relaxed) {
                        number if number < CONTAINERS => work(number),
                        _ => break,
                    }
                }
            });
        }
    });
}

/// What the host has of these containers.
fn remains(first: &Container, ids: &[String]) -> Vec<String> {
    let scratch = first.bundle().scratch().display().to_string();
    let of_them = |line: &String| {
        let kept = line.starts_with("file ") || line.starts_with("cgroup ") || line.starts_with("mount ");
        let named = ids.iter().any(|id| line.contains(id.as_str()));
        // The scratch folder itself is there until the test ends.
        (kept && named && !line.starts_with("file ")) || (!kept && (named || line.contains(&scratch)))
    };
    leaks::snapshot().into_iter().filter(of_them).collect()
}

#[test]
fn a_hundred_containers_of_eight_callers_live_and_leave_nothing() {
    let first =
        Bundle::new().sh("trap 'exit 0' TERM; echo up; while :; do sleep 1 & wait $!; done").container();
    let ids = Mutex::new(Vec::new());
    share(|number| {
        let container = first.sibling();
        ids.lock().unwrap().push(container.id().to_owned());
        match number % 4 {
            0 | 1 => {
                container.create().expect_ok().expect_no_stderr();
                assert_eq!(container.status(), "created");
                container.start().expect_ok();
                container.wait_stdout("up");
                assert_eq!(container.status(), "running");
                container.kill(if number % 8 == 0 { "TERM" } else { "KILL" }).expect_ok();
                container.wait_status("stopped");
                assert_eq!(container.state()["pid"], 0);
                container.delete().expect_ok().expect_no_stderr();
            }
            2 => {
                container.run_detached().expect_ok();
                assert_eq!(container.status(), "running");
                container.delete_force().expect_ok();
            }
            _ => {
                let mut running = container.spawn_run();
                container.wait_running(&mut running);
                container.kill("KILL").expect_ok();
                running.wait().expect_code(137);
            }
        }
        container.state_output().expect_code(1).expect_runc_phrase("does not exist");
    });
    let ids = ids.into_inner().unwrap();
    assert_eq!(ids.len(), CONTAINERS);
    assert!(std::fs::read_dir(first.state_root()).unwrap().next().is_none());
    wait_for("an end of all that was made", || remains(&first, &ids).is_empty().then_some(()));
}

#[test]
fn a_hundred_runs_of_eight_callers_give_their_own_output_and_status() {
    let first = Bundle::new().sh("read x; echo $x; exit $x").container();
    share(|number| {
        let container = first.sibling();
        let call = container.birth("run", &[]).stdin_bytes(format!("{number}\n"));
        let output = call.output().expect_no_stderr();
        assert_eq!(output.code(), i32::try_from(number).unwrap(), "{output}");
        assert_eq!(output.stdout, format!("{number}\n"));
    });
    assert!(std::fs::read_dir(first.state_root()).unwrap().next().is_none());
}

#[test]
fn list_never_fails_or_invents_a_status_while_containers_come_and_go() {
    let first = Bundle::new().sleeping().container();
    let resident = first.sibling();
    resident.run_detached().expect_ok();
    let seen: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..CALLERS - 2 {
            scope.spawn(|| {
                for _ in 0..6 {
                    let container = first.sibling();
                    container.create().expect_ok();
                    container.start().expect_ok();
                    container.delete_force().expect_ok();
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let list = first.call("list").args(["--format", "json"]).output().expect_ok().json();
                    let list: Vec<Value> = list.as_array().unwrap().clone();
                    let own = list.iter().find(|entry| entry["id"] == resident.id()).expect("the resident");
                    assert_eq!(own["status"], "running");
                    for entry in list {
                        let status = entry["status"].as_str().unwrap().to_owned();
                        *seen.lock().unwrap().entry(status).or_default() += 1;
                    }
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    let known = ["creating", "created", "running", "stopped"];
    assert!(seen.keys().all(|status| known.contains(&status.as_str())), "{seen:?}");
    resident.delete_force().expect_ok();
    let list = first.call("list").args(["--quiet"]).output().expect_ok();
    assert_eq!(list.stdout, "");
}

#[test]
fn one_of_eight_starts_and_one_of_eight_deletes_succeeds() {
    // The same verb of the same container, eight times at once.
    let first = Bundle::new().sleeping().container();
    for _ in 0..6 {
        let container = first.sibling();
        container.create().expect_ok();
        let at_once = |verb: &str, options: &[&str]| {
            let calls: Vec<_> = (0..CALLERS)
                .map(|_| container.call(verb).args(options).args([container.id()]).spawn())
                .collect();
            let outputs: Vec<_> = calls.into_iter().map(|call| call.wait()).collect();
            let codes: Vec<i32> = outputs.iter().map(|output| output.code()).collect();
            assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{verb}: {outputs:?}");
            assert!(codes.iter().all(|code| matches!(code, 0 | 1)), "{verb}: {outputs:?}");
        };
        at_once("start", &[]);
        assert_eq!(container.status(), "running");
        container.kill("KILL").expect_ok();
        container.wait_status("stopped");
        at_once("delete", &[]);
        container.state_output().expect_code(1).expect_runc_phrase("does not exist");
    }
}
