//! The container's cgroup: where it is, how it is made and removed, its limits, and to whom it belongs.
//! (runtime-spec, config-linux.md: "Control groups", "Cgroup ownership"; cgroups(7); the kernel's
//! admin-guide/cgroup-v2.rst.)
//!
//! Device rules, which are part of a cgroup too, have their tests beside the devices.
// Test code all of it: helpers panic where they stand, as the tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use integration::{
    Bundle, Call, Container, Process, Running, Scratch, cgroup2_mount, json, known_gap, requires, running,
    uses_cgroup2, wait_for,
};

const ON_V1: &str = "this runtime uses cgroup v1 on a hybrid host";

#[track_caller]
fn hierarchy() -> PathBuf {
    cgroup2_mount().expect("a mount of cgroup v2")
}

/// A name for a cgroup that no other test has: that of the bundle's scratch folder.
fn name(bundle: &Bundle) -> String {
    bundle.scratch().file_name().unwrap().to_str().unwrap().to_owned()
}

/// A cgroup of the test's own; with the ones inside it, it is removed when the value goes.
struct Folder {
    path: PathBuf,
    name: String,
    _scratch: Scratch,
}

impl Folder {
    fn new() -> Folder {
        let scratch = Scratch::new();
        let name = scratch.path().file_name().unwrap().to_str().unwrap().to_owned();
        let path = hierarchy().join(&name);
        fs::create_dir(&path).unwrap();
        Folder { path, name, _scratch: scratch }
    }

    fn write(&self, file: &str, value: &str) {
        fs::write(self.path.join(file), value)
            .unwrap_or_else(|error| panic!("write {value} to {file}: {error}"));
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path.join(file)).unwrap().trim_end().to_owned()
    }

    /// A process in it that waits for the end of its input.
    fn inhabit(&self) -> Running {
        let process = Call::of("cat").stdin_pipe().spawn();
        self.write("cgroup.procs", &process.pid().to_string());
        process
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What was killed just now may still be on its way out.
        let path = self.path.clone();
        let left = std::panic::catch_unwind(|| wait_for("an empty cgroup", || remove(&path).ok()));
        assert!(left.is_ok() || std::thread::panicking(), "{} is still in use", self.path.display());
    }
}

/// Cgroups are removed folder by folder; their files go with them. Names here are the tests' own.
fn remove(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

/// Stops and deletes it, and returns once its cgroup should be gone.
#[track_caller]
fn end(container: &Container) {
    container.kill("KILL").expect_ok();
    container.wait_status("stopped");
    container.delete().expect_ok();
}

#[test]
fn an_absolute_path_is_taken_from_the_root_of_the_hierarchy() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let bundle = Bundle::new();
    let path = format!("/{}", name(&bundle));
    let container = running(bundle.set("/linux/cgroupsPath", json!(path)));
    assert_eq!(container.init().cgroup(), path);
    end(&container);
    assert!(!hierarchy().join(&path[1..]).exists());
}

#[test]
fn a_relative_path_is_taken_from_where_the_runtimes_own_cgroup_lies() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "each has a place of its own for these");
    let bundle = Bundle::new();
    let name = name(&bundle);
    let own = Process::this().cgroup();
    let above = own.rsplit_once('/').unwrap().0;
    let container = running(bundle.set("/linux/cgroupsPath", json!(format!("{name}/below"))));
    assert_eq!(container.init().cgroup(), format!("{above}/{name}/below"));
    let folder = container.init().cgroup_folder();
    end(&container);
    assert!(!folder.parent().unwrap().exists());
}

#[test]
fn without_a_path_the_container_has_a_cgroup_of_its_own_name() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let (first, second) = (running(Bundle::new()), running(Bundle::new()));
    for container in [&first, &second] {
        let folder = container.init().cgroup_folder();
        assert_eq!(folder.file_name().unwrap().to_str(), Some(container.id()));
        let pids = fs::read_to_string(folder.join("cgroup.procs")).unwrap();
        assert!(pids.lines().any(|pid| pid == container.init_pid().to_string()), "{pids:?}");
        end(container);
        assert!(!folder.exists());
    }
}

