//! Namespaces: made, joined by path, shared with the host; names of the host; clocks. (runtime-spec,
//! config-linux.md: "Namespaces", "Offset for Time Namespace"; config.md: "Hostname"; namespaces(7).)
// Test code all of it: helpers panic where they stand, as the tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use integration::{
    Bundle, Call, Flavour, Process, Running, flavour, json, kernel_has, known_gap, requires, running,
    wait_for,
};

/// Names in config.json and in /proc/PID/ns.
const KINDS: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
];

/// A process of the test's own in new namespaces, given by unshare(1)'s flags, until the value goes.
struct Sleeper {
    running: Running,
}

impl Sleeper {
    #[track_caller]
    fn new(flags: &[&str]) -> Sleeper {
        // The shell says when the namespaces are there, then waits for the end of its input.
        let folder = integration::Scratch::new();
        let ready = folder.path().join("ready");
        let mut args: Vec<&str> = flags.to_vec();
        args.extend(["sh", "-c", "echo >\"$0\"; exec cat"]);
        let running = Call::of("unshare").args(args).args([&ready]).stdin_pipe().spawn();
        integration::wait_for("the sleeper's namespaces", || ready.exists().then_some(()));
        Sleeper { running }
    }

    fn process(&self) -> Process {
        Process::new(self.running.pid())
    }

    /// The path to join its namespace by.
    fn path(&self, name: &str) -> String {
        format!("/proc/{}/ns/{name}", self.running.pid())
    }
}

#[test]
fn every_namespace_is_made() {
    let container = running(Bundle::new());
    for (kind, name) in KINDS {
        assert_ne!(container.init().namespace(name), Process::this().namespace(name), "{kind}");
    }
}

#[test]
fn a_time_namespace_is_made() {
    known_gap!(Runc, Crun, "no time namespaces in these versions");
    requires!(kernel_has("/proc/self/ns/time"), "no time namespaces in this kernel");
    let container = running(Bundle::new().new_namespace("time"));
    assert_ne!(container.init().namespace("time"), Process::this().namespace("time"));
    assert_eq!(container.init().namespace("time"), container.init().namespace("time_for_children"));
}

#[test]
fn a_namespace_that_is_not_listed_is_the_hosts() {
    for (kind, name) in [("network", "net"), ("ipc", "ipc"), ("cgroup", "cgroup")] {
        let mut bundle = Bundle::new().remove_namespace(kind);
        if kind == "ipc" {
            bundle = bundle.remove_mount("/dev/mqueue");
        }
        let container = running(bundle);
        assert_eq!(container.init().namespace(name), Process::this().namespace(name), "{kind}");
        for (other_kind, other) in KINDS.iter().filter(|(other, _)| *other != kind) {
            assert_ne!(container.init().namespace(other), Process::this().namespace(other), "{other_kind}");
        }
    }
}

#[test]
fn the_hosts_uts_namespace_is_shared_where_no_name_is_given() {
    let container = running(Bundle::new().remove_namespace("uts").remove("/hostname"));
    assert_eq!(container.init().namespace("uts"), Process::this().namespace("uts"));
}

#[test]
fn the_hosts_pid_namespace_is_shared() {
    let container = running(Bundle::new().remove_namespace("pid"));
    let init = container.init();
    assert_eq!(init.namespace("pid"), Process::this().namespace("pid"));
    assert_eq!(init.status("NSpid"), init.pid().to_string());
    container.kill("KILL").expect_ok();
    container.wait_status("stopped");
    container.delete().expect_ok();
}

// Without a mount namespace the root is only a chroot: the program here only reads and sleeps.
#[test]
fn without_any_namespace_the_container_is_a_process_in_another_root() {
    known_gap!(Runc, "1.1.5 wants a mount namespace");
    known_gap!(Crun, "the harness runs it in a mount namespace of its own");
    let container = Bundle::new()
        .file("/mark", 0o644, b"here\n")
        .set("/mounts", json!([]))
        .set("/linux/namespaces", json!([]))
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
        .remove("/hostname")
        .sh("cat /mark; exec sleep 600")
        .container();
    container.run_detached().expect_ok();
    container.wait_stdout("here");
    for (kind, name) in KINDS {
        assert_eq!(container.init().namespace(name), Process::this().namespace(name), "{kind}");
    }
    assert_eq!(fs::read_link(container.init().path("root")).unwrap(), container.bundle().rootfs());
}

