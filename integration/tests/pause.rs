//! `pause` and `resume`, and what the other commands make of a container that is paused: killed, deleted,
//! started, its cgroup taken away. (The kernel's admin-guide/cgroup-v2.rst "cgroup.freeze".)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::path::{Path, PathBuf};

use integration::{
    Bundle, Container, Process, cgroup2_mount, json, known_gap, requires, running, uses_cgroup2, wait_for,
};
use rustix::process::{Pid, Signal, kill_process};

const ON_V1: &str = "this runtime uses cgroup v1 on a hybrid host";

/// A program that prints a line whenever it has run for a moment.
const TICKING: &str = "trap 'echo got; exit 0' TERM; while :; do echo tick; sleep 0.02; done";

fn ticking(bundle: Bundle) -> Container {
    let container = bundle.sh(TICKING).container();
    container.run_detached().expect_ok();
    container.wait_stdout("tick");
    container
}

fn paused(bundle: Bundle) -> Container {
    let container = ticking(bundle);
    container.pause().expect_ok().expect_no_stderr();
    container
}

fn is_frozen(folder: &Path) -> bool {
    fs::read_to_string(folder.join("cgroup.events")).unwrap().lines().any(|line| line == "frozen 1")
}

/// All three processes are in the container's cgroup, though not in a pid namespace of its own.
fn of_three() -> Container {
    let bundle = Bundle::new().sh("sleep 1000 & sleep 1000 & echo ready; wait").remove_namespace("pid");
    let container = bundle.container();
    container.run_detached().expect_ok();
    wait_for("three processes", || (container.ps().len() == 3).then_some(()));
    container
}

fn wait_gone(pids: &[u32]) {
    for pid in pids {
        wait_for("the end of every process", || (!Process::new(*pid).is_alive()).then_some(()));
    }
}

#[test]
fn what_is_paused_stops_and_what_is_resumed_goes_on() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let container = paused(Bundle::new());
    assert_eq!(container.status(), "paused");
    assert!(is_frozen(&container.init().cgroup_folder()));
    // Stopped means that not even a moment is used any more.
    let (pid, stat) = (container.init_pid(), || container.init().read("stat"));
    let before = (stat(), container.stdout());
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!((stat(), container.stdout()), before);
    assert_eq!(container.state()["pid"], pid);
    container.resume().expect_ok().expect_no_stderr();
    assert_eq!(container.status(), "running");
    let ticks = before.1.len();
    wait_for("a further tick", || (container.stdout().len() > ticks).then_some(()));
    container.pause().expect_ok();
    assert_eq!(container.status(), "paused");
}

#[test]
fn processes_in_nested_cgroups_stop_too() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let script =
        "cd /sys/fs/cgroup && mkdir -p a/b && (echo 0 >a/b/cgroup.procs; exec sleep 1000) & echo up; wait";
    let bundle =
        Bundle::new().remove_mount("/sys/fs/cgroup").mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
    let container = bundle.sh(script).container();
    container.run_detached().expect_ok();
    let folder = container.init().cgroup_folder();
    let nested = folder.join("a/b");
    wait_for("a process in it", || {
        fs::read_to_string(nested.join("cgroup.procs")).is_ok_and(|pids| !pids.is_empty()).then_some(())
    });
    container.pause().expect_ok();
    assert!(is_frozen(&folder) && is_frozen(&nested));
    container.resume().expect_ok();
    assert!(!is_frozen(&folder) && !is_frozen(&nested));
}

#[test]
fn the_wrong_state_is_told_in_the_words_that_callers_know() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Crun, "1.8.1 succeeds at pausing what is paused");
    let container = ticking(Bundle::new());
    container.resume().expect_code(1).expect_runc_phrase("container not paused");
    container.pause().expect_ok();
    container.pause().expect_code(1).expect_runc_phrase("container not running");
    assert_eq!(container.status(), "paused");
    container.kill("KILL").expect_ok();
    container.wait_status("stopped");
    container.pause().expect_code(1).expect_runc_phrase("container not running");
    container.resume().expect_code(1).expect_runc_phrase("container not paused");
    container.delete().expect_ok();
    for output in [container.pause(), container.resume()] {
        output.expect_code(1).expect_runc_phrase("does not exist");
    }
}