#[test]
fn a_path_cannot_lead_above_the_root_and_cannot_be_the_root() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "they use the root's own cgroup");
    let bundle = Bundle::new();
    let name = name(&bundle);
    let container = running(bundle.set("/linux/cgroupsPath", json!(format!("/../../x/../{name}"))));
    assert_eq!(container.init().cgroup(), format!("/{name}"));
    for path in ["/", "/..", "//./"] {
        let refused = Bundle::new().set("/linux/cgroupsPath", json!(path)).run().expect_fail();
        refused.expect_stderr("linux.cgroupsPath");
    }
}

#[test]
fn init_is_in_the_cgroup_from_its_birth() {
    requires!(uses_cgroup2(), "{ON_V1}");
    // A hook that runs in the container's namespaces is a child of init before it is the program.
    let bundle = Bundle::new();
    let path = format!("/{}", name(&bundle));
    let seen = bundle.scratch_file("seen");
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", format!("cat /proc/self/cgroup >{seen}")]});
    let container = bundle
        .set("/linux/cgroupsPath", json!(path))
        .remove_namespace("cgroup")
        .set("/hooks/createContainer", json!([hook]))
        .sleeping()
        .container();
    container.create().expect_ok();
    assert_eq!(container.init().cgroup(), path);
    let seen = fs::read_to_string(seen).unwrap();
    assert!(seen.lines().any(|line| line == format!("0::{path}")), "{seen}");
}

#[test]
fn init_is_in_the_cgroup_where_it_joins_namespaces_too() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let first = running(Bundle::new().user_namespace(500_000, 65_536));
    let mut bundle = Bundle::new().user_namespace(500_000, 65_536);
    let path = format!("/{}", name(&bundle));
    for (kind, file) in [("user", "user"), ("pid", "pid"), ("network", "net")] {
        bundle = bundle.join_namespace(kind, &format!("/proc/{}/ns/{file}", first.init_pid()));
    }
    let second = running(bundle.set("/linux/cgroupsPath", json!(path)));
    assert_eq!(second.init().cgroup(), path);
    let pids = fs::read_to_string(hierarchy().join(&path[1..]).join("cgroup.procs")).unwrap();
    assert!(!pids.lines().any(|pid| pid == first.init_pid().to_string()), "{pids:?}");
}

#[test]
fn the_container_sees_its_cgroup_as_the_root() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let script = "grep ^0:: /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs | head -n1; \
                  mkdir /sys/fs/cgroup/x 2>/dev/null && echo wrong; true";
    assert_eq!(Bundle::new().in_container(script), "0::/\n1");
}

#[test]
fn a_container_without_limits_has_every_controller_there_is() {
    // Engines read the statistics of such containers too, from the files that controllers bring.
    requires!(uses_cgroup2(), "the runtime uses cgroup v1 here");
    let bundle = Bundle::new().remove("/linux/resources");
    let path = format!("/{}/below/it", name(&bundle));
    let container = running(bundle.set("/linux/cgroupsPath", json!(path)));
    let all = fs::read_to_string(hierarchy().join("cgroup.controllers")).unwrap();
    assert_eq!(container.init().cgroup_file("cgroup.controllers"), all.trim_end());
}

#[test]
fn levels_that_are_made_are_removed_and_others_stay() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "they leave the levels above");
    let folder = Folder::new();
    let path = format!("/{}/a/b/c", folder.name);
    let container = running(Bundle::new().set("/linux/cgroupsPath", json!(path)));
    assert_eq!(container.init().cgroup(), path);
    end(&container);
    assert!(folder.path.exists());
    assert!(!folder.path.join("a").exists());
}

#[test]
fn a_level_that_another_container_uses_stays() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let folder = Folder::new();
    let at = |name: &str| {
        running(Bundle::new().set("/linux/cgroupsPath", json!(format!("/{}/shared/{name}", folder.name))))
    };
    let (first, second) = (at("first"), at("second"));
    end(&first);
    assert!(!folder.path.join("shared/first").exists());
    assert!(second.init().is_alive());
    assert_eq!(second.init().cgroup(), format!("/{}/shared/second", folder.name));
    end(&second);
    assert!(!folder.path.join("shared/second").exists());
}