#[test]
fn what_would_change_the_host_is_refused_without_the_namespace() {
    known_gap!(Crun, "1.8.1 checks only some of it");
    let refused = |bundle: Bundle| bundle.run().expect_fail();
    refused(Bundle::new().remove_namespace("uts")).expect_runc_phrase("hostname");
    let ipc = Bundle::new().remove_namespace("ipc").remove_mount("/dev/mqueue");
    refused(ipc.set("/linux/sysctl", json!({"kernel.shmmax": "1000"}))).expect_runc_phrase("kernel.shmmax");
    let network = Bundle::new().remove_namespace("network");
    refused(network.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"})))
        .expect_runc_phrase("net.ipv4.ip_forward");
    known_gap!(Runc, "1.1.5 words it differently");
    refused(Bundle::new().remove_namespace("mount")).expect_stderr("mount namespace");
}

#[test]
fn namespaces_of_another_container_are_joined() {
    let first = running(Bundle::new());
    for (kind, name) in KINDS {
        if kind == "mount" || (kind == "cgroup" && flavour() == Flavour::Runc) {
            continue;
        }
        let path = format!("/proc/{}/ns/{name}", first.init_pid());
        let mut bundle = Bundle::new().join_namespace(kind, &path);
        if kind == "uts" {
            bundle = bundle.remove("/hostname");
        }
        let second = running(bundle);
        assert_eq!(second.init().namespace(name), first.init().namespace(name), "{kind}");
        for (_, other) in KINDS.iter().filter(|(other, _)| *other != kind) {
            assert_ne!(second.init().namespace(other), first.init().namespace(other), "{kind}: {other}");
            assert_ne!(second.init().namespace(other), Process::this().namespace(other), "{kind}: {other}");
        }
    }
}

#[test]
fn namespaces_of_any_process_are_joined_together() {
    let sleeper = Sleeper::new(&["--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child"]);
    // The namespace for pids is the one of unshare's child.
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", sleeper.running.pid())).unwrap();
    let child = Process::new(children.trim().parse().unwrap());
    let path = |name: &str| format!("/proc/{}/ns/{name}", child.pid());
    let container = running(
        Bundle::new()
            .join_namespace("pid", &path("pid"))
            .join_namespace("network", &path("net"))
            .join_namespace("ipc", &path("ipc"))
            .join_namespace("uts", &path("uts"))
            .remove("/hostname"),
    );
    for name in ["pid", "net", "ipc", "uts"] {
        assert_eq!(container.init().namespace(name), child.namespace(name), "{name}");
    }
    assert_eq!(container.init().namespace("pid"), container.init().namespace("pid_for_children"));
    // proc is mounted from inside the joined namespace: its first process is the sleeper's.
    let first = fs::read_to_string(container.init().inside("/proc/1/cmdline")).unwrap();
    assert!(first.starts_with("cat"), "{first:?}");
    container.kill("KILL").expect_ok();
    container.wait_status("stopped");
    container.delete().expect_ok();
    assert!(child.is_alive());
}

#[test]
fn a_mount_namespace_is_joined() {
    known_gap!(Runc, Crun, "they pivot the root of the namespace they join");
    let sleeper = Sleeper::new(&["--mount", "--propagation", "private"]);
    let before = sleeper.process().read("mountinfo");
    let container = Bundle::new()
        .file("/mark", 0o644, b"here\n")
        .join_namespace("mount", &sleeper.path("mnt"))
        .sh("cat /mark; exec sleep 600")
        .container();
    container.run_detached().expect_ok();
    container.wait_stdout("here");
    assert_eq!(container.init().namespace("mnt"), sleeper.process().namespace("mnt"));
    // The process that was there keeps its root and its mounts.
    assert_eq!(fs::read_link(sleeper.process().path("root")).unwrap().to_str(), Some("/"));
    assert!(sleeper.process().read("mountinfo").starts_with(&before));
    // The container's own are the namespace's from now on, as with runc, which `delete` does not enter: whoever
    // is in it may have moved them. They never were the host's, and go with the namespace.
    let during = sleeper.process().read("mountinfo");
    container.delete_force().expect_ok();
    assert_eq!(sleeper.process().read("mountinfo"), during);
    assert!(sleeper.process().is_alive());
    let scratch = container.bundle().scratch().to_owned();
    let of_container = |process: Process| {
        process.mounts().into_iter().filter(|mount| mount.destination.starts_with(&scratch)).count()
    };
    assert!(of_container(sleeper.process()) > 3, "{during}");
    assert_eq!(of_container(Process::this()), 0);
    // And the same bundle is joined to it again.
    container.run_detached().expect_ok();
    container.wait_status("running");
}

#[test]
fn a_cgroup_namespace_is_joined() {
    known_gap!(Runc, "1.1.5 joins it too early to see the container's cgroup");
    let sleeper = Sleeper::new(&["--cgroup"]);
    let container = running(Bundle::new().join_namespace("cgroup", &sleeper.path("cgroup")));
    assert_eq!(container.init().namespace("cgroup"), sleeper.process().namespace("cgroup"));
}

#[test]
fn a_time_namespace_is_joined() {
    known_gap!(Runc, Crun, "no time namespaces in these versions");
    requires!(kernel_has("/proc/self/ns/time"), "no time namespaces in this kernel");
    let offsets = json!({"boottime": {"secs": 5000}});
    let first = running(Bundle::new().new_namespace("time").set("/linux/timeOffsets", offsets));
    for others in [&[][..], &["pid"]] {
        let path = |name: &str| format!("/proc/{}/ns/{name}", first.init_pid());
        let mut bundle = Bundle::new().join_namespace("time", &path("time"));
        for other in others {
            bundle = bundle.join_namespace(other, &path(other));
        }
        let second = running(bundle);
        assert_eq!(second.init().namespace("time"), first.init().namespace("time"));
        assert_eq!(second.init().namespace("time_for_children"), first.init().namespace("time"));
    }
}

#[test]
fn offsets_cannot_be_given_to_a_time_namespace_that_is_joined() {
    known_gap!(Runc, Crun, "no time namespaces in these versions");
    requires!(kernel_has("/proc/self/ns/time"), "no time namespaces in this kernel");
    let sleeper = Sleeper::new(&["--time"]);
    // unshare's own process stays where it was; its children are in the new namespace.
    let path = sleeper.path("time_for_children");
    let bundle = || Bundle::new().join_namespace("time", &path);
    let joined = running(bundle());
    assert_eq!(joined.init().namespace("time"), sleeper.process().namespace("time_for_children"));
    let shifted = bundle().set("/linux/timeOffsets", json!({"monotonic": {"secs": 1}}));
    shifted.run().expect_fail().expect_stderr("linux.timeOffsets");
}

#[test]
fn every_namespace_of_a_pod_is_joined_at_once() {
    known_gap!(Runc, "1.1.5 joins the cgroup namespace too early");
    let pause = running(Bundle::new());
    let mut bundle = Bundle::new().remove("/hostname");
    for (kind, name) in KINDS.into_iter().filter(|(kind, _)| *kind != "mount") {
        bundle = bundle.join_namespace(kind, &format!("/proc/{}/ns/{name}", pause.init_pid()));
    }
    let container = running(bundle);
    for (kind, name) in KINDS {
        let same = container.init().namespace(name) == pause.init().namespace(name);
        assert_eq!(same, kind != "mount", "{kind}");
    }
    let status = container.init().status("NSpid");
    assert_eq!(status.split_whitespace().count(), pause.init().status("NSpid").split_whitespace().count());
    // The pod outlives its container.
    container.kill("KILL").expect_ok();
    container.wait_status("stopped");
    container.delete().expect_ok();
    assert!(pause.init().is_alive());
}

#[test]
fn init_may_be_faster_than_the_process_that_joined_for_it() {
    known_gap!(Runc, Crun, "the threads of Go are not to be held up so; crun's parent waits otherwise");
    requires!(kernel_has("/usr/bin/strace"), "no strace");
    let pause = running(Bundle::new());
    let container = Bundle::new()
        .join_namespace("pid", &format!("/proc/{}/ns/pid", pause.init_pid()))
        .sleeping()
        .container();
    // Whoever clones is held up afterwards: init comes as far as it can while its maker says nothing.
    let trace = container.bundle().scratch_file("trace");
    let strace = ["-f", "-o", &trace, "-e", "trace=clone3", "-e", "inject=clone3:delay_exit=500000"];
    let call = Call::of("strace").args(strace).args([integration::runtime_under_test()]);
    let call = call.args(["--root".as_ref(), container.state_root().as_os_str()]);
    let call = call.args(["create".as_ref(), "--bundle".as_ref(), container.bundle().path().as_os_str()]);
    let made = call.args([container.id()]).output_in(container.bundle().scratch()).spawn();
    wait_for("the container", || {
        let state = container.state_output();
        (state.status.success() && state.json()["status"] == "created").then_some(())
    });
    assert_eq!(container.init().namespace("pid"), pause.init().namespace("pid"));
    container.delete_force().expect_ok();
    // strace stays as long as init, which it follows.
    made.wait().expect_ok();
}

#[test]
fn a_namespace_of_another_kind_is_refused_by_its_entry() {
    for kind in ["network", "pid"] {
        let refused = Bundle::new().join_namespace(kind, "/proc/self/ns/uts").run().expect_fail();
        known_gap!(Runc, Crun, "they name the call alone");
        refused
            .expect_stderr("linux.namespaces[5]")
            .expect_stderr("/proc/self/ns/uts")
            .expect_stderr("invalid argument");
    }
}

#[test]
fn a_path_that_is_no_namespace_is_refused_by_its_entry() {
    let missing = Bundle::new().join_namespace("network", "/no/such/namespace").run().expect_fail();
    missing.expect_runc_phrase("/no/such/namespace").expect_runc_phrase("no such file or directory");
    let file = Bundle::new().join_namespace("ipc", "/etc/passwd").run().expect_fail();
    known_gap!(Runc, Crun, "they name the call alone");
    file.expect_stderr("linux.namespaces[5].path").expect_stderr("/etc/passwd");
}

#[test]
fn an_unknown_kind_and_a_repeated_one_are_refused_by_their_entry() {
    let twice = Bundle::new().push("/linux/namespaces", json!({"type": "pid"})).run().expect_fail();
    let unknown = Bundle::new().push("/linux/namespaces", json!({"type": "disk"})).run().expect_fail();
    known_gap!(Runc, Crun, "they do not name the entry");
    twice.expect_stderr("linux.namespaces[6].type").expect_stderr("pid");
    unknown.expect_stderr("linux.namespaces[6].type").expect_stderr("disk");
}

#[test]
fn a_fifo_in_the_place_of_a_namespace_does_not_stop_the_runtime() {
    known_gap!(Runc, Crun, "they wait for somebody to open the other end");
    let bundle = Bundle::new();
    let fifo = bundle.scratch_file("fifo");
    nix::unistd::mkfifo(fifo.as_str(), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    bundle.join_namespace("network", &fifo).run().expect_fail().expect_stderr("linux.namespaces[5].path");
}

#[test]
fn host_and_domain_name_are_the_containers_own() {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let long = "x".repeat(64);
    for name in ["box", "with.dots-and-more", &long] {
        assert_eq!(Bundle::new().set("/hostname", json!(name)).in_container("hostname"), name);
    }
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), host);
    known_gap!(Runc, "1.1.5 does not know the domain name");
    let bundle = Bundle::new().set("/domainname", json!("example.org"));
    assert_eq!(bundle.in_container("cat /proc/sys/kernel/domainname"), "example.org");
}

