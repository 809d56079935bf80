//! User namespaces: mappings, who owns what, joining, and the other namespaces with them. (runtime-spec,
//! config-linux.md: "User namespace mappings"; user_namespaces(7).)
// Test code all of it: helpers panic where they stand, as the tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use integration::{Bundle, Process, json, kernel_has, known_gap, requires, running};
use nix::mount::{MsFlags, mount};

/// The first id of the host that the tests' namespaces map; no user of the host has it.
const FIRST: u32 = 500_000;

fn mapped() -> Bundle {
    Bundle::new().user_namespace(FIRST, 65_536)
}

/// The words of a map of /proc, line by line.
fn map(process: Process, name: &str) -> Vec<Vec<u32>> {
    let text = process.read(name);
    text.lines().map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect()).collect()
}

#[test]
fn root_inside_is_another_user_outside() {
    let container = mapped().sh("id -u; id -g; touch /made; echo done; exec sleep 600").container();
    container.run_detached().expect_ok();
    container.wait_stdout("done");
    assert_eq!(container.stdout(), "0\n0\ndone\n");
    let init = container.init();
    assert_ne!(init.namespace("user"), Process::this().namespace("user"));
    assert!(init.status("Uid").split_whitespace().all(|id| id == FIRST.to_string()));
    assert!(init.status("Gid").split_whitespace().all(|id| id == FIRST.to_string()));
    let made = fs::metadata(container.bundle().rootfs().join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (FIRST, FIRST));
}

#[test]
fn another_user_inside_is_its_mapped_user_outside() {
    let user = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6]});
    let container = running(mapped().set("/process/user", user));
    let init = container.init();
    assert!(init.status("Uid").split_whitespace().all(|id| id == (FIRST + 1000).to_string()));
    assert!(init.status("Gid").split_whitespace().all(|id| id == (FIRST + 1001).to_string()));
    let groups: Vec<String> = init.status("Groups").split_whitespace().map(str::to_owned).collect();
    assert_eq!(groups, [(FIRST + 5).to_string(), (FIRST + 6).to_string()]);
}

#[test]
fn mappings_of_several_ranges_are_written_as_given() {
    let uids = json!([{"containerID": 0, "hostID": FIRST, "size": 10},
                      {"containerID": 1000, "hostID": 700_000, "size": 5}]);
    let gids = json!([{"containerID": 0, "hostID": FIRST, "size": 2000}]);
    let bundle = mapped().set("/linux/uidMappings", uids).set("/linux/gidMappings", gids);
    let container = running(bundle.set("/process/user", json!({"uid": 1001, "gid": 3})));
    let init = container.init();
    assert_eq!(map(init, "uid_map"), [[0, FIRST, 10], [1000, 700_000, 5]]);
    assert_eq!(map(init, "gid_map"), [[0, FIRST, 2000]]);
    assert!(init.status("Uid").starts_with("700001"));
}

#[test]
fn a_user_outside_of_the_mapping_is_refused() {
    let refused = mapped().set("/process/user", json!({"uid": 70_000, "gid": 0})).run().expect_fail();
    known_gap!(Runc, Crun, "they name the call alone");
    refused.expect_stderr("process.user");
}

#[test]
fn the_hosts_null_device_on_standard_input_keeps_its_owner() {
    known_gap!(Crun, "1.8.1 gives it to the container's root");
    // An id that no other test maps: those run at the same time.
    let host_id = 654_321;
    Bundle::new().user_namespace(host_id, 10).run().expect_ok();
    let null = fs::metadata("/dev/null").unwrap();
    assert!(null.uid() != host_id && null.gid() != host_id, "{}:{}", null.uid(), null.gid());
}

#[test]
fn files_of_others_on_the_host_are_nobodys_inside() {
    let bundle = mapped();
    fs::write(bundle.rootfs().join("roots"), "secret").unwrap();
    fs::set_permissions(bundle.rootfs().join("roots"), Permissions::from_mode(0o600)).unwrap();
    let inside = bundle.in_container("stat -c %u:%g /roots; cat /roots 2>/dev/null || echo denied");
    assert_eq!(inside, "65534:65534\ndenied");
}

// Asks only for what fails harmlessly: setting the clock would need a capability on the host.
#[test]
fn capabilities_inside_are_none_outside() {
    let all = ["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_CHOWN"];
    let inside = mapped().capabilities(&all).in_container(
        "hostname inside && hostname; mount -t tmpfs tmpfs /mnt && echo mounted; \
         chown 70000 /etc/hosts 2>/dev/null || echo refused",
    );
    assert_eq!(inside, "inside\nmounted\nrefused");
}

