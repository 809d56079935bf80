//! On the kernel, in cgroups of their own names below the cgroup2 mount. Each removes what it made; without
//! root or without a cgroup2 mount each says that it was skipped.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::*;
use crate::plan::cgroup::{Otherwise, Write as Limit, plan};

const PATIENCE: Duration = Duration::from_secs(10);

/// A name that no other test has.
fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("caisson-test-{what}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Whether cgroups can be made here; says so where not.
fn can_run() -> bool {
    let able = nix::unistd::geteuid().is_root() && Hierarchy::find().unwrap().is_some();
    if !able {
        eprintln!("skipped: needs root and a cgroup2 mount");
    }
    able
}

fn hierarchy() -> Hierarchy {
    Hierarchy::find().unwrap().unwrap()
}

fn names(path: &str) -> Vec<String> {
    path.split('/').map(str::to_owned).collect()
}

/// A cgroup that is emptied and removed with the test, also where it fails.
struct Temporary(Cgroup);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.remove(PATIENCE);
    }
}

impl std::ops::Deref for Temporary {
    type Target = Cgroup;
    fn deref(&self) -> &Cgroup {
        &self.0
    }
}

fn create(path: &str) -> Result<Temporary> {
    Cgroup::create(hierarchy(), &names(path), &CgroupPlan::default()).map(Temporary)
}

/// A process that sleeps, ended with the test.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn inside(cgroup: &Cgroup) -> Self {
        let sleeper = Self::start();
        cgroup.add_process(sleeper.0.id()).unwrap();
        sleeper
    }

    /// The signal that ended it.
    fn ended_by(mut self) -> Option<i32> {
        std::os::unix::process::ExitStatusExt::signal(&self.0.wait().unwrap())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A cgroup inside another, as a container makes it.
fn nest(cgroup: &Cgroup, name: &str) -> Cgroup {
    let record =
        Record { path: format!("{}/{name}", cgroup.record().path), created: 1, ..cgroup.record().clone() };
    fs::create_dir(record.full_path()).unwrap();
    Cgroup::open(&record).unwrap().unwrap()
}

#[test]
fn levels_are_made_and_removed_as_far_as_they_are_ours() {
    if !can_run() {
        return;
    }
    let top = unique("levels");
    let outer = create(&top).unwrap();
    assert_eq!(
        outer.record(),
        &Record { mount: hierarchy().path().into(), path: top.clone(), created: 1, manager: Manager::Files }
    );
    let inner = create(&format!("{top}/a/b/c")).unwrap();
    assert_eq!(inner.record().created, 3);
    assert_eq!(inner.path(), format!("{}/{top}/a/b/c", hierarchy().path()));
    assert!(fs::metadata(inner.path()).unwrap().is_dir());
    // A neighbour keeps the level that it shares.
    let neighbour = create(&format!("{top}/a/n")).unwrap();
    assert_eq!(neighbour.record().created, 1);
    Cgroup::delete(inner.record(), PATIENCE).unwrap();
    let exists = |path: &str| fs::exists(format!("{}/{path}", outer.path())).unwrap();
    assert!(!exists("a/b") && exists("a/n"));
    Cgroup::delete(inner.record(), PATIENCE).unwrap(); // gone already
    assert!(Cgroup::open(inner.record()).unwrap().is_none());
    // It is the last to go, and takes the level along that was made for the other.
    neighbour.remove(PATIENCE).unwrap();
    assert!(!exists("a") && fs::exists(outer.path()).unwrap());
    // What was there before stays.
    fs::create_dir(format!("{}/a", outer.path())).unwrap();
    let inside = create(&format!("{top}/a/b")).unwrap();
    Cgroup::delete(inside.record(), PATIENCE).unwrap();
    assert!(exists("a"));
    let found = create(&format!("{top}/a")).unwrap();
    assert_eq!(found.record().created, 0);
    Cgroup::delete(found.record(), PATIENCE).unwrap();
    assert!(exists("a"));
    fs::remove_dir(format!("{}/a", outer.path())).unwrap();
    Cgroup::delete(outer.record(), PATIENCE).unwrap();
    assert!(!fs::exists(outer.path()).unwrap());
}

/// As `create` or `delete` leaves them that is killed between two levels.
#[test]
fn levels_above_a_lowest_that_is_gone_are_removed_as_far_as_they_are_ours() {
    if !can_run() {
        return;
    }
    let outer = create(&unique("killed")).unwrap();
    let (mount, top) = (hierarchy().path().to_owned(), outer.record().path.clone());
    let record = |created| Record {
        mount: mount.clone(),
        path: format!("{top}/a/b/c"),
        created,
        manager: Manager::Files,
    };
    let level = |path: &str| format!("{}/{path}", outer.path());
    fs::create_dir_all(level("a/b")).unwrap();
    Cgroup::delete(&record(2), PATIENCE).unwrap();
    assert!(!fs::exists(level("a/b")).unwrap() && fs::exists(level("a")).unwrap());
    Cgroup::delete(&record(1), PATIENCE).unwrap();
    assert!(fs::exists(level("a")).unwrap(), "it was there before");
    Cgroup::delete(&record(3), PATIENCE).unwrap();
    assert!(!fs::exists(level("a")).unwrap() && fs::exists(outer.path()).unwrap());
    outer.remove(PATIENCE).unwrap();
}

#[test]
fn of_neighbours_that_go_at_once_the_last_takes_the_shared_levels_along() {
    if !can_run() {
        return;
    }
    let outer = create(&unique("neighbours")).unwrap();
    let top = outer.record().path.clone();
    for round in 0..200 {
        let levels = format!("{top}/a/b");
        let neighbours: Vec<_> =
            (0..3).map(|number| create(&format!("{levels}/{number}")).unwrap()).collect();
        let start = std::sync::Barrier::new(neighbours.len());
        std::thread::scope(|scope| {
            for (number, neighbour) in neighbours.iter().enumerate() {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    // One after the other, too: the first, who made the levels, is not always the last to go.
                    std::thread::sleep(Duration::from_micros((round * 7 * number as u64) % 200));
                    Cgroup::delete(neighbour.record(), PATIENCE).unwrap();
                });
            }
        });
        assert!(!fs::exists(format!("{}/a", outer.path())).unwrap(), "round {round}");
    }
}

