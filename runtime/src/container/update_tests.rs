use super::*;
use crate::container::record::tests::record;
use crate::container::tests::{Group, TempDir, cgroup, id};
use crate::container::{LOCK_WAIT, ProcessId};
use crate::error::Kind;

fn resources(json: &str) -> Resources {
    serde_json::from_str(json).unwrap()
}

fn fixture(edit: impl FnOnce(&mut Record)) -> (TempDir, Store) {
    let dir = TempDir::new();
    let store = dir.store();
    let mut record = record("web");
    record.cgroup = Some(cgroup(dir.path()));
    record.resources = Some(resources(r#"{"pids":{"limit":5},"cpu":{"quota":9}}"#));
    edit(&mut record);
    store.create(&record.id).unwrap().write(&record).unwrap();
    (dir, store)
}

fn run(store: &Store, json: &str, group: &Group, warnings: &mut Vec<String>) -> Result<()> {
    let wanted = Wanted { resources: resources(json), intel_rdt: IntelRdt::default() };
    update(store, store.entry(&id("web")).unwrap(), &wanted, group, &mut |text| warnings.push(text))
}

fn kept(store: &Store) -> Resources {
    store.entry(&id("web")).unwrap().record().unwrap().resources.unwrap()
}

#[test]
fn files_are_written_and_the_record_remembers() {
    let (_dir, store) = fixture(|_| {});
    let group = Group::default();
    let mut warnings = Vec::new();
    run(&store, r#"{"cpu":{"period":20000},"memory":{"kernel":1}}"#, &group, &mut warnings).unwrap();
    assert_eq!(*group.calls.borrow(), ["change cpu.max=9 20000"]);
    assert_eq!(kept(&store).cpu, resources(r#"{"cpu":{"quota":9,"period":20000}}"#).cpu);
    assert_eq!(kept(&store).pids, resources(r#"{"pids":{"limit":5}}"#).pids);
    assert_eq!(warnings, ["linux.resources.memory.kernel: cgroup v2 counts it in the limit of memory"]);
    // The next one goes on from there.
    run(&store, r#"{"cpu":{"quota":7}}"#, &group, &mut warnings).unwrap();
    assert_eq!(group.calls.borrow()[1], "change cpu.max=7 20000");
}

#[test]
fn what_is_refused_changes_no_record() {
    let (_dir, store) = fixture(|_| {});
    let before = kept(&store);
    let broken = Group { broken: true, ..Group::default() };
    let error = run(&store, r#"{"pids":{"limit":7}}"#, &broken, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "the cgroup is broken");
    let error = run(&store, r#"{"pids":{"limit":-7}}"#, &Group::default(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::Spec);
    assert_eq!(kept(&store), before);
}

#[test]
fn a_failure_after_the_files_puts_them_back() {
    let (_dir, store) = fixture(|_| {});
    let group = Group::default();
    let wanted = Wanted {
        resources: resources(r#"{"pids":{"limit":7}}"#),
        intel_rdt: IntelRdt { mem_bw_schema: "MB:0=20".into(), ..IntelRdt::default() },
    };
    let error = update(&store, store.entry(&id("web")).unwrap(), &wanted, &group, &mut |_| {}).unwrap_err();
    assert_eq!(
        error.to_string(),
        "linux.intelRdt: the container has no class of service of its own that could be updated"
    );
    assert_eq!(*group.calls.borrow(), ["change pids.max=7", "restore"]);
    assert_eq!(kept(&store).pids, resources(r#"{"pids":{"limit":5}}"#).pids);
}

#[test]
fn a_record_that_cannot_be_written_puts_the_files_back() {
    let (dir, store) = fixture(|_| {});
    let group = Group::default();
    // In the new record's place a folder.
    std::fs::create_dir(dir.path().join("state/web/state.json.new")).unwrap();
    let error = run(&store, r#"{"pids":{"limit":7}}"#, &group, &mut Vec::new()).unwrap_err();
    assert_eq!(error.errno(), libc::EISDIR);
    assert_eq!(*group.calls.borrow(), ["change pids.max=7", "restore"]);
    assert_eq!(kept(&store).pids, resources(r#"{"pids":{"limit":5}}"#).pids);
}

#[test]
fn only_what_lives_is_updated() {
    let dead = |record: &mut Record| {
        record.init = Some(ProcessId { start_time: 0, ..ProcessId::current().unwrap() });
    };
    for edit in [dead, |record: &mut Record| record.creating = true] {
        let (_dir, store) = fixture(edit);
        let _creator = store.entry(&id("web")).unwrap().lock(&store, LOCK_WAIT).unwrap();
        let error = run(&store, r#"{"pids":{"limit":7}}"#, &Group::default(), &mut Vec::new()).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Status, "container not running"));
    }
}

#[test]
fn without_a_cgroup_only_nothing_can_be_changed() {
    let (_dir, store) = fixture(|record| record.cgroup = None);
    run(&store, "{}", &Group::default(), &mut Vec::new()).unwrap();
    let error = run(&store, r#"{"pids":{"limit":7}}"#, &Group::default(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "the container has no cgroup of its own");
}
