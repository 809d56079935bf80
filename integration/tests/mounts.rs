//! Mounts: sources, targets made inside the root, types of file systems, order, `tmpcopyup`, `remount`, and
//! errors that name the mount. (runtime-spec, config.md: "Mounts"; config-linux.md: "Default Filesystems".)
// Test code all of it: helpers panic where they stand, as the tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use integration::{
    Bundle, Flavour, flavour, is_root, json, kernel_at_least, known_gap, requires, running, skip,
};
use nix::mount::{MsFlags, mount};

/// A folder with a file beside the bundle, to be mounted.
fn with_source(bundle: Bundle) -> (Bundle, String) {
    let source = bundle.scratch_file("source");
    fs::create_dir(&source).unwrap();
    fs::write(Path::new(&source).join("file"), "content").unwrap();
    (bundle, source)
}

#[test]
fn a_folder_is_bound_and_its_missing_target_made() {
    let (bundle, source) = with_source(Bundle::new());
    let container = running(bundle.bind(&source, "/made/for/it", &["bind"]));
    assert_eq!(fs::read(container.init().inside("/made/for/it/file")).unwrap(), b"content");
    let target = container.bundle().rootfs().join("made/for/it");
    assert!(target.is_dir());
    assert!(!target.join("file").exists());
    assert_eq!(target.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn a_file_is_bound_and_its_missing_target_made() {
    let (bundle, source) = with_source(Bundle::new());
    let container = running(bundle.bind(&format!("{source}/file"), "/made/for/file", &["bind", "ro"]));
    let target = container.bundle().rootfs().join("made/for/file");
    assert!(target.is_file());
    assert_eq!(target.metadata().unwrap().len(), 0);
    assert_eq!(fs::read(container.init().inside("/made/for/file")).unwrap(), b"content");
    assert!(container.init().mount_at("/made/for/file").has("ro"));
}

#[test]
fn a_file_is_bound_onto_a_file_that_is_there() {
    let (bundle, source) = with_source(Bundle::new());
    let bundle = bundle.bind(&format!("{source}/file"), "/etc/hosts", &["rbind", "rw"]);
    let container = bundle.sh("cat /etc/hosts; echo written >/etc/hosts").container();
    assert_eq!(container.run().expect_ok().stdout, "content");
    assert_eq!(fs::read_to_string(format!("{source}/file")).unwrap(), "written\n");
}

#[test]
fn the_type_bind_alone_is_a_bind_mount() {
    known_gap!(Runc, "1.1.5 takes it for a file system");
    let (bundle, source) = with_source(Bundle::new());
    assert_eq!(bundle.bind(&source, "/mnt/a", &[]).in_container("cat /mnt/a/file"), "content");
}

#[test]
fn the_option_bind_makes_the_type_unimportant() {
    let (bundle, source) = with_source(Bundle::new());
    let inside = bundle
        .mount("/mnt/a", "none", &source, &["bind"])
        .push("/mounts", json!({"destination": "/mnt/b", "source": source, "options": ["rbind"]}))
        .in_container("cat /mnt/a/file /mnt/b/file");
    assert_eq!(inside, "contentcontent");
}

#[test]
fn a_socket_and_a_fifo_are_bound_as_files() {
    let bundle = Bundle::new();
    let (socket, fifo) = (bundle.scratch_file("socket"), bundle.scratch_file("fifo"));
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    nix::unistd::mkfifo(fifo.as_str(), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let inside = bundle
        .bind(&socket, "/run/made/socket", &["bind"])
        .bind(&fifo, "/run/made/fifo", &["bind", "ro"])
        .in_container("stat -c %F /run/made/socket /run/made/fifo");
    assert_eq!(inside, "socket\nfifo");
    drop(listener);
}

#[test]
fn the_root_itself_cannot_be_covered() {
    known_gap!(Runc, Crun, "they do it");
    let (bundle, source) = with_source(Bundle::new());
    for destination in ["/", "//", "/./", "/.."] {
        let container = Bundle::new().bind(&source, destination, &["bind"]).container();
        container.run().expect_fail().expect_stderr("mounts[7].destination");
    }
    drop(bundle);
}

#[test]
fn a_relative_source_belongs_to_the_bundle() {
    let bundle = Bundle::new();
    fs::create_dir(bundle.path().join("data")).unwrap();
    fs::write(bundle.path().join("data/file"), "relative").unwrap();
    let container = bundle.bind("data", "/mnt/a", &["bind"]).sh("cat /mnt/a/file").container();
    let output = container.birth("run", &[]).current_dir(Path::new("/usr")).output().expect_ok();
    assert_eq!(output.stdout, "relative");
}

#[test]
fn a_source_that_is_a_link_is_what_it_leads_to() {
    let (bundle, source) = with_source(Bundle::new());
    let link = bundle.scratch_file("link");
    symlink(&source, &link).unwrap();
    assert_eq!(bundle.bind(&link, "/mnt/a", &["bind"]).in_container("cat /mnt/a/file"), "content");
}

#[test]
fn a_target_that_is_a_link_is_followed_inside_the_root() {
    let (bundle, source) = with_source(Bundle::new());
    let outside = bundle.scratch_file("outside");
    symlink("/home/user", bundle.rootfs().join("absolute")).unwrap();
    symlink("../../../../srv", bundle.rootfs().join("relative")).unwrap();
    symlink(&outside, bundle.rootfs().join("escape")).unwrap();
    let container = running(
        bundle.bind(&source, "/absolute/made", &["bind"]).bind(&source, "/relative", &["bind"]).bind(
            &source,
            "/escape/made",
            &["bind"],
        ),
    );
    let init = container.init();
    for path in ["/home/user/made", "/srv", &format!("{outside}/made")] {
        assert_eq!(fs::read(init.inside(&format!("{path}/file"))).unwrap(), b"content", "{path}");
    }
    assert!(!Path::new(&outside).exists());
}

#[test]
fn a_target_with_dot_dot_stays_inside_the_root() {
    let (bundle, source) = with_source(Bundle::new());
    let container = running(bundle.bind(&source, "/../../../../srv/../mnt/made", &["bind"]));
    assert_eq!(fs::read(container.init().inside("/mnt/made/file")).unwrap(), b"content");
}

#[test]
fn a_relative_destination_is_taken_from_the_root() {
    // The specification asks for an absolute one; runc and crun take it so.
    let (bundle, source) = with_source(Bundle::new());
    assert_eq!(bundle.bind(&source, "mnt/a", &["bind"]).in_container("cat /mnt/a/file"), "content");
}

#[test]
fn names_with_blanks_and_other_letters_are_names() {
    let bundle = Bundle::new();
    let source = bundle.scratch_file("a b\tc é");
    fs::create_dir(&source).unwrap();
    let container = running(bundle.bind(&source, "/mnt/x y\\z", &["bind"]));
    assert!(container.init().mount_at("/mnt/x y\\z").root.to_string_lossy().ends_with("a b\tc é"));
}

#[test]
fn mounts_are_made_in_the_order_of_the_list() {
    let (bundle, source) = with_source(Bundle::new());
    let inside = bundle
        .mount("/mnt", "tmpfs", "tmpfs", &[])
        .bind(&source, "/mnt/a", &["bind"])
        .mount("/mnt/a", "tmpfs", "tmpfs", &["size=64k"])
        .bind(&format!("{source}/file"), "/mnt/a/b", &["bind"])
        .in_container("ls /mnt /mnt/a; cat /mnt/a/b; echo; grep -c ' /mnt/a ' /proc/self/mountinfo");
    assert_eq!(inside, "/mnt:\na\n\n/mnt/a:\nb\ncontent\n2");
}

#[test]
fn a_later_mount_hides_an_earlier_one_below_it() {
    let (bundle, source) = with_source(Bundle::new());
    let inside = bundle
        .bind(&source, "/mnt/a", &["bind"])
        .mount("/mnt", "tmpfs", "tmpfs", &[])
        .in_container("ls /mnt; echo end");
    assert_eq!(inside, "end");
}

#[test]
fn options_of_a_tmpfs_reach_it() {
    let options = ["nosuid", "size=64k", "mode=1750", "uid=5", "gid=6", "nr_inodes=33"];
    let container = running(Bundle::new().mount("/mnt/a", "tmpfs", "name", &options));
    let entry = container.init().mount_at("/mnt/a");
    assert_eq!((entry.kind.as_str(), entry.source.as_str()), ("tmpfs", "name"));
    for option in &options[1..] {
        assert!(entry.super_has(option), "{option}: {entry:?}");
    }
    let data = fs::metadata(container.init().inside("/mnt/a")).unwrap();
    assert_eq!((data.uid(), data.gid(), data.mode() & 0o7777), (5, 6, 0o1750));
}

#[test]
fn options_in_one_text_are_taken_apart_at_the_commas() {
    let container = running(Bundle::new().mount("/mnt/a", "tmpfs", "tmpfs", &["size=64k,nr_inodes=33"]));
    let entry = container.init().mount_at("/mnt/a");
    assert!(entry.super_has("size=64k") && entry.super_has("nr_inodes=33"), "{entry:?}");
}

#[test]
fn a_tmpfs_without_a_mode_has_that_of_the_folder_it_covers() {
    // Not of the specification; runc and crun do it, and images rely on it.
    let bundle = Bundle::new();
    for (name, mode) in [("a", 0o1777), ("b", 0o750)] {
        let folder = bundle.rootfs().join(name);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
    }
    let inside = bundle
        .mount("/a", "tmpfs", "tmpfs", &[])
        .mount("/b", "tmpfs", "tmpfs", &["ro"])
        .in_container("stat -c %a /a /b; touch /b/x 2>/dev/null && echo wrong; true");
    assert_eq!(inside, "1777\n750");
}

#[test]
fn options_of_a_tmpfs_win_over_the_folder_it_covers() {
    known_gap!(Runc, Crun, "1.1.5 sets the mode of the folder again; both copy its owner with tmpcopyup");
    let bundle = Bundle::new();
    for (name, id) in [("a", 5), ("b", 6)] {
        let folder = bundle.rootfs().join(name);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o750)).unwrap();
        chown(&folder, Some(id), Some(id)).unwrap();
    }
    let inside = bundle
        .mount("/a", "tmpfs", "tmpfs", &["mode=0711"])
        .mount("/b", "tmpfs", "tmpfs", &["tmpcopyup", "mode=0711", "uid=7"])
        .in_container("stat -c '%a %u:%g' /a /b");
    assert_eq!(inside, "711 0:0\n711 7:6");
}

/// A folder in the root with one of everything.
fn with_content(bundle: Bundle) -> Bundle {
    let bundle =
        bundle.file("/data/plain", 0o640, b"plain").file("/data/deep/er/script", 0o4755, b"#!/bin/sh\n");
    let data = bundle.rootfs().join("data");
    chown(data.join("plain"), Some(12), Some(34)).unwrap();
    chown(data.join("deep"), Some(56), Some(78)).unwrap();
    fs::set_permissions(data.join("deep"), Permissions::from_mode(0o2770)).unwrap();
    fs::set_permissions(&data, Permissions::from_mode(0o711)).unwrap();
    symlink("/etc/passwd", data.join("absolute")).unwrap();
    symlink("plain", data.join("relative")).unwrap();
    symlink("../../../../../../etc/shadow", data.join("escape")).unwrap();
    bundle
}

const LOOK: &str = "cat /data/plain; stat -c '%u:%g %a' /data/plain /data/deep; stat -c %a /data/deep/er/script; \
                    for link in absolute relative escape; do readlink /data/$link; done; ls /data | wc -l";

#[test]
fn a_tmpfs_begins_with_what_it_covers() {
    known_gap!(Runc, Crun, "both lose set-id bits, of folders or of files");
    let bundle = with_content(Bundle::new()).mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "nosuid"]);
    // The program may not look into the folder of another user without a capability for it.
    let inside = bundle.capabilities(&["CAP_DAC_OVERRIDE"]).in_container(LOOK);
    let links = "/etc/passwd\nplain\n../../../../../../etc/shadow";
    assert_eq!(inside, format!("plain12:34 640\n56:78 2770\n4755\n{links}\n5"));
}

