//! `exec`: what the program is given, by flags and by `--process`, and what comes back to the caller. (runc-exec(8),
//! runtime-spec config.md "Process".)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use integration::{
    Bundle, Call, Container, Process, Value, asleep, json, known_gap, runtime_under_test, wait_for,
};
use rustix::process::Signal;

fn container() -> Container {
    asleep(Bundle::new()).0
}

/// Writes a process document beside the bundle; its path.
fn document(container: &Container, document: &Value) -> String {
    let path = container.bundle().scratch_file("process.json");
    fs::write(&path, document.to_string()).unwrap();
    path
}

const PATH: &str = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";

#[test]
fn words_after_the_id_are_the_programs_own() {
    let words = [
        "sh",
        "-c",
        "for a in \"$@\"; do printf '<%s>' \"$a\"; done",
        "-t",
        "--help",
        "",
        "a b",
        "-e",
        "☃",
        "--",
    ];
    let expected: String = words[4..].iter().map(|word| format!("<{word}>")).collect();
    container().exec(&words).expect_ok().expect_stdout(&expected).expect_no_stderr();
}

#[test]
fn the_exit_status_is_the_programs() {
    let container = container();
    for (script, code) in
        [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137), ("kill $$", 143)]
    {
        container.exec(&["sh", "-c", script]).expect_code(code);
    }
    assert_eq!(container.status(), "running");
}

#[test]
fn input_output_and_errors_are_the_callers() {
    let container = container();
    let call = container.exec_call(&[], &["sh", "-c", "cat; echo error >&2"]).stdin_bytes("through");
    let output = call.output().expect_ok().expect_stdout("through");
    assert_eq!(output.stderr, "error\n");
}

#[test]
fn variables_are_added_to_the_containers_and_commas_split_nothing() {
    let container = asleep(Bundle::new().env("OWN", "1").env("TWICE", "own")).0;
    let options = ["-e", "A=1,B=2", "-e", "TWICE=flag", "-e=SPACE=a b", "-e=EMPTY="];
    let script =
        "echo $OWN; echo $TWICE; echo $A; echo \"$SPACE\"; echo ${EMPTY-unset}; echo ${B-unset}; echo $HOME";
    known_gap!(Crun, "has no single dash before a long flag, nor a value after -e=");
    assert_eq!(container.exec_sh(&options, script), "1\nflag\n1,B=2\na b\n\nunset\n/root");
    assert_eq!(container.exec_sh(&["-env=A=1", "--env", "B=2"], "echo $A $B"), "1 2");
    container.exec_call(&["-e", "NO_VALUE"], &["true"]).output().expect_code(255);
    known_gap!(Runc, "1.1.5 takes a flag in one of its forms only");
    assert_eq!(container.exec_sh(&["-e", "A=1", "--env", "B=2"], "echo $A $B"), "1 2");
}

fn is_crun() -> bool {
    integration::flavour() == integration::Flavour::Crun
}

#[test]
fn home_is_that_of_the_user_in_the_containers_passwd() {
    known_gap!(Crun, "1.8.1 adds no HOME where passwd has no such user");
    let container = container();
    for (user, home) in [("0", "/root"), ("1000", "/home/user"), ("4242", "/")] {
        assert_eq!(container.exec_sh(&["--user", user], "echo $HOME"), home);
    }
}

#[test]
fn the_working_directory_is_the_containers_or_the_flags() {
    known_gap!(Crun, "1.8.1 begins in /");
    let container = asleep(Bundle::new().set("/process/cwd", json!("/home/user"))).0;
    assert_eq!(container.exec_sh(&[], "pwd"), "/home/user");
    assert_eq!(container.exec_sh(&["--cwd", "/tmp"], "pwd"), "/tmp");
    let refused = container.exec_call(&["--cwd", "/not/there"], &["true"]).output();
    refused.expect_code(if is_crun() { 1 } else { 255 }).expect_runc_phrase("no such file or directory");
    let refused = container.exec_call(&["--cwd", "relative"], &["true"]).output().expect_fail();
    refused.expect_runc_phrase("absolute path");
}

#[test]
fn a_user_is_given_by_numbers() {
    known_gap!(Crun, "1.8.1 sets the group to that of the number");
    let user = json!({"uid": 3, "gid": 4, "additionalGids": [5]});
    let container = asleep(Bundle::new().set("/process/user", user)).0;
    let ids = |options: &[&str]| container.exec_sh(options, "echo $(id -u) $(id -g) $(id -G)");
    assert_eq!(ids(&[]), "3 4 4 5");
    assert_eq!(ids(&["--user", "1"]), "1 4 4 5", "CVE-2026-30892: 1 is user 1, and the group stays");
    assert_eq!(ids(&["-u", "1:2"]), "1 2 2 5");
    assert_eq!(ids(&["-u", "0:0", "-g", "6", "-g", "7"]), "0 0 0 5 6 7");
    assert_eq!(ids(&["--additional-gids", "6", "--user=0:0"]), "0 0 0 5 6");
}

