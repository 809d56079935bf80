//! `process.terminal`: the terminal that goes to `--console-socket`, and the one of a foreground `run`
//! (config.md "Process", runc's terminals.md, pty(7), termios(3)).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::type_complexity)] // test code: a panic is its way of reporting

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use integration::{Bundle, Call, ConsoleSocket, Container, Process, Terminal, json, known_gap, wait_for};
use rustix::process::Signal;
use rustix::termios::{InputModes, LocalModes, Termios, tcgetattr};

fn with_terminal() -> Bundle {
    Bundle::new().set("/process/terminal", json!(true))
}

/// Creates the container of a bundle, and receives its terminal.
fn created(bundle: Bundle) -> (Container, Terminal) {
    let socket = ConsoleSocket::listen(&bundle.scratch().join("console"));
    let container = bundle.container();
    container.create_with(&["--console-socket", socket.path()]).expect_ok();
    let terminal = socket.terminal();
    (container, terminal)
}

/// What a terminal showed, with the line ends that were printed.
fn plain(shown: &str) -> String {
    shown.replace("\r\n", "\n")
}

/// What a script prints on its terminal.
fn printed(bundle: Bundle, script: &str) -> String {
    let (container, mut terminal) = created(bundle.sh(script));
    container.start().expect_ok();
    plain(&terminal.read_to_end())
}

#[test]
fn the_terminal_is_input_output_and_errors_of_the_program() {
    let script =
        "tty; for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done; echo error >&2; read x; echo got $x";
    let (container, mut terminal) = created(with_terminal().sh(script));
    container.start().expect_ok();
    let own = "/dev/pts/0\n".repeat(4);
    assert_eq!(plain(&terminal.read_until("error")).trim_end(), format!("{own}error"));
    terminal.send("input\n");
    assert!(plain(&terminal.read_to_end()).ends_with("\ngot input\n"));
    container.wait_status("stopped");
}

#[test]
fn no_other_descriptor_comes_with_the_terminal() {
    let (container, mut terminal) = created(with_terminal().sh("echo ready; read x"));
    container.start().expect_ok();
    terminal.read_until("ready");
    let held: Vec<u32> = container.init().descriptors().into_iter().map(|(number, _)| number).collect();
    // The shell may keep a copy of its script or its terminal, from 10 on.
    assert!(held.iter().all(|number| *number < 3 || *number >= 10), "{:?}", container.init().descriptors());
    assert_eq!(held[..3], [0, 1, 2]);
}

#[test]
fn the_terminal_controls_the_programs_session() {
    let script =
        "trap 'echo interrupted; exit 5' INT; echo to-tty >/dev/tty; echo ready; while :; do sleep 0.1; done";
    let (container, mut terminal) = created(with_terminal().sh(script));
    container.start().expect_ok();
    terminal.read_until("to-tty");
    terminal.read_until("ready");
    // proc_pid_stat(5): session (6), tty_nr (7), tpgid (8), counted behind the name in parentheses.
    let stat = container.init().read("stat");
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let pid = container.init_pid().to_string();
    assert_eq!(fields[3], pid, "the program leads its session: {stat}");
    assert_ne!(fields[4], "0", "it has no controlling terminal: {stat}");
    assert_eq!(fields[5], fields[2], "its group is not in the foreground: {stat}");
    terminal.send("\u{3}");
    terminal.read_until("interrupted");
    container.wait_status("stopped");
}

#[test]
fn the_console_is_the_terminal() {
    let script = "stat -c %t:%T /dev/console /dev/pts/0; echo to-console >/dev/console; echo end";
    let (container, mut terminal) = created(with_terminal().sh(script));
    assert_eq!(container.init().mount_at("/dev/console").kind, "devpts");
    container.start().expect_ok();
    let printed = terminal.read_to_end();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], lines[1]);
    assert_eq!(lines[2..], ["to-console", "end"]);
}

