//! Limits hold: what the kernel does to a container that wants more than `linux.resources` gives it. (What stands
//! in the files of the cgroup is the matter of `cgroup_limits`; the kernel's admin-guide/cgroup-v2.rst.)
//!
//! Most of it needs controllers that many build machines have on cgroup v1: see `make test-vm`. Times are only
//! ever bounded from below: a slow machine proves nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use integration::{
    Bundle, Container, Controllers, Value, has_controller, json, known_gap, requires, running, uses_cgroup2,
    wait_for,
};

const ON_V1: &str = "this runtime uses cgroup v1 on a hybrid host";
const MIB: u64 = 1 << 20;

fn with(pointer: &str, value: Value) -> Bundle {
    Bundle::new().set(&format!("/linux/resources{pointer}"), value)
}

fn detached(bundle: Bundle, script: &str) -> Container {
    let container = bundle.sh(script).container();
    container.run_detached().expect_ok();
    container
}

/// The number after a key in a flat file such as memory.events.
fn counted(container: &Container, file: &str, key: &str) -> u64 {
    let text = container.init().cgroup_file(file);
    let mut fields = text.lines().filter_map(|line| line.split_once(' '));
    fields.find(|(name, _)| *name == key).unwrap_or_else(|| panic!("{key} in {text}")).1.parse().unwrap()
}

/// A program that holds this much memory at once, for a moment.
fn holding(mib: u64) -> String {
    format!("dd if=/dev/zero of=/dev/null bs={mib}M count=1 2>/dev/null")
}

// --- memory ------------------------------------------------------------------------------------------------

#[test]
fn half_a_mebibyte_is_enough_for_a_container() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("memory"), "no controller memory on cgroup v2");
    known_gap!(Runc, "it needs more than two mebibytes");
    let _controllers = Controllers::keep();
    // What init uses until it becomes the program counts too.
    with("/memory", json!({"limit": MIB / 2, "swap": MIB / 2})).args(&["true"]).run().expect_ok();
}

#[test]
fn of_a_containers_processes_the_one_that_takes_too_much_memory_is_killed() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("memory"), "no controller memory on cgroup v2");
    let _controllers = Controllers::keep();
    let limit = json!({"limit": 16 * MIB, "swap": 16 * MIB});
    let script = format!("{}; echo status $?; exec sleep 600", holding(64));
    let container = detached(with("/memory", limit), &script);
    container.wait_stdout("status ");
    assert_eq!(container.stdout(), "status 137\n");
    assert_eq!(counted(&container, "memory.events", "oom_kill"), 1);
    assert!(counted(&container, "memory.events", "max") > 0);
    assert_eq!(container.status(), "running");
}

#[test]
fn all_processes_go_together_where_that_is_asked_for() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("memory"), "no controller memory on cgroup v2");
    let _controllers = Controllers::keep();
    let resources =
        json!({"memory": {"limit": 16 * MIB, "swap": 16 * MIB}, "unified": {"memory.oom.group": "1"}});
    let bundle = Bundle::new().set("/linux/resources", resources);
    // Without the group the shell would live on.
    let container = detached(bundle, &format!("{}; exec sleep 600", holding(64)));
    container.wait_status("stopped");
}

#[test]
fn memory_is_swapped_out_where_swap_is_left() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("memory"), "no controller memory on cgroup v2");
    let swaps = fs::read_to_string("/proc/swaps").unwrap();
    requires!(swaps.lines().count() > 1, "nothing to swap to on this host");
    let _controllers = Controllers::keep();
    for (swap, status) in [(16 * MIB, 137), (80 * MIB, 0)] {
        let limit = json!({"limit": 16 * MIB, "swap": swap});
        let script = format!("{}; echo status $?; exec sleep 600", holding(32));
        let container = detached(with("/memory", limit), &script);
        container.wait_stdout("status ");
        assert_eq!(container.stdout(), format!("status {status}\n"), "{swap}");
        assert_eq!(container.init().cgroup_file("memory.swap.max"), (swap - 16 * MIB).to_string());
    }
}

