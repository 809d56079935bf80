//! Options of mounts: attributes of one mount and of a tree of mounts, flags of file systems, propagation,
//! id mappings. (runtime-spec, config.md: "Linux mount options"; mount_setattr(2), mount_namespaces(7).)
// Test code all of it: helpers panic where they stand, as the tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use integration::{Bundle, Call, MountEntry, json, kernel_at_least, known_gap, requires, running, wait_for};
use nix::mount::{MsFlags, mount};

/// Started, and sleeping.
/// A tmpfs at `name` in the bundle's scratch folder, of the host, with flags of mount(2) and a propagation.
#[track_caller]
fn host_tmpfs(bundle: &Bundle, name: &str, flags: MsFlags, propagation: MsFlags) -> String {
    let path = bundle.scratch_file(name);
    fs::create_dir_all(&path).unwrap();
    mount(Some("tmpfs"), path.as_str(), Some("tmpfs"), flags, None::<&str>).unwrap();
    mount(None::<&str>, path.as_str(), None::<&str>, propagation, None::<&str>).unwrap();
    path
}

/// A tmpfs with another tmpfs in its folder `sub`, both with `flags`.
#[track_caller]
fn host_tree(bundle: &Bundle, name: &str, flags: MsFlags, propagation: MsFlags) -> String {
    let top = host_tmpfs(bundle, name, MsFlags::empty(), propagation);
    host_tmpfs(bundle, &format!("{name}/sub"), flags, propagation);
    let again = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
    mount(None::<&str>, top.as_str(), None::<&str>, again, None::<&str>).unwrap();
    top
}

/// Option lists with what the mount then has and has not; `""` for nothing. Every attribute comes once by
/// itself and once after its contrary: the last one wins.
const ATTRIBUTES: [(&[&str], &str, &str); 20] = [
    (&["ro"], "ro", "rw"),
    (&["rw"], "rw", "ro"),
    (&["ro", "rw"], "rw", "ro"),
    (&["rw", "ro"], "ro", "rw"),
    (&["nosuid"], "nosuid", ""),
    (&["nosuid", "suid"], "", "nosuid"),
    (&["nodev"], "nodev", ""),
    (&["nodev", "dev"], "", "nodev"),
    (&["noexec"], "noexec", ""),
    (&["noexec", "exec"], "", "noexec"),
    (&["noatime"], "noatime", "relatime"),
    (&["noatime", "atime"], "relatime", "noatime"),
    (&["nodiratime"], "nodiratime", "noatime"),
    (&["nodiratime", "diratime"], "", "nodiratime"),
    (&["relatime"], "relatime", "noatime"),
    (&["strictatime"], "", "relatime"),
    (&["strictatime", "nostrictatime"], "relatime", "noatime"),
    (&["silent"], "rw", "ro"),
    (&["loud"], "rw", "ro"),
    (&["ro", "nosuid", "nodev", "noexec", "noatime"], "noexec", "relatime"),
];

#[track_caller]
fn check(entry: &MountEntry, options: &[&str], has: &str, has_not: &str) {
    assert!(has.is_empty() || entry.has(has), "{options:?} lacks {has}: {entry:?}");
    assert!(has_not.is_empty() || !entry.has(has_not), "{options:?} has {has_not}: {entry:?}");
}

#[test]
fn every_attribute_of_a_new_file_system_is_seen_in_mountinfo() {
    let mut bundle = Bundle::new();
    for (index, (options, ..)) in ATTRIBUTES.iter().enumerate() {
        bundle = bundle.mount(&format!("/mnt/{index}"), "tmpfs", "tmpfs", options);
    }
    let container = running(bundle);
    for (index, (options, has, has_not)) in ATTRIBUTES.iter().enumerate() {
        check(&container.init().mount_at(&format!("/mnt/{index}")), options, has, has_not);
    }
}