/// Others make and remove cgroups below the same level all the time.
#[test]
fn a_level_that_vanishes_while_it_is_used_is_made_again() {
    if !can_run() {
        return;
    }
    let outer = create(&unique("busy")).unwrap();
    let top = outer.record().path.clone();
    std::thread::scope(|scope| {
        for number in 0..3 {
            let top = &top;
            scope.spawn(move || {
                for _ in 0..200 {
                    let own = create(&format!("{top}/a/b/{number}")).unwrap();
                    Cgroup::delete(own.record(), PATIENCE).unwrap();
                }
            });
        }
    });
    assert!(!fs::exists(format!("{}/a", outer.path())).unwrap());
}

#[test]
fn records_open_nothing_but_a_cgroup_of_a_container() {
    let mount = "/sys/fs/cgroup/unified".to_owned();
    for path in ["", "/", ".", "..", "a/..", "a/../..", "/a", "a/", "a//b", "./a", "a\0"] {
        let record = Record { mount: mount.clone(), path: path.into(), created: 1, manager: Manager::Files };
        let wanted = format!("the record's cgroup path {path:?} names no cgroup of a container");
        assert_eq!(Cgroup::open(&record).unwrap_err().to_string(), wanted);
        assert_eq!(Cgroup::delete(&record, Duration::ZERO).unwrap_err().to_string(), wanted);
    }
    let elsewhere = Record { mount: "/tmp".into(), path: "x".into(), created: 1, manager: Manager::Files };
    assert_eq!(
        Cgroup::open(&elsewhere).unwrap_err().to_string(),
        "open cgroup \"/tmp/x\": \"/tmp\" is not a cgroup2 mount"
    );
    assert!(Cgroup::delete(&elsewhere, Duration::ZERO).is_err());
    // After a boot into another layout the mount is gone, and the cgroup with it.
    let gone =
        Record { mount: "/nowhere/at/all".into(), path: "x".into(), created: 1, manager: Manager::Files };
    assert!(Cgroup::open(&gone).unwrap().is_none());
    Cgroup::delete(&gone, Duration::ZERO).unwrap();
    if can_run() {
        for bad in
            [vec![], vec![String::new()], vec!["..".into()], vec!["a".into(), ".".into()], vec!["a/b".into()]]
        {
            Cgroup::create(hierarchy(), &bad, &CgroupPlan::default()).unwrap_err();
        }
    }
}

