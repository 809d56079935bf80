//! `update`: other limits for a container that lives, by flags, from a file or from standard input, in the
//! shapes that engines send. (runtime-spec, config-linux.md: "Control groups"; runc's `update`.)
//!
//! Where a controller is not on cgroup v2, files of the cgroup itself stand in, and the rest is skipped.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;

use integration::{
    Bundle, Container, Controllers, Flavour, Output, Value, flavour, has_controller, json, known_gap,
    report_skip, requires, running, uses_cgroup2, wait_for,
};

const ON_V1: &str = "this runtime uses cgroup v1 on a hybrid host";

const DEPTH: &str = "cgroup.max.depth";
const BELOW: &str = "cgroup.max.descendants";

fn file(container: &Container, name: &str) -> String {
    container.init().cgroup_file(name)
}

/// A container with these limits of the cgroup itself.
fn unified(limits: Value) -> Container {
    running(Bundle::new().set("/linux/resources/unified", limits))
}

#[test]
fn limits_come_from_standard_input_and_from_a_file() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let container = running(Bundle::new());
    container.update_to(&json!({"unified": {DEPTH: "5"}})).expect_ok().expect_no_stderr();
    assert_eq!(file(&container, DEPTH), "5");
    let path = container.bundle().scratch_file("resources.json");
    fs::write(&path, json!({"unified": {DEPTH: "6"}}).to_string()).unwrap();
    for (flags, depth) in [(["-r", &path], "6"), (["--resources", &path], "6")] {
        container.update(&flags).expect_ok().expect_no_stderr();
        assert_eq!(file(&container, DEPTH), depth);
    }
    assert_eq!(container.status(), "running");
}

#[test]
fn a_file_counts_and_flags_beside_it_do_not() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let container = running(Bundle::new());
    let call = container.call("update").args(["--resources=-", "--pids-limit", "5", container.id()]);
    call.stdin_bytes(json!({"unified": {DEPTH: "4"}}).to_string()).output().expect_ok();
    assert_eq!(file(&container, DEPTH), "4");
}

#[test]
fn only_what_is_given_changes() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let container = unified(json!({DEPTH: "5", BELOW: "7"}));
    // As somebody else may do.
    fs::write(container.init().cgroup_folder().join(BELOW), "9").unwrap();
    container.update_to(&json!({"unified": {DEPTH: "6"}})).expect_ok();
    assert_eq!((file(&container, DEPTH), file(&container, BELOW)), ("6".into(), "9".into()));
    container.update(&[]).expect_ok();
    container.update_to(&json!({})).expect_ok();
    assert_eq!((file(&container, DEPTH), file(&container, BELOW)), ("6".into(), "9".into()));
}

#[test]
fn null_and_what_is_empty_are_absent() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, "1.1.5 panics on sections that are null");
    let container = unified(json!({DEPTH: "5"}));
    let nothing = json!({
        "devices": null, "memory": null, "cpu": {"shares": null, "cpus": "", "mems": ""}, "pids": null,
        "blockIO": {"weightDevice": null}, "hugepageLimits": null, "network": null, "rdma": null, "unified": null,
    });
    container.update_to(&nothing).expect_ok().expect_no_stderr();
    assert_eq!(file(&container, DEPTH), "5");
}

#[test]
fn devices_are_left_as_they_are() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Crun, "1.8.1 sets the rules anew");
    // No driver has this number: who may open it is told ENXIO, who may not EPERM.
    let local = json!({"path": "/dev/local", "type": "c", "major": 240, "minor": 7, "fileMode": 0o666});
    let bundle = Bundle::new()
        .set("/linux/resources/devices", json!([{"allow": false, "access": "rwm"}]))
        .push("/linux/devices", local)
        .sh("while :; do (exec 3</dev/local) 2>&1; sleep 0.02; done");
    let container = bundle.container();
    container.run_detached().expect_ok();
    container.wait_stdout("not permitted");
    let open = json!({"devices": [{"allow": true, "access": "rwm"}], "unified": {DEPTH: "5"}});
    container.update_to(&open).expect_ok();
    assert_eq!(file(&container, DEPTH), "5");
    let before = container.stdout().lines().count();
    wait_for("two further tries", || (container.stdout().lines().count() > before + 2).then_some(()));
    assert!(!container.stdout().contains("No such device"), "{}", container.stdout());
}