#[test]
fn every_attribute_of_a_bind_mount_is_seen_in_mountinfo() {
    let mut bundle = Bundle::new();
    let source = host_tmpfs(&bundle, "source", MsFlags::empty(), MsFlags::MS_PRIVATE);
    for (index, (options, ..)) in ATTRIBUTES.iter().enumerate() {
        let options = [&["bind"], *options].concat();
        bundle = bundle.bind(&source, &format!("/mnt/{index}"), &options);
    }
    let container = running(bundle);
    for (index, (options, has, has_not)) in ATTRIBUTES.iter().enumerate() {
        check(&container.init().mount_at(&format!("/mnt/{index}")), options, has, has_not);
    }
}

#[test]
fn a_bind_mount_keeps_what_its_source_has_where_no_option_speaks_of_it() {
    let bundle = Bundle::new();
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
    let source = host_tmpfs(&bundle, "source", flags, MsFlags::MS_PRIVATE);
    let container =
        running(bundle.bind(&source, "/mnt/plain", &["bind"]).bind(&source, "/mnt/rw", &["rbind", "rw"]));
    known_gap!(Crun, "1.8.1 clears what the source has when a bind mount has any option");
    for path in ["/mnt/plain", "/mnt/rw"] {
        let entry = container.init().mount_at(path);
        for flag in ["nosuid", "nodev", "noexec", "noatime", "rw"] {
            assert!(entry.has(flag), "{path} lacks {flag}: {entry:?}");
        }
    }
}

#[test]
fn symbolic_links_are_not_followed_on_a_mount_with_nosymfollow() {
    known_gap!(Runc, Crun, "newer than runc 1.1.5 and crun 1.8.1");
    let script = "ln -s /etc/passwd /mnt/a/link; ln -s /etc/passwd /mnt/b/link; \
                  cat /mnt/a/link >/dev/null 2>&1 && echo wrong; cat /mnt/b/link >/dev/null && echo followed";
    let inside = Bundle::new()
        .mount("/mnt/a", "tmpfs", "tmpfs", &["nosymfollow"])
        .mount("/mnt/b", "tmpfs", "tmpfs", &["nosymfollow", "symfollow"])
        .in_container(script);
    assert_eq!(inside, "followed");
}

#[test]
fn norelatime_is_not_relatime() {
    known_gap!(Runc, Crun, "they take it as no flag, which mount(2) takes as relatime");
    let container = running(Bundle::new().mount("/mnt/a", "tmpfs", "tmpfs", &["norelatime"]));
    check(&container.init().mount_at("/mnt/a"), &["norelatime"], "", "relatime");
    check(&container.init().mount_at("/mnt/a"), &["norelatime"], "", "noatime");
}

#[test]
fn flags_of_the_file_system_itself_are_seen_in_mountinfo() {
    let container = running(
        Bundle::new()
            .mount("/mnt/sync", "tmpfs", "tmpfs", &["sync"])
            .mount("/mnt/async", "tmpfs", "tmpfs", &["sync", "async"])
            .mount("/mnt/dirsync", "tmpfs", "tmpfs", &["dirsync"]),
    );
    let at = |name: &str| container.init().mount_at(&format!("/mnt/{name}"));
    assert!(at("sync").super_has("sync"), "{:?}", at("sync"));
    assert!(!at("async").super_has("sync"), "{:?}", at("async"));
    assert!(at("dirsync").super_has("dirsync"), "{:?}", at("dirsync"));
}

#[test]
fn lazytime_is_a_flag_of_the_file_system() {
    known_gap!(Runc, Crun, "lazytime is newer than runc 1.1.5 and crun 1.8.1");
    let container = running(Bundle::new().mount("/mnt/lazy", "tmpfs", "tmpfs", &["lazytime"]).mount(
        "/mnt/not",
        "tmpfs",
        "tmpfs",
        &["lazytime", "nolazytime"],
    ));
    assert!(container.init().mount_at("/mnt/lazy").super_has("lazytime"));
    assert!(!container.init().mount_at("/mnt/not").super_has("lazytime"));
}

#[test]
fn options_without_an_effect_today_are_accepted() {
    known_gap!(Runc, Crun, "these versions hand some of them on to the file system");
    let options = ["mand", "nomand", "iversion", "noiversion", "defaults", "silent", "loud"];
    let container = running(Bundle::new().mount("/mnt/a", "tmpfs", "tmpfs", &options));
    check(&container.init().mount_at("/mnt/a"), &options, "rw", "nosuid");
}