#[test]
fn a_frozen_cgroup_is_refused_not_waited_on() {
    if !can_run() {
        return;
    }
    let top = create(&unique("frozen")).unwrap();
    top.freeze(PATIENCE).unwrap();
    let started = Instant::now();
    for path in [top.record().path.clone(), format!("{}/below", top.record().path)] {
        let error = create(&path).err().unwrap().to_string();
        assert!(
            error.ends_with(
                "it is frozen, by itself or by a cgroup above it; thaw it, or give another linux.cgroupsPath"
            ),
            "{error}"
        );
    }
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(!fs::exists(format!("{}/below", top.path())).unwrap());
    top.thaw(PATIENCE).unwrap();
    create(&format!("{}/below", top.record().path)).unwrap();
}

#[test]
fn a_cgroup_with_processes_is_refused_and_an_empty_one_taken_over() {
    if !can_run() {
        return;
    }
    let top = create(&unique("taken")).unwrap();
    let inside = nest(&top, "inside");
    let sleeper = Sleeper::inside(&inside);
    let error = create(&top.record().path).err().unwrap().to_string();
    assert!(error.ends_with("it has processes already; give another linux.cgroupsPath"), "{error}");
    assert_eq!(inside.pids().unwrap(), [sleeper.0.id()]);
    drop(sleeper);
    top.wait_empty(PATIENCE).unwrap();
    // The program of a container that is dead does not bind its successor.
    let program = plan(None).unwrap().devices.unwrap();
    top.attach_devices(devices::load(&program).unwrap().as_fd()).unwrap();
    assert_eq!(create(&top.record().path).unwrap().record().created, 0);
    assert!(top.attached().unwrap().is_empty());
}

/// Takes hugetlb off the root again where the test had put it on.
struct RootControl(bool);

impl RootControl {
    fn note() -> Self {
        let enabled = file::read(hierarchy().root(), "cgroup.subtree_control").unwrap();
        Self(enabled.split_whitespace().any(|name| name == "hugetlb"))
    }
}

impl Drop for RootControl {
    fn drop(&mut self) {
        if !self.0 {
            let _ = file::write(hierarchy().root(), "cgroup.subtree_control", "-hugetlb");
        }
    }
}

/// Tests that look at the root's controllers run one after the other.
static ROOT: Mutex<()> = Mutex::new(());

