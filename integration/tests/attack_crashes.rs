//! The runtime killed at any moment, and several of it at once on one container.
//!
//! After a SIGKILL nothing is said about what is left, except that it is never lied about, that no call
//! crashes or hangs on it, and that `delete --force` leaves nothing: no folder, process, cgroup or mount.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod attack;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use integration::{
    Bundle, Call, Container, Output, Process, cgroup2_mount, json, kernel_at_least, kernel_has, requires,
    running, wait_for,
};
use rustix::process::{Pid, Signal, kill_process};

/// How many of the runtime's processes are killed, over all commands.
const ROUNDS: u32 = 100;
const STATUSES: [&str; 5] = ["creating", "created", "running", "paused", "stopped"];

/// Moments spread over the time a command takes: every round another one, most of them early, and the same
/// in every run of the test.
fn moment(round: u32) -> Duration {
    // A full period of a linear congruence: no two rounds alike.
    let mixed = round.wrapping_mul(7919).wrapping_add(104_729) % 20_000;
    Duration::from_micros(u64::from(mixed))
}

/// What is on the host of a container beside its folder.
fn cgroups_of(container: &Container) -> Vec<PathBuf> {
    fn below(folder: &std::path::Path, name: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().contains(name) {
                    found.push(entry.path());
                }
                below(&entry.path(), name, found);
            }
        }
    }
    let mut found = Vec::new();
    if let Some(mount) = cgroup2_mount() {
        below(&mount, container.id(), &mut found);
    }
    found
}

/// The processes of a container: by their cgroup, and those of its bundle by their command line.
fn processes_of(container: &Container) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let cgroup = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        let ours = cgroup.contains(container.id()) || command.contains(container.id());
        if ours && Process::new(pid).is_alive() {
            found.push(pid);
        }
    }
    found
}

#[track_caller]
fn expect_sound(output: &Output) {
    assert!(output.status.code().is_some_and(|code| code <= 1), "{output}");
    assert!(!output.stderr.contains("panicked"), "{output}");
}

/// `state` and `list` on whatever is there: an answer that is true at that moment, or a reason.
#[track_caller]
fn look(container: &Container) {
    let state = container.state_output();
    expect_sound(&state);
    if state.status.success() {
        let document = state.json();
        let status = document["status"].as_str().unwrap().to_owned();
        assert!(STATUSES.contains(&status.as_str()), "{document}");
        let pid = document["pid"].as_u64().unwrap();
        // Who is said to be alive is alive, unless it ended between the answer and the look.
        if pid != 0 && !Process::new(u32::try_from(pid).unwrap()).is_alive() {
            wait_for("state to notice the end of init", || {
                let state = container.state_output();
                (!state.status.success() || state.json()["pid"] != pid).then_some(())
            });
        }
    } else {
        let known = ["does not exist", "stale"];
        assert!(known.iter().any(|phrase| state.stderr.contains(phrase)), "{state}");
    }
    for format in ["table", "json"] {
        let list = container.call("list").args(["--format", format]).output();
        expect_sound(&list);
        assert!(list.status.success(), "{list}");
    }
}

/// `delete --force`, then nothing.
#[track_caller]
fn clean_up(container: &Container, what: &str) {
    let output = container.delete_force();
    assert!(output.status.success(), "{what}: {output}");
    let folder = container.state_root().join(container.id());
    assert!(folder.symlink_metadata().is_err(), "{what}: the folder is left");
    // An init that was never told of is gone with the runtime, though perhaps a moment later.
    wait_for(&format!("{what}: the end of all processes"), || {
        processes_of(container).is_empty().then_some(())
    });
    // Nor is a cgroup left that came after what `delete` knew of.
    let left = cgroups_of(container);
    assert!(left.is_empty(), "{what}: {left:?}");
    let scratch = container.bundle().scratch().to_owned();
    let mounts = Process::this().mounts();
    assert!(!mounts.iter().any(|mount| mount.destination.starts_with(&scratch)), "{what}: {mounts:#?}");
}

