//! `process.scheduler`, `process.ioPriority`, `linux.memoryPolicy`, `linux.personality`: how the kernel treats
//! the program. (runtime-spec config.md "Linux Process", config-linux.md; sched(7), ioprio_set(2),
//! set_mempolicy(2), personality(2), sched_setaffinity(2).)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;

use std::path::Path;

use integration::{
    Bundle, Container, Process, Value, asleep, json, kernel_has, known_gap, requires, runtime_under_test,
};

/// A field of /proc/PID/stat by its number in proc_pid_stat(5).
fn stat(init: &Process, field: usize) -> i64 {
    let stat = init.read("stat");
    let after_name = stat.rsplit_once(") ").expect("the name is in parentheses").1;
    after_name.split_whitespace().nth(field - 3).expect("a field").parse().expect("a number")
}

fn nice(init: &Process) -> i64 {
    stat(init, 19)
}

fn policy(init: &Process) -> i64 {
    stat(init, 41)
}

fn realtime_priority(init: &Process) -> i64 {
    stat(init, 40)
}

fn refused(pointer: &str, value: Value, field: &str) {
    let container = Bundle::new().set(pointer, value).container();
    container.create().expect_code(1).expect_stderr(field);
    container.state_output().expect_code(1);
}

#[test]
fn fair_policies_and_their_nice_values() {
    known_gap!(Runc, Crun, "these versions know no schedulers");
    for (name, number) in [("SCHED_OTHER", 0), ("SCHED_BATCH", 3)] {
        for value in [-20, -5, 0, 7, 19] {
            let asked = json!({"policy": name, "nice": value});
            let (_container, init) = asleep(Bundle::new().set("/process/scheduler", asked));
            assert_eq!((policy(&init), nice(&init)), (number, value), "{name} {value}");
        }
    }
    let (_container, init) = asleep(Bundle::new().set("/process/scheduler", json!({"policy": "SCHED_IDLE"})));
    assert_eq!(policy(&init), 5);
}

#[test]
fn realtime_policies_and_their_priorities() {
    known_gap!(Runc, Crun, "these versions know no schedulers");
    for (name, number) in [("SCHED_FIFO", 1), ("SCHED_RR", 2)] {
        for value in [1, 50, 99] {
            let asked = json!({"policy": name, "priority": value});
            let (_container, init) = asleep(Bundle::new().set("/process/scheduler", asked));
            assert_eq!((policy(&init), realtime_priority(&init)), (number, value), "{name}");
        }
    }
}

#[test]
fn the_deadline_policy_and_its_times() {
    known_gap!(Runc, Crun, "these versions know no schedulers");
    let asked = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 50_000_000,
                       "period": 100_000_000});
    let (_container, init) = asleep(Bundle::new().set("/process/scheduler", asked));
    assert_eq!(policy(&init), 6);
    let sched = init.read("sched");
    for (key, value) in [("dl.runtime", None), ("policy", Some("6"))] {
        let line = sched.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{sched}"));
        if let Some(value) = value {
            assert_eq!(line.rsplit(':').next().unwrap().trim(), value, "{line}");
        }
    }
}

#[test]
fn children_start_with_the_default_policy_after_reset_on_fork() {
    known_gap!(Runc, Crun, "these versions know no schedulers");
    let script = "cut -d' ' -f41 /proc/$$/stat; cat /proc/self/stat | cut -d' ' -f41";
    let run = |flags: Value| {
        let asked = json!({"policy": "SCHED_FIFO", "priority": 3, "flags": flags});
        Bundle::new().set("/process/scheduler", asked).in_container(script)
    };
    assert_eq!(run(json!([])), "1\n1");
    assert_eq!(run(json!(["SCHED_FLAG_RESET_ON_FORK"])), "1\n0");
}

#[test]
fn the_scheduler_is_set_without_the_capability_in_the_container() {
    known_gap!(Runc, Crun, "these versions know no schedulers");
    let bundle = Bundle::new().capabilities(&[]).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let (_container, init) =
        asleep(bundle.set("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": -9})));
    assert_eq!(nice(&init), -9);
}