#[test]
fn a_host_name_that_is_too_long_is_refused() {
    let refused = Bundle::new().set("/hostname", json!("x".repeat(65))).run().expect_fail();
    known_gap!(Runc, Crun, "they name the call alone");
    refused.expect_stderr("hostname");
}

#[test]
fn a_host_name_in_a_joined_uts_namespace_is_set_there() {
    let sleeper = Sleeper::new(&["--uts"]);
    let bundle = Bundle::new().join_namespace("uts", &sleeper.path("uts")).set("/hostname", json!("joined"));
    assert_eq!(bundle.in_container("hostname"), "joined");
    let seen = Call::of("nsenter").args([&format!("--uts={}", sleeper.path("uts")), "hostname"]).output();
    assert_eq!(seen.expect_ok().stdout, "joined\n");
}

/// Seconds since boot in a text of /proc/uptime.
fn uptime(text: &str) -> f64 {
    text.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn clocks_are_shifted_in_a_time_namespace() {
    known_gap!(Runc, Crun, "no time namespaces in these versions");
    requires!(kernel_has("/proc/self/ns/time"), "no time namespaces in this kernel");
    let offsets = json!({"boottime": {"secs": 1_000_000, "nanosecs": 7}, "monotonic": {"secs": 2_000_000}});
    let container = Bundle::new()
        .new_namespace("time")
        .set("/linux/timeOffsets", offsets)
        .sh("cat /proc/uptime; exec sleep 600")
        .container();
    container.run_detached().expect_ok();
    container.wait_stdout("\n");
    let host = uptime(&fs::read_to_string("/proc/uptime").unwrap());
    let shift = uptime(&container.stdout()) - host;
    assert!((999_000.0..=1_000_001.0).contains(&shift), "{shift}");
    let offsets = container.init().read("timens_offsets");
    let lines: Vec<Vec<&str>> = offsets.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [["monotonic", "2000000", "0"], ["boottime", "1000000", "7"]]);
}