#[test]
fn above_memory_high_a_container_is_slowed_and_not_killed() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("memory"), "no controller memory on cgroup v2");
    let _controllers = Controllers::keep();
    let script = "dd if=/dev/zero of=/tmp/file bs=1M count=24 2>/dev/null; echo status $?; exec sleep 600";
    let bundle = with("/unified", json!({"memory.high": (8 * MIB).to_string()}));
    let container = detached(bundle, script);
    container.wait_stdout("status 0");
    assert!(counted(&container, "memory.events", "high") > 0);
    assert_eq!(counted(&container, "memory.events", "oom_kill"), 0);
}

#[test]
fn a_limit_of_memory_below_what_is_in_use_is_refused_with_the_usage() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("memory"), "no controller memory on cgroup v2");
    known_gap!(Runc, Crun, "these versions take it");
    let _controllers = Controllers::keep();
    // A cgroup that is there already, whose memory a file of a tmpfs still holds.
    let keeper = running(with("/memory", json!({"limit": 256 * MIB})));
    let path = format!("{}/inner", keeper.init().cgroup());
    let parent = keeper.init().cgroup_folder();
    // Only a cgroup without processes passes its controllers on: the keeper's own move into a leaf.
    fs::create_dir(parent.join("leaf")).unwrap();
    fs::write(parent.join("leaf/cgroup.procs"), keeper.init_pid().to_string()).unwrap();
    for pid in fs::read_to_string(parent.join("cgroup.procs")).unwrap().lines() {
        // The shell's `sleep` may just have ended.
        let _ = fs::write(parent.join("leaf/cgroup.procs"), pid);
    }
    wait_for("an empty cgroup", || fs::write(parent.join("cgroup.subtree_control"), "+memory").ok());
    let inner = parent.join("inner");
    fs::create_dir(&inner).unwrap();
    let file = keeper.bundle().scratch_file("held");
    let script =
        format!("echo $$ >{}/cgroup.procs && exec head -c 20971520 /dev/zero >{file}", inner.display());
    integration::Call::of("sh").args(["-c", &script]).output().expect_ok();
    let usage: u64 = fs::read_to_string(inner.join("memory.current")).unwrap().trim().parse().unwrap();
    requires!(usage > 16 * MIB, "files for temporary use are not in memory here");

    let low = json!({"limit": 4 * MIB, "checkBeforeUpdate": true});
    let refused = with("/memory", low).set("/linux/cgroupsPath", json!(path)).run().expect_fail();
    let refused = refused.expect_stderr("linux.resources.memory.limit");
    // The kernel's own bookkeeping moves it a little.
    let named = refused.stderr.split_once("present usage of ").and_then(|(_, rest)| rest.split_once(' '));
    let named: u64 = named.and_then(|(number, _)| number.parse().ok()).expect("the usage, in bytes");
    assert!(named > 16 * MIB && named < 64 * MIB, "{refused}");
    assert_eq!(fs::read_to_string(inner.join("memory.max")).unwrap(), "max\n");
    fs::remove_dir(&inner).unwrap();
}

// --- processor time, processes -----------------------------------------------------------------------------

#[test]
fn processor_time_beyond_the_quota_is_not_given() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("cpu"), "no controller cpu on cgroup v2");
    let _controllers = Controllers::keep();
    let quota = json!({"quota": 10_000, "period": 100_000});
    let container = detached(with("/cpu", quota), "while :; do :; done");
    let usage = || counted(&container, "cpu.stat", "usage_usec");
    let (begin, before) = (Instant::now(), usage());
    wait_for("twenty periods in which it was stopped", || {
        (counted(&container, "cpu.stat", "nr_throttled") >= 20).then_some(())
    });
    assert!(counted(&container, "cpu.stat", "throttled_usec") > 0);
    let (used, passed) = (usage() - before, begin.elapsed());
    // A tenth of the time is allowed. Without a limit it would be nearly all of it; the slack is for slices that
    // are handed out whole.
    assert!(Duration::from_micros(used) < passed / 3, "{used} us in {passed:?}");
}

