use super::*;
use crate::container::record::tests::record;
use crate::container::tests::{Init, TempDir, cgroup, id};
use crate::container::{Gate, ProcessId};

/// A process that has been and is no more.
fn gone() -> ProcessId {
    let me = ProcessId::current().unwrap();
    ProcessId { start_time: me.start_time + 1, ..me }
}

#[test]
fn the_status_follows_the_kernel() {
    let dir = TempDir::new();
    let store = dir.store();
    let locked = store.create(&id("web")).unwrap();
    let mut record = record("web");
    let status = |record: &Record| Status::of(&locked, record).unwrap();

    assert_eq!(status(&record), Status::Running);
    let gate = Gate::create(&locked).unwrap();
    assert_eq!(status(&record), Status::Created);
    record.creating = true;
    assert_eq!(status(&record), Status::Creating);
    record.init = None;
    assert_eq!(status(&record), Status::Creating);
    record.creator = gone();
    assert_eq!(status(&record), Status::Stopped);
    record.init = Some(gone());
    assert_eq!(status(&record), Status::Stopped);
    record.creating = false;
    assert_eq!(status(&record), Status::Stopped);
    drop(gate);
    record.init = Some(ProcessId::current().unwrap());
    assert_eq!(status(&record), Status::Running);
}

#[test]
fn a_frozen_cgroup_is_a_paused_container() {
    let dir = TempDir::new();
    let store = dir.store();
    let locked = store.create(&id("web")).unwrap();
    let mut record = record("web");
    record.cgroup = Some(cgroup(dir.path()));
    let status = |record: &Record| Status::of(&locked, record).unwrap();
    assert_eq!(status(&record), Status::Running, "a cgroup that is gone is not frozen");
    std::fs::create_dir(dir.path().join("web")).unwrap();
    let freeze = |text: &str| std::fs::write(dir.path().join("web/cgroup.freeze"), text).unwrap();
    freeze("1\n");
    assert_eq!(status(&record), Status::Paused);
    let _gate = Gate::create(&locked).unwrap();
    assert_eq!(status(&record), Status::Paused, "an init that cannot hear start");
    freeze("0\n");
    assert_eq!(status(&record), Status::Created);
}

#[test]
fn an_init_that_dies_at_the_gate_is_stopped() {
    let dir = TempDir::new();
    let store = dir.store();
    let locked = store.create(&id("web")).unwrap();
    let mut init = Init::behind_gate(&locked, "exec sleep 60");
    let mut record = record("web");
    record.init = Some(init.id());
    assert_eq!(Status::of(&locked, &record).unwrap(), Status::Created);
    record.init.unwrap().open().unwrap().unwrap().send(libc::SIGKILL).unwrap();
    assert_eq!(init.end(), 128 + libc::SIGKILL);
    assert_eq!(Status::of(&locked, &record).unwrap(), Status::Stopped);
}