#[test]
fn the_last_container_of_a_level_takes_it_along_even_when_all_end_at_once() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "they leave the levels above");
    let folder = Folder::new();
    for round in 0..10 {
        let containers: Vec<_> = (0..3)
            .map(|number| {
                let path = format!("/{}/shared/level/{number}", folder.name);
                let container = Bundle::new().sleeping().set("/linux/cgroupsPath", json!(path)).container();
                container.create().expect_ok();
                container
            })
            .collect();
        let deletes: Vec<_> = containers
            .iter()
            .map(|container| container.call("delete").args(["--force", container.id()]).spawn())
            .collect();
        deletes.into_iter().for_each(|delete| drop(delete.wait().expect_ok()));
        assert!(!folder.path.join("shared").exists(), "round {round}");
        assert!(folder.path.exists());
    }
}

#[test]
fn an_empty_cgroup_that_is_there_is_used_and_left() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "they remove it");
    let folder = Folder::new();
    let container = running(Bundle::new().set("/linux/cgroupsPath", json!(format!("/{}", folder.name))));
    assert_eq!(container.init().cgroup_folder(), folder.path);
    end(&container);
    assert!(folder.path.exists());
}

#[test]
fn a_cgroup_with_processes_is_refused_and_left_alone() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "1.1.5 only warns; 1.8.1 does not look");
    let folder = Folder::new();
    let mut inhabitant = folder.inhabit();
    let container = Bundle::new().set("/linux/cgroupsPath", json!(format!("/{}", folder.name))).container();
    let refused = container.create().expect_fail();
    refused.expect_stderr(&folder.name).expect_stderr("processes").expect_stderr("linux.cgroupsPath");
    container.state_output().expect_fail().expect_runc_phrase("does not exist");
    container.delete_force().expect_ok();
    assert!(inhabitant.is_running());
    assert_eq!(folder.read("cgroup.procs"), inhabitant.pid().to_string());
}

#[test]
fn a_second_container_in_the_same_cgroup_is_refused_and_the_first_lives_on() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "1.1.5 only warns; 1.8.1 does not look");
    let folder = Folder::new();
    let bundle = || Bundle::new().set("/linux/cgroupsPath", json!(format!("/{}/one", folder.name)));
    let first = running(bundle());
    bundle().run().expect_fail().expect_stderr("linux.cgroupsPath");
    assert!(first.init().is_alive());
    assert_eq!(first.init().cgroup(), format!("/{}/one", folder.name));
}

#[test]
fn a_frozen_cgroup_is_refused_and_one_below_a_frozen_one_too() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Crun, "1.8.1 waits for ever");
    let folder = Folder::new();
    folder.write("cgroup.freeze", "1");
    for below in ["", "/below"] {
        let path = format!("/{}{below}", folder.name);
        let refused = Bundle::new().set("/linux/cgroupsPath", json!(path)).run().expect_fail();
        refused.expect_runc_phrase("frozen");
    }
    assert_eq!(folder.read("cgroup.freeze"), "1");
    assert!(!folder.path.join("below").exists());
}

#[test]
fn a_threaded_cgroup_above_is_named_as_the_reason() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "they name the call alone");
    let folder = Folder::new();
    folder.write("cgroup.type", "threaded");
    let refused =
        Bundle::new().set("/linux/cgroupsPath", json!(format!("/{}/below", folder.name))).run().expect_fail();
    refused.expect_stderr(&folder.name).expect_stderr("threaded");
    assert!(!folder.path.join("below").exists());
}

#[test]
fn a_birth_that_fails_leaves_no_cgroup_behind() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let folder = Folder::new();
    let bundle = || Bundle::new().set("/linux/cgroupsPath", json!(format!("/{}/a/b", folder.name)));
    bundle().mount("/mnt/a", "nosuchfs", "x", &[]).run().expect_fail();
    bundle().args(&["/no/such/program"]).run().expect_fail();
    bundle().set("/linux/resources/unified", json!({"cgroup.max.depth": "many"})).run().expect_fail();
    known_gap!(Runc, Crun, "they leave the levels above");
    assert!(!folder.path.join("a").exists());
}

