//! Hostile input: files that are no files, values of absurd size, paths and numbers that try to be others.
//!
//! CVE-2021-43784, CVE-2024-40635, CVE-2024-9676, CVE-2026-46680, CVE-2026-47262. See docs/attacks.md.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod attack;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use attack::Canary;
use integration::{Bundle, Container, Output, json, requires};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

const PRIVATE: Mode = Mode::S_IRWXU;

/// What stands where a file is expected. `outside` is a folder to point links at.
fn put(kind: &str, path: &Path, outside: &Path) {
    match kind {
        "fifo" => nix::unistd::mkfifo(path, PRIVATE).unwrap(),
        "folder" => fs::create_dir(path).unwrap(),
        "zero" => mknod(path, SFlag::S_IFCHR, PRIVATE, makedev(1, 5)).unwrap(),
        "full" => mknod(path, SFlag::S_IFCHR, PRIVATE, makedev(1, 7)).unwrap(),
        "no driver" => mknod(path, SFlag::S_IFBLK, PRIVATE, makedev(250, 250)).unwrap(),
        "socket" => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
        "dangling link" => symlink(outside.join("missing"), path).unwrap(),
        "loop" => symlink(path, path).unwrap(),
        "sparse gigabyte" => File::create(path).unwrap().set_len(1 << 30).unwrap(),
        "link to a fifo" => {
            let fifo = outside.join("a-fifo");
            nix::unistd::mkfifo(&fifo, PRIVATE).unwrap();
            symlink(fifo, path).unwrap();
        }
        other => panic!("unknown kind {other}"),
    }
}

const KINDS: [&str; 10] = [
    "fifo",
    "folder",
    "zero",
    "full",
    "no driver",
    "socket",
    "dangling link",
    "loop",
    "sparse gigabyte",
    "link to a fifo",
];

/// A failure that names what it is about, in one line, and is not just the end of a broken channel.
#[track_caller]
fn expect_named(output: Output, name: &str) {
    let output = output.expect_code(1).expect_stderr(name);
    assert_eq!(output.stderr.trim_end().lines().count(), 1, "more than one line: {output}");
    for excuse in ["without a word", "packet", "panicked", "EPIPE", "ECONNRESET"] {
        assert!(!output.stderr.contains(excuse), "{excuse}: {output}");
    }
}