/// Recursive options, what both mounts of the tree then have, and have not.
const RECURSIVE: [(&[&str], &str, &str); 8] = [
    (&["rro"], "ro", "rw"),
    (&["rnosuid"], "nosuid", ""),
    (&["rnodev"], "nodev", ""),
    (&["rnoexec"], "noexec", ""),
    (&["rnoatime"], "noatime", "relatime"),
    (&["rnodiratime"], "nodiratime", "noatime"),
    (&["rstrictatime"], "", "relatime"),
    (&["rrelatime"], "relatime", "noatime"),
];

#[test]
fn recursive_attributes_reach_the_mounts_below() {
    known_gap!(Crun, "1.8.1 sets the atime options one after the other, which the kernel refuses");
    let mut bundle = Bundle::new();
    let source = host_tree(&bundle, "source", MsFlags::empty(), MsFlags::MS_PRIVATE);
    for (index, (options, ..)) in RECURSIVE.iter().enumerate() {
        bundle = bundle.bind(&source, &format!("/mnt/{index}"), &[&["rbind"], *options].concat());
    }
    let container = running(bundle);
    for (index, (options, has, has_not)) in RECURSIVE.iter().enumerate() {
        check(&container.init().mount_at(&format!("/mnt/{index}")), options, has, has_not);
        check(&container.init().mount_at(&format!("/mnt/{index}/sub")), options, has, has_not);
    }
}

#[test]
fn recursive_options_take_attributes_of_the_mounts_below_away() {
    let cleared: [(&[&str], &str); 7] = [
        (&["rsuid"], "nosuid"),
        (&["rdev"], "nodev"),
        (&["rexec"], "noexec"),
        (&["rrw"], "ro"),
        (&["ratime"], "noatime"),
        (&["rnostrictatime"], "noatime"),
        (&["rdiratime"], "nodiratime"),
    ];
    known_gap!(Runc, Crun, "1.1.5 and 1.8.1 do not clear the whole field of atime, which the kernel refuses");
    let mut bundle = Bundle::new();
    let flags = MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV
        | MsFlags::MS_NOEXEC
        | MsFlags::MS_RDONLY
        | MsFlags::MS_NOATIME
        | MsFlags::MS_NODIRATIME;
    let source = host_tree(&bundle, "source", flags, MsFlags::MS_PRIVATE);
    for (index, (options, _)) in cleared.iter().enumerate() {
        bundle = bundle.bind(&source, &format!("/mnt/{index}"), &[&["rbind"], *options].concat());
    }
    let container = running(bundle);
    for (index, (options, flag)) in cleared.iter().enumerate() {
        for path in [format!("/mnt/{index}"), format!("/mnt/{index}/sub")] {
            let entry = container.init().mount_at(&path);
            check(&entry, options, "", flag);
            // What the option does not speak of stays.
            let other = if *flag == "nodev" { "noexec" } else { "nodev" };
            check(&entry, options, other, "");
        }
    }
}

#[test]
fn the_last_of_two_recursive_attributes_counts() {
    known_gap!(Runc, Crun, "1.1.5 sets what it was told to clear");
    let bundle = Bundle::new();
    let source = host_tree(&bundle, "source", MsFlags::empty(), MsFlags::MS_PRIVATE);
    let container = running(bundle.bind(&source, "/mnt/rw", &["rbind", "rro", "rrw"]).bind(
        &source,
        "/mnt/ro",
        &["rbind", "rrw", "rro"],
    ));
    for path in ["", "/sub"] {
        check(&container.init().mount_at(&format!("/mnt/rw{path}")), &["rro", "rrw"], "rw", "ro");
        check(&container.init().mount_at(&format!("/mnt/ro{path}")), &["rrw", "rro"], "ro", "rw");
    }
}

