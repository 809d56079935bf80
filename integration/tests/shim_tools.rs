//! Images that other people's tools make: umoci, skopeo, buildah, docker. They load, and what is unpacked of them is,
//! entry by entry, what umoci unpacks.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use integration::engine::{Buildah, Client, Docker};
use integration::tree::{Merged, Tree, keeps_holes};
use integration::{Call, Scratch, Shim, is_root, kernel_has, requires};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::fs::{AtFlags, Timespec, Timestamps, XattrFlags};

/// Regular files of the large tree, in folders of 95.
const FILES: u32 = 21_850;

/// What `setcap cap_net_raw+ep` writes: version 2 of the attribute (linux/capability.h).
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn has(program: &str) -> bool {
    kernel_has(&format!("/usr/bin/{program}"))
}

fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn device(path: &Path, kind: SFlag, major: u64, minor: u64) {
    mknod(path, kind, Mode::from_bits_truncate(0o640), makedev(major, minor)).unwrap();
}

/// Entries of every kind that an image may have, of which 20,000 are left when later layers have removed some.
fn large_tree(root: &Path) {
    for number in 0..FILES {
        let folder = root.join(format!("d{}/e{}", number / 950, number / 95));
        if number % 95 == 0 {
            fs::create_dir_all(&folder).unwrap();
        }
        let path = folder.join(format!("file-{number}"));
        let length = usize::try_from(number * 7919 % 2500).unwrap();
        fs::write(&path, number.to_string().repeat(length / 4).as_bytes()).unwrap();
        let mode = [0o644, 0o600, 0o755, 0o4755, 0o2755, 0o1777, 0o000, 0o444][(number % 8) as usize];
        std::os::unix::fs::lchown(&path, Some(number % 7 * 1000), Some(number % 5 * 100)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        if number % 40 == 3 {
            fs::hard_link(&path, root.join(format!("d0/link-{number}"))).unwrap();
        }
        if number % 50 == 7 {
            symlink(format!("../e0/file-{number}"), folder.join(format!("symlink-{number}"))).unwrap();
        }
        if number % 400 == 9 {
            set_attribute(&path, "user.number", number.to_string().as_bytes());
            set_attribute(&path, "security.capability", &CAPABILITY);
        }
        set_time(&path, i64::from(number) * 86_400, i64::from(number) * 45_001);
    }
    odd_entries(root);
}

/// What few images have and every reader has to get right.
fn odd_entries(root: &Path) {
    let odd = root.join("odd");
    fs::create_dir(&odd).unwrap();
    let long = "n".repeat(255);
    let names: [&[u8]; 12] = [
        b"\xff\xfe not UTF-8 \x80",
        b" a blank before and behind ",
        b"new\nline",
        b"-dash",
        b"back\\slash",
        b"quote\"'",
        b"...",
        b"wh.file",
        "ä-öü-日本語".as_bytes(),
        b"tab\tand=equals",
        b"100%s$HOME`x`",
        long.as_bytes(),
    ];
    for (number, name) in names.iter().enumerate() {
        fs::write(odd.join(OsStr::from_bytes(name)), number.to_string()).unwrap();
    }
    symlink("/absolute/../nowhere/\u{1b}[31m", odd.join("dangling")).unwrap();
    symlink("x".repeat(1000), odd.join("far")).unwrap();
    nix::unistd::mkfifo(&odd.join("fifo"), Mode::from_bits_truncate(0o622)).unwrap();
    device(&odd.join("null"), SFlag::S_IFCHR, 1, 3);
    device(&odd.join("big"), SFlag::S_IFCHR, 511, 1_000_000);
    device(&odd.join("block"), SFlag::S_IFBLK, 7, 200);
    let mut deep = odd.clone();
    for depth in 0..40 {
        deep.push(format!("folder-at-depth-{depth}"));
        fs::create_dir(&deep).unwrap();
    }
    fs::write(deep.join("bottom"), "found").unwrap();
    let folder = odd.join("folder");
    fs::create_dir(&folder).unwrap();
    set_attribute(&folder, "user.of-a-folder", b"\0binary\xff");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o3770)).unwrap();
    std::os::unix::fs::lchown(&folder, Some(65_534), Some(3_000_000_000)).unwrap();
    set_time(&folder, 1, 999_999_999);
    set_time(&odd.join("dangling"), 1_000_000_000, 1);
    set_time(&odd.join("fifo"), 0, 0);
}