#[test]
fn a_clock_may_be_set_back_but_not_before_boot() {
    known_gap!(Runc, Crun, "no time namespaces in these versions");
    requires!(kernel_has("/proc/self/ns/time"), "no time namespaces in this kernel");
    let bundle = |secs: i64| {
        let offsets = json!({"monotonic": {"secs": secs}});
        Bundle::new().new_namespace("time").set("/linux/timeOffsets", offsets)
    };
    let container = running(bundle(-10));
    assert!(container.init().read("timens_offsets").contains("-10"));
    bundle(-4_000_000_000).run().expect_fail().expect_stderr("linux.timeOffsets");
}

#[test]
fn time_offsets_need_a_time_namespace_and_a_clock_that_has_them() {
    known_gap!(Runc, Crun, "no time namespaces in these versions");
    let alone = Bundle::new().set("/linux/timeOffsets", json!({"monotonic": {"secs": 1}}));
    alone.run().expect_fail().expect_stderr("linux.timeOffsets");
    let unknown =
        Bundle::new().new_namespace("time").set("/linux/timeOffsets", json!({"realtime": {"secs": 1}}));
    unknown.run().expect_fail().expect_stderr("realtime");
}

#[test]
fn loopback_is_up_in_a_new_network_and_left_alone_in_a_joined_one() {
    let look = "ip link show lo | grep -q ',UP' && echo up || echo down";
    assert_eq!(Bundle::new().in_container(look), "up");
    let sleeper = Sleeper::new(&["--net"]);
    let joined = Bundle::new().join_namespace("network", &sleeper.path("net"));
    assert_eq!(joined.in_container(look), "down");
}

#[test]
fn messages_are_the_containers_own() {
    let first = running(Bundle::new());
    fs::write(first.init().inside("/dev/mqueue/queue"), "").ok();
    assert!(first.init().inside("/dev/mqueue/queue").exists());
    let path = format!("/proc/{}/ns/ipc", first.init_pid());
    assert_eq!(Bundle::new().in_container("ls /dev/mqueue"), "");
    assert_eq!(Bundle::new().join_namespace("ipc", &path).in_container("ls /dev/mqueue"), "queue");
}
