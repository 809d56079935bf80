use std::path::PathBuf;

use super::*;
use crate::container::process::tests::kernel_keeps_exit_codes;
use crate::container::record::tests::record;
use crate::container::tests::{Group, Init, TempDir, id};
use crate::container::{ProcessId, SeccompNotify};
use crate::spec::Hook;

/// A container whose init runs `script` once its gate opens.
fn container(script: &str, edit: impl FnOnce(&mut Record)) -> (TempDir, Store, Init) {
    let dir = TempDir::new();
    let store = dir.store();
    let locked = store.create(&id("web")).unwrap();
    let init = Init::behind_gate(&locked, script);
    let mut record = record("web");
    record.bundle = dir.path().to_owned();
    record.init = Some(init.id());
    edit(&mut record);
    locked.write(&record).unwrap();
    drop(locked);
    (dir, store, init)
}

fn start_it(store: &Store) -> Result<()> {
    let entry = store.entry(&id("web")).unwrap();
    start(store, entry, &Group::default(), &mut |warning| panic!("{warning}"))
}

fn status(store: &Store) -> Status {
    let entry = store.entry(&id("web")).unwrap();
    Status::of(&entry, &entry.record().unwrap()).unwrap()
}

fn hook(script: &str) -> Hook {
    Hook { path: "/bin/sh".into(), args: vec!["sh".into(), "-c".into(), script.into()], ..Hook::default() }
}

const RUN: &str = "exec 3<&- 4<&-; exec sleep 60";

#[test]
fn a_created_container_runs_and_cannot_be_started_again() {
    let (_dir, store, _init) = container(RUN, |_| {});
    assert_eq!(status(&store), Status::Created);
    start_it(&store).unwrap();
    assert_eq!(status(&store), Status::Running);
    let error = start_it(&store).unwrap_err();
    assert_eq!(error.to_string(), "cannot start an already running container");
    assert_eq!(error.kind(), Kind::Status);
}

#[test]
fn only_a_created_container_is_started() {
    let gone = ProcessId { start_time: 0, ..ProcessId::current().unwrap() };
    let (_dir, store, _init) = container(RUN, |record| record.init = Some(gone));
    assert_eq!(start_it(&store).unwrap_err().to_string(), "cannot start a container that has stopped");
    let (_dir, store, _init) = container(RUN, |record| record.creating = true);
    assert_eq!(start_it(&store).unwrap_err().to_string(), "cannot start a container in the creating state");
}

