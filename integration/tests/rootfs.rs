//! The container's root: `root`, the way into it, its propagation, and what is hidden or read-only in it.
//! (runtime-spec, config.md: "Root"; config-linux.md: "Rootfs Mount Propagation", "Masked Paths", "Readonly
//! Paths"; pivot_root(2).)
// Test code all of it: helpers panic where they stand, as the tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use integration::{Bundle, Container, json, known_gap, running};

#[test]
fn a_relative_root_belongs_to_the_bundle_wherever_the_caller_stands() {
    let bundle = Bundle::new().file("/mark", 0o644, b"relative").sh("cat /mark");
    let container = bundle.container();
    let output = container.birth("run", &[]).current_dir(Path::new("/usr")).output().expect_ok();
    assert_eq!(output.stdout, "relative");
}

#[test]
fn an_absolute_root_may_lie_outside_the_bundle() {
    let other = Bundle::new().file("/mark", 0o644, b"absolute");
    let path = other.rootfs();
    let inside = Bundle::new().set("/root/path", json!(path)).in_container("cat /mark");
    assert_eq!(inside, "absolute");
}

#[test]
fn the_root_may_be_a_symbolic_link() {
    known_gap!(Runc, "1.1.5 refuses it");
    let bundle = Bundle::new().file("/mark", 0o644, b"linked");
    symlink("rootfs", bundle.path().join("link")).unwrap();
    assert_eq!(bundle.set("/root/path", json!("link")).in_container("cat /mark"), "linked");
}

#[test]
fn a_missing_root_is_named() {
    let refused = Bundle::new().set("/root/path", json!("nowhere")).run().expect_fail();
    refused.expect_runc_phrase("nowhere").expect_runc_phrase("no such file or directory");
}

#[test]
fn a_root_that_is_a_file_is_refused() {
    let refused = Bundle::new().set("/root/path", json!("config.json")).run().expect_fail();
    let refused = refused.expect_runc_phrase("not a directory");
    known_gap!(Runc, "1.1.5 names the call alone");
    refused.expect_runc_phrase("config.json");
}

#[test]
fn a_configuration_without_a_root_is_refused() {
    Bundle::new().remove("/root").run().expect_fail().expect_runc_phrase("root");
}

#[test]
fn a_root_that_is_not_read_only_is_written_to() {
    let container = running(Bundle::new().set("/root/readonly", json!(false)));
    assert!(container.init().mount_at("/").has("rw"));
    fs::write(container.init().inside("/made"), "").unwrap();
    assert!(container.bundle().rootfs().join("made").exists());
}

#[test]
fn a_read_only_root_is_read_only_and_its_mounts_are_not() {
    let script = "touch /made 2>/dev/null && echo wrong; touch /mnt/a/made /dev/made && echo right";
    let inside = Bundle::new()
        .set("/root/readonly", json!(true))
        .mount("/mnt/a", "tmpfs", "tmpfs", &[])
        .in_container(script);
    assert_eq!(inside, "right");
}

#[test]
fn a_read_only_root_gets_its_missing_mount_points() {
    let bundle =
        Bundle::new().set("/root/readonly", json!(true)).mount("/made/for/it", "tmpfs", "tmpfs", &[]);
    let container = running(bundle);
    assert!(container.init().mount_at("/").has("ro"));
    assert_eq!(container.init().mount_at("/made/for/it").kind, "tmpfs");
    // The host's folder is not read-only because of it.
    fs::write(container.bundle().rootfs().join("made-by-the-host"), "").unwrap();
}

/// Lines of mountinfo inside: only what the configuration lists and the runtime made may be there.
#[track_caller]
fn only_own_mounts(container: &Container) {
    let mounts = container.init().mounts();
    let mut known: Vec<String> =
        ["/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"].map(str::to_owned).into();
    let linux = &container.bundle().config().0["linux"];
    for list in ["maskedPaths", "readonlyPaths"] {
        let paths = linux[list].as_array().into_iter().flatten();
        known.extend(paths.map(|path| path.as_str().unwrap().to_owned()));
    }
    // In a user namespace the devices are mounts.
    known.extend(["null", "zero", "full", "tty", "random", "urandom"].map(|name| format!("/dev/{name}")));
    for mount in &mounts {
        let path = &mount.destination;
        // With cgroup v1 it is a folder of several mounts.
        let expected =
            known.iter().any(|known| Path::new(known) == path) || path.starts_with("/sys/fs/cgroup");
        assert!(expected, "{mount:?}");
    }
    assert_eq!(mounts.iter().filter(|mount| mount.destination == Path::new("/")).count(), 1, "{mounts:#?}");
}

#[test]
fn nothing_of_the_old_root_is_left() {
    only_own_mounts(&running(Bundle::new()));
}

#[test]
fn nothing_of_the_old_root_is_left_with_a_user_namespace() {
    only_own_mounts(&running(Bundle::new().user_namespace(500_000, 65_536)));
}

