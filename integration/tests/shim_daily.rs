//! What people do every day without a thought: pipes, Ctrl-C, names that look like ids, many words, and a reader that
//! has gone.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::thread;

use integration::random::Random;
use integration::{Shim, is_root, requires, shim_under_test, wait_for};
use rustix::process::Signal;

const ROOT: &str = "containers need root";
/// How much goes through a container in one pipe and comes out of another.
const MANY: usize = 100 << 20;

/// `run` as a shell starts it in a pipe.
fn piped(shim: &Shim, words: &[&str]) -> Command {
    let mut command = Command::new(shim_under_test());
    command.arg("--root").arg(shim.root()).arg("--state").arg(shim.state());
    command.args([words[0], "--network", "none"]).args(&words[1..]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

#[test]
fn a_hundred_megabytes_go_in_and_come_out_as_they_were() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let mut random = Random::new(1, 1);
    let chunk: Vec<u8> = (0..1 << 16).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
    // The second through the log too, whose lines are no bytes.
    for (driver, length) in [("none", MANY), ("json-file", 4 << 20)] {
        let words = ["run", "--rm", "-i", "--log-driver", driver, "busybox", "cat"];
        let mut child = piped(&shim, &words).spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..length / chunk.len() {
                    stdin.write_all(&chunk).unwrap();
                }
                drop(stdin);
            });
            let (mut got, mut room) = (0, vec![0; chunk.len()]);
            loop {
                let count = stdout.read(&mut room).unwrap();
                if count == 0 {
                    break;
                }
                let mut rest = &room[..count];
                while !rest.is_empty() {
                    let wanted = &chunk[got % chunk.len()..];
                    let (part, more) = rest.split_at(rest.len().min(wanted.len()));
                    assert!(
                        part == &wanted[..part.len()],
                        "between byte {got} and the {}th after it",
                        part.len()
                    );
                    (rest, got) = (more, got + part.len());
                }
            }
            assert_eq!(got, length);
        });
        assert!(child.wait().unwrap().success(), "{driver}");
    }
}

#[test]
fn a_thousand_words_and_a_mebibyte_of_environment_arrive() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let words: Vec<String> = (0..1000).map(|number| format!("word {number}")).collect();
    let count = shim.call(&["run", "--rm", "busybox", "sh", "-c", "echo $#; echo \"$1000\"", "sh"]);
    assert_eq!(count.args(&words).output().expect_ok().stdout.lines().next(), Some("1000"));
    let file = shim.folder().join("variables");
    let text: String = (0..16_384).map(|number| format!("V{number}={}\n", "x".repeat(58))).collect();
    assert!(text.len() > 1 << 20);
    fs::write(&file, text).unwrap();
    let words =
        ["run", "--rm", "--env-file", file.to_str().unwrap(), "busybox", "sh", "-c", "env | grep -c ^V"];
    shim.cli(&words).expect_ok().expect_stdout("16384\n");
}

#[test]
fn a_reader_that_has_gone_ends_the_command_and_not_the_container() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let mut child = piped(&shim, &["run", "--name", "box", "busybox", "yes"]).spawn().unwrap();
    let mut some = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    assert_eq!(&some, b"y\ny\n");
    assert!(!child.wait().unwrap().success());
    assert_eq!(shim.inspect("box")["State"]["Status"], "running", "as with docker");
    shim.cli(&["rm", "--force", "box"]).expect_ok();
}

#[test]
fn control_c_reaches_the_program_and_three_of_them_leave_it() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let script = "trap 'echo heard; exit 9' INT; echo ready; while :; do sleep 0.1; done";
    let running = shim.call(&["run", "--rm", "--name", "box", "busybox", "sh", "-c", script]).spawn();
    wait_for("the program", || shim.cli(&["logs", "box"]).stdout.contains("ready").then_some(()));
    running.signal(Signal::INT);
    running.wait().expect_code(9).expect_stdout("ready\nheard\n");
    // A program that does not heed it: the first process of a pid namespace has no defaults (pid_namespaces(7)).
    let mut running =
        shim.call(&["run", "--name", "deaf", "busybox", "sh", "-c", "echo ready; sleep 600"]).spawn();
    wait_for("the program", || shim.cli(&["logs", "deaf"]).stdout.contains("ready").then_some(()));
    for _ in 0..3 {
        running.expect_alive();
        running.signal(Signal::INT);
        // Signals of one kind that wait are one.
        thread::sleep(std::time::Duration::from_millis(200));
    }
    let output = running.wait();
    assert!(output.stderr.contains("got 3 SIGTERM/SIGINTs, forcefully exiting"), "{output}");
    assert_eq!(shim.inspect("deaf")["State"]["Status"], "running");
}

#[test]
fn whoever_watches_a_container_that_is_removed_comes_to_an_end() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    shim.detached(&["--name", "box", "busybox", "sh", "-c", "echo said; exec sleep 600"]);
    let watch = |words: &[&str]| shim.call(words).spawn();
    let (logs, attach) = (watch(&["logs", "--follow", "box"]), watch(&["attach", "--no-stdin", "box"]));
    let (wait, exec) =
        (watch(&["wait", "box"]), watch(&["exec", "box", "sh", "-c", "echo in; exec sleep 600"]));
    // Each of them has begun, as far as can be seen.
    wait_for("the exec", || {
        shim.cli(&["top", "box"]).stdout.matches("sleep 600").count().eq(&2).then_some(())
    });
    thread::sleep(std::time::Duration::from_millis(300));
    shim.cli(&["rm", "--force", "box"]).expect_ok();
    logs.wait().expect_ok().expect_stdout("said\n");
    attach.wait().expect_code(137);
    wait.wait().expect_ok().expect_stdout("137\n");
    exec.wait().expect_code(137).expect_stdout("in\n");
}

#[test]
fn a_name_is_meant_before_the_beginning_of_an_id() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let id = shim.detached(&["--name", "box", "busybox", "sleep", "600"]);
    let short = &id[..12];
    assert_eq!(shim.inspect(short)["Name"], "/box");
    let other = shim.stdout(&["create", "--name", short, "busybox"]);
    let name = |word: &str| shim.inspect(word)["Name"].as_str().unwrap()[1..].to_owned();
    assert_eq!((name(short), name(&id[..13]), name(&id)), (short.to_owned(), "box".into(), "box".into()));
    // A whole id is that container's, whatever others are called.
    shim.cli(&["rename", short, &id]).expect_ok();
    assert_eq!((name(&id), name(other.trim_end())), ("box".into(), id.clone()));
    shim.cli(&["rm", &id]).expect_code(1).expect_stderr("container is running");
    shim.cli(&["rm", other.trim_end()]).expect_ok();
    assert!(shim.process(&id).is_alive());
}
