//! SCMP_ACT_NOTIFY: an agent gets the listener and the state, and answers calls in the kernel's place.
//! (runtime-spec config-linux.md "Seccomp", "The Container Process State"; seccomp_unotify(2).)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting
#![cfg(target_arch = "x86_64")]

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use integration::elf::{Exit, call64};
use integration::{Bundle, Call, Container, Running, Value, json, known_gap, wait_for};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

const GETPGRP: u64 = 111;

/// The other end of `linux.seccomp.listenerPath`.
struct Agent {
    socket: UnixListener,
    path: PathBuf,
}

/// What the runtime sends to it.
struct Handed {
    document: Value,
    listeners: Vec<OwnedFd>,
}

impl Agent {
    fn new(bundle: &Bundle) -> Agent {
        let path = bundle.scratch().join("agent");
        let socket = UnixListener::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Agent { socket, path }
    }

    fn filter(&self, calls: &[&str]) -> Value {
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64"],
            "listenerPath": self.path.to_str().unwrap(),
            "listenerMetadata": "meta ☃",
            "syscalls": [{"names": calls, "action": "SCMP_ACT_NOTIFY"}],
        })
    }

    /// Waits for the runtime, and takes all it has to say.
    fn accept(&self) -> Handed {
        let connection = wait_for("the runtime to call the agent", || self.socket.accept().ok()).0;
        connection.set_nonblocking(false).unwrap();
        connection.set_read_timeout(Some(integration::PATIENCE)).unwrap();
        take(&connection)
    }
}

fn take(connection: &UnixStream) -> Handed {
    let (mut text, mut listeners) = (Vec::new(), Vec::new());
    loop {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut data = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(connection, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                listeners.extend(fds);
            }
        }
        assert_ne!(received.bytes, 0, "the end before a whole document: {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&bytes[..received.bytes]);
        // Who sends may keep the connection for a while: the end of the document is that of the text.
        if let Ok(document) = serde_json::from_slice(&text) {
            return Handed { document, listeners };
        }
    }
}

/// Answers every call with a result, an errno or (flag 1) with the kernel's own doing, and prints the calls'
/// numbers; ends with the last process that has the filter. SECCOMP_IOCTL_NOTIF_RECV and _SEND by number.
fn answer(listener: OwnedFd, result: i64, errno: i32, flags: u32) -> Running {
    let script = r#"$| = 1; my ($value, $error, $flags) = @ARGV;
        while (1) {
            my $call = "\0" x 80;
            if (!ioctl(STDIN, 0xC0502100, $call)) { next if $!{EINTR}; last }
            my ($id, $pid, $f, $number) = unpack("Q L L l", $call);
            print "$number\n";
            my $answer = pack("Q q l L", $id, $value, -$error, $flags);
            ioctl(STDIN, 0xC0182101, $answer) or $!{ENOENT} or die "send: $!";
        }"#;
    let arguments = [result.to_string(), errno.to_string(), flags.to_string()];
    Call::of("perl").args(["-MErrno", "-e", script]).args(arguments).stdin_from(listener).spawn()
}

impl Handed {
    fn answer(mut self, result: i64, errno: i32, flags: u32) -> Running {
        assert_eq!(self.listeners.len(), 1, "one descriptor is handed over");
        answer(self.listeners.pop().unwrap(), result, errno, flags)
    }
}

/// A container whose program makes one call that is asked about.
fn container(no_new_privileges: bool, exit: Exit) -> (Container, Agent) {
    let bundle = Bundle::new();
    let agent = Agent::new(&bundle);
    let bundle = bundle
        .set("/linux/seccomp", agent.filter(&["getpgrp"]))
        .set("/process/noNewPrivileges", json!(no_new_privileges))
        .file("/opt/call", 0o755, &call64(GETPGRP, [0; 3], exit))
        .args(&["/opt/call"]);
    (bundle.container(), agent)
}

#[test]
fn the_agent_answers_for_the_kernel() {
    for no_new_privileges in [true, false] {
        for (exit, result, errno, flags, status) in
            [(Exit::Errno, 0, 77, 0, 77), (Exit::Result, 55, 0, 0, 55), (Exit::Result, 0, 0, 1, 1)]
        {
            let (container, agent) = container(no_new_privileges, exit);
            let run = container.spawn_run();
            let perl = agent.accept().answer(result, errno, flags);
            run.wait().expect_code(status);
            perl.wait().expect_ok().expect_stdout("111\n");
        }
    }
}

#[test]
fn create_and_start_hand_the_listener_over_too() {
    for no_new_privileges in [true, false] {
        let (container, agent) = container(no_new_privileges, Exit::Errno);
        container.create().expect_ok();
        let pid = container.init_pid();
        container.start().expect_ok();
        let handed = agent.accept();
        assert_eq!(handed.document["pid"], pid);
        let perl = handed.answer(0, 5, 0);
        container.wait_status("stopped");
        perl.wait().expect_ok().expect_stdout("111\n");
        container.delete().expect_ok();
    }
}