#[test]
fn a_real_limit_is_set_and_controllers_are_switched_on_with_and_without() {
    if !can_run() {
        return;
    }
    let _lock = ROOT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !file::read(hierarchy().root(), "cgroup.controllers").unwrap().contains("hugetlb") {
        eprintln!("skipped: cgroup v2 has no hugetlb here");
        return;
    }
    let _restore = RootControl::note();
    let json = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#;
    let limits = plan(Some(&serde_json::from_str(json).unwrap())).unwrap();
    let top = unique("limit");
    let plain = create(&format!("{top}-plain/x")).unwrap();
    let control = |path: &str| fs::read_to_string(format!("{path}/cgroup.subtree_control")).unwrap();
    assert_eq!(control(&format!("{}/{top}-plain", hierarchy().path())), "hugetlb\n");
    let limited = Temporary(Cgroup::create(hierarchy(), &names(&format!("{top}/x")), &limits).unwrap());
    assert_eq!(control(&format!("{}/{top}", hierarchy().path())), "hugetlb\n");
    assert_eq!(control(limited.path()), ""); // or no process could live there
    for file in ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"] {
        assert_eq!(file::read(limited.fd(), file).unwrap(), "4194304\n", "{file}");
    }
    drop(plain);

    // A size the kernel does not have: the field is named, nothing is left behind.
    let json = r#"{"hugepageLimits":[{"pageSize":"3MB","limit":1}]}"#;
    let wrong = plan(Some(&serde_json::from_str(json).unwrap())).unwrap();
    let error =
        Cgroup::create(hierarchy(), &names(&format!("{top}-wrong/a/b")), &wrong).unwrap_err().to_string();
    let path = format!("{}/{top}-wrong/a/b", hierarchy().path());
    assert_eq!(
        error,
        format!(
            "create cgroup {path:?}: linux.resources.hugepageLimits[0]: cgroup {path:?}: \
             this kernel has no such limit: open(\"hugetlb.3MB.max\"): no such file or directory (ENOENT)"
        )
    );
    assert!(!fs::exists(format!("{}/{top}-wrong", hierarchy().path())).unwrap());

    // A cgroup with processes cannot have limited children.
    let busy = create(&format!("{top}-busy")).unwrap();
    let _sleeper = Sleeper::inside(&busy);
    let error =
        Cgroup::create(hierarchy(), &names(&format!("{top}-busy/x")), &limits).unwrap_err().to_string();
    assert!(
        error.contains("linux.resources.hugepageLimits[0] needs the controller \"hugetlb\" in ")
            && error.contains("-busy\", which has processes of its own"),
        "{error}"
    );
    assert!(!fs::exists(format!("{}/x", busy.path())).unwrap());
    // And the other way round a limited parent says why it takes none.
    let parent = Record { path: top, created: 0, ..limited.record().clone() };
    let process = Sleeper::start();
    let error = Cgroup::open(&parent).unwrap().unwrap().add_process(process.0.id()).unwrap_err().to_string();
    assert!(error.contains("it passes controllers on to cgroups inside it"), "{error}");
}

#[test]
fn a_controller_that_is_not_there_is_named_with_field_and_cure() {
    if !can_run() {
        return;
    }
    let available = file::read(hierarchy().root(), "cgroup.controllers").unwrap();
    let write = |controller: &'static str| Limit {
        controller: controller.into(),
        file: "x".into(),
        value: "1".into(),
        field: "linux.resources.x".into(),
        otherwise: Otherwise::Fail,
    };
    let name = unique("missing");
    let missing =
        ["memory", "pids", "cpu", "io", "quux"].into_iter().filter(|name| !available.contains(name));
    for controller in missing {
        let limits = CgroupPlan { writes: vec![write(controller)], ..CgroupPlan::default() };
        let error = Cgroup::create(hierarchy(), &names(&name), &limits).unwrap_err().to_string();
        let wanted = format!(
            "linux.resources.x needs the controller {controller:?}, which cgroup v2 does not have in "
        );
        assert!(error.contains(&wanted), "{error}");
        assert!(
            error.ends_with(if controller == "quux" { "built without it" } else { "cgroup_no_v1=all" }),
            "{error}"
        );
        assert!(!fs::exists(format!("{}/{name}", hierarchy().path())).unwrap());
    }
}

#[test]
fn files_that_are_missing_do_what_the_plan_says() {
    if !can_run() {
        return;
    }
    let cgroup = create(&unique("otherwise")).unwrap();
    let apply = |file: &'static str, value: &str, otherwise: Otherwise| {
        let (controller, field) = ("".into(), "linux.resources.x".into());
        let write = Limit { controller, file: file.into(), value: value.into(), field, otherwise };
        cgroup.apply(&CgroupPlan { writes: vec![write], ..CgroupPlan::default() })
    };
    let depth = || file::read(cgroup.fd(), "cgroup.max.depth").unwrap();
    apply("cgroup.max.depth", "5", Otherwise::Skip).unwrap();
    assert_eq!(depth(), "5\n");
    apply("no.such", "1", Otherwise::Skip).unwrap();
    apply("no.such", "1", Otherwise::Write { file: "cgroup.max.depth".into(), value: "7".into() }).unwrap();
    assert_eq!(depth(), "7\n");
    apply("cgroup.max.depth", "8", Otherwise::Write { file: "no.such".into(), value: "1".into() }).unwrap();
    assert_eq!(depth(), "8\n");
    apply("no.such", "1", Otherwise::Fail).unwrap_err();
    let error = apply("cgroup.max.depth", "many", Otherwise::Skip).unwrap_err().to_string();
    let wanted = "write(\"cgroup.max.depth\", \"many\"): invalid argument (EINVAL)";
    assert_eq!(error, format!("linux.resources.x: cgroup {:?}: {wanted}", cgroup.path()));
}

