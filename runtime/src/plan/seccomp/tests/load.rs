//! Programs in the kernel: each on a thread of its own, which takes its filter with it.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::personality;

use super::*;

fn load(seccomp: &Seccomp) -> Option<OwnedFd> {
    let filter = compile(seccomp).unwrap();
    // Either this or CAP_SYS_ADMIN is needed.
    rustix::thread::set_no_new_privs(true).unwrap();
    sys::seccomp::load(&filter.instructions(), filter.flags).unwrap()
}

/// Loads a profile that has this action for personality(2), and calls it.
fn call_under(action: Syscall) -> nix::Result<()> {
    let seccomp = profile("SCMP_ACT_ALLOW", vec![action]);
    thread::spawn(move || {
        assert!(load(&seccomp).is_none());
        personality::get().map(drop)
    })
    .join()
    .unwrap()
}

#[test]
fn errno_trace_and_log_happen() {
    assert_eq!(call_under(errno(&["personality"], 99)), Err(Errno::EADDRNOTAVAIL));
    // Nobody traces: the kernel says so with ENOSYS.
    assert_eq!(call_under(rule(&["personality"], "SCMP_ACT_TRACE")), Err(Errno::ENOSYS));
    assert_eq!(call_under(rule(&["personality"], "SCMP_ACT_LOG")), Ok(()));
    assert_eq!(personality::get().map(drop), Ok(()));
}

#[test]
fn conditions_are_tested() {
    // personality::get() passes 0xffffffff.
    let with = |op, value| {
        call_under(Syscall {
            errno_ret: Some(5),
            ..when(&["personality"], "SCMP_ACT_ERRNO", &[arg(0, op, value)])
        })
    };
    assert_eq!(with("EQ", 0xffff_ffff), Err(Errno::EIO));
    assert_eq!(with("GT", 0xffff_ffff), Ok(()));
    assert_eq!(with("GE", 0xffff_ffff), Err(Errno::EIO));
    assert_eq!(with("LT", 0x1_0000_0000), Err(Errno::EIO));
    assert_eq!(with("NE", 0xffff_ffff), Ok(()));
}

#[test]
fn a_killed_thread_is_gone_and_its_process_lives() {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        load(&profile("SCMP_ACT_ALLOW", vec![rule(&["personality"], "SCMP_ACT_KILL")]));
        sender.send(rustix::thread::gettid()).unwrap();
        let _ = personality::get();
        unreachable!("the call came back");
    });
    let thread = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    let folder = format!("/proc/self/task/{}", thread.as_raw_nonzero());
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::path::Path::new(&folder).exists() {
        assert!(Instant::now() < deadline, "the thread lives on");
        thread::sleep(Duration::from_millis(1));
    }
}

/// What a process of this test program dies of when it calls personality(2) under the action.
#[test]
fn kill_process_and_trap_end_the_process() {
    for action in ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "plan::seccomp::tests::load::victim"])
            .env("CAISSON_TEST_ACTION", action)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{action}: {status}");
    }
}

#[test]
#[ignore = "run by kill_process_and_trap_end_the_process, and ends the process"]
fn victim() {
    let Ok(action) = std::env::var("CAISSON_TEST_ACTION") else { return };
    let _ = call_under(rule(&["personality"], &action));
}

#[test]
fn a_listener_hears_of_the_call() {
    let (sender, receiver) = channel();
    let caller = thread::spawn(move || {
        let seccomp = Seccomp {
            listener_path: "/run/agent".into(),
            ..profile("SCMP_ACT_ALLOW", vec![rule(&["personality"], "SCMP_ACT_NOTIFY")])
        };
        sender.send(load(&seccomp)).unwrap();
        personality::get().map(drop)
    });
    let listener = receiver.recv_timeout(Duration::from_secs(10)).unwrap().unwrap();
    let flags = rustix::io::fcntl_getfd(&listener).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    let mut fds = [nix::poll::PollFd::new(listener.as_fd(), nix::poll::PollFlags::POLLIN)];
    assert_eq!(nix::poll::poll(&mut fds, 10_000u16), Ok(1));
    // Nobody is left to answer: the call fails with ENOSYS.
    drop(listener);
    assert_eq!(caller.join().unwrap(), Err(Errno::ENOSYS));
}

#[test]
fn programs_run_under_dockers_profile() {
    let refused = thread::spawn(|| {
        load(&docker());
        let output = Command::new("/bin/sh").args(["-c", "ls / | wc -l; id -u"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout.iter().filter(|&&byte| byte == b'\n').count(), 2);
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUTS)
    });
    assert_eq!(refused.join().unwrap(), Err(Errno::EPERM));
}

#[test]
fn the_longest_program_is_taken_by_the_kernel() {
    let rules = (1..=450)
        .map(|value| {
            // A condition on each of two arguments has to be tested one by one.
            let args = [arg(1, "EQ", u64::from(value) << 31 | 1), arg(2, "EQ", 0)];
            Syscall { errno_ret: Some(value), ..when(&["personality"], "SCMP_ACT_ERRNO", &args) }
        })
        .chain([Syscall {
            errno_ret: Some(5),
            ..when(&["personality"], "SCMP_ACT_ERRNO", &[arg(0, "EQ", 0xffff_ffff)])
        }])
        .collect();
    let seccomp = profile("SCMP_ACT_ALLOW", rules);
    assert!(compile(&seccomp).unwrap().program.len() > 3500);
    let answer = thread::spawn(move || {
        load(&seccomp);
        personality::get().map(drop)
    });
    assert_eq!(answer.join().unwrap(), Err(Errno::EIO));
}
