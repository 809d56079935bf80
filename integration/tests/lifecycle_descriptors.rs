//! Descriptors between caller and container: --preserve-fds, LISTEN_FDS, --pidfd-socket, standard streams.
//! (sd_listen_fds(3), pidfd_open(2), unix(7).)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use integration::{Bundle, Call, ConsoleSocket, Container, json, known_gap, runtime_under_test, wait_for};
use rustix::process::{Signal, pidfd_send_signal};

/// `run` of a container, as the end of a shell script that arranges the descriptors first.
fn run_after(container: &Container, script: &str, options: &[&str]) -> Call {
    container.birth_by(&["bash", "-c", &format!("{script}; exec \"$@\""), "bash"], "run", options)
}

const LIST: &str =
    "for fd in /proc/self/fd/*; do readlink $fd; done | grep -vE '^(pipe:|/dev/null|/proc)'; true";

#[test]
fn data_arrives_through_preserved_descriptors() {
    known_gap!(Crun, "needs the harness's wrapper on a hybrid host");
    let container = Bundle::new().sh("cat <&3; cat <&4; echo reply >&5").container();
    let file = |name: &str| container.bundle().scratch_file(name);
    fs::write(file("a"), "first\n").unwrap();
    fs::write(file("b"), "second\n").unwrap();
    let script = format!("exec 3<{} 4<{} 5>{}", file("a"), file("b"), file("c"));
    let output = run_after(&container, &script, &["--preserve-fds", "3"]).output().expect_ok();
    assert_eq!(output.stdout, "first\nsecond\n");
    assert_eq!(fs::read_to_string(file("c")).unwrap(), "reply\n");
}

#[test]
fn only_so_many_descriptors_are_preserved() {
    known_gap!(Crun, "needs the harness's wrapper on a hybrid host");
    let container = Bundle::new().sh(LIST).container();
    let file = |name: &str| container.bundle().scratch_file(name);
    for name in ["a", "b", "c"] {
        fs::write(file(name), "").unwrap();
    }
    let script = format!("exec 3<{} 4<{} 5<{}", file("a"), file("b"), file("c"));
    for (options, count) in [(&[][..], 0), (&["--preserve-fds", "1"], 1), (&["--preserve-fds=2"], 2)] {
        let output = run_after(&container, &script, options).output().expect_ok();
        let expected: String = ["a", "b", "c"].iter().take(count).map(|name| file(name) + "\n").collect();
        assert_eq!(output.stdout, expected, "{options:?}");
    }
}

#[test]
fn a_preserved_descriptor_that_is_missing_is_an_error() {
    known_gap!(Crun, "1.8.1 does not look");
    known_gap!(Runc, "words it otherwise");
    for (script, options) in [
        ("true", &["--preserve-fds", "1"][..]),
        ("true", &["--preserve-fds", "5"]),
        ("exec 3</dev/null", &["--preserve-fds", "2"]),
        ("exec 4</dev/null", &["--preserve-fds", "2"]),
    ] {
        let container = Bundle::new().sh(LIST).container();
        let output = run_after(&container, script, options).output().expect_code(1);
        output.expect_stderr("--preserve-fds").expect_stderr("bad file descriptor");
        container.state_output().expect_code(1).expect_stderr("does not exist");
    }
}

#[test]
fn an_absurd_number_of_descriptors_is_refused() {
    known_gap!(Crun, "1.8.1 does not look");
    for number in ["-1", "x", "4294967295", "4294967296", "18446744073709551616", "2000000"] {
        let container = Bundle::new().container();
        container.run_with(&["--preserve-fds", number]).expect_fail();
    }
}

#[test]
fn socket_activation_hands_on_its_descriptors() {
    // sd_listen_fds(3): descriptors from 3 on, for the process that LISTEN_PID names: the program's own.
    known_gap!(Crun, "needs the harness's wrapper on a hybrid host");
    for namespace in ["uts", "pid"] {
        let script = "cat <&3; cat <&4; echo $LISTEN_FDS; test $LISTEN_PID = $$ && echo mine";
        let container = Bundle::new().sh(script).remove("/hostname").remove_namespace(namespace).container();
        if namespace == "pid" {
            known_gap!(Runc, "names process 1, whatever the program's id is");
        }
        let file = |name: &str| container.bundle().scratch_file(name);
        fs::write(file("a"), "activated\n").unwrap();
        fs::write(file("b"), "preserved\n").unwrap();
        let script = format!("exec 3<{} 4<{}; export LISTEN_FDS=1 LISTEN_PID=$$", file("a"), file("b"));
        let output = run_after(&container, &script, &["--preserve-fds", "1"]).output().expect_ok();
        assert_eq!(output.stdout, "activated\npreserved\n1\nmine\n");
    }
}

