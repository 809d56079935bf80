//! Device nodes of the container's /dev, and which devices its processes may use. (runtime-spec,
//! config-linux.md: "Default Devices", "Devices", "Allowed Device list".)
// Test code all of it: helpers panic where they stand, as the tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use integration::{Bundle, Value, json, known_gap, running};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// A container with exactly these rules. (For any, crun 1.8.1 raises RLIMIT_MEMLOCK, which needs
/// CAP_SYS_RESOURCE.)
fn with_rules(rules: Value) -> Bundle {
    Bundle::new().set("/linux/resources/devices", rules)
}

const DEFAULTS: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Major and minor number of a node.
fn number(path: &Path) -> (u64, u64) {
    let device = fs::symlink_metadata(path).unwrap().rdev();
    (nix::sys::stat::major(device), nix::sys::stat::minor(device))
}

#[test]
fn the_default_devices_are_there() {
    let container = running(Bundle::new());
    for (name, major, minor) in DEFAULTS {
        let path = container.init().inside(&format!("/dev/{name}"));
        let data = fs::symlink_metadata(&path).unwrap();
        assert!(data.file_type().is_char_device(), "{name}");
        assert_eq!(number(&path), (major.into(), minor.into()), "{name}");
        assert_eq!((data.mode() & 0o7777, data.uid(), data.gid()), (0o666, 0, 0), "{name}");
    }
}

#[test]
fn the_default_devices_can_be_used() {
    let script = "echo x >/dev/null && head -c 5 /dev/zero | wc -c && head -c 5 /dev/urandom | wc -c && \
                  head -c 3 /dev/random | wc -c && (echo x >/dev/full) 2>&1 | grep -c 'No space left'";
    assert_eq!(Bundle::new().in_container(script), "5\n5\n3\n1");
}

#[test]
fn the_default_links_are_there() {
    let container = running(Bundle::new());
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        assert_eq!(
            fs::read_link(container.init().inside(&format!("/dev/{name}"))).unwrap(),
            Path::new(target)
        );
    }
    // A bind mount or a link, as the specification has it.
    assert_eq!(Bundle::new().in_container("ls -lL /dev/ptmx | cut -c1; echo hi >/dev/stdout"), "c\nhi");
}

#[test]
fn a_folder_of_the_image_at_ptmx_gives_way_or_is_named() {
    let without_dev = || {
        let bundle = Bundle::new().edit(|config| {
            config.0["mounts"].as_array_mut().unwrap().retain(|mount| !is_below_dev(mount));
        });
        bundle.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620"])
    };
    let empty = without_dev();
    fs::create_dir_all(empty.rootfs().join("dev/ptmx")).unwrap();
    assert_eq!(empty.in_container("readlink /dev/ptmx"), "pts/ptmx");
    let full = without_dev().file("/dev/ptmx/file", 0o644, b"");
    let output = full.container().create().expect_fail();
    if integration::flavour() == integration::Flavour::Ours {
        output
            .expect_stderr("replace the image's own /dev/ptmx by a link")
            .expect_stderr("directory not empty");
    }
}

fn is_below_dev(mount: &integration::Value) -> bool {
    mount["destination"].as_str().unwrap().starts_with("/dev")
}

#[test]
fn ptmx_gives_terminals_of_the_containers_own_devpts() {
    let script = "exec 5<>/dev/ptmx; ls /dev/pts; echo opened; exec sleep 600";
    let container = Bundle::new().sh(script).container();
    container.run_detached().expect_ok();
    container.wait_stdout("opened");
    assert_eq!(container.stdout(), "0\nptmx\nopened\n");
}

#[test]
fn devices_are_made_where_dev_is_no_mount() {
    let mounts = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    let container = running(Bundle::new().set("/mounts", mounts));
    assert_eq!(number(&container.init().inside("/dev/null")), (1, 3));
}

#[test]
fn given_devices_have_type_number_mode_and_owner() {
    let container = running(Bundle::new().set(
        "/linux/devices",
        json!([
            {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8},
            {"path": "/dev/block", "type": "b", "major": 240, "minor": 3, "fileMode": 0o600},
            {"path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 3},
            {"path": "/dev/deep/er/pipe", "type": "p", "fileMode": 0o622, "gid": 9},
            {"path": "/elsewhere", "type": "c", "major": 1, "minor": 7, "fileMode": 0o606},
        ]),
    ));
    let data = |path: &str| fs::symlink_metadata(container.init().inside(path)).unwrap();
    let of = |path: &str| (data(path).mode() & 0o7777, data(path).uid(), data(path).gid());
    assert!(data("/dev/mine").file_type().is_char_device());
    assert_eq!(number(&container.init().inside("/dev/mine")), (1, 5));
    assert_eq!(of("/dev/mine"), (0o640, 7, 8));
    assert!(data("/dev/block").file_type().is_block_device());
    assert_eq!(number(&container.init().inside("/dev/block")), (240, 3));
    assert_eq!(of("/dev/block"), (0o600, 0, 0));
    assert!(data("/dev/unbuffered").file_type().is_char_device());
    assert!(data("/dev/deep/er/pipe").file_type().is_fifo());
    assert_eq!(of("/dev/deep/er/pipe"), (0o622, 0, 9));
    assert_eq!(number(&container.init().inside("/elsewhere")), (1, 7));
    assert_eq!(of("/elsewhere"), (0o606, 0, 0));
}

#[test]
fn a_default_device_may_be_given_another_mode() {
    known_gap!(Runc, "1.1.5 cannot open /dev/null then");
    let device =
        json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "gid": 7});
    let inside = Bundle::new().push("/linux/devices", device).in_container("stat -c '%a %u:%g' /dev/null");
    assert_eq!(inside, "640 0:7");
}