/// A container that has every reason to leave something behind.
fn rich() -> Container {
    Bundle::new()
        .sleeping()
        .mount("/data", "tmpfs", "tmpfs", &[])
        .push("/hooks/createRuntime", json!({"path": "/bin/true"}))
        .push("/hooks/createContainer", json!({"path": "/bin/true"}))
        .container()
}

#[track_caller]
fn kill_at_every_moment(command: &str, rounds: u32) {
    let container = rich();
    let mut killed = 0;
    for round in 0..rounds {
        let what = format!("{command} killed after {:?}", moment(round));
        let call = match command {
            "create" => container.birth("create", &[]),
            "run" => container.birth("run", &["--detach"]),
            _ => {
                container.create().expect_ok();
                if command == "delete" {
                    container.start().expect_ok();
                    container.kill("KILL").expect_ok();
                    container.wait_status("stopped");
                }
                container.call(command).args([container.id()])
            }
        };
        let folder = container.bundle().scratch().join("output");
        let _ = fs::create_dir(&folder);
        let mut running = call.output_in(&folder).spawn();
        std::thread::sleep(moment(round));
        if running.is_running() {
            running.signal(Signal::KILL);
        }
        let output = running.wait();
        killed += u32::from(output.status.signal() == Some(libc::SIGKILL));
        assert!(!output.stderr.contains("panicked"), "{what}: {output}");
        look(&container);
        clean_up(&container, &what);
    }
    assert_ne!(killed, 0, "no {command} was killed before its end");
}

#[test]
fn create_is_killed_at_any_moment() {
    ours_only!();
    kill_at_every_moment("create", ROUNDS * 2 / 5);
}

#[test]
fn run_is_killed_at_any_moment() {
    ours_only!();
    kill_at_every_moment("run", ROUNDS / 5);
}

#[test]
fn start_is_killed_at_any_moment() {
    ours_only!();
    kill_at_every_moment("start", ROUNDS / 5);
}

#[test]
fn delete_is_killed_at_any_moment() {
    ours_only!();
    kill_at_every_moment("delete", ROUNDS / 5);
}

#[test]
fn create_is_killed_in_the_middle_of_every_hook_before_start() {
    ours_only!();
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let bundle = Bundle::new().sleeping();
        let reached = bundle.scratch().join("reached");
        // A hook that outlives the runtime: it is not the container's process, and ends on its own.
        let script = format!("echo > {}; sleep 2", reached.display());
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]});
        let container = bundle.push(&format!("/hooks/{kind}"), hook).container();
        let folder = container.bundle().scratch_file("output");
        fs::create_dir(&folder).unwrap();
        let running = container.birth("create", &[]).output_in(folder.as_ref()).spawn();
        wait_for("the hook", || reached.exists().then_some(()));
        running.signal(Signal::KILL);
        running.wait();
        look(&container);
        clean_up(&container, kind);
    }
}

#[test]
fn of_many_creators_of_one_id_exactly_one_wins() {
    ours_only!();
    for _ in 0..10 {
        let container = Bundle::new().sleeping().container();
        let calls: Vec<_> = (0..8)
            .map(|number| {
                let folder = container.bundle().scratch().join(format!("output-{number}"));
                fs::create_dir(&folder).unwrap();
                container.birth("create", &[]).output_in(&folder).spawn()
            })
            .collect();
        let outputs: Vec<Output> = calls.into_iter().map(integration::Running::wait).collect();
        let winners = outputs.iter().filter(|output| output.status.success()).count();
        assert_eq!(winners, 1, "{outputs:#?}");
        for output in outputs.iter().filter(|output| !output.status.success()) {
            output.clone().expect_code(1).expect_stderr("container with given ID already exists");
        }
        assert_eq!(container.status(), "created");
        container.start().expect_ok();
        clean_up(&container, "many creators");
    }
}