#[test]
fn there_is_no_console_without_a_terminal() {
    assert_eq!(Bundle::new().in_container("ls /dev/console 2>/dev/null || echo none"), "none");
}

#[test]
fn a_terminal_that_is_sent_away_has_the_kernels_settings() {
    // What `docker run --tty` prints has the line ends of a terminal: its shim changes nothing.
    known_gap!(Crun, "newlines arrive as they were printed");
    let (container, mut terminal) =
        created(with_terminal().sh("stty -a 2>/dev/null | grep -o '.onlcr'; echo a; echo b"));
    assert!(terminal.has_onlcr());
    container.start().expect_ok();
    assert_eq!(terminal.read_to_end(), " onlcr\r\na\r\nb\r\n");
}

#[test]
fn the_size_is_there_before_the_program() {
    let bundle = with_terminal().set("/process/consoleSize", json!({"height": 37, "width": 91}));
    let (container, mut terminal) = created(bundle.sh("stty size"));
    assert_eq!(terminal.size(), (37, 91));
    container.start().expect_ok();
    assert_eq!(plain(&terminal.read_to_end()), "37 91\n");
}

#[test]
fn a_size_without_a_terminal_is_of_no_effect() {
    let bundle = Bundle::new().set("/process/consoleSize", json!({"height": 37, "width": 91}));
    assert_eq!(bundle.in_container("test -t 1 || echo none"), "none");
}

#[test]
fn a_new_size_reaches_the_program() {
    let script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done";
    let (container, mut terminal) = created(with_terminal().sh(script));
    container.start().expect_ok();
    terminal.read_until("ready");
    terminal.resize(44, 55);
    terminal.read_until("44 55");
}

#[test]
fn the_terminal_belongs_to_the_programs_user() {
    let bundle = with_terminal().set("/process/user", json!({"uid": 1234, "gid": 4321}));
    let script = "stat -c '%u %a' /dev/pts/0; stat -c %u /dev/console; echo >/dev/tty && echo >/dev/stdout && echo opened";
    let printed = printed(bundle, script);
    let lines: Vec<&str> = printed.split_whitespace().collect();
    assert_eq!(lines, ["1234", "620", "1234", "opened"], "{printed}");
}

#[test]
fn a_terminal_works_in_a_user_namespace() {
    let bundle = with_terminal().user_namespace(100_000, 65_536).remove_mount("/sys/fs/cgroup");
    assert_eq!(
        printed(bundle, "tty; stat -c %u /dev/pts/0; id -u; cat /dev/null >/dev/tty"),
        "/dev/pts/0\n0\n0\n"
    );
}

#[test]
fn the_terminal_is_of_the_containers_own_devpts() {
    let (container, _terminal) = created(with_terminal().sleeping());
    let inside = fs::metadata(container.init().inside("/dev/pts/0")).unwrap();
    assert_ne!(inside.dev(), fs::metadata("/dev/pts").unwrap().dev());
    let socket = ConsoleSocket::listen(&container.bundle().scratch().join("second"));
    let sibling = container.sibling();
    sibling.create_with(&["--console-socket", socket.path()]).expect_ok();
    let (_master, name) = socket.receive();
    assert!(!name.is_empty(), "the descriptor needs a byte to travel with");
    // Its number is 0 again: an instance of its own.
    let second = fs::metadata(sibling.init().inside("/dev/pts/0")).unwrap();
    assert_ne!(second.dev(), inside.dev());
}

#[test]
fn a_terminal_without_devpts_is_an_error() {
    let bundle = with_terminal().remove_mount("/dev/pts");
    let socket = ConsoleSocket::listen(&bundle.scratch().join("console"));
    let container = bundle.container();
    container.create_with(&["--console-socket", socket.path()]).expect_fail();
    container.state_output().expect_code(1).expect_runc_phrase("does not exist");
}

