//! `run` in its forms: in the foreground it is the program to its caller, with `--detach` it only starts it.
//! (Signals are in `signals`, terminals in `terminal`.)
// Helpers outside the test functions panic as these do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use integration::{Bundle, Call, Container, Process, json, known_gap, wait_for};
use rustix::process::{Pid, Signal, kill_process};

/// What the runtime keeps under `--root`.
fn kept(container: &Container) -> Vec<String> {
    let entries = fs::read_dir(container.state_root()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

fn parent(pid: u32) -> u32 {
    Process::new(pid).status("PPid").parse().unwrap()
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn run_gives_every_kind_of_exit_status() {
    for code in [0, 1, 2, 125, 126, 127, 128, 137, 254, 255] {
        let container = Bundle::new().sh(&format!("exit {code}")).container();
        container.run().expect_code(code).expect_stdout("").expect_no_stderr();
        assert!(kept(&container).is_empty());
    }
}

#[test]
fn run_gives_the_same_status_with_a_terminal() {
    known_gap!(Runc, "1.1.5 wants a terminal of its own");
    known_gap!(Crun, "1.8.1 wants a terminal of its own");
    for code in [0, 1, 127, 255] {
        let bundle = Bundle::new().set("/process/terminal", json!(true));
        bundle.sh(&format!("echo out; exit {code}")).run().expect_code(code).expect_stdout("out\n");
    }
}

#[test]
fn a_program_that_cannot_be_run_is_an_error_of_run_itself() {
    for args in [&["no-such-program"][..], &["/etc/passwd"], &["/nowhere/program"], &["/etc"]] {
        let container = Bundle::new().args(args).container();
        container.run().expect_code(1).expect_stdout("");
        container.state_output().expect_code(1).expect_runc_phrase("does not exist");
        assert!(kept(&container).is_empty());
    }
}

#[test]
fn keep_leaves_the_stopped_container() {
    known_gap!(Crun, "1.8.1 always deletes it");
    let container = Bundle::new().sh("exit 5").container();
    container.run_with(&["--keep"]).expect_code(5);
    let state = container.state();
    assert_eq!((&state["status"], &state["pid"]), (&json!("stopped"), &json!(0)));
    container.run().expect_code(1).expect_runc_phrase("container with given ID already exists");
    container.kill("KILL").expect_code(1).expect_runc_phrase("container not running");
    container.delete().expect_ok();
    container.run().expect_code(5);
}

#[test]
fn keep_leaves_a_container_that_was_killed() {
    known_gap!(Crun, "1.8.1 always deletes it");
    let container = Bundle::new().sleeping().container();
    let mut running = container.birth("run", &["--keep"]).stdin_pipe().spawn();
    container.wait_running(&mut running);
    container.kill("KILL").expect_ok();
    running.wait().expect_code(137);
    assert_eq!(container.status(), "stopped");
    container.delete().expect_ok();
}

#[test]
fn a_detached_run_returns_while_the_program_runs() {
    let container = Bundle::new().sh("read x </fifo; exit 3").container();
    let fifo = container.bundle().rootfs().join("fifo");
    assert!(Call::of("mkfifo").args([&fifo]).output().status.success());
    container.run_detached().expect_ok();
    assert_eq!(container.status(), "running");
    let ended = container.init_pid();
    fs::write(&fifo, "go\n").unwrap();
    container.wait_status("stopped");
    assert!(!Process::new(ended).is_alive());
    container.delete().expect_ok();
}

#[test]
fn a_detached_program_does_not_stay_the_runtimes_child() {
    let container = Bundle::new().sleeping().container();
    let folder = container.bundle().scratch().to_owned();
    let running = container.birth("run", &["-d"]).output_in(&folder).spawn();
    let runtime = running.pid();
    running.wait().expect_ok();
    assert_ne!(parent(container.init_pid()), runtime);
}

#[test]
fn a_detached_program_that_cannot_be_run_is_an_error() {
    let container = Bundle::new().args(&["no-such-program"]).container();
    container.run_detached().expect_fail();
    container.state_output().expect_code(1).expect_runc_phrase("does not exist");
}

#[test]
fn the_container_outlives_a_run_that_is_killed() {
    let container = Bundle::new().sleeping().container();
    // Files, since the container keeps its outputs open.
    let folder = container.bundle().scratch().to_owned();
    let mut running = container.birth("run", &[]).output_in(&folder).spawn();
    container.wait_running(&mut running);
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code(), 137);
    assert_eq!(container.status(), "running");
    container.delete_force().expect_ok();
    assert!(kept(&container).is_empty());
}

#[test]
fn a_container_that_others_delete_ends_its_run_without_an_error() {
    known_gap!(Runc, "1.1.5 may report that the container does not exist");
    known_gap!(Crun, "1.8.1 may report that the container does not exist");
    for _ in 0..5 {
        let container = Bundle::new().sleeping().container();
        let mut running = container.spawn_run();
        container.wait_running(&mut running);
        container.delete_force().expect_ok();
        running.wait().expect_code(137).expect_no_stderr();
        assert!(kept(&container).is_empty());
    }
}

#[test]
fn a_name_that_was_given_anew_is_left_alone_at_the_end_of_run() {
    known_gap!(Runc, "1.1.5 deletes by name");
    known_gap!(Crun, "1.8.1 deletes by name");
    let container = Bundle::new().sleeping().container();
    let mut running = container.spawn_run();
    container.wait_running(&mut running);
    // Refused, but only once the run has let go of the container, which it then waits for.
    container.delete().expect_code(1);
    // Stopped, the run cannot clean up before the name is taken again.
    running.signal(Signal::STOP);
    container.delete_force().expect_ok();
    container.create().expect_ok();
    running.signal(Signal::CONT);
    running.wait().expect_code(137);
    assert_eq!(container.status(), "created");
}

/// A container without a pid namespace whose first process leaves an orphan, and says which.
fn with_orphan(after: &str) -> Container {
    let script = format!("(sleep 1000 >/dev/null 2>&1 & echo $! >/told/orphan); echo left; {after}");
    let bundle = Bundle::new();
    let told = bundle.scratch_file("told");
    fs::create_dir(&told).unwrap();
    bundle.bind(&told, "/told", &["bind"]).sh(&script).remove_namespace("pid").container()
}

fn orphan(container: &Container) -> u32 {
    let file = container.bundle().scratch().join("told/orphan");
    wait_for("the orphan's pid", || fs::read_to_string(&file).ok()?.strip_suffix('\n')?.parse().ok())
}

#[test]
fn orphans_come_to_a_foreground_run_and_are_reaped() {
    known_gap!(Crun, "1.8.1 is no subreaper");
    let container = with_orphan("read x; exit 4");
    let mut running = container.spawn_run();
    container.wait_running(&mut running);
    let orphan = orphan(&container);
    wait_for("the new parent", || (parent(orphan) == running.pid()).then_some(()));
    kill(orphan);
    wait_for("the orphan reaped", || (!Process::new(orphan).path("").exists()).then_some(()));
    running.expect_alive();
    running.wait().expect_code(4); // read ends with the input, which wait() closes
}

#[test]
fn orphans_go_to_the_system_with_no_subreaper() {
    known_gap!(Crun, "1.8.1 knows --no-subreaper and ignores it");
    let container = with_orphan("read x; exit 4");
    let mut running = container.birth("run", &["--no-subreaper"]).stdin_pipe().spawn();
    container.wait_running(&mut running);
    let (orphan, init) = (orphan(&container), container.init_pid());
    wait_for("the new parent", || (parent(orphan) != init && parent(orphan) != 0).then_some(()));
    // A process between it and the first may still be ending.
    wait_for("a parent outside", || {
        let parent = parent(orphan);
        (parent == 1 || Process::new(parent).is_alive()).then_some(())
    });
    assert_ne!(parent(orphan), running.pid());
    running.wait().expect_code(4);
}

#[test]
fn orphans_do_not_outlive_a_foreground_run() {
    known_gap!(Runc, "1.1.5 leaves what is in the host's pid namespace");
    known_gap!(Crun, "1.8.1 leaves what is in the host's pid namespace");
    let container = with_orphan("exit 4");
    container.run().expect_code(4).expect_stdout("left\n");
    assert!(!Process::new(orphan(&container)).is_alive());
    assert!(kept(&container).is_empty());
}

#[test]
fn many_orphans_do_not_hide_the_status_of_the_program() {
    // All end at about the same time, the program among them.
    let script = "i=0; while [ $i -lt 40 ]; do (true & ) ; i=$((i+1)); done; exit 7";
    let container = Bundle::new().sh(script).remove_namespace("pid").container();
    for _ in 0..15 {
        container.run().expect_code(7).expect_no_stderr();
    }
    assert!(kept(&container).is_empty());
}

/// `run` as the end of a bash script, whose children become the runtime's.
fn run_after(container: &Container, script: &str) -> Call {
    container.birth_by(&["bash", "-c", script, "bash"], "run", &[])
}

#[test]
fn children_that_the_caller_left_are_not_taken_for_the_program() {
    known_gap!(Crun, "needs the harness's wrapper on a hybrid host");
    for pid_namespace in [true, false] {
        let mut bundle = Bundle::new().sh("sleep 0.5; exit 6");
        if !pid_namespace {
            bundle = bundle.remove_namespace("pid");
        }
        let script = "sleep 0.2 >/dev/null 2>&1 & (exit 9) & exec \"$@\"";
        run_after(&bundle.container(), script).output().expect_code(6);
    }
}

#[test]
fn large_input_and_output_pass_through_pipes() {
    let input: Vec<u8> = (0..20_000_000_u32).map(|n| b"0123456789abcdef"[(n % 16) as usize]).collect();
    let container = Bundle::new().args(&["cat"]).container();
    let output = container.birth("run", &[]).stdin_bytes(input.clone()).output().expect_ok();
    assert!(output.stdout.as_bytes() == input, "{} of {} bytes", output.stdout.len(), input.len());
}

#[test]
fn output_and_errors_are_not_mixed() {
    let script = "head -c 3000000 /dev/zero | tr '\\0' o; head -c 3000000 /dev/zero | tr '\\0' e >&2; exit 2";
    let output = Bundle::new().sh(script).run().expect_code(2);
    assert_eq!((output.stdout.len(), output.stderr.len()), (3_000_000, 3_000_000));
    assert!(output.stdout.bytes().all(|byte| byte == b'o') && output.stderr.bytes().all(|byte| byte == b'e'));
}

#[test]
fn the_end_of_the_input_reaches_the_program() {
    let container = Bundle::new().sh("wc -c; echo end").container();
    let mut running = container.spawn_run();
    container.wait_running(&mut running);
    let mut input = running.stdin();
    std::io::Write::write_all(&mut input, b"12345").unwrap();
    drop(input);
    running.wait().expect_ok().expect_stdout("5\nend\n");
}

#[test]
fn a_reader_that_goes_away_ends_the_program_as_anywhere() {
    known_gap!(Crun, "needs the harness's wrapper on a hybrid host");
    let container = Bundle::new().sh("yes; echo $? >&2; exit 6").container();
    let output = run_after(&container, "\"$@\" | head -c 1; exit ${PIPESTATUS[0]}").output().expect_code(6);
    assert_eq!(output.stdout, "y");
    container.state_output().expect_code(1);
}

#[test]
fn the_runtime_itself_holds_nothing_of_the_programs_output() {
    known_gap!(Crun, "1.8.1 waits with them open");
    // A program that closes its output while it runs on must be seen to.
    let container = Bundle::new().sh("exec >&- 2>&-; read x; exit 3").container();
    let folder = container.bundle().scratch().to_owned();
    let mut running = container.birth("run", &[]).stdin_pipe().output_in(&folder).spawn();
    container.wait_running(&mut running);
    wait_for("closed outputs", || {
        let open = container.init().descriptors();
        (!open.iter().any(|(number, _)| matches!(number, 1 | 2))).then_some(())
    });
    running.wait().expect_code(3);
}

#[test]
fn several_runs_of_one_bundle_do_not_disturb_each_other() {
    let first = Bundle::new().sh("read x; echo got $x").container();
    let others: Vec<Container> = (0..4).map(|_| first.sibling()).collect();
    let mut runs: Vec<_> = others.iter().map(Container::spawn_run).collect();
    for (container, running) in others.iter().zip(&mut runs) {
        container.wait_running(running);
    }
    for (number, running) in runs.iter_mut().enumerate() {
        std::io::Write::write_all(&mut running.stdin(), format!("{number}\n").as_bytes()).unwrap();
    }
    for (number, running) in runs.into_iter().enumerate() {
        running.wait().expect_ok().expect_stdout(&format!("got {number}\n"));
    }
    assert!(kept(&first).is_empty());
}
