//! Whoever is killed in the middle of work on networks: nothing is taken for good, and `system check` mends what is left.
//!
//! `CAISSON_KILL_ROUNDS` says how many rounds; each kills a command or a supervisor at some moment of its work.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use integration::random::Random;
use integration::{Shim, Value, requires, wait_for};

#[test]
fn nothing_is_left_of_what_was_killed() {
    requires!(
        integration::is_root() && std::path::Path::new("/usr/sbin/nft").exists(),
        "networks need root and nftables (scripts/install-deps test)"
    );
    let rounds: u32 = std::env::var("CAISSON_KILL_ROUNDS").map_or(10, |text| text.parse().unwrap());
    let shim = Shim::networked();
    let mut random = Random::new(std::process::id().into(), 7);
    shim.cli(&["network", "create", "--subnet", "10.7.0.0/28", "mine"]).expect_ok();
    shim.cli(&["network", "create", "--subnet", "10.8.0.0/28", "other"]).expect_ok();
    let deeds: &[&[&str]] = &[
        &["network", "connect", "other", "box"],
        &["network", "disconnect", "other", "box"],
        &["restart", "--time", "0", "box"],
        &[
            "run",
            "--detach",
            "--name",
            "box",
            "--network",
            "mine",
            "-p",
            "8080:80",
            "busybox",
            "sleep",
            "600",
        ],
        &["rm", "--force", "box"],
        &["network", "create", "third"],
        &["network", "rm", "third"],
    ];
    for _ in 0..rounds {
        // There is one, so that most deeds have something to be done to.
        let _ = shim.cli(deeds[3]);
        let deed = deeds[usize::try_from(random.below(deeds.len() as u64)).unwrap()];
        let mut running = shim.call(deed).spawn();
        std::thread::sleep(Duration::from_millis(random.below(60)));
        if random.below(2) == 0 {
            // What has ended by then is nobody any more.
            if running.is_running() {
                running.signal(rustix::process::Signal::KILL);
            }
        } else {
            shim.processes().iter().for_each(|process| assert!(process.kill() || !process.is_alive()));
        }
        let _ = running.wait();
        // Whatever became of it, the next one works, and has an address that nobody else has.
        wait_for("what was begun", || {
            let output = shim.cli(&["run", "--rm", "--network", "mine", "busybox", "true"]);
            (output.code() == 0).then_some(())
        });
    }
    for _ in 0..2 {
        shim.cli(&["system", "check", "--repair"]).expect_ok();
    }
    let told = shim.cli(&["system", "check"]).expect_ok().stdout;
    assert!(!told.contains("network"), "{told}");
    for network in ["mine", "other"] {
        let told: Value = shim.cli(&["network", "inspect", network]).expect_ok().json();
        let inside = told[0]["Containers"].as_object().unwrap();
        assert!(inside.len() <= 1, "{told}");
    }
    for id in shim.container_ids() {
        shim.cli(&["rm", "--force", &id]).expect_ok();
    }
    shim.cli(&["system", "check", "--repair"]).expect_ok();
    shim.cli(&["network", "prune", "--force"]).expect_ok();
    assert_eq!(shim.host().devices(), [] as [&str; 0]);
    // Nothing is published any more, and the port is free.
    let table = shim.host().sh("nft list ruleset");
    assert!(!table.contains("8080"), "{table}");
    assert_eq!(shim.host().sh("ss --no-header --listening --tcp --numeric 'sport = :8080'"), "");
}