#[test]
fn a_refused_update_changes_nothing_and_names_the_field() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, "1.1.5 names the file, and fails to put back what was written before it");
    known_gap!(Crun, "1.8.1 leaves what was written before");
    let container = unified(json!({DEPTH: "5", BELOW: "7"}));
    let refused = container.update_to(&json!({"unified": {DEPTH: "6", BELOW: "many"}}));
    refused.expect_code(1).expect_stderr("linux.resources.unified[\"cgroup.max.descendants\"]: ");
    assert_eq!((file(&container, DEPTH), file(&container, BELOW)), ("5".into(), "7".into()));
    container.update_to(&json!({"unified": {DEPTH: "8"}})).expect_ok();
    assert_eq!((file(&container, DEPTH), file(&container, BELOW)), ("8".into(), "7".into()));
}

#[test]
fn a_created_and_a_paused_container_are_updated_and_stay_so() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let container = Bundle::new().sleeping().container();
    container.create().expect_ok();
    container.update_to(&json!({"unified": {DEPTH: "5"}})).expect_ok();
    assert_eq!((container.status().as_str(), file(&container, DEPTH).as_str()), ("created", "5"));
    container.start().expect_ok();
    container.pause().expect_ok();
    container.update_to(&json!({"unified": {DEPTH: "6"}})).expect_ok();
    assert_eq!((container.status().as_str(), file(&container, DEPTH).as_str()), ("paused", "6"));
    container.resume().expect_ok();
    assert_eq!(container.status(), "running");
}

#[test]
fn what_does_not_run_is_not_updated() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Crun, "1.8.1 succeeds at updating what has stopped");
    let container = running(Bundle::new());
    container.kill("KILL").expect_ok();
    container.wait_status("stopped");
    container.update(&["--pids-limit", "5"]).expect_code(1).expect_runc_phrase("container not running");
    container.delete().expect_ok();
    container.update(&["--pids-limit", "5"]).expect_code(1).expect_runc_phrase("does not exist");
}

#[test]
fn a_document_that_does_not_parse_names_its_field_and_changes_nothing() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Crun, "1.8.1 takes numbers for what they begin with");
    let ours = flavour() == Flavour::Ours;
    let container = unified(json!({DEPTH: "5"}));
    let from = |text: &str| {
        container.call("update").args(["-r", "-", container.id()]).stdin_bytes(text).output().expect_code(1)
    };
    let typed: [(Value, &str); 6] = [
        (json!({"memory": [1_048_576]}), "memory"),
        (json!([[], {"limit": 5}]), "--resources"),
        (json!({"memory": {"limit": "1G"}}), "memory.limit"),
        (json!({"pids": {"limit": 1.5}}), "pids.limit"),
        (json!({"cpu": {"shares": -1}}), "cpu.shares"),
        (json!({"unified": {DEPTH: 6}}), "unified"),
    ];
    for (document, field) in typed {
        let output = from(&document.to_string()).expect_fail();
        if ours {
            output.expect_stderr(field).expect_stderr("--resources");
        }
    }
    for text in ["", "{", "x"] {
        from(text);
    }
    let missing = container.bundle().scratch_file("no-such-file");
    container.update(&["--resources", &missing]).expect_code(1).expect_stderr("no-such-file");
    assert_eq!(file(&container, DEPTH), "5");
}

#[test]
fn a_flag_that_is_no_number_is_named() {
    known_gap!(Crun, "1.8.1 names no flags");
    let container = running(Bundle::new());
    for flag in ["--cpu-share", "--cpu-quota", "--cpu-period", "--memory", "--memory-swap"] {
        let name = flag.trim_start_matches("--");
        container.update(&[flag, "x"]).expect_fail().expect_stderr(&format!("invalid value for {name}"));
    }
    container.update(&["--no-such-flag", "1"]).expect_code(1).expect_stderr("not defined: -no-such-flag");
}

