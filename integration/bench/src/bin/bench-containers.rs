//! Measures the shim's containers beside docker's and podman's, in one run and interleaved: `run --rm`, `start`, `exec`,
//! `ps` with many containers, the memory of what looks after a container, and how fast output becomes a log.
//! `docs/benchmarks.md` explains the figures.
//!
//! All three are in one world and keep everything in memory. But where it is said no container has a
//! network: what passes through networks is measured elsewhere.
#![forbid(unsafe_code)]
// It is made of the tests' harness, whose way of reporting is a panic with the whole story.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use integration::engine::World;
use integration::{Process, Running};

#[path = "../peers.rs"]
#[allow(dead_code, reason = "the other benchmarks' too")]
mod peers;
#[path = "../statistics.rs"]
#[allow(dead_code, reason = "the other benchmark's too")]
mod statistics;
use statistics::Sample;

const USAGE: &str = "usage: bench-containers SHIM ROUNDS CONTAINERS [DOCUMENT]
CONTAINERS is how many `ps` lists; DOCUMENT takes the tables between its lines <!-- containers --> and <!-- /containers -->
";
/// The argument by which this program times another in the world, where no harness stands between.
const TIME: &str = "--time";
/// Where the time is written.
const TIMED: &str = "/run/world/time";
/// Where everybody keeps images and containers.
const ROOT: &str = "/dev/shm/kept";
/// Containers that run while memory is measured.
const WATCHED: u32 = 20;
/// What a container prints for the log, in bytes, and a line of it.
const LOGGED: usize = 32 << 20;
const LINE: &str =
    "2026-11-21T23:45:00Z info request served path=/index.html status=200 bytes=5120 took=1.25ms";
/// How often that is done.
const LOGS: usize = 3;

/// One that has containers.
struct Contestant {
    name: &'static str,
    /// Its command with global flags.
    program: Vec<String>,
    /// Flags that have its log be a file that keeps everything.
    log: &'static [&'static str],
    /// Who looks after a container, by a word of its command line.
    keeper: &'static str,
    run: Sample,
    /// In the network that is everybody's default, and with a published port.
    networked: Sample,
    published: Sample,
    start: Sample,
    exec: Sample,
    list: Sample,
    throughput: Sample,
    /// Private and proportional memory of who looks after a container, in KiB.
    memory: [f64; 2],
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == TIME) {
        return time(&arguments[1..]);
    }
    let [shim, rounds, containers, ..] = &arguments[..] else {
        print!("{USAGE}");
        return ExitCode::from(2);
    };
    let rounds: usize = rounds.parse().expect("ROUNDS is a number");
    let containers: usize = containers.parse().expect("CONTAINERS is a number");
    let world = World::new();
    let _daemons = prepare(&world);
    let mut contestants = contestants(shim);
    for contestant in &mut contestants {
        peers::import(&world, contestant.name, &contestant.program);
        contestant.choose_runtime(&world);
        contestant.call(&world, &["create", "--name", "stopped", "--network", "none", "box", "true"]);
        contestant
            .call(&world, &["run", "-d", "--name", "running", "--network", "none", "box", "sleep", "86400"]);
    }
    measure_times(&world, &mut contestants, rounds);
    measure_logs(&world, &mut contestants);
    measure_memory(&world, &mut contestants);
    measure_lists(&world, &mut contestants, rounds, containers);
    for contestant in &contestants {
        contestant.call(&world, &["rm", "-f", "running"]);
    }
    let text = report(rounds, containers, &contestants);
    print!("{text}");
    if let Some(document) = arguments.get(3) {
        peers::write_into(Path::new(document), "containers", &text);
    }
    ExitCode::SUCCESS
}

/// Runs a program, writes how long that took in nanoseconds, and ends as it did.
fn time(words: &[String]) -> ExitCode {
    let [file, program, arguments @ ..] = words else { return ExitCode::from(2) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    let begin = Instant::now();
    let status = command.status().expect("start it");
    let took = begin.elapsed();
    fs::write(file, took.as_nanos().to_string()).expect("write the time");
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(124))
}

