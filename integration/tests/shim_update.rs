//! Limits and restart policies of containers that are there: changed whole or not at all.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;

use integration::{
    Controllers, Shim, Value, cgroup2_mount, has_controller, is_root, json, requires, uses_cgroup2, wait_for,
};

const ROOT: &str = "containers need root";

/// A file of the cgroup of a container that runs.
fn cgroup_file(shim: &Shim, id: &str, name: &str) -> String {
    let state = shim.recorded_state(id);
    let cgroup = state["cgroup"].as_str().unwrap().trim_start_matches('/');
    let path = cgroup2_mount().unwrap().join(cgroup).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

#[test]
fn a_restart_policy_counts_from_now_on() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let id = shim.detached(&["--name", "box", "busybox", "sleep", "1000"]);
    assert_eq!(shim.stdout(&["update", "--restart", "on-failure:3", "box"]), "box\n");
    let policy = json!({"Name": "on-failure", "MaximumRetryCount": 3});
    assert_eq!(shim.inspect("box")["HostConfig"]["RestartPolicy"], policy);
    // Its monitor is the one that was there before.
    let before = shim.process(&id).pid();
    shim.process(&id).kill();
    wait_for("the restart", || {
        let state = shim.inspect("box")["State"].clone();
        (state["Status"] == "running" && state["Pid"] != before).then_some(())
    });
    assert_eq!(shim.stdout(&["container", "update", "--restart=no", "box"]), "box\n");
    shim.process(&id).kill();
    wait_for("the end", || (shim.inspect("box")["State"]["Status"] == "exited").then_some(()));
    let events = ["events", "--since", "1", "--until", "0s", "-f", "event=update", "--format", "{{.Action}}"];
    assert_eq!(shim.stdout(&events), "update\nupdate\n");
}

#[test]
fn what_cannot_be_is_refused_in_dockers_words_and_changes_nothing() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    shim.detached(&["--rm", "--name", "passing", "busybox", "sleep", "1000"]);
    let id = shim.stdout(&["create", "--name", "box", "busybox"]).trim_end().to_owned();
    let before = (shim.record(&id), shim.document(&id));
    for (words, reason) in [
        (&["box"][..], "you must provide one or more flags when using this command"),
        (&["--restart", "sometimes", "box"], "invalid restart policy: unknown policy 'sometimes'"),
        (
            &["--restart", "always", "passing"],
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        ),
        (&["--restart", "always", "nobody"], "No such container: nobody"),
        (&["--kernel-memory", "1g", "box"], "--kernel-memory is of cgroup v1 alone"),
        (&["--cpu-rt-period", "1", "box"], "--cpu-rt-period is of cgroup v1 alone"),
        (&["--memory", "1k", "box"], "Minimum memory limit allowed is 6MB"),
        (&["--cpus", "1", "--cpu-period", "1000", "box"], "Nano CPUs and CPU Period cannot both be set"),
    ] {
        shim.call(&["update"]).args(words).output().expect_code(1).expect_stderr(reason);
    }
    for flag in ["--cpu-period", "--memory", "--memory-swap", "--cpus"] {
        shim.cli(&["update", flag, "x", "box"]).expect_code(125).expect_stderr("invalid argument \"x\"");
    }
    assert_eq!((shim.record(&id), shim.document(&id)), before);
    // Of several the others are changed.
    let output = shim.cli(&["update", "--restart", "always", "nobody", "box"]).expect_code(1);
    assert_eq!(output.stdout, "box\n");
    assert_eq!(shim.inspect("box")["HostConfig"]["RestartPolicy"]["Name"], "always");
    if !has_controller("memory") {
        // Without a limit on swap is how it is.
        shim.cli(&["update", "--memory-swap", "-1", "box"]).expect_ok().expect_no_stderr();
        let output = shim.cli(&["update", "--memory", "64m", "box"]).expect_ok().expect_stdout("box\n");
        output.expect_stderr(
            "WARNING: Your kernel does not support memory limit capabilities or the cgroup is not mounted",
        );
        assert_eq!(shim.inspect("box")["HostConfig"]["Memory"], 0);
    }
}

#[test]
fn limits_are_in_force_at_once_and_at_the_next_start() {
    requires!(is_root(), "{ROOT}");
    let has_all = ["memory", "pids", "cpu"].iter().all(|name| has_controller(name));
    requires!(has_all, "no memory, pids and cpu controllers on cgroup v2");
    requires!(uses_cgroup2(), "this runtime uses cgroup v1 on a hybrid host");
    let _controllers = Controllers::keep();
    let shim = Shim::with_busybox();
    let words = ["--name", "box", "--memory", "64m", "--pids-limit", "50", "busybox", "sleep", "1000"];
    let id = shim.detached(&words);
    let told = |name: &str| shim.inspect("box")["HostConfig"][name].clone();
    shim.stdout(&[
        "update",
        "--memory",
        "100m",
        "--pids-limit",
        "30",
        "--cpus",
        "0.5",
        "--cpu-shares",
        "512",
        "box",
    ]);
    let files = |id: &str| ["memory.max", "pids.max", "cpu.max"].map(|name| cgroup_file(&shim, id, name));
    let expected = ["104857600", "30", "50000 100000"];
    assert_eq!(files(&id), expected);
    let told_now =
        (told("Memory"), told("MemorySwap"), told("PidsLimit"), told("NanoCpus"), told("CpuShares"));
    let values = (100 << 20, 128 << 20, 30, 500_000_000, 512);
    let values = (json!(values.0), json!(values.1), json!(values.2), json!(values.3), json!(values.4));
    assert_eq!(told_now, values);
    let resources = |document: &Value| document["linux"]["resources"].clone();
    assert_eq!(resources(&shim.document(&id))["memory"]["limit"], 100 << 20);
    assert!(resources(&shim.document(&id))["devices"].is_array(), "what nobody changes stays");
    // What contradicts itself changes nothing, neither here nor there.
    let before = (files(&id), shim.record(&id), shim.document(&id));
    let refused = |words: &[&str], reason: &str| {
        shim.call(&["update"]).args(words).output().expect_code(1).expect_stderr(reason);
    };
    refused(
        &["--memory", "200m", "--pids-limit", "9", "box"],
        "Memory limit should be smaller than already set memoryswap limit",
    );
    refused(
        &["--cpu-period", "20000", "box"],
        "CPU Period cannot be updated as NanoCPUs has already been set",
    );
    refused(&["--memory", "1m", "box"], "Minimum memory limit allowed is 6MB");
    // The kernel has no such processor: the runtime refuses, after it has begun with others.
    if has_controller("cpuset") {
        refused(&["--pids-limit", "9", "--cpuset-cpus", "4000", "box"], "Cannot update container");
    }
    assert_eq!((files(&id), shim.record(&id), shim.document(&id)), before);
    shim.stdout(&["restart", "-t", "0", "box"]);
    assert_eq!(files(&id), expected);
    shim.stdout(&["stop", "-t", "0", "box"]);
    shim.stdout(&["update", "--pids-limit", "-1", "--memory", "32m", "--memory-swap", "-1", "box"]);
    shim.stdout(&["start", "box"]);
    assert_eq!(files(&id), ["33554432", "max", "50000 100000"]);
}
