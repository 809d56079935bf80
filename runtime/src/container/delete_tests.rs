use super::*;
use crate::container::ProcessId;
use crate::container::record::tests::record;
use crate::container::tests::{Group, Init, TempDir, cgroup, id};
use crate::spec::Hook;

/// A container with an init of its own and a cgroup.
fn container(edit: impl FnOnce(&mut Record)) -> (TempDir, Store, Init) {
    let dir = TempDir::new();
    let store = dir.store();
    let locked = store.create(&id("web")).unwrap();
    let init = Init::behind_gate(&locked, "exec 3<&- 4<&-; exec sleep 60");
    let mut record = record("web");
    record.bundle = dir.path().to_owned();
    record.init = Some(init.id());
    record.cgroup = Some(cgroup(dir.path()));
    edit(&mut record);
    locked.write(&record).unwrap();
    drop(locked);
    (dir, store, init)
}

fn delete_it(store: &Store, force: bool, group: &Group) -> Result<()> {
    let entry = store.entry(&id("web"))?;
    delete(store, entry, force, group, &mut |warning| panic!("{warning}"))
}

fn open_gate(store: &Store) {
    let entry = store.entry(&id("web")).unwrap();
    super::super::start::start(store, entry, &Group::default(), &mut |warning| panic!("{warning}")).unwrap();
}

fn gone(record: &mut Record) {
    record.init = Some(ProcessId { start_time: 0, ..ProcessId::current().unwrap() });
}

fn hook(script: &str) -> Hook {
    Hook { path: "/bin/sh".into(), args: vec!["sh".into(), "-c".into(), script.into()], ..Hook::default() }
}

#[test]
fn a_stopped_container_goes_without_a_kill() {
    let (_dir, store, _init) = container(gone);
    let group = Group::default();
    delete_it(&store, false, &group).unwrap();
    assert_eq!(*group.calls.borrow(), ["remove 0"]);
    assert!(store.ids().unwrap().is_empty());
    assert_eq!(delete_it(&store, false, &group).unwrap_err().to_string(), "container does not exist");
}

#[test]
fn a_created_container_goes_without_force() {
    let (_dir, store, mut init) = container(|_| {});
    delete_it(&store, false, &Group::default()).unwrap();
    assert_eq!(init.end(), 128 + libc::SIGKILL);
    assert!(store.ids().unwrap().is_empty());
}