#[test]
fn the_agent_gets_the_container_process_state() {
    let bundle = Bundle::new();
    let agent = Agent::new(&bundle);
    let bundle =
        bundle.set("/linux/seccomp", agent.filter(&["getpgrp"])).set("/annotations/key", json!("value"));
    let container = bundle.sleeping().container();
    container.create().expect_ok();
    container.start().expect_ok();
    let Handed { document, listeners } = agent.accept();
    assert_eq!(listeners.len(), 1);
    assert_eq!(document["fds"], json!(["seccompFd"]), "{document}");
    assert_eq!(document["metadata"], "meta ☃", "{document}");
    assert_eq!(document["pid"], container.init_pid(), "{document}");
    assert!(document["ociVersion"].is_string(), "{document}");
    let state = &document["state"];
    assert_eq!(state["id"], container.id(), "{document}");
    assert_eq!(state["pid"], container.init_pid(), "{document}");
    assert_eq!(state["bundle"], container.bundle().path().to_str().unwrap(), "{document}");
    assert_eq!(state["annotations"]["key"], "value", "{document}");
    let status = state["status"].as_str().unwrap();
    assert!(["creating", "created"].contains(&status), "{document}");
}

#[test]
fn exec_hands_a_listener_of_its_own_over() {
    known_gap!(Crun, "1.8.1 does not take the container's noNewPrivileges");
    for no_new_privileges in [true, false] {
        let bundle = Bundle::new();
        let agent = Agent::new(&bundle);
        let bundle = bundle
            .set("/linux/seccomp", agent.filter(&["getpgrp"]))
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .file("/opt/call", 0o755, &call64(GETPGRP, [0; 3], Exit::Errno));
        let container = bundle.args(&["sleep", "600"]).container();
        container.run_detached().expect_ok();
        let own = agent.accept();
        let running = container.exec_call(&[], &["/opt/call"]).spawn();
        let handed = agent.accept();
        assert_ne!(handed.document["pid"], own.document["pid"]);
        assert_eq!(handed.document["state"]["pid"], container.init_pid());
        assert_eq!(handed.document["state"]["status"], "running");
        let perl = handed.answer(0, 66, 0);
        running.wait().expect_code(66);
        perl.wait().expect_ok().expect_stdout("111\n");
    }
}

#[test]
fn exec_without_an_agent_that_answers_leaves_no_process() {
    known_gap!(Runc, Crun, "these versions leave the process, which waits");
    let bundle = Bundle::new();
    let agent = Agent::new(&bundle);
    let bundle = bundle.set("/linux/seccomp", agent.filter(&["getpgrp"]));
    let container = bundle.args(&["sleep", "600"]).container();
    container.run_detached().expect_ok();
    drop(agent.accept());
    std::fs::remove_file(&agent.path).unwrap();
    let output = container.exec(&["true"]).expect_code(255);
    output.expect_stderr("linux.seccomp.listenerPath").expect_stderr("no such file or directory");
    assert_eq!(container.ps(), [container.init_pid()]);
}

#[test]
fn nothing_of_the_listener_stays_in_the_container() {
    for no_new_privileges in [true, false] {
        let bundle = Bundle::new();
        let agent = Agent::new(&bundle);
        let bundle = bundle.set("/linux/seccomp", agent.filter(&["getpgrp"]));
        let bundle = bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
        let container = bundle.args(&["sleep", "600"]).container();
        container.run_detached().expect_ok();
        let _handed = agent.accept();
        let init = container.init();
        wait_for("the program", || init.cmdline().starts_with(&["sleep".to_owned()]).then_some(()));
        let open: Vec<u32> = init.descriptors().into_iter().map(|(number, _)| number).collect();
        assert_eq!(open, [0, 1, 2]);
        assert_eq!(init.status("Seccomp_filters"), "1");
    }
}

#[test]
fn the_agent_is_asked_about_the_birth_of_the_program_itself() {
    known_gap!(Runc, Crun, "these versions need the call before the agent has the listener");
    // execve is the program's own beginning; without noNewPrivileges capset and prctl come before it.
    for (no_new_privileges, calls) in [(true, &["execve"][..]), (false, &["execve", "capset", "prctl"])] {
        let bundle = Bundle::new();
        let agent = Agent::new(&bundle);
        let bundle = bundle.set("/linux/seccomp", agent.filter(calls));
        let bundle = bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
        let container = bundle.args(&["sh", "-c", "exit 6"]).container();
        let run = container.spawn_run();
        let perl = agent.accept().answer(0, 0, 1);
        run.wait().expect_code(6);
        let asked = perl.wait().expect_ok().stdout;
        // Up to execve it is init that calls, then it is the program.
        let init: Vec<&str> = asked.lines().take_while(|number| *number != "59").collect();
        assert_ne!(init.len(), asked.lines().count(), "execve is missing: {asked}");
        assert_eq!(init.contains(&"126"), !no_new_privileges, "capset: {asked}");
    }
}

