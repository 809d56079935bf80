//! Two hundred containers that eight callers create, limit, start, pause, resume, update, kill and delete in
//! random order: every answer and every status is the right one, and nothing is left. And eight callers who do
//! all of that to one container at once.
//!
//! What happens to a container follows from the seed and its number, whoever calls. `CAISSON_TEST_SEED` sets the
//! seed that a failure has printed.
// Helpers outside the test functions panic as these do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use integration::random::{Random, seed};
use integration::{
    Bundle, Container, Controllers, Output, has_controller, json, known_gap, leaks, requires, uses_cgroup2,
    wait_for,
};

const ON_V1: &str = "this runtime uses cgroup v1 on a hybrid host";
const CALLERS: u64 = 8;
/// Two hundred; in the emulated machine, where a call takes a hundred times as long, enough for every deed.
fn containers() -> u64 {
    if std::env::var_os("CAISSON_TEST_MACHINE").is_some() { 25 } else { 200 }
}
/// What is done to a container before it is sent to its end.
const STEPS: u32 = 12;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Model {
    Absent,
    Created,
    Running,
    /// Frozen at the gate, or later.
    Paused {
        started: bool,
    },
    Stopped,
    Gone,
}

impl Model {
    fn status(self) -> Option<&'static str> {
        match self {
            Model::Absent | Model::Gone => None,
            Model::Created => Some("created"),
            Model::Running => Some("running"),
            Model::Paused { .. } => Some("paused"),
            Model::Stopped => Some("stopped"),
        }
    }

    fn is_alive(self) -> bool {
        matches!(self, Model::Created | Model::Running | Model::Paused { .. })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    Create,
    Start,
    Pause,
    Resume,
    Update,
    Kill,
    KillAll,
    Delete,
    DeleteForce,
    Ps,
    Stats,
}

use Deed::{Create, Delete, DeleteForce, Kill, KillAll, Pause, Ps, Resume, Start, Stats, Update};

/// One container and what it must be like.
struct Subject {
    container: Container,
    random: Random,
    model: Model,
    /// cgroup.max.depth.
    depth: u64,
    /// Its cgroup's folder, once it has one.
    folder: Option<PathBuf>,
    steps: u32,
    /// What has been done to it, for messages.
    story: Vec<Deed>,
}

impl Subject {
    /// What comes next. The end is certain: after its steps a container is killed and deleted.
    fn next(&mut self) -> Deed {
        self.steps += 1;
        let tired = self.steps > STEPS;
        match self.model {
            Model::Absent | Model::Gone => Create,
            Model::Stopped if tired => Delete,
            _ if tired => self.random.of(&[Kill, KillAll, DeleteForce]),
            Model::Created => self.random.of(&[Start, Start, Start, Pause, Update, Resume, Kill, Ps, Stats]),
            Model::Running => self.random.of(&[
                Pause,
                Pause,
                Pause,
                Update,
                Update,
                Resume,
                Start,
                Delete,
                Kill,
                KillAll,
                DeleteForce,
                Ps,
                Stats,
            ]),
            Model::Paused { .. } => self.random.of(&[
                Resume,
                Resume,
                Resume,
                Update,
                Update,
                Pause,
                Start,
                Delete,
                Kill,
                KillAll,
                DeleteForce,
                Ps,
                Stats,
            ]),
            Model::Stopped => {
                self.random.of(&[Start, Pause, Resume, Update, Kill, KillAll, Delete, DeleteForce, Ps])
            }
        }
    }

    /// Does it, and looks whether the answer and all that can be seen of the container is right.
    fn step(&mut self, pids: bool) {
        let deed = self.next();
        self.story.push(deed);
        let depth = 2 + self.random.below(1000);
        let output = self.call(deed, depth, pids);
        let (after, refusal) = self.expected(deed);
        let told = format!("{}: {:?} of {:?} after {:?}", self.container.id(), deed, self.model, self.story);
        match refusal {
            None => assert_eq!(output.code(), 0, "{told}: {output}"),
            Some(phrase) => {
                assert!(
                    output.code() == 1 && output.stderr.contains(phrase),
                    "{told}: wanted {phrase:?}: {output}"
                );
            }
        }
        if refusal.is_none() && matches!(deed, Create | Update) {
            self.depth = depth;
        }
        self.model = after;
        self.look(&told);
    }

    fn call(&self, deed: Deed, depth: u64, pids: bool) -> Output {
        let container = &self.container;
        let verb = |words: &[&str]| container.call(words[0]).args(&words[1..]).output();
        let id = container.id();
        match deed {
            Create => {
                let created = container.create();
                if created.code() == 0 {
                    container.update_to(&limits(depth, pids)).expect_ok();
                }
                created
            }
            Start => container.start(),
            Pause => container.pause(),
            Resume => container.resume(),
            Update => container.update_to(&limits(depth, pids)),
            Kill => container.kill("KILL"),
            KillAll => verb(&["kill", "--all", id, "KILL"]),
            Delete => container.delete(),
            DeleteForce => container.delete_force(),
            Ps => verb(&["ps", "--format", "json", id]),
            Stats => verb(&["events", "--stats", id]),
        }
    }

