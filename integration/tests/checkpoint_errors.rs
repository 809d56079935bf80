//! What keeps `checkpoint` and `restore` from being done is said in one line, and nothing is harmed by it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use integration::checkpoint::{counting, criu_lacks};
use integration::{Bundle, Container, Output, created, json, known_gap, requires, running, skip, wait_for};
use rustix::process::Signal;

macro_rules! requires_criu {
    () => {
        if let Some(why) = criu_lacks() {
            skip!("{why}");
        }
    };
}

/// Panics unless it failed with one line that has this phrase.
#[track_caller]
fn fails(output: Output, phrase: &str) {
    let output = output.expect_fail().expect_stderr(phrase);
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
}

#[test]
fn without_criu_the_error_names_what_is_missing() {
    known_gap!(Runc, Crun, "it says it in other words");
    let container = running(Bundle::new());
    let path = container.bundle().scratch_file("empty");
    fs::create_dir(&path).unwrap();
    let missing = format!("criu is not in $PATH ({path:?}): checkpoint and restore need CRIU 3.0 or newer");
    fails(container.checkpoint_call(&[]).env("PATH", &path).output(), &missing);
    assert_eq!(container.status(), "running");
    assert!(!container.images().exists());
    let other = container.sibling();
    fails(other.restore_call(&["--detach"]).env("PATH", &path).output(), &missing);
    other.state_output().expect_fail().expect_stderr("does not exist");
    // Not in the working directory either, whatever $PATH says.
    let folder = container.bundle().host_program("criu", b"#!/bin/sh\ntouch /tmp/never\n");
    let call = container.checkpoint_call(&[]).current_dir(Path::new(&folder).parent().unwrap());
    fails(call.env("PATH", ".:").output(), "criu is not in $PATH (\".:\")");
}

/// A container that runs, and a $PATH in which `criu` is this script.
fn with_criu(script: &str) -> (Container, String) {
    let container = running(Bundle::new());
    let folder = container.bundle().scratch_file("bin");
    fs::create_dir(&folder).unwrap();
    let _ = container.bundle().host_program("bin/criu", format!("#!/bin/sh\n{script}\n").as_bytes());
    (container, folder)
}