#[test]
fn a_console_socket_that_cannot_take_the_terminal_is_an_error() {
    known_gap!(Crun, "words its messages in other ways");
    let container = with_terminal().sleeping().container();
    let path = container.bundle().scratch_file("socket");
    let refused = |options: &[&str], phrase: &str| {
        let folder = container.bundle().scratch().to_owned();
        let output = container.birth("create", options).output_in(&folder).output();
        output.expect_code(1).expect_stderr(phrase);
        container.state_output().expect_code(1).expect_stderr("does not exist");
    };
    refused(&["--console-socket", &path], "no such file or directory");
    // Bound, but nobody listens any more.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    refused(&["--console-socket", &path], "connection refused");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    refused(&["--console-socket", &path], "connection refused");
}

#[test]
fn terminal_and_console_socket_belong_together() {
    known_gap!(Crun, "1.8.1 ignores a console socket without a terminal");
    let refused = |bundle: Bundle, verb: &str, with_socket: bool, detach: bool| {
        let socket = ConsoleSocket::listen(&bundle.scratch().join("console"));
        let container = bundle.sleeping().container();
        let folder = container.bundle().scratch().to_owned();
        let mut options = if with_socket { vec!["--console-socket", socket.path()] } else { Vec::new() };
        options.extend(detach.then_some("--detach"));
        let output = container.birth(verb, &options).output_in(&folder).output().expect_code(1);
        assert!(output.stderr.to_lowercase().contains("console"), "{output}");
        container.state_output().expect_code(1).expect_stderr("does not exist");
    };
    refused(with_terminal(), "create", false, false);
    refused(with_terminal(), "run", false, true);
    refused(with_terminal(), "run", true, false);
    refused(Bundle::new(), "run", true, false);
    known_gap!(Runc, "1.1.5 ignores the socket of a detached container without a terminal");
    refused(Bundle::new(), "create", true, false);
    refused(Bundle::new(), "run", true, true);
}

#[test]
fn console_sockets_may_have_long_paths() {
    known_gap!(Runc, "1.1.5 passes the path to connect(2) as it is");
    known_gap!(Crun, "1.8.1 passes the path to connect(2) as it is");
    for length in [100, 107, 108, 109, 200, 1000] {
        let container = with_terminal().sh("echo ready; read x").container();
        let mut folder = container.bundle().scratch().to_owned();
        while folder.as_os_str().len() + 60 < length {
            folder.push("a-rather-long-name-of-a-folder-to-be-reached");
        }
        fs::create_dir_all(&folder).unwrap();
        let name = "s".repeat(length - folder.as_os_str().len() - 1);
        // Bound by a short name and moved: bind(2) has the same limit as connect(2).
        let socket = ConsoleSocket::listen(&container.bundle().scratch().join("c"));
        let long = folder.join(name);
        fs::rename(socket.path(), &long).unwrap();
        assert_eq!(long.as_os_str().len(), length);
        container.create_with(&["--console-socket", long.to_str().unwrap()]).expect_ok();
        let mut terminal = socket.terminal();
        container.start().expect_ok();
        terminal.read_until("ready");
    }
}

#[test]
fn a_relative_console_socket_is_found_from_the_callers_folder() {
    known_gap!(Runc, "1.1.5 looks for it in the bundle");
    let container = with_terminal().sh("echo ready; read x").container();
    let folder = container.bundle().scratch().to_owned();
    let socket = ConsoleSocket::listen(&folder.join("console"));
    let call = container.birth("create", &["--console-socket", "console"]).current_dir(&folder);
    call.output_in(&folder).output().expect_ok();
    let mut terminal = socket.terminal();
    container.start().expect_ok();
    terminal.read_until("ready");
}

#[test]
fn a_detached_run_sends_its_terminal() {
    let container = with_terminal().sh("tty; read x; echo got $x").container();
    let socket = ConsoleSocket::listen(&container.bundle().scratch().join("console"));
    let folder = container.bundle().scratch().to_owned();
    let call = container.birth("run", &["--detach", "--console-socket", socket.path()]);
    call.output_in(&folder).output().expect_ok();
    let mut terminal = socket.terminal();
    terminal.read_until("/dev/pts/0");
    terminal.send("input\n");
    terminal.read_until("got input");
    container.wait_status("stopped");
}

