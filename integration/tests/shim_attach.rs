//! `shim attach`, and the same of `run`: somebody at a terminal, or a script with pipes.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::time::Duration;

use integration::{Call, Process, Running, Shim, Terminal, Value, is_root, requires, wait_for};
use rustix::process::{Pid, Signal, kill_process};

const NOT_ROOT: &str = "containers with layers of their own need root";

/// Runs a call on a terminal of its own; both.
fn on_terminal(call: Call) -> (Terminal, Running) {
    let (terminal, other): (Terminal, OwnedFd) = Terminal::pair();
    terminal.resize(24, 80);
    (terminal, call.on_terminal(other).spawn())
}

/// The terminal as it was before anybody made it raw.
fn cooked() -> String {
    Terminal::pair().0.attributes()
}

/// Types a line and waits for the answer, which must not be a part of the line: terminals show what is typed.
fn answer(terminal: &mut Terminal, line: &str, text: &str) {
    terminal.send(&format!("{line}\n"));
    terminal.read_until(text);
}

/// Asks until the container's terminal has this size.
fn wait_for_size(terminal: &mut Terminal, size: &str) {
    let mut number = 1000;
    wait_for("the new size", || {
        number += 1;
        terminal.send(&format!("stty size; echo $(({number}+1000))\n"));
        terminal.read_until(&(number + 1000).to_string()).contains(size).then_some(())
    });
}

#[test]
fn a_script_has_both_streams_its_input_and_the_exit_status() {
    requires!(is_root(), "{NOT_ROOT}");
    let shim = Shim::with_busybox();
    // The end of one client's input is not the container's, where it was not started for that client alone.
    let script = "read x; echo got $x; echo err >&2; read y; echo got $y; exit 7";
    let id = shim.detached(&["-i", "busybox", "sh", "-c", script]);
    let first = shim.call(&["attach", &id[..12]]).stdin_bytes("one\n").spawn();
    wait_for("the first line", || shim.cli(&["logs", &id]).stdout.contains("got one").then_some(()));
    shim.call(&["attach", &id]).stdin_bytes("two\n").output().expect_code(7).expect_stdout("got two\n");
    let first = first.wait().expect_code(7);
    assert_eq!((first.stdout.as_str(), first.stderr.as_str()), ("got one\ngot two\n", "err\n"));
    let stopped = shim.cli(&["attach", &id]).expect_code(1);
    stopped.expect_stderr("cannot attach to a stopped container, start it first");

    // The same with `run`, and input that is longer than any buffer.
    let long = "x".repeat(3_000_000);
    let call = shim.call(&["run", "--rm", "-i", "busybox", "sh", "-c", "wc -c; exit 9"]);
    call.stdin_bytes(long.clone()).output().expect_code(9).expect_stdout("3000000\n");
    let call = shim.call(&["run", "--rm", "-i", "busybox", "cat"]).stdin_bytes(long.clone());
    assert!(call.output().expect_ok().stdout == long, "every byte comes back");
    shim.run(&["--rm", "busybox", "cat"]).expect_ok().expect_stdout("");
}

#[test]
fn what_is_printed_goes_to_all_who_are_attached_and_a_slow_one_loses_nothing() {
    requires!(is_root(), "{NOT_ROOT}");
    let shim = Shim::with_busybox();
    let id = shim.detached(&["-i", "busybox", "sh", "-c", "read go; seq 1 20000; read end"]);
    let mut typing = shim.call(&["attach", &id]).stdin_pipe().spawn();
    let watching = shim.call(&["attach", "--no-stdin", &id]).spawn();
    // It does not read what it gets before the end.
    let slow =
        shim.call(&["attach", "--no-stdin", &id]).through(&["sh", "-c", "\"$0\" \"$@\" | (sleep 1; wc -l)"]);
    let slow = slow.spawn();
    wait_for("three clients", || (shim.processes().len() >= 5).then_some(()));
    std::thread::sleep(Duration::from_millis(200));
    let mut stdin = typing.stdin();
    stdin.write_all(b"go\nend\n").unwrap();
    let numbers: String = (1..=20000).map(|number| format!("{number}\n")).collect();
    assert_eq!(watching.wait().stdout, numbers);
    assert_eq!(typing.wait().stdout, numbers);
    assert_eq!(slow.wait().stdout.trim(), "20000");
}