#[test]
fn a_criu_that_is_too_old_is_refused_with_both_versions() {
    known_gap!(Runc, Crun, "it says it in other words");
    // The answer to the question after the version: 2.12.
    let (container, path) =
        with_criu(r#"eval "exec 3>&$2"; printf '\010\012\020\001\122\004\010\002\020\014' >&3"#);
    let call = container.checkpoint_call(&[]).env("PATH", &path);
    let wanted = format!("checkpoint and restore: needs CRIU 3.0 or newer, and \"{path}/criu\" is 2.12");
    fails(call.output(), &wanted);
    assert_eq!(container.status(), "running");
}

#[test]
fn what_is_no_criu_is_told_by_what_it_says() {
    known_gap!(Runc, Crun, "it says it in other words");
    for (script, phrase) in [
        (
            "echo Error: no vdso >&2; exit 3",
            "criu ended with exit status: 3 and without an answer: \"Error: no vdso\"",
        ),
        ("exit 0", "criu ended with exit status: 0 and without an answer"),
        (r#"eval "exec 3>&$2"; echo nonsense >&3"#, "no protocol buffer"),
        ("kill -9 $$", "criu ended with signal: 9"),
    ] {
        let (container, path) = with_criu(script);
        fails(container.checkpoint_call(&[]).env("PATH", &path).output(), phrase);
        assert_eq!(container.status(), "running");
    }
}

#[test]
fn only_what_runs_can_be_dumped() {
    known_gap!(Runc, Crun, "it says it in other words");
    let container = created(Bundle::new());
    fails(container.checkpoint(&[]), "container cannot be checkpointed in created state");
    container.start().expect_ok();
    container.wait_status("stopped");
    fails(container.checkpoint(&[]), "container cannot be checkpointed in stopped state");
    container.delete().expect_ok();
    container.checkpoint(&[]).expect_fail().expect_stderr("does not exist");
}

#[test]
fn an_id_that_is_taken_is_refused() {
    requires_criu!();
    let container = counting(Bundle::new());
    container.checkpoint(&["--leave-running"]).expect_ok();
    container.restore(&[]).expect_fail().expect_stderr("container with given ID already exists");
    container.wait_count(container.count());
}

#[test]
fn nobody_but_root_of_the_host_is_served() {
    known_gap!(Runc, Crun, "it warns and tries");
    let container = running(Bundle::new());
    let phrase = "checkpoint and restore need root of the first user namespace";
    let by = ["unshare", "--user", "--map-root-user"];
    fails(container.checkpoint_call(&[]).through(&by).output(), phrase);
    fails(container.sibling().restore_call(&["--detach"]).through(&by).output(), phrase);
    assert_eq!(container.status(), "running");
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    known_gap!(Runc, Crun, "it says it in other words");
    let container = running(Bundle::new());
    for (flags, phrase) in [
        (["--page-server", "localhost"], "\"localhost\" is not ADDRESS:PORT"),
        (["--manage-cgroups-mode", "hard"], "\"hard\" is none of soft, full, strict and ignore"),
        (["--empty-ns", "ipc"], "namespace \"ipc\" is not supported"),
        (["--status-fd", "1"], "nothing is told there without --lazy-pages"),
        (["--parent-path", "/x"], "--parent-path must be relative"),
    ] {
        container.checkpoint(&flags).expect_fail().expect_stderr(phrase);
    }
    assert!(!container.images().exists());
}

#[test]
fn the_probes_of_podman_are_answered() {
    let container = Bundle::new().container();
    container.call("checkpoint").args(["--help"]).output().expect_ok();
    let output = container.call("restore").args(["--lsm-mount-context"]).output().expect_fail();
    assert!(
        output.stderr.contains("flag needs an argument") || output.stderr.contains("requires an argument")
    );
}

#[test]
fn images_that_are_missing_or_broken_leave_nothing_behind() {
    requires_criu!();
    let container = counting(Bundle::new());
    let gone = |container: &Container| {
        container.state_output().expect_fail().expect_stderr("does not exist");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(container.id()), "{mounts}");
        assert!(!fs::exists(format!("/sys/fs/cgroup/{}", container.id())).unwrap());
    };
    let other = container.sibling();
    let options = |images: &Path| {
        let path = images.to_str().unwrap().to_owned();
        ["--detach".to_owned(), "--image-path".to_owned(), path]
    };
    let restore = |images: &Path| {
        let options = options(images);
        other.birth("restore", &options.iter().map(String::as_str).collect::<Vec<_>>()).output().expect_fail()
    };
    restore(&container.images()).expect_stderr("no such file or directory");
    gone(&other);
    container.checkpoint(&[]).expect_ok();
    let images = container.images();
    let empty = container.bundle().scratch().join("empty");
    fs::create_dir(&empty).unwrap();
    restore(&empty).expect_stderr("descriptors.json");
    gone(&other);
    for (name, content) in [("pstree.img", ""), ("core-1.img", "nonsense"), ("mountpoints-13.img", "")] {
        let Some(path) = fs::read_dir(&images).unwrap().map(|entry| entry.unwrap().path()).find(|path| {
            let kind = name.split_once('-').map_or(name, |(kind, _)| kind);
            path.file_name().unwrap().to_str().unwrap().starts_with(kind)
        }) else {
            panic!("no {name}");
        };
        let whole = fs::read(&path).unwrap();
        fs::write(&path, content).unwrap();
        restore(&images).expect_stderr("restore.log");
        gone(&other);
        fs::write(&path, whole).unwrap();
    }
    let count = container.count();
    container.restore(&[]).expect_ok();
    container.wait_count(count);
    container.delete_force().expect_ok();
}

/// Whether a CRIU is at work for this container, whose folder of logs is in use by no other.
fn criu_works(container: &Container) -> bool {
    let logs = container.logs();
    let uses = |process: &Path| {
        let is_criu = fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim() == "criu");
        is_criu
            && fs::read_dir(process.join("fd")).is_ok_and(|mut fds| {
                fds.any(|fd| {
                    fd.is_ok_and(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(&logs)))
                })
            })
    };
    fs::read_dir("/proc").unwrap().any(|process| process.is_ok_and(|process| uses(&process.path())))
}

#[test]
fn a_dump_whose_runtime_is_killed_harms_nothing() {
    requires_criu!();
    let container = counting(Bundle::new());
    for wait_ms in [0, 200, 700] {
        let dump = container.checkpoint_call(&["--leave-running"]).spawn();
        wait_for("criu at work", || criu_works(&container).then_some(()));
        std::thread::sleep(Duration::from_millis(wait_ms));
        dump.signal(Signal::KILL);
        dump.wait();
        wait_for("the end of criu", || (!criu_works(&container)).then_some(()));
        assert_eq!(container.status(), "running", "killed after {wait_ms} ms");
        container.wait_count(container.count());
    }
    container.checkpoint(&[]).expect_ok();
    let count = container.count();
    container.restore(&[]).expect_ok();
    container.wait_count(count);
    container.delete_force().expect_ok();
}

#[test]
fn a_dump_that_would_end_the_container_is_honest_when_its_runtime_is_killed() {
    requires_criu!();
    for wait_ms in [100, 600, 1200] {
        let container = counting(Bundle::new());
        let dump = container.checkpoint_call(&[]).spawn();
        wait_for("criu at work", || (criu_works(&container) || !container.init_is_there()).then_some(()));
        std::thread::sleep(Duration::from_millis(wait_ms));
        dump.signal(Signal::KILL);
        dump.wait();
        wait_for("the end of criu", || (!criu_works(&container)).then_some(()));
        let state = container.state_output();
        if !state.status.success() {
            continue; // it was quicker than we
        }
        match state.json()["status"].as_str().unwrap() {
            "running" => drop(container.wait_count(container.count())),
            "stopped" => {}
            other => panic!("{other}, killed after {wait_ms} ms"),
        }
        container.delete_force().expect_ok();
    }
}