#[test]
fn a_user_that_is_no_number_is_refused() {
    known_gap!(Runc, Crun, "these take what they can of it: 4294967296 is user 0 to them");
    let container = container();
    for user in ["root", "1:", "-1", "1:x", "x:1", "4294967296", "0x1", "1,2", " 1"] {
        let output = container.exec_call(&["--user", user], &["id"]).output().expect_code(255);
        output.expect_stdout("").expect_stderr("is not an id").expect_stderr("names are not looked up");
    }
}

/// The five sets of a process: inheritable, permitted, effective, bounding, ambient.
fn sets(container: &Container, options: &[&str]) -> Vec<u64> {
    let printed = container.exec_sh(options, "grep ^Cap /proc/self/status | cut -f 2");
    printed.lines().map(|line| u64::from_str_radix(line, 16).unwrap()).collect()
}

const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;
const NET_RAW: u64 = 1 << 13;

fn with_capabilities() -> Container {
    let given = json!(["CAP_CHOWN", "CAP_KILL"]);
    let sets = json!({"bounding": given, "effective": given, "permitted": given});
    asleep(Bundle::new().set("/process/capabilities", sets)).0
}

#[test]
fn capabilities_are_the_containers_and_nothing_is_inheritable() {
    let container = with_capabilities();
    let own = CHOWN | KILL;
    assert_eq!(sets(&container, &[]), [0, own, own, own, 0]);
    assert_eq!(sets(&container, &["--user", "1"]), [0, 0, 0, own, 0]);
}

#[test]
fn cve_2022_29162_added_capabilities_are_not_inheritable() {
    known_gap!(Crun, "1.8.1 adds them to all five sets");
    let container = with_capabilities();
    let more = CHOWN | KILL | NET_RAW;
    assert_eq!(sets(&container, &["--cap", "CAP_NET_RAW"]), [0, more, more, more, 0]);
    assert_eq!(sets(&container, &["-c", "CAP_NET_RAW", "--user", "1"]), [0, 0, 0, more, 0]);
    let two = sets(&container, &["--cap", "CAP_NET_RAW", "--cap=CAP_SYS_CHROOT"]);
    assert_eq!(two[3], more | 1 << 18);
}

#[test]
fn no_new_privs_is_the_containers_or_the_flags() {
    known_gap!(Crun, "1.8.1 does not take the container's");
    let given = |container: &Container, options: &[&str]| {
        container.exec_sh(options, "grep NoNewPrivs /proc/self/status | cut -f 2")
    };
    let with = container();
    assert_eq!(given(&with, &[]), "1");
    let without = asleep(Bundle::new().set("/process/noNewPrivileges", json!(false))).0;
    assert_eq!(given(&without, &[]), "0");
    assert_eq!(given(&without, &["--no-new-privs"]), "1");
    known_gap!(Runc, Crun, "these only look whether the flag is there");
    assert_eq!(given(&with, &["--no-new-privs=false"]), "0");
}

#[test]
fn a_document_has_the_whole_process() {
    let container = asleep(Bundle::new().env("OWN", "1")).0;
    let process = json!({
        "terminal": false,
        "user": {"uid": 8, "gid": 9, "additionalGids": [10], "umask": 0o27},
        "args": ["sh", "-c", "echo $(id -u) $(id -g) $(id -G); umask; pwd; env | sort; ulimit -n; \
                  grep -E 'CapBnd|CapAmb|NoNewPrivs' /proc/self/status; cat /proc/self/oom_score_adj"],
        "env": [PATH, "DOCUMENT=a=b", "HOME=/h"],
        "cwd": "/tmp",
        "capabilities": {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"],
                         "ambient": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 60, "hard": 70}],
        "noNewPrivileges": false,
        "oomScoreAdj": 321,
    });
    let path = document(&container, &process);
    let output = container.exec_call(&["--process", &path], &[]).output().expect_ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines[0], "8 9 9 10");
    if integration::flavour() == integration::Flavour::Ours {
        assert_eq!(lines[1], "0027"); // 1.1.5 of runc and 1.8.1 of crun take the container's
        assert_eq!(lines.last(), Some(&"321")); // and the container's here
    }
    assert_eq!(lines[2], "/tmp");
    assert!(output.stdout.contains("DOCUMENT=a=b\nHOME=/h\n") && !output.stdout.contains("OWN="), "{output}");
    assert!(lines.contains(&"60"), "{output}");
    assert!(output.stdout.contains("NoNewPrivs:\t0\n"), "{output}");
    assert!(output.stdout.contains("CapBnd:\t0000000000000020\nCapAmb:\t0000000000000020\n"), "{output}");
}