#[test]
fn signals_are_passed_on_without_a_terminal() {
    requires!(is_root(), "{NOT_ROOT}");
    let shim = Shim::with_busybox();
    let script = "trap 'echo usr1' USR1; trap 'exit 5' TERM; trap 'echo winch' WINCH; echo ready; \
                  while :; do sleep 0.05; done";
    let running = shim.call(&["run", "--rm", "--name", "box", "busybox", "sh", "-c", script]).spawn();
    wait_for("the traps", || shim.cli(&["logs", "box"]).stdout.contains("ready").then_some(()));
    running.signal(Signal::WINCH);
    running.signal(Signal::USR1);
    wait_for("the first", || shim.cli(&["logs", "box"]).stdout.contains("usr1").then_some(()));
    running.signal(Signal::TERM);
    running.wait().expect_code(5).expect_stdout("ready\nusr1\n");
    assert!(shim.container_ids().is_empty());

    // Not if nobody wants that: the command ends, the container goes on.
    let id = shim.detached(&["busybox", "sh", "-c", script]);
    let attached = shim.call(&["attach", "--sig-proxy=false", &id]).spawn();
    wait_for("the client", || (shim.processes().len() >= 3).then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    attached.signal(Signal::TERM);
    attached.wait().expect_code(143);
    assert_eq!(shim.recorded_state(&id)["status"], "running");
}

#[test]
fn a_terminal_is_raw_has_its_size_and_is_put_back() {
    requires!(is_root(), "{NOT_ROOT}");
    let shim = Shim::with_busybox();
    let (mut terminal, running) = on_terminal(shim.call(&["run", "--rm", "-it", "busybox", "sh"]));
    answer(&mut terminal, "stty size; echo $TERM", "24 80\r\nxterm\r\n");
    assert!(!terminal.has_echo(), "what is typed is shown by the container's terminal");
    terminal.resize(50, 132);
    wait_for_size(&mut terminal, "50 132");
    // Ctrl-C ends the program in the foreground, and neither the shell nor us.
    answer(&mut terminal, "sleep 1000", "sleep 1000\r\n");
    std::thread::sleep(Duration::from_millis(200));
    terminal.send("\x03");
    answer(&mut terminal, "echo still $((40+2))", "still 42");
    terminal.send("exit 3\n");
    running.wait().expect_code(3);
    assert_eq!(terminal.attributes(), cooked());
    assert!(shim.container_ids().is_empty());
}

#[test]
fn detach_keys_leave_the_container_and_one_may_come_back() {
    requires!(is_root(), "{NOT_ROOT}");
    let shim = Shim::with_busybox();
    let (mut terminal, running) = on_terminal(shim.call(&["run", "-it", "--name", "box", "busybox", "sh"]));
    answer(&mut terminal, "x=kept; echo $((40+2))", "42\r\n");
    // The first of the keys alone is for the container.
    terminal.send("\x10\x11");
    terminal.read_until("read escape sequence");
    running.wait().expect_ok();
    assert_eq!(terminal.attributes(), cooked());
    let id = shim.container_ids().remove(0);
    assert_eq!(shim.recorded_state(&id)["status"], "running");

    let call = shim.call(&["attach", "--detach-keys", "ctrl-a,d", "box"]);
    let (mut terminal, running) = on_terminal(call);
    answer(&mut terminal, "echo $x; stty size", "kept\r\n24 80");
    terminal.send("\x01d");
    terminal.read_until("read escape sequence");
    running.wait().expect_code(1);
    assert_eq!(terminal.attributes(), cooked());

    // Whoever is killed by a signal puts the terminal back too, and the container stays.
    let (mut terminal, running) = on_terminal(shim.call(&["attach", "box"]));
    answer(&mut terminal, "echo $((40+3))", "43\r\n");
    running.signal(Signal::TERM);
    running.wait().expect_code(143);
    assert_eq!(terminal.attributes(), cooked());

    let wrong = shim.cli(&["attach", "--detach-keys", "ctrl-1", "box"]).expect_code(125);
    wrong.expect_stderr("Unknown character: 'ctrl-1'");
    let (mut terminal, running) = on_terminal(shim.call(&["attach", "box"]));
    answer(&mut terminal, "exit 4", "exit 4");
    running.wait().expect_code(4);
}

#[test]
fn who_is_attached_stays_so_when_the_supervisor_is_killed() {
    requires!(is_root(), "{NOT_ROOT}");
    let shim = Shim::with_busybox();
    let call = shim.call(&[
        "run",
        "--name",
        "box",
        "-i",
        "busybox",
        "sh",
        "-c",
        "while read x; do echo got $x; done",
    ]);
    let mut running = call.stdin_pipe().spawn();
    let mut stdin = running.stdin();
    stdin.write_all(b"one\n").unwrap();
    wait_for("the first", || shim.cli(&["logs", "box"]).stdout.contains("got one").then_some(()));
    let id = shim.container_ids().remove(0);
    let worker = || shim.recorded_state(&id).pointer("/monitor/pid").and_then(Value::as_i64).unwrap();
    let first = worker();
    kill_process(Pid::from_raw(i32::try_from(first).unwrap()).unwrap(), Signal::KILL).unwrap();
    wait_for("another worker", || (worker() != first).then_some(()));
    // It takes a moment until the client has found it.
    std::thread::sleep(Duration::from_millis(500));
    stdin.write_all(b"two\n").unwrap();
    drop(stdin);
    let output = running.wait().expect_ok();
    assert_eq!(output.stdout, "got one\ngot two\n");
}

#[test]
fn who_is_attached_stays_so_when_all_of_the_supervisor_is_killed() {
    requires!(is_root(), "{NOT_ROOT}");
    let shim = Shim::with_busybox();
    let script = "i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.05; done";
    let running = shim.call(&["run", "--name", "box", "busybox", "sh", "-c", script]).spawn();
    let last = || {
        let line = shim.call(&["logs", "--tail", "1", "box"]).output().stdout;
        line.trim().strip_prefix("tick ").and_then(|number| number.parse::<u32>().ok())
    };
    wait_for("the first", &last);
    let is_monitor = |process: &Process| {
        let line = fs::read(process.path("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == b"monitor")
    };
    // The keeper first, or it would have another worker.
    let mut monitors: Vec<u32> =
        shim.processes().into_iter().filter(is_monitor).map(|one| one.pid()).collect();
    monitors.sort_unstable();
    assert_eq!(monitors.len(), 2, "a keeper and a worker");
    for pid in monitors {
        let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL);
    }
    // Whoever asks, finds it as it is, and has it looked after again.
    let then = wait_for("lines", &last);
    wait_for("lines after that", || last().filter(|number| *number > then + 5));
    shim.cli(&["rm", "--force", "box"]).expect_ok();
    let output = running.wait().expect_code(137);
    let shown: Vec<u32> =
        output.stdout.lines().filter_map(|line| line.strip_prefix("tick ")?.parse().ok()).collect();
    assert!(shown.last().is_some_and(|number| *number > then), "{then}: {output}");
}