fn contestants(shim: &str) -> Vec<Contestant> {
    let contestant = |name, program: &str, log, keeper| Contestant {
        name,
        program: program.split(' ').map(str::to_owned).collect(),
        log,
        keeper,
        run: Sample::default(),
        networked: Sample::default(),
        published: Sample::default(),
        start: Sample::default(),
        exec: Sample::default(),
        list: Sample::default(),
        throughput: Sample::default(),
        memory: [f64::NAN; 2],
    };
    let json_file = &["--log-driver", "json-file", "--log-opt", "max-size=1g"];
    let shim = format!("{shim} --root {ROOT}/shim --state {ROOT}/state");
    let podman = format!("podman --root {ROOT}/podman --runroot {ROOT}/podman-run");
    vec![
        contestant("shim", &shim, json_file, "monitor"),
        contestant("docker", "docker", json_file, "containerd-shim-runc-v2"),
        contestant("podman", &podman, &["--log-driver", "k8s-file"], "conmon"),
    ]
}

fn prepare(world: &World) -> Vec<Running> {
    world.sh(&format!("mkdir -p {ROOT}")).output().expect_ok();
    world.write("/etc/docker/daemon.json", "{\"iptables\": false, \"bridge\": \"none\"}\n");
    peers::configure_podman(world);
    peers::daemons(world, ROOT)
}

impl Contestant {
    /// A command that has to succeed; what it prints.
    fn call(&self, world: &World, words: &[&str]) -> String {
        world.call(&self.program).args(words).output().expect_ok().stdout
    }

    /// Seconds that a command takes, from its start to its end.
    fn time(&self, world: &World, words: &[&str]) -> f64 {
        let own = std::env::current_exe().unwrap();
        let call = world.call(&[own]).args([TIME, TIMED]).args(&self.program).args(words);
        call.output().expect_ok();
        let took = fs::read_to_string(world.folder().join("time")).unwrap();
        took.parse::<f64>().unwrap() / 1e9
    }

    /// Leaves it the runtime that it has by default, unless that cannot run anything here: crun raises a limit, for which
    /// not everybody has the right.
    fn choose_runtime(&mut self, world: &World) {
        let run = ["run", "--rm", "--network", "none", "box", "true"];
        if self.name == "podman" && world.call(&self.program).args(run).output().code() != 0 {
            self.program.extend(["--runtime".to_owned(), "runc".to_owned()]);
        }
    }

    /// Those who look after its containers.
    fn keepers(&self, world: &World) -> Vec<Process> {
        let is_one = |process: &Process| {
            let line = fs::read_to_string(process.path("cmdline")).unwrap_or_default();
            line.split('\0').any(|word| word.rsplit('/').next() == Some(self.keeper))
        };
        world.processes().into_iter().filter(is_one).collect()
    }
}

/// `run --rm`, `start` and `exec`, by turns.
fn measure_times(world: &World, contestants: &mut [Contestant], rounds: usize) {
    for round in 0..=rounds {
        // Each begins once as often as the others.
        contestants.rotate_left(1);
        for contestant in &mut *contestants {
            let run = contestant.time(world, &["run", "--rm", "--network", "none", "box", "true"]);
            let networked = contestant.time(world, &["run", "--rm", "box", "true"]);
            let published = contestant.time(world, &["run", "--rm", "-p", "7080:80", "box", "true"]);
            let start = contestant.time(world, &["start", "stopped"]);
            contestant.call(world, &["wait", "stopped"]);
            let exec = contestant.time(world, &["exec", "running", "true"]);
            if round > 0 {
                contestant.run.add(run);
                contestant.networked.add(networked);
                contestant.published.add(published);
                contestant.start.add(start);
                contestant.exec.add(exec);
            }
        }
    }
}

/// Megabytes per second through a container that prints as fast as it can, until all of it is in the log.
fn measure_logs(world: &World, contestants: &mut [Contestant]) {
    let lines = LOGGED / (LINE.len() + 1);
    let script = format!("yes '{LINE}' | head -n {lines}");
    for _ in 0..LOGS {
        contestants.rotate_left(1);
        for contestant in &mut *contestants {
            let name = ["run", "-d", "--name", "talker", "--network", "none"];
            let create = [&name[..], contestant.log, &["box", "sh", "-c", &script]].concat();
            let begin = Instant::now();
            contestant.call(world, &create);
            contestant.call(world, &["wait", "talker"]);
            let took = begin.elapsed().as_secs_f64();
            let count = format!("{} logs talker | sort | uniq -c", contestant.program.join(" "));
            let told = world.sh(&count).output().expect_ok().stdout;
            assert_eq!(told.trim(), format!("{lines} {LINE}"), "{}: something was lost", contestant.name);
            contestant.call(world, &["rm", "-f", "talker"]);
            let bytes = f64::from(u32::try_from(lines * (LINE.len() + 1)).unwrap());
            contestant.throughput.add(bytes / 1e6 / took);
        }
    }
}

