//! `events`: what a container uses, as JSON in runc's shape, and that it runs out of memory.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::collections::BTreeSet;
use std::fs;

use integration::{
    Bundle, Call, Container, Controllers, Flavour, Output, Value, flavour, has_controller, json, known_gap,
    requires, running, uses_cgroup2, wait_for,
};

const ON_V1: &str = "this runtime uses cgroup v1 on a hybrid host";

/// The call of `events` with flags.
fn events(container: &Container, flags: &[&str]) -> Call {
    container.call("events").args(flags).args([container.id()])
}

/// The types of the events that were printed; each is an object on a line of its own.
fn types(container: &Container, output: &Output) -> Vec<String> {
    let event = |line: &str| -> Value { serde_json::from_str(line).unwrap_or_else(|_| panic!("{output}")) };
    let of = |line: &str| {
        let event = event(line);
        assert_eq!(event["id"], container.id(), "{output}");
        let kind = event["type"].as_str().unwrap().to_owned();
        assert_eq!(event.get("data").is_some(), kind == "stats", "{output}");
        kind
    };
    output.stdout.lines().map(of).collect()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().cloned().collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn statistics_have_the_keys_that_callers_of_runc_read() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Crun, "1.8.1 has no such command");
    let container = running(Bundle::new());
    let stats = container.stats();
    let all = ["blkio", "cpu", "cpuset", "hugetlb", "intel_rdt", "memory", "network_interfaces", "pids"];
    assert_eq!(keys(&stats), set(&all));
    let cpuset = [
        "cpu_exclusive",
        "mem_exclusive",
        "mem_hardwall",
        "memory_migrate",
        "memory_pressure",
        "memory_spread_page",
        "memory_spread_slab",
        "sched_load_balance",
        "sched_relax_domain_level",
    ];
    assert_eq!(keys(&stats["cpuset"]), set(&cpuset));
    // Zeros are left out where Go leaves them out, and only there.
    assert!(keys(&stats["cpu"]["usage"]).is_superset(&set(&["kernel", "user"])), "{stats}");
    assert!(stats["cpu"]["throttling"].is_object(), "{stats}");
    for part in ["usage", "swap", "kernel", "kernelTCP"] {
        assert!(keys(&stats["memory"][part]).is_superset(&set(&["limit", "failcnt"])), "{part}: {stats}");
    }
    assert_eq!(stats["network_interfaces"], Value::Null);
    assert!(stats["pids"]["current"].as_u64().unwrap() >= 1, "{stats}");
}

#[test]
fn pressure_is_told_where_the_kernel_counts_it() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Crun, "1.8.1 has no such command");
    known_gap!(Runc, "1.1.5 does not know it; 1.2 does");
    let container = running(Bundle::new());
    let counted = fs::read(container.init().cgroup_folder().join("cpu.pressure")).is_ok();
    requires!(counted, "the kernel does not count pressure");
    let stats = container.stats();
    for part in ["cpu", "memory", "blkio"] {
        for line in ["some", "full"] {
            let psi = &stats[part]["psi"][line];
            assert_eq!(keys(psi), set(&["avg10", "avg60", "avg300", "total"]), "{part} {line}: {stats}");
        }
    }
}

#[test]
fn numbers_are_the_kernels() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Crun, "1.8.1 has no such command");
    let container = Bundle::new().sh("sleep 1000 & sleep 1000 & while :; do :; done").container();
    container.run_detached().expect_ok();
    wait_for("three processes", || (container.ps().len() == 3).then_some(()));
    let total = |stats: &Value| stats["cpu"]["usage"]["total"].as_u64().unwrap();
    let first = container.stats();
    assert_eq!(first["pids"]["current"], 3, "{first}");
    wait_for("processor time", || (total(&container.stats()) > total(&first)).then_some(()));
    // In nanoseconds, where the kernel counts microseconds.
    container.pause().expect_ok();
    let stat = container.init().cgroup_file("cpu.stat");
    let micros = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
    assert_eq!(total(&container.stats()), micros.parse::<u64>().unwrap() * 1000);
}