#[test]
fn cgroups_that_the_container_made_are_removed_with_its_own() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let folder = Folder::new();
    let script = "mkdir -p /sys/fs/cgroup/a/b/c /sys/fs/cgroup/d && echo $$ >/sys/fs/cgroup/a/b/cgroup.procs && \
                  echo made && exec sleep 600";
    let container = writable(Bundle::new())
        .set("/linux/cgroupsPath", json!(format!("/{}/own", folder.name)))
        .sh(script)
        .container();
    container.run_detached().expect_ok();
    container.wait_stdout("made");
    assert_eq!(container.init().cgroup(), format!("/{}/own/a/b", folder.name));
    end(&container);
    assert!(!folder.path.join("own").exists());
}

#[test]
fn what_is_left_of_a_container_without_a_pid_namespace_is_killed_by_its_cgroup() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let script = "sleep 601 & echo child $!; exec sleep 600";
    let container = Bundle::new().remove_namespace("pid").sh(script).container();
    container.run_detached().expect_ok();
    container.wait_stdout("child ");
    let text = container.stdout();
    let child = Process::new(text.split_whitespace().nth(1).unwrap().parse().unwrap());
    wait_for("the child's program", || (child.cmdline() == ["sleep", "601"]).then_some(()));
    let folder = container.init().cgroup_folder();
    end(&container);
    wait_for("the end of the child", || (!child.is_alive()).then_some(()));
    assert!(!folder.exists());
}

// --- ownership ---------------------------------------------------------------------------------------------

const FIRST: u32 = 500_000;

/// The mount of cgroups, writable.
fn writable(bundle: Bundle) -> Bundle {
    bundle.remove_mount("/sys/fs/cgroup").mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "rw"])
}

#[track_caller]
fn owner(folder: &Path, file: &str) -> u32 {
    fs::metadata(folder.join(file)).unwrap().uid()
}

#[test]
fn a_writable_cgroup_belongs_to_the_user_who_runs_the_program() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Crun, "1.8.1 needs an annotation for it");
    for uid in [0, 1000] {
        let bundle = writable(Bundle::new().user_namespace(FIRST, 65_536));
        let container = running(bundle.set("/process/user", json!({"uid": uid, "gid": 0})));
        let folder = container.init().cgroup_folder();
        // What the kernel lists for delegation, and nothing that limits the container itself.
        let delegated = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap();
        for entry in fs::read_dir(&folder).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            let expected = if delegated.lines().any(|line| line == file) { FIRST + uid } else { 0 };
            assert_eq!(owner(&folder, &file), expected, "{file}");
        }
        assert_eq!(owner(&folder, "."), FIRST + uid);
        assert_eq!(owner(&folder, ".."), 0);
        assert_eq!(owner(&folder, "cgroup.procs"), FIRST + uid);
    }
}

#[test]
fn the_owner_divides_its_cgroup_and_cannot_change_its_limits() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Crun, "1.8.1 needs an annotation for it");
    let script = "cd /sys/fs/cgroup && mkdir inner && echo $$ >inner/cgroup.procs && grep ^0:: /proc/self/cgroup; \
                  (echo 5 >cgroup.max.descendants) 2>/dev/null && echo wrong; \
                  (echo 5 >inner/cgroup.max.descendants) && echo right";
    let inside = writable(Bundle::new().user_namespace(FIRST, 65_536)).in_container(script);
    assert_eq!(inside, "0::/inner\nright");
}

#[test]
fn a_cgroup_that_cannot_be_written_stays_roots() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let mapped = || Bundle::new().user_namespace(FIRST, 65_536);
    let read_only = mapped();
    let without_namespace = writable(mapped()).remove_namespace("cgroup");
    let without_mount = mapped().remove_mount("/sys/fs/cgroup");
    for bundle in [read_only, without_namespace, without_mount] {
        let container = running(bundle);
        let folder = container.init().cgroup_folder();
        assert_eq!((owner(&folder, "."), owner(&folder, "cgroup.procs")), (0, 0));
    }
}
