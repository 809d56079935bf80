//! Many containers at once; and whoever works on a container killed at any moment: afterwards what `ps` says, mounts,
//! cgroups, processes and folders agree, and `rm --force` of everything leaves nothing.
//!
//! `CAISSON_TEST_SEED` repeats the choices of a run that failed, though not the machine's pace; `CAISSON_KILL_ROUNDS` asks
//! for more rounds.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use integration::random::{Random, seed};
use integration::{Output, PATIENCE, Process, Shim, Value, is_root, requires};

const ROOT: &str = "containers need root";
const CALLERS: usize = 8;
const CONTAINERS: usize = 200;

/// How many are killed, unless `CAISSON_KILL_ROUNDS` says otherwise.
const ROUNDS: u64 = 30;

#[test]
fn two_hundred_containers_of_eight_callers_leave_nothing() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= CONTAINERS {
                        return;
                    }
                    let name = format!("box{number}");
                    let (words, said) = (["echo", name.as_str()], format!("{name}\n"));
                    let run = |flags: &[&str]| {
                        let words = [flags, &["--name", &name, "busybox"], &words].concat();
                        shim.run(&words).expect_ok().expect_no_stderr()
                    };
                    match number % 3 {
                        0 => drop(run(&["--rm"]).expect_stdout(&said)),
                        1 => {
                            run(&[]).expect_stdout(&said);
                            shim.cli(&["rm", &name]).expect_ok().expect_stdout(&said);
                        }
                        _ => {
                            run(&["--detach"]);
                            shim.cli(&["rm", "--force", &name]).expect_ok().expect_stdout(&said);
                        }
                    }
                }
            });
        }
    });
    assert_eq!(shim.ids_ever().len(), CONTAINERS);
    let mut left = Vec::new();
    // A monitor ends after it has told the end.
    wait_until(|| {
        left = shim.remains();
        left.is_empty()
    });
    assert!(left.is_empty(), "{left:#?}");
}

const CREATE: &[&str] = &["create", "--name", "box", "busybox", "sleep", "600"];
/// What is done to one container by all at once.
const AT_ONCE: [&[&str]; 20] = [
    &["start", "box"],
    &["start", "box"],
    &["start", "box"],
    &["stop", "--time", "1", "box"],
    &["restart", "--time", "0", "box"],
    &["kill", "box"],
    &["kill", "--signal", "TERM", "box"],
    &["pause", "box"],
    &["unpause", "box"],
    &["unpause", "box"],
    &["exec", "box", "true"],
    &["rm", "box"],
    &["rm", "--force", "box"],
    &["rename", "box", "other"],
    &["rename", "other", "box"],
    CREATE,
    CREATE,
    &["run", "--detach", "--name", "box", "busybox", "sleep", "600"],
    &["run", "--detach", "--name", "box", "--restart", "always", "busybox", "sleep", "0.2"],
    &["run", "--detach", "--name", "box", "--rm", "busybox", "sleep", "0.2"],
];

/// What may be said of a container at which others are at work.
const ANSWERS: [&str; 17] = [
    "No such container: ",
    "is already in use by container",
    "is not running",
    "is not paused",
    "is already paused",
    "is paused",
    "a paused container",
    "is running: stop the container",
    "is restarting",
    "marked for removal",
    // The runtime's, when it ends between a look and the deed.
    "cannot exec in a stopped container",
    "cannot exec in a container in the creating state",
    "container not running",
    "container not paused",
    "container does not exist",
    "same name as its current name",
    "failed to start containers: box",
];

#[test]
fn whatever_eight_callers_do_to_one_container_at_once_nothing_is_wrong_and_nothing_left() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let seed = seed();
    let mut done = BTreeMap::new();
    for round in 0..3 {
        let said = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for caller in 0..CALLERS as u64 {
                let (shim, said) = (&shim, &said);
                scope.spawn(move || {
                    let mut random = Random::new(seed, round * CALLERS as u64 + caller);
                    for _ in 0..12 {
                        let words = random.of(&AT_ONCE);
                        let output = shim.cli(words);
                        said.lock().unwrap().push((words, output));
                    }
                });
            }
        });
        for (words, output) in said.into_inner().unwrap() {
            let is_answer = |line: &str| ANSWERS.iter().any(|answer| line.contains(answer));
            assert!(output.stderr.lines().all(is_answer), "{output}");
            assert!(output.status.code().is_some(), "{output}");
            *done.entry((words[0], output.code() == 0)).or_insert(0) += 1;
        }
        let mut differs = Vec::new();
        wait_until(|| {
            differs = disagreements(&shim);
            differs.is_empty()
        });
        assert!(differs.is_empty(), "round {round}: {differs:#?}");
        remove_everything(&shim, &format!("round {round}"));
    }
    println!("{done:?}");
    for verb in ["start", "stop", "rm", "run"] {
        assert!(done.contains_key(&(verb, true)), "{verb} never worked: {done:?}");
    }
}