#[test]
fn frozen_processes_stop_and_nested_ones_are_killed() {
    if !can_run() {
        return;
    }
    for by_signals in [false, true] {
        let top = create(&unique("kill")).unwrap();
        let inside = nest(&nest(&top, "a"), "b");
        let sleepers = [Sleeper::inside(&top), Sleeper::inside(&inside)];
        let mut pids = top.pids().unwrap();
        pids.sort_unstable();
        let mut wanted = sleepers.each_ref().map(|sleeper| sleeper.0.id());
        wanted.sort_unstable();
        assert_eq!(pids, wanted);
        top.freeze(PATIENCE).unwrap();
        assert_eq!(inside.events().unwrap(), Events { populated: true, frozen: true });
        let error = inside.thaw(Duration::from_millis(20)).unwrap_err().to_string();
        assert!(error.ends_with("still frozen after 20ms; a cgroup above it may be"), "{error}");
        let error = top.wait_empty(Duration::from_millis(20)).unwrap_err().to_string();
        assert!(error.contains("still has processes after 20ms"), "{error}");
        let error = top.remove(Duration::from_millis(20)).unwrap_err().to_string();
        assert!(error.contains("it is still in use after 20ms: populated true"), "{error}");
        if by_signals {
            top.kill_each().unwrap()
        } else {
            top.kill().unwrap()
        }
        for sleeper in sleepers {
            assert_eq!(sleeper.ended_by(), Some(libc::SIGKILL));
        }
        top.wait_empty(PATIENCE).unwrap();
        assert!(!top.events().unwrap().populated);
        top.remove(PATIENCE).unwrap();
        assert!(!fs::exists(top.path()).unwrap());
        top.kill().unwrap(); // nobody lives in what is gone
        assert!(top.pids().unwrap().is_empty());
    }
}

/// A write of a limit that `cgroup.max.depth` and its like stand for: every cgroup has them.
fn limit(file: &'static str, value: &str) -> Limit {
    Limit {
        controller: "".into(),
        file: file.into(),
        value: value.into(),
        field: "linux.resources.x".into(),
        otherwise: Otherwise::Fail,
    }
}

#[test]
fn a_change_is_whole_or_none() {
    if !can_run() {
        return;
    }
    let cgroup = create(&unique("change")).unwrap();
    let read = |name: &str| file::read(cgroup.fd(), name).unwrap();
    let change = |writes: Vec<Limit>| cgroup.change(&CgroupPlan { writes, ..CgroupPlan::default() });
    let (depth, below) = ("cgroup.max.depth", "cgroup.max.descendants");
    let before = change(vec![limit(depth, "5"), limit(below, "7")]).unwrap();
    assert_eq!((read(depth), read(below)), ("5\n".into(), "7\n".into()));
    let error = change(vec![limit(depth, "6"), limit(below, "many")]).unwrap_err().to_string();
    let wanted = "write(\"cgroup.max.descendants\", \"many\"): invalid argument (EINVAL)";
    assert_eq!(error, format!("linux.resources.x: cgroup {:?}: {wanted}", cgroup.path()));
    assert_eq!((read(depth), read(below)), ("5\n".into(), "7\n".into()));
    let error = change(vec![limit(depth, "6"), limit("no.such", "1")]).unwrap_err().to_string();
    assert!(error.contains("this kernel has no such limit") && !error.contains("cleaning up"), "{error}");
    assert_eq!(read(depth), "5\n");
    // By a caller that fails later.
    let mut cause = Error::other("cause");
    cgroup.restore(&before, &mut cause);
    assert_eq!((read(depth), read(below)), ("max\n".into(), "max\n".into()));
    assert_eq!(cause, Error::other("cause"));
    cgroup.remove(PATIENCE).unwrap();
    cgroup.restore(&before, &mut cause);
    let text = cause.to_string();
    assert!(
        text.starts_with("cause (then, while cleaning up: put \"cgroup.max.descendants\" back: "),
        "{text}"
    );
    let error = change(vec![limit(depth, "6")]).unwrap_err();
    assert!(matches!(error.errno(), libc::ENODEV | libc::ENOENT), "{error}");
}