/// A flag, the controller that it needs, and the field that is named.
fn needs() -> [(&'static str, &'static str, &'static str, &'static str); 6] {
    [
        ("memory", "--memory", "64m", "linux.resources.memory.limit"),
        ("memory", "--memory-reservation", "64m", "linux.resources.memory.reservation"),
        ("pids", "--pids-limit", "10", "linux.resources.pids.limit"),
        ("cpu", "--cpu-share", "512", "linux.resources.cpu.shares"),
        ("cpuset", "--cpuset-cpus", "0", "linux.resources.cpu.cpus"),
        ("io", "--blkio-weight", "500", "linux.resources.blockIO.weight"),
    ]
}

#[test]
fn a_limit_without_its_controller_is_refused_with_field_controller_and_cure() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "they name the missing file alone");
    let missing: Vec<_> =
        needs().into_iter().filter(|(controller, ..)| !has_controller(controller)).collect();
    requires!(!missing.is_empty(), "cgroup v2 has every controller");
    let container = unified(json!({DEPTH: "5"}));
    for (controller, flag, value, field) in missing {
        let output = container.update(&[flag, value]).expect_code(1);
        output
            .expect_stderr(&format!("{field} needs the controller {controller:?}"))
            .expect_stderr("cgroup_no_v1");
    }
    assert_eq!(file(&container, DEPTH), "5");
}

#[test]
fn flags_that_only_cgroup_v1_has_are_refused_or_warned_of() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "they ignore what they cannot do");
    let container = running(Bundle::new());
    for (flag, field) in [("--cpu-rt-period", "realtimePeriod"), ("--cpu-rt-runtime", "realtimeRuntime")] {
        let output = container.update(&[flag, "1000"]).expect_code(1);
        output.expect_stderr(&format!("linux.resources.cpu.{field}: cgroup v2 has no such limit"));
    }
    let output = container.update(&["--kernel-memory", "1m", "--kernel-memory-tcp", "1m"]).expect_ok();
    assert_eq!(output.stderr.matches("cgroup v2 counts it in the limit of memory").count(), 2, "{output}");
}

#[test]
fn schemata_without_a_class_of_its_own_are_refused() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, "where there is no resctrl, it says no more");
    known_gap!(Crun, "1.8.1 has no such flags");
    let container = running(Bundle::new());
    for (flag, schema) in [("--l3-cache-schema", "L3:0=f"), ("--mem-bw-schema", "MB:0=20")] {
        container
            .update(&[flag, schema])
            .expect_code(1)
            .expect_stderr("linux.intelRdt: the container has no class");
    }
}

/// A limit: its controller, the flags, the file and what the file then says.
type Flags = (&'static str, &'static [&'static str], &'static str, &'static str);

/// They go to one container in this order: later ones go on from earlier ones.
const FLAGS: &[Flags] = &[
    ("memory", &["--memory", "64m"], "memory.max", "67108864"),
    ("memory", &["--memory-swap", "96M"], "memory.swap.max", "33554432"),
    ("memory", &["--memory", "48m"], "memory.swap.max", "50331648"),
    ("memory", &["--memory", "32mb", "--memory-swap", "32mb"], "memory.swap.max", "0"),
    ("memory", &["--memory", "1g", "--memory-swap", "-1"], "memory.swap.max", "max"),
    ("memory", &["--memory", "-1"], "memory.max", "max"),
    ("memory", &["--memory-reservation", "16384k"], "memory.low", "16777216"),
    ("pids", &["--pids-limit", "77"], "pids.max", "77"),
    ("pids", &["--pids-limit", "-1"], "pids.max", "max"),
    ("cpu", &["--cpu-share", "2048"], "cpu.weight", "174"),
    ("cpu", &["--cpu-quota", "20000"], "cpu.max", "20000 100000"),
    ("cpu", &["--cpu-period", "50000"], "cpu.max", "20000 50000"),
    ("cpu", &["--cpu-quota", "30000"], "cpu.max", "30000 50000"),
    ("cpu", &["--cpu-burst", "10000"], "cpu.max.burst", "10000"),
    // Below the burst that is there, and above the quota that is there: whichever goes first, both are set.
    ("cpu", &["--cpu-quota", "5000", "--cpu-burst", "4000"], "cpu.max.burst", "4000"),
    ("cpu", &["--cpu-quota", "90000", "--cpu-burst", "80000"], "cpu.max", "90000 50000"),
    ("cpu", &["--cpu-burst", "0", "--cpu-quota", "-1"], "cpu.max", "max 50000"),
    ("cpu", &["--cpu-idle", "1"], "cpu.idle", "1"),
    ("cpu", &["--cpu-share", "1024"], "cpu.idle", "1"),
    ("cpu", &["--cpu-idle", "0"], "cpu.weight", "100"),
    ("cpuset", &["--cpuset-cpus", "0"], "cpuset.cpus", "0"),
    ("cpuset", &["--cpuset-mems", "0"], "cpuset.mems", "0"),
];

#[test]
fn every_flag_stands_in_its_file() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, "1.1.5 forgets the limit of memory when that of swap is updated alone");
    known_gap!(Crun, "1.8.1 knows no units");
    let _controllers = Controllers::keep();
    let container = running(Bundle::new());
    let mut skipped: Vec<&str> = Vec::new();
    for (controller, flags, name, expected) in FLAGS {
        if !has_controller(controller) {
            if !skipped.contains(controller) {
                skipped.push(controller);
                report_skip(
                    "every_flag_stands_in_its_file",
                    &format!("no controller {controller} on cgroup v2"),
                );
            }
            continue;
        }
        container.update(flags).expect_ok().expect_no_stderr();
        assert_eq!(file(&container, name), *expected, "{flags:?}");
    }
    if has_controller("io") {
        container.update(&["--blkio-weight", "1000"]).expect_ok();
        let weight = ["io.bfq.weight", "io.weight"].map(|name| container.init().cgroup_folder().join(name));
        let weight: String = weight.iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
        assert!(weight.contains("1000"), "{weight}");
    }
}