    /// What it must be afterwards, and the phrase where it must be refused.
    fn expected(&self, deed: Deed) -> (Model, Option<&'static str>) {
        let model = self.model;
        let alive = model.is_alive();
        let refused = |phrase| (model, Some(phrase));
        match (deed, model) {
            (Create, _) => (Model::Created, None),
            (Start, Model::Created) => (Model::Running, None),
            (Start, Model::Running) => refused("cannot start an already running container"),
            (Start, Model::Stopped) => refused("cannot start a container that has stopped"),
            (Start, _) => refused("cannot start a container in the paused state"),
            (Pause, Model::Created) => (Model::Paused { started: false }, None),
            (Pause, Model::Running) => (Model::Paused { started: true }, None),
            (Resume, Model::Paused { started: false }) => (Model::Created, None),
            (Resume, Model::Paused { started: true }) => (Model::Running, None),
            (Resume, _) => refused("container not paused"),
            (Kill | KillAll, _) if alive => (Model::Stopped, None),
            (KillAll, _) => (model, None),
            (Delete, Model::Stopped | Model::Created) | (DeleteForce, _) => (Model::Gone, None),
            (Delete, _) => refused("that is not stopped"),
            (Stats, Model::Stopped) => refused("is not running"),
            (Update, _) if alive => (model, None),
            (Pause | Update | Kill, _) => refused("container not running"),
            (Ps | Stats, _) => (model, None),
        }
    }

    fn look(&mut self, told: &str) {
        let Some(status) = self.model.status() else {
            assert_eq!(self.container.state_output().code(), 1, "{told}");
            let folder = self.folder.take().expect("a container that was there had a cgroup");
            assert!(!folder.exists(), "{told}: {} is left", folder.display());
            return;
        };
        if self.model == Model::Stopped {
            // SIGKILL has been sent; the kernel takes its time.
            self.container.wait_status(status);
            assert_eq!(self.container.state()["pid"], 0, "{told}");
            return;
        }
        assert_eq!(self.container.status(), status, "{told}");
        let folder = self.container.init().cgroup_folder();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(read("cgroup.max.depth").trim(), self.depth.to_string(), "{told}");
        let frozen = read("cgroup.events").contains("frozen 1");
        assert_eq!(frozen, status == "paused", "{told}");
        self.folder = Some(folder);
    }
}

/// Limits that every host has, and one of a controller where there is one.
fn limits(depth: u64, pids: bool) -> integration::Value {
    let mut limits = json!({"unified": {"cgroup.max.depth": depth.to_string()}});
    if pids {
        limits["pids"] = json!({"limit": depth});
    }
    limits
}

/// What the host has of these containers.
fn remains(first: &Container, ids: &[String]) -> Vec<String> {
    let scratch = first.bundle().scratch().display().to_string();
    let of_them = |line: &String| {
        let kept = line.starts_with("cgroup ") || line.starts_with("mount ");
        // Not a longer number: of a container that the other test has.
        let ends = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_digit());
        let named = ids.iter().any(|id| line.split(id.as_str()).skip(1).any(ends));
        // The scratch folder itself, with what the containers printed, is there until the test ends.
        !line.starts_with("file ") && (named || (!kept && line.contains(&scratch)))
    };
    leaks::snapshot().into_iter().filter(of_them).collect()
}