#[test]
fn a_created_container_is_paused_and_not_started_before_it_is_resumed() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Crun, "1.8.1 pauses only what runs");
    let container = Bundle::new().sh("echo started").container();
    container.create().expect_ok();
    container.pause().expect_ok();
    assert_eq!(container.status(), "paused");
    container.start().expect_code(1).expect_runc_phrase("cannot start a container in the paused state");
    container.resume().expect_ok();
    assert_eq!(container.status(), "created");
    container.start().expect_ok();
    container.wait_stdout("started");
}

#[test]
fn sigkill_ends_a_paused_container_at_once() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let container = paused(Bundle::new());
    let (init, folder) = (container.init(), container.init().cgroup_folder());
    container.kill("KILL").expect_ok().expect_no_stderr();
    container.wait_status("stopped");
    assert!(!init.is_alive());
    assert_eq!(container.state()["pid"], 0);
    container.delete().expect_ok().expect_no_stderr();
    assert!(!folder.exists());
}

#[test]
fn another_signal_waits_for_resume() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let container = paused(Bundle::new());
    container.kill("TERM").expect_ok();
    assert_eq!(container.status(), "paused");
    assert!(!container.stdout().contains("got"));
    container.resume().expect_ok();
    container.wait_stdout("got");
    container.wait_status("stopped");
}

#[test]
fn kill_all_ends_every_process_of_a_paused_container() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let container = of_three();
    let pids = container.ps();
    container.pause().expect_ok();
    container.call("kill").args(["--all", container.id(), "KILL"]).output().expect_ok();
    wait_gone(&pids);
    assert_eq!(container.status(), "stopped");
    container.delete().expect_ok();
}

#[test]
fn a_signal_to_all_reaches_every_process_once() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Crun, "1.8.1 is ended by its own signal");
    let script = "trap 'echo got; exit 0' TERM; (trap 'echo got; exit 0' TERM; echo up; while :; do sleep 0.02; done) & \
                  echo up; while :; do sleep 0.02; done";
    let container = Bundle::new().sh(script).remove_namespace("pid").container();
    container.run_detached().expect_ok();
    wait_for("both", || (container.stdout().matches("up\n").count() == 2).then_some(()));
    container.call("kill").args(["--all", container.id(), "TERM"]).output().expect_ok();
    wait_for("the end of both", || container.ps().is_empty().then_some(()));
    assert_eq!(container.stdout().matches("got\n").count(), 2);
}

#[test]
fn a_paused_container_is_deleted_only_by_force_with_all_its_processes() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, "1.1.5 complains of a cgroup that is busy for a moment, and leaves it");
    let container = of_three();
    let (pids, folder) = (container.ps(), container.init().cgroup_folder());
    container.pause().expect_ok();
    container.delete().expect_fail().expect_runc_phrase("not stopped");
    assert_eq!(container.status(), "paused");
    container.delete_force().expect_ok().expect_no_stderr();
    wait_gone(&pids);
    assert!(!folder.exists());
    container.state_output().expect_code(1).expect_runc_phrase("does not exist");
}

#[test]
fn who_is_killed_from_outside_while_paused_has_stopped() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, "1.1.5 calls it paused for as long as its cgroup is frozen");
    let container = paused(Bundle::new());
    let folder = container.init().cgroup_folder();
    let pid = i32::try_from(container.init_pid()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    container.wait_status("stopped");
    container.resume().expect_code(1).expect_runc_phrase("container not paused");
    container.delete().expect_ok().expect_no_stderr();
    assert!(!folder.exists());
}

#[test]
fn a_foreground_run_outlasts_a_pause() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let container = Bundle::new().sh("read x; exit 7").container();
    let mut run = container.spawn_run();
    container.wait_running(&mut run);
    container.pause().expect_ok();
    assert_eq!(container.status(), "paused");
    container.resume().expect_ok();
    drop(run.stdin());
    run.wait().expect_code(7);
}