#[test]
fn rnosymfollow_reaches_the_mounts_below() {
    known_gap!(Runc, Crun, "1.1.5 cannot clear it again; newer than 1.8.1");
    let bundle = Bundle::new();
    let source = host_tree(&bundle, "source", MsFlags::empty(), MsFlags::MS_PRIVATE);
    std::os::unix::fs::symlink("/etc/passwd", Path::new(&source).join("sub/link")).unwrap();
    let inside = bundle
        .bind(&source, "/mnt/a", &["rbind", "rnosymfollow"])
        .bind(&source, "/mnt/b", &["rbind", "rnosymfollow", "rsymfollow"])
        .in_container(
            "cat /mnt/a/sub/link 2>/dev/null && echo wrong; cat /mnt/b/sub/link >/dev/null && echo followed",
        );
    assert_eq!(inside, "followed");
}

#[test]
fn an_attribute_without_r_leaves_the_mounts_below_alone() {
    let bundle = Bundle::new();
    let source = host_tree(&bundle, "source", MsFlags::empty(), MsFlags::MS_PRIVATE);
    let container = running(bundle.bind(&source, "/mnt/a", &["rbind", "ro", "nosuid"]));
    check(&container.init().mount_at("/mnt/a"), &["ro"], "ro", "");
    check(&container.init().mount_at("/mnt/a/sub"), &["ro"], "rw", "nosuid");
}

#[test]
fn the_attributes_of_the_host_are_left_alone() {
    let bundle = Bundle::new();
    let source = host_tree(&bundle, "source", MsFlags::empty(), MsFlags::MS_SHARED);
    let container = running(bundle.bind(&source, "/mnt/a", &["rbind", "rro", "rprivate"]));
    let host = integration::Process::this().mounts();
    let of_source: Vec<_> = host.iter().filter(|entry| entry.destination.starts_with(&source)).collect();
    assert_eq!(of_source.len(), 2);
    assert!(of_source.iter().all(|entry| entry.has("rw") && entry.propagation[0].starts_with("shared:")));
    drop(container);
}

#[test]
fn a_recursive_bind_brings_the_mounts_below_and_a_plain_one_does_not() {
    let bundle = Bundle::new();
    let source = host_tree(&bundle, "source", MsFlags::empty(), MsFlags::MS_PRIVATE);
    fs::write(Path::new(&source).join("sub/file"), "below").unwrap();
    let inside = bundle
        .bind(&source, "/mnt/r", &["rbind"])
        .bind(&source, "/mnt/b", &["bind"])
        .in_container("cat /mnt/r/sub/file; ls /mnt/b/sub");
    assert_eq!(inside, "below");
}

/// What mountinfo says of the propagation of a mount, without the numbers.
fn propagation(entry: &MountEntry) -> Vec<&str> {
    entry.propagation.iter().map(|field| field.split(':').next().unwrap()).collect()
}

#[test]
fn propagation_of_one_mount_is_seen_in_mountinfo() {
    let bundle = Bundle::new();
    let source = host_tree(&bundle, "source", MsFlags::empty(), MsFlags::MS_SHARED);
    let container = running(
        bundle
            .bind(&source, "/mnt/private", &["rbind", "private"])
            .bind(&source, "/mnt/slave", &["rbind", "slave"])
            .bind(&source, "/mnt/shared", &["rbind", "shared"])
            .bind(&source, "/mnt/unbindable", &["rbind", "unbindable"])
            .bind(&source, "/mnt/none", &["rbind"]),
    );
    let of = |path: &str| container.init().mount_at(path);
    assert_eq!(propagation(&of("/mnt/private")), [""; 0]);
    assert_eq!(propagation(&of("/mnt/slave")), ["master"]);
    assert_eq!(propagation(&of("/mnt/shared")), ["shared", "master"]);
    assert_eq!(propagation(&of("/mnt/unbindable")), ["unbindable"]);
    // Without a word the propagation is the root's, rslave: mounts of the host come in, none goes out.
    assert_eq!(propagation(&of("/mnt/none")), ["master"]);
    for path in ["/mnt/private/sub", "/mnt/slave/sub", "/mnt/shared/sub", "/mnt/unbindable/sub"] {
        assert_eq!(propagation(&of(path)), ["master"], "{path}");
    }
}