#[test]
fn what_is_copied_up_is_a_copy() {
    let bundle = with_content(Bundle::new()).mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    let root = bundle.rootfs();
    let script = "echo changed >/data/plain; rm -r /data/deep; echo done";
    let container = bundle.capabilities(&["CAP_DAC_OVERRIDE"]).sh(script).container();
    assert_eq!(container.run().expect_ok().stdout, "done\n");
    assert_eq!(fs::read(root.join("data/plain")).unwrap(), b"plain");
    assert!(root.join("data/deep/er/script").exists());
}

#[test]
fn special_files_are_copied_up_as_what_they_are() {
    known_gap!(Runc, Crun, "they copy only files, folders and links");
    let bundle = Bundle::new().file("/data/x", 0o600, b"");
    let fifo = bundle.rootfs().join("data/fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let container = running(bundle.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]));
    assert!(fs::metadata(container.init().inside("/data/fifo")).unwrap().file_type().is_fifo());
}

/// An access control list that gives user 77 the right to read (acl(5), linux/posix_acl_xattr.h).
fn access_list() -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] = [(1, 6, !0), (2, 4, 77), (4, 4, !0), (0x10, 4, !0), (0x20, 0, !0)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        list.extend([tag.to_le_bytes(), rights.to_le_bytes()].concat());
        list.extend(id.to_le_bytes());
    }
    list
}

