use super::*;
use crate::container::record::tests::record;
use crate::container::tests::{Group, Init, TempDir, cgroup, id};
use crate::container::{Locked, ProcessId, Record};

/// A container of a plain folder in a cgroup's place; its init is this process.
struct Fixture {
    dir: TempDir,
    store: Store,
    group: Group,
}

impl Fixture {
    fn new(edit: impl FnOnce(&mut Record)) -> Self {
        let dir = TempDir::new();
        let store = dir.store();
        let mut record = record("web");
        record.cgroup = Some(cgroup(dir.path()));
        edit(&mut record);
        store.create(&record.id).unwrap().write(&record).unwrap();
        std::fs::create_dir(dir.path().join("web")).unwrap();
        let fixture = Self { dir, store, group: Group::default() };
        fixture.set_frozen("0\n");
        fixture
    }

    fn set_frozen(&self, text: &str) {
        std::fs::write(self.dir.path().join("web/cgroup.freeze"), text).unwrap();
    }

    fn entry(&self) -> Entry {
        self.store.entry(&id("web")).unwrap()
    }

    fn pause(&self) -> Result<()> {
        pause(&self.store, self.entry(), &self.group)
    }

    fn resume(&self) -> Result<()> {
        resume(&self.store, self.entry(), &self.group)
    }

    fn calls(&self) -> Vec<String> {
        self.group.calls.borrow_mut().drain(..).collect()
    }
}

fn dead(record: &mut Record) {
    record.init = Some(ProcessId { start_time: 0, ..ProcessId::current().unwrap() });
}

fn refused(result: Result<()>, phrase: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Status, phrase));
}

#[test]
fn what_runs_is_paused_and_what_is_paused_resumed() {
    let fixture = Fixture::new(|_| {});
    refused(fixture.resume(), "container not paused");
    assert_eq!(fixture.calls(), [""; 0]);
    fixture.pause().unwrap();
    assert_eq!(fixture.calls(), ["freeze 10"]);
    fixture.set_frozen("1\n");
    refused(fixture.pause(), "container not running");
    fixture.resume().unwrap();
    assert_eq!(fixture.calls(), ["thaw 10"]);
}

#[test]
fn what_has_stopped_or_is_being_made_is_neither() {
    for edit in [dead, |record: &mut Record| record.creating = true] {
        let fixture = Fixture::new(edit);
        // Creating is told at once, though the creator holds the lock.
        let locked: Locked = fixture.entry().lock(&fixture.store, Duration::ZERO).unwrap();
        refused(fixture.pause(), "container not running");
        refused(fixture.resume(), "container not paused");
        drop(locked);
        assert_eq!(fixture.calls(), [""; 0]);
    }
}

#[test]
fn an_init_that_dies_meanwhile_leaves_nobody_stopped() {
    let mut fixture = Fixture::new(|_| {});
    let init = Init::bash(&fixture.entry(), "exec sleep 60");
    let mut record = fixture.entry().record().unwrap();
    record.init = Some(init.id());
    fixture.entry().lock(&fixture.store, Duration::ZERO).unwrap().write(&record).unwrap();
    fixture.group.victim = Some(init.id());
    refused(fixture.pause(), "container not running");
    assert_eq!(fixture.calls(), ["freeze 10", "thaw 10"]);
}

#[test]
fn without_a_cgroup_nothing_is_paused() {
    let fixture = Fixture::new(|record| record.cgroup = None);
    assert_eq!(fixture.pause().unwrap_err().to_string(), "the container has no cgroup of its own");
}