/// The second layer: what was there comes again as something else, or as a file with other content.
fn changed_tree(root: &Path) {
    let at = |name: &str| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    fs::create_dir(at("d1/e10/file-950")).unwrap(); // was a file
    fs::write(at("d1/e10/file-950/inside"), "inside").unwrap();
    fs::write(at("d1/e10/file-951"), "changed").unwrap();
    symlink("file-951", at("d1/e10/file-952")).unwrap();
    nix::unistd::mkfifo(&at("d1/e10/file-953"), Mode::from_bits_truncate(0o600)).unwrap();
    device(&at("d1/e10/file-954"), SFlag::S_IFCHR, 1, 5);
    fs::write(at("d1/e11"), "was a folder").unwrap();
    symlink("e12", at("d1/e13")).unwrap(); // was a folder
    fs::write(at("d0/e0/symlink-7"), "was a link").unwrap();
    fs::write(at("odd/fifo"), "was a pipe").unwrap();
    fs::write(at("new/a"), "two names").unwrap();
    fs::hard_link(at("new/a"), at("new/b")).unwrap();
    set_attribute(&at("new/a"), "user.late", b"late");
}

/// The third layer, as GNU tar writes it: removals, a folder that hides what was in it, and holes.
fn third_layer(scratch: &Path, archive: &Path) {
    let root = scratch.join("third");
    let file = |name: &str, content: &str| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    file("d2/.wh.e20", ""); // a folder
    file("d2/e21/.wh.file-1995", ""); // a file
    file("d2/e21/.wh.nothing", ""); // what is not there
    file("d3/.wh..wh..opq", "");
    file("d3/e30/file-2850", "over what is hidden");
    file("d4/.wh.e40", ""); // and comes again
    file("d4/e40/only", "of this layer");
    file("sparse/whole", &"x".repeat(10_000));
    for (name, length, pieces) in [
        ("sparse/hole", 8 << 20, &[][..]),
        ("sparse/end", (4 << 20) + 5, &[4 << 20]),
        ("sparse/many", 16 << 20, &[0, 1 << 20, 5 << 20, 9 << 20, 15 << 20]),
    ] {
        let file = File::create(root.join(name)).unwrap();
        file.set_len(length).unwrap();
        pieces.iter().for_each(|at| file.write_all_at(b"data", *at).unwrap());
    }
    fs::hard_link(root.join("sparse/many"), root.join("sparse/many-again")).unwrap();
    set_attribute(&root.join("sparse/whole"), "user.gnu", b"tar");
    let tar = Call::of("tar").args(["--create", "--sparse", "--xattrs", "--format=posix", "--sort=name"]);
    let tar = tar.args(["--file".as_ref(), archive.as_os_str(), "--directory".as_ref(), root.as_os_str()]);
    tar.args(["d2", "d3", "d4", "sparse"]).output().expect_ok();
}

/// An OCI layout by umoci: on what `fill` makes, four more layers; all names and configuration set by it.
fn by_umoci(scratch: &Path, fill: fn(&Path)) -> (PathBuf, String) {
    let layout = scratch.join("layout");
    let image = format!("{}:made", layout.display());
    let umoci = |words: &[&OsStr]| Call::of("umoci").args(words).output().expect_ok();
    let (large, changed) = (scratch.join("large"), scratch.join("changed"));
    fs::create_dir(&large).unwrap();
    fill(&large);
    fs::create_dir(&changed).unwrap();
    changed_tree(&changed);
    let third = scratch.join("third.tar");
    third_layer(scratch, &third);
    let (layout_word, image_word) = (layout.as_os_str(), OsStr::new(&image));
    let [with, to] = ["--image", "/"].map(OsStr::new);
    umoci(&["init".as_ref(), "--layout".as_ref(), layout_word]);
    umoci(&["new".as_ref(), with, image_word]);
    umoci(&["insert".as_ref(), with, image_word, large.as_os_str(), to]);
    umoci(&["insert".as_ref(), with, image_word, changed.as_os_str(), to]);
    umoci(&["raw".as_ref(), "add-layer".as_ref(), with, image_word, third.as_os_str()]);
    umoci(&["insert".as_ref(), "--whiteout".as_ref(), with, image_word, "/odd/wh.file".as_ref()]);
    let opaque = scratch.join("changed/new");
    umoci(&["insert".as_ref(), "--opaque".as_ref(), with, image_word, opaque.as_os_str(), "/d5".as_ref()]);
    let config = ["config", "--config.user", "7:8", "--config.env", "A=b", "--author", "nobody"];
    umoci(&[&config.map(OsStr::new)[..], &[with, image_word]].concat());
    (layout, image)
}

