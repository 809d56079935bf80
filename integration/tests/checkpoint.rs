//! `checkpoint` and `restore`: processes go on where they were (runc, checkpoint.8.md and restore.8.md; criu(8)).
//!
//! CRIU has to be there and able to do its part, which it says itself (`criu check`): see `make test-vm`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use integration::checkpoint::{COUNTING, count_in, counting, criu_lacks};
use integration::{
    Bundle, Container, Flavour, Process, flavour, has_controller, json, known_gap, requires, skip, wait_for,
};
use rustix::process::Signal;

macro_rules! requires_criu {
    () => {
        if let Some(why) = criu_lacks() {
            skip!("{why}");
        }
    };
}

/// Sees that a container with this memory of its own is one like any other, to its end.
#[track_caller]
fn is_usable(container: &Container) {
    assert_eq!(container.status(), "running");
    let init = container.init();
    assert!(container.ps().contains(&init.pid()));
    let exec =
        container.call("exec").args([container.id(), "sh", "-c", "cat /count; readlink /proc/self/ns/time"]);
    let said = exec.output().expect_ok().stdout;
    assert!(said.lines().next().unwrap().parse::<u64>().unwrap() > 0, "{said}");
    // runc 1.1.5 does not enter the time namespace that CRIU makes.
    if flavour() == Flavour::Ours {
        assert_eq!(said.lines().nth(1), Some(init.namespace("time").as_str()));
    }
    container.pause().expect_ok();
    assert_eq!(container.status(), "paused");
    let still = container.count();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(container.count(), still);
    container.resume().expect_ok();
    container.wait_count(still);
    container.kill("KILL").expect_ok();
    container.wait_status("stopped");
    container.delete().expect_ok();
    container.state_output().expect_fail().expect_stderr("does not exist");
}

#[test]
fn a_container_goes_on_where_it_was() {
    requires_criu!();
    let container = counting(Bundle::new());
    let init = container.init();
    // Not CapAmb, which CRIU 3.17 does not restore.
    let mut what = vec!["Seccomp", "CapEff", "CapPrm", "CapInh", "CapBnd"];
    if flavour() == Flavour::Ours {
        what.push("NoNewPrivs"); // nor this one; the runtime sees to it
    }
    let before: Vec<String> = what.iter().map(|field| init.status(field)).collect();
    let points = |init: &Process| {
        let mut points: Vec<_> = init.mounts().into_iter().map(|mount| mount.destination).collect();
        points.sort();
        points
    };
    let mounted = points(&init);
    container.checkpoint(&[]).expect_ok().expect_no_stderr();
    assert!(!init.is_alive());
    container.state_output().expect_fail().expect_stderr("does not exist");
    assert!(container.images().join("inventory.img").is_file());
    assert!(container.logs().join("dump.log").is_file());
    for folder in [container.images(), container.logs()] {
        let mode = fs::metadata(&folder).unwrap().permissions().mode() & 0o7777;
        // runc makes that of the images without execute permission for its owner.
        assert!(mode == 0o700 || flavour() != Flavour::Ours, "{}: {mode:o}", folder.display());
    }
    let count = container.count();
    assert!(count > 2);

    let pid_file = container.bundle().scratch_file("pid");
    container.restore(&["--pid-file", &pid_file]).expect_ok();
    // It would be 1 where it began anew, and not beyond what it was so soon.
    assert!(container.wait_count(count) < count + 1000);
    let init = container.init();
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), init.pid().to_string());
    let after: Vec<String> = what.iter().map(|field| init.status(field)).collect();
    assert_eq!(after, before);
    assert_eq!(points(&init), mounted);
    is_usable(&container);
}

#[test]
fn what_was_restored_can_be_dumped_again() {
    requires_criu!();
    let container = counting(Bundle::new());
    let mut count = 0;
    for _ in 0..2 {
        container.checkpoint(&[]).expect_ok();
        assert!(container.count() > count);
        count = container.count();
        container.restore(&[]).expect_ok();
        count = container.wait_count(count);
    }
    is_usable(&container);
}

#[test]
fn a_container_is_dumped_and_runs_on() {
    requires_criu!();
    let container = counting(Bundle::new());
    let init = container.init_pid();
    container.checkpoint(&["--leave-running"]).expect_ok();
    assert_eq!(container.init_pid(), init);
    let count = container.wait_count(container.count());
    // And the images are good: they go on where they were taken.
    container.delete_force().expect_ok();
    container.restore(&[]).expect_ok();
    let now = container.wait_count(0);
    assert!(now <= count + 1000);
    is_usable(&container);
}