/// Memory of those who look after some containers that do nothing, for each container.
fn measure_memory(world: &World, contestants: &mut [Contestant]) {
    for contestant in contestants {
        let before: Vec<u32> = contestant.keepers(world).iter().map(Process::pid).collect();
        let names: Vec<String> = (0..WATCHED).map(|number| format!("watched-{number}")).collect();
        for name in &names {
            contestant
                .call(world, &["run", "-d", "--name", name, "--network", "none", "box", "sleep", "86400"]);
        }
        let mut memory = [0.0; 2];
        let keepers = contestant.keepers(world);
        let new: Vec<&Process> = keepers.iter().filter(|process| !before.contains(&process.pid())).collect();
        assert!(new.len() >= names.len(), "{}: {} look after {WATCHED}", contestant.name, new.len());
        for process in new {
            let rollup = process.read("smaps_rollup");
            let field = |name: &str| {
                let line =
                    rollup.lines().find_map(|line| line.strip_prefix(name)).expect("a field of smaps_rollup");
                line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number of kB")
            };
            memory[0] += field("Private_Clean:") + field("Private_Dirty:");
            memory[1] += field("Pss:");
        }
        contestant.memory = memory.map(|sum| sum / f64::from(WATCHED));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        contestant.call(world, &[&["rm", "-f"], &names[..]].concat());
    }
}

/// `ps` with many containers that do not run, and one that does.
fn measure_lists(world: &World, contestants: &mut [Contestant], rounds: usize, containers: usize) {
    for contestant in &*contestants {
        // The stopped one and the one that runs are there.
        for _ in 2..containers {
            contestant.call(world, &["create", "--network", "none", "box", "true"]);
        }
        let listed = contestant.call(world, &["ps", "-a", "-q"]).lines().count();
        assert_eq!(listed, containers, "{}", contestant.name);
    }
    for round in 0..=rounds {
        contestants.rotate_left(1);
        for contestant in &mut *contestants {
            let took = contestant.time(world, &["ps", "-a"]);
            if round > 0 {
                contestant.list.add(took);
            }
        }
    }
}

fn report(rounds: usize, containers: usize, contestants: &[Contestant]) -> String {
    let mut text = String::new();
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    let _ = writeln!(text, "{rounds} rounds; load at the end {}.\n", load.split(' ').next().unwrap());
    let named = |name: &str| contestants.iter().find(|contestant| contestant.name == name).unwrap();
    let all = [named("shim"), named("docker"), named("podman")];
    let _ = writeln!(text, "| | shim | docker | podman | shim / docker | shim / podman |");
    let _ = writeln!(text, "|---|--:|--:|--:|--:|--:|");
    let mut row = |what: &str, decimals: usize, of: &dyn Fn(&Contestant) -> f64| {
        let [shim, docker, podman] = all.map(of);
        let _ = writeln!(
            text,
            "| {what} | {shim:.decimals$} | {docker:.decimals$} | {podman:.decimals$} | {:.2} | {:.2} |",
            shim / docker,
            shim / podman
        );
    };
    let ms = |sample: &Sample| sample.median() * 1000.0;
    row("`run --rm --network none box true` (ms)", 1, &|contestant| ms(&contestant.run));
    row("`run --rm box true` (ms)", 1, &|contestant| ms(&contestant.networked));
    row("`run --rm -p 7080:80 box true` (ms)", 1, &|contestant| ms(&contestant.published));
    row("`start` of a stopped container (ms)", 1, &|contestant| ms(&contestant.start));
    row("`exec` of `true` (ms)", 1, &|contestant| ms(&contestant.exec));
    row(&format!("`ps -a` with {containers} containers (ms)"), 1, &|contestant| ms(&contestant.list));
    row("output to the log (MB/s)", 0, &|contestant| contestant.throughput.median());
    row("private memory beside a container (MiB)", 2, &|contestant| contestant.memory[0] / 1024.0);
    row("the same with its part of what is shared (MiB)", 2, &|contestant| contestant.memory[1] / 1024.0);
    let podman = named("podman").program.iter().position(|word| word == "--runtime");
    if let Some(runtime) = podman.and_then(|at| named("podman").program.get(at + 1)) {
        let _ =
            writeln!(text, "\npodman's own default runtime cannot run containers here; it had {runtime}.");
    }
    let noise = all.map(|contestant| format!("{} {:.2}", contestant.name, contestant.run.noise()));
    let _ = writeln!(text, "\nNoise (90th over 10th percentile, `run`): {}.", noise.join(", "));
    text
}
