//! What becomes of a container where the kernel lacks a call: a substitute, or an error that says what is missing.
//! (docs/kernel-features.md.)
//!
//! strace(1) takes a call away from the runtime and from the container, and answers ENOSYS, as an older kernel
//! does, or a sandbox that does not know the call.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::os::unix::net::UnixListener;

use integration::{
    Bundle, Container, Output, json, kernel_at_least, kernel_has, known_gap, requires, runtime_under_test,
};

const NO_STRACE: &str = "no strace on this host";

/// Debian's kernels of 5.10 are here for one test only.
const TOO_OLD: &str = "Linux before 5.15";

fn can_take_calls_away() -> bool {
    kernel_has("/usr/bin/strace")
}

/// `run` where a call fails, as `ENOSYS` or, for instance, as `EINVAL:when=1`.
fn run_without(container: &Container, call: &str, error: &str) -> Output {
    let trace = container.bundle().scratch_file("trace");
    let (traced, injected) = (format!("trace={call}"), format!("inject={call}:error={error}"));
    let strace = ["strace", "-f", "-qq", "-o", &trace, "-e", &traced, "-e", &injected];
    container.birth_by(&strace, "run", &[]).output()
}

#[test]
fn each_call_that_is_required_is_named_with_its_linux() {
    known_gap!(Runc, Crun, "they have other needs");
    requires!(kernel_at_least(5, 15), "{TOO_OLD}");
    requires!(can_take_calls_away(), "{NO_STRACE}");
    for (call, since) in [
        ("clone3", "5.7"),
        ("openat2", "5.6"),
        ("fsopen", "5.2"),
        ("fsconfig", "5.2"),
        ("fsmount", "5.2"),
        ("open_tree", "5.2"),
        ("move_mount", "5.2"),
        ("mount_setattr", "5.12"),
        ("close_range", "5.11"),
        ("bpf", "4.15"),
    ] {
        let container = Bundle::new().sh("echo ran").container();
        let output = run_without(&container, call, "ENOSYS").expect_fail();
        output
            .expect_stdout("")
            .expect_stderr(&format!("{call}("))
            .expect_stderr("function not implemented (ENOSYS)")
            .expect_stderr(&format!("; needs Linux {since}, and Linux "))
            .expect_stderr("a seccomp filter around the runtime keeps the call away");
        container.state_output().expect_fail().expect_stderr("does not exist");
    }
}

#[test]
fn without_pidfd_open_nothing_is_signalled_and_the_error_says_why() {
    known_gap!(Runc, Crun, "they have other needs");
    requires!(kernel_at_least(5, 15), "{TOO_OLD}");
    requires!(can_take_calls_away(), "{NO_STRACE}");
    // A pid alone may be another process by now: rather no signal than a wrong one. What was made stays for a
    // `delete` that can do it.
    let container = Bundle::new().container();
    let output = run_without(&container, "pidfd_open", "ENOSYS").expect_fail();
    output.expect_stderr("pidfd_open(").expect_stderr("; needs Linux 5.3, and Linux ");
    container.delete_force().expect_ok();
}

#[test]
fn each_call_with_a_substitute_can_be_missing() {
    known_gap!(Runc, Crun, "they have other needs");
    requires!(kernel_at_least(5, 15), "{TOO_OLD}");
    requires!(can_take_calls_away(), "{NO_STRACE}");
    for call in ["faccessat2", "keyctl", "getrandom", "rseq", "statx", "pidfd_getfd", "pidfd_send_signal"] {
        let container = Bundle::new().sh("echo ran").container();
        let output = run_without(&container, call, "ENOSYS").expect_ok();
        output.expect_stdout("ran\n").expect_no_stderr();
        container.state_output().expect_fail().expect_stderr("does not exist");
    }
}

#[test]
fn without_bpf_a_container_that_may_use_every_device_runs() {
    known_gap!(Runc, Crun, "they have other needs");
    requires!(kernel_at_least(5, 15), "{TOO_OLD}");
    requires!(can_take_calls_away(), "{NO_STRACE}");
    let all = json!([{"allow": true, "access": "rwm"}]);
    let container = Bundle::new().set("/linux/resources/devices", all).sh("echo ran").container();
    run_without(&container, "bpf", "ENOSYS").expect_ok().expect_stdout("ran\n");
}

#[test]
fn pidfd_getfd_is_needed_for_a_seccomp_listener_alone() {
    known_gap!(Runc, Crun, "they hand it over in another way");
    requires!(kernel_at_least(5, 15), "{TOO_OLD}");
    requires!(can_take_calls_away(), "{NO_STRACE}");
    let bundle = Bundle::new();
    let agent = bundle.scratch_file("agent");
    let _agent = UnixListener::bind(&agent).unwrap();
    let seccomp = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": agent,
        "syscalls": [{"names": ["getpgrp"], "action": "SCMP_ACT_NOTIFY"}],
    });
    let container = bundle.set("/linux/seccomp", seccomp).container();
    let output = run_without(&container, "pidfd_getfd", "ENOSYS").expect_fail();
    output.expect_stderr("pidfd_getfd(").expect_stderr("; needs Linux 5.6, and Linux ");
    container.state_output().expect_fail().expect_stderr("does not exist");
}

#[test]
fn the_sealed_copy_is_made_without_mfd_exec() {
    known_gap!(Runc, Crun, "they protect themselves in other ways");
    requires!(kernel_at_least(5, 15), "{TOO_OLD}");
    requires!(can_take_calls_away(), "{NO_STRACE}");
    let container = Bundle::new().sh("echo ran").container();
    let trace = container.bundle().scratch_file("trace");
    // A binary that lies on a mount of another namespace cannot be moved, so it is copied; and the first request,
    // for a file that may be executed, is one that the kernel does not know.
    let script = "exec 9< \"$0\"; trace=$1; shift; exec unshare --mount --propagation unchanged \
                  strace -f -qq -o \"$trace\" -e trace=memfd_create -e inject=memfd_create:error=EINVAL:when=1 \
                  /proc/self/fd/9 \"$@\"";
    let call = integration::Call::of("sh")
        .args(["-c".as_ref(), script.as_ref(), runtime_under_test().as_os_str(), trace.as_ref()])
        .args(["--root".as_ref(), container.state_root().as_os_str()])
        .args(["run".as_ref(), "--bundle".as_ref(), container.bundle().path().as_os_str()]);
    call.args([container.id()]).output().expect_ok().expect_stdout("ran\n");
    let trace = fs::read_to_string(trace).unwrap();
    let made: Vec<&str> = trace.lines().filter(|line| line.contains("memfd_create(")).collect();
    assert!(made.len() == 2 && made[0].ends_with("(INJECTED)") && !made[1].contains("= -1"), "{trace}");
}

#[test]
fn a_kernel_that_is_too_old_says_so() {
    known_gap!(Runc, Crun, "they have other needs");
    requires!(!kernel_at_least(5, 12), "this kernel has every call that is required");
    let container = Bundle::new().container();
    let output = container.run().expect_fail();
    output
        .expect_stderr("mount_setattr(")
        .expect_stderr("; needs Linux 5.12, and Linux ")
        .expect_stderr("is too old");
    container.state_output().expect_fail().expect_stderr("does not exist");
}
