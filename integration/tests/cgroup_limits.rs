//! Limits of the container's cgroup: `linux.resources` without devices, and what happens where a limit cannot
//! be had. (runtime-spec, config-linux.md: "Control groups"; the kernel's admin-guide/cgroup-v2.rst.)
//!
//! A controller that cgroup v1 has on this host is not on cgroup v2: its limits are skipped, each with a line
//! that says so, and the refusal is tested instead.
// Test code all of it: helpers panic where they stand, as the tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use integration::{
    Bundle, Call, Controllers, Value, cgroup2_mount, has_controller, json, known_gap, report_skip, requires,
    running, uses_cgroup2,
};

const ON_V1: &str = "this runtime uses cgroup v1 on a hybrid host";

fn with(pointer: &str, value: Value) -> Bundle {
    Bundle::new().set(&format!("/linux/resources{pointer}"), value)
}

/// A limit: its controller, where it stands in `linux.resources`, its value, the file and what the file then
/// says.
type Limit = (&'static str, &'static str, Value, &'static str, &'static str);

fn limits() -> Vec<Limit> {
    vec![
        (
            "hugetlb",
            "/hugepageLimits",
            json!([{"pageSize": "2MB", "limit": 4_194_304}]),
            "hugetlb.2MB.max",
            "4194304",
        ),
        (
            "hugetlb",
            "/hugepageLimits",
            json!([{"pageSize": "2MB", "limit": 2_097_152}]),
            "hugetlb.2MB.rsvd.max",
            "2097152",
        ),
        ("hugetlb", "/unified", json!({"hugetlb.2MB.max": "6291456"}), "hugetlb.2MB.max", "6291456"),
        ("hugetlb", "/unified", json!({"hugetlb.2MB.max": "max"}), "hugetlb.2MB.max", "max"),
        ("memory", "/memory", json!({"limit": 33_554_432}), "memory.max", "33554432"),
        (
            "memory",
            "/memory",
            json!({"limit": 33_554_432, "swap": 50_331_648}),
            "memory.swap.max",
            "16777216",
        ),
        ("memory", "/memory", json!({"limit": -1}), "memory.max", "max"),
        ("memory", "/memory", json!({"reservation": 16_777_216}), "memory.low", "16777216"),
        ("memory", "/unified", json!({"memory.high": "29360128"}), "memory.high", "29360128"),
        ("pids", "/pids", json!({"limit": 77}), "pids.max", "77"),
        ("pids", "/pids", json!({"limit": -1}), "pids.max", "max"),
        ("cpu", "/cpu", json!({"shares": 1024}), "cpu.weight", "100"),
        ("cpu", "/cpu", json!({"shares": 2}), "cpu.weight", "1"),
        ("cpu", "/cpu", json!({"shares": 262_144}), "cpu.weight", "10000"),
        ("cpu", "/cpu", json!({"quota": 20_000, "period": 50_000}), "cpu.max", "20000 50000"),
        ("cpu", "/cpu", json!({"period": 50_000}), "cpu.max", "max 50000"),
        ("cpu", "/cpu", json!({"quota": 20_000, "burst": 10_000}), "cpu.max.burst", "10000"),
        ("cpu", "/cpu", json!({"idle": 1}), "cpu.idle", "1"),
        ("cpuset", "/cpu", json!({"cpus": "0"}), "cpuset.cpus", "0"),
        ("cpuset", "/cpu", json!({"mems": "0"}), "cpuset.mems", "0"),
        ("cpuset", "/unified", json!({"cpuset.cpus.partition": "member"}), "cpuset.cpus.partition", "member"),
    ]
}

#[test]
fn limits_stand_in_the_files_of_their_controller() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let _controllers = Controllers::keep();
    let mut skipped: Vec<&str> = Vec::new();
    for (controller, pointer, value, file, expected) in limits() {
        if !has_controller(controller) {
            if !skipped.contains(&controller) {
                skipped.push(controller);
                let reason = format!("no controller {controller} on cgroup v2");
                report_skip("cgroup_limits::limits_stand_in_the_files_of_their_controller", &reason);
            }
            continue;
        }
        let shown = format!("{pointer} {value}");
        let container = running(with(pointer, value));
        assert_eq!(container.init().cgroup_file(file), expected, "{shown}");
    }
}

