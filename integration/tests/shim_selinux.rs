//! Labels of SELinux: on what volumes and binds give to containers (`z`, `Z`), and on what is the container's own.
//!
//! They need a kernel that enforces a policy with categories: `make test-vm T=shim_selinux KERNEL=generic`
//! (integration/vm/selinux.cil). Where there is no SELinux, nothing is to happen.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use integration::{Process, Shim, is_root, requires};

const ROOT: &str = "containers need root";
const NONE: &str =
    "this kernel enforces no policy of SELinux that is the tests' (make test-vm KERNEL=generic)";
/// What files have that nobody has labelled, by the tests' policy.
const USUAL: &str = "system_u:object_r:file_t:s0";
const SHARED: &str = "system_u:object_r:container_file_t:s0";

fn enforces() -> bool {
    let is_ours = std::env::var_os("CAISSON_TEST_MACHINE").is_some();
    is_ours && fs::read("/sys/fs/selinux/enforce").is_ok_and(|text| text == b"1")
}

/// The label of a file; of a link itself.
#[track_caller]
fn label(path: &Path) -> String {
    let mut value = [0; 256];
    let length = rustix::fs::lgetxattr(path, "security.selinux", &mut value[..]);
    let length = length.unwrap_or_else(|errno| panic!("label of {}: {errno}", path.display()));
    String::from_utf8(value[..length].to_vec()).unwrap().trim_end_matches('\0').to_owned()
}

fn label_of_process(process: Process) -> String {
    fs::read_to_string(process.path("attr/current")).unwrap().trim_end_matches(['\0', '\n']).to_owned()
}

/// A folder of the host's with a file in it.
fn folder(shim: &Shim, name: &str) -> PathBuf {
    let path = shim.folder().join(name);
    fs::create_dir(&path).unwrap();
    fs::write(path.join("file"), name).unwrap();
    path
}

#[test]
fn shared_volumes_are_everybodys_and_private_ones_one_containers() {
    requires!(is_root(), "{ROOT}");
    requires!(enforces(), "{NONE}");
    let shim = Shim::with_busybox();
    let [shared, own, plain, outside] = ["shared", "own", "plain", "outside"].map(|name| folder(&shim, name));
    symlink(outside.join("file"), own.join("link")).unwrap();
    let bind = |path: &Path, rest: &str| format!("{}:{rest}", path.display());
    let binds = [bind(&shared, "/shared:z"), bind(&own, "/own:Z"), bind(&plain, "/plain")];
    let [v, vv, vvv] = binds.each_ref().map(String::as_str);
    let words = ["-v", v, "-v", vv, "-v", vvv, "-v", "kept:/kept", "-v", "mine:/mine:Z"];
    let first = ["--security-opt", "label=level:s0:c1,c2"];
    let id = shim.detached(&[&first, &words[..], &["busybox", "sleep", "600"]].concat());

    let private = "system_u:object_r:container_file_t:s0:c1,c2";
    let volume = |name: &str| shim.root().join("volumes").join(name).join("_data");
    for (path, wanted) in [
        (shared.clone(), SHARED),
        (shared.join("file"), SHARED),
        (volume("kept"), SHARED),
        (own.clone(), private),
        (own.join("file"), private),
        (own.join("link"), private),
        (volume("mine"), private),
        (plain.join("file"), USUAL),
        (outside.join("file"), USUAL),
    ] {
        assert_eq!(label(&path), wanted, "{}", path.display());
    }
    assert_eq!(label_of_process(shim.process(&id)), "system_u:system_r:container_t:s0:c1,c2");
    let read = |place: &str| shim.cli(&["exec", &id, "cat", &format!("{place}/file")]);
    for (place, content) in [("/shared", "shared"), ("/own", "own"), ("/plain", "plain")] {
        assert_eq!(read(place).expect_ok().stdout, content);
    }
    shim.cli(&["exec", &id, "touch", "/own/new", "/mine/new", "/kept/new", "/tmp/new", "/dev/shm/new"])
        .expect_ok();
    assert_eq!(label(&own.join("new")), private);

    // Another one may have what is shared, and not what is the first one's.
    let other = ["--rm", "--security-opt", "label=level:s0:c3,c4", "-v", v, "-v", "kept:/kept"];
    let reads = |more: &[&str], path: &str| shim.run(&[&other[..], more, &["busybox", "cat", path]].concat());
    assert_eq!(reads(&[], "/shared/file").expect_ok().stdout, "shared");
    reads(&[], "/kept/new").expect_ok();
    let own_again = bind(&own, "/own");
    let refused = reads(&["-v", &own_again], "/own/file").expect_fail();
    assert!(refused.stderr.contains("Permission denied"), "{refused}");
    let refused = reads(&["-v", "mine:/mine"], "/mine/new");
    assert_eq!(refused.code(), 0, "a volume without a mode is everybody's from then on: {refused}");
    assert_eq!(label(&volume("mine")), SHARED);
}