#[test]
fn socket_activation_of_another_process_is_none_of_ours() {
    known_gap!(Crun, "1.8.1 does not look at LISTEN_PID");
    let container = Bundle::new().sh(&format!("{LIST}; env | grep LISTEN; true")).container();
    let script = "exec 3</etc/hostname; export LISTEN_FDS=1 LISTEN_PID=2";
    let output = run_after(&container, script, &[]).output().expect_ok();
    assert_eq!(output.stdout, "");
}

#[test]
fn no_descriptor_of_the_runtime_reaches_the_program() {
    let container = Bundle::new().sh("echo ready; sleep 1000").container();
    container.run_detached().expect_ok();
    container.wait_stdout("ready");
    let open = container.init().descriptors();
    assert_eq!(open.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2], "{open:?}");
}

#[test]
fn a_waiting_init_holds_its_gate_and_nothing_of_the_host() {
    known_gap!(Runc, "1.1.5 holds the state folder and more");
    known_gap!(Crun, "1.8.1 holds a socket");
    let container = Bundle::new().sleeping().container();
    container.create().expect_ok();
    let open = container.init().descriptors();
    let state = container.state_root().join(container.id());
    let gate = [state.join("gate"), state.join("report")];
    let other = open.iter().filter(|(number, _)| *number > 2);
    let strange: Vec<_> =
        other.filter(|(_, target)| gate.iter().all(|fifo| target != fifo.to_str().unwrap())).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[test]
fn a_usable_pidfd_arrives() {
    known_gap!(Runc, "1.1.5 has no --pidfd-socket");
    known_gap!(Crun, "1.8.1 has no --pidfd-socket");
    for verb in ["create", "run"] {
        let container = Bundle::new().sleeping().container();
        let folder = container.bundle().scratch().to_owned();
        let socket = ConsoleSocket::listen(&folder.join("pidfd.sock"));
        let options = ["--detach", "--pidfd-socket", socket.path()];
        let options = if verb == "run" { &options[..] } else { &options[1..] };
        let call = container.birth(verb, options).output_in(&folder).spawn();
        let (pidfd, _) = socket.receive();
        call.wait().expect_ok();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim();
        assert_eq!(pid, container.init_pid().to_string());
        pidfd_send_signal(&pidfd, Signal::KILL).unwrap();
        container.wait_status("stopped");
        let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut fds, Some(&rustix::event::Timespec::default())).unwrap(), 1);
    }
}

#[test]
fn a_pidfd_socket_that_nobody_listens_on_is_an_error() {
    known_gap!(Runc, "1.1.5 has no --pidfd-socket");
    known_gap!(Crun, "1.8.1 has no --pidfd-socket");
    let container = Bundle::new().sleeping().container();
    let path = container.bundle().scratch_file("nobody");
    container
        .create_with(&["--pidfd-socket", &path])
        .expect_code(1)
        .expect_stderr("no such file or directory");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    container.create_with(&["--pidfd-socket", &path]).expect_code(1).expect_stderr("connection refused");
    container.state_output().expect_code(1).expect_stderr("does not exist");
}

#[test]
fn sockets_may_have_long_paths() {
    known_gap!(Runc, "1.1.5 has no --pidfd-socket");
    known_gap!(Crun, "1.8.1 has no --pidfd-socket");
    let container = Bundle::new().sleeping().container();
    let mut folder = container.bundle().scratch().to_owned();
    while folder.as_os_str().len() < 150 {
        folder.push("a-rather-long-name-of-a-folder");
    }
    fs::create_dir_all(&folder).unwrap();
    // Bound by a short name: bind(2) has the same limit as connect(2).
    let short = container.bundle().scratch().join("short");
    std::os::unix::fs::symlink(&folder, &short).unwrap();
    let socket = ConsoleSocket::listen(&short.join("s"));
    let long = folder.join("s");
    let printed = container.bundle().scratch().to_owned();
    let call =
        container.birth("create", &["--pidfd-socket", long.to_str().unwrap()]).output_in(&printed).spawn();
    let (pidfd, _) = socket.receive();
    call.wait().expect_ok();
    pidfd_send_signal(&pidfd, Signal::KILL).unwrap();
    container.wait_status("stopped");
}

#[test]
fn closed_standard_streams_do_no_harm() {
    known_gap!(Crun, "needs the harness's wrapper on a hybrid host");
    for script in ["exec <&-", "exec >&-", "exec 2>&-", "exec <&- >&-", "exec <&- 2>&-", "exec <&- >&- 2>&-"]
    {
        let bundle = Bundle::new();
        let told = bundle.scratch_file("told");
        fs::create_dir(&told).unwrap();
        let inside = "readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 >/told/fds; exit 6";
        let container = bundle.bind(&told, "/told", &["bind"]).sh(inside).container();
        let output = run_after(&container, script, &[]).output();
        assert_eq!(output.code(), 6, "{script}: {output}");
        let fds = fs::read_to_string(format!("{told}/fds")).unwrap();
        // What was closed leads nowhere; above all it is none of the runtime's own files.
        let known = |line: &str| line == "/dev/null" || line.starts_with("pipe:") || line == "/told/fds";
        assert_eq!(fds.lines().find(|line| !known(line)), None, "{script}: {fds}");
        container.state_output().expect_code(1);
    }
}