#[test]
fn limits_are_there_before_the_program_starts() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let container = with("/unified", json!({"cgroup.max.depth": "3"})).sleeping().container();
    container.create().expect_ok();
    assert_eq!(container.init().cgroup_file("cgroup.max.depth"), "3");
}

#[test]
fn a_weight_of_block_devices_stands_in_the_file_of_the_scheduler_there_is() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("io"), "no controller io on cgroup v2");
    let _controllers = Controllers::keep();
    let container = running(with("/blockIO", json!({"weight": 1000})));
    let has = |file: &str| container.init().cgroup_folder().join(file).exists();
    let (file, expected) =
        if has("io.bfq.weight") { ("io.bfq.weight", "1000") } else { ("io.weight", "10000") };
    assert!(container.init().cgroup_file(file).contains(expected));
}

#[test]
fn files_of_the_cgroup_itself_are_set_by_their_names() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let unified = json!({"cgroup.max.depth": "2", "cgroup.max.descendants": "1"});
    let container = running(with("/unified", unified));
    assert_eq!(container.init().cgroup_file("cgroup.max.depth"), "2");
    assert_eq!(container.init().cgroup_file("cgroup.max.descendants"), "1");
    let script = "cd /sys/fs/cgroup && mkdir a && (mkdir b 2>/dev/null || echo one); rmdir a";
    let inside = with("/unified", json!({"cgroup.max.descendants": "1"}))
        .remove_mount("/sys/fs/cgroup")
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"])
        .in_container(script);
    assert_eq!(inside, "one");
}

#[test]
fn what_is_named_as_the_kernel_names_it_has_the_last_word() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("hugetlb"), "no controller hugetlb on cgroup v2");
    let _controllers = Controllers::keep();
    let container = running(
        with("/hugepageLimits", json!([{"pageSize": "2MB", "limit": 2_097_152}]))
            .set("/linux/resources/unified", json!({"hugetlb.2MB.max": "4194304"})),
    );
    assert_eq!(container.init().cgroup_file("hugetlb.2MB.max"), "4194304");
    assert_eq!(container.init().cgroup_file("hugetlb.2MB.rsvd.max"), "2097152");
}

#[test]
fn a_controller_is_switched_on_in_every_level_above() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("hugetlb"), "no controller hugetlb on cgroup v2");
    let _controllers = Controllers::keep();
    let bundle = with("/hugepageLimits", json!([{"pageSize": "2MB", "limit": 0}]));
    let name = bundle.scratch().file_name().unwrap().to_str().unwrap().to_owned();
    let container = running(bundle.set("/linux/cgroupsPath", json!(format!("/{name}/a/b"))));
    assert_eq!(container.init().cgroup_file("hugetlb.2MB.max"), "0");
    let top = cgroup2_mount().unwrap().join(&name);
    for level in [top.clone(), top.join("a")] {
        let enabled = fs::read_to_string(level.join("cgroup.subtree_control")).unwrap();
        assert!(enabled.split_whitespace().any(|word| word == "hugetlb"), "{}", level.display());
    }
    assert_eq!(container.init().cgroup_file("cgroup.subtree_control"), "");
}

#[test]
fn a_level_with_processes_passes_no_controller_on_and_is_named() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("hugetlb"), "no controller hugetlb on cgroup v2");
    known_gap!(Runc, Crun, "they name the file alone");
    let _controllers = Controllers::keep();
    let above = running(Bundle::new());
    let path = format!("{}/below", above.init().cgroup());
    let limited = with("/hugepageLimits", json!([{"pageSize": "2MB", "limit": 0}]));
    let refused = limited.set("/linux/cgroupsPath", json!(path)).run().expect_fail();
    refused
        .expect_stderr("linux.resources.hugepageLimits[0]")
        .expect_stderr(above.id())
        .expect_stderr("processes of its own");
    assert!(!above.init().cgroup_folder().join("below").exists());
    assert!(above.init().is_alive());
    // Who asks for nothing lives there; the controllers that the level would take are not forced on it.
    Bundle::new().set("/linux/cgroupsPath", json!(path)).args(&["/bin/busybox", "true"]).run().expect_ok();
    assert_eq!(above.init().cgroup_file("cgroup.type"), "domain");
}