#[test]
fn schedulers_that_cannot_be_meant_are_refused() {
    known_gap!(Runc, Crun, "these versions know no schedulers");
    for (asked, field) in [
        (json!({}), "process.scheduler.policy"),
        (json!({"policy": "SCHED_SOON"}), "process.scheduler.policy"),
        (json!({"policy": "SCHED_ISO"}), "process.scheduler.policy"),
        (json!({"policy": "SCHED_OTHER", "nice": 20}), "process.scheduler.nice"),
        (json!({"policy": "SCHED_OTHER", "nice": -21}), "process.scheduler.nice"),
        (json!({"policy": "SCHED_OTHER", "priority": 5}), "process.scheduler.priority"),
        (json!({"policy": "SCHED_FIFO"}), "process.scheduler.priority"),
        (json!({"policy": "SCHED_FIFO", "priority": 100}), "process.scheduler.priority"),
        (json!({"policy": "SCHED_RR", "priority": 5, "nice": 3}), "process.scheduler.nice"),
        (json!({"policy": "SCHED_OTHER", "runtime": 5}), "process.scheduler.runtime"),
        (json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_FLY"]}), "process.scheduler.flags[0]"),
        (json!({"policy": "SCHED_DEADLINE", "runtime": 9_000, "deadline": 5_000}), "process.scheduler"),
        (json!({"policy": "SCHED_DEADLINE"}), "process.scheduler"),
    ] {
        refused("/process/scheduler", asked, field);
    }
}

#[test]
fn every_io_class_and_level_is_set() {
    known_gap!(Runc, "1.1.5 knows no I/O priorities");
    // ionice of busybox prints `best-effort: prio 7` and the like.
    for (class, shown) in [("RT", "realtime"), ("BE", "best-effort")] {
        for level in [0, 3, 7] {
            let asked = json!({"class": format!("IOPRIO_CLASS_{class}"), "priority": level});
            let seen = Bundle::new().set("/process/ioPriority", asked).in_container("ionice -p $$");
            assert_eq!(seen, format!("{shown}: prio {level}"));
        }
    }
    let idle = json!({"class": "IOPRIO_CLASS_IDLE"});
    let seen = Bundle::new().set("/process/ioPriority", idle).in_container("ionice -p $$");
    assert!(seen.starts_with("idle"), "{seen}");
}

#[test]
fn io_priorities_that_cannot_be_meant_are_refused() {
    known_gap!(Runc, Crun, "these versions know no I/O priorities, or check them little");
    for (asked, field) in [
        (json!({"class": "IOPRIO_CLASS_FAST", "priority": 1}), "process.ioPriority.class"),
        (json!({"class": "IOPRIO_CLASS_BE", "priority": 8}), "process.ioPriority.priority"),
        (json!({"class": "IOPRIO_CLASS_BE", "priority": -1}), "process.ioPriority.priority"),
        (json!({"priority": 1}), "process.ioPriority"),
    ] {
        refused("/process/ioPriority", asked, field);
    }
}

/// The policy of the stack in numa_maps: of the process, as no new mapping has one of its own.
fn memory_policy(asked: Value) -> String {
    let (_container, init) = asleep(Bundle::new().set("/linux/memoryPolicy", asked));
    let maps = init.read("numa_maps");
    let line = maps.lines().find(|line| line.split_whitespace().any(|word| word == "stack"));
    let line = line.unwrap_or_else(|| panic!("no stack: {maps}"));
    line.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn every_memory_policy_is_set() {
    known_gap!(Runc, Crun, "these versions know no memory policies");
    requires!(kernel_has("/proc/self/numa_maps"), "this kernel has no NUMA");
    for (mode, nodes, flags, seen) in [
        ("MPOL_DEFAULT", "", json!([]), "default"),
        ("MPOL_LOCAL", "", json!([]), "local"),
        ("MPOL_BIND", "0", json!([]), "bind:0"),
        ("MPOL_INTERLEAVE", "0", json!([]), "interleave:0"),
        ("MPOL_PREFERRED", "0", json!([]), "prefer:0"),
        ("MPOL_PREFERRED", "", json!([]), "local"),
        ("MPOL_PREFERRED_MANY", "0", json!([]), "prefer (many):0"),
        ("MPOL_WEIGHTED_INTERLEAVE", "0", json!([]), "weighted interleave:0"),
        ("MPOL_BIND", "0", json!(["MPOL_F_STATIC_NODES"]), "bind=static:0"),
        ("MPOL_INTERLEAVE", "0", json!(["MPOL_F_RELATIVE_NODES"]), "interleave=relative:0"),
    ] {
        let asked = json!({"mode": mode, "nodes": nodes, "flags": flags});
        let shown = asked.to_string();
        // Two names have a blank: only the first word is a word of the line.
        assert_eq!(memory_policy(asked), seen.split(' ').next().unwrap(), "{shown}");
    }
}

#[test]
fn memory_policies_that_cannot_be_meant_are_refused() {
    known_gap!(Runc, Crun, "these versions know no memory policies");
    let mode = |mode: &str, nodes: &str| json!({"mode": mode, "nodes": nodes});
    for (asked, field) in [
        (json!({}), "linux.memoryPolicy.mode"),
        (mode("MPOL_NEAR", "0"), "linux.memoryPolicy.mode"),
        (mode("MPOL_BIND", ""), "linux.memoryPolicy.nodes"),
        (mode("MPOL_BIND", "a"), "linux.memoryPolicy.nodes"),
        (mode("MPOL_BIND", "3-1"), "linux.memoryPolicy.nodes"),
        (mode("MPOL_LOCAL", "0"), "linux.memoryPolicy.nodes"),
        (json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NO"]}), "linux.memoryPolicy.flags[0]"),
        (
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}),
            "linux.memoryPolicy.flags",
        ),
    ] {
        refused("/linux/memoryPolicy", asked, field);
    }
}

#[test]
fn a_memory_policy_for_nodes_that_are_not_there_is_refused_by_name() {
    known_gap!(Runc, Crun, "these versions know no memory policies");
    requires!(kernel_has("/proc/self/numa_maps"), "this kernel has no NUMA");
    let online = fs::read_to_string("/sys/devices/system/node/online").unwrap();
    requires!(online.trim() == "0", "this machine has more than one node");
    refused("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "9"}), "linux.memoryPolicy");
}

#[test]
fn the_personality_is_set() {
    known_gap!(Runc, "1.1.5 knows no personalities");
    requires!(cfg!(target_arch = "x86_64"), "LINUX32 has another name here");
    let with = |domain: &str| {
        Bundle::new().set("/linux/personality", json!({"domain": domain})).in_container("uname -m")
    };
    assert_eq!(with("LINUX"), "x86_64");
    assert_eq!(with("LINUX32"), "i686");
    let (_container, init) = asleep(Bundle::new().set("/linux/personality", json!({"domain": "LINUX32"})));
    assert_eq!(init.read("personality"), "00000008\n");
}

#[test]
fn personalities_that_cannot_be_meant_are_refused() {
    known_gap!(Runc, Crun, "these versions know no personalities, or check them little");
    for (asked, field) in [
        (json!({"domain": "BSD"}), "linux.personality.domain"),
        (json!({}), "linux.personality"),
        (json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}), "linux.personality.flags"),
    ] {
        refused("/linux/personality", asked, field);
    }
}