/// Nothing of the container is left under its state root.
#[track_caller]
fn expect_nothing_left(container: &Container) {
    let left: Vec<_> = fs::read_dir(container.state_root()).into_iter().flatten().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_config_json_that_is_no_file_is_refused_and_waited_for_never() {
    ours_only!();
    for kind in KINDS {
        let container = Bundle::new().container_without_config();
        let path = container.bundle().path().join("config.json");
        put(kind, &path, container.bundle().scratch());
        expect_named(container.create(), "config.json");
        expect_nothing_left(&container);
    }
}

#[test]
fn a_bundle_that_is_no_folder_is_refused() {
    ours_only!();
    for kind in KINDS.iter().filter(|kind| **kind != "folder") {
        let container = Bundle::new().container_without_config();
        let path = container.bundle().scratch().join("other");
        put(kind, &path, container.bundle().scratch());
        let call = container.call("create").args(["--bundle".as_ref(), path.as_os_str()]);
        let scratch = container.bundle().scratch().to_str().unwrap();
        expect_named(call.args([container.id()]).output(), scratch);
    }
}

#[test]
fn a_root_that_is_no_folder_is_refused() {
    ours_only!();
    for kind in KINDS.iter().filter(|kind| **kind != "folder") {
        let bundle = Bundle::new().set("/root/path", json!("other"));
        put(kind, &bundle.path().join("other"), bundle.scratch());
        let container = bundle.container();
        expect_named(container.create(), "root.path");
        expect_nothing_left(&container);
    }
}

#[test]
fn cve_2024_9676_a_passwd_that_is_no_file_costs_neither_time_nor_memory() {
    ours_only!();
    for kind in KINDS {
        let bundle = Bundle::new();
        for name in ["etc/passwd", "etc/group"] {
            let path = bundle.rootfs().join(name);
            fs::remove_file(&path).unwrap();
            let outside = bundle.scratch().join(name.replace('/', "-"));
            fs::create_dir(&outside).unwrap();
            put(kind, &path, &outside);
        }
        let container = bundle.set("/process/user/uid", json!(1000)).sh("echo $HOME").container();
        // 256 MiB of address space: a file of 1 GiB that is read whole does not fit.
        let output = limited(&container).expect_ok();
        assert_eq!(output.stdout, "/\n", "{kind}");
    }
}

/// `run` with little memory to be had.
fn limited(container: &Container) -> Output {
    let script = "ulimit -v 262144; exec \"$0\" \"$@\"";
    integration::Call::of("sh")
        .args(["-c".as_ref(), script.as_ref(), integration::runtime_under_test().as_os_str()])
        .args(["--root".as_ref(), container.state_root().as_os_str()])
        .args(["run".as_ref(), "--bundle".as_ref(), container.bundle().path().as_os_str()])
        .args([container.id()])
        .output()
}

#[test]
fn a_passwd_that_is_the_environment_of_the_runtime_tells_nothing_of_it() {
    ours_only!();
    let links = ["/proc/self/environ", "/proc/1/environ", "/proc/thread-self/environ"];
    for (uid, link) in [0, 1000].into_iter().flat_map(|uid| links.map(|link| (uid, link))) {
        let bundle = Bundle::new();
        fs::remove_file(bundle.rootfs().join("etc/passwd")).unwrap();
        symlink(link, bundle.rootfs().join("etc/passwd")).unwrap();
        let container = bundle.set("/process/user/uid", json!(uid)).sh("echo $HOME").container();
        let secret = format!("\nuser:x:{uid}:{uid}::/secret-of-the-caller:/bin/sh\n");
        container.birth("run", &[]).env("CAISSON_SECRET", secret).output().expect_ok().expect_stdout("/\n");
    }
}

#[test]
fn a_namespace_that_is_no_namespace_is_refused_and_waited_for_never() {
    ours_only!();
    for kind in KINDS {
        let bundle = Bundle::new();
        let path = bundle.scratch().join("namespace");
        put(kind, &path, bundle.scratch());
        let container = bundle.join_namespace("network", path.to_str().unwrap()).container();
        expect_named(container.create(), "linux.namespaces[");
        expect_nothing_left(&container);
    }
}

#[test]
fn cve_2026_47262_an_endless_passwd_is_read_up_to_a_bound() {
    ours_only!();
    let bundle = Bundle::new();
    let line = "user:x:1000:1000::/from/passwd:/bin/sh\n";
    let path = bundle.rootfs().join("etc/passwd");
    // The line that is looked for lies behind a gigabyte of nothing.
    let file = File::create(&path).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, line.as_bytes(), 1 << 30).unwrap();
    let container = bundle.set("/process/user/uid", json!(1000)).sh("echo $HOME").container();
    assert_eq!(limited(&container).expect_ok().stdout, "/\n");
}

#[test]
fn a_large_config_is_read_and_a_larger_one_refused() {
    ours_only!();
    let large = "x".repeat(15 << 20);
    let container = Bundle::new().sleeping().set("/annotations/large", json!(large)).container();
    container.create().expect_ok();
    assert_eq!(container.state()["annotations"]["large"].as_str().map(str::len), Some(large.len()));
    container.delete_force().expect_ok();
    let container = Bundle::new().set("/annotations/large", json!("x".repeat(17 << 20))).container();
    expect_named(container.create(), "is larger than");
    expect_nothing_left(&container);
}

#[test]
fn the_largest_config_that_is_read_makes_a_record_that_is_read() {
    ours_only!();
    let bundle = Bundle::new().sleeping().set("/annotations/large", json!(""));
    let rest = (16 << 20) - bundle.config().0.to_string().len();
    let container = bundle.set("/annotations/large", json!("x".repeat(rest))).container();
    container.create().expect_ok();
    assert_eq!(container.status(), "created");
    container.delete_force().expect_ok();
}