#[test]
fn what_a_document_leaves_out_is_as_the_container_has_it() {
    known_gap!(Runc, Crun, "these versions take limits and umask from the document alone");
    let container = asleep(
        Bundle::new()
            .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 61, "hard": 71}]))
            .set("/process/oomScoreAdj", json!(123))
            .set("/process/user/umask", json!(0o77)),
    );
    let container = container.0;
    let process = json!({
        "user": {"uid": 0, "gid": 0},
        "args": ["sh", "-c", "ulimit -n; ulimit -Hn; umask; cat /proc/self/oom_score_adj; \
                  grep -E 'CapBnd|NoNewPrivs' /proc/self/status"],
        "env": [PATH], "cwd": "/",
    });
    let path = document(&container, &process);
    let printed = container.exec_call(&["-p", &path], &[]).output().expect_ok().stdout;
    let (own, init) = (container.init().status("CapBnd"), container.init());
    assert_eq!(init.read("oom_score_adj").trim(), "123");
    let wanted = format!("61\n71\n0077\n123\nNoNewPrivs:\t0\nCapBnd:\t{own}\n");
    let mut lines: Vec<&str> = printed.lines().collect();
    let mut expected: Vec<&str> = wanted.lines().collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn flags_change_a_document() {
    known_gap!(Runc, Crun, "these ignore the flags beside a document");
    let container = container();
    let process = json!({"user": {"uid": 5, "gid": 6}, "args": ["false"], "env": [PATH, "A=1"], "cwd": "/"});
    let path = document(&container, &process);
    let options = ["--process", &path, "--cwd", "/tmp", "-e", "A=2", "-u", "7", "-g", "8"];
    assert_eq!(container.exec_sh(&options, "pwd; echo $A $(id -u) $(id -G)"), "/tmp\n2 7 6 8");
    container.exec_call(&options, &[]).output().expect_code(1); // /bin/false itself
}