#[test]
fn limits_and_usage_of_each_controller_are_told() {
    requires!(uses_cgroup2(), "{ON_V1}");
    for controller in ["memory", "pids", "cpu"] {
        requires!(has_controller(controller), "no controller {controller} on cgroup v2");
    }
    known_gap!(Crun, "1.8.1 has no such command");
    let _controllers = Controllers::keep();
    let script = "dd if=/dev/zero of=/dev/shm/held bs=1M count=8 2>/dev/null; echo held; while :; do :; done";
    let container = Bundle::new()
        .set("/linux/resources/memory", json!({"limit": 67_108_864, "swap": 67_108_864}))
        .set("/linux/resources/pids", json!({"limit": 20}))
        .set("/linux/resources/cpu", json!({"quota": 50_000, "period": 100_000}))
        .sh(script)
        .container();
    container.run_detached().expect_ok();
    container.wait_stdout("held");
    let stats = wait_for("a period in which it was stopped", || {
        let stats = container.stats();
        stats["cpu"]["throttling"]["throttledPeriods"].is_u64().then_some(stats)
    });
    let memory = &stats["memory"];
    assert_eq!(memory["usage"]["limit"], 67_108_864, "{stats}");
    let usage = memory["usage"]["usage"].as_u64().unwrap();
    assert!((8 << 20..67_108_864).contains(&usage), "{stats}");
    assert!(memory["raw"]["shmem"].as_u64().unwrap() >= 8 << 20, "{stats}");
    assert_eq!(memory["cache"], memory["raw"]["file"], "{stats}");
    if container.init().cgroup_folder().join("memory.swap.max").exists() {
        assert_eq!(memory["swap"]["limit"], 67_108_864, "{stats}");
    }
    assert_eq!(stats["pids"]["limit"], 20, "{stats}");
    assert!(stats["cpu"]["throttling"]["throttledTime"].as_u64().unwrap() > 0, "{stats}");
    container.update(&["--pids-limit", "30", "--memory", "96m", "--memory-swap", "-1"]).expect_ok();
    let stats = container.stats();
    assert_eq!(
        (&stats["pids"]["limit"], &stats["memory"]["usage"]["limit"]),
        (&json!(30), &json!(100_663_296))
    );
}

#[test]
fn they_come_at_intervals_until_the_container_ends() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Crun, "1.8.1 has no such command");
    let able = flavour() != Flavour::Runc || has_controller("memory");
    requires!(able, "runc 1.1.5 fails without the memory controller");
    let container = running(Bundle::new());
    let folder = container.bundle().scratch().to_owned();
    let mut call = events(&container, &["--interval", "20ms"]).output_in(&folder).spawn();
    wait_for("three events", || {
        call.expect_alive();
        (fs::read_to_string(folder.join("stdout")).unwrap().lines().count() >= 3).then_some(())
    });
    container.kill("KILL").expect_ok();
    let output = call.wait().expect_ok().expect_no_stderr();
    assert!(types(&container, &output).iter().all(|kind| kind == "stats"), "{output}");
}

#[test]
fn a_container_that_is_deleted_ends_them_too() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Crun, "1.8.1 has no such command");
    known_gap!(Runc, "waits in other calls than poll(2), by which this test knows that it watches");
    for interval in ["1ms", "10h"] {
        let container = running(Bundle::new());
        let folder = container.bundle().scratch().to_owned();
        let mut call = events(&container, &["--interval", interval]).output_in(&folder).spawn();
        // It has looked at the container once it waits.
        wait_for("an event, or a wait for one", || {
            call.expect_alive();
            let printed = !fs::read_to_string(folder.join("stdout")).unwrap().is_empty();
            let wchan = fs::read_to_string(format!("/proc/{}/wchan", call.pid())).unwrap_or_default();
            (printed || wchan.contains("poll")).then_some(())
        });
        container.delete_force().expect_ok();
        call.wait().expect_ok().expect_no_stderr();
    }
}

#[test]
fn what_does_not_run_has_none() {
    known_gap!(Crun, "1.8.1 has no such command");
    let container = running(Bundle::new());
    container.kill("KILL").expect_ok();
    container.wait_status("stopped");
    for flags in [&["--stats"][..], &[]] {
        let phrase = format!("container with id {} is not running", container.id());
        events(&container, flags).output().expect_code(1).expect_stderr(&phrase);
    }
    container.delete().expect_ok();
    events(&container, &["--stats"]).output().expect_code(1).expect_runc_phrase("does not exist");
}