#[test]
fn deep_nesting_is_an_error() {
    ours_only!();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let depth = 1 << 20;
        let text =
            format!("{{\"ociVersion\":\"1.0.2\",\"x\":{}1{}}}", open.repeat(depth), close.repeat(depth));
        let container = Bundle::new().container_of_raw(text.as_bytes());
        expect_named(container.create(), "config.json");
    }
}

#[test]
fn bytes_that_are_no_document_are_an_error() {
    ours_only!();
    for bytes in
        [&b""[..], b"\0", b"\xff\xfe", b"{", b"[]", b"null", b"{\"ociVersion\":\"1.0.2\",", b"\xef\xbb\xbf{}"]
    {
        let container = Bundle::new().container_of_raw(bytes);
        expect_named(container.create(), "config.json");
        expect_nothing_left(&container);
    }
}

#[test]
fn cve_2021_43784_values_longer_than_any_packet_are_named_and_not_cut() {
    ours_only!();
    // Longer than 16 bits can say, than init's packets, than a page of a pipe.
    for size in [5_000, 300_000] {
        let long = format!("/{}", "x".repeat(size));
        let deep = "/x".repeat(size / 2);
        for long in [long, deep] {
            let cases: [(&str, Bundle); 8] = [
                ("process.cwd", Bundle::new().set("/process/cwd", json!(long))),
                ("root.path", Bundle::new().set("/root/path", json!(long))),
                ("mounts[", Bundle::new().mount(&long, "tmpfs", "tmpfs", &[])),
                ("mounts[", Bundle::new().bind(&long, "/mnt", &["bind"])),
                ("namespace", Bundle::new().join_namespace("network", &long)),
                ("linux.maskedPaths[0]", Bundle::new().set("/linux/maskedPaths", json!([long]))),
                (
                    "linux.devices[0]",
                    Bundle::new()
                        .push("/linux/devices", json!({"path": long, "type": "c", "major": 1, "minor": 3})),
                ),
                ("exec", Bundle::new().args(&[&long])),
            ];
            for (name, bundle) in cases {
                let container = bundle.container();
                let output = container.create();
                if output.status.success() {
                    // A path of many short names may be made; a program of that name is not there.
                    assert!(size < 8192, "{name}: {size}");
                    container.delete_force().expect_ok();
                } else {
                    expect_named(output, name);
                    expect_nothing_left(&container);
                }
            }
        }
    }
}

#[test]
fn an_environment_that_does_not_fit_is_an_error_of_start() {
    ours_only!();
    let container = Bundle::new().env("LONG", &"x".repeat(3 << 20)).container();
    expect_named(container.run(), "argument list too long");
    expect_nothing_left(&container);
    let container = Bundle::new().env("LONG", &"x".repeat(3 << 20)).container();
    container.create().expect_ok();
    expect_named(container.start(), "argument list too long");
    container.wait_status("stopped");
    container.delete().expect_ok();
}

#[test]
fn cve_2021_43784_more_mappings_than_the_kernel_takes_are_an_error() {
    ours_only!();
    let mappings: Vec<_> =
        (0..10_000).map(|id| json!({"containerID": id, "hostID": 100_000 + id, "size": 1})).collect();
    let bundle = Bundle::new().new_namespace("user");
    let container = bundle
        .set("/linux/uidMappings", json!(mappings))
        .set("/linux/gidMappings", json!(mappings))
        .container();
    expect_named(container.create(), "Mappings");
    expect_nothing_left(&container);
}

#[test]
fn cve_2024_40635_and_2026_46680_ids_beyond_the_range_are_refused_and_never_root() {
    ours_only!();
    for field in ["uid", "gid"] {
        for id in [
            json!(4_294_967_295_u64),
            json!(4_294_967_296_u64),
            json!(-1),
            json!("0"),
            json!(1e30),
            json!(0.5),
        ] {
            let container =
                Bundle::new().sh("id").set(&format!("/process/user/{field}"), id.clone()).container();
            let output = container.run();
            assert!(!output.stdout.contains("uid=0"), "{field} {id}: {output}");
            expect_named(output, &format!("process.user.{field}"));
        }
    }
}