#[test]
fn the_root_is_the_programs_root_and_working_directory() {
    let container = running(Bundle::new());
    let init = container.init();
    assert!(init.inside("/bin/busybox").exists());
    let same = |a: &Path, b: &Path| {
        use std::os::unix::fs::MetadataExt;
        let (a, b) = (fs::metadata(a).unwrap(), fs::metadata(b).unwrap());
        (a.dev(), a.ino()) == (b.dev(), b.ino())
    };
    assert!(same(&init.path("root"), &container.bundle().rootfs()));
    assert!(same(&init.path("cwd"), &container.bundle().rootfs()));
    let outside = container.bundle().scratch();
    assert!(!init.inside(outside.to_str().unwrap()).exists());
}

#[test]
fn dot_dot_does_not_lead_out_of_the_root() {
    let inside = Bundle::new().file("/mark", 0o644, b"here").in_container("cd /; cd ../../..; cat mark");
    assert_eq!(inside, "here");
}

#[test]
fn a_container_can_do_without_pivot_root() {
    let script =
        "cat /mark; cd ../..; cat mark; echo; ls / | grep -c mark; test -e /proc/self/stat && echo proc";
    let container = Bundle::new().file("/mark", 0o644, b"here").sh(script).container();
    let output = container.run_with(&["--no-pivot"]).expect_ok();
    assert_eq!(output.stdout, "herehere\n1\nproc\n");
}

#[test]
fn nothing_of_the_old_root_is_seen_without_pivot_root() {
    known_gap!(Runc, Crun, "they unmount proc and sysfs of the host by a list of their own");
    for bundle in [Bundle::new(), Bundle::new().user_namespace(500_000, 65_536)] {
        let container = bundle.sleeping().container();
        container
            .birth("run", &["--detach", "--no-pivot"])
            .output_in(container.bundle().scratch())
            .output()
            .expect_ok();
        only_own_mounts(&container);
    }
}

#[test]
fn a_read_only_root_is_read_only_without_pivot_root() {
    let script = "touch /made 2>/dev/null || echo read-only";
    let container = Bundle::new().set("/root/readonly", json!(true)).sh(script).container();
    assert_eq!(container.run_with(&["--no-pivot"]).expect_ok().stdout, "read-only\n");
}

/// What mountinfo says of the propagation of the root, without the numbers.
#[track_caller]
fn root_propagation(container: &Container) -> Vec<String> {
    let entry = container.init().mount_at("/");
    entry.propagation.iter().map(|field| field.split(':').next().unwrap().to_owned()).collect()
}

