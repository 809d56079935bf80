//! Limits of the shim's containers, where the kernel can set them: what stands in the cgroup's files after each flag,
//! and what becomes of a container that wants more; and docker's warnings where it cannot.
//!
//! The first needs every controller on cgroup v2 (`make test-vm`), the second a host that has them on cgroup v1.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use integration::{Controllers, Process, Shim, has_controller, is_root, requires, uses_cgroup2, wait_for};

const MIB: u64 = 1 << 20;

/// Leaves the test as skipped where one of these controllers is not on cgroup v2; else a shim that may use them.
macro_rules! shim_with {
    ($($controller:literal),+) => {{
        requires!(is_root(), "limits need root");
        requires!(uses_cgroup2(), "this runtime uses cgroup v1 on a hybrid host");
        $(requires!(has_controller($controller), concat!("no controller ", $controller, " on cgroup v2"));)+
        (Controllers::keep(), Shim::with_busybox())
    }};
}

/// A container that sleeps, with these flags, and its first process.
#[track_caller]
fn asleep(shim: &Shim, flags: &[&str]) -> (String, Process) {
    let id = shim.detached(&[flags, &["busybox", "sleep", "600"]].concat());
    let process = shim.process(&id);
    (id, process)
}

fn file(process: Process, name: &str) -> String {
    process.cgroup_file(name).trim_end().to_owned()
}

/// These files of a container with these flags.
#[track_caller]
fn files<const N: usize>(shim: &Shim, flags: &[&str], names: [&str; N]) -> [String; N] {
    let (id, process) = asleep(shim, flags);
    let values = names.map(|name| file(process, name));
    shim.cli(&["rm", "--force", &id]).expect_ok();
    values
}

#[test]
fn limits_of_memory_are_written_as_docker_writes_them() {
    let (_controllers, shim) = shim_with!("memory");
    let names = ["memory.max", "memory.swap.max", "memory.low"];
    for (flags, wanted) in [
        (&["--memory", "64m"][..], ["67108864", "67108864", "0"]),
        (
            &["-m", "64m", "--memory-swap", "96m", "--memory-reservation", "32m"],
            ["67108864", "33554432", "33554432"],
        ),
        (&["-m", "64m", "--memory-swap", "64m"], ["67108864", "0", "0"]),
        (&["-m", "64m", "--memory-swap", "-1"], ["67108864", "max", "0"]),
        (&["--memory-reservation", "32m"], ["max", "max", "33554432"]),
    ] {
        assert_eq!(files(&shim, flags, names), wanted, "{flags:?}");
    }
}

#[test]
fn limits_of_processors_and_processes_are_written_as_docker_writes_them() {
    let (_controllers, shim) = shim_with!("cpu", "cpuset", "pids");
    let names = ["cpu.max", "cpuset.cpus", "pids.max"];
    for (flags, wanted) in [
        (&["--cpus", "1.5"][..], ["150000 100000", "", "max"]),
        (&["--cpu-quota", "20000", "--cpu-period", "50000"], ["20000 50000", "", "max"]),
        (&["--cpuset-cpus", "0", "--pids-limit", "77"], ["max 100000", "0", "77"]),
        (&["--pids-limit", "-1"], ["max 100000", "", "max"]),
    ] {
        assert_eq!(files(&shim, flags, names), wanted, "{flags:?}");
    }
    // How shares become a weight is the runtime's: more are more.
    let weight = |shares| files(&shim, &["--cpu-shares", shares], ["cpu.weight"])[0].parse::<u32>().unwrap();
    let (few, usual, many) = (weight("2"), weight("1024"), weight("4096"));
    assert!(few < usual && usual < many, "{few} {usual} {many}");
}

/// Path and numbers of the disk that the machine has for tests.
fn disk() -> Option<(String, String)> {
    let path = std::env::var("CAISSON_TEST_DISK").ok()?;
    let stat = fs::metadata(&path).ok().filter(|stat| stat.file_type().is_block_device())?;
    let (major, minor) = (rustix::fs::major(stat.rdev()), rustix::fs::minor(stat.rdev()));
    Some((path, format!("{major}:{minor}")))
}

#[test]
fn limits_of_disks_are_written_as_docker_writes_them() {
    let (_controllers, shim) = shim_with!("io");
    let Some((disk, numbers)) = disk() else { integration::skip!("CAISSON_TEST_DISK names no disk") };
    let rate = |rate: &str| format!("{disk}:{rate}");
    let (read, write, reads, writes) = (rate("1mb"), rate("2mb"), rate("100"), rate("200"));
    let flags = [
        ["--device-read-bps", &read],
        ["--device-write-bps", &write],
        ["--device-read-iops", &reads],
        ["--device-write-iops", &writes],
    ];
    let wanted = format!("{numbers} rbps=1048576 wbps=2097152 riops=100 wiops=200");
    assert_eq!(files(&shim, &flags.concat(), ["io.max"]), [wanted]);
    // Where the scheduler of disks has weights, its file is there too.
    let (id, process) = asleep(&shim, &["--blkio-weight", "300"]);
    let inside = |name: &str| fs::read_to_string(process.cgroup_folder().join(name)).ok();
    let weights = [inside("io.bfq.weight"), inside("io.weight")];
    assert!(
        weights.iter().flatten().any(|text| text.contains("default") && text != "default 100\n"),
        "{weights:?}"
    );
    shim.cli(&["rm", "--force", &id]).expect_ok();
}

