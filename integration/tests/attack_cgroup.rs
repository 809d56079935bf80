//! The cgroup tree, from inside: what a container may see and write of it.
//!
//! CVE-2023-25809, CVE-2022-0492. See docs/attacks.md. Only reads, and writes that would do no harm: an attempt
//! to make an empty cgroup beside the container's own.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod attack;

use std::fs;
use std::os::unix::fs::MetadataExt;

use integration::{Bundle, json, requires};

const CGROUP: &str = "/sys/fs/cgroup";

/// A bundle with one mount of cgroups, with these options.
fn with_cgroup(options: &[&str]) -> Bundle {
    Bundle::new()
        .edit(|config| {
            let mounts = config.0.pointer_mut("/mounts").and_then(|mounts| mounts.as_array_mut()).unwrap();
            mounts.retain(|mount| mount["type"] != "cgroup");
        })
        .mount(CGROUP, "cgroup", "cgroup", options)
}

#[test]
fn a_container_with_a_cgroup_namespace_sees_its_own_cgroup_and_nothing_above() {
    ours_only!();
    requires!(integration::cgroup2_mount().is_some(), "no cgroup v2");
    let container = with_cgroup(&["rw"])
        .new_namespace("cgroup")
        .capabilities(&["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"])
        .sleeping()
        .container();
    container.run_detached().expect_ok();
    let init = container.init();
    let own = init.cgroup_folder();
    // Seen from outside, what is mounted there is the container's own cgroup.
    let inside = fs::metadata(init.inside(CGROUP)).unwrap();
    let outside = fs::metadata(&own).unwrap();
    assert_eq!((inside.dev(), inside.ino()), (outside.dev(), outside.ino()));
    // The path of the mount does not tell where that is on the host, beyond `..`.
    assert_eq!(init.mount_at(CGROUP).kind, "cgroup2");
}

#[test]
fn a_read_only_mount_of_cgroups_stays_so() {
    ours_only!();
    requires!(integration::cgroup2_mount().is_some(), "no cgroup v2");
    for namespace in [true, false] {
        let mut bundle = with_cgroup(&["ro", "nosuid", "nodev", "noexec"]);
        if !namespace {
            bundle = bundle.remove_namespace("cgroup");
        }
        let output = bundle
            .capabilities(&["CAP_DAC_OVERRIDE", "CAP_CHOWN"])
            .sh(&format!("mkdir {CGROUP}/x; echo $$ > {CGROUP}/cgroup.procs; ls {CGROUP}"))
            .run();
        assert!(output.stderr.matches("Read-only file system").count() >= 2, "{output}");
        assert!(!output.stdout.lines().any(|name| name == "x"), "{output}");
    }
}

// Without either namespace a container gets the tree that was asked for, as from runc and crun: privileged
// containers manage the host's cgroups by it. Engines ask for it read-only for all others, which is tested above.
#[test]
fn cve_2023_25809_without_a_cgroup_namespace_a_user_namespace_sees_its_own_cgroup_only() {
    ours_only!();
    requires!(integration::cgroup2_mount().is_some(), "no cgroup v2");
    let container = with_cgroup(&["rw"])
        .remove_namespace("cgroup")
        .user_namespace(100_000, 65_536)
        .capabilities(&["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"])
        .sleeping()
        .container();
    container.run_detached().expect_ok();
    let init = container.init();
    let inside = fs::metadata(init.inside(CGROUP)).unwrap();
    let outside = fs::metadata(init.cgroup_folder()).unwrap();
    assert_eq!((inside.dev(), inside.ino()), (outside.dev(), outside.ino()));
}

#[test]
fn cve_2023_25809_the_host_s_cgroups_are_not_writable_through_a_bind_of_sys() {
    ours_only!();
    requires!(integration::cgroup2_mount().is_some(), "no cgroup v2");
    // As rootless engines mount it: /sys of the host, read-only, with all that is mounted below.
    let name = format!("{}{}-escape", integration::mark(), std::process::id());
    let mount = integration::cgroup2_mount().unwrap();
    let output = Bundle::new()
        .edit(|config| {
            let mounts = config.0.pointer_mut("/mounts").and_then(|mounts| mounts.as_array_mut()).unwrap();
            mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/sys"));
        })
        .bind("/sys", "/sys", &["rbind", "nosuid", "noexec", "nodev", "rro"])
        .remove_namespace("cgroup")
        .set("/linux/readonlyPaths", json!([]))
        .capabilities(&["CAP_DAC_OVERRIDE"])
        .sh(&format!("mkdir {}/{name}", mount.display()))
        .run();
    assert!(!mount.join(&name).exists(), "{output}");
    assert!(output.stderr.contains("Read-only file system"), "{output}");
}

#[test]
fn cve_2022_0492_a_container_cannot_leave_its_cgroup() {
    ours_only!();
    requires!(integration::cgroup2_mount().is_some(), "no cgroup v2");
    let container = with_cgroup(&["rw"])
        .new_namespace("cgroup")
        .capabilities(&["CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER"])
        .sh(&format!(
            "mkdir {CGROUP}/below && echo 0 > {CGROUP}/below/cgroup.procs && cat /proc/self/cgroup; \
             ls -d {CGROUP}/../cgroup.procs; sleep 600"
        ))
        .container();
    container.run_detached().expect_ok();
    container.wait_stdout("below");
    // Inside its own subtree it may move; every process of it is still in there, for limits and for `delete`.
    assert!(container.init().cgroup().contains(container.id()), "{}", container.init().cgroup());
    let folder = container.state();
    assert_eq!(folder["status"], "running");
    container.delete_force().expect_ok();
}
