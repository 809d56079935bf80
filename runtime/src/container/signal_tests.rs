use super::*;
use crate::container::record::tests::record;
use crate::container::tests::{Group, Init, TempDir, cgroup, id};
use crate::container::{ProcessId, Store};

#[test]
fn every_way_of_naming_a_signal() {
    for (text, number) in [
        ("KILL", 9),
        ("SIGKILL", 9),
        ("sigterm", 15),
        ("Int", 2),
        ("9", 9),
        ("0", 0),
        ("64", 64),
        ("09", 9),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("rtmax", 64),
        ("RTMAX-14", 50),
        ("CLD", 17),
        ("WINCH", 28),
    ] {
        assert_eq!(parse(text).unwrap(), number, "{text}");
    }
}

#[test]
fn what_is_no_signal_is_quoted() {
    for text in [
        "",
        "SIG",
        "SIGSIGKILL",
        "65",
        "-9",
        "+9",
        "9 ",
        " KILL",
        "RTMIN+31",
        "RTMIN-1",
        "RTMIN++1",
        "RTMAX-31",
        "99999999999",
        "KILL\n",
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), format!("unknown signal {text:?}"));
    }
}

/// nix knows the same names, from other tables.
#[test]
fn the_table_agrees_with_nix() {
    for signal in nix::sys::signal::Signal::iterator() {
        assert_eq!(parse(signal.as_str()).unwrap(), signal as i32);
    }
    for (name, number) in NAMES {
        assert!(nix::sys::signal::Signal::try_from(number).is_ok(), "{name}");
    }
}

fn container(script: &str, edit: impl FnOnce(&mut crate::container::Record)) -> (TempDir, Store, Init) {
    let dir = TempDir::new();
    let store = dir.store();
    let locked = store.create(&id("web")).unwrap();
    let init = Init::bash(&locked, script);
    let mut record = record("web");
    record.init = Some(init.id());
    record.cgroup = Some(cgroup(dir.path()));
    edit(&mut record);
    locked.write(&record).unwrap();
    drop(locked);
    (dir, store, init)
}

fn gone(record: &mut crate::container::Record) {
    record.init = Some(ProcessId { start_time: 0, ..ProcessId::current().unwrap() });
}

#[test]
fn init_gets_the_signal_also_while_another_holds_the_lock() {
    for creating in [false, true] {
        let (_dir, store, mut init) = container("exec sleep 60", |record| record.creating = creating);
        let _creator = store.entry(&id("web")).unwrap().lock(&store, super::super::LOCK_WAIT).unwrap();
        let group = Group::default();
        kill(&store.entry(&id("web")).unwrap(), 0, false, &group).unwrap();
        kill(&store.entry(&id("web")).unwrap(), libc::SIGTERM, false, &group).unwrap();
        assert_eq!(init.end(), 128 + libc::SIGTERM);
        assert!(group.calls.borrow().is_empty());
        let error = kill(&store.entry(&id("web")).unwrap(), libc::SIGTERM, false, &group).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Status, "container not running"));
    }
}

#[test]
fn a_stopped_container_is_not_running_unless_all_are_meant() {
    let (_dir, store, _init) = container("exec sleep 60", gone);
    let entry = store.entry(&id("web")).unwrap();
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let error = kill(&entry, signal, false, &Group::default()).unwrap_err();
        assert_eq!(error.to_string(), "container not running");
        kill(&entry, signal, true, &Group::default()).unwrap();
    }
}

#[test]
fn with_all_every_member_gets_the_signal_once() {
    let (_dir, store, mut init) = container(
        "trap 'count=$((count + 1))' USR1; trap 'exit $count' TERM; while :; do sleep 0.01; done",
        |_| {},
    );
    // Time to set the traps: a process that ignores nothing yet would die.
    let entry = store.entry(&id("web")).unwrap();
    let caught = |pid: i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap() & (1 << (libc::SIGTERM - 1)) != 0
    };
    while !caught(init.id().pid) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let mut member = Init::bash(&entry, "exec sleep 60");
    let group = Group::default();
    group.members.borrow_mut().extend([init.id().pid, member.id().pid]);
    kill(&entry, libc::SIGUSR1, true, &group).unwrap();
    assert_eq!(member.end(), 128 + libc::SIGUSR1);
    std::thread::sleep(std::time::Duration::from_millis(50));
    kill(&entry, libc::SIGTERM, false, &group).unwrap();
    assert_eq!(init.end(), 1);
}

#[test]
fn sigkill_ends_all_of_a_container_that_shares_its_pid_namespace() {
    let (_dir, store, mut init) = container("exec sleep 60", |record| record.shares_pid_namespace = true);
    let entry = store.entry(&id("web")).unwrap();
    let mut member = Init::bash(&entry, "exec sleep 60");
    let group = Group::default();
    group.members.borrow_mut().extend([init.id().pid, member.id().pid]);
    kill(&entry, libc::SIGKILL, false, &group).unwrap();
    assert_eq!((init.end(), member.end()), (128 + libc::SIGKILL, 128 + libc::SIGKILL));
    assert_eq!(*group.calls.borrow(), ["kill"]);
}

/// Its init has ended, its other processes have not: nothing but SIGKILL to the cgroup ends them.
#[test]
fn what_a_dead_init_left_behind_is_killed_with_all() {
    let (_dir, store, _init) = container("exec sleep 60", |record| {
        gone(record);
        record.shares_pid_namespace = true;
    });
    let entry = store.entry(&id("web")).unwrap();
    let mut member = Init::bash(&entry, "exec sleep 60");
    let group = Group::default();
    group.members.borrow_mut().push(member.id().pid);
    kill(&entry, libc::SIGKILL, true, &group).unwrap();
    assert_eq!(member.end(), 128 + libc::SIGKILL);
}

#[test]
fn with_all_those_that_are_born_meanwhile_get_the_signal_too() {
    let (_dir, store, mut init) = container("exec sleep 60", |_| {});
    let entry = store.entry(&id("web")).unwrap();
    let mut members: Vec<Init> = (0..4).map(|_| Init::bash(&entry, "exec sleep 60")).collect();
    let mut pids: Vec<i32> = members.iter().map(|member| member.id().pid).collect();
    let first = vec![init.id().pid, pids.remove(0)];
    let group = Group { members: first.into(), unborn: pids.into(), ..Group::default() };
    kill(&entry, libc::SIGTERM, true, &group).unwrap();
    for end in members.iter_mut().chain([&mut init]).map(Init::end) {
        assert_eq!(end, 128 + libc::SIGTERM);
    }
}
