//! `shim exec`: a further program in a container that runs.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::{Output, Shim, Terminal, is_root, requires, wait_for};

const NOT_ROOT: &str = "containers with layers of their own need root";

fn sleeping(shim: &Shim, flags: &[&str]) -> String {
    shim.detached(&[flags, &["--init=false", "busybox", "sleep", "1000"]].concat())
}

fn exec(shim: &Shim, words: &[&str]) -> Output {
    shim.call(&["exec"]).args(words).output()
}

#[test]
fn streams_exit_status_and_failures_are_dockers() {
    requires!(is_root(), "{NOT_ROOT}");
    let shim = Shim::with_busybox();
    let id = sleeping(&shim, &["--name", "box"]);
    let output = exec(&shim, &["box", "sh", "-c", "echo out; echo err >&2; exit 7"]).expect_code(7);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
    exec(&shim, &[&id[..12], "sh", "-c", "kill -TERM $$"]).expect_code(143);
    // What it ends with is its own affair, also where it is what a runtime that fails ends with.
    exec(&shim, &["box", "sh", "-c", "exit 255"]).expect_code(255).expect_no_stderr();
    exec(&shim, &["box", "nosuchprogram"])
        .expect_code(127)
        .expect_stderr("executable file not found in $PATH");
    exec(&shim, &["box", "/etc"]).expect_code(126);
    exec(&shim, &["-w", "tmp", "box", "true"]).expect_code(126).expect_stderr("Cwd must be an absolute path");
    exec(&shim, &["nobody", "true"]).expect_code(1).expect_stderr("No such container: nobody");
    // Standard input is nobody's without -i.
    let cat =
        |flags: &[&str]| shim.call(&["exec"]).args(flags).args(["box", "cat"]).stdin_bytes("typed").output();
    cat(&[]).expect_ok().expect_stdout("");
    cat(&["-i"]).expect_ok().expect_stdout("typed");
    let bad = exec(&shim, &["-it", "box", "true"]).expect_code(1);
    bad.expect_stderr("the input device is not a TTY");

    shim.cli(&["pause", "box"]).expect_ok();
    exec(&shim, &["box", "true"])
        .expect_code(1)
        .expect_stderr("is paused, unpause the container before exec");
    let paused = shim.cli(&["attach", "box"]).expect_code(1);
    paused.expect_stderr("cannot attach to a paused container, unpause it first");
    shim.cli(&["unpause", "box"]).expect_ok();
    let ended = shim.detached(&["busybox", "true"]);
    wait_for("its end", || (shim.recorded_state(&ended)["status"] == "exited").then_some(()));
    exec(&shim, &[&ended, "true"]).expect_code(1).expect_stderr(&format!("container {ended} is not running"));
}

#[test]
fn environment_user_folder_and_rights_are_the_containers_unless_asked_otherwise() {
    requires!(is_root(), "{NOT_ROOT}");
    let shim = Shim::with_busybox();
    sleeping(
        &shim,
        &["--name", "box", "-e", "A=1", "-e", "B=2", "-w", "/tmp", "-h", "inside", "--cap-drop", "CHOWN"],
    );
    let out = |words: &[&str]| exec(&shim, words).expect_ok().expect_no_stderr().stdout;
    let env = out(&["-e", "B=3", "-e", "C=4", "box", "env"]);
    for variable in ["A=1", "B=3", "C=4", "HOSTNAME=inside", "HOME=/root"] {
        assert!(env.lines().any(|line| line == variable), "{variable}: {env}");
    }
    assert!(!env.contains("TERM="), "{env}");
    let file = shim.folder().join("variables");
    std::fs::write(&file, "# comment\nD=5\nB=6\n").unwrap();
    let given =
        out(&["--env-file", file.to_str().unwrap(), "-e", "B=7", "box", "sh", "-c", "echo $B $D; pwd"]);
    assert_eq!(given, "7 5\n/tmp\n");
    assert_eq!(out(&["-w", "/etc", "box", "pwd"]), "/etc\n");

    // Looked up where the container has it by now.
    let script = "echo 'web:x:33:34::/srv:/bin/sh' >> /etc/passwd; echo 'more:x:77:web' >> /etc/group";
    out(&["box", "sh", "-c", script]);
    assert_eq!(
        out(&["-u", "web", "box", "sh", "-c", "id -u; id -g; id -G; echo $HOME"]),
        "33\n34\n34 77\n/srv\n"
    );
    assert_eq!(out(&["-u", "7:8", "box", "sh", "-c", "id -u; id -g"]), "7\n8\n");
    let error = exec(&shim, &["-u", "nobody-there", "box", "true"]).expect_code(126);
    error.expect_stderr("unable to find user nobody-there: no matching entries in passwd file");

    let caps = |flags: &[&str], name: &str| {
        let script = format!("grep {name} /proc/self/status");
        let line = out(&[flags, &["box", "sh", "-c", &script]].concat());
        u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap()
    };
    assert_eq!(caps(&[], "CapEff") & 1, 0, "CAP_CHOWN was dropped");
    assert_ne!(caps(&[], "CapEff") & 2, 0, "and the others not");
    assert_eq!(caps(&["-u", "7"], "CapEff"), 0);
    assert_eq!(caps(&["-u", "7"], "CapBnd"), caps(&[], "CapBnd"));
    assert_ne!(caps(&["--privileged"], "CapEff") & 1 << 21, 0, "CAP_SYS_ADMIN");
    assert_eq!(caps(&[], "Seccomp:"), 2);
}