#[test]
fn a_container_has_categories_of_its_own_and_all_that_is_its_own_has_them() {
    requires!(is_root(), "{ROOT}");
    requires!(enforces(), "{NONE}");
    let shim = Shim::with_busybox();
    let mut levels = Vec::new();
    loop {
        let words =
            ["--security-opt", "label=type:container_t", "--ipc", "shareable", "busybox", "sleep", "600"];
        let id = shim.detached(&words);
        let told = shim.inspect(&id);
        let (process, mounts) =
            (told["ProcessLabel"].as_str().unwrap(), told["MountLabel"].as_str().unwrap());
        let level = process.strip_prefix("system_u:system_r:container_t:").unwrap();
        assert!(level.starts_with("s0:c") && level.contains(",c"), "{told}");
        assert_eq!(mounts, format!("system_u:object_r:container_file_t:{level}"));
        let first = shim.process(&id);
        assert_eq!(label_of_process(first), process);
        for place in ["", "bin/busybox", "etc/hosts", "etc/resolv.conf", "dev/shm", "dev"] {
            assert_eq!(label(&first.path("root").join(place)), mounts, "{place}");
        }
        levels.push(level.to_owned());
        if levels.len() > 1 {
            break;
        }
        shim.cli(&["exec", &id, "sh", "-c", "cat /etc/hosts && touch /new /dev/shm/new"]).expect_ok();
        // It is the same after another start, and what is copied in has it too.
        shim.stdout(&["restart", "-t", "0", &id]);
        assert_eq!(label_of_process(shim.process(&id)), process);
        let file = folder(&shim, "copied").join("file");
        shim.cli(&["cp", file.to_str().unwrap(), &format!("{id}:/copied")]).expect_ok();
        shim.cli(&["exec", &id, "cat", "/copied", "/new"]).expect_ok();
    }
    assert_ne!(levels[0], levels[1]);
}

#[test]
fn the_hosts_own_folders_keep_their_labels() {
    requires!(is_root(), "{ROOT}");
    requires!(enforces(), "{NONE}");
    let shim = Shim::with_busybox();
    let link = shim.folder().join("link");
    symlink("/etc", &link).unwrap();
    // (Which ones there are, the unit tests know.)
    for path in ["/etc", link.to_str().unwrap()] {
        let before = label(Path::new("/etc"));
        let bind = format!("{path}:/x:z");
        let words = ["--rm", "--security-opt", "label=type:container_t", "-v", &bind, "busybox", "true"];
        let refused = shim.run(&words).expect_code(125);
        assert_eq!(refused.stderr.trim_end(), format!("SELinux relabeling of {path} is not allowed"));
        assert_eq!(label(Path::new("/etc")), before);
    }
    assert!(shim.container_ids().is_empty());
    // Who asks for no label gets none, and nothing is relabelled.
    let plain = folder(&shim, "plain");
    let bind = format!("{}:/x:Z", plain.display());
    shim.run(&["--rm", "-v", &bind, "busybox", "cat", "/x/file"]).expect_ok();
    let none = ["--rm", "--security-opt", "label=disable", "-v", &bind, "busybox", "true"];
    shim.run(&none).expect_ok();
    assert_eq!(label(&plain.join("file")), USUAL);
}

#[test]
fn without_selinux_nothing_is_relabelled_and_no_label_is_promised() {
    requires!(is_root(), "{ROOT}");
    requires!(!Path::new("/sys/fs/selinux/enforce").exists(), "SELinux is enabled here");
    let shim = Shim::with_busybox();
    let shared = folder(&shim, "shared");
    let bind = format!("{}:/x:z", shared.display());
    shim.run(&["--rm", "-v", &bind, "-v", "kept:/kept:Z", "busybox", "cat", "/x/file"]).expect_ok();
    let mut value = [0; 256];
    assert!(rustix::fs::lgetxattr(&shared, "security.selinux", &mut value[..]).is_err());
    let words = ["--rm", "--security-opt", "label=level:s0:c1,c2", "busybox", "true"];
    let refused = shim.run(&words).expect_code(125);
    assert_eq!(refused.stderr, "--security-opt label: SELinux is not enabled on this host\n");
    shim.run(&["--rm", "--security-opt", "label=disable", "busybox", "true"]).expect_ok();
}