#[test]
fn every_other_namespace_belongs_to_the_new_user_namespace() {
    let container = running(mapped());
    let user = fs::metadata(container.init().path("ns/user")).unwrap().ino();
    for name in ["pid", "net", "ipc", "uts", "mnt", "cgroup"] {
        let inode = fs::metadata(container.init().path("ns").join(name)).unwrap().ino();
        assert_eq!(owner(inode), user, "{name}");
    }
}

/// The inode of the user namespace that owns a namespace, by lsns(8), which knows the ioctl.
#[track_caller]
fn owner(namespace: u64) -> u64 {
    let namespace = namespace.to_string();
    // It fails where a process that it has listed is gone when it looks closer.
    let list = integration::wait_for("lsns", || {
        let list = integration::Call::of("lsns").args(["--noheadings", "--output", "NS,ONS"]).output();
        list.status.success().then_some(list.stdout)
    });
    let mut lines = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = lines.find(|words| words[0] == namespace);
    found.unwrap_or_else(|| panic!("no namespace {namespace} in {list}"))[1].parse().unwrap()
}

#[test]
fn the_usual_mounts_are_made_in_a_user_namespace() {
    let container = running(mapped());
    for (path, kind) in [
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/dev/mqueue", "mqueue"),
        ("/sys", "sysfs"),
    ] {
        assert_eq!(container.init().mount_at(path).kind, kind, "{path}");
    }
}

#[test]
fn a_root_below_a_folder_that_the_user_cannot_pass_is_entered() {
    known_gap!(Runc, Crun, "they reach the root by its path, as the mapped user");
    let bundle = mapped().file("/mark", 0o644, b"here");
    fs::set_permissions(bundle.scratch(), Permissions::from_mode(0o700)).unwrap();
    let container = bundle.sh("cat /mark; echo; cd ..; pwd; ls / | grep -c mark").container();
    assert_eq!(container.run().expect_ok().stdout, "here\n/\n1\n");
}

#[test]
fn a_source_below_a_folder_that_the_user_cannot_pass_is_bound() {
    known_gap!(Crun, "1.8.1 opens the source as the mapped user");
    let bundle = mapped();
    let hidden = bundle.scratch().join("hidden");
    fs::create_dir(&hidden).unwrap();
    fs::create_dir(hidden.join("data")).unwrap();
    fs::write(hidden.join("data/file"), "content").unwrap();
    fs::set_permissions(&hidden, Permissions::from_mode(0o700)).unwrap();
    let source = hidden.join("data").to_str().unwrap().to_owned();
    assert_eq!(bundle.bind(&source, "/mnt/a", &["bind", "ro"]).in_container("cat /mnt/a/file"), "content");
}

#[test]
fn a_container_can_be_created_started_and_deleted_in_a_user_namespace() {
    let container = mapped().sh("echo started; exec sleep 600").container();
    container.create().expect_ok();
    assert_eq!(container.status(), "created");
    container.start().expect_ok();
    container.wait_stdout("started");
    container.kill("KILL").expect_ok();
    container.wait_status("stopped");
    container.delete().expect_ok();
}

#[test]
fn a_read_only_root_and_attributes_work_in_a_user_namespace() {
    let options = ["ro", "nosuid", "mode=700"];
    let container =
        running(mapped().set("/root/readonly", json!(true)).mount("/mnt", "tmpfs", "tmpfs", &options));
    assert!(container.init().mount_at("/").has("ro"));
    assert!(container.init().mount_at("/mnt").has("ro") && container.init().mount_at("/mnt").has("nosuid"));
}

#[test]
fn content_is_copied_up_in_a_user_namespace() {
    let bundle = Bundle::new().file("/data/file", 0o640, b"content").user_namespace(FIRST, 65_536);
    let inside = bundle
        .mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"])
        .in_container("cat /data/file; stat -c '%u:%g %a' /data/file");
    assert_eq!(inside, "content0:0 640");
}

#[test]
fn a_second_container_joins_the_namespaces_of_the_first() {
    let first = running(mapped());
    let path = |name: &str| format!("/proc/{}/ns/{name}", first.init_pid());
    let second = mapped()
        .join_namespace("user", &path("user"))
        .join_namespace("network", &path("net"))
        .join_namespace("ipc", &path("ipc"))
        .join_namespace("pid", &path("pid"))
        .join_namespace("uts", &path("uts"))
        .remove("/hostname")
        .sh("id -u; ls /proc | grep -c '^1$'; echo x >/dev/null && echo done; exec sleep 600")
        .container();
    second.run_detached().expect_ok();
    second.wait_stdout("done");
    assert_eq!(second.stdout(), "0\n1\ndone\n");
    for name in ["user", "net", "ipc", "pid", "uts"] {
        assert_eq!(second.init().namespace(name), first.init().namespace(name), "{name}");
    }
    for name in ["mnt", "cgroup"] {
        assert_ne!(second.init().namespace(name), first.init().namespace(name), "{name}");
    }
    assert_eq!(map(second.init(), "uid_map"), [[0, FIRST, 65_536]]);
}