#[test]
fn fork_is_refused_beyond_the_number_of_processes() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("pids"), "no controller pids on cgroup v2");
    let _controllers = Controllers::keep();
    // The inner shell gives up at the first fork that is refused.
    let script = "sh -c 'for i in 1 2 3 4 5 6; do sleep 600 & done; echo all'; exec sleep 600";
    let container = detached(with("/pids", json!({"limit": 4})), script);
    wait_for("a refused fork", || (counted(&container, "pids.events", "max") > 0).then_some(()));
    let current: u32 = container.init().cgroup_file("pids.current").parse().unwrap();
    assert!(current <= 4, "{current}");
    assert!(!container.stdout().contains("all"));
}

// --- block devices -----------------------------------------------------------------------------------------

/// The disk that tests may overwrite, as `major:minor`.
fn disk() -> Option<(u64, u64)> {
    let path = std::env::var_os("CAISSON_TEST_DISK")?;
    let data = fs::metadata(path).ok().filter(|data| data.file_type().is_block_device())?;
    Some((nix::sys::stat::major(data.rdev()), nix::sys::stat::minor(data.rdev())))
}

/// A container that may use the disk as /dev/disk.
fn with_disk((major, minor): (u64, u64), throttle: Value) -> Bundle {
    let device = json!({"path": "/dev/disk", "type": "b", "major": major, "minor": minor, "fileMode": 0o666});
    let rules = json!([{"allow": false, "access": "rwm"},
                       {"allow": true, "type": "b", "major": major, "minor": minor, "access": "rw"}]);
    with("/blockIO", throttle).set("/linux/resources/devices", rules).push("/linux/devices", device)
}

/// What io.stat counts of a device under a key.
fn transferred(container: &Container, (major, minor): (u64, u64), key: &str) -> u64 {
    let text = container.init().cgroup_file("io.stat");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{major}:{minor} ")));
    let mut fields = line.unwrap_or_default().split(' ').filter_map(|field| field.split_once('='));
    fields.find(|(name, _)| *name == key).map_or(0, |(_, value)| value.parse().unwrap())
}

/// A container that has done what a script asks for and told its status, and the time that this took from `start`.
fn timed(bundle: Bundle, script: &str) -> (Container, Duration) {
    let container = bundle.sh(&format!("{script}; echo status $?; exec sleep 600")).container();
    container.create().expect_ok();
    let begin = Instant::now();
    container.start().expect_ok();
    container.wait_stdout("status ");
    (container, begin.elapsed())
}

#[test]
fn direct_writes_to_a_device_take_the_time_that_their_rate_demands() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("io"), "no controller io on cgroup v2");
    let Some(disk) = disk() else { integration::skip!("CAISSON_TEST_DISK names no disk to write to") };
    let _controllers = Controllers::keep();
    let (major, minor) = disk;
    let rate = json!({"throttleWriteBpsDevice": [{"major": major, "minor": minor, "rate": MIB}]});
    let script = "dd if=/dev/zero of=/dev/disk bs=64k count=64 oflag=direct 2>/dev/null";
    let (container, passed) = timed(with_disk(disk, rate), script);
    assert_eq!(container.stdout(), "status 0\n");
    assert_eq!(
        container.init().cgroup_file("io.max"),
        format!("{major}:{minor} rbps=max wbps={MIB} riops=max wiops=max")
    );
    assert_eq!(transferred(&container, disk, "wbytes"), 4 * MIB);
    // Four seconds; the kernel gives a slice or two in advance. Without a limit it is a fraction of one.
    assert!(passed > Duration::from_secs(3), "{passed:?}");
}