#[test]
fn a_terminal_that_is_let_go_hangs_up_the_program() {
    let (container, mut terminal) =
        created(with_terminal().sh("trap 'exit 0' HUP; echo ready; while :; do sleep 0.1; done"));
    container.start().expect_ok();
    terminal.read_until("ready");
    drop(terminal);
    container.wait_status("stopped");
}

#[test]
fn megabytes_arrive_whole_through_the_console_socket() {
    let (container, mut terminal) = created(with_terminal().sh("head -c 10485760 /dev/zero | tr '\\0' x"));
    container.start().expect_ok();
    let printed = terminal.read_to_end();
    assert_eq!(printed.len(), 10 << 20);
    assert!(printed.bytes().all(|byte| byte == b'x'));
}

/// Both sides of a terminal for a foreground run.
fn own_terminal() -> (Terminal, OwnedFd) {
    let (terminal, other) = Terminal::pair();
    terminal.resize(31, 71);
    (terminal, other)
}

/// The settings; on a pair, the master answers for the other side.
fn settings(terminal: &Terminal) -> Termios {
    tcgetattr(terminal.master()).unwrap()
}

fn is_raw(terminal: &Terminal) -> bool {
    let settings = settings(terminal);
    let cooked = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
    !settings.local_modes.intersects(cooked) && !settings.input_modes.intersects(InputModes::ICRNL)
}

#[track_caller]
fn assert_same(before: &Termios, after: &Termios) {
    let modes = |of: &Termios| (of.input_modes, of.output_modes, of.control_modes, of.local_modes);
    assert_eq!(modes(before), modes(after));
}

#[test]
fn a_foreground_run_makes_its_terminal_raw_and_restores_it() {
    // How the run ends: by the program, by a signal to the program, by one to the runtime.
    let script = "trap 'exit 3' TERM; echo ready; read x; exit 4";
    for (end, code) in [("program", 4), ("kill", 137), ("signal", 3)] {
        let container = with_terminal().sh(script).container();
        let (mut terminal, other) = own_terminal();
        let kept = other.try_clone().unwrap();
        let before = settings(&terminal);
        let running = container.birth("run", &[]).on_terminal(other).spawn();
        terminal.read_until("ready");
        assert!(is_raw(&terminal), "{end}");
        match end {
            "program" => terminal.send("\r"),
            "kill" => drop(container.kill("KILL").expect_ok()),
            _ => running.signal(Signal::TERM),
        }
        running.wait().expect_code(code);
        assert_same(&before, &settings(&terminal));
        drop(kept);
        container.state_output().expect_code(1);
    }
}

#[test]
fn a_run_that_fails_leaves_the_terminal_as_it_was() {
    for bundle in [
        with_terminal().args(&["no-such-program"]),
        with_terminal().args(&["/etc/passwd"]),
        with_terminal().bind("/no/such/source", "/mnt", &["bind"]),
    ] {
        let container = bundle.container();
        let (mut terminal, other) = own_terminal();
        let before = settings(&terminal);
        let kept = other.try_clone().unwrap();
        let output = container.birth("run", &[]).on_terminal(other).spawn().wait();
        assert_eq!(output.code(), 1);
        assert_same(&before, &settings(&terminal));
        drop(kept);
        assert!(!terminal.read_to_end().trim().is_empty(), "the error was not shown");
        container.state_output().expect_code(1);
    }
}

#[test]
fn lines_of_a_foreground_run_begin_at_the_left() {
    // The program's terminal passes newlines on; the caller's must still turn them into line ends.
    let container = with_terminal().sh("echo a; echo b").container();
    let (mut terminal, other) = own_terminal();
    container.birth("run", &[]).on_terminal(other).spawn().wait().expect_ok();
    assert_eq!(terminal.read_to_end(), "a\r\nb\r\n");
}

