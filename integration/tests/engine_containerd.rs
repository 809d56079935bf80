//! containerd with this runtime: what ctr(8) can do.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::engine::{Containerd, manual, workloads};
use integration::{Terminal, wait_for};

/// Leaves the test as skipped where there is no containerd; else a daemon of its own.
macro_rules! containerd {
    () => {{
        if let Some(obstacle) = Containerd::obstacle() {
            integration::skip!("{obstacle}");
        }
        Containerd::start()
    }};
}

#[test]
fn the_lines_of_the_manual_plug_it_in() {
    let containerd = containerd!();
    for (command, printed) in
        [manual::dialogue("containerd-ctr"), manual::dialogue("containerd-proof")].concat()
    {
        let command = command.replace("ctr run", &format!("ctr run {}", containerd.no_limits().join(" ")));
        containerd.world().sh(&command).output().expect_ok().expect_stdout(&printed);
    }
}

#[test]
fn a_container_runs_to_its_end() {
    let containerd = containerd!();
    containerd
        .sh(&[], "echo out; echo err >&2; exit 7")
        .expect_code(7)
        .expect_stdout("out\n")
        .expect_stderr("err");
    let missing = containerd.run(&["--rm"], "missing", &["no-such-program"]).output().expect_code(1);
    missing.expect_stderr("exec: \"no-such-program\": executable file not found in $PATH");
    // What failed is gone, and its name free.
    containerd.run(&["--rm"], "missing", &["true"]).output().expect_ok();
    let options = ["--env", "A=b", "--cwd", "/tmp", "--read-only"];
    let output = containerd.sh(&options, "echo $A; pwd; touch /x 2>/dev/null || echo read-only");
    output.expect_ok().expect_stdout("b\n/tmp\nread-only\n");
    let devices = containerd.sh(&["--privileged"], "mount -t tmpfs tmpfs /mnt && echo mounted");
    devices.expect_ok().expect_stdout("mounted\n");
    let host = containerd.sh(&["--net-host"], "hostname; cat /sys/class/net/lo/flags");
    host.expect_ok().expect_stdout("engines\n0x9\n");
}

#[test]
fn a_task_is_paused_killed_and_deleted() {
    let containerd = containerd!();
    let _events = containerd.watch();
    let name = containerd.detached(workloads::POLITE);
    containerd.wait_event("/tasks/start", &name);
    containerd.ctr(&["task", "pause", &name]).expect_ok();
    assert_eq!(containerd.status(&name).as_deref(), Some("PAUSED"));
    let refused = containerd.exec(&[], &name, "true").output().expect_fail();
    refused.expect_stderr("cannot exec in a paused state");
    containerd.ctr(&["task", "resume", &name]).expect_ok();
    assert_eq!(containerd.status(&name).as_deref(), Some("RUNNING"));
    let processes = containerd.ctr(&["task", "ps", &name]).expect_ok();
    assert!(processes.stdout.lines().count() >= 2, "{processes}");
    let metrics = containerd.ctr(&["task", "metrics", &name]).expect_ok();
    assert!(metrics.stdout.contains(&name), "{metrics}");
    // A container that runs is not deleted.
    containerd.ctr(&["container", "delete", &name]).expect_fail();
    containerd.ctr(&["task", "kill", "--signal", "SIGTERM", &name]).expect_ok();
    containerd.wait_status(&name, "STOPPED");
    let exit = containerd.wait_event("/tasks/exit", &name);
    assert!(exit.contains("\"exit_status\":3"), "{exit}");
    containerd.ctr(&["task", "kill", &name]).expect_fail().expect_stderr("not found");
    containerd.ctr(&["task", "delete", &name]).expect_ok();
    containerd.ctr(&["container", "delete", &name]).expect_ok();
    // The runtime keeps nothing either.
    let left =
        containerd.world().sh("ls /run/containerd/runc/default /sys/fs/cgroup/default 2>/dev/null || true");
    let left = left.output().stdout;
    assert!(!left.contains(&name), "{left}");
}

#[test]
fn tasks_live_on_when_containerd_is_killed() {
    let mut containerd = containerd!();
    let name = containerd.detached(workloads::POLITE);
    let ending = containerd.detached("sleep 1; exit 6");
    containerd.wait_status(&name, "RUNNING");
    containerd.murder_and_restart();
    assert_eq!(containerd.status(&name).as_deref(), Some("RUNNING"));
    containerd.wait_status(&ending, "STOPPED");
    containerd.ctr(&["task", "delete", &ending]).expect_ok();
    let _events = containerd.watch();
    containerd.ctr(&["task", "pause", &name]).expect_ok();
    containerd.wait_event("/tasks/paused", &name);
    containerd.ctr(&["task", "resume", &name]).expect_ok();
    containerd.ctr(&["task", "kill", &name]).expect_ok();
    let exit = containerd.wait_event("/tasks/exit", &name);
    assert!(exit.contains("\"exit_status\":3"), "{exit}");
    containerd.ctr(&["task", "delete", &name]).expect_ok();
}

#[test]
fn a_task_has_a_terminal() {
    let containerd = containerd!();
    let (mut terminal, other) = Terminal::pair();
    terminal.resize(31, 77);
    let running = containerd.run(&["--rm", "--tty"], "talk", &["sh"]).on_terminal(other).spawn();
    terminal.send("until [ \"$(stty size)\" = '31 77' ]; do sleep 0.1; done; echo siz''ed; tty\n");
    terminal.read_until("sized\r");
    terminal.read_until("/dev/pts/0");
    terminal.send("exit 5\n");
    running.wait().expect_code(5);
    wait_for("the end of the container", || {
        let list = containerd.ctr(&["container", "list", "--quiet"]).expect_ok();
        list.stdout.is_empty().then_some(())
    });
}

#[test]
fn further_programs_run_in_a_task() {
    let containerd = containerd!();
    let name = containerd.detached(workloads::POLITE);
    let exec = |options: &[&str], script: &str| containerd.exec(options, &name, script).output();
    exec(&[], "echo out; echo err >&2; exit 7").expect_code(7).expect_stdout("out\n").expect_stderr("err");
    exec(&["--user", "1000", "--cwd", "/tmp"], "id -u; pwd").expect_ok().expect_stdout("1000\n/tmp\n");
    let same = "cmp /proc/1/cgroup /proc/self/cgroup && \
        [ $(readlink /proc/1/ns/pid) = $(readlink /proc/self/ns/pid) ] && echo same";
    exec(&[], same).expect_ok().expect_stdout("same\n");
    let (mut terminal, other) = Terminal::pair();
    let running = containerd.exec(&["--tty"], &name, "tty; read x; exit $x").on_terminal(other).spawn();
    terminal.read_until("/dev/pts/0");
    terminal.send("5\n");
    running.wait().expect_code(5);
}