#[test]
fn too_many_processes_cannot_be_made() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("pids"), "no controller pids on cgroup v2");
    let _controllers = Controllers::keep();
    // No pipe: its two sides would race for the last process.
    let script = "(for i in 1 2 3 4 5; do sleep 5 & done) 2>&1; echo ended with $?";
    let within = |limit: u32| with("/pids", json!({"limit": limit})).sh(script).run().stdout;
    assert_eq!(within(7), "ended with 0\n");
    let refused = within(3);
    assert!(refused.contains("can't fork") && refused.ends_with("ended with 2\n"), "{refused}");
}

#[test]
fn who_takes_too_much_memory_is_killed() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("memory"), "no controller memory on cgroup v2");
    let _controllers = Controllers::keep();
    let bundle = with("/memory", json!({"limit": 16_777_216, "swap": 16_777_216}));
    // tail keeps the last line, which never ends.
    bundle.sh("exec tail /dev/zero").run().expect_code(128 + 9);
}

#[test]
fn processors_are_those_that_are_given() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("cpuset"), "no controller cpuset on cgroup v2");
    let _controllers = Controllers::keep();
    let script = "grep Cpus_allowed_list /proc/self/status | cut -f2";
    assert_eq!(with("/cpu", json!({"cpus": "0"})).in_container(script), "0");
}

#[test]
fn processor_time_is_limited() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("cpu"), "no controller cpu on cgroup v2");
    let _controllers = Controllers::keep();
    let container =
        with("/cpu", json!({"quota": 5000, "period": 100_000})).sh("while :; do :; done").container();
    container.run_detached().expect_ok();
    integration::wait_for("a period in which it was stopped", || {
        let stat = container.init().cgroup_file("cpu.stat");
        let throttled = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        throttled.is_some_and(|count| count != "0").then_some(())
    });
}

/// A value for each controller, and the field that needs it.
fn needs() -> [(&'static str, &'static str, Value, &'static str); 10] {
    [
        ("memory", "/memory", json!({"limit": 33_554_432}), "linux.resources.memory.limit"),
        ("memory", "/memory", json!({"reservation": 33_554_432}), "linux.resources.memory.reservation"),
        ("pids", "/pids", json!({"limit": 10}), "linux.resources.pids.limit"),
        ("cpu", "/cpu", json!({"shares": 512}), "linux.resources.cpu.shares"),
        ("cpu", "/cpu", json!({"quota": 5000}), "linux.resources.cpu.quota"),
        ("cpuset", "/cpu", json!({"cpus": "0"}), "linux.resources.cpu.cpus"),
        ("io", "/blockIO", json!({"weight": 500}), "linux.resources.blockIO.weight"),
        (
            "hugetlb",
            "/hugepageLimits",
            json!([{"pageSize": "2MB", "limit": 0}]),
            "linux.resources.hugepageLimits[0]",
        ),
        ("rdma", "/rdma", json!({"mlx5_0": {"hcaHandles": 1}}), "linux.resources.rdma.mlx5_0"),
        ("memory", "/unified", json!({"memory.high": "1000000"}), "linux.resources.unified[\"memory.high\"]"),
    ]
}

#[test]
fn a_limit_without_its_controller_is_refused_with_field_controller_and_cure() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "they name the file alone, or go without");
    let missing: Vec<_> =
        needs().into_iter().filter(|(controller, ..)| !has_controller(controller)).collect();
    requires!(!missing.is_empty(), "every controller is on cgroup v2");
    let kernel = fs::read_to_string("/proc/cgroups").unwrap();
    for (controller, pointer, value, field) in missing {
        let v1_name = if controller == "io" { "blkio" } else { controller };
        let fields = kernel.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let cure = match fields.into_iter().find(|fields| fields[0] == v1_name) {
            None => "this kernel was built without it",
            Some(fields) if fields[3] == "0" => "boot without cgroup_disable",
            Some(fields) if fields[1] != "0" => {
                "boot with systemd.unified_cgroup_hierarchy=1 or cgroup_no_v1=all"
            }
            Some(_) => "delegate it in the cgroup above",
        };
        let container = with(pointer, value).container();
        let refused = container.create().expect_fail();
        assert_eq!(refused.stderr.trim_end().lines().count(), 1, "{refused}");
        refused.expect_stderr(field).expect_stderr(&format!("{controller:?}")).expect_stderr(cure);
        container.state_output().expect_fail().expect_stderr("does not exist");
        let folder = cgroup2_mount().unwrap().join(container.id());
        assert!(!folder.exists(), "{}", folder.display());
    }
}