#[test]
fn propagation_of_a_tree_is_seen_in_mountinfo() {
    let bundle = Bundle::new();
    let source = host_tree(&bundle, "source", MsFlags::empty(), MsFlags::MS_SHARED);
    let container = running(
        bundle
            .bind(&source, "/mnt/rprivate", &["rbind", "rprivate"])
            .bind(&source, "/mnt/rslave", &["rbind", "rslave"])
            .bind(&source, "/mnt/rshared", &["rbind", "rshared"])
            .bind(&source, "/mnt/runbindable", &["rbind", "runbindable"]),
    );
    let expected: [(&str, &[&str]); 4] = [
        ("/mnt/rprivate", &[]),
        ("/mnt/rslave", &["master"]),
        ("/mnt/rshared", &["shared", "master"]),
        ("/mnt/runbindable", &["unbindable"]),
    ];
    for (path, fields) in expected {
        assert_eq!(propagation(&container.init().mount_at(path)), fields, "{path}");
        assert_eq!(propagation(&container.init().mount_at(&format!("{path}/sub"))), fields, "{path}/sub");
    }
}

#[test]
fn propagation_of_a_new_file_system_is_seen_in_mountinfo() {
    let container = running(
        Bundle::new()
            .mount("/mnt/shared", "tmpfs", "tmpfs", &["shared"])
            .mount("/mnt/unbindable", "tmpfs", "tmpfs", &["unbindable"])
            .mount("/mnt/none", "tmpfs", "tmpfs", &[]),
    );
    assert_eq!(propagation(&container.init().mount_at("/mnt/shared")), ["shared"]);
    assert_eq!(propagation(&container.init().mount_at("/mnt/unbindable")), ["unbindable"]);
    assert_eq!(propagation(&container.init().mount_at("/mnt/none")), [""; 0]);
}