#[test]
fn an_execve_that_the_agent_refuses_is_a_failure_of_start() {
    known_gap!(Runc, Crun, "these versions say it elsewhere, or not at all");
    let bundle = Bundle::new();
    let agent = Agent::new(&bundle);
    let container = bundle.set("/linux/seccomp", agent.filter(&["execve"])).container();
    let run = container.spawn_run();
    let perl = agent.accept().answer(0, 13, 0);
    run.wait().expect_code(1).expect_stderr("permission denied");
    perl.wait().expect_ok().expect_stdout("59\n");
    container.state_output().expect_code(1);
}

#[test]
fn calls_fail_when_the_agent_is_gone() {
    let (container, agent) = container(true, Exit::Errno);
    let run = container.spawn_run();
    drop(agent.accept());
    // ENOSYS.
    run.wait().expect_code(38);
}

#[test]
fn flags_for_listeners_are_taken() {
    known_gap!(Runc, Crun, "these versions know fewer flags");
    for flags in [
        json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]),
        json!(["SECCOMP_FILTER_FLAG_TSYNC"]),
        json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]),
        json!([]),
    ] {
        let (container, agent) = {
            let bundle = Bundle::new();
            let agent = Agent::new(&bundle);
            let mut filter = agent.filter(&["getpgrp"]);
            filter["flags"] = flags.clone();
            let bundle = bundle.set("/linux/seccomp", filter);
            let bundle = bundle.file("/opt/call", 0o755, &call64(GETPGRP, [0; 3], Exit::Errno));
            (bundle.args(&["/opt/call"]).container(), agent)
        };
        let run = container.spawn_run();
        let perl = agent.accept().answer(0, 9, 0);
        assert_eq!(run.wait().code(), 9, "{flags}");
        perl.wait().expect_ok();
    }
}

#[test]
fn the_flag_for_listeners_alone_is_refused() {
    known_gap!(Runc, Crun, "these versions know no such flag");
    let filter =
        json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]});
    let container = Bundle::new().set("/linux/seccomp", filter).container();
    container.create().expect_code(1).expect_stderr("linux.seccomp.flags[0]");
    container.state_output().expect_code(1);
}

#[test]
fn without_an_agent_the_container_does_not_run() {
    for no_new_privileges in [true, false] {
        let (container, agent) = container(no_new_privileges, Exit::Errno);
        let path = agent.path.clone();
        drop(agent);
        // A socket that nobody listens at, then none at all.
        for words in ["connection refused", "no such file or directory"] {
            let container = container.sibling();
            let output = container.run().expect_fail();
            container.state_output().expect_code(1);
            if integration::flavour() == integration::Flavour::Ours {
                output.expect_code(1).expect_stderr("linux.seccomp.listenerPath").expect_stderr(words);
            }
            let _ = std::fs::remove_file(&path);
        }
    }
}

#[test]
fn without_an_agent_create_or_start_fails_and_the_container_can_be_deleted() {
    let (container, agent) = container(true, Exit::Errno);
    drop(agent);
    let created = container.create();
    if created.status.success() {
        container.start().expect_fail().expect_runc_phrase("connection refused");
        container.wait_status("stopped");
        container.delete().expect_ok();
    }
    container.state_output().expect_code(1);
}

#[test]
fn profiles_that_cannot_be_meant_are_refused() {
    let agentless = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["getpgrp"], "action": "SCMP_ACT_NOTIFY"}]});
    let asking = json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/no/agent"});
    let write = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/agent",
        "syscalls": [{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]});
    let metadata = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"});
    known_gap!(Runc, Crun, "these versions find some of it only when the filter is loaded");
    for (filter, field) in [
        (agentless, "linux.seccomp.listenerPath"),
        (asking, "linux.seccomp.defaultAction"),
        (write, "linux.seccomp.syscalls[0].names[0]"),
        (metadata, "linux.seccomp.listenerMetadata"),
    ] {
        let container = Bundle::new().set("/linux/seccomp", filter).container();
        container.create().expect_code(1).expect_stderr(field);
        container.state_output().expect_code(1);
    }
}

#[test]
fn a_listener_path_without_rules_that_ask_is_no_matter() {
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/agent"});
    known_gap!(Runc, Crun, "these versions refuse it, or call there all the same");
    Bundle::new().set("/linux/seccomp", filter).run().expect_ok();
}