#[test]
fn what_is_refused_is_tried_again_after_the_others() {
    if !can_run() {
        return;
    }
    // A burst above the present quota needs the cpu controller: `update::every_flag_stands_in_its_file`. Here,
    // that the others do not wait for the one that is refused, and that it is still an error in the end.
    let top = create(&unique("order")).unwrap();
    let inside = nest(&top, "inside");
    let writes = vec![limit("cgroup.max.depth", "many"), limit("cgroup.max.descendants", "3")];
    let error = inside.apply(&CgroupPlan { writes, ..CgroupPlan::default() }).unwrap_err();
    assert_eq!(error.errno(), libc::EINVAL, "{error}");
    assert_eq!(file::read(inside.fd(), "cgroup.max.descendants").unwrap(), "3\n");
    inside.remove(PATIENCE).unwrap();
}

/// A process in a call that the kernel does not interrupt, until the value goes: a look at a file system in
/// user space (fuse(4)) that nobody serves.
struct Stuck {
    process: Child,
    folder: std::path::PathBuf,
    device: Option<fs::File>,
}

impl Stuck {
    /// `None` where such a file system cannot be mounted.
    fn start() -> Option<Self> {
        use std::os::fd::AsRawFd;
        let device = fs::File::options().read(true).write(true).open("/dev/fuse").ok()?;
        let folder = std::env::temp_dir().join(unique("fuse"));
        fs::create_dir(&folder).unwrap();
        let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let flags = nix::mount::MsFlags::empty();
        if nix::mount::mount(Some("fuse"), &folder, Some("fuse"), flags, Some(data.as_str())).is_err() {
            fs::remove_dir(&folder).unwrap();
            return None;
        }
        let process = Command::new("cat").arg(folder.join("x")).stderr(Stdio::null()).spawn().unwrap();
        Some(Self { process, folder, device: Some(device) })
    }

    fn state(&self) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        status.lines().find_map(|line| line.strip_prefix("State:\t")).unwrap().to_owned()
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        // Without the server's descriptor the call fails.
        drop(self.device.take());
        let _ = self.process.wait();
        let _ = nix::mount::umount2(&self.folder, nix::mount::MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.folder);
    }
}

#[test]
fn who_cannot_be_stopped_is_named_and_all_run_on() {
    if !can_run() {
        return;
    }
    let Some(stuck) = Stuck::start() else {
        eprintln!("skipped: no file system in user space can be mounted here");
        return;
    };
    let top = create(&unique("stuck")).unwrap();
    top.add_process(stuck.process.id()).unwrap();
    let _sleeper = Sleeper::inside(&top);
    while !stuck.state().starts_with('D') {
        std::thread::sleep(Duration::from_millis(1));
    }
    let error = top.freeze(Duration::from_millis(50)).unwrap_err().to_string();
    let who = format!("process {} \"cat\" is in state D (disk sleep)", stuck.process.id());
    let wanted =
        format!("freeze cgroup {:?}: not all processes stopped within 50ms, {who}; all run on", top.path());
    assert_eq!(error, wanted);
    assert_eq!(file::read(top.fd(), "cgroup.freeze").unwrap(), "0\n");
    drop(stuck);
    top.freeze(PATIENCE).unwrap();
}

#[test]
fn statistics_are_those_of_the_kernel() {
    if !can_run() {
        return;
    }
    let top = create(&unique("stats")).unwrap();
    let _sleepers = [Sleeper::inside(&top), Sleeper::inside(&top)];
    let stats = serde_json::to_value(top.stats().unwrap()).unwrap();
    assert_eq!(stats["pids"]["current"], 2, "{stats}");
    assert!(stats["cpu"]["usage"]["kernel"].is_u64(), "{stats}");
    assert!(OomWatch::open(&top).unwrap().is_none_or(|mut watch| watch.has_killed().unwrap() == Some(false)));
}