#[test]
fn a_foreground_program_finds_the_size_of_its_callers_terminal() {
    known_gap!(Runc, "sets the size a moment after the program has begun");
    known_gap!(Crun, "1.8.1 gives the container's terminal no size at the start");
    let container = with_terminal().sh("stty size").container();
    let (mut terminal, other) = own_terminal();
    container.birth("run", &[]).on_terminal(other).spawn().wait().expect_ok();
    assert_eq!(terminal.read_to_end(), "31 71\r\n");
}

#[test]
fn a_resize_reaches_the_foreground_program_as_a_signal() {
    let script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done";
    let container = with_terminal().sh(script).container();
    let (mut terminal, other) = own_terminal();
    let running = container.birth("run", &[]).on_terminal(other).spawn();
    terminal.read_until("ready");
    terminal.resize(32, 72);
    terminal.read_until("32 72");
    container.kill("KILL").expect_ok();
    running.wait().expect_code(137);
}

#[test]
fn control_characters_reach_the_foreground_program() {
    let script = "trap 'echo interrupted' INT; echo ready; cat; echo after; read x; echo \"[$x]\"; exit 9";
    let container = with_terminal().sh(script).container();
    let (mut terminal, other) = own_terminal();
    let running = container.birth("run", &[]).on_terminal(other).spawn();
    terminal.read_until("ready");
    terminal.send("some text\r");
    terminal.read_until("some text\r\nsome text");
    terminal.send("\u{4}"); // the end of cat's input
    terminal.read_until("after");
    terminal.send("x\u{7f}y\r"); // erased by the program's terminal, not by ours
    terminal.read_until("[y]");
    running.wait().expect_code(9);
}

#[test]
fn megabytes_arrive_whole_on_the_terminal_of_a_foreground_run() {
    let container = with_terminal().sh("head -c 10485760 /dev/zero | tr '\\0' x; exit 3").container();
    let (mut terminal, other) = own_terminal();
    let running = container.birth("run", &[]).on_terminal(other).spawn();
    let printed = terminal.read_to_end();
    running.wait().expect_code(3);
    assert_eq!(printed.len(), 10 << 20);
    assert!(printed.bytes().all(|byte| byte == b'x'));
}

#[test]
fn the_output_of_a_terminal_goes_to_a_pipe_too() {
    known_gap!(Crun, "1.8.1 wants a terminal of its own");
    known_gap!(Runc, "1.1.5 wants a terminal of its own");
    let container = with_terminal().sh("tty; head -c 10485760 /dev/zero | tr '\\0' x; exit 3").container();
    let output = container.run().expect_code(3).expect_no_stderr();
    let rest = output.stdout.strip_prefix("/dev/pts/0\n").unwrap();
    assert_eq!(rest.len(), 10 << 20);
    assert!(rest.bytes().all(|byte| byte == b'x'));
}

#[test]
fn input_from_a_pipe_goes_to_the_terminal() {
    known_gap!(Crun, "1.8.1 wants a terminal of its own");
    known_gap!(Runc, "1.1.5 wants a terminal of its own");
    // More than a terminal's queue holds, in lines that fit into it.
    let script =
        "stty -echo; echo ready; n=0; while read x; do test \"$x\" = end && break; n=$((n+1)); done; echo $n";
    let container = with_terminal().sh(script).container();
    let mut running = container.birth("run", &[]).stdin_pipe().spawn();
    container.wait_running(&mut running);
    let mut input = running.stdin();
    let lines = "0123456789".repeat(9) + "\n";
    std::io::Write::write_all(&mut input, (lines.repeat(2000) + "end\n").as_bytes()).unwrap();
    let output = running.wait().expect_ok();
    assert!(
        output.stdout.ends_with("\n2000\n"),
        "{}",
        &output.stdout[output.stdout.len().saturating_sub(200)..]
    );
}