#[test]
fn extended_attributes_are_copied_up() {
    known_gap!(Runc, Crun, "they copy no extended attributes");
    requires!(is_root(), "trusted attributes are root's");
    // VFS_CAP_REVISION_2 with the effective bit, CAP_NET_BIND_SERVICE (linux/capability.h).
    let capability = [0x0200_0001_u32, 1 << 10, 0, 0, 0].map(u32::to_le_bytes).concat();
    let (file, folder) = ("data/er/file", "data/er");
    let mut attributes = vec![
        (file, "security.capability", capability),
        (file, "system.posix_acl_access", access_list()),
        (folder, "system.posix_acl_default", access_list()),
        (file, "trusted.caisson", b"of root".to_vec()),
        ("data", "trusted.caisson", b"of root, on the folder itself".to_vec()),
    ];
    if kernel_at_least(6, 6) {
        attributes.push((file, "user.caisson", vec![0, 255, 10]));
        attributes.push((file, "user.empty", Vec::new()));
    }
    if kernel_at_least(6, 13) {
        attributes.push(("data/link", "trusted.caisson", b"of the link itself".to_vec()));
        attributes.push(("data/fifo", "system.posix_acl_access", access_list()));
    }
    let bundle = Bundle::new().file(file, 0o640, b"content");
    let root = bundle.rootfs();
    symlink("er/file", root.join("data/link")).unwrap();
    nix::unistd::mkfifo(&root.join("data/fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    chown(root.join(file), Some(12), Some(34)).unwrap();
    for (path, name, value) in &attributes {
        let flags = rustix::fs::XattrFlags::empty();
        if let Err(errno) = rustix::fs::lsetxattr(root.join(path), *name, value, flags) {
            skip!("the file system of the test takes no {name}: {errno}");
        }
    }
    let container = running(bundle.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]));
    let init = container.init();
    for (path, name, value) in &attributes {
        let mut found = Vec::with_capacity(256);
        rustix::fs::lgetxattr(init.inside(path), *name, rustix::buffer::spare_capacity(&mut found))
            .unwrap_or_else(|errno| panic!("{path} {name}: {errno}"));
        assert_eq!(&found, value, "{path} {name}");
    }
}