#[test]
fn a_nul_byte_ends_no_path() {
    ours_only!();
    for (pointer, name) in [
        ("/process/cwd", "process.cwd"),
        ("/root/path", "root.path"),
        ("/process/args/0", "process.args[0]"),
        ("/mounts/0/destination", "mounts[0].destination"),
        ("/mounts/0/source", "mounts[0].source"),
        ("/linux/maskedPaths/0", "linux.maskedPaths[0]"),
        ("/linux/readonlyPaths/0", "linux.readonlyPaths[0]"),
        ("/hostname", "hostname"),
    ] {
        let bundle = Bundle::new();
        let old = bundle.config().get(pointer).unwrap().as_str().unwrap().to_owned();
        let container = bundle.set(pointer, json!(format!("{old}\0/etc"))).container();
        expect_named(container.create(), name);
    }
}

#[test]
fn kernel_parameters_of_the_host_are_not_reached_by_any_name() {
    ours_only!();
    // The value is the one that is there: an attack that gets through changes nothing.
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap().trim_end().to_owned();
    for name in [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "net.../kernel/core_pattern",
        "net/../kernel/core_pattern",
        "net/ipv4/../../kernel/core_pattern",
        "net.ipv4./../../kernel/core_pattern",
        "/kernel/core_pattern",
        "fs.mqueue./../../kernel/core_pattern",
        "net.ipv4.../../../../sysrq-trigger",
        "kernel.domainname/../core_pattern",
    ] {
        let container = Bundle::new().set("/linux/sysctl", json!({name: pattern})).container();
        expect_named(container.create(), "linux.sysctl");
        expect_nothing_left(&container);
    }
}

#[test]
fn cgroups_are_not_made_outside_their_tree() {
    ours_only!();
    for path in ["..", "/..", "/", "a/..", "/a/./../..", "/a\0b", "/a\n/b"] {
        let container = Bundle::new().set("/linux/cgroupsPath", json!(path)).container();
        expect_named(container.create(), "linux.cgroupsPath");
        expect_nothing_left(&container);
    }
    requires!(integration::cgroup2_mount().is_some(), "no cgroup v2");
    for path in ["../../../../NAME", "/../../../NAME", "/x/../../../NAME", "x/../../../../../NAME"] {
        let bundle = Bundle::new();
        let canary = Canary::of(&bundle);
        let name = format!("{}{}-outside", integration::mark(), std::process::id());
        let path = path.replace("NAME", &name);
        let container = bundle.sleeping().set("/linux/cgroupsPath", json!(path)).container();
        container.create().expect_ok();
        // `..` leads no higher than the start: from the root of the hierarchy there is one name.
        let cgroup = container.init().cgroup();
        assert!(!cgroup.contains("..") && cgroup.ends_with(&format!("/{name}")), "{path}: {cgroup}");
        assert!(!path.starts_with('/') || cgroup == format!("/{name}"), "{path}: {cgroup}");
        let folder = container.init().cgroup_folder();
        assert!(folder.join("cgroup.procs").exists());
        container.delete_force().expect_ok();
        assert!(!folder.exists(), "{path}: left {}", folder.display());
        canary.assert_untouched(&path);
    }
}

#[test]
fn two_fields_of_one_name_are_not_two_configurations() {
    ours_only!();
    // Whoever checked the first would let through the second.
    let text = Bundle::new().config().0.to_string();
    let doubled =
        text.replacen("\"process\":", "\"process\":{\"args\":[\"false\"],\"cwd\":\"/\"},\"process\":", 1);
    assert_ne!(text, doubled);
    expect_named(Bundle::new().container_of_raw(doubled.as_bytes()).create(), "duplicate field `process`");
}