/// What umoci unpacks.
fn unpacked_by_umoci(image: &str, scratch: &Path) -> Tree {
    let bundle = scratch.join("bundle");
    Call::of("umoci").args(["unpack", "--image", image]).args([&bundle]).output().expect_ok();
    let tree = Tree::read(&bundle.join("rootfs"));
    fs::remove_dir_all(bundle).unwrap();
    tree
}

fn pack(folder: &Path, archive: &Path) {
    let tar = Call::of("tar").args(["--create".as_ref(), "--file".as_ref(), archive.as_os_str()]);
    tar.args(["--directory".as_ref(), folder.as_os_str(), ".".as_ref()]).output().expect_ok();
}

#[track_caller]
fn expect_same(shim: &Shim, expected: &Tree) -> Tree {
    let merged = Merged::of_store(&shim.root());
    let tree = Tree::read(&merged.path());
    let differences = tree.differences(expected);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    tree
}

/// In memory where that keeps all that files have (tmpfs(5): user attributes since Linux 6.6): on a disk that others
/// use too, tens of thousands of files take minutes.
fn place() -> (Shim, Scratch) {
    let (shim, scratch) = (Shim::in_memory(), Scratch::in_memory());
    let probe = scratch.path().join("probe");
    fs::write(&probe, "").unwrap();
    match rustix::fs::setxattr(&probe, "user.probe", b"x", XattrFlags::empty()) {
        Ok(()) => (shim, scratch),
        Err(_) => (Shim::new(), Scratch::new()),
    }
}

#[test]
fn a_tree_of_20_000_files_is_what_umoci_unpacks() {
    requires!(is_root(), "unpacking layers needs root");
    requires!(has("umoci"), "no umoci (scripts/install-deps tools)");
    let (shim, scratch) = place();
    let (layout, image) = by_umoci(scratch.path(), large_tree);
    let archive = scratch.path().join("layout.tar");
    pack(&layout, &archive);
    shim.load(&archive);
    let expected = unpacked_by_umoci(&image, scratch.path());
    assert!(expected.entries.len() >= 20_000, "{}", expected.entries.len());
    let tree = expect_same(&shim, &expected);
    if keeps_holes(scratch.path()) {
        for (name, most) in [("hole", 0), ("end", 64 << 10), ("many", 256 << 10), ("many-again", 256 << 10)] {
            let stored = tree.stored[format!("sparse/{name}").as_bytes()];
            assert!(stored <= most, "{name}: {stored} bytes on the disk");
        }
    }
}