#[test]
fn a_read_only_tmpfs_is_filled_before_it_is_read_only() {
    known_gap!(Runc, Crun, "they fill it when it is read-only already, or never make it so");
    let bundle = Bundle::new().file("/data/plain", 0o644, b"plain");
    let bundle = bundle.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "ro"]);
    assert_eq!(
        bundle.in_container("cat /data/plain; touch /data/x 2>/dev/null && echo wrong; true"),
        "plain"
    );
}

#[test]
fn a_tmpfs_that_covers_nothing_begins_empty() {
    let inside = Bundle::new()
        .mount("/not/there", "tmpfs", "tmpfs", &["tmpcopyup"])
        .in_container("ls -A /not/there; stat -f -c %T /not/there");
    assert_eq!(inside, "tmpfs");
}

#[test]
fn only_a_tmpfs_is_copied_up() {
    known_gap!(Runc, Crun, "they ignore the option elsewhere");
    let (bundle, source) = with_source(Bundle::new());
    let refused = bundle.bind(&source, "/mnt/a", &["bind", "tmpcopyup"]).run().expect_fail();
    refused.expect_stderr("mounts[7].options").expect_stderr("tmpcopyup");
}

#[test]
fn the_usual_file_systems_are_mounted() {
    let container = running(Bundle::new());
    let init = container.init();
    for (path, kind) in [
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/dev/mqueue", "mqueue"),
        ("/sys", "sysfs"),
    ] {
        assert_eq!(init.mount_at(path).kind, kind, "{path}");
    }
    let pts = init.mount_at("/dev/pts");
    for option in ["ptmxmode=666", "mode=620", "gid=5"] {
        assert!(pts.super_has(option), "{option}: {pts:?}");
    }
    assert!(init.mount_at("/sys").has("ro"));
    let shm = init.mount_at("/dev/shm");
    assert!(shm.super_has("size=65536k") && shm.has("nosuid") && shm.has("noexec"), "{shm:?}");
}