#[test]
fn the_root_has_the_propagation_that_is_asked_for() {
    known_gap!(Runc, Crun, "1.1.5 leaves the root private; the harness gives crun private mounts");
    for (word, expected) in [
        ("private", ""),
        ("rprivate", ""),
        ("shared", "shared"),
        ("rshared", "shared"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ] {
        let container = running(Bundle::new().set("/linux/rootfsPropagation", json!(word)));
        let fields = root_propagation(&container);
        if expected.is_empty() {
            assert!(fields.is_empty(), "{word}: {fields:?}");
        } else {
            assert!(fields.iter().any(|field| field == expected), "{word}: {fields:?}");
        }
    }
}

#[test]
fn the_root_is_no_peer_of_the_host_by_default() {
    for word in [None, Some("slave"), Some("rslave")] {
        let mut bundle = Bundle::new();
        if let Some(word) = word {
            bundle = bundle.set("/linux/rootfsPropagation", json!(word));
        }
        let fields = root_propagation(&running(bundle));
        assert!(!fields.iter().any(|field| field == "shared"), "{word:?}: {fields:?}");
    }
}

#[test]
fn an_unknown_propagation_of_the_root_is_refused() {
    let refused = Bundle::new().set("/linux/rootfsPropagation", json!("everywhere")).run().expect_fail();
    refused.expect_runc_phrase("rootfsPropagation");
}

#[test]
fn masked_files_are_empty_and_masked_folders_too() {
    let inside = Bundle::new()
        .file("/secret/file", 0o644, b"secret")
        .file("/other/file", 0o644, b"secret")
        .file("/plain", 0o644, b"secret")
        .file("/second", 0o644, b"secret")
        .set("/linux/maskedPaths", json!(["/secret", "/plain", "/other", "/second", "/not/there"]))
        .in_container(
            "ls /secret /other | grep file; cat /plain /second; \
             touch /secret/x 2>/dev/null && echo wrong; touch /other/x 2>/dev/null && echo wrong; \
             ls /not 2>/dev/null && echo wrong; stat -c '%F %t:%T' /plain",
        );
    assert_eq!(inside, "character special file 1:3");
}

#[test]
fn a_masked_path_below_a_file_is_not_there() {
    known_gap!(Runc, "1.1.5 fails");
    let bundle = Bundle::new().file("/plain", 0o644, b"content");
    let bundle = bundle.set("/linux/maskedPaths", json!(["/plain/below"]));
    let bundle = bundle.set("/linux/readonlyPaths", json!(["/plain/below"]));
    assert_eq!(bundle.in_container("cat /plain"), "content");
}

#[test]
fn what_is_masked_stays_as_it_is_on_the_host() {
    let bundle = Bundle::new().file("/plain", 0o644, b"secret").set("/linux/maskedPaths", json!(["/plain"]));
    let container = running(bundle);
    assert_eq!(fs::read(container.bundle().rootfs().join("plain")).unwrap(), b"secret");
    assert_eq!(fs::metadata(container.init().inside("/plain")).unwrap().len(), 0);
}

#[test]
fn a_masked_link_hides_what_it_leads_to_inside() {
    let bundle = Bundle::new().file("/real/file", 0o644, b"secret");
    symlink("/real", bundle.rootfs().join("link")).unwrap();
    let inside = bundle.set("/linux/maskedPaths", json!(["/link"])).in_container("ls /real; ls /link/");
    assert_eq!(inside, "");
}

#[test]
fn a_masked_path_may_lie_on_a_mount() {
    let inside = Bundle::new()
        .set("/linux/maskedPaths", json!(["/proc/cpuinfo", "/proc/fs"]))
        .in_container("wc -c </proc/cpuinfo; ls /proc/fs");
    assert_eq!(inside, "0");
}

#[test]
fn masks_cover_in_a_user_namespace_too() {
    let inside = Bundle::new()
        .file("/secret/file", 0o644, b"secret")
        .file("/plain", 0o644, b"secret")
        .user_namespace(500_000, 65_536)
        .set("/linux/maskedPaths", json!(["/secret", "/plain"]))
        .in_container("ls /secret; cat /plain");
    assert_eq!(inside, "");
}

#[test]
fn a_masked_path_must_be_absolute() {
    known_gap!(Runc, Crun, "they do not check it");
    let refused = Bundle::new().set("/linux/maskedPaths", json!(["relative"])).run().expect_fail();
    refused.expect_stderr("linux.maskedPaths[0]");
}

#[test]
fn read_only_paths_are_read_only_and_what_is_beside_them_is_not() {
    let inside = Bundle::new()
        .file("/folder/file", 0o644, b"content")
        .file("/plain", 0o644, b"content")
        .file("/beside", 0o644, b"content")
        .set("/linux/readonlyPaths", json!(["/folder", "/plain", "/not/there"]))
        .in_container(
            "touch /folder/x 2>/dev/null && echo wrong; (echo >/plain) 2>/dev/null && echo wrong; \
             echo >/beside && cat /folder/file /plain",
        );
    assert_eq!(inside, "contentcontent");
}

#[test]
fn a_read_only_link_makes_what_it_leads_to_read_only() {
    let bundle = Bundle::new().file("/real/file", 0o644, b"content");
    symlink("real", bundle.rootfs().join("link")).unwrap();
    let inside = bundle
        .set("/linux/readonlyPaths", json!(["/link"]))
        .in_container("touch /real/x 2>/dev/null && echo wrong; cat /real/file");
    assert_eq!(inside, "content");
}

#[test]
fn a_read_only_path_keeps_the_other_attributes_of_its_mount() {
    known_gap!(Crun, "1.8.1 drops the flag noatime");
    let container = running(
        Bundle::new()
            .mount("/mnt/a", "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec", "noatime"])
            .set("/linux/readonlyPaths", json!(["/mnt/a"])),
    );
    let entry = container.init().mount_at("/mnt/a");
    for flag in ["ro", "nosuid", "nodev", "noexec", "noatime"] {
        assert!(entry.has(flag), "{flag}: {entry:?}");
    }
}

#[test]
fn the_usual_read_only_paths_of_proc_are_read_only() {
    // Some are not in every kernel; what is not there is left out.
    let paths = ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
    let container = running(Bundle::new().set("/linux/readonlyPaths", json!(paths)));
    for path in paths.into_iter().filter(|path| Path::new(path).exists()) {
        let entry = container.init().mount_at(path);
        assert!(entry.has("ro") && entry.kind == "proc", "{entry:?}");
    }
}

#[test]
fn a_path_may_be_read_only_on_an_unbindable_root() {
    known_gap!(Runc, "1.1.5 cannot bind an unbindable root");
    let bundle = Bundle::new();
    let source = bundle.scratch_file("bundle");
    let inside = bundle
        .file("/folder/file", 0o644, b"content")
        .bind(&source, "/mnt/a", &["bind"])
        .set("/linux/rootfsPropagation", json!("runbindable"))
        .set("/linux/readonlyPaths", json!(["/folder", "/mnt/a/rootfs/etc"]))
        .in_container("touch /folder/x /mnt/a/rootfs/etc/x 2>/dev/null && echo wrong; cat /folder/file");
    assert_eq!(inside, "content");
}