#[test]
fn an_interval_that_is_none_is_refused() {
    known_gap!(Crun, "1.8.1 has no such command");
    let container = running(Bundle::new());
    for interval in ["0s", "-1s"] {
        let output = events(&container, &["--interval", interval]).output();
        output.expect_code(1).expect_stderr("duration interval must be greater than 0");
    }
    events(&container, &["--interval", "5"]).output().expect_fail();
}

/// A program that has a child killed for want of memory whenever it is told to.
const HUNGRY: &str = "while read x; do tail /dev/zero; echo killed; done";

#[test]
fn a_kill_for_want_of_memory_is_told_at_once() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("memory"), "no controller memory on cgroup v2");
    known_gap!(Crun, "1.8.1 has no such command");
    known_gap!(Runc, "1.1.5 tells of one kill more than once");
    let _controllers = Controllers::keep();
    let memory = json!({"limit": 16_777_216, "swap": 16_777_216});
    let container = Bundle::new().set("/linux/resources/memory", memory).sh(HUNGRY).container();
    let mut run = container.spawn_run();
    container.wait_running(&mut run);
    let folder = container.bundle().scratch().to_owned();
    let mut call = events(&container, &["--interval", "10h"]).output_in(&folder).spawn();
    wait_for("a watch on the events of memory", || {
        call.expect_alive();
        let wchan = fs::read_to_string(format!("/proc/{}/wchan", call.pid())).unwrap_or_default();
        (wchan.contains("poll") || flavour() != Flavour::Ours).then_some(())
    });
    let mut input = run.stdin();
    for number in 1..=2 {
        std::io::Write::write_all(&mut input, b"go\n").unwrap();
        wait_for("an event", || {
            call.expect_alive();
            (fs::read_to_string(folder.join("stdout")).unwrap().lines().count() >= number).then_some(())
        });
    }
    drop(input);
    run.wait();
    let output = call.wait().expect_ok();
    assert_eq!(types(&container, &output), ["oom", "oom"], "{output}");
}

#[test]
fn the_last_kill_is_told_too() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("memory"), "no controller memory on cgroup v2");
    known_gap!(Crun, "1.8.1 has no such command");
    known_gap!(Runc, "waits in other calls than poll(2), by which this test knows that it watches");
    let _controllers = Controllers::keep();
    let memory = json!({"limit": 16_777_216, "swap": 16_777_216});
    let bundle = Bundle::new().set("/linux/resources/memory", memory).sh("read x; exec tail /dev/zero");
    let container = bundle.container();
    let mut run = container.spawn_run();
    container.wait_running(&mut run);
    let call = events(&container, &["--interval", "10h"]).spawn();
    wait_for("a watch on the events of memory", || {
        fs::read_to_string(format!("/proc/{}/wchan", call.pid())).unwrap().contains("poll").then_some(())
    });
    std::io::Write::write_all(&mut run.stdin(), b"go\n").unwrap();
    run.wait().expect_code(128 + 9);
    let output = call.wait().expect_ok();
    assert_eq!(types(&container, &output), ["oom"], "{output}");
}

#[test]
fn a_limit_that_comes_later_is_watched_too() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("memory"), "no controller memory on cgroup v2");
    known_gap!(Crun, "1.8.1 has no such command");
    let _controllers = Controllers::keep();
    let container = Bundle::new().sh(HUNGRY).container();
    let mut run = container.spawn_run();
    container.wait_running(&mut run);
    let folder = container.bundle().scratch().to_owned();
    let call = events(&container, &["--interval", "20ms"]).output_in(&folder).spawn();
    let printed = || fs::read_to_string(folder.join("stdout")).unwrap();
    wait_for("statistics", || (printed().lines().count() >= 2).then_some(()));
    container.update(&["--memory", "16m", "--memory-swap", "16m"]).expect_ok();
    let before = printed().lines().count();
    wait_for("statistics with the limit", || (printed().lines().count() >= before + 3).then_some(()));
    // While its input is open the container goes on, and its cgroup with the count of kills.
    let mut input = run.stdin();
    std::io::Write::write_all(&mut input, b"go\n").unwrap();
    wait_for("the kill", || printed().contains("\"oom\"").then_some(()));
    drop(input);
    run.wait();
    call.wait().expect_ok();
}