#[test]
fn a_device_that_is_there_already_is_taken() {
    let bundle = Bundle::new();
    let all = Mode::from_bits_truncate(0o666);
    mknod(&bundle.rootfs().join("node"), SFlag::S_IFCHR, all, makedev(1, 3)).unwrap();
    let device = json!({"path": "/node", "type": "c", "major": 1, "minor": 3});
    assert_eq!(
        bundle.push("/linux/devices", device).in_container("echo x >/node && echo written"),
        "written"
    );
}

#[test]
fn another_file_in_the_place_of_a_device_is_refused() {
    known_gap!(Runc, Crun, "they take what is there");
    let device = json!({"path": "/taken", "type": "c", "major": 1, "minor": 3});
    let refused = |bundle: Bundle| bundle.push("/linux/devices", device.clone()).run().expect_fail();
    let plain = Bundle::new().file("/taken", 0o644, b"");
    refused(plain).expect_stderr("linux.devices[0]").expect_stderr("/taken");
    let other = Bundle::new();
    let all = Mode::from_bits_truncate(0o666);
    mknod(&other.rootfs().join("taken"), SFlag::S_IFCHR, all, makedev(1, 5)).unwrap();
    refused(other).expect_stderr("linux.devices[0]");
    let link = Bundle::new();
    symlink("/dev/null", link.rootfs().join("taken")).unwrap();
    refused(link).expect_stderr("linux.devices[0]");
}

#[test]
fn a_device_below_a_link_lies_where_the_link_leads_inside() {
    let bundle = Bundle::new();
    let outside = bundle.scratch_file("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, bundle.rootfs().join("link")).unwrap();
    let device = json!({"path": "/link/node", "type": "c", "major": 1, "minor": 3});
    let container = running(bundle.push("/linux/devices", device));
    assert!(fs::read_dir(&outside).unwrap().next().is_none());
    assert_eq!(number(&container.init().inside(&format!("{outside}/node"))), (1, 3));
}

#[test]
fn an_unknown_type_of_device_is_refused() {
    let device = json!({"path": "/dev/x", "type": "x", "major": 1, "minor": 3});
    let refused = Bundle::new().push("/linux/devices", device).run().expect_fail();
    known_gap!(Runc, Crun, "they name the type, not the field");
    refused.expect_stderr("linux.devices[0].type");
}

#[test]
fn the_default_devices_are_bound_in_a_user_namespace() {
    let script = "echo x >/dev/null && head -c 5 /dev/zero | wc -c && readlink /dev/stdin && \
                  exec 5<>/dev/ptmx && ls /dev/pts";
    let inside = Bundle::new().user_namespace(500_000, 65_536).in_container(script);
    assert_eq!(inside, "5\n/proc/self/fd/0\n0\nptmx");
}

#[test]
fn a_given_device_is_bound_in_a_user_namespace() {
    integration::requires!(Path::new("/dev/fuse").exists(), "the host has no /dev/fuse");
    let device = json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229});
    let container = running(Bundle::new().user_namespace(500_000, 65_536).push("/linux/devices", device));
    assert_eq!(number(&container.init().inside("/dev/fuse")), (10, 229));
}

#[test]
fn a_device_that_the_host_does_not_have_is_refused_in_a_user_namespace() {
    let device = json!({"path": "/dev/no-such-device", "type": "c", "major": 1, "minor": 3});
    let refused = Bundle::new().user_namespace(500_000, 65_536).push("/linux/devices", device).run();
    refused.expect_fail().expect_runc_phrase("/dev/no-such-device");
}

#[test]
fn a_fifo_is_made_in_a_user_namespace_too() {
    known_gap!(Runc, Crun, "they look for it on the host");
    let fifo = json!({"path": "/dev/pipe", "type": "p", "fileMode": 0o622, "uid": 3, "gid": 9});
    let inside = Bundle::new()
        .user_namespace(500_000, 65_536)
        .push("/linux/devices", fifo)
        .in_container("stat -c '%F %a %u:%g' /dev/pipe");
    assert_eq!(inside, "fifo 622 3:9");
}

