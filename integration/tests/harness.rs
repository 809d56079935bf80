//! The harness itself, against the runtime under test: that what other tests stand on shows what happened.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::{Bundle, ConsoleSocket, Process, Terminal, json, known_gap};

#[test]
fn a_script_answers_from_inside() {
    assert_eq!(Bundle::new().in_container("hostname; id -u"), "caisson\n0");
}

#[test]
fn the_first_process_is_seen_from_outside() {
    let container =
        Bundle::new().sleeping().set("/process/oomScoreAdj", json!(123)).env("KEY", "value").container();
    container.run_detached().expect_ok();
    let init = container.init();
    assert_eq!(init.read("oom_score_adj"), "123\n");
    assert!(init.environ().contains(&"KEY=value".to_owned()));
    assert_eq!(init.cmdline()[0], "sh");
    assert_eq!(init.mount_at("/proc").kind, "proc");
    assert!(init.mount_at("/sys").has("ro"));
    assert_ne!(init.namespace("net"), Process::this().namespace("net"));
    assert_eq!(init.status("NoNewPrivs"), "1");
    assert_eq!(std::fs::read_to_string(init.inside("/etc/hostname")).unwrap(), "from-the-image\n");
}

#[test]
fn a_user_namespace_maps_the_root_folder() {
    let bundle = Bundle::new().user_namespace(100_000, 65_536).remove_mount("/sys/fs/cgroup");
    assert_eq!(
        bundle.in_container("id -u; stat -c %u /etc/passwd; cat /proc/self/uid_map | tr -s ' '"),
        "0\n0\n 0 100000 65536"
    );
}

#[test]
fn a_terminal_arrives_at_the_console_socket() {
    let bundle = Bundle::new().set("/process/terminal", json!(true)).sh("tty; read x; echo got $x");
    let socket = ConsoleSocket::listen(&bundle.scratch().join("console"));
    let container = bundle.container();
    container.create_with(&["--console-socket", socket.path()]).expect_ok();
    let mut terminal = socket.terminal();
    container.start().expect_ok();
    terminal.read_until("/dev/pts/0");
    terminal.send("input\n");
    terminal.read_until("got input");
    container.wait_status("stopped");
}

#[test]
fn a_foreground_run_uses_the_terminal_it_is_on() {
    known_gap!(Crun, "1.8.1 gives the container's terminal no size at the start");
    // Runc sets the size a moment after the program has begun.
    let script =
        "until stty size | grep 71; do sleep 0.05; done; until stty size | grep 72; do sleep 0.05; done";
    let bundle =
        Bundle::new().set("/process/terminal", json!(true)).sh(&format!("exec 2>/dev/null; {script}"));
    let container = bundle.container();
    let (mut terminal, other) = Terminal::pair();
    terminal.resize(31, 71);
    let running = container.birth("run", &[]).on_terminal(other).spawn();
    terminal.read_until("31 71");
    terminal.resize(32, 72);
    terminal.read_until("32 72");
    running.wait().expect_ok();
}