#[test]
fn a_dump_that_is_interrupted_leaves_the_container_running() {
    requires_criu!();
    known_gap!(Runc, "it is ended by the signal, and CRIU with it");
    let container = counting(Bundle::new());
    let dump = container.checkpoint_call(&["--leave-running"]).spawn();
    wait_for("criu at work", || criu_works(&container).then_some(()));
    dump.signal(Signal::TERM);
    let output = dump.wait();
    // Either it was too late to be interrupted, or it says so.
    assert!(output.status.success() || output.stderr.contains("interrupted by SIGTERM"), "{output}");
    assert!(!criu_works(&container));
    assert_eq!(container.status(), "running");
    container.wait_count(container.count());
    container.delete_force().expect_ok();
}

#[test]
fn what_a_killed_restore_leaves_is_deleted() {
    requires_criu!();
    let container = counting(Bundle::new());
    container.checkpoint(&[]).expect_ok();
    for wait_ms in [0, 300, 900] {
        let restore = container.restore_call(&["--detach"]).spawn();
        wait_for("criu at work", || criu_works(&container).then_some(()));
        std::thread::sleep(Duration::from_millis(wait_ms));
        restore.signal(Signal::KILL);
        restore.wait();
        container.delete_force().expect_ok();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(container.id()), "{mounts}");
    }
    let count = container.count();
    container.restore(&[]).expect_ok();
    container.wait_count(count);
    container.delete_force().expect_ok();
}

/// CRIU opens the image of the clocks in a process that is in the new user namespace already, while another writes that
/// namespace's mappings. unshare(1) makes a namespace that has none yet.
#[test]
fn clocks_are_readable_before_a_user_namespace_has_mappings() {
    known_gap!(Runc, Crun, "they do not show images to a user namespace's root");
    requires!(integration::is_root(), "only root");
    let container = Bundle::new().user_namespace(100_000, 65536).container();
    let images = container.images();
    fs::DirBuilder::new().mode(0o700).create(&images).unwrap();
    for (name, content) in
        [("timens-0.img", "clocks\n"), ("core-1.img", "core\n"), ("descriptors.json", "[]")]
    {
        fs::write(images.join(name), content).unwrap();
        fs::set_permissions(images.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let folder = container.bundle().scratch_file("bin");
    fs::create_dir(&folder).unwrap();
    let seen = container.bundle().scratch_file("seen");
    // The folder is open twice, and the later one is what CRIU is told.
    let script = format!(
        r#"#!/bin/busybox sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
eval "exec 3>&$2"
for fd in /proc/$PPID/fd/*; do
    [ -e "$fd/timens-0.img" ] || continue
    (cd "$fd" && unshare --user cat timens-0.img) >{seen} 2>&1
done
printf '\010\012\020\001\122\004\010\003\020\021' >&3
"#
    );
    let _ = container.bundle().host_program("bin/criu", script.as_bytes());
    let output = container.restore_call(&["--detach"]).env("PATH", &folder).output().expect_fail();
    let seen = fs::read_to_string(seen).unwrap_or_else(|error| panic!("{error}: {output}"));
    assert!(seen.contains("clocks"), "{seen}");
    // What is no image of the clocks stays closed.
    assert_eq!(fs::metadata(images.join("core-1.img")).unwrap().permissions().mode() & 0o777, 0o600);
    container.state_output().expect_fail().expect_stderr("does not exist");
}

#[test]
fn what_criu_cannot_restore_as_it_was_is_not_dumped() {
    known_gap!(Runc, Crun, "it says it in other words");
    requires!(integration::is_root(), "only root");
    let (container, path) =
        with_criu(r#"eval "exec 3>&$2"; printf '\010\012\020\001\122\004\010\003\020\021' >&3"#);
    // As if it had been made so: what counts is what `create` has kept.
    let config = container.state_root().join(container.id()).join("config.json");
    let whole: integration::Value = serde_json_from(&config);
    for (pointer, value, phrase) in [
        (
            "/mounts/0",
            json!({"destination": "/mnt", "type": "bind", "source": "/srv", "options": ["bind", "idmap"],
                "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
                "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}]}),
            "criu cannot restore an id-mapped mount",
        ),
        (
            "/linux/namespaces",
            json!([{"type": "pid"}]),
            "criu needs a container with a mount namespace of its own",
        ),
    ] {
        let mut changed = whole.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        fs::write(&config, changed.to_string()).unwrap();
        fails(container.checkpoint_call(&[]).env("PATH", &path).output(), phrase);
        assert_eq!(container.status(), "running");
    }
}

fn serde_json_from(path: &Path) -> integration::Value {
    fs::read_to_string(path).unwrap().parse().unwrap()
}

trait InitIsThere {
    fn init_is_there(&self) -> bool;
}

impl InitIsThere for Container {
    fn init_is_there(&self) -> bool {
        let state = self.state_output();
        state.status.success() && state.json()["pid"] != 0
    }
}