#[test]
fn thawed_processes_run_again() {
    if !can_run() {
        return;
    }
    let top = create(&unique("thaw")).unwrap();
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    top.add_process(child.id()).unwrap();
    top.freeze(PATIENCE).unwrap();
    child.stdin.as_mut().unwrap().write_all(b"word").unwrap();
    assert!(child.try_wait().unwrap().is_none());
    top.thaw(PATIENCE).unwrap();
    let mut answer = [0; 4];
    child.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"word");
    assert_eq!(top.events().unwrap(), Events { populated: true, frozen: false });
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn removal_waits_for_the_last_process() {
    if !can_run() {
        return;
    }
    let top = create(&unique("late")).unwrap();
    let mut child = Command::new("sleep").arg("0.3").spawn().unwrap();
    top.add_process(child.id()).unwrap();
    let started = Instant::now();
    Cgroup::delete(top.record(), PATIENCE).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(200) && started.elapsed() < PATIENCE);
    assert!(!fs::exists(top.path()).unwrap());
    child.wait().unwrap();
}

#[test]
fn no_depth_of_nesting_exhausts_descriptors() {
    if !can_run() {
        return;
    }
    // Deeper than the usual limit of descriptors and than a path can name.
    const DEPTH: usize = 1100;
    let top = create(&unique("deep")).unwrap();
    let mut here = top.fd().try_clone_to_owned().unwrap();
    for _ in 0..DEPTH {
        rustix::fs::mkdirat(&here, "deep", rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
        here = tree::open_level(here.as_fd(), "deep").unwrap();
    }
    let sleeper = Sleeper::start();
    file::write(here.as_fd(), "cgroup.procs", &sleeper.0.id().to_string()).unwrap();
    drop(here);
    assert_eq!(top.pids().unwrap(), [sleeper.0.id()]);
    top.kill().unwrap();
    assert_eq!(sleeper.ended_by(), Some(libc::SIGKILL));
    top.remove(Duration::from_secs(60)).unwrap();
    assert!(!fs::exists(top.path()).unwrap());
}

#[test]
fn delegation_gives_the_listed_files_and_no_others() {
    use std::os::unix::fs::MetadataExt;
    if !can_run() {
        return;
    }
    let cgroup = create(&unique("owner")).unwrap();
    let owner = |name: &str| {
        let metadata = fs::metadata(format!("{}/{name}", cgroup.path())).unwrap();
        (metadata.uid(), metadata.gid())
    };
    let given = ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];
    let kept = ["cgroup.freeze", "cgroup.kill", "cgroup.max.depth", "cgroup.events"];
    cgroup.chown_delegate(54_321).unwrap();
    assert_eq!(given.map(owner), [(54_321, 0); 4]);
    assert_eq!(kept.map(owner), [(0, 0); 4]);
    // The list where the kernel has none, with names that lead elsewhere or nowhere.
    cgroup.give(54_322, "cgroup.procs\n\n../cgroup.procs\nno.such\n").unwrap();
    assert_eq!(["", "cgroup.procs", "cgroup.threads"].map(owner), [(54_322, 0), (54_322, 0), (54_321, 0)]);
    assert_eq!(fs::metadata(format!("{}/cgroup.procs", hierarchy().path())).unwrap().uid(), 0);
}

/// Whether a shell in the cgroup opens the device for reading.
fn opens(cgroup: &Cgroup, device: &str) -> bool {
    let script = format!("read go; exec 3<{device}");
    let mut shell =
        Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    cgroup.add_process(shell.id()).unwrap();
    shell.stdin.take().unwrap().write_all(b"\n").unwrap();
    shell.wait().unwrap().success()
}