#[test]
fn a_limit_of_zero_is_one_that_was_not_given() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let resources = json!({
        "memory": {"limit": 0, "swap": 0, "reservation": 0, "kernel": 0, "kernelTCP": 0},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": "", "mems": ""},
        "blockIO": {"weight": 0, "leafWeight": 0},
        "network": {"classID": 0, "priorities": []},
        "hugepageLimits": [],
        "unified": {},
    });
    Bundle::new().set("/linux/resources", resources).run().expect_ok();
}

#[test]
fn a_limit_that_cgroup_v2_does_not_have_is_refused_by_its_field() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "they ignore these on cgroup v2");
    for (pointer, value, field) in [
        ("/memory", json!({"swappiness": 50}), "linux.resources.memory.swappiness"),
        ("/memory", json!({"disableOOMKiller": true}), "linux.resources.memory.disableOOMKiller"),
        ("/cpu", json!({"realtimeRuntime": 1000}), "linux.resources.cpu.realtimeRuntime"),
        ("/cpu", json!({"realtimePeriod": 1000}), "linux.resources.cpu.realtimePeriod"),
        ("/blockIO", json!({"leafWeight": 500}), "linux.resources.blockIO.leafWeight"),
        ("/network", json!({"classID": 1}), "linux.resources.network.classID"),
        (
            "/network",
            json!({"priorities": [{"name": "lo", "priority": 1}]}),
            "linux.resources.network.priorities",
        ),
    ] {
        let refused = with(pointer, value).run().expect_fail();
        refused.expect_stderr(field).expect_stderr("cgroup v2 has no such limit");
    }
}

#[test]
fn a_value_out_of_range_is_refused_by_its_field() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "they leave it to the kernel, or cut it to size");
    for (pointer, value, field) in [
        ("/pids", json!({"limit": -5}), "linux.resources.pids.limit"),
        ("/memory", json!({"limit": -5}), "linux.resources.memory.limit"),
        ("/memory", json!({"limit": 4096, "swap": 1}), "linux.resources.memory.swap"),
        ("/memory", json!({"swap": 4096}), "linux.resources.memory.swap"),
        ("/cpu", json!({"idle": 2}), "linux.resources.cpu.idle"),
        ("/blockIO", json!({"weight": 5}), "linux.resources.blockIO.weight"),
        (
            "/hugepageLimits",
            json!([{"pageSize": "2M", "limit": 0}]),
            "linux.resources.hugepageLimits[0].pageSize",
        ),
        ("/rdma", json!({"mlx5_0": {}}), "linux.resources.rdma.mlx5_0"),
        ("/unified", json!({"nodot": "1"}), "linux.resources.unified[\"nodot\"]"),
        ("/unified", json!({"../x.y": "1"}), "linux.resources.unified[\"../x.y\"]"),
        ("/unified", json!({"cgroup.procs": "1"}), "linux.resources.unified[\"cgroup.procs\"]"),
        ("/unified", json!({"cgroup.freeze": "1"}), "linux.resources.unified[\"cgroup.freeze\"]"),
        ("/unified", json!({"cgroup.kill": "1"}), "linux.resources.unified[\"cgroup.kill\"]"),
    ] {
        with(pointer, value).run().expect_fail().expect_stderr(field);
    }
}