#[test]
fn memory_is_dumped_first_and_what_changed_later() {
    requires_criu!();
    let bundle = Bundle::new();
    let container = counting(bundle);
    let last = container.images();
    let first = container.bundle().scratch().join("first");
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let pre_dump = container.call("checkpoint").args([
        "--pre-dump",
        "--image-path",
        &path(&first),
        "--work-path",
        &path(&container.logs()),
        container.id(),
    ]);
    pre_dump.output().expect_ok();
    assert_eq!(container.status(), "running");
    assert!(
        fs::read_dir(&first).unwrap().any(|entry| {
            entry.unwrap().file_name().to_str().is_some_and(|name| name.starts_with("pages-"))
        })
    );
    container.wait_count(container.count());
    container.checkpoint(&["--parent-path", "../first"]).expect_ok();
    assert_eq!(fs::read_link(last.join("parent")).unwrap().to_str(), Some("../first"));
    let count = container.count();
    container.restore(&[]).expect_ok();
    container.wait_count(count);
    is_usable(&container);
}

#[test]
fn a_parent_that_is_no_folder_is_refused() {
    requires_criu!();
    let container = counting(Bundle::new());
    container.checkpoint(&["--parent-path", "../none"]).expect_fail().expect_stderr("invalid --parent-path");
    container
        .checkpoint(&["--parent-path", "/tmp"])
        .expect_fail()
        .expect_stderr("--parent-path must be relative");
    container.wait_count(container.count());
}

#[test]
fn a_paused_container_is_dumped() {
    requires_criu!();
    let container = counting(Bundle::new());
    container.pause().expect_ok();
    let count = container.count();
    container.checkpoint(&[]).expect_ok();
    container.state_output().expect_fail();
    container.restore(&[]).expect_ok();
    assert_eq!(container.status(), "running");
    container.wait_count(count);
    is_usable(&container);
}