/// What is done when somebody is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Run,
    RunRemoved,
    Detach,
    RestartPolicy,
    Create,
    Start,
    Stop,
    Restart,
    Exec,
    Pause,
    Remove,
    RemoveByForce,
}

const DEEDS: [Deed; 12] = [
    Deed::Run,
    Deed::RunRemoved,
    Deed::Detach,
    Deed::RestartPolicy,
    Deed::Create,
    Deed::Start,
    Deed::Stop,
    Deed::Restart,
    Deed::Exec,
    Deed::Pause,
    Deed::Remove,
    Deed::RemoveByForce,
];

impl Deed {
    /// What there has to be before, and the command.
    fn words(self) -> (&'static [&'static str], &'static [&'static str]) {
        const CREATED: &[&str] = &["create", "--name", "box", "busybox", "sleep", "600"];
        const RUNNING: &[&str] =
            &["run", "--detach", "--name", "box", "--stop-signal", "KILL", "busybox", "sleep", "600"];
        match self {
            Deed::Run => (&[], &["run", "--name", "box", "busybox", "true"]),
            Deed::RunRemoved => (&[], &["run", "--rm", "--name", "box", "busybox", "true"]),
            Deed::Detach => (&[], RUNNING),
            Deed::RestartPolicy => (
                &[],
                &["run", "--detach", "--restart", "always", "--name", "box", "busybox", "sleep", "0.05"],
            ),
            Deed::Create => (&[], CREATED),
            Deed::Start => (CREATED, &["start", "box"]),
            Deed::Stop => (RUNNING, &["stop", "box"]),
            Deed::Restart => (RUNNING, &["restart", "box"]),
            Deed::Exec => (RUNNING, &["exec", "box", "true"]),
            Deed::Pause => (RUNNING, &["pause", "box"]),
            Deed::Remove => (CREATED, &["rm", "box"]),
            Deed::RemoveByForce => (RUNNING, &["rm", "--force", "box"]),
        }
    }
}

impl Deed {
    /// Who takes part.
    fn victims(self) -> &'static [Victim] {
        match self {
            Deed::Create | Deed::Remove => &VICTIMS[..1],
            _ => &VICTIMS,
        }
    }
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Command,
    Keeper,
    Worker,
    Monitor,
    Runtime,
}

const VICTIMS: [Victim; 5] =
    [Victim::Command, Victim::Keeper, Victim::Worker, Victim::Monitor, Victim::Runtime];

impl Victim {
    /// Those that there are now.
    fn find(self, shim: &Shim, command: u32) -> Vec<Process> {
        if self == Victim::Command {
            return vec![Process::new(command)];
        }
        let is_it = |process: &Process| {
            // It may be gone by now.
            let Ok(line) = fs::read(process.path("cmdline")) else { return false };
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            let is_monitor = words.contains(&&b"monitor"[..]);
            let parent = parent_of(process);
            let is_worker = || parent.is_some_and(|parent| is_monitor && cmdline(&parent) == line);
            match self {
                Victim::Keeper => is_monitor && !is_worker(),
                Victim::Worker => is_worker(),
                Victim::Monitor => is_monitor,
                Victim::Runtime => words[0].ends_with(b"runtime"),
                Victim::Command => unreachable!("found above"),
            }
        };
        shim.processes().into_iter().filter(is_it).collect()
    }
}

fn cmdline(process: &Process) -> Vec<u8> {
    fs::read(process.path("cmdline")).unwrap_or_default()
}