#[test]
fn an_image_is_the_same_in_every_form_that_skopeo_writes() {
    requires!(is_root(), "unpacking layers needs root");
    requires!(has("umoci") && has("skopeo"), "no umoci or skopeo (scripts/install-deps tools)");
    let (shim, scratch) = place();
    let (_, image) = by_umoci(scratch.path(), odd_entries);
    let expected = unpacked_by_umoci(&image, scratch.path());
    let skopeo = |from: &str, to: &str| {
        let call = Call::of("skopeo").args(["--insecure-policy", "copy", "--quiet", from, to]);
        call.output().expect_ok();
    };
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    // Through a folder, which has the blobs side by side, and no name.
    skopeo(&format!("oci:{image}"), &format!("dir:{}", path("folder")));
    let layers = || fs::read_dir(shim.root().join("layers")).unwrap().count();
    let mut before = None;
    for (form, name) in [("docker-archive", "made:docker"), ("oci-archive", "made:oci")] {
        skopeo(&format!("dir:{}", path("folder")), &format!("{form}:{}:{name}", path(form)));
        shim.load(Path::new(&path(form)));
        // No layer comes twice, and the configuration makes the same id.
        assert_eq!(*before.get_or_insert_with(layers), layers(), "{form}");
        expect_same(&shim, &expected);
    }
    let ids = shim.stdout(&["images", "-q", "--no-trunc"]);
    assert!(ids.lines().all(|line| Some(line) == ids.lines().next()), "{ids}");
    let names = shim.stdout(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert!(["made:docker", "made:oci"].iter().all(|name| names.contains(name)), "{names}");
}

#[test]
fn images_of_buildah_load() {
    requires!(is_root(), "unpacking layers needs root");
    requires!(has("umoci"), "no umoci (scripts/install-deps tools)");
    if let Some(obstacle) = Buildah::obstacle() {
        integration::skip!("{obstacle}");
    }
    let buildah = Buildah::start();
    let folder = buildah.world().folder().to_owned();
    let context = folder.join("context");
    fs::create_dir(&context).unwrap();
    changed_tree(&context);
    let made = |words: &[&str]| buildah.buildah(words).expect_ok().stdout.trim().to_owned();
    let container = made(&["from", "box"]);
    made(&["copy", &container, "/run/world/context", "/copied"]);
    buildah.buildah(&["run", &container, "rm", "-r", "/copied/d0"]).expect_ok();
    made(&["config", "--entrypoint", "[\"/bin/sh\"]", "--label", "a=b", &container]);
    made(&["commit", &container, "made"]);
    made(&["push", "made", "docker-archive:/run/world/saved.tar:made:1"]);
    made(&["push", "made", "oci:/run/world/layout:made"]);
    let saved = Shim::new();
    saved.load(&folder.join("saved.tar"));
    let layout = Shim::new();
    let archive = folder.join("layout.tar");
    pack(&folder.join("layout"), &archive);
    layout.load(&archive);
    let image = format!("{}:made", folder.join("layout").display());
    let expected = unpacked_by_umoci(&image, &folder);
    assert!(expected.entries.contains_key(b"copied/new/b".as_slice()));
    for shim in [&saved, &layout] {
        expect_same(shim, &expected);
    }
    let names = saved.stdout(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert!(names.lines().any(|name| name == "made:1"), "{names}");
}

#[test]
fn images_of_docker_load() {
    requires!(is_root(), "unpacking layers needs root");
    requires!(has("umoci") && has("skopeo"), "no umoci or skopeo (scripts/install-deps tools)");
    if let Some(obstacle) = Docker::obstacle() {
        integration::skip!("{obstacle}");
    }
    let docker = Docker::start();
    let folder = docker.world().folder().to_owned();
    let script =
        "mkdir /made; echo a >/made/a; ln /made/a /made/b; chmod 4711 /made/a; mkfifo /made/p; rm -r /tmp";
    docker.cli(&["run", "--name", "maker", "box", "sh", "-c", script]).expect_ok();
    docker.cli(&["commit", "maker", "made:1"]).expect_ok();
    docker.cli(&["save", "--output", "/run/world/saved.tar", "made:1"]).expect_ok();
    let saved = folder.join("saved.tar");
    let shim = Shim::new();
    shim.load(&saved);
    let layout = folder.join("layout");
    let skopeo = Call::of("skopeo").args(["--insecure-policy", "copy", "--quiet"]);
    let (from, to) = (format!("docker-archive:{}", saved.display()), format!("{}:made", layout.display()));
    skopeo.args([from, format!("oci:{to}")]).output().expect_ok();
    let tree = expect_same(&shim, &unpacked_by_umoci(&to, &folder));
    assert_eq!(tree.entries[b"made/b".as_slice()].first_name, b"made/a");
    assert!(!tree.entries.contains_key(b"tmp".as_slice()));
    assert_eq!(shim.stdout(&["images", "--format", "{{.Repository}}:{{.Tag}}"]), "made:1\n");
    let id = docker.cli(&["images", "--no-trunc", "-q", "made:1"]).expect_ok().stdout;
    assert_eq!(shim.stdout(&["images", "-q", "--no-trunc"]), id);
    assert!(fs::metadata(&saved).unwrap().size() > 0);
}