/// Moves the container's processes to the root of the hierarchy and removes their cgroup, as a careless
/// administrator may.
fn take_cgroup_away(container: &Container) -> PathBuf {
    let folder = container.init().cgroup_folder();
    let root = cgroup2_mount().unwrap().join("cgroup.procs");
    wait_for("an empty cgroup", || {
        for pid in fs::read_to_string(folder.join("cgroup.procs")).unwrap().lines() {
            // One that has ended meanwhile cannot be moved.
            let _ = fs::write(&root, pid);
        }
        fs::remove_dir(&folder).ok()
    });
    folder
}

#[test]
fn a_container_whose_cgroup_was_taken_away_says_so_and_is_still_killed_and_deleted() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, "names the missing file alone");
    known_gap!(Crun, "1.8.1 calls it stopped");
    let container = ticking(Bundle::new());
    let init = container.init();
    take_cgroup_away(&container);
    assert_eq!(container.status(), "running");
    container.pause().expect_code(1).expect_stderr("is gone: somebody else has moved the processes");
    container.resume().expect_code(1).expect_stderr("container not paused");
    let limits = json!({"unified": {"cgroup.max.depth": "3"}});
    container.update_to(&limits).expect_code(1).expect_stderr("is gone");
    container.update(&[]).expect_ok();
    for verb in ["ps", "events"] {
        let output = container.call(verb).args([container.id()]).output();
        output.expect_code(1).expect_stderr("somebody else has moved");
    }
    container.call("kill").args(["--all", container.id(), "KILL"]).output().expect_ok();
    container.wait_status("stopped");
    assert!(!init.is_alive());
    container.delete().expect_ok().expect_no_stderr();
}

#[test]
fn a_container_whose_cgroup_was_taken_away_is_deleted_by_force() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Crun, "1.8.1 calls it stopped, and leaves its process alone");
    let container = ticking(Bundle::new());
    let init = container.init();
    take_cgroup_away(&container);
    container.delete_force().expect_ok();
    assert!(!init.is_alive());
}

#[test]
fn of_many_pauses_and_resumes_at_once_each_finds_its_state() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "no lock keeps two of their processes from succeeding at once");
    let container = running(Bundle::new());
    for _ in 0..5 {
        for (verb, refusal, after) in
            [("pause", "container not running", "paused"), ("resume", "container not paused", "running")]
        {
            let calls: Vec<_> = (0..6).map(|_| container.call(verb).args([container.id()]).spawn()).collect();
            let outputs: Vec<_> = calls.into_iter().map(|call| call.wait()).collect();
            assert_eq!(outputs.iter().filter(|output| output.code() == 0).count(), 1, "{outputs:?}");
            for output in outputs.into_iter().filter(|output| output.code() != 0) {
                output.expect_code(1).expect_stderr(refusal);
            }
            assert_eq!(container.status(), after);
        }
    }
}

#[test]
fn nothing_waits_for_a_container_that_is_being_made() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, "1.1.5 has no state of it yet");
    known_gap!(Crun, "1.8.1 has no state of it yet");
    let bundle = Bundle::new().sleeping();
    let (entered, leave) = (bundle.scratch_file("entered"), bundle.scratch_file("leave"));
    let script = format!("touch {entered}; until test -e {leave}; do sleep 0.05; done");
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]);
    let container = bundle.set("/hooks/createRuntime", hook).container();
    let folder = container.bundle().scratch().to_owned();
    let call = container.birth("create", &[]).output_in(&folder).spawn();
    wait_for("the hook", || fs::exists(&entered).unwrap().then_some(()));
    // The creator holds the lock for as long as the hook runs, which may itself be who asks.
    container.pause().expect_code(1).expect_stderr("container not running");
    container.resume().expect_code(1).expect_stderr("container not paused");
    container.update(&["--pids-limit", "5"]).expect_code(1).expect_stderr("container not running");
    assert_eq!(container.status(), "creating");
    fs::write(&leave, "").unwrap();
    call.wait().expect_ok();
    assert_eq!(container.status(), "created");
}