fn parent_of(process: &Process) -> Option<Process> {
    let status = fs::read_to_string(process.path("status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Some(Process::new(parent.trim().parse().ok()?))
}

/// A command to its end, of which somebody may be killed.
fn done(shim: &Shim, words: &[&str], mut at_moment: impl FnMut(u32, bool) -> bool) -> Output {
    let mut running = shim.call(words).spawn();
    let pid = running.pid();
    loop {
        let is_running = running.is_running();
        if !at_moment(pid, is_running) {
            break;
        }
        thread::sleep(Duration::from_micros(300));
    }
    running.wait()
}

#[test]
fn whoever_is_killed_at_whatever_moment_nothing_is_wrong_and_nothing_left() {
    requires!(is_root(), "{ROOT}");
    let rounds = std::env::var("CAISSON_KILL_ROUNDS").ok().map_or(ROUNDS, |text| text.parse().unwrap());
    let shim = Shim::with_busybox();
    let seed = seed();
    // How long each takes here, when nobody is killed.
    let mut lengths = BTreeMap::new();
    for deed in DEEDS {
        let (before, words) = deed.words();
        if !before.is_empty() {
            shim.cli(before).expect_ok();
        }
        let began = Instant::now();
        shim.cli(words).expect_ok();
        lengths.insert(deed, began.elapsed());
        remove_everything(&shim, &format!("{deed:?}"));
    }
    let mut killed = BTreeMap::new();
    for round in 0..rounds {
        let mut random = Random::new(seed, round);
        let deed = random.of(&DEEDS);
        let victim = random.of(deed.victims());
        let length = lengths[&deed];
        let moment = length.mul_f64(random.below(1000) as f64 / 1000.0);
        let story = format!(
            "CAISSON_TEST_SEED={seed}, round {round}: {victim:?} killed at {deed:?} after {moment:?} of {length:?}"
        );
        let (before, words) = deed.words();
        if !before.is_empty() {
            shim.cli(before).expect_ok();
        }
        let began = Instant::now();
        let mut is_hit = false;
        let output = done(&shim, words, |command, is_running| {
            if began.elapsed() < moment {
                return is_running || moment - began.elapsed() < length;
            }
            let victims = victim.find(&shim, command);
            for process in &victims {
                is_hit |= process.kill();
            }
            !is_hit && is_running
        });
        *killed.entry(victim).or_insert(0) += u64::from(is_hit);
        assert!(!output.stderr.contains("panicked"), "{story}: {output}");
        let mut differs = Vec::new();
        wait_until(|| {
            differs = disagreements(&shim);
            differs.is_empty()
        });
        assert!(differs.is_empty(), "{story}: {differs:#?}\n{output}");
        remove_everything(&shim, &story);
    }
    println!("{rounds} rounds, killed: {killed:?}");
    assert!(killed.values().sum::<u64>() * 2 > rounds, "too few were there to be killed: {killed:?}");
}

/// Waits until this is so, or for some seconds in vain.
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() && Instant::now() < end {
        thread::sleep(Duration::from_millis(10));
    }
}

/// Where `ps` is not what mounts, cgroups, processes and folders say.
fn disagreements(shim: &Shim) -> Vec<String> {
    let mut found = Vec::new();
    let told = shim
        .cli(&["ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.State}} {{.Names}}"])
        .expect_ok()
        .expect_no_stderr();
    let told: Vec<Vec<&str>> = told.stdout.lines().map(|line| line.split(' ').collect()).collect();
    let ids: Vec<String> = told.iter().map(|words| words[0].to_owned()).collect();
    for id in shim.container_ids() {
        if !ids.contains(&id) {
            found.push(format!("a folder of container {id}"));
        }
    }
    let remains = shim.remains();
    for words in &told {
        let [id, status, name] = words[..] else { panic!("{words:?}") };
        let found_by_name = shim.cli(&["inspect", "--type", "container", name]);
        if found_by_name.code() != 0 {
            found.push(format!("{id} is not found as {name}: {found_by_name}"));
            continue;
        }
        let value: Value = found_by_name.json();
        let state = &value[0]["State"];
        let pid = u32::try_from(state["Pid"].as_u64().unwrap()).unwrap();
        let runs = matches!(status, "running" | "paused");
        if state["Status"] != status && status != "restarting" && state["Status"] != "restarting" {
            found.push(format!("{id} is {status}, and {state}"));
        }
        let process = Process::new(pid);
        if runs != (pid != 0 && process.is_alive()) && status != "restarting" {
            found.push(format!("{id} is {status} with process {pid}"));
        }
        let has = |start: &str| remains.iter().any(|line| line.starts_with(start) && line.contains(id));
        let parts =
            [has("mount"), has("process"), has("cgroup"), has(&format!("folder {}", shim.state().display()))];
        let is_open = runs || status == "restarting";
        if !is_open && parts.contains(&true) || runs && parts.contains(&false) {
            let of_it = remains.iter().filter(|line| line.contains(id));
            found.push(format!("{id} is {status}: {:#?}", of_it.collect::<Vec<_>>()));
        }
    }
    for line in remains {
        let is_names = line.starts_with(&format!("folder {}", shim.root().join("names").display()));
        // A container in the making, which the next command takes away.
        let is_draft = ["ingest", "leases"].iter().any(|name| line.contains(&format!("/root/{name}/")));
        let is_known = is_draft
            || ids.iter().any(|id| line.contains(id))
            || is_names && told.iter().any(|words| line.ends_with(&format!("/{}", words[2])));
        if !is_known {
            found.push(line);
        }
    }
    found
}

/// `rm --force` of everything, which leaves nothing.
#[track_caller]
fn remove_everything(shim: &Shim, story: &str) {
    // What commands have left that were killed, the next one takes away that makes or removes a container.
    shim.cli(&["create", "busybox"]).expect_ok();
    let output = shim.call(&["rm", "--force"]).args(shim.container_ids()).output();
    assert_eq!(output.code(), 0, "{story}: {output}");
    let mut left = Vec::new();
    wait_until(|| {
        left = shim.remains();
        left.is_empty()
    });
    assert!(left.is_empty(), "{story}: {left:#?}");
}