#[test]
fn engines_shapes_are_understood() {
    requires!(uses_cgroup2(), "{ON_V1}");
    for controller in ["memory", "cpu", "cpuset", "pids", "io"] {
        requires!(has_controller(controller), "no controller {controller} on cgroup v2");
    }
    let _controllers = Controllers::keep();
    let container = running(Bundle::new());
    let check = |what: &str, document: Value, files: &[(&str, &str)]| {
        container.update_to(&document).expect_ok().expect_no_stderr();
        for (name, expected) in files {
            assert_eq!(file(&container, name), *expected, "{what}");
        }
    };
    // `docker update --memory 128m --memory-swap 256m --cpus 0.5 --pids-limit 100`, through containerd.
    let docker = json!({
        "memory": {"limit": 134_217_728, "swap": 268_435_456},
        "cpu": {"quota": 50_000, "period": 100_000}, "pids": {"limit": 100}, "blockIO": {},
    });
    let swap = fs::exists(container.init().cgroup_folder().join("memory.swap.max")).unwrap();
    let files = [("memory.max", "134217728"), ("cpu.max", "50000 100000"), ("pids.max", "100")];
    check("docker", docker, &files);
    if swap {
        assert_eq!(file(&container, "memory.swap.max"), "134217728");
    }
    // CRI's UpdateContainerResources: all of the container's resources again, devices too.
    let cri = json!({
        "devices": [{"allow": false, "access": "rwm"}],
        "memory": {"limit": 67_108_864, "swap": 67_108_864},
        "cpu": {"shares": 512, "quota": 25_000, "period": 100_000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 100}, "unified": {"memory.oom.group": "1"},
    });
    let files = [
        ("memory.max", "67108864"),
        ("cpu.max", "25000 100000"),
        ("cpuset.cpus", "0"),
        ("memory.oom.group", "1"),
    ];
    check("cri", cri, &files);
    // `podman update --cpu-shares 1024 --memory-reservation 32m`.
    let podman = json!({"memory": {"reservation": 33_554_432}, "cpu": {"cpus": "", "mems": ""}});
    check("podman", podman, &[("memory.low", "33554432"), ("memory.max", "67108864"), ("cpuset.cpus", "0")]);
}

/// Refused, and the number of bytes in use is named.
fn expect_usage(output: Output) -> u64 {
    let output = output.expect_code(1).expect_stderr("linux.resources.memory.limit");
    let usage = output.stderr.split("present usage of ").nth(1).and_then(|rest| rest.split(' ').next());
    usage.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no usage in {output}"))
}