#[test]
fn too_much_memory_ends_a_container_and_inspect_says_why() {
    let (_controllers, shim) = shim_with!("memory");
    let greedy = "exec dd if=/dev/zero of=/dev/null bs=64M count=1";
    let limits = ["--memory", "16m", "--memory-swap", "16m"];
    let run = shim.run(&[&["--name", "greedy"], &limits[..], &["busybox", "sh", "-c", greedy]].concat());
    run.expect_code(137);
    let state = &shim.inspect("greedy")["State"];
    assert_eq!(
        (&state["Status"], &state["OOMKilled"], &state["ExitCode"]),
        (&"exited".into(), &true.into(), &137.into()),
        "{state}"
    );
    let listed = shim.stdout(&["ps", "--all", "--format", "{{.Names}} {{.Status}}"]);
    assert!(listed.starts_with("greedy Exited (137) "), "{listed}");
    // One that ends for another reason does not have it.
    let id = shim.detached(&[&limits[..], &["busybox", "sh", "-c", "exit 9"]].concat());
    assert_eq!(shim.stdout(&["wait", &id]), "9\n");
    assert_eq!(shim.inspect(&id)["State"]["OOMKilled"], false);
}

#[test]
fn a_process_that_takes_too_much_memory_is_told_while_the_container_runs_on() {
    let (_controllers, shim) = shim_with!("memory");
    let script = "dd if=/dev/zero of=/dev/null bs=64M count=1; echo $?; exec sleep 600";
    let limits = ["--memory", "16m", "--memory-swap", "16m"];
    let id = shim.detached(&[&limits[..], &["busybox", "sh", "-c", script]].concat());
    wait_for("the kill", || shim.cli(&["logs", &id]).stdout.contains("137\n").then_some(()));
    wait_for("the reason", || (shim.inspect(&id)["State"]["OOMKilled"] == true).then_some(()));
    assert_eq!(shim.inspect(&id)["State"]["Status"], "running");
}

#[test]
fn no_more_processes_than_allowed_are_there() {
    let (_controllers, shim) = shim_with!("pids");
    let script = "sleep 600 & sleep 600 & sleep 600 & sleep 600 & echo all";
    let flags = ["--rm", "--pids-limit", "3", "busybox", "sh", "-c", script];
    let refused = shim.run(&flags).expect_fail();
    assert!(refused.stderr.contains("fork") && !refused.stdout.contains("all"), "{refused}");
}

#[test]
fn a_hardened_container_has_the_limits_that_inspect_tells() {
    let (_controllers, shim) = shim_with!("memory", "pids");
    let (id, process) = asleep(&shim, &["--hardened"]);
    let told = shim.inspect(&id)["HostConfig"].clone();
    let (memory, pids) = (told["Memory"].as_u64().unwrap(), told["PidsLimit"].as_u64().unwrap());
    assert!(memory > 16 * MIB && pids > 1, "{told}");
    let names = ["memory.max", "pids.max", "memory.swap.max"];
    assert_eq!(names.map(|name| file(process, name)), [memory.to_string(), pids.to_string(), "0".to_owned()]);
    // Its own flags loosen each.
    let flags = ["--hardened", "--memory", "64m", "--pids-limit", "-1"];
    assert_eq!(files(&shim, &flags, ["memory.max", "pids.max"]), ["67108864", "max"]);
}

#[test]
fn inside_a_container_sees_its_own_limits() {
    let (_controllers, shim) = shim_with!("memory", "pids");
    let flags = ["--rm", "--memory", "64m", "--pids-limit", "77", "busybox", "cat"];
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/pids.max"];
    assert_eq!(
        shim.run(&[&flags[..], &files].concat()).expect_ok().expect_no_stderr().stdout,
        "67108864\n77\n"
    );
}

#[test]
fn a_limit_that_the_kernel_cannot_set_is_left_out_with_dockers_warning() {
    requires!(is_root(), "limits need root");
    for controller in ["memory", "cpu", "pids", "io", "cpuset"] {
        requires!(!has_controller(controller), "{controller} is there");
    }
    let shim = Shim::with_busybox();
    let capabilities =
        |what| format!("WARNING: Your kernel does not support {what} or the cgroup is not mounted. ");
    for (flags, what, then) in [
        (["--memory", "64m"], "memory limit capabilities", "Limitation discarded."),
        (["--memory-reservation", "64m"], "memory soft limit capabilities", "Limitation discarded."),
        (["--pids-limit", "77"], "PIDs limit capabilities", "PIDs limit discarded."),
        (["--cpus", "1"], "CPU CFS scheduler", "CPU period/quota discarded."),
        (["--cpu-shares", "512"], "CPU shares", "Shares discarded."),
        (["--cpuset-cpus", "0"], "cpuset", "Cpuset discarded."),
        (["--blkio-weight", "300"], "Block I/O weight", "Weight discarded."),
    ] {
        let run = shim.run(&[&["--rm"], &flags[..], &["busybox", "true"]].concat()).expect_ok();
        assert_eq!(run.stderr, format!("{}{then}\n", capabilities(what)), "{flags:?}");
    }
}