#[test]
fn direct_reads_of_a_device_take_the_time_that_their_number_demands() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("io"), "no controller io on cgroup v2");
    let Some(disk) = disk() else { integration::skip!("CAISSON_TEST_DISK names no disk to read from") };
    let _controllers = Controllers::keep();
    let (major, minor) = disk;
    let rate = json!({"throttleReadIOPSDevice": [{"major": major, "minor": minor, "rate": 10}]});
    let script = "dd if=/dev/disk of=/dev/null bs=4k count=40 iflag=direct 2>/dev/null";
    let (container, passed) = timed(with_disk(disk, rate), script);
    assert_eq!(container.stdout(), "status 0\n");
    assert_eq!(transferred(&container, disk, "rios"), 40);
    assert!(passed > Duration::from_secs(3), "{passed:?}");
}

#[test]
fn a_disk_that_is_not_allowed_cannot_be_opened_though_its_node_is_there() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let Some(disk) = disk() else { integration::skip!("CAISSON_TEST_DISK names no disk") };
    let script = "test -b /dev/disk && head -c 1 /dev/disk 2>&1 | sed 's/.*: //'";
    let denied = with_disk(disk, json!({})).set("/linux/resources/devices", json!([{"allow": false}]));
    assert_eq!(denied.in_container(script), "Operation not permitted");
    let allowed = with_disk(disk, json!({})).in_container("head -c 1 /dev/disk | wc -c");
    assert_eq!(allowed, "1");
}

// --- huge pages, rdma --------------------------------------------------------------------------------------

#[test]
fn huge_pages_beyond_the_limit_are_refused() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("hugetlb"), "no controller hugetlb on cgroup v2");
    let free = Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    let free: u32 = fs::read_to_string(free).map_or(0, |text| text.trim().parse().unwrap());
    requires!(free >= 4, "{free} huge pages are free on this host");
    let _controllers = Controllers::keep();
    let mounted = |bundle: Bundle| bundle.mount("/huge", "hugetlbfs", "none", &["pagesize=2M"]);
    let script = "cd /huge; for size in 2M 4M; do fallocate -l $size $size 2>/dev/null; echo $?; done; \
                  rm -f 2M 4M";
    let limit = json!([{"pageSize": "2MB", "limit": 2 * MIB}]);
    assert_eq!(mounted(with("/hugepageLimits", limit)).in_container(script), "0\n1");
    let limit = json!([{"pageSize": "2MB", "limit": 8 * MIB}]);
    assert_eq!(mounted(with("/hugepageLimits", limit)).in_container(script), "0\n0");
}

#[test]
fn limits_of_rdma_devices_stand_in_their_file() {
    requires!(uses_cgroup2(), "{ON_V1}");
    requires!(has_controller("rdma"), "no controller rdma on cgroup v2");
    let _controllers = Controllers::keep();
    let devices = fs::read_dir("/sys/class/infiniband").ok().and_then(|mut list| list.next());
    let Some(device) = devices.and_then(Result::ok).and_then(|entry| entry.file_name().into_string().ok())
    else {
        // Without a device there is nothing to limit, and whoever asks for it is told.
        let refused = with("/rdma", json!({"mlx5_9": {"hcaHandles": 3}})).run().expect_fail();
        known_gap!(Runc, Crun, "they name the file alone");
        refused.expect_stderr("linux.resources.rdma.mlx5_9").expect_stderr("rdma.max");
        integration::skip!("the host has no RDMA device");
    };
    let limit = json!({device.as_str(): {"hcaHandles": 3, "hcaObjects": 10_000}});
    let container = running(with("/rdma", limit));
    let expected = format!("{device} hca_handle=3 hca_object=10000");
    let file = container.init().cgroup_file("rdma.max");
    assert!(file.lines().any(|line| line.trim_end() == expected), "{file}"); // the kernel ends each with a blank
}