#[test]
fn of_many_starts_exactly_one_starts() {
    ours_only!();
    for _ in 0..10 {
        let container = Bundle::new()
            .sh("echo started; trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done")
            .container();
        container.create().expect_ok();
        let calls: Vec<_> = (0..6).map(|_| container.call("start").args([container.id()]).spawn()).collect();
        let outputs: Vec<Output> = calls.into_iter().map(integration::Running::wait).collect();
        let winners = outputs.iter().filter(|output| output.status.success()).count();
        assert_eq!(winners, 1, "{outputs:#?}");
        for output in outputs.iter().filter(|output| !output.status.success()) {
            output.clone().expect_code(1).expect_stderr("cannot start an already running container");
        }
        container.wait_stdout("started\n");
        assert_eq!(container.stdout(), "started\n");
        clean_up(&container, "many starts");
    }
}

#[test]
fn many_deletes_at_once_leave_nothing_and_lie_to_nobody() {
    ours_only!();
    for force in [false, true] {
        for _ in 0..10 {
            let container = Bundle::new().sleeping().container();
            container.create().expect_ok();
            let options: &[&str] = if force { &["--force"] } else { &[] };
            let calls: Vec<_> = (0..6)
                .map(|_| container.call("delete").args(options).args([container.id()]).spawn())
                .collect();
            let outputs: Vec<Output> = calls.into_iter().map(integration::Running::wait).collect();
            let winners = outputs.iter().filter(|output| output.status.success()).count();
            if force {
                assert_eq!(winners, outputs.len(), "{outputs:#?}");
            } else {
                assert_eq!(winners, 1, "{outputs:#?}");
            }
            for output in outputs.iter().filter(|output| !output.status.success()) {
                output.clone().expect_code(1).expect_stderr("does not exist");
            }
            clean_up(&container, "many deletes");
        }
    }
}

#[test]
fn start_and_delete_by_force_at_once_end_in_nothing() {
    ours_only!();
    for round in 0..20 {
        let container = Bundle::new().sleeping().container();
        container.create().expect_ok();
        let start = container.call("start").args([container.id()]).spawn();
        std::thread::sleep(moment(round) / 8);
        let deleted = container.delete_force();
        let started = start.wait();
        assert!(deleted.status.success(), "{deleted}");
        expect_sound(&started);
        container.state_output().expect_code(1).expect_stderr("does not exist");
        clean_up(&container, "start and delete");
    }
}

#[test]
fn a_slow_hook_of_create_keeps_delete_by_force_from_nothing() {
    ours_only!();
    let bundle = Bundle::new().sleeping();
    let (reached, go) = (bundle.scratch().join("reached"), bundle.scratch().join("go"));
    let script = format!("echo > {}; until test -e {}; do sleep 0.05; done", reached.display(), go.display());
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]});
    let container = bundle.push("/hooks/createRuntime", hook).container();
    let folder = container.bundle().scratch_file("output");
    fs::create_dir(&folder).unwrap();
    let create = container.birth("create", &[]).output_in(folder.as_ref()).spawn();
    wait_for("the hook", || reached.exists().then_some(()));
    // While it is made: everyone is told so, and nobody waits for the hook.
    assert_eq!(container.status(), "creating");
    container.delete().expect_code(1).expect_stderr("that is not stopped: creating");
    container.start().expect_code(1).expect_stderr("creating");
    // By force it goes, though `create` still waits for its hook.
    let delete = container.call("delete").args(["--force", container.id()]).spawn();
    wait_for("the end of init", || {
        let state = container.state_output();
        (!state.status.success() || state.json()["status"] == "stopped").then_some(())
    });
    fs::write(&go, "").unwrap();
    delete.wait().expect_ok();
    create.wait().expect_code(1);
    clean_up(&container, "delete while create runs a hook");
}