#[test]
fn a_user_namespace_is_joined_without_mappings_in_the_configuration() {
    known_gap!(Runc, "1.1.5 wants mappings even then");
    let first = running(mapped());
    let path = format!("/proc/{}/ns/user", first.init_pid());
    let second = mapped()
        .join_namespace("user", &path)
        .remove("/linux/uidMappings")
        .remove("/linux/gidMappings")
        .in_container("id -u; cat /proc/self/uid_map | tr -s ' '");
    assert_eq!(second, format!("0\n 0 {FIRST} 65536"));
}

#[test]
fn a_user_namespace_alone_is_joined() {
    let first = running(mapped());
    let path = format!("/proc/{}/ns/user", first.init_pid());
    let second = running(mapped().join_namespace("user", &path));
    assert_eq!(second.init().namespace("user"), first.init().namespace("user"));
    for name in ["net", "ipc", "pid", "uts", "mnt"] {
        assert_ne!(second.init().namespace(name), first.init().namespace(name), "{name}");
    }
}

#[test]
fn a_new_user_namespace_and_the_hosts_network_go_together() {
    known_gap!(Runc, "it mounts no sysfs then, and refuses");
    // sysfs shows the network, and belongs to its owner: it cannot be mounted then, and the host's is bound.
    let container = running(mapped().remove_namespace("network").remove_mount("/sys/fs/cgroup"));
    let init = container.init();
    assert_eq!(init.namespace("net"), Process::this().namespace("net"));
    assert_ne!(init.namespace("user"), Process::this().namespace("user"));
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    assert_eq!(device(&init.inside("/sys")), device(Path::new("/sys")));
    known_gap!(Crun, "1.8.1 leaves what is mounted below /sys as it is");
    // What covers masked paths is the runtime's own.
    let mounts = init.mounts();
    let hosts =
        |mount: &&integration::MountEntry| mount.destination.starts_with("/sys") && mount.kind != "tmpfs";
    for mount in mounts.iter().filter(hosts) {
        let has = |option: &str| mount.options.iter().any(|given| given == option);
        assert!(["ro", "nosuid", "noexec", "nodev"].iter().all(|option| has(option)), "{mount:?}");
    }
}

#[test]
fn a_new_user_namespace_and_a_joined_network_of_the_host_go_together() {
    known_gap!(Runc, "it mounts no sysfs then, and refuses");
    let sleeper = running(Bundle::new());
    let path = format!("/proc/{}/ns/net", sleeper.init_pid());
    let container = running(mapped().join_namespace("network", &path).remove_mount("/sys/fs/cgroup"));
    assert_eq!(container.init().namespace("net"), sleeper.init().namespace("net"));
    assert_ne!(container.init().namespace("user"), sleeper.init().namespace("user"));
    known_gap!(Crun, "it says nothing");
    assert!(container.stderr().contains("it shows the host's network"), "{}", container.stderr());
}

#[test]
fn sysfs_elsewhere_than_at_its_place_is_not_replaced() {
    let bundle = mapped().remove_namespace("network").remove_mount("/sys").remove_mount("/sys/fs/cgroup");
    let refused = bundle.mount("/mnt/sys", "sysfs", "sysfs", &["ro"]).sleeping().container().run();
    refused.expect_fail();
}

