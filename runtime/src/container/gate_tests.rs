use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use super::*;
use crate::container::tests::{Init, TempDir, id};
use crate::container::{Locked, Store};

fn folder() -> (TempDir, Store, Locked) {
    let dir = TempDir::new();
    let store = dir.store();
    let locked = store.create(&id("web")).unwrap();
    (dir, store, locked)
}

fn pidfd(init: &Init) -> Pidfd {
    init.id().open().unwrap().unwrap()
}

#[test]
fn the_gate_is_two_private_pipes_that_close_on_exec() {
    let (_dir, _store, locked) = folder();
    assert!(!has_reader(&locked).unwrap(), "no gate");
    let gate = Gate::create(&locked).unwrap();
    for name in [GATE, REPORT] {
        let metadata = std::fs::metadata(locked.path().join(name)).unwrap();
        assert!(metadata.file_type().is_fifo());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
    for fd in [&gate.gate, &gate.report] {
        assert_eq!(rustix::io::fcntl_getfd(fd).unwrap(), rustix::io::FdFlags::CLOEXEC);
    }
    assert!(has_reader(&locked).unwrap());
    drop(gate);
    assert!(!has_reader(&locked).unwrap());
    let error = Gate::create(&locked).unwrap_err();
    assert_eq!(error.errno(), libc::EEXIST, "a second gate would not be the one that init holds");
}

#[test]
fn a_program_that_runs_says_nothing() {
    let (_dir, _store, locked) = folder();
    let init = Init::behind_gate(&locked, "exec 3<&- 4<&-; exec sleep 60");
    let pidfd = pidfd(&init);
    let mut release = Release::open(&locked).unwrap();
    release.go().unwrap();
    assert_eq!(release.message(&pidfd).unwrap(), None);
    release.settle(&pidfd).unwrap();
    assert!(!has_reader(&locked).unwrap());
}

/// init's half runs in a thread here: the bytes and the words are those of the real one.
#[test]
fn words_cross_the_gate_unchanged() {
    let (_dir, _store, locked) = folder();
    let gate = Gate::create(&locked).unwrap();
    let mut release = Release::open(&locked).unwrap();
    release.go().unwrap();
    let failure: Error = sys::Error::new("execve", "\"/x\\n\"", libc::ENOEXEC).into();
    let failure = failure.context("start");
    let init = {
        let failure = failure.clone();
        std::thread::spawn(move || {
            gate.wait().unwrap();
            gate.hand_over_seccomp_fd(7).unwrap();
            gate.report_hook(&failure).unwrap();
            gate.report(&failure).unwrap();
        })
    };
    let me = Pidfd::open(nix::unistd::getpid().as_raw()).unwrap().unwrap();
    assert_eq!(release.message(&me).unwrap(), Some(Message::SeccompFd(7)));
    release.taken().unwrap();
    assert_eq!(release.message(&me).unwrap(), Some(Message::HookError(failure.clone())));
    assert_eq!(release.message(&me).unwrap(), Some(Message::Error(failure)));
    assert_eq!(release.message(&me).unwrap(), None);
    init.join().unwrap();
}

#[test]
fn a_start_that_died_with_the_listener_in_its_hands_is_followed_by_another() {
    let (_dir, _store, locked) = folder();
    let gate = Gate::create(&locked).unwrap();
    let me = Pidfd::open(nix::unistd::getpid().as_raw()).unwrap().unwrap();
    let init = std::thread::spawn(move || {
        gate.wait().unwrap();
        gate.hand_over_seccomp_fd(7).unwrap();
    });
    let mut first = Release::open(&locked).unwrap();
    first.go().unwrap();
    assert_eq!(first.message(&me).unwrap(), Some(Message::SeccompFd(7)));
    drop(first);
    let mut second = Release::open(&locked).unwrap();
    second.go().unwrap();
    assert_eq!(second.message(&me).unwrap(), Some(Message::SeccompFd(7)));
    second.taken().unwrap();
    assert_eq!(second.message(&me).unwrap(), None);
    init.join().unwrap();
}

#[test]
fn an_init_that_dies_ends_the_conversation() {
    for (script, wanted) in
        [("exit 3", None), ("printf '{\"err' >&4; exit 3", Some("in the middle of a report"))]
    {
        let (_dir, _store, locked) = folder();
        let init = Init::behind_gate(&locked, script);
        let pidfd = pidfd(&init); // before it may end
        let mut release = Release::open(&locked).unwrap();
        release.go().unwrap();
        match (release.message(&pidfd), wanted) {
            (Ok(None), None) => {}
            (Err(error), Some(wanted)) => assert!(error.to_string().ends_with(wanted), "{error}"),
            (other, _) => panic!("{script}: {other:?}"),
        }
    }
}

#[test]
fn an_init_that_was_dead_before_is_no_hang_and_no_signal() {
    let (_dir, _store, locked) = folder();
    let mut init = Init::behind_gate(&locked, "exit 0");
    let pidfd = pidfd(&init);
    pidfd.send(libc::SIGKILL).unwrap();
    init.end();
    let mut release = Release::open(&locked).unwrap();
    release.go().unwrap();
    assert_eq!(release.message(&pidfd).unwrap(), None);
}

#[test]
fn words_that_are_none_of_ours_are_shown() {
    let (_dir, _store, locked) = folder();
    let init = Init::behind_gate(&locked, "echo '{\"sorry\":1}' >&4; exit 0");
    let pidfd = pidfd(&init); // before it may end
    let mut release = Release::open(&locked).unwrap();
    release.go().unwrap();
    let error = release.message(&pidfd).unwrap_err().to_string();
    assert!(
        error.starts_with(r#"the container's init reported "{\"sorry\":1}\n": unknown variant"#),
        "{error}"
    );
}

#[test]
fn a_report_without_end_is_cut_off() {
    let (_dir, _store, locked) = folder();
    let init = Init::behind_gate(&locked, "while :; do printf '%04096d' 0; done >&4");
    let pidfd = pidfd(&init); // before it may end
    let mut release = Release::open(&locked).unwrap();
    release.go().unwrap();
    let error = release.message(&pidfd).unwrap_err().to_string();
    assert_eq!(error, "the container's init reports without end");
}
