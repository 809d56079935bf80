//! The state root and what stands in it: made by somebody else, left half-done, or about another process.
//!
//! CVE-2024-25621, CVE-2021-41091. See docs/attacks.md.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::type_complexity)] // test code: a panic is its way of reporting

mod attack;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Child, Command};

use attack::Canary;
use integration::{Bundle, Container, Output, Process, Value, json, wait_for};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// Every call that goes to an existing container.
#[track_caller]
fn all_verbs(container: &Container) -> Vec<Output> {
    vec![container.state_output(), container.start(), container.kill("KILL"), container.delete()]
}

/// A process of the test that must survive.
struct Bystander(Child);

impl Bystander {
    /// A process whose start time is that of no process started before or after: the kernel counts it in ticks
    /// of 10 ms, and an equal one would make the bystander the very process that a record names.
    fn new() -> Bystander {
        let ticks = std::time::Duration::from_millis(30);
        std::thread::sleep(ticks);
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        std::thread::sleep(ticks);
        Bystander(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    #[track_caller]
    fn assert_alive(&self) {
        assert!(Process::new(self.pid()).is_alive(), "the bystander was killed");
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn record_of(container: &Container) -> std::path::PathBuf {
    container.state_root().join(container.id()).join("state.json")
}

/// Changes the record of a container; the test finds its fields by meaning.
fn edit_record(container: &Container, change: impl FnOnce(&mut Value)) {
    let path = record_of(container);
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut record);
    fs::write(&path, record.to_string()).unwrap();
}

#[test]
fn cve_2024_25621_nobody_else_can_look_into_the_state() {
    ours_only!();
    let container = Bundle::new().sleeping().container();
    let output = container.bundle().scratch_file("output");
    fs::create_dir(&output).unwrap();
    // The umask of the caller does not open what the runtime makes.
    let script = "umask 0; exec \"$0\" \"$@\"";
    container.birth_by(&["sh", "-c", script], "create", &[]).output_in(output.as_ref()).output().expect_ok();
    let folder = container.state_root().join(container.id());
    for folder in [container.state_root(), &folder] {
        assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o700, "{}", folder.display());
    }
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let stat = path.symlink_metadata().unwrap();
        assert_eq!(stat.mode() & 0o077, 0, "{}", path.display());
        assert_eq!((stat.uid(), stat.gid()), (0, 0));
    }
}

#[test]
fn a_state_root_that_somebody_else_made_is_refused() {
    ours_only!();
    let cases: [(&str, &str, fn(&Path, &Path)); 6] = [
        ("a link", "symbolic link", |root, outside| symlink(outside, root).unwrap()),
        ("a dangling link", "symbolic link", |root, outside| symlink(outside.join("no"), root).unwrap()),
        ("writable by its group", "others may write", |root, _| {
            fs::create_dir(root).unwrap();
            fs::set_permissions(root, Permissions::from_mode(0o770)).unwrap();
        }),
        ("writable by all, sticky", "others may write", |root, _| {
            fs::create_dir(root).unwrap();
            fs::set_permissions(root, Permissions::from_mode(0o1777)).unwrap();
        }),
        ("owned by another", "belongs to user 4242", |root, _| {
            fs::create_dir(root).unwrap();
            chown(root, Some(4242), Some(4242)).unwrap();
        }),
        ("a FIFO", "state root", |root, _| nix::unistd::mkfifo(root, Mode::S_IRWXU).unwrap()),
    ];
    for (title, phrase, make) in cases {
        let bundle = Bundle::new();
        let canary = Canary::of(&bundle);
        let container = bundle.container();
        make(container.state_root(), canary.path());
        for output in [container.create(), container.run(), container.call("list").output()] {
            output.expect_code(1).expect_stderr(phrase);
        }
        for output in all_verbs(&container) {
            output.expect_fail();
        }
        container.delete_force();
        canary.assert_untouched(title);
    }
}

#[test]
fn ids_reach_no_folder_outside_the_state_root() {
    ours_only!();
    let bundle = Bundle::new().sleeping();
    let canary = Canary::of(&bundle);
    let container = bundle.container();
    container.create().expect_ok();
    // A container's folder in every respect, and beside the root.
    let beside = container.bundle().scratch().join("beside");
    fs::create_dir(&beside).unwrap();
    fs::copy(record_of(&container), beside.join("state.json")).unwrap();
    let absolute = beside.to_str().unwrap().to_owned();
    let doubled = format!("{}/../../beside", container.id());
    for id in [
        "../beside",
        "./../beside",
        "../outside",
        "..",
        ".",
        "",
        "/",
        &absolute,
        &doubled,
        "a\nb",
        "-f",
        "%2e%2e",
    ] {
        let hostile = container.sibling().with_id(id);
        let outputs = [
            hostile.state_output(),
            hostile.start(),
            hostile.kill("KILL"),
            hostile.delete(),
            hostile.delete_force(),
            hostile.create(),
            hostile.run(),
        ];
        for output in outputs {
            assert!(!output.status.success(), "{id:?}: {output}");
        }
        assert!(beside.join("state.json").exists(), "{id:?}");
        canary.assert_untouched(id);
    }
    assert_eq!(container.status(), "created");
}

#[test]
fn a_link_in_place_of_a_container_is_not_followed() {
    ours_only!();
    let container = Bundle::new().sleeping().container();
    container.create().expect_ok();
    let bundle = Bundle::new();
    let canary = Canary::of(&bundle);
    let other = bundle.container().beside(&container);
    let link = container.state_root().join(other.id());
    for target in [canary.path(), &container.state_root().join(container.id())] {
        symlink(target, &link).unwrap();
        for output in all_verbs(&other) {
            output.expect_fail();
        }
        other.create().expect_fail();
        other.delete_force();
        let list = container.call("list").args(["-q"]).output();
        assert!(!list.stdout.contains(other.id()), "{list}");
        canary.assert_untouched("a link as a container");
        assert_eq!(container.status(), "created");
        fs::remove_file(&link).unwrap();
    }
}

/// What can stand where `state.json` should; each is made in the container's folder.
fn odd_records() -> Vec<(&'static str, Box<dyn Fn(&Path)>)> {
    fn text(text: &'static [u8]) -> Box<dyn Fn(&Path)> {
        Box::new(move |path| fs::write(path, text).unwrap())
    }
    vec![
        ("nothing", Box::new(|_| {})),
        ("an empty file", text(b"")),
        ("half a record", text(b"{\"version\":1,\"id\":\"")),
        ("another document", text(b"{\"ociVersion\":\"1.0.2\"}")),
        ("a list", text(b"[]")),
        ("bytes", text(b"\0\xff\0")),
        ("deep nesting", Box::new(|path| fs::write(path, "[".repeat(1 << 20)).unwrap())),
        ("a sparse gigabyte", Box::new(|path| File::create(path).unwrap().set_len(1 << 30).unwrap())),
        ("a FIFO", Box::new(|path| nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap())),
        ("a folder", Box::new(|path| fs::create_dir_all(path.join("a/b")).unwrap())),
        ("a link to nothing", Box::new(|path| symlink("nothing", path).unwrap())),
        ("a link out", Box::new(|path| symlink("../../outside/file", path).unwrap())),
        ("a device", Box::new(|path| mknod(path, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 5)).unwrap())),
        ("a socket", Box::new(|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()))),
    ]
}