#[cfg(target_arch = "x86_64")]
/// A container that is [`COUNTING`] beside a process that waits in vfork(2) nearly all the time, and that process.
fn vforking() -> (Container, Process) {
    let bundle = Bundle::new().file("/vforking", 0o755, &integration::elf::vforking64(450, 50));
    let container = bundle.sh(&format!("/vforking & {COUNTING}")).container();
    container.run_unheard().output().expect_ok();
    container.wait_count(2);
    let pid = container.ps().into_iter().find(|pid| Process::new(*pid).read("comm") == "vforking\n");
    (container, Process::new(pid.unwrap()))
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_process_that_waits_in_vfork_is_dumped_as_soon_as_it_has_come_out() {
    requires_criu!();
    known_gap!(Runc, Crun, "CRIU's failure, after 10 s in which nothing runs");
    let (container, _) = vforking();
    container.checkpoint(&["--leave-running"]).expect_ok();
    assert_eq!(container.status(), "running");
    container.wait_count(container.count());
    container.checkpoint(&[]).expect_ok();
    let count = container.count();
    container.restore(&[]).expect_ok();
    container.wait_count(count);
    is_usable(&container);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_process_that_was_paused_in_vfork_is_named_and_the_container_stays_paused() {
    requires_criu!();
    known_gap!(Runc, Crun, "CRIU's failure, after 10 s");
    let (container, vforking) = vforking();
    wait_for("a pause in vfork(2)", || {
        container.pause().expect_ok();
        if vforking.status("State").starts_with('D') {
            return Some(());
        }
        container.resume().expect_ok();
        None
    });
    let phrase = format!("process {} waits in vfork(2), where criu cannot stop it", vforking.pid());
    container.checkpoint(&[]).expect_fail().expect_stderr(&phrase);
    assert_eq!(container.status(), "paused");
    container.resume().expect_ok();
    container.wait_count(container.count());
}

#[test]
fn a_paused_container_that_runs_on_stays_paused() {
    requires_criu!();
    let container = counting(Bundle::new());
    container.pause().expect_ok();
    container.checkpoint(&["--leave-running"]).expect_ok();
    assert_eq!(container.status(), "paused");
    let count = container.count();
    container.resume().expect_ok();
    container.wait_count(count);
}

#[test]
fn limits_are_those_of_config_json() {
    requires_criu!();
    requires!(has_controller("pids") && has_controller("memory"), "no controllers of cgroup v2");
    let bundle = Bundle::new()
        .set("/linux/resources/pids", json!({"limit": 77}))
        .set("/linux/resources/memory", json!({"limit": 100 << 20}));
    let container = counting(bundle);
    let folder = |container: &Container| format!("/sys/fs/cgroup{}", container.init().cgroup());
    let old = folder(&container);
    container.checkpoint(&[]).expect_ok();
    assert!(!fs::exists(&old).unwrap(), "{old}");
    container.restore(&[]).expect_ok();
    let new = folder(&container);
    assert_eq!(new, old);
    let file = |name: &str| fs::read_to_string(format!("{new}/{name}")).unwrap();
    assert_eq!(file("pids.max"), "77\n");
    assert_eq!(file("memory.max"), format!("{}\n", 100 << 20));
    let processes = file("cgroup.procs");
    assert!(processes.lines().any(|pid| pid == container.init_pid().to_string()), "{processes:?}");
    let names = processes.lines().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok());
    assert!(!names.map(|name| name.trim().to_owned()).any(|name| name == "criu"), "CRIU itself is gone");
    assert_eq!(container.stats()["pids"]["limit"], json!(77));
    is_usable(&container);
    assert!(!fs::exists(&new).unwrap(), "{new}");
}

#[test]
fn what_is_told_to_manage_cgroups_is_told_to_criu() {
    requires_criu!();
    known_gap!(Runc, "1.1.5 does not know `ignore`");
    let container = counting(Bundle::new());
    for mode in ["ignore", "soft", "full", "strict"] {
        container.checkpoint(&["--manage-cgroups-mode", mode]).expect_ok();
        let count = container.count();
        container
            .restore(&["--manage-cgroups-mode", if mode == "strict" { "ignore" } else { mode }])
            .expect_ok();
        container.wait_count(count);
        assert!(container.init().cgroup().contains(container.id()) || !container.init().cgroup().is_empty());
    }
    is_usable(&container);
}

#[test]
fn the_foreground_has_signals_and_exit_status() {
    requires_criu!();
    let script = format!("trap 'exit 7' TERM; {COUNTING}");
    let container = Bundle::new().sh(&script).container();
    container.run_unheard().output().expect_ok();
    container.wait_count(2);
    container.checkpoint(&[]).expect_ok();
    let count = container.count();
    let mut restored = container.restore_call(&[]).spawn();
    container.wait_running(&mut restored);
    container.wait_count(count);
    restored.signal(Signal::TERM);
    restored.wait().expect_code(7);
    // It was its own to remove.
    container.state_output().expect_fail().expect_stderr("does not exist");
}

#[test]
fn pipes_are_those_of_who_restores() {
    requires_criu!();
    let script = "i=0; while :; do i=$((i + 1)); echo $i; echo $i >/new; mv /new /count; usleep 200000; done";
    let container = Bundle::new().sh(script).container();
    let mut run = container.birth("run", &[]).spawn();
    container.wait_running(&mut run);
    container.wait_count(3);
    container.checkpoint(&[]).expect_ok();
    let first = run.wait().expect_code(137).stdout;
    let count = container.count();
    let last: u64 = first.lines().last().unwrap().parse().unwrap();
    assert!(last == count || last == count + 1, "{last} {count}");
    let mut restored = container.restore_call(&[]).spawn();
    container.wait_running(&mut restored);
    container.wait_count(count + 3);
    container.kill("KILL").expect_ok();
    let second = restored.wait().expect_code(137).stdout;
    let next: u64 = second.lines().next().unwrap_or_else(|| panic!("no output: {second:?}")).parse().unwrap();
    assert!(next == last + 1 || next == last, "{last} and then {next}");
}

#[test]
fn a_fresh_root_gets_the_mount_points() {
    requires_criu!();
    let folder = Bundle::new();
    fs::create_dir(folder.scratch().join("data")).unwrap();
    fs::write(folder.scratch().join("data/file"), "of the host").unwrap();
    let data = folder.scratch_file("data");
    let bundle = folder.bind(&data, "/mnt/deep/data", &["bind", "ro"]);
    let container = counting(bundle);
    container.checkpoint(&[]).expect_ok();
    let (root, count) = (container.bundle().rootfs(), container.count());
    // As an engine does that restores elsewhere: the root comes from the image again.
    for path in ["mnt/deep/data", "mnt/deep", "proc", "sys", "dev"] {
        fs::remove_dir(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    container.restore(&[]).expect_ok();
    container.wait_count(count);
    let seen = container.init().path("root/mnt/deep/data/file");
    assert_eq!(fs::read_to_string(seen).unwrap(), "of the host");
    is_usable(&container);
}

#[test]
fn hooks_run_as_at_a_birth_and_an_end() {
    requires_criu!();
    known_gap!(Runc, "it runs no poststart hooks of what is restored");
    let bundle = Bundle::new();
    let said = bundle.scratch_file("said");
    let program =
        bundle.host_program("hook", format!("#!/bin/sh\ncat >/dev/null\necho $1 >>{said}\n").as_bytes());
    let hook = |name: &str| json!([{"path": program, "args": ["hook", name], "env": ["PATH=/usr/bin:/bin"]}]);
    let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    let bundle = kinds.iter().fold(bundle, |bundle, kind| bundle.set(&format!("/hooks/{kind}"), hook(kind)));
    // Those in the container need it inside.
    let bundle = bundle.remove("/hooks/createContainer").remove("/hooks/startContainer");
    let container = counting(bundle);
    container.checkpoint(&[]).expect_ok();
    container.restore(&[]).expect_ok();
    wait_for("poststart", || (fs::read_to_string(&said).unwrap().lines().count() == 7).then_some(()));
    container.delete_force().expect_ok();
    let said = fs::read_to_string(&said).unwrap();
    let wanted = "prestart createRuntime poststart poststop prestart createRuntime poststart poststop"
        .replace(' ', "\n");
    assert_eq!(said.trim_end(), wanted);
}

#[test]
fn a_read_only_root_and_its_mounts_stay_read_only() {
    requires_criu!();
    known_gap!(Runc, "CRIU 3.17 leaves the root writable, and 1.1.5 does not mind");
    let bundle = Bundle::new();
    let out = bundle.scratch().join("out");
    fs::create_dir(&out).unwrap();
    let script = COUNTING.replace("/new", "/mnt/new").replace("/count", "/mnt/count");
    let bundle = bundle
        .set("/root/readonly", json!(true))
        .bind(out.to_str().unwrap(), "/mnt", &["bind", "nosuid", "noexec"])
        .sh(&script);
    let container = bundle.container();
    container.run_unheard().output().expect_ok();
    let count = || count_in(&out.join("count"));
    wait_for("the first numbers", || (count() > 2).then_some(()));
    let options = |container: &Container, path: &str| {
        let mut options = container.init().mount_at(path).options;
        options.sort();
        options
    };
    let before = [options(&container, "/"), options(&container, "/mnt"), options(&container, "/proc/sys")];
    container.checkpoint(&[]).expect_ok();
    let last = count();
    container.restore(&[]).expect_ok();
    wait_for("the next numbers", || (count() > last).then_some(()));
    let after = [options(&container, "/"), options(&container, "/mnt"), options(&container, "/proc/sys")];
    assert_eq!(after, before);
    assert!(after[0].contains(&"ro".to_owned()), "{after:?}");
    container.delete_force().expect_ok();
}

#[test]
fn a_user_namespace_is_restored() {
    requires_criu!();
    known_gap!(Runc, "1.1.5 gives the namespace's root no way to read the images");
    let bundle = Bundle::new().user_namespace(100_000, 65536);
    let container = counting(bundle);
    let init = container.init();
    let (map, uid) = (init.read("uid_map"), init.status("Uid"));
    container.checkpoint(&[]).expect_ok();
    let count = container.count();
    container.restore(&[]).expect_ok();
    container.wait_count(count);
    let init = container.init();
    assert_eq!((init.read("uid_map"), init.status("Uid")), (map, uid));
    container.delete_force().expect_ok();
}

/// systemd makes the scope around CRIU, and what that restores stays in it.
#[test]
fn systemd_makes_the_scope_again() {
    requires_criu!();
    requires!(fs::exists("/run/systemd/private").unwrap(), "systemd is not init here");
    let bundle = Bundle::new().sh(COUNTING);
    let name = bundle.scratch().file_name().unwrap().to_str().unwrap().to_owned();
    let bundle = bundle
        .set("/linux/cgroupsPath", json!(format!("system.slice:c:{name}")))
        .set("/linux/resources/pids", json!({"limit": 77}));
    let container = bundle.container().with_globals(&["--systemd-cgroup"]);
    container.run_unheard().output().expect_ok();
    container.wait_count(2);
    let unit = format!("c-{name}.scope");
    let is_active = || {
        let output = integration::Call::of("systemctl").args(["is-active", &unit]).output();
        output.stdout.trim() == "active"
    };
    assert!(is_active());
    container.checkpoint(&[]).expect_ok();
    assert!(!is_active());
    let count = container.count();
    container.restore(&[]).expect_ok();
    container.wait_count(count);
    assert!(is_active());
    assert!(container.init().cgroup().ends_with(&unit), "{}", container.init().cgroup());
    assert_eq!(container.init().cgroup_file("pids.max"), "77");
    is_usable(&container);
    assert!(!is_active());
}