#[test]
fn a_create_with_closed_streams_works() {
    known_gap!(Crun, "needs the harness's wrapper on a hybrid host");
    let container = Bundle::new().sleeping().container();
    let call = Call::of("bash").args(["-c", "exec \"$@\" <&- >&- 2>&-", "bash"]).args([runtime_under_test()]);
    let call = call.args(["--root"]).args([container.state_root()]).args(["create", "--bundle"]);
    call.args([container.bundle().path()]).args([container.id()]).output().expect_ok();
    container.start().expect_ok();
    assert_eq!(container.status(), "running");
}

#[test]
fn a_null_device_of_the_host_becomes_the_containers_own() {
    let container = Bundle::new().sh("stat -L -c %d /proc/self/fd/0; stat -c %d /dev/null").container();
    let output = container.run().expect_ok();
    let (given, own) = output.stdout.trim().split_once('\n').unwrap();
    assert_eq!(given, own, "{output}");
    assert_ne!(given.parse::<u64>().unwrap(), fs::metadata("/dev/null").unwrap().dev());
}

#[test]
fn standard_streams_belong_to_the_programs_user() {
    // It can open its own output again: /dev/stdout leads to /proc/self/fd/1.
    for namespace in [false, true] {
        let script = "echo again >/dev/stdout; echo twice >/dev/stderr; stat -L -c %u /proc/self/fd/1";
        let bundle = Bundle::new().sh(script).set("/process/user", json!({"uid": 1000, "gid": 1000}));
        let bundle = if namespace {
            bundle.user_namespace(100_000, 65_536).remove_mount("/sys/fs/cgroup")
        } else {
            bundle
        };
        let output = bundle.run().expect_ok();
        assert_eq!(
            (output.stdout.as_str(), output.stderr.as_str()),
            ("again\n1000\n", "twice\n"),
            "{output}"
        );
    }
}

#[test]
fn a_file_that_is_only_read_keeps_its_owner() {
    // The host's file is not the container's, only its content: `run <file` must not give the file away.
    let bundle = Bundle::new().sh("cat; id -u").set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let container = bundle.container();
    let path = container.bundle().scratch_file("input");
    fs::write(&path, "some input\n").unwrap();
    let output = container.birth("run", &[]).stdin_from(fs::File::open(&path).unwrap()).output().expect_ok();
    assert_eq!(output.stdout, "some input\n1000\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "some input\n");
    assert_eq!(fs::metadata(&path).unwrap().uid(), 0);
}

#[test]
fn a_terminal_of_the_host_keeps_its_owner() {
    // Without process.terminal the caller's terminal is handed through; given away, it could be opened by
    // the host's user of that number.
    let bundle = Bundle::new().sh("id -u").set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let container = bundle.container();
    let (mut terminal, other) = integration::Terminal::pair();
    let kept = other.try_clone().unwrap();
    let before = rustix::fs::fstat(&kept).unwrap().st_uid;
    let running = container.birth("run", &[]).on_terminal(other).spawn();
    terminal.read_until("1000");
    running.wait().expect_ok();
    assert_eq!(rustix::fs::fstat(&kept).unwrap().st_uid, before);
}

#[test]
fn the_output_of_a_detached_container_ends_with_the_container() {
    // Whoever reads the pipe sees its end when the program ends: no process of the runtime keeps it open.
    known_gap!(Crun, "needs the harness's wrapper on a hybrid host");
    let container = Bundle::new().sh("echo begin; sleep 1; echo end").container();
    let (mut read, write) = std::io::pipe().unwrap();
    // Input is where the harness takes a descriptor; the shell turns it into the output.
    let script = "exec \"$@\" >&0 2>/dev/null </dev/null";
    let call = Call::of("bash").args(["-c", script, "bash"]).args([runtime_under_test()]).args(["--root"]);
    let call = call.args([container.state_root()]).args(["run", "--detach", "--bundle"]);
    call.args([container.bundle().path()]).args([container.id()]).stdin_from(write).output().expect_ok();
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    assert_eq!(text, "begin\nend\n");
    wait_for("stopped", || (container.status() == "stopped").then_some(()));
}

#[test]
fn a_descriptor_of_the_caller_is_no_way_to_a_working_directory() {
    // What it leads to cannot be entered by its number (CVE-2024-21626).
    known_gap!(Runc, "1.1.5 is vulnerable");
    known_gap!(Crun, "1.8.1 is vulnerable");
    let container = Bundle::new().set("/process/cwd", json!("/proc/self/fd/3")).sh("pwd; ls").container();
    let output = run_after(&container, "exec 3</", &["--preserve-fds", "1"]).output();
    assert_ne!(output.code(), 0, "{output}");
    assert_eq!(output.stdout, "", "{output}");
}