#[test]
fn a_dev_that_is_bound_is_left_as_it_is() {
    known_gap!(Runc, Crun, "they do not warn");
    let bundle = Bundle::new();
    let dev = bundle.scratch_file("dev");
    fs::create_dir(&dev).unwrap();
    let all = Mode::from_bits_truncate(0o666);
    mknod(Path::new(&dev).join("null").as_path(), SFlag::S_IFCHR, all, makedev(1, 3)).unwrap();
    let (log, device) =
        (bundle.scratch_file("log"), json!({"path": "/dev/x", "type": "c", "major": 1, "minor": 5}));
    let mounts = json!([{"destination": "/dev", "type": "bind", "source": dev, "options": ["bind"]},
                        {"destination": "/proc", "type": "proc", "source": "proc"}]);
    let bundle =
        bundle.set("/mounts", mounts).push("/linux/devices", device).sh("ls /dev; echo x >/dev/null");
    let container = bundle.container().with_globals(&["--log", &log]);
    assert_eq!(container.run().expect_ok().stdout, "null\n");
    assert!(fs::read_to_string(&log).unwrap().contains("linux.devices"));
}

/// A character device that no driver has: opened where that is allowed, the kernel finds no such device.
fn with_local(bundle: Bundle) -> Bundle {
    let device = json!({"path": "/dev/local", "type": "c", "major": 240, "minor": 7, "fileMode": 0o666});
    bundle.push("/linux/devices", device)
}

const OPEN: &str = "cat /dev/local 2>&1 | sed 's/.*: //'; (: >/dev/local) 2>&1 | sed 's/.*: //'";
const DENIED: &str = "Operation not permitted\nOperation not permitted";
const ALLOWED: &str = "No such device or address\nNo such device or address";
const ONLY_READ: &str = "No such device or address\nOperation not permitted";

#[test]
fn a_denied_device_cannot_be_opened_though_its_node_is_there() {
    known_gap!(Crun, "1.8.1 raises a limit for it, which is not always allowed");
    let inside = with_local(with_rules(json!([{"allow": false, "access": "rwm"}]))).in_container(OPEN);
    assert_eq!(inside, DENIED);
}

#[test]
fn an_allowed_device_can_be_opened() {
    known_gap!(Crun, "1.8.1 raises a limit for it, which is not always allowed");
    let rules = json!([{"allow": false, "access": "rwm"},
                       {"allow": true, "type": "c", "major": 240, "minor": 7, "access": "rw"}]);
    assert_eq!(with_local(with_rules(rules)).in_container(OPEN), ALLOWED);
}

#[test]
fn access_is_allowed_by_kind() {
    known_gap!(Crun, "1.8.1 raises a limit for it, which is not always allowed");
    let rules = json!([{"allow": false, "access": "rwm"},
                       {"allow": true, "type": "c", "major": 240, "access": "r"}]);
    assert_eq!(with_local(with_rules(rules)).in_container(OPEN), ONLY_READ);
}

#[test]
fn the_last_rule_that_matches_counts() {
    known_gap!(Runc, Crun, "1.1.5 cannot say an exception on cgroup v1; 1.8.1 raises a limit");
    let rules = json!([{"allow": true, "access": "rwm"},
                       {"allow": false, "type": "c", "major": 240, "minor": 7, "access": "w"}]);
    assert_eq!(with_local(with_rules(rules)).in_container(OPEN), ONLY_READ);
}

#[test]
fn a_rule_without_numbers_is_about_every_device() {
    known_gap!(Crun, "1.8.1 raises a limit for it, which is not always allowed");
    let rules = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "a", "access": "rwm"}]);
    assert_eq!(with_local(with_rules(rules)).in_container(OPEN), ALLOWED);
}

#[test]
fn the_default_devices_stay_allowed() {
    known_gap!(Crun, "1.8.1 raises a limit for it, which is not always allowed");
    let script = "echo x >/dev/null && head -c 1 /dev/zero | wc -c && head -c 1 /dev/urandom | wc -c && \
                  exec 5<>/dev/ptmx && echo ptmx";
    let bundle = with_rules(json!([{"allow": false, "access": "rwm"}]));
    assert_eq!(bundle.in_container(script), "1\n1\nptmx");
}

#[test]
fn without_rules_only_the_default_devices_are_allowed() {
    known_gap!(Crun, "1.8.1 raises a limit for it, which is not always allowed");
    let bundle = with_local(Bundle::new().remove("/linux/resources"));
    assert_eq!(bundle.in_container(OPEN), DENIED);
}

#[test]
fn nodes_may_be_made_with_the_capability_but_not_used() {
    known_gap!(Crun, "1.8.1 raises a limit for it, which is not always allowed");
    // Docker's rules: making nodes is harmless as long as they cannot be opened.
    let rules = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "access": "m"}]);
    let script = "mknod -m 666 /dev/local c 240 7 && echo made && (: >/dev/local) 2>&1 | sed 's/.*: //'";
    let inside = with_rules(rules).capabilities(&["CAP_MKNOD"]).in_container(script);
    assert_eq!(inside, "made\nOperation not permitted");
}

#[test]
fn a_wrong_rule_names_its_field() {
    known_gap!(Runc, Crun, "they do not check it, or word it differently");
    for (rule, field) in [
        (json!({"allow": true, "type": "x"}), "type"),
        (json!({"allow": true, "type": "c", "access": "rwx"}), "access"),
    ] {
        let refused = with_rules(json!([rule])).run().expect_fail();
        refused.expect_stderr(&format!("linux.resources.devices[0].{field}"));
    }
}