#[test]
fn a_folder_with_an_odd_record_is_named_stale_and_only_force_removes_it() {
    ours_only!();
    for (title, make) in odd_records() {
        let bundle = Bundle::new();
        let canary = Canary::of(&bundle);
        let container = bundle.container();
        let healthy = Bundle::new().sleeping().container().beside(&container);
        healthy.create().expect_ok();
        let folder = container.state_root().join(container.id());
        fs::create_dir(&folder).unwrap();
        make(&folder.join("state.json"));
        for output in all_verbs(&container) {
            let output = output.expect_code(1);
            assert!(!output.stderr.contains("panicked"), "{title}: {output}");
        }
        container.create().expect_code(1).expect_stderr("container with given ID already exists");
        // One bad folder hides no other container.
        let list = container.call("list").args(["-q"]).output().expect_ok();
        assert!(list.stdout.lines().any(|id| id == healthy.id()), "{title}: {list}");
        assert!(folder.exists(), "{title}: gone without force");
        container.delete_force().expect_ok();
        assert!(folder.symlink_metadata().is_err(), "{title}: still there");
        canary.assert_untouched(title);
        assert_eq!(healthy.status(), "created");
    }
}

#[test]
fn what_else_stands_in_a_container_s_folder_is_removed_and_not_followed() {
    ours_only!();
    let bundle = Bundle::new().sleeping();
    let canary = Canary::of(&bundle);
    let container = bundle.container();
    container.create().expect_ok();
    let folder = container.state_root().join(container.id());
    fs::create_dir_all(folder.join("deep/er")).unwrap();
    symlink(canary.path(), folder.join("deep/link")).unwrap();
    symlink(canary.at("file"), folder.join("file-link")).unwrap();
    symlink("../../outside", folder.join("relative")).unwrap();
    container.delete_force().expect_ok();
    assert!(!folder.exists());
    canary.assert_untouched("delete --force");
}

