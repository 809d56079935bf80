//! A foreground program on a terminal whose output nobody takes, or takes slowly: it is lost or waits, and neither
//! the program, its signals nor its end wait with it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs::{self, File};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use integration::{Bundle, Call, Container, Ordinary, asleep, json, known_gap, wait_for};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

fn with_terminal(script: &str) -> Container {
    Bundle::new().set("/process/terminal", json!(true)).sh(script).container()
}

/// The call, through a shell that becomes it, with this file as its standard output.
fn writing_to(path: &str, call: Call) -> Call {
    call.through(&["sh", "-c", &format!("exec \"$0\" \"$@\" >{path}")])
}

/// A pipe with a name, held open at both ends and read by nobody.
fn pipe(container: &Container) -> (String, File) {
    let path = container.bundle().scratch_file("output");
    nix::unistd::mkfifo(path.as_str(), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let held = File::options().read(true).write(true).open(&path).unwrap();
    (path, held)
}

/// Whether a pipe has something to read, or room to write, within a moment.
fn is_ready(pipe: &File, flags: PollFlags) -> bool {
    let moment = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    poll(&mut [PollFd::new(pipe, flags)], Some(&moment)).unwrap() == 1
}

/// Waits until the pipe takes nothing more.
fn wait_full(pipe: &File) {
    wait_for("a full pipe", || (!is_ready(pipe, PollFlags::OUT)).then_some(()));
}

#[test]
fn output_that_cannot_be_written_is_lost_and_the_program_goes_on() {
    known_gap!(Runc, "1.1.5 wants a terminal of its own");
    known_gap!(Crun, "1.8.1 wants a terminal of its own");
    // More than the terminal holds: it has to be read on.
    let script = "head -c 300000 /dev/zero | tr '\\0' x; touch /went-on; exit 7";
    let container = with_terminal(script);
    let output = writing_to("/dev/full", container.birth("run", &[])).output().expect_code(7);
    output.clone().expect_stderr("output of the program was lost: write(stdout): no space left on device");
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
    assert!(container.bundle().rootfs().join("went-on").exists());
    container.state_output().expect_code(1).expect_stderr("does not exist");
    let (container, _) = asleep(Bundle::new());
    let call = writing_to("/dev/full", container.exec_call(&["-t"], &["sh", "-c", script]));
    call.output().expect_code(7).expect_stderr("output of the program was lost");
    wait_for("nothing but init", || (container.ps() == [container.init_pid()]).then_some(()));
}

#[test]
fn input_that_cannot_be_read_does_not_end_the_program() {
    known_gap!(Runc, "1.1.5 wants a terminal of its own");
    known_gap!(Crun, "1.8.1 wants a terminal of its own");
    let container = with_terminal("sleep 0.2; echo still here; exit 4");
    let folder = File::open("/").unwrap(); // read(2): EISDIR
    let output = container.birth("run", &[]).stdin_from(folder).output().expect_code(4);
    output.expect_stdout("still here\n");
    container.state_output().expect_code(1);
}

#[test]
fn signals_reach_a_program_whose_output_nobody_reads() {
    known_gap!(Runc, "1.1.5 wants a terminal of its own");
    known_gap!(Crun, "1.8.1 wants a terminal of its own");
    let script = "trap 'exit 7' TERM; yes & while :; do sleep 0.1; done";
    let container = with_terminal(script);
    let (path, mut held) = pipe(&container);
    let mut running = writing_to(&path, container.birth("run", &[])).spawn();
    container.wait_running(&mut running);
    wait_full(&held);
    let init = container.init();
    running.signal(Signal::TERM);
    wait_for("the end of the program", || (!init.is_alive()).then_some(()));
    // The reader, slow as it is, gets what was printed.
    let (over, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (told, has_read) = (Arc::clone(&over), Arc::clone(&seen));
    let reader = std::thread::spawn(move || {
        let mut bytes = vec![0; 64 << 10];
        while !told.load(Relaxed) {
            if is_ready(&held, PollFlags::IN) {
                let count = held.read(&mut bytes).unwrap();
                assert!(bytes[..count].iter().all(|byte| b"y\n".contains(byte)));
                has_read.store(true, Relaxed);
            }
        }
    });
    running.wait().expect_code(7).expect_no_stderr();
    over.store(true, Relaxed);
    reader.join().unwrap();
    assert!(seen.load(Relaxed));
    container.state_output().expect_code(1);
}

#[test]
fn a_signal_ends_a_run_that_only_waits_for_the_reader_of_what_was_printed() {
    known_gap!(Runc, "1.1.5 wants a terminal of its own");
    known_gap!(Crun, "1.8.1 wants a terminal of its own");
    let container = with_terminal("yes");
    let (path, held) = pipe(&container);
    let mut running = writing_to(&path, container.birth("run", &[])).spawn();
    container.wait_running(&mut running);
    wait_full(&held);
    let init = container.init();
    container.kill("KILL").expect_ok();
    wait_for("the end of the program", || (!init.is_alive()).then_some(()));
    running.expect_alive(); // the rest may still be read
    running.signal(Signal::TERM);
    running.wait().expect_code(137).expect_no_stderr();
    container.state_output().expect_code(1);
}

#[test]
fn the_end_of_exec_is_seen_though_nobody_reads_its_output() {
    known_gap!(Runc, "1.1.5 wants a terminal of its own");
    known_gap!(Crun, "1.8.1 wants a terminal of its own");
    let (container, _) = asleep(Bundle::new());
    let (path, held) = pipe(&container);
    let running = writing_to(&path, container.exec_call(&["-t"], &["yes"])).spawn();
    wait_full(&held);
    running.signal(Signal::KILL); // not even that leaves the program: its terminal hangs up
    assert_eq!(running.wait().code(), 137);
    wait_for("nothing but init", || (container.ps() == [container.init_pid()]).then_some(()));
    let script = "touch /began; yes & sleep 0.5; kill -9 $!; exit 3";
    let running = writing_to(&path, container.exec_call(&["-t"], &["sh", "-c", script])).spawn();
    wait_for("its beginning", || container.bundle().rootfs().join("began").exists().then_some(()));
    wait_for("the end of the program", || (container.ps() == [container.init_pid()]).then_some(()));
    running.signal(Signal::TERM);
    running.wait().expect_code(3);
}

#[test]
fn a_pipe_of_somebody_else_gets_all_of_the_output() {
    known_gap!(Runc, "1.1.5 wants a terminal of its own");
    known_gap!(Crun, "1.8.1 wants a terminal of its own");
    // The pipe is root's: the user may write to it, and not open it again.
    let user = Ordinary::NOBODYS;
    let bundle = user.bundle(Bundle::new()).set("/process/terminal", json!(true));
    let container = user.container(bundle.sh("head -c 1048576 /dev/zero | tr '\\0' x; exit 3"));
    let output = container.run().expect_code(3);
    assert_eq!(output.stdout.len(), 1 << 20);
    assert!(output.stdout.bytes().all(|byte| byte == b'x'));
}

#[test]
fn a_new_size_of_no_terminal_is_nothing_to_the_program() {
    known_gap!(Crun, "1.8.1 passes it on");
    let script =
        "trap 'echo winch' WINCH; trap 'echo power; exit 3' PWR; echo ready; while :; do sleep 0.1; done";
    let container = Bundle::new().sh(script).container();
    let folder = container.bundle().scratch().to_owned();
    let mut running = container.birth("run", &[]).output_in(&folder).spawn();
    container.wait_running(&mut running);
    wait_for("the traps", || {
        fs::read_to_string(folder.join("stdout")).is_ok_and(|text| text.contains("ready")).then_some(())
    });
    // Of two signals at once the lower number comes first: SIGPWR after SIGWINCH.
    running.signal(Signal::WINCH);
    running.signal(Signal::POWER);
    running.wait().expect_code(3).expect_stdout("ready\npower\n");
}

#[test]
fn a_run_whose_output_is_closed_gives_the_status_too() {
    known_gap!(Runc, "1.1.5 wants a terminal of its own");
    known_gap!(Crun, "1.8.1 wants a terminal of its own");
    let container = with_terminal("echo x; exit 5");
    let shell = ["sh", "-c", "exec \"$0\" \"$@\" >&-"];
    container.birth("run", &[]).through(&shell).output().expect_code(5);
    container.state_output().expect_code(1);
}
