//! What comes in the middle of a container's restarts: networks that it is put into and taken out of, and ports that are
//! published by that.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use integration::random::{Random, seed};
use integration::{Process, Shim, Value, requires, wait_for};

/// Why there can be no networks here, if so.
fn obstacle() -> Option<&'static str> {
    match () {
        () if !integration::is_root() => Some("networks are root's"),
        () if !std::path::Path::new("/usr/sbin/nft").exists() => {
            Some("nftables is not installed (scripts/install-deps test)")
        }
        () => None,
    }
}

/// Each run waits a moment, and says which devices it has.
const PROGRAM: &str = "sleep 0.2; echo $(ls /sys/class/net)";

/// Waits until a container has told of its devices twice more, at the end of runs that were under way or came later.
fn two_more(shim: &Shim, name: &str) -> Vec<String> {
    let lines = || shim.stdout(&["logs", name]).lines().map(str::to_owned).collect::<Vec<_>>();
    // One may be on its way from the program to the log.
    let before = lines().len() + 1;
    wait_for("two more runs", || {
        let lines = lines();
        (lines.len() >= before + 2).then(|| lines[before..].to_vec())
    })
}

#[test]
fn a_container_between_two_runs_is_in_a_network_or_it_is_not() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let shim = Shim::networked();
    shim.stdout(&["network", "create", "mine"]);
    shim.stdout(&["network", "create", "other"]);
    let seed = seed();
    std::thread::scope(|scope| {
        for number in 0..6 {
            let shim = &shim;
            scope.spawn(move || {
                let name = format!("c{number}");
                let mut random = Random::new(seed, number);
                let words = ["--name", &name, "--restart", "always", "--network", "mine"];
                shim.detached(&[&words[..], &["busybox", "sh", "-c", PROGRAM]].concat());
                std::thread::sleep(std::time::Duration::from_millis(random.below(700)));
                shim.stdout(&["network", "connect", "other", &name]);
                let told = two_more(shim, &name);
                assert!(told.iter().all(|line| line == "eth0 eth1 lo"), "{name}: {told:?}");
                std::thread::sleep(std::time::Duration::from_millis(random.below(700)));
                shim.stdout(&["network", "disconnect", "mine", &name]);
                let told = two_more(shim, &name);
                // That which is left is the only one of a later run, and keeps its name in the present one.
                assert!(told.iter().all(|line| line == "eth0 lo" || line == "eth1 lo"), "{name}: {told:?}");
                assert_eq!(told.last().unwrap(), "eth0 lo");
                shim.stdout(&["rm", "--force", &name]);
            });
        }
    });
    let told: Value = shim.cli(&["network", "inspect", "mine"]).expect_ok().json();
    assert_eq!(told[0]["Containers"].as_object().unwrap().len(), 0);
    assert_eq!(shim.stdout(&["system", "check"]).lines().count(), 1);
}

#[test]
fn ports_that_come_with_a_network_are_looked_after() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let shim = Shim::networked();
    shim.stdout(&["network", "create", "--internal", "inner"]);
    let id = shim.detached(&["--network", "inner", "-p", "8080:80", "busybox", "sleep", "600"]);
    let proxies = || -> Vec<Process> {
        let line = |process: &Process| fs::read(process.path("cmdline")).unwrap_or_default();
        let is_one =
            |process: &Process| line(process).split(|byte| *byte == 0).any(|part| part == b"port-proxy");
        shim.processes().into_iter().filter(is_one).collect()
    };
    assert_eq!(proxies().len(), 0);
    for _ in 0..2 {
        shim.stdout(&["network", "connect", "bridge", &id]);
        assert_eq!(shim.stdout(&["port", &id]), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n");
        let [first] = &proxies()[..] else { panic!("one proxy") };
        assert!(first.kill());
        let first = first.pid();
        wait_for("another proxy", || proxies().iter().any(|proxy| proxy.pid() != first).then_some(()));
        shim.stdout(&["network", "disconnect", "bridge", &id]);
        assert_eq!((proxies().len(), shim.stdout(&["port", &id]).as_str()), (0, ""));
    }
    assert_eq!(shim.stdout(&["system", "check"]).lines().count(), 1);
}

#[test]
fn a_container_that_restarts_with_another_address_is_known_by_that() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let shim = Shim::networked();
    shim.stdout(&["network", "create", "--subnet", "10.7.0.0/24", "mine"]);
    let asleep = |name: &str| {
        shim.detached(&[
            "--name",
            name,
            "--network",
            "mine",
            "--restart",
            "always",
            "busybox",
            "sleep",
            "600",
        ])
    };
    let ids = ["first", "second", "third"].map(asleep);
    let address = |name: &str| {
        let told = shim.inspect(name);
        told["NetworkSettings"]["Networks"]["mine"]["IPAddress"].as_str().unwrap().to_owned()
    };
    assert_eq!(address("third"), "10.7.0.4");
    // Its own is free still, and so is a lower one.
    shim.stdout(&["rm", "--force", "first"]);
    let before = shim.process(&ids[2]).pid();
    shim.process(&ids[2]).kill();
    wait_for("the next run", || {
        let told = shim.inspect("third");
        let is_next = told["State"]["Status"] == "running" && told["State"]["Pid"] != before;
        (is_next && told["NetworkSettings"]["Networks"]["mine"]["IPAddress"] == "10.7.0.2").then_some(())
    });
    let hosts = shim.stdout(&["exec", "third", "cat", "/etc/hosts"]);
    assert!(hosts.contains(&format!("10.7.0.2\t{:.12}\n", ids[2])) && !hosts.contains("10.7.0.4"), "{hosts}");
    let ping = shim.stdout(&["exec", "second", "ping", "-c", "1", "third"]);
    assert!(ping.starts_with("PING third (10.7.0.2)"), "{ping}");
}