#[test]
fn a_memory_limit_below_the_usage_is_refused_with_the_usage_where_that_is_asked_for() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("memory"), "no controller memory on cgroup v2");
    known_gap!(Runc, "1.1.5 does not check it");
    known_gap!(Crun, "1.8.1 knows no units");
    let _controllers = Controllers::keep();
    // 8 MiB of a tmpfs, which only its owner can free.
    let script =
        "dd if=/dev/zero of=/dev/shm/held bs=1M count=8 2>/dev/null; echo held; while :; do sleep 1; done";
    let memory = json!({"limit": 67_108_864, "checkBeforeUpdate": true});
    let container = Bundle::new().set("/linux/resources/memory", memory).sh(script).container();
    container.run_detached().expect_ok();
    container.wait_stdout("held");
    let usage = expect_usage(container.update(&["--memory", "4m"]));
    assert!(usage > 8 << 20, "{usage}");
    assert_eq!(file(&container, "memory.max"), "67108864");
    container.update(&["--memory", "32m"]).expect_ok();
    assert_eq!(file(&container, "memory.max"), "33554432");
    let asked = json!({"memory": {"limit": 4_194_304, "checkBeforeUpdate": true}});
    expect_usage(container.update_to(&asked));
    assert_eq!(container.status(), "running");
}

#[test]
fn a_limit_that_does_not_go_with_the_present_ones_is_refused() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("memory"), "no controller memory on cgroup v2");
    known_gap!(Runc, "1.1.5 forgets the limit of swap when that of memory is updated alone");
    known_gap!(Crun, "1.8.1 knows no units");
    let _controllers = Controllers::keep();
    let memory = json!({"limit": 33_554_432, "swap": 67_108_864});
    let container = running(Bundle::new().set("/linux/resources/memory", memory));
    let output = container.update(&["--memory", "128m"]).expect_code(1);
    output.expect_stderr(
        "linux.resources.memory.swap: 67108864 is below linux.resources.memory.limit, 134217728",
    );
    assert_eq!(file(&container, "memory.max"), "33554432");
}

#[test]
fn a_new_limit_of_processes_is_enforced_and_lifted() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("pids"), "no controller pids on cgroup v2");
    let _controllers = Controllers::keep();
    // busybox's sh ends itself when it cannot fork: the inner one tries.
    let script = "while :; do (sh -c 'sleep 0' && echo made) 2>/dev/null || echo denied; done & \
                  while :; do read x </proc/uptime; done";
    let container = Bundle::new().sh(script).container();
    container.run_detached().expect_ok();
    container.wait_stdout("made");
    container.update(&["--pids-limit", "1"]).expect_ok();
    wait_for("a fork that is denied", || {
        let events = file(&container, "pids.events");
        events.lines().any(|line| line.starts_with("max ") && line != "max 0").then_some(())
    });
    assert_eq!(file(&container, "pids.max"), "1");
    container.update(&["--pids-limit", "-1"]).expect_ok();
    assert_eq!(file(&container, "pids.max"), "max");
}

#[test]
fn of_many_updates_at_once_none_is_lost() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "their records have other forms");
    let container = unified(json!({DEPTH: "2", BELOW: "2"}));
    let updates: Vec<_> = (10..18)
        .map(|number: u32| {
            let name = if number.is_multiple_of(2) { DEPTH } else { BELOW };
            let document = json!({"unified": {name: number.to_string()}}).to_string();
            container.call("update").args(["-r", "-", container.id()]).stdin_bytes(document).spawn()
        })
        .collect();
    updates.into_iter().for_each(|update| drop(update.wait().expect_ok()));
    let now = || (file(&container, DEPTH), file(&container, BELOW));
    let (depth, below) = now();
    assert!(
        ["10", "12", "14", "16"].contains(&depth.as_str())
            && ["11", "13", "15", "17"].contains(&below.as_str())
    );
    let record = fs::read_to_string(container.state_root().join(container.id()).join("state.json")).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!(
        record["resources"]["unified"],
        json!({DEPTH: depth, BELOW: below}),
        "the record has what is in force"
    );
}