#[test]
fn a_detached_program_runs_on_without_its_caller() {
    requires!(is_root(), "{NOT_ROOT}");
    let shim = Shim::with_busybox();
    let id = sleeping(&shim, &["--name", "box"]);
    let script = "sleep 0.3; echo done > /done; sleep 1000";
    exec(&shim, &["-d", "box", "sh", "-c", script]).expect_ok().expect_stdout("").expect_no_stderr();
    wait_for("the program", || (exec(&shim, &["box", "cat", "/done"]).stdout == "done\n").then_some(()));
    exec(&shim, &["--detach", "box", "nosuchprogram"])
        .expect_code(1)
        .expect_stderr("executable file not found");
    // It ends with the container.
    let inside = exec(&shim, &["box", "pidof", "sleep"]).expect_ok().stdout;
    assert_eq!(inside.split_whitespace().count(), 2, "{inside}");
    shim.cli(&["rm", "-f", &id]).expect_ok();
}

#[test]
fn signals_reach_the_program() {
    requires!(is_root(), "{NOT_ROOT}");
    let shim = Shim::with_busybox();
    sleeping(&shim, &["--name", "box"]);
    let script = "trap 'echo got; exit 5' USR1; touch /ready; while :; do sleep 0.1; done";
    let running = shim.call(&["exec", "box", "sh", "-c", script]).spawn();
    wait_for("the trap", || (exec(&shim, &["box", "ls", "/ready"]).code() == 0).then_some(()));
    running.signal(rustix::process::Signal::USR1);
    running.wait().expect_code(5).expect_stdout("got\n");
}

#[test]
fn a_terminal_is_the_callers_own() {
    requires!(is_root(), "{NOT_ROOT}");
    let shim = Shim::with_busybox();
    sleeping(&shim, &["--name", "box"]);
    let (mut terminal, other) = Terminal::pair();
    terminal.resize(33, 99);
    let before = terminal.attributes();
    let running = shim.call(&["exec", "-it", "box", "sh"]).on_terminal(other).spawn();
    terminal.send("stty size; echo $TERM; tty\n");
    terminal.read_until("33 99\r\nxterm\r\n/dev/pts/");
    assert!(!terminal.has_echo(), "what is typed is shown by the program's own terminal");
    terminal.resize(44, 111);
    let mut number = 1000;
    wait_for("the new size", || {
        number += 1;
        terminal.send(&format!("stty size; echo $(({number}+1000))\n"));
        terminal.read_until(&(number + 1000).to_string()).contains("44 111").then_some(())
    });
    // Ctrl-C is for the program, and only for that.
    terminal.send("sleep 500\n");
    terminal.read_until("sleep 500\r\n");
    std::thread::sleep(std::time::Duration::from_millis(100));
    terminal.send("\x03");
    terminal.send("echo still $((40+2)); exit 9\n");
    terminal.read_until("still 42");
    running.wait().expect_code(9);
    assert_eq!(terminal.attributes(), before);

    // It can be left, and goes on.
    let (mut terminal, other) = Terminal::pair();
    let script = "trap '' HUP; read x; echo got $((40+2)); sleep 0.3; touch /left; sleep 1000";
    let running = shim
        .call(&["exec", "-it", "--detach-keys", "ctrl-x,x", "box", "sh", "-c", script])
        .on_terminal(other);
    let running = running.spawn();
    terminal.send("go\n");
    terminal.read_until("got 42");
    terminal.send("\x18x");
    terminal.read_until("read escape sequence");
    running.wait().expect_code(1);
    assert_eq!(terminal.attributes(), before);
    wait_for("the program", || (exec(&shim, &["box", "ls", "/left"]).code() == 0).then_some(()));

    let (mut terminal, other) = Terminal::pair();
    let running = shim.call(&["exec", "-it", "box", "nosuchprogram"]).on_terminal(other).spawn();
    terminal.read_until("executable file not found in $PATH");
    running.wait().expect_code(127);
    exec(&shim, &["-dt", "box", "sh", "-c", "tty > /tty; sleep 1000"]).expect_ok();
    wait_for("its terminal", || {
        exec(&shim, &["box", "cat", "/tty"]).stdout.starts_with("/dev/pts/").then_some(())
    });
}