#[test]
fn the_kernel_enforces_the_device_program() {
    if !can_run() {
        return;
    }
    let cgroup = create(&unique("devices")).unwrap();
    if !opens(&cgroup, "/dev/kmsg") {
        eprintln!("skipped: /dev/kmsg cannot be opened here");
        return;
    }
    let program = |json: &str| {
        let limits = plan(Some(&serde_json::from_str(json).unwrap())).unwrap();
        devices::load(&limits.devices.unwrap()).unwrap()
    };
    let default = program("{}");
    cgroup.attach_devices(default.as_fd()).unwrap();
    assert!(opens(&cgroup, "/dev/null") && opens(&cgroup, "/dev/urandom"));
    assert!(!opens(&cgroup, "/dev/kmsg"));
    // Also for the cgroups inside.
    assert!(!opens(&nest(&cgroup, "inside"), "/dev/kmsg"));
    let wider = program(r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}"#);
    cgroup.replace_devices(wider.as_fd()).unwrap();
    assert_eq!(cgroup.attached().unwrap().len(), 1);
    assert!(opens(&cgroup, "/dev/kmsg"));
    let narrower = program(r#"{"devices":[{"allow":false}]}"#);
    cgroup.attach_devices(narrower.as_fd()).unwrap();
    assert_eq!(cgroup.attached().unwrap().len(), 2);
    assert!(!opens(&cgroup, "/dev/kmsg"));
    cgroup.replace_devices(wider.as_fd()).unwrap();
    assert_eq!(cgroup.attached().unwrap().len(), 1);
    assert!(opens(&cgroup, "/dev/kmsg"));
    cgroup.detach_devices().unwrap();
    assert!(cgroup.attached().unwrap().is_empty());
    assert!(opens(&cgroup, "/dev/kmsg"));
    cgroup.replace_devices(narrower.as_fd()).unwrap();
    assert!(!opens(&cgroup, "/dev/kmsg"));
}

#[test]
fn errors_of_the_birth_are_explained() {
    if !can_run() {
        return;
    }
    let cgroup = create(&unique("birth")).unwrap();
    let born = |errno| cgroup.explain_birth(sys::Error::new("clone3", "", errno).into());
    for (errno, why) in [
        (libc::EBUSY, "it passes controllers on"),
        (libc::EOPNOTSUPP, "it is threaded"),
        (libc::EAGAIN, "pids.max"),
        (libc::ENODEV, "it was removed"),
    ] {
        let error = born(errno);
        assert!(error.to_string().starts_with(&format!("cgroup {:?}: ", cgroup.path())), "{error}");
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(error.errno(), errno);
    }
    assert_eq!(born(libc::EPERM), sys::Error::new("clone3", "", libc::EPERM).into());
}

#[test]
fn going_without_is_a_warning_only_where_nothing_depends_on_it() {
    let bare = plan(None).unwrap();
    let asks = |json: &str| plan(Some(&serde_json::from_str(json).unwrap())).unwrap();
    let cure = "cgroup2 is not mounted; boot with systemd.unified_cgroup_hierarchy=1, \
                or mount it with mount -t cgroup2 none /sys/fs/cgroup/unified";
    let denied: Error = sys::Error::new("mkdirat", "\"x\"", libc::EACCES).into();
    assert_eq!(
        go_without(&bare, "", None, false).unwrap(),
        format!("the container has no cgroup of its own: {cure}")
    );
    assert_eq!(
        go_without(&bare, "", Some(&denied), true).unwrap(),
        format!("the container has no cgroup of its own: {denied}")
    );
    let rules = asks(r#"{"devices":[{"allow":false}]}"#);
    let limits = asks(r#"{"pids":{"limit":5},"devices":[{"allow":false}]}"#);
    let open = asks(r#"{"devices":[{"allow":true}]}"#);
    go_without(&rules, "", Some(&denied), true).unwrap();
    go_without(&rules, "", None, true).unwrap();
    go_without(&open, "", None, false).unwrap();
    for (plan, path, reason, wanted) in [
        (&limits, "/x", None, format!("linux.resources.pids.limit needs a cgroup: {cure}")),
        (&limits, "", Some(&denied), format!("linux.resources.pids.limit needs a cgroup: {denied}")),
        (&bare, "/x", None, format!("linux.cgroupsPath needs a cgroup: {cure}")),
        (&bare, "/x", Some(&denied), format!("linux.cgroupsPath needs a cgroup: {denied}")),
        (&rules, "", None, format!("linux.resources.devices needs a cgroup: {cure}")),
    ] {
        assert_eq!(go_without(plan, path, reason, reason.is_some()).unwrap_err().to_string(), wanted);
    }
}