/// It must not wait for the lock, which `create` holds as long as it takes.
#[test]
fn a_container_that_is_being_created_is_refused_at_once() {
    let (_dir, store, _init) = container(RUN, |record| record.creating = true);
    let _creator = store.entry(&id("web")).unwrap().lock(&store, LOCK_WAIT).unwrap();
    let begun = std::time::Instant::now();
    start_it(&store).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// Its parent has taken it off the process table before `start` could look: the zombie tells nothing any more.
#[test]
fn who_died_without_announcing_the_program_has_run_none_even_when_it_is_gone() {
    let (_dir, store, mut init) = container("exec sleep 60", |_| {});
    let record = store.entry(&id("web")).unwrap().record().unwrap();
    let pidfd = init.id().open().unwrap().unwrap();
    pidfd.send(libc::SIGKILL).unwrap();
    assert_eq!(init.end(), 128 + libc::SIGKILL);
    let error = check_executed(&record, &pidfd, false).unwrap_err().to_string();
    let how = if kernel_keeps_exit_codes() { "was killed by signal 9" } else { "ended" };
    assert_eq!(error, format!("the container's init {how} before it ran the program"));
    check_executed(&record, &pidfd, true).unwrap();
}

#[test]
fn who_announced_the_program_and_is_gone_has_run_it_unless_a_filter_killed_it() {
    for (signal, ran) in [(libc::SIGTERM, true), (libc::SIGSYS, false)] {
        let (_dir, store, mut init) = container(&format!("kill -{signal} $$"), |_| {});
        let record = store.entry(&id("web")).unwrap().record().unwrap();
        let pidfd = init.id().open().unwrap().unwrap();
        Release::open(&store.entry(&id("web")).unwrap()).unwrap().go().unwrap();
        assert_eq!(init.end(), 128 + signal);
        let ran = ran || !kernel_keeps_exit_codes();
        assert_eq!(check_executed(&record, &pidfd, true).is_ok(), ran, "{signal}");
    }
}

#[test]
fn an_error_of_init_comes_out_as_it_is_and_the_container_has_stopped() {
    let script = r#"echo '{"error":{"kind":"Other","cause":{"Call":{"call":"execve","args":"\"/x\"","errno":2}},"steps":["start"],"notes":[]}}' >&4; sleep 0.1; exit 1"#;
    let (_dir, store, _init) = container(script, |_| {});
    let error = start_it(&store).unwrap_err();
    assert_eq!(error.to_string(), "start: execve(\"/x\"): no such file or directory (ENOENT)");
    assert_eq!(error.errno(), 2);
    assert_eq!(status(&store), Status::Stopped);
}

#[test]
fn a_failed_start_container_hook_destroys_the_container() {
    let script = r#"echo '{"hook_error":{"kind":"Other","cause":{"Text":"exit status 1"},"steps":[],"notes":[]}}' >&4; exec sleep 60"#;
    let marks = TempDir::new();
    let mark = marks.path().join("poststop");
    let touch = format!("echo stopped > {}", mark.display());
    let (_dir, store, mut init) = container(script, |record| record.hooks.poststop = vec![hook(&touch)]);
    assert_eq!(start_it(&store).unwrap_err().to_string(), "exit status 1");
    assert_eq!(init.end(), 128 + libc::SIGKILL);
    assert_eq!(store.entry(&id("web")).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(std::fs::read_to_string(mark).unwrap(), "stopped\n");
}

#[test]
fn poststart_hooks_see_a_running_container_in_the_bundle() {
    let (dir, store, init) = container(RUN, |record| {
        record.hooks.poststart = vec![hook("cat > seen"), hook("pwd > where")];
    });
    start_it(&store).unwrap();
    let seen = std::fs::read(dir.path().join("seen")).unwrap();
    let seen: serde_json::Value = serde_json::from_slice(&seen).unwrap();
    assert_eq!(seen["status"], "running");
    assert_eq!(seen["pid"], init.id().pid);
    let place = std::fs::read_to_string(dir.path().join("where")).unwrap();
    assert_eq!(place.trim_end(), dir.path().to_str().unwrap());
}

#[test]
fn a_failed_poststart_hook_destroys_the_container() {
    let (_dir, store, mut init) = container(RUN, |record| {
        record.hooks.poststart = vec![hook("echo no; exit 4"), hook("touch never")];
    });
    let error = start_it(&store).unwrap_err().to_string();
    assert_eq!(error, "hook poststart[0] \"/bin/sh\": exit status 4: \"no\"");
    assert_eq!(init.end(), 128 + libc::SIGKILL);
    assert_eq!(store.entry(&id("web")).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn the_seccomp_listener_reaches_its_agent_before_the_program_runs() {
    let agents = TempDir::new();
    let socket = agents.path().join("agent");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    // Descriptor 5 stands for the listener; the answer is waited for before the program.
    let script = format!(
        "exec 5</dev/null; echo '{{\"seccomp_fd\":5}}' >&4; read -r -N1 -u3 byte; [ \"$byte\" = T ] || exit 9; {RUN}"
    );
    let (_dir, store, init) = container(&script, |record| {
        let path: PathBuf = socket.clone();
        record.seccomp_notify =
            Some(SeccompNotify { listener_path: path, listener_metadata: Some("m".into()) });
    });
    start_it(&store).unwrap();
    assert_eq!(status(&store), Status::Running);
    let (mut agent, _) = listener.accept().unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut agent, &mut text).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["pid"], init.id().pid);
    assert_eq!(document["metadata"], "m");
}

#[test]
fn a_container_without_its_seccomp_agent_does_not_run() {
    let (_dir, store, mut init) = container("echo '{\"seccomp_fd\":4}' >&4; exec sleep 60", |record| {
        let path = PathBuf::from("/nonexistent/agent");
        record.seccomp_notify = Some(SeccompNotify { listener_path: path, listener_metadata: None });
    });
    let error = start_it(&store).unwrap_err().to_string();
    assert!(error.starts_with("linux.seccomp.listenerPath: connect(\"/nonexistent/agent\")"), "{error}");
    assert_eq!(init.end(), 128 + libc::SIGKILL);
    assert_eq!(status(&store), Status::Stopped);
}