#[test]
fn a_mount_in_a_container_s_folder_is_not_emptied() {
    ours_only!();
    let bundle = Bundle::new().sleeping();
    let precious = bundle.scratch().join("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "precious").unwrap();
    let container = bundle.container();
    container.create().expect_ok();
    let inside = container.state_root().join(container.id()).join("mount");
    fs::create_dir(&inside).unwrap();
    let flags = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(Some(&precious), &inside, None::<&str>, flags, None::<&str>).unwrap();
    let output = container.delete_force();
    nix::mount::umount(&inside).unwrap();
    output.expect_code(1);
    assert_eq!(fs::read_to_string(precious.join("file")).unwrap(), "precious");
    container.delete_force().expect_ok();
}

#[test]
fn a_pid_that_belongs_to_another_process_by_now_is_never_signalled() {
    ours_only!();
    for same_start in [false, true] {
        let bystander = Bystander::new();
        let container = Bundle::new().sleeping().container();
        container.create().expect_ok();
        let init = container.init();
        container.kill("KILL").expect_ok();
        container.wait_status("stopped");
        wait_for("the end of init", || (!init.path("stat").exists()).then_some(()));
        // As if the pid had been used again: by a process that started later or, within one tick of the
        // clock, by one that the number alone cannot tell apart (then the pid differs).
        edit_record(&container, |record| {
            record["init"]["pid"] = json!(bystander.pid());
            if same_start {
                record["init"]["start_time"] = json!(0);
            }
        });
        assert_eq!(container.status(), "stopped");
        assert_eq!(container.state()["pid"], 0);
        for signal in ["KILL", "TERM", "0"] {
            container.kill(signal).expect_code(1).expect_stderr("container not running");
        }
        container.start().expect_fail();
        bystander.assert_alive();
        container.delete().expect_ok();
        bystander.assert_alive();
    }
}

#[test]
fn delete_by_force_kills_no_process_that_only_has_the_pid() {
    ours_only!();
    for creating in [false, true] {
        let bystander = Bystander::new();
        let container = Bundle::new().sleeping().container();
        container.create().expect_ok();
        let init = container.init();
        container.kill("KILL").expect_ok();
        container.wait_status("stopped");
        edit_record(&container, |record| {
            record["init"]["pid"] = json!(bystander.pid());
            record["creating"] = json!(creating);
            record["creator"]["pid"] = json!(bystander.pid());
        });
        assert_eq!(container.status(), "stopped");
        container.delete_force().expect_ok();
        bystander.assert_alive();
        assert!(!init.is_alive());
    }
}