#[test]
fn a_value_that_the_kernel_refuses_is_named_with_field_and_file() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let refused = with("/unified", json!({"cgroup.max.depth": "deep"})).run().expect_fail();
    refused.expect_runc_phrase("cgroup.max.depth").expect_runc_phrase("invalid argument");
    known_gap!(Runc, Crun, "they name the file alone");
    // Of the cgroup's own files only those are taken that are limits.
    let unknown = with("/unified", json!({"cgroup.no.such.file": "1"})).run().expect_fail();
    unknown
        .expect_stderr("linux.resources.unified[\"cgroup.no.such.file\"]")
        .expect_stderr("this file is not a limit");
    requires!(has_controller("hugetlb"), "no controller hugetlb on cgroup v2");
    let _controllers = Controllers::keep();
    let unknown = with("/unified", json!({"hugetlb.no.such.file": "1"})).run().expect_fail();
    unknown
        .expect_stderr("linux.resources.unified[\"hugetlb.no.such.file\"]")
        .expect_stderr("this kernel has no such limit");
    let size = with("/hugepageLimits", json!([{"pageSize": "3MB", "limit": 0}])).run().expect_fail();
    size.expect_stderr("linux.resources.hugepageLimits[0]").expect_stderr("hugetlb.3MB.max");
}

#[test]
fn what_cgroup_v2_counts_elsewhere_is_warned_of() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "they ignore these on cgroup v2");
    let bundle = with("/memory", json!({"kernel": 1_000_000, "kernelTCP": 1_000_000, "useHierarchy": false}));
    let log = bundle.scratch_file("log");
    let container = bundle.container().with_globals(&["--log", &log, "--log-format", "json"]);
    container.run().expect_ok().expect_no_stderr();
    let text = fs::read_to_string(&log).unwrap();
    for field in ["memory.kernel:", "memory.kernelTCP:", "memory.useHierarchy:"] {
        assert!(text.contains(field), "{field} {text}");
    }
}

/// `run` where cgroup v2 is mounted nowhere.
fn run_without_cgroup2(bundle: Bundle) -> integration::Output {
    let container = bundle.container();
    let script = "umount --lazy \"$0\" && exec \"$@\"";
    let call = Call::of("unshare").args(["--mount", "sh", "-c", script]);
    let call =
        call.args([cgroup2_mount().expect("a mount of cgroup v2")]).args([integration::runtime_under_test()]);
    let call = call.args(["--root".as_ref(), container.state_root().as_os_str()]);
    call.args([
        "run".as_ref(),
        "--bundle".as_ref(),
        container.bundle().path().as_os_str(),
        container.id().as_ref(),
    ])
    .output()
}

#[test]
fn a_host_without_cgroup_v2_runs_what_asks_for_no_limit() {
    known_gap!(Runc, Crun, "they have cgroup v1 as well");
    let bundle = || Bundle::new().remove("/linux/resources").remove_mount("/sys/fs/cgroup");
    let output = run_without_cgroup2(bundle().sh("echo inside")).expect_ok();
    assert_eq!(output.stdout, "inside\n");
    for (pointer, value, field) in [
        ("/linux/cgroupsPath", json!("/somewhere"), "linux.cgroupsPath"),
        ("/linux/resources/pids/limit", json!(5), "linux.resources.pids.limit"),
        ("/linux/resources/devices", json!([{"allow": false}]), "linux.resources.devices"),
    ] {
        let refused = run_without_cgroup2(bundle().set(pointer, value)).expect_fail();
        refused
            .expect_stderr(field)
            .expect_stderr("cgroup2 is not mounted")
            .expect_stderr("mount -t cgroup2");
    }
}