#[test]
fn clocks_are_shifted_in_a_user_namespace() {
    known_gap!(Runc, Crun, "no time namespaces in these versions");
    requires!(kernel_has("/proc/self/ns/time"), "no time namespaces in this kernel");
    let offsets = json!({"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 2}});
    let container = running(mapped().new_namespace("time").set("/linux/timeOffsets", offsets));
    assert_ne!(container.init().namespace("time"), Process::this().namespace("time"));
    assert!(container.init().read("timens_offsets").contains("1000000"));
}

#[test]
fn a_time_namespace_without_offsets_is_made_in_a_user_namespace() {
    known_gap!(Runc, Crun, "no time namespaces in these versions");
    requires!(kernel_has("/proc/self/ns/time"), "no time namespaces in this kernel");
    let container = running(mapped().new_namespace("time"));
    assert_ne!(container.init().namespace("time"), Process::this().namespace("time"));
}

#[test]
fn mappings_and_namespace_need_each_other() {
    known_gap!(Runc, Crun, "1.1.5 goes without a mapping; 1.8.1 makes one up");
    Bundle::new().new_namespace("user").run().expect_fail().expect_runc_phrase("appings");
    let alone = json!([{"containerID": 0, "hostID": FIRST, "size": 1}]);
    let refused = Bundle::new().set("/linux/uidMappings", alone).run().expect_fail();
    refused.expect_stderr("linux.uidMappings");
}

#[test]
fn mappings_that_overlap_are_refused_by_their_field() {
    let twice = json!([{"containerID": 0, "hostID": FIRST, "size": 10},
                       {"containerID": 5, "hostID": 900_000, "size": 10}]);
    let refused = mapped().set("/linux/gidMappings", twice).run().expect_fail();
    known_gap!(Runc, Crun, "they name the call alone");
    refused.expect_stderr("linux.gidMappings");
}

#[test]
fn the_cgroup_of_a_user_namespace_is_mounted_without_a_cgroup_namespace() {
    known_gap!(Runc, Crun, "these use cgroup v1 on a hybrid host");
    let container = running(mapped().remove_namespace("cgroup"));
    let entry = container.init().mount_at("/sys/fs/cgroup");
    assert_eq!(entry.kind, "cgroup2");
    assert!(entry.has("ro") && entry.has("nosuid"), "{entry:?}");
    assert!(entry.propagation.is_empty(), "{entry:?}");
    // The container's own cgroup, and nothing of the host's above it.
    let file = |path: &std::path::Path| fs::metadata(path.join("cgroup.procs")).unwrap().ino();
    assert_eq!(file(&container.init().inside("/sys/fs/cgroup")), file(&container.init().cgroup_folder()));
}

#[test]
fn the_cgroup_of_a_user_namespace_is_mounted_in_the_hosts_cgroup_namespace_that_is_joined() {
    known_gap!(Runc, Crun, "these use cgroup v1 on a hybrid host");
    let container = running(mapped().join_namespace("cgroup", "/proc/self/ns/cgroup"));
    assert_eq!(container.init().namespace("cgroup"), Process::this().namespace("cgroup"));
    let file = |path: &std::path::Path| fs::metadata(path.join("cgroup.procs")).unwrap().ino();
    assert_eq!(file(&container.init().inside("/sys/fs/cgroup")), file(&container.init().cgroup_folder()));
}

#[test]
fn a_tree_of_the_host_is_bound_with_recursive_attributes() {
    known_gap!(Crun, "1.8.1 sets them as the mapped user");
    let bundle = mapped();
    let source = bundle.scratch_file("source");
    for path in [source.clone(), format!("{source}/sub")] {
        fs::create_dir(&path).unwrap();
        mount(Some("tmpfs"), path.as_str(), Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    }
    let container =
        running(bundle.bind(&source, "/mnt/a", &["rbind", "rro", "rnosuid", "rnoexec", "rprivate"]).bind(
            &source,
            "/mnt/b",
            &["rbind"],
        ));
    for path in ["/mnt/a", "/mnt/a/sub"] {
        let entry = container.init().mount_at(path);
        assert!(["ro", "nosuid", "noexec"].iter().all(|flag| entry.has(flag)), "{entry:?}");
    }
    assert!(container.init().mount_at("/mnt/b/sub").has("rw"));
}

#[test]
fn a_pod_with_clocks_of_its_own_is_joined() {
    known_gap!(Runc, Crun, "no time namespaces in these versions");
    requires!(kernel_has("/proc/self/ns/time"), "no time namespaces in this kernel");
    let offsets = json!({"boottime": {"secs": 1_000_000}});
    let pause = running(mapped().new_namespace("time").set("/linux/timeOffsets", offsets));
    let mut bundle = mapped().remove("/hostname");
    let kinds = ["user", "time", "network", "ipc", "pid", "uts", "cgroup"];
    for kind in kinds {
        let name = if kind == "network" { "net" } else { kind };
        bundle = bundle.join_namespace(kind, &format!("/proc/{}/ns/{name}", pause.init_pid()));
    }
    let container = running(bundle);
    for kind in kinds {
        let name = if kind == "network" { "net" } else { kind };
        assert_eq!(container.init().namespace(name), pause.init().namespace(name), "{kind}");
    }
    assert_ne!(container.init().namespace("mnt"), pause.init().namespace("mnt"));
}

/// Rootless engines call the runtime as root of a user namespace of theirs, and the container has none of its own.
#[test]
fn root_of_a_user_namespace_makes_a_container_with_a_network() {
    let bundle = Bundle::new()
        .remove_mount("/dev/pts") // its group is not in the namespace
        .sh(
            "cat /sys/class/net/lo/flags; echo lost > /dev/null && cat /proc/self/uid_map; ls /sys/class/net",
        );
    let container = bundle.container().with_globals(&["--rootless", "true"]);
    let output = container.bundle().scratch_file("output");
    fs::create_dir(&output).unwrap();
    let caller = ["unshare", "--user", "--map-root-user", "--mount"];
    container.birth_by(&caller, "run", &[]).output_in(output.as_ref()).output().expect_ok();
    let printed = fs::read_to_string(format!("{output}/stdout")).unwrap();
    let words: Vec<_> = printed.split_whitespace().collect();
    assert_eq!(words, ["0x9", "0", "0", "1", "lo"], "{printed}");
}