#[test]
fn proc_shows_the_containers_processes_and_sysfs_its_network() {
    let script = "ls /proc | grep -c '^[0-9]'; cat /proc/1/cmdline | tr '\\0' ' '; echo; ls /sys/class/net";
    let inside = Bundle::new().in_container(script);
    let mut lines = inside.lines();
    assert!(lines.next().unwrap().parse::<u32>().unwrap() <= 4, "{inside}");
    assert!(lines.next().unwrap().starts_with("sh -c"), "{inside}");
    assert_eq!(lines.collect::<Vec<_>>(), ["lo"]);
}

#[test]
fn options_of_proc_reach_it() {
    let container = running(Bundle::new().remove_mount("/proc").edit(|config| {
        let mounts = config.0["mounts"].as_array_mut().unwrap();
        let options = ["nosuid", "hidepid=2"];
        let proc = json!({"destination": "/proc", "type": "proc", "source": "proc", "options": options});
        mounts.insert(0, proc);
    }));
    let entry = container.init().mount_at("/proc");
    assert!(entry.has("nosuid"), "{entry:?}");
    assert!(entry.super_has("hidepid=2") || entry.super_has("hidepid=invisible"), "{entry:?}");
}

#[test]
fn a_second_proc_and_devpts_may_be_mounted_elsewhere() {
    let container = running(Bundle::new().mount("/mnt/proc", "proc", "proc", &["ro"]).mount(
        "/mnt/pts",
        "devpts",
        "devpts",
        &["newinstance", "mode=0600"],
    ));
    assert!(container.init().mount_at("/mnt/proc").has("ro"));
    assert_eq!(container.init().mount_at("/mnt/pts").kind, "devpts");
}