#[test]
fn two_hundred_containers_in_random_order_are_what_they_should_be_and_leave_nothing() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, "1.1.5 calls a container paused that was killed while it was");
    known_gap!(Crun, "1.8.1 has no events, and other words");
    let (seed, pids, count) = (seed(), has_controller("pids"), containers());
    let _controllers = Controllers::keep();
    let first = Bundle::new()
        .sleeping()
        .set("/linux/resources/unified", json!({"cgroup.max.descendants": "3"}))
        .container();
    let subjects: Vec<Mutex<Subject>> = (0..count)
        .map(|number| {
            let (container, random) = (first.sibling(), Random::new(seed, number));
            let (model, depth, folder) = (Model::Absent, 0, None);
            Mutex::new(Subject { container, random, model, depth, folder, steps: 0, story: Vec::new() })
        })
        .collect();
    let ids: Vec<String> =
        subjects.iter().map(|subject| subject.lock().unwrap().container.id().to_owned()).collect();
    let gone = AtomicUsize::new(0);
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (subjects, gone) = (&subjects, &gone);
            scope.spawn(move || {
                let mut random = Random::new(seed, count + caller);
                while gone.load(Ordering::Relaxed) < subjects.len() {
                    let at = usize::try_from(random.below(count)).unwrap();
                    // One that another caller is busy with, or has failed with, is passed over.
                    let Ok(mut subject) = subjects[at].try_lock() else {
                        assert!(!subjects.iter().any(Mutex::is_poisoned), "another caller has failed");
                        continue;
                    };
                    if subject.model != Model::Gone {
                        subject.step(pids);
                        gone.fetch_add(usize::from(subject.model == Model::Gone), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(fs::read_dir(first.state_root()).unwrap().next().is_none(), "folders of containers are left");
    wait_for("an end of all that was made", || remains(&first, &ids).is_empty().then_some(()));
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    for deed in subjects.iter().flat_map(|subject| subject.lock().unwrap().story.clone()) {
        *done.entry(format!("{deed:?}")).or_default() += 1;
    }
    // They are enough for every deed to be done many times; a test that did not would show nothing.
    let least = usize::try_from(count / 10).unwrap();
    assert!(done.len() == 11 && done.values().all(|times| *times >= least), "{done:?}");
}

/// What a verb may be refused with while others work on the same container.
const REFUSALS: [&str; 7] = [
    "container not running",
    "container not paused",
    "cannot start a",
    "that is not stopped",
    "does not exist",
    "is not running",
    "init was killed by signal 9 before it ran the program",
];

#[test]
fn eight_callers_at_one_container_are_each_told_something_true() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "no lock keeps two of their processes apart");
    let seed = seed();
    let first = Bundle::new().sleeping().container();
    let mut ids = Vec::new();
    for round in 0..12 {
        let container = first.sibling();
        ids.push(container.id().to_owned());
        container.create().expect_ok();
        let folder = container.init().cgroup_folder();
        thread::scope(|scope| {
            for caller in 0..CALLERS {
                let container = &container;
                scope.spawn(move || {
                    let mut random = Random::new(seed, round * CALLERS + caller);
                    for _ in 0..6 {
                        let depth = 2 + random.below(1000);
                        let output = match random.below(13) {
                            0 | 1 => container.start(),
                            2..=4 => container.pause(),
                            5..=7 => container.resume(),
                            8 | 9 => container.update_to(&limits(depth, false)),
                            10 => container.call("ps").args(["-f", "json", container.id()]).output(),
                            11 => container.call("events").args(["--stats", container.id()]).output(),
                            _ => container.kill("0"),
                        };
                        assert!(output.code() == 0 || refused(&output), "{output}");
                    }
                    if caller == 0 {
                        container.kill("KILL");
                    }
                    let last = if caller % 2 == 0 { container.delete() } else { container.delete_force() };
                    assert!(last.code() == 0 || refused(&last), "{last}");
                });
            }
        });
        container.state_output().expect_code(1).expect_stderr("does not exist");
        assert!(!folder.exists());
    }
    assert!(fs::read_dir(first.state_root()).unwrap().next().is_none());
    wait_for("an end of all that was made", || remains(&first, &ids).is_empty().then_some(()));
}

fn refused(output: &Output) -> bool {
    output.code() == 1 && REFUSALS.iter().any(|phrase| output.stderr.contains(phrase))
}

#[test]
fn who_looks_at_a_container_that_comes_and_goes_is_told_the_true_cause() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "no lock keeps two of their processes apart");
    let container = Bundle::new().sleeping().container();
    let over = AtomicUsize::new(0);
    thread::scope(|scope| {
        let looks: [fn(&Container) -> Output; 4] = [
            Container::state_output,
            |container| container.call("ps").args(["-f", "json", container.id()]).output(),
            |container| container.call("events").args(["--stats", container.id()]).output(),
            |container| container.update_to(&limits(7, false)),
        ];
        for look in looks {
            let (container, over) = (&container, &over);
            scope.spawn(move || {
                let mut refusals: BTreeSet<&str> = BTreeSet::new();
                while over.load(Ordering::Relaxed) == 0 {
                    let output = look(container);
                    let phrases = ["does not exist", "is not running", "container not running"];
                    let known = phrases.iter().find(|phrase| output.stderr.contains(**phrase));
                    assert!(output.code() == 0 || (output.code() == 1 && known.is_some()), "{output}");
                    refusals.extend(known);
                }
                assert!(refusals.contains("does not exist"), "{} was never away", container.id());
            });
        }
        let end = Over(&over); // also where this thread fails
        for _ in 0..150 {
            container.run_detached().expect_ok();
            container.delete_force().expect_ok();
        }
        drop(end);
    });
}

/// Tells the others that it is over when it goes.
struct Over<'a>(&'a AtomicUsize);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(1, Ordering::Relaxed);
    }
}