#[test]
fn state_and_list_tell_the_truth_while_a_container_comes_and_goes() {
    ours_only!();
    let container = Bundle::new().sleeping().container();
    for _ in 0..5 {
        let folder = container.bundle().scratch().join("output");
        let _ = fs::create_dir(&folder);
        let create = container.birth("create", &[]).output_in(&folder).spawn();
        for _ in 0..5 {
            look(&container);
        }
        create.wait().expect_ok();
        let delete = container.call("delete").args(["--force", container.id()]).spawn();
        for _ in 0..5 {
            look(&container);
        }
        delete.wait().expect_ok();
        clean_up(&container, "coming and going");
    }
}

/// `start` sleeps while init dies and its new parent takes it off the process table: there is nothing left by which
/// its end could be told from the beginning of the program, but what it had said.
#[test]
fn an_init_that_is_gone_before_start_looks_is_not_taken_for_a_program() {
    ours_only!();
    let slow = json!([{"path": "/bin/sh", "args": ["sh", "-c", "sleep 1000"]}]);
    let container = Bundle::new().sleeping().set("/hooks/startContainer", slow).container();
    container.create().expect_ok();
    let init = container.init();
    let start = container.call("start").args([container.id()]).spawn();
    let children = format!("task/{}/children", init.pid());
    wait_for("the hook of init", || (!init.read(&children).trim().is_empty()).then_some(()));
    start.signal(Signal::STOP);
    let stopped = Process::new(start.pid());
    wait_for("start to stop", || stopped.status("State").starts_with('T').then_some(()));
    kill_process(Pid::from_raw(init.pid().cast_signed()).unwrap(), Signal::KILL).unwrap();
    wait_for("init off the process table", || (!init.path("stat").exists()).then_some(()));
    start.signal(Signal::CONT);
    let output = start.wait().expect_code(1).expect_stderr("the container's init ");
    let how = if kernel_at_least(6, 15) { "was killed by signal 9" } else { "ended" };
    output.expect_stderr(&format!("{how} before it ran the program"));
    assert_eq!(container.status(), "stopped");
}

/// Between the clone and its end the process that joins namespaces for init is stopped, as anybody can do who shares
/// its user, and the runtime killed: nobody is left who could want the lock.
#[test]
fn a_clone_that_is_stopped_does_not_keep_the_lock_of_a_runtime_that_was_killed() {
    ours_only!();
    requires!(kernel_has("/usr/bin/strace"), "no strace");
    let pause = running(Bundle::new());
    let path = format!("/proc/{}/ns/pid", pause.init_pid());
    let container = Bundle::new().join_namespace("pid", &path).sleeping().container();
    let trace = container.bundle().scratch_file("trace");
    let inject = "inject=setns:signal=STOP";
    let strace = ["strace", "-f", "-qq", "-o", &trace, "-e", "trace=setns", "-e", inject];
    let folder = container.bundle().scratch().to_owned();
    let strace = container.birth_by(&strace, "create", &[]).output_in(&folder).spawn();
    let child_of = |parent: u32| {
        let children = Process::new(parent).read(&format!("task/{parent}/children"));
        children.split_whitespace().next().map(|pid| pid.parse::<u32>().unwrap())
    };
    wait_for("the stop", || fs::read_to_string(&trace).ok()?.contains("stopped by SIGSTOP").then_some(()));
    let runtime = child_of(strace.pid()).expect("strace runs the runtime");
    let stopped = child_of(runtime).expect("the runtime has cloned");
    let kill = |pid: u32| kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
    kill(runtime);
    wait_for("the end of the runtime", || (!Process::new(runtime).is_alive()).then_some(()));
    assert!(Process::new(stopped).is_alive(), "the ground of this test");
    let lock = Call::of("flock").args(["--nonblock"]).args([container.state_root().join(container.id())]);
    let free = lock.args(["true"]).output();
    kill(stopped);
    strace.wait();
    free.expect_ok();
    clean_up(&container, "a stopped clone");
}