#[test]
fn a_document_that_is_wrong_is_refused_with_its_field() {
    let container = container();
    let refused = |text: &str, phrase: &str| {
        let path = container.bundle().scratch_file("process.json");
        fs::write(&path, text).unwrap();
        let output = container.exec_call(&["--process", &path], &[]).output().expect_fail();
        if integration::flavour() == integration::Flavour::Ours {
            output.expect_code(255).expect_stderr(phrase);
        }
    };
    refused("{", "EOF while parsing");
    refused(
        r#"{"args":["true"],"cwd":"relative","user":{"uid":0,"gid":0}}"#,
        "process.cwd: \"relative\" is not an absolute path",
    );
    refused(r#"{"args":[],"cwd":"/","user":{"uid":0,"gid":0}}"#, "process args cannot be empty");
    refused(r#"{"args":["true"],"cwd":"/","user":{"uid":-1,"gid":0}}"#, "user.uid");
    refused(r#"{"args":["true"],"cwd":"/","env":["=x"],"user":{"uid":0,"gid":0}}"#, "process.env[0]");
    let output = container.exec_call(&["--process", "/no/such/file"], &[]).output().expect_fail();
    output.expect_runc_phrase("no such file or directory");
}

#[test]
fn what_cannot_be_run_is_refused_in_the_words_that_callers_search_for() {
    let container = asleep(Bundle::new().file("/opt/data", 0o755, b"\x00\x01\x02\x03")).0;
    for (program, phrase) in [
        ("no-such-program", "executable file not found in $PATH"),
        ("/no/such/program", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
    ] {
        let output = container.exec(&[program]).expect_fail().expect_stdout("");
        if !is_crun() {
            output.expect_code(255).expect_stderr(phrase).expect_stderr("exec failed: ");
        }
    }
    container.exec(&[]).expect_fail();
    assert_eq!(container.status(), "running");
    known_gap!(Runc, Crun, "these versions find out too late, or say something else");
    container.exec(&["/opt/data"]).expect_code(255).expect_stderr("exec format error");
    container.exec(&["/etc"]).expect_code(255).expect_stderr("is a directory");
}

#[test]
fn a_container_has_to_be_there_and_alive() {
    let container = container();
    let code = if is_crun() { 1 } else { 255 };
    container.sibling().exec(&["true"]).expect_code(code).expect_runc_phrase("container does not exist");
    container.kill("KILL").expect_ok();
    container.wait_status("stopped");
    container.exec(&["true"]).expect_code(code).expect_runc_phrase("cannot exec in a stopped container");
}

#[test]
fn a_created_container_can_be_looked_at_before_its_start() {
    let container = Bundle::new().sleeping().container();
    container.create().expect_ok();
    assert_eq!(container.exec_sh(&[], "hostname; cat /proc/sys/kernel/hostname"), "caisson\ncaisson");
    assert_eq!(container.status(), "created");
    container.start().expect_ok();
    container.exec(&["true"]).expect_ok();
}

#[test]
fn a_paused_container_is_refused_unless_the_caller_wants_to_wait() {
    let container = container();
    container.pause().expect_ok();
    let refused = container.exec(&["true"]).expect_fail();
    refused.expect_runc_phrase("cannot exec in a paused container (use --ignore-paused to override)");
    known_gap!(Crun, "has no --ignore-paused");
    let mut waiting = container.exec_call(&["--ignore-paused"], &["echo", "resumed"]).spawn();
    wait_for("the new process in the container", || {
        (container.init().cgroup_file("cgroup.procs").lines().count() == 2).then_some(())
    });
    waiting.expect_alive();
    container.resume().expect_ok();
    waiting.wait().expect_ok().expect_stdout("resumed\n");
}

#[test]
fn a_wait_for_a_paused_container_can_be_ended() {
    known_gap!(Runc, Crun, "these pass the signal to the process that is stopped too");
    let container = container();
    container.pause().expect_ok();
    let waiting = container.exec_call(&["--ignore-paused"], &["true"]).spawn();
    let members = || container.init().cgroup_file("cgroup.procs").lines().count();
    wait_for("the new process in the container", || (members() == 2).then_some(()));
    waiting.signal(Signal::TERM);
    waiting.wait().expect_code(255).expect_stderr("interrupted by SIGTERM");
    assert_eq!(members(), 1, "the process that was to be is gone");
}

#[test]
fn a_detached_process_outlives_the_call_and_its_pid_file_holds_a_number() {
    let container = container();
    let process = container.exec_detached(&[], &["sleep", "500"]);
    assert!(process.is_alive());
    assert_eq!(process.cgroup(), container.init().cgroup());
    let mut pids = vec![container.init_pid(), process.pid()];
    pids.sort_unstable();
    assert_eq!(container.ps(), pids);
}

#[test]
fn a_failed_exec_leaves_no_process_and_no_pid_file() {
    known_gap!(Crun, "1.8.1 leaves the process where the pid file cannot be written");
    let container = container();
    let file = container.bundle().scratch_file("pid");
    for words in [&["no-such-program"][..], &["/etc/passwd"]] {
        container.exec_call(&["--detach", "--pid-file", &file], words).output().expect_fail();
        assert!(!Path::new(&file).exists());
    }
    let output =
        container.exec_call(&["--detach", "--pid-file", "/no/such/folder/pid"], &["sleep", "300"]).output();
    output.expect_fail().expect_runc_phrase("no such file or directory");
    wait_for("nothing but init", || (container.ps() == [container.init_pid()]).then_some(()));
}

#[test]
fn the_pid_file_has_the_pid_of_the_foreground_too() {
    let container = container();
    let file = container.bundle().scratch_file("pid");
    let running = container.exec_call(&["--pid-file", &file], &["sleep", "300"]).spawn();
    let pid: u32 = wait_for("the pid file", || fs::read_to_string(&file).ok()?.parse().ok());
    let process = Process::new(pid);
    wait_for("the program", || (process.cmdline() == ["sleep", "300"]).then_some(()));
    assert_eq!(process.status("PPid"), running.pid().to_string());
    running.signal(Signal::TERM);
    running.wait().expect_code(143);
}

#[test]
fn signals_go_to_the_program() {
    let container = container();
    let script = "trap 'echo got it; exit 9' USR1; echo ready; while :; do sleep 0.05; done";
    let output = container.bundle().scratch_file("output");
    fs::create_dir(&output).unwrap();
    let running = container.exec_call(&[], &["sh", "-c", script]).output_in(output.as_ref()).spawn();
    wait_for("the handler", || {
        fs::read_to_string(format!("{output}/stdout")).unwrap().contains("ready").then_some(())
    });
    running.signal(Signal::USR1);
    running.wait().expect_code(9).expect_stdout("ready\ngot it\n");
}

#[test]
fn only_the_descriptors_that_are_asked_for_are_inherited() {
    let container = container();
    let scratch = container.bundle().scratch().to_owned();
    let called = |options: &[&str], script: &str| {
        let redirect =
            format!("exec 3</etc/passwd 4</dev/zero 7<{0} 9</; exec \"$0\" \"$@\"", scratch.display());
        let call = Call::of("sh").args(["-c".as_ref(), redirect.as_ref(), runtime_under_test().as_os_str()]);
        let call = call.args(["--root".as_ref(), container.state_root().as_os_str()]).args(["exec"]);
        call.args(options).args([container.id(), "sh", "-c", script]).output().expect_ok().stdout
    };
    known_gap!(Crun, "the harness calls it through a shell of its own");
    let list = "for f in /proc/self/fd/*; do n=${f##*/}; [ $n -lt 10 ] && readlink /proc/$$/fd/$n >/dev/null && echo $n; done; true";
    assert_eq!(called(&[], list), "0\n1\n2\n");
    assert_eq!(called(&["--preserve-fds", "2"], list), "0\n1\n2\n3\n4\n");
    assert!(called(&["--preserve-fds=1"], "cat <&3").contains("root:"));
    let missing = container.exec_call(&["--preserve-fds", "300"], &["true"]).output().expect_fail();
    if integration::flavour() == integration::Flavour::Ours {
        missing.expect_code(255).expect_stderr("was not handed over");
    }
}

#[test]
fn a_document_may_come_through_a_pipe() {
    known_gap!(Crun, "the harness calls it through a shell of its own");
    let container = container();
    let process = json!({"user": {"uid": 0, "gid": 0}, "args": ["echo", "piped"], "env": [PATH], "cwd": "/"});
    let call = container.exec_call(&["--process", "/dev/stdin"], &[]).stdin_bytes(process.to_string());
    call.output().expect_ok().expect_stdout("piped\n");
}

#[test]
fn the_configuration_that_counts_is_the_one_the_container_was_made_of() {
    known_gap!(Runc, Crun, "these read the bundle again");
    let container = asleep(Bundle::new().env("OWN", "before")).0;
    let config = container.bundle().path().join("config.json");
    let changed = fs::read_to_string(&config).unwrap().replace("before", "after");
    fs::write(&config, changed).unwrap();
    assert_eq!(container.exec_sh(&[], "echo $OWN"), "before");
    fs::remove_file(&config).unwrap();
    assert_eq!(container.exec_sh(&[], "echo $OWN"), "before");
    let copy = container.state_root().join(container.id()).join("config.json");
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_failure_is_one_object_in_the_log() {
    let container = container();
    let log = container.bundle().scratch_file("log.json");
    let globals = ["--log", &log, "--log-format", "json", "--root", container.state_root().to_str().unwrap()];
    let call = Call::runtime().args(globals).args(["exec", container.id(), "no-such-program"]);
    call.output().expect_fail();
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let errors: Vec<&Value> = lines.iter().filter(|line| line["level"] == "error").collect();
    let last = errors.last().unwrap_or_else(|| panic!("no error in {text}"));
    assert!(last["msg"].as_str().unwrap().contains("no-such-program"), "{text}");
    if integration::flavour() == integration::Flavour::Ours {
        assert_eq!(lines.len(), 1, "{text}");
    }
}

#[test]
fn what_is_no_text_is_a_failure_of_exec_and_not_of_the_command_line() {
    known_gap!(Runc, "it replaces what is not UTF-8");
    known_gap!(Crun, "it passes the bytes on");
    let (container, _) = asleep(Bundle::new());
    let wrong = OsStr::from_bytes(b"A=\xff");
    let id = OsStr::new(container.id());
    for (words, named) in [
        (&[id, OsStr::new("true"), wrong][..], "process.args[1]"),
        (&[OsStr::new("--env"), wrong, id, OsStr::new("true")], "--env \"A\""),
        (&[OsStr::new("--cwd"), wrong, id, OsStr::new("true")], "--cwd"),
        (&[OsStr::new("--user"), wrong, id, OsStr::new("true")], "--user"),
        (&[OsStr::new("--cgroup"), wrong, id, OsStr::new("true")], "--cgroup"),
        (&[wrong, OsStr::new("true")], "invalid container ID format"),
    ] {
        let output = container.call("exec").args(words).output().expect_code(255).expect_stdout("");
        assert_eq!(output.stderr.lines().count(), 1, "{output}");
        output.expect_stderr(named);
    }
}
