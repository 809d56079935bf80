//! Measures what passes through containers' networks beside docker's and podman's, in one run and interleaved: from another
//! host to a published port, from the own host by its loopback, and from container to container. `docs/benchmarks.md`
//! explains the figures.
//!
//! All three are in one world, so each packet passes by everybody's rules. The other host is a network namespace behind a
//! veth pair; client and server are iperf3 of the host, run in the containers' network namespaces.
#![forbid(unsafe_code)]
// It is made of the tests' harness, whose way of reporting is a panic with the whole story.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use integration::engine::World;
use integration::{Running, Value};

#[path = "../peers.rs"]
#[allow(dead_code, reason = "the other benchmarks' too")]
mod peers;
#[path = "../statistics.rs"]
#[allow(dead_code, reason = "the other benchmark's too")]
mod statistics;
use statistics::Sample;

const USAGE: &str = "usage: bench-network SHIM ROUNDS [DOCUMENT]
DOCUMENT takes the table between its lines <!-- network --> and <!-- /network -->
";
/// Where everybody keeps images and containers.
const ROOT: &str = "/dev/shm/kept";
/// The world's address on the link, and the other host's.
const HOST: &str = "192.0.2.1";
const OUTSIDE: &str = "192.0.2.2";
/// iperf3's own port, which is the one in the containers.
const PORT: u16 = 5201;
/// Seconds of one measurement.
const SECONDS: u32 = 2;
/// From where to where.
const WAYS: [&str; 3] =
    ["another host → published port", "loopback → published port", "container → container"];

/// One that has two containers.
struct Contestant {
    name: &'static str,
    /// Its command with global flags.
    program: Vec<String>,
    /// The port of the host.
    port: u16,
    /// Of each way, in Gbit/s.
    figures: [Sample; 3],
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [shim, rounds, ..] = &arguments[..] else {
        print!("{USAGE}");
        return ExitCode::from(2);
    };
    let rounds: usize = rounds.parse().expect("ROUNDS is a number");
    let world = World::new();
    let _daemons = prepare(&world);
    let mut contestants = contestants(shim);
    for contestant in &contestants {
        peers::import(&world, contestant.name, &contestant.program);
        let port = format!("{}:{PORT}", contestant.port);
        contestant.call(&world, &["run", "-d", "--name", "server", "-p", &port, "box", "sleep", "86400"]);
        contestant.call(&world, &["run", "-d", "--name", "client", "box", "sleep", "86400"]);
    }
    let mut ratios: [[Sample; 2]; WAYS.len()] = Default::default();
    for round in 0..=rounds {
        // Each begins once as often as the others, and those that are compared are measured one right after the other.
        contestants.rotate_left(1);
        for (way, ratios) in ratios.iter_mut().enumerate() {
            let figures: BTreeMap<&str, f64> = contestants
                .iter()
                .map(|contestant| (contestant.name, contestant.measure(&world, way)))
                .collect();
            if round == 0 {
                continue;
            }
            for contestant in &mut contestants {
                contestant.figures[way].add(figures[contestant.name]);
            }
            for (ratio, other) in ratios.iter_mut().zip(["docker", "podman"]) {
                ratio.add(figures["shim"] / figures[other]);
            }
        }
    }
    for contestant in &contestants {
        contestant.call(&world, &["rm", "-f", "server", "client"]);
    }
    let text = report(rounds, &contestants, &ratios);
    print!("{text}");
    if let Some(document) = arguments.get(2) {
        peers::write_into(Path::new(document), "network", &text);
    }
    ExitCode::SUCCESS
}

fn contestants(shim: &str) -> Vec<Contestant> {
    let contestant = |name, program: &str, port| Contestant {
        name,
        program: program.split(' ').map(str::to_owned).collect(),
        port,
        figures: Default::default(),
    };
    vec![
        contestant("shim", &format!("{shim} --root {ROOT}/shim --state {ROOT}/state"), 7001),
        contestant("docker", "docker", 7002),
        // crun raises a limit, for which not everybody has the right.
        contestant(
            "podman",
            &format!("podman --root {ROOT}/podman --runroot {ROOT}/podman-run --runtime runc"),
            7003,
        ),
    ]
}

fn prepare(world: &World) -> Vec<Running> {
    // Forwarding first: Docker drops what passes through where it is the one to switch that on.
    let link = format!(
        "mkdir -p {ROOT}; sysctl -qw net.ipv4.ip_forward=1; ip netns add outside
         ip link add wire type veth peer name wire netns outside
         ip address add {HOST}/24 dev wire; ip link set wire up
         ip -n outside address add {OUTSIDE}/24 dev wire; ip -n outside link set wire up"
    );
    world.sh(&link).output().expect_ok();
    peers::configure_podman(world);
    peers::daemons(world, ROOT)
}

impl Contestant {
    /// A command that has to succeed; what it prints.
    fn call(&self, world: &World, words: &[&str]) -> String {
        world.call(&self.program).args(words).output().expect_ok().stdout.trim_end().to_owned()
    }

    /// One measurement; Gbit/s that have arrived.
    fn measure(&self, world: &World, way: usize) -> f64 {
        let pid = |name: &str| self.call(world, &["inspect", "-f", "{{.State.Pid}}", name]);
        let inside = |name: &str| format!("nsenter --net=/proc/{}/ns/net", pid(name));
        let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let (from, to, port) = match way {
            0 => ("ip netns exec outside".to_owned(), HOST.to_owned(), self.port),
            1 => (String::new(), "127.0.0.1".to_owned(), self.port),
            _ => (inside("client"), self.call(world, &["inspect", "-f", address, "server"]), PORT),
        };
        world.sh(&format!("{} iperf3 -s -1 -D -p {PORT}", inside("server"))).output().expect_ok();
        let client = format!(
            "for attempt in 1 2 3 4 5 6 7 8 9 10; do
                 {from} iperf3 -J -c {to} -p {port} -t {SECONDS} >/run/told && exit; sleep 0.2
             done; cat /run/told; exit 1"
        );
        let told = world.sh(&format!("({client}) && cat /run/told")).output().expect_ok();
        let told: Value = told.json();
        let bits = told.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
        bits.unwrap_or_else(|| panic!("{}: {}: {told}", self.name, WAYS[way])) / 1e9
    }
}

fn report(rounds: usize, contestants: &[Contestant], ratios: &[[Sample; 2]]) -> String {
    let mut text = String::new();
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    let _ = writeln!(
        text,
        "{rounds} rounds of {SECONDS} s; load at the end {}. Gbit/s.\n",
        load.split(' ').next().unwrap()
    );
    let named = |name: &str| contestants.iter().find(|contestant| contestant.name == name).unwrap();
    let all = [named("shim"), named("docker"), named("podman")];
    let _ = writeln!(text, "| | shim | docker | podman | shim / docker | shim / podman |");
    let _ = writeln!(text, "|---|--:|--:|--:|--:|--:|");
    for (way, words) in WAYS.iter().enumerate() {
        let [shim, docker, podman] = all.map(|contestant| contestant.figures[way].median());
        // Of each round, whose figures had the same load.
        let [to_docker, to_podman] = [0, 1].map(|other| ratios[way][other].median());
        let figures = format!("{shim:.2} | {docker:.2} | {podman:.2}");
        let _ = writeln!(text, "| {words} | {figures} | {to_docker:.2} | {to_podman:.2} |");
    }
    let noise = all.map(|contestant| format!("{} {:.2}", contestant.name, contestant.figures[0].noise()));
    let _ = writeln!(text, "\nNoise (90th over 10th percentile, from another host): {}.", noise.join(", "));
    text
}