/// A container whose every call comes from a process that runs on one of its CPUs only, and all that there are.
fn pinned(bundle: Bundle) -> Option<(Container, String)> {
    let all = Process::this().status("Cpus_allowed_list");
    let first = all.split([',', '-']).next().unwrap().to_owned();
    if first == all || !kernel_has("/usr/bin/taskset") {
        return None;
    }
    let call = format!("#!/bin/sh\nexec taskset -c {first} {} \"$@\"\n", runtime_under_test().display());
    let call = bundle.host_program("pinned", call.as_bytes());
    Some((bundle.sleeping().container().with_binary(Path::new(&call)), all))
}

/// As of a service with `CPUAffinity=`: it is for the caller, and a cgroup's cpuset alone is for the container.
#[test]
fn the_callers_own_cpus_are_not_the_containers() {
    known_gap!(Runc, Crun, "these versions leave the program where their caller is");
    for user_namespace in [false, true] {
        let bundle = Bundle::new();
        let bundle = if user_namespace { bundle.user_namespace(500_000, 65_536) } else { bundle };
        let Some((container, all)) = pinned(bundle) else {
            integration::skip!("one CPU alone, or no taskset")
        };
        container.create().expect_ok().expect_no_stderr();
        assert_eq!(container.init().status("Cpus_allowed_list"), all);
        container.start().expect_ok();
        let process = container.exec_detached(&[], &["sleep", "500"]);
        assert_eq!(process.status("Cpus_allowed_list"), all);
    }
}

#[test]
fn the_cpus_of_exec_are_the_callers_where_only_the_first_are_given() {
    known_gap!(Runc, Crun, "these versions do not know execCPUAffinity");
    let affinity = json!({"initial": "0"});
    let Some((container, _)) = pinned(Bundle::new().set("/process/execCPUAffinity", affinity)) else {
        integration::skip!("one CPU alone, or no taskset")
    };
    container.run_detached().expect_ok();
    let process = container.exec_detached(&[], &["sleep", "500"]);
    assert_eq!(process.status("Cpus_allowed_list"), "0", "the kernel decides (config.md)");
}
