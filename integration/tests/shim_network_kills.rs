//! Whoever is killed in the middle of work on networks: `system check`, which looks before anybody else does, tells of what is
//! left and mends it, and then all of it is as it should be.
//!
//! `CAISSON_KILL_ROUNDS` says how many rounds; each kills a command, or the supervisors of all containers, or both, at some
//! moment of a connect, a disconnect, a start with published ports, a restart or a removal. There are more rounds until at
//! least one has left something: a check that has found nothing would show nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use integration::random::{Random, seed};
use integration::{Process, Shim, Value, requires, wait_for};

const RUN: &[&str] =
    &["run", "--detach", "--name", "box", "--network", "mine", "-p", "8080:80", "busybox", "sleep", "600"];
const CONNECT: &[&str] = &["network", "connect", "other", "box"];
const DISCONNECT: &[&str] = &["network", "disconnect", "other", "box"];
const DEEDS: [&[&str]; 8] = [
    CONNECT,
    DISCONNECT,
    // What is published is led to another address then, and no more.
    &["network", "connect", "wide", "box"],
    &["network", "disconnect", "wide", "box"],
    RUN,
    &["restart", "--time", "0", "box"],
    &["rm", "--force", "box"],
    &["network", "rm", "third"],
];
/// How long after its beginning somebody is killed at most, in milliseconds.
const MOMENTS: u64 = 90;

#[test]
fn what_is_left_of_whoever_was_killed_is_found_and_mended() {
    requires!(
        integration::is_root() && std::path::Path::new("/usr/sbin/nft").exists(),
        "networks need root and nftables (scripts/install-deps test)"
    );
    let rounds: u32 = std::env::var("CAISSON_KILL_ROUNDS").map_or(12, |text| text.parse().unwrap());
    let shim = Shim::networked();
    let mut random = Random::new(seed(), 7);
    for (name, subnet) in [("mine", "10.7.0.0/28"), ("other", "10.8.0.0/28"), ("wide", "10.9.0.0/28")] {
        shim.cli(&["network", "create", "--subnet", subnet, name]).expect_ok();
    }
    let mut found = BTreeMap::new();
    for round in 0..rounds + 200 {
        if round >= rounds && !found.is_empty() {
            break;
        }
        // There is one, so that each deed has something to be done to.
        let _ = shim.cli(RUN);
        let _ = shim.cli(&["start", "box"]);
        let _ = shim.cli(&["network", "create", "third"]);
        // Where nothing was left by then, what has the longest way between its first step and its last.
        let (deed, whom) = if round < rounds { (random.of(&DEEDS), random.below(3)) } else { (CONNECT, 0) };
        if deed == DISCONNECT {
            let _ = shim.cli(CONNECT);
        }
        if deed == CONNECT {
            let _ = shim.cli(DISCONNECT);
        }
        let mut running = shim.call(deed).spawn();
        std::thread::sleep(Duration::from_millis(random.below(MOMENTS)));
        // First the command, so that it cannot tell of its supervisor's end.
        if whom != 1 && running.is_running() {
            running.signal(rustix::process::Signal::KILL);
        }
        if whom != 0 {
            for process in shim.processes().iter().filter(|process| is_of(process, b"monitor")) {
                assert!(process.kill() || !process.is_alive());
            }
        }
        let _ = running.wait();
        told(&shim.cli(&["system", "check"]).stdout, &mut found);
        shim.cli(&["system", "check", "--repair"]).expect_ok();
        // A supervisor that has taken over is at the end of what its container had begun.
        wait_for("nothing that is left or wrong", || {
            let told = shim.cli(&["system", "check"]).expect_ok().stdout;
            (told.lines().count() == 1).then_some(())
        });
        is_as_recorded(&shim);
    }
    println(&format!("what was found, and how often: {found:#?}"));
    for id in shim.container_ids() {
        shim.cli(&["rm", "--force", &id]).expect_ok();
    }
    shim.cli(&["network", "prune", "--force"]).expect_ok();
    assert_eq!(shim.host().devices(), [] as [&str; 0]);
    is_as_recorded(&shim);
    assert_eq!(shim.stdout(&["system", "check"]).lines().count(), 1);
}

/// Has a process this word in its command line? One that has ended has none.
fn is_of(process: &Process, word: &[u8]) -> bool {
    let line = fs::read(process.path("cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).any(|part| part == word)
}

#[allow(clippy::print_stdout)] // captured by the test harness
fn println(text: &str) {
    println!("{text}");
}

/// Counts what a check has told of networks and ports, by its words without names and numbers.
fn told(stdout: &str, found: &mut BTreeMap<String, u32>) {
    for line in stdout.lines() {
        let kinds = [
            "has an address, and does not run",
            "is in it, and is not to be",
            "which does not run",
            "is no port of its bridge",
            "its bridge is gone",
            "of network",
            "that was being made",
            "has published ports, and does not run",
            "and nobody needs it",
            "the proxy of its published ports is gone",
            "is of no network and no container",
            "is missing",
        ];
        if let Some(kind) = kinds.iter().find(|kind| line.contains(**kind)) {
            *found.entry((*kind).to_owned()).or_default() += 1;
        }
    }
}

/// Devices, leases, proxies, rules and sockets are those of the containers that run, by what is told of them.
#[track_caller]
fn is_as_recorded(shim: &Shim) {
    let mut expected = Vec::new();
    let mut published = 0;
    // A removal that was begun is brought to its end by whoever asks.
    for id in shim.stdout(&["ps", "--all", "--quiet", "--no-trunc"]).lines() {
        let told = shim.inspect(id);
        if told["State"]["Running"] == true {
            let networks = told["NetworkSettings"]["Networks"].as_object().unwrap();
            expected
                .extend(networks.values().map(|network| network["IPAddress"].as_str().unwrap().to_owned()));
            assert!(expected.iter().all(|address| !address.is_empty()), "{told}");
            published += 1;
        }
    }
    expected.sort();
    let devices = shim.host().devices();
    assert_eq!(devices.iter().filter(|name| name.starts_with("veth")).count(), expected.len(), "{devices:?}");
    let folder = shim.state().join("networks");
    let mut leases = Vec::new();
    for network in fs::read_dir(&folder).unwrap() {
        let Ok(text) = fs::read_to_string(network.unwrap().path().join("leases.json")) else { continue };
        let all: Value = serde_json::from_str(&text).unwrap();
        let addresses = all["leases"].as_array().unwrap().iter();
        leases.extend(addresses.map(|lease| lease["ip"].as_str().unwrap().to_owned()));
    }
    leases.sort();
    assert_eq!(leases, expected);
    let rules = shim.host().sh("nft list ruleset");
    assert_eq!(rules.matches("tcp . 8080").count(), published, "{rules}");
    let listens = || shim.host().sh("ss --no-header --listening --tcp --numeric 'sport = :8080'");
    // A proxy's successor comes within a second.
    wait_for("the proxy", || {
        let count = shim.processes().iter().filter(|process| is_of(process, b"port-proxy")).count();
        (count == published && listens().lines().count() == 2 * published).then_some(())
    });
}