#[test]
fn a_running_container_stays_unless_forced() {
    let (_dir, store, mut init) = container(|_| {});
    open_gate(&store);
    let error = delete_it(&store, false, &Group::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot delete container web that is not stopped: running");
    assert_eq!(error.kind(), Kind::Status);
    assert!(init.id().is_alive().unwrap());
    delete_it(&store, true, &Group::default()).unwrap();
    assert_eq!(init.end(), 128 + libc::SIGKILL);
    assert!(store.ids().unwrap().is_empty());
}

#[test]
fn whom_init_does_not_take_along_is_killed() {
    let (_dir, store, mut init) = container(|record| record.shares_pid_namespace = true);
    let entry = store.entry(&id("web")).unwrap();
    let mut member = Init::bash(&entry, "exec sleep 60");
    let group = Group::default();
    group.members.borrow_mut().push(member.id().pid);
    delete_it(&store, true, &group).unwrap();
    assert_eq!((init.end(), member.end()), (128 + libc::SIGKILL, 128 + libc::SIGKILL));
    assert_eq!(*group.calls.borrow(), ["remove 0", "pids", "kill", "remove 10"]);
}

/// `create` writes down the cgroup before it makes it. Where that name was taken, its members are strangers.
#[test]
fn strangers_in_the_cgroup_of_an_unborn_container_live() {
    let (_dir, store, _init) = container(|record| {
        record.init = None;
        record.creating = true;
        record.creator = ProcessId { start_time: 0, ..record.creator };
    });
    let stranger = Init::bash(&store.entry(&id("web")).unwrap(), "exec sleep 60");
    let group = Group::default();
    group.members.borrow_mut().push(stranger.id().pid);
    delete_it(&store, true, &group).unwrap_err();
    assert_eq!(*group.calls.borrow(), ["remove 0", "remove 10"]);
    assert!(stranger.id().is_alive().unwrap());
}

#[test]
fn what_cannot_be_undone_keeps_the_folder() {
    let (_dir, store, _init) = container(gone);
    let broken = Group { broken: true, ..Group::default() };
    assert_eq!(delete_it(&store, true, &broken).unwrap_err().to_string(), "the cgroup is broken");
    assert_eq!(store.ids().unwrap(), [id("web")]);
    delete_it(&store, false, &Group::default()).unwrap();
}

#[test]
fn poststop_hooks_all_run_and_fail_as_warnings() {
    let (dir, store, _init) = container(|record| {
        gone(record);
        record.hooks.poststop =
            vec![hook("exit 1"), hook("cat > seen; ls state/web > folder"), hook("exit 2")];
    });
    let mut warnings = Vec::new();
    let entry = store.entry(&id("web")).unwrap();
    delete(&store, entry, false, &Group::default(), &mut |warning| warnings.push(warning.to_string()))
        .unwrap();
    assert_eq!(
        warnings,
        ["hook poststop[0] \"/bin/sh\": exit status 1", "hook poststop[2] \"/bin/sh\": exit status 2"]
    );
    let seen = std::fs::read(dir.path().join("seen")).unwrap();
    let seen: serde_json::Value = serde_json::from_slice(&seen).unwrap();
    assert_eq!((seen["status"].as_str(), seen.get("pid")), (Some("stopped"), None));
    let folder = std::fs::read_to_string(dir.path().join("folder")).unwrap();
    assert!(folder.contains("state.json"), "the folder goes last: {folder}");
    assert!(store.ids().unwrap().is_empty());
}

#[test]
fn poststop_hooks_run_without_the_bundle() {
    let marks = TempDir::new();
    let mark = marks.path().join("where");
    let (_dir, store, _init) = container(|record| {
        gone(record);
        record.bundle = "/nonexistent/bundle".into();
        record.hooks.poststop = vec![hook(&format!("pwd > {}", mark.display()))];
    });
    delete_it(&store, false, &Group::default()).unwrap();
    assert_eq!(std::fs::read_to_string(mark).unwrap(), "/\n");
}

#[test]
fn only_force_removes_what_is_stale() {
    type Make<'a> = &'a dyn Fn(&Path);
    let half = record("web").to_bytes().unwrap();
    let scenes: [(&str, Make<'_>); 6] = [
        ("empty", &|_| {}),
        ("half-written", &|path| std::fs::write(path.join("state.json"), &half[..half.len() / 2]).unwrap()),
        ("unfinished", &|path| std::fs::write(path.join("state.json.new"), "{").unwrap()),
        ("link", &|path| std::os::unix::fs::symlink("/etc/passwd", path.join("state.json")).unwrap()),
        ("folder", &|path| std::fs::create_dir_all(path.join("state.json/x")).unwrap()),
        ("socket", &|path| drop(std::os::unix::net::UnixListener::bind(path.join("state.json")).unwrap())),
    ];
    for (name, make) in scenes {
        let dir = TempDir::new();
        let store = dir.store();
        make(store.create(&id("web")).unwrap().path());
        delete_it(&store, false, &Group::default()).unwrap_err();
        assert_eq!(store.ids().unwrap(), [id("web")], "{name}");
        delete_it(&store, true, &Group::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(store.ids().unwrap().is_empty(), "{name}");
    }
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn a_record_of_a_newer_version_is_left_alone() {
    let dir = TempDir::new();
    let store = dir.store();
    let locked = store.create(&id("web")).unwrap();
    std::fs::write(locked.path().join("state.json"), r#"{"version":2,"id":"web"}"#).unwrap();
    drop(locked);
    let error = delete_it(&store, true, &Group::default()).unwrap_err().to_string();
    assert!(error.contains("has version 2, this runtime knows 1"), "{error}");
    assert_eq!(store.ids().unwrap(), [id("web")]);
}

/// `start` holds the lock while its hooks run in the container: the end of init must come first.
#[test]
fn force_ends_the_start_that_holds_the_lock() {
    let dir = TempDir::new();
    let store = dir.store();
    let locked = store.create(&id("web")).unwrap();
    let mut init = Init::behind_gate(&locked, "while :; do read -r -t 1 -u3 byte; done");
    let mut record = record("web");
    record.init = Some(init.id());
    locked.write(&record).unwrap();
    drop(locked);
    let root = dir.path().join("state");
    let starter = std::thread::spawn(move || {
        let store = Store::open(&root, false).unwrap();
        let entry = store.entry(&id("web")).unwrap();
        super::super::start::start(&store, entry, &Group::default(), &mut |_| {})
    });
    // Until `start` has the lock.
    while store.entry(&id("web")).unwrap().lock(&store, Duration::ZERO).is_ok() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let begun = std::time::Instant::now();
    delete_it(&store, true, &Group::default()).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(init.end(), 128 + libc::SIGKILL);
    starter.join().unwrap().unwrap();
}