#[test]
fn proc_is_not_mounted_through_a_link() {
    known_gap!(Crun, "1.8.1 follows it");
    let bundle = Bundle::new();
    fs::remove_dir(bundle.rootfs().join("proc")).unwrap();
    symlink("/mnt", bundle.rootfs().join("proc")).unwrap();
    bundle.run().expect_fail().expect_stderr("ordinary directory");
}

#[test]
fn an_overlay_is_mounted_by_its_options() {
    let bundle = Bundle::new();
    // On a tmpfs of its own: an overlay may not take another overlay as its upper layer.
    let base = bundle.scratch_file("base");
    fs::create_dir(&base).unwrap();
    mount(Some("tmpfs"), base.as_str(), Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    for name in ["lower", "upper", "work"] {
        fs::create_dir(format!("{base}/{name}")).unwrap();
    }
    fs::write(format!("{base}/lower/file"), "lower").unwrap();
    let options =
        ["lowerdir=lower", "upperdir=upper", "workdir=work"].map(|o| o.replace('=', &format!("={base}/")));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let container = bundle
        .mount("/mnt/o", "overlay", "overlay", &options)
        .sh("cat /mnt/o/file; echo new >/mnt/o/new")
        .container();
    assert_eq!(container.run().expect_ok().stdout, "lower");
    assert_eq!(fs::read_to_string(format!("{base}/upper/new")).unwrap(), "new\n");
}

#[test]
fn layers_of_an_overlay_may_have_long_paths() {
    known_gap!(Crun, "1.8.1 hands them to fsconfig(2) as they are");
    let bundle = Bundle::new();
    let mut layers = Vec::new();
    for number in 0..5 {
        let layer = bundle.scratch_file(&format!("layer-{number}-{}", "x".repeat(100)));
        fs::create_dir(&layer).unwrap();
        fs::write(format!("{layer}/{number}"), "").unwrap();
        layers.push(layer);
    }
    let lowerdir = format!("lowerdir={}", layers.join(":"));
    assert!(lowerdir.len() > 500);
    let bundle = bundle.mount("/mnt/o", "overlay", "overlay", &[&lowerdir]).sh("ls /mnt/o");
    let output = bundle.run();
    if flavour() == Flavour::Ours && !kernel_at_least(6, 5) {
        output.expect_fail().expect_stderr("mounts[").expect_stderr("needs Linux 6.5");
        return;
    }
    assert_eq!(output.expect_ok().stdout, "0\n1\n2\n3\n4\n");
}

#[test]
fn an_option_that_is_too_long_is_named() {
    known_gap!(Runc, Crun, "they leave it to the kernel");
    let size = format!("size={}", "1".repeat(300));
    let refused = Bundle::new().mount("/mnt/t", "tmpfs", "tmpfs", &[&size]).run().expect_fail();
    refused.expect_stderr("mounts[").expect_stderr("\"size\"").expect_stderr("255 bytes");
}

#[test]
fn a_remount_changes_the_attributes_of_what_is_mounted() {
    known_gap!(Runc, Crun, "1.1.5 wants a source for a bind remount; 1.8.1 mounts it");
    let (bundle, source) = with_source(Bundle::new());
    let container = running(
        bundle
            .mount("/mnt/t", "tmpfs", "tmpfs", &["nosuid"])
            .mount("/mnt/t", "tmpfs", "tmpfs", &["remount", "ro", "nosuid", "size=64k"])
            .bind(&source, "/mnt/b", &["bind"])
            .bind("none", "/mnt/b", &["bind", "remount", "ro", "noexec"]),
    );
    let init = container.init();
    let entry = init.mount_at("/mnt/t");
    assert!(entry.has("ro") || entry.super_has("ro"), "{entry:?}");
    assert!(entry.has("nosuid") && entry.super_has("size=64k"), "{entry:?}");
    let entry = init.mount_at("/mnt/b");
    assert!(entry.has("ro") && entry.has("noexec"), "{entry:?}");
}

#[test]
fn a_remount_of_what_is_no_mount_is_refused_by_name() {
    let refused = Bundle::new().mount("/home", "", "", &["remount", "ro"]).run().expect_fail();
    refused.expect_runc_phrase("/home");
}

#[test]
fn errors_name_the_mount() {
    let missing = Bundle::new().bind("/no/such/source", "/mnt/a", &["bind"]).run().expect_fail();
    missing.expect_runc_phrase("/no/such/source").expect_runc_phrase("no such file or directory");
    for (destination, kind, options, reason) in [
        ("/mnt/unknown", "nosuchfs", &[][..], "no such device"),
        ("/mnt/option", "tmpfs", &["nosuchoption"], "invalid argument"),
        ("/mnt/value", "tmpfs", &["size=huge"], "invalid argument"),
        ("/etc/passwd", "tmpfs", &[], "not a directory"),
        ("/etc/passwd/below", "tmpfs", &[], "not a directory"),
    ] {
        let refused = Bundle::new().mount(destination, kind, "x", options).run().expect_fail();
        refused.expect_runc_phrase(destination).expect_runc_phrase(reason);
    }
}

#[test]
fn errors_name_the_entry_of_the_list() {
    known_gap!(Runc, Crun, "they name the path alone");
    for mount in [
        json!({"destination": "/mnt/a", "type": "bind", "source": "/no/such/source", "options": ["bind"]}),
        json!({"destination": "/mnt/a", "type": "nosuchfs", "source": "x"}),
        json!({"destination": "/mnt/a", "type": "tmpfs", "source": "x", "options": ["nosuchoption"]}),
        json!({"destination": "/mnt/a", "type": "bind", "options": ["bind"]}),
        json!({"destination": "/mnt/a"}),
        json!({"destination": "", "type": "tmpfs"}),
        json!({"destination": "/etc/passwd", "type": "tmpfs", "source": "x"}),
        json!({"destination": "/etc", "type": "bind", "source": "/etc/passwd", "options": ["bind"]}),
    ] {
        let refused = Bundle::new().push("/mounts", mount).run().expect_fail();
        assert_eq!(refused.stderr.trim_end().lines().count(), 1, "{refused}");
        refused.expect_stderr("mounts[7]");
    }
}

#[test]
fn options_without_a_meaning_for_a_bind_mount_are_warned_of() {
    known_gap!(Runc, Crun, "they hand them to a call that ignores them");
    let (bundle, source) = with_source(Bundle::new());
    let log = bundle.scratch_file("log");
    let container = bundle.bind(&source, "/mnt/a", &["bind", "size=1k", "sync"]).container().with_globals(&[
        "--log",
        &log,
        "--log-format",
        "json",
    ]);
    container.run().expect_ok();
    let text = fs::read_to_string(&log).unwrap();
    for option in ["size", "sync"] {
        assert!(text.contains("mounts[7].options") && text.contains(option), "{option}: {text}");
    }
}

#[test]
fn a_failed_mount_leaves_no_container_behind() {
    let container = Bundle::new().mount("/mnt/a", "nosuchfs", "x", &[]).container();
    container.create().expect_fail();
    container.state_output().expect_fail().expect_runc_phrase("does not exist");
}

#[test]
fn the_same_folder_may_be_bound_many_times() {
    let (mut bundle, source) = with_source(Bundle::new());
    for index in 0..100 {
        bundle = bundle.bind(&source, &format!("/mnt/{index}"), &["bind", "ro"]);
    }
    assert_eq!(bundle.in_container("cat /mnt/*/file | wc -c"), "700");
}

#[test]
fn a_container_without_mounts_has_only_its_root() {
    known_gap!(Runc, "1.1.5 needs /proc to close descriptors");
    let container = running(
        Bundle::new()
            .set("/mounts", json!([]))
            .set("/linux/maskedPaths", json!([]))
            .set("/linux/readonlyPaths", json!([])),
    );
    let paths: Vec<_> = container.init().mounts().into_iter().map(|mount| mount.destination).collect();
    assert_eq!(paths, [Path::new("/")]);
}