#[test]
fn later_mounts_of_the_host_come_into_a_slave_and_not_into_a_private_mount() {
    let bundle = Bundle::new();
    let source = host_tmpfs(&bundle, "source", MsFlags::empty(), MsFlags::MS_SHARED);
    fs::create_dir(Path::new(&source).join("later")).unwrap();
    let container = running(bundle.bind(&source, "/mnt/slave", &["rbind", "rslave"]).bind(
        &source,
        "/mnt/private",
        &["rbind", "rprivate"],
    ));
    let later = Path::new(&source).join("later");
    mount(Some("tmpfs"), &later, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    fs::write(later.join("file"), "").unwrap();
    let init = container.init();
    assert!(init.inside("/mnt/slave/later/file").exists());
    assert!(!init.inside("/mnt/private/later/file").exists());
}

#[test]
fn mounts_of_the_container_stay_inside() {
    // Shared is the root alone or the mount alone; or the root, and of the mount only what is not below it.
    for (root, options) in [
        ("", &["rbind", "rshared"][..]),
        ("rshared", &["rbind"]),
        ("shared", &["rbind"]),
        ("rshared", &["rbind", "slave"]),
    ] {
        if root.ends_with("shared") {
            known_gap!(Runc, Crun, "where the root is shared, every mount is");
        }
        let bundle = Bundle::new();
        let source = host_tree(&bundle, "source", MsFlags::empty(), MsFlags::MS_SHARED);
        let places = [Path::new(&source).join("d"), Path::new(&source).join("sub/d")];
        places.iter().for_each(|place| fs::create_dir(place).unwrap());
        let container = bundle
            .bind(&source, "/mnt/a", options)
            .set("/linux/rootfsPropagation", json!(root))
            .capabilities(&["CAP_SYS_ADMIN"])
            .sh("for place in /mnt/a/d /mnt/a/sub/d; do mount -t tmpfs tmpfs $place && touch $place/file; done; \
                 ls /mnt/a/sub/d; echo mounted; exec sleep 600")
            .container();
        container.run_detached().expect_ok();
        container.wait_stdout("mounted");
        assert_eq!(container.stdout(), "file\nmounted\n");
        for place in places {
            assert!(!place.join("file").exists(), "{root:?} {options:?}: {}", place.display());
        }
    }
}

#[test]
fn mounts_of_the_container_reach_the_host_where_root_and_mount_are_shared() {
    let bundle = Bundle::new();
    let source = host_tmpfs(&bundle, "source", MsFlags::empty(), MsFlags::MS_SHARED);
    fs::create_dir(Path::new(&source).join("d")).unwrap();
    let container = bundle
        .bind(&source, "/mnt/a", &["rbind", "rshared"])
        .set("/linux/rootfsPropagation", json!("rshared"))
        .capabilities(&["CAP_SYS_ADMIN"])
        .sh("mount -t tmpfs tmpfs /mnt/a/d && touch /mnt/a/d/file && echo mounted && exec sleep 600")
        .container();
    known_gap!(Crun, "the harness runs it in a mount namespace of its own");
    container.run_detached().expect_ok();
    container.wait_stdout("mounted");
    let file = Path::new(&source).join("d/file");
    wait_for("the container's mount on the host", || file.exists().then_some(()));
}

/// A tmpfs of the host, able to be id-mapped, with a file of owner and group 1000; and one below it.
fn mapped_tree(bundle: &Bundle) -> String {
    let source = host_tree(bundle, "source", MsFlags::empty(), MsFlags::MS_PRIVATE);
    for file in ["file", "sub/file"] {
        let file = Path::new(&source).join(file);
        fs::write(&file, "").unwrap();
        chown(&file, Some(1000), Some(1000)).unwrap();
    }
    source
}

/// A bundle with an id-mapped mount that has mappings of its own.
fn with_mappings(bundle: Bundle, source: &str, destination: &str, options: &[&str]) -> Bundle {
    let map = |host: u32| json!([{"containerID": 1000, "hostID": host, "size": 1}]);
    bundle.push(
        "/mounts",
        json!({"destination": destination, "type": "bind", "source": source, "options": options,
               "uidMappings": map(2000), "gidMappings": map(3000)}),
    )
}

#[test]
fn an_id_mapped_mount_shows_other_owners() {
    known_gap!(Runc, Crun, "newer than runc 1.1.5; crun 1.8.1 asks for a user namespace");
    requires!(kernel_at_least(6, 3), "tmpfs cannot be id-mapped before Linux 6.3");
    let mut bundle = Bundle::new();
    let source = mapped_tree(&bundle);
    for option in ["idmap", "ridmap"] {
        bundle = with_mappings(bundle, &source, &format!("/mnt/{option}"), &["rbind", option]);
    }
    let inside = bundle.in_container(
        "stat -c %u:%g /mnt/idmap/file /mnt/idmap/sub/file /mnt/ridmap/file /mnt/ridmap/sub/file",
    );
    assert_eq!(inside, "2000:3000\n1000:1000\n2000:3000\n2000:3000");
}

#[test]
fn mappings_alone_ask_for_an_id_mapped_mount() {
    known_gap!(Runc, Crun, "newer than runc 1.1.5; crun 1.8.1 asks for a user namespace");
    requires!(kernel_at_least(6, 3), "tmpfs cannot be id-mapped before Linux 6.3");
    let bundle = Bundle::new();
    let source = mapped_tree(&bundle);
    let bundle = with_mappings(bundle, &source, "/mnt/a", &["bind"]);
    assert_eq!(bundle.in_container("stat -c %u:%g /mnt/a/file"), "2000:3000");
}

#[test]
fn files_made_through_an_id_mapped_mount_belong_to_the_mapped_owner() {
    known_gap!(Runc, Crun, "newer than runc 1.1.5; crun 1.8.1 asks for a user namespace");
    requires!(kernel_at_least(6, 3), "tmpfs cannot be id-mapped before Linux 6.3");
    let bundle = Bundle::new();
    let source = mapped_tree(&bundle);
    chown(&source, Some(1000), Some(1000)).unwrap();
    let container = with_mappings(bundle, &source, "/mnt/a", &["bind", "idmap"])
        .set("/process/user", json!({"uid": 2000, "gid": 3000}))
        .sh("touch /mnt/a/made && echo done && exec sleep 600")
        .container();
    container.run_detached().expect_ok();
    container.wait_stdout("done");
    let made = fs::metadata(Path::new(&source).join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (1000, 1000));
}

#[test]
fn an_id_mapped_mount_without_mappings_has_those_of_the_container() {
    known_gap!(Runc, Crun, "newer than runc 1.1.5; crun 1.8.1 gets it wrong without mappings");
    requires!(kernel_at_least(6, 3), "tmpfs cannot be id-mapped before Linux 6.3");
    let bundle = Bundle::new();
    let source = mapped_tree(&bundle);
    let inside = bundle
        .user_namespace(500_000, 65_536)
        .bind(&source, "/mnt/a", &["rbind", "idmap"])
        .bind(&source, "/mnt/b", &["rbind", "ridmap"])
        .bind(&source, "/mnt/c", &["rbind"])
        .in_container("stat -c %u:%g /mnt/a/file /mnt/a/sub/file /mnt/b/sub/file /mnt/c/file");
    // Nobody's, 65534, is what an id outside of the container's mapping looks like.
    assert_eq!(inside, "1000:1000\n65534:65534\n1000:1000\n65534:65534");
}

#[test]
fn an_id_mapped_mount_in_a_joined_user_namespace_has_the_mappings_of_that() {
    known_gap!(Runc, Crun, "newer than runc 1.1.5; crun 1.8.1 gets it wrong without mappings");
    requires!(kernel_at_least(6, 3), "tmpfs cannot be id-mapped before Linux 6.3");
    let first = Bundle::new().user_namespace(500_000, 65_536).sleeping().container();
    first.run_detached().expect_ok();
    let bundle = Bundle::new().user_namespace(500_000, 65_536);
    let source = mapped_tree(&bundle);
    let inside = bundle
        .join_namespace("user", &format!("/proc/{}/ns/user", first.init_pid()))
        .remove("/linux/uidMappings")
        .remove("/linux/gidMappings")
        .bind(&source, "/mnt/a", &["bind", "idmap"])
        .in_container("stat -c %u:%g /mnt/a/file");
    assert_eq!(inside, "1000:1000");
}

#[test]
fn an_id_mapped_mount_without_any_mapping_is_refused() {
    known_gap!(Runc, Crun, "newer than runc 1.1.5; crun 1.8.1 words it differently");
    let bundle = Bundle::new();
    let source = bundle.scratch_file("bundle");
    bundle.bind(&source, "/mnt/a", &["bind", "idmap"]).run().expect_fail().expect_stderr("mounts[7]");
}

#[test]
fn an_id_mapping_of_only_one_kind_is_refused() {
    known_gap!(Runc, Crun, "newer than runc 1.1.5; crun 1.8.1 does not check it");
    let bundle = Bundle::new();
    let source = bundle.scratch_file("bundle");
    let mount = json!({"destination": "/mnt/a", "type": "bind", "source": source, "options": ["bind", "idmap"],
                       "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]});
    bundle.push("/mounts", mount).run().expect_fail().expect_stderr("mounts[7].gidMappings");
}

#[test]
fn an_id_mapping_of_a_file_system_that_is_no_bind_mount_is_refused() {
    known_gap!(Runc, Crun, "newer than runc 1.1.5; crun 1.8.1 words it differently");
    let map = json!([{"containerID": 0, "hostID": 1, "size": 1}]);
    let mount = json!({"destination": "/mnt/a", "type": "tmpfs", "source": "tmpfs", "options": ["idmap"],
                       "uidMappings": map, "gidMappings": map});
    Bundle::new().push("/mounts", mount).run().expect_fail().expect_stderr("mounts[7]");
}

#[test]
fn the_mounts_of_a_run_do_not_reach_the_host() {
    let bundle = Bundle::new().mount("/mnt/a", "tmpfs", "tmpfs", &["shared"]);
    let root = bundle.rootfs();
    let container = running(bundle);
    let host = Call::of("cat").args(["/proc/self/mountinfo"]).output().expect_ok().stdout;
    assert!(!host.contains(root.to_str().unwrap()), "{host}");
    drop(container);
}