#[test]
fn a_reader_that_goes_away_hangs_up_the_program() {
    known_gap!(Crun, "1.8.1 wants a terminal of its own");
    known_gap!(Runc, "1.1.5 wants a terminal of its own");
    let container = with_terminal().sh("yes; exit 6").container();
    let call = Call::of("bash").args(["-c", "\"$@\" | head -c 1; exit ${PIPESTATUS[0]}", "bash"]);
    let call = call.args([integration::runtime_under_test()]).args(["--root"]).args([container.state_root()]);
    let call = call.args(["run", "-b"]).args([container.bundle().path()]).args([container.id()]);
    call.output().expect_code(6).expect_stdout("y");
    container.state_output().expect_code(1);
}

#[test]
fn a_terminal_that_goes_away_hangs_up_the_program() {
    known_gap!(Runc, "1.1.5 goes on without a terminal");
    known_gap!(Crun, "1.8.1 goes on without a terminal");
    // The first process has no handler, and so is spared the signal; its input ends.
    let container = with_terminal().sh("echo ready; cat; exit 8").container();
    let (mut terminal, other) = own_terminal();
    let running = container.birth("run", &[]).on_terminal(other).spawn();
    terminal.read_until("ready");
    drop(terminal);
    running.wait().expect_code(8);
    container.state_output().expect_code(1);
}

#[test]
fn an_orphan_that_prints_without_end_does_not_keep_the_run() {
    known_gap!(Crun, "1.8.1 leaves the orphan");
    known_gap!(Runc, "1.1.5 leaves the orphan");
    let container = with_terminal().sh("yes & sleep 0.2; exit 7").remove_namespace("pid").container();
    let (mut terminal, other) = own_terminal();
    let running = container.birth("run", &[]).on_terminal(other).spawn();
    let reader = std::thread::spawn(move || terminal.read_to_end().len());
    running.wait().expect_code(7);
    assert!(reader.join().unwrap() > 0);
    container.state_output().expect_code(1);
}

#[test]
fn a_run_in_the_background_of_a_terminal_is_not_stopped() {
    // As a job of a shell: tcsetattr(3) and read(2) from the background would stop it.
    let container = with_terminal().sh("echo printed; exit 4").container();
    let (mut terminal, other) = own_terminal();
    let runtime = integration::runtime_under_test();
    let script = "set -m; \"$@\" & wait $!; echo status $?";
    let call = Call::of("bash").args(["-c", script, "bash"]).args([runtime]).args(["--root"]);
    let call = call.args([container.state_root()]).args(["run", "-b"]).args([container.bundle().path()]);
    known_gap!(Runc, "1.1.5 is stopped");
    known_gap!(Crun, "1.8.1 is stopped");
    let running = call.args([container.id()]).on_terminal(other).spawn();
    let printed = terminal.read_until("status");
    assert!(printed.contains("printed"), "{printed}");
    terminal.read_until("status 4");
    running.wait().expect_ok();
}

#[test]
fn the_host_keeps_nothing_of_a_terminal() {
    fn ours(path: &Path) -> usize {
        fs::read_dir(path).unwrap().count()
    }
    let container = with_terminal().sh("exit 0").container();
    let (_terminal, other) = own_terminal();
    container.birth("run", &[]).on_terminal(other).spawn().wait().expect_ok();
    assert_eq!(ours(container.state_root()), 0);
    let scratch = container.bundle().scratch().to_str().unwrap().to_owned();
    let mounts = Process::this().mounts();
    assert!(mounts.iter().all(|mount| !mount.destination.starts_with(&scratch)));
    wait_for("no process", || {
        let left = integration::leaks::snapshot();
        let of_it = |line: &String| line.starts_with("process ") && line.contains(container.id());
        (!left.iter().any(of_it)).then_some(())
    });
}
