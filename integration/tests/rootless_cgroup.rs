//! Cgroups of an ordinary user's containers: none where none is delegated, and what is delegated where it is; where
//! the state is kept. (runc, docs/cgroup-v2.md, "Rootless"; Documentation/admin-guide/cgroup-v2.rst, "Delegation".)
// Test code all of it: helpers panic where they stand, as the tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use integration::{
    Bundle, Call, Container, Ordinary, cgroup2_mount, json, known_gap, requires, uses_cgroup2, wait_for,
};

const USER: Ordinary = Ordinary::NOBODYS;

fn bundle() -> Bundle {
    USER.bundle(Bundle::new())
}

/// A cgroup that was delegated to the user: the folder and the files that the kernel lists for that. It goes with
/// the value.
struct Delegated(PathBuf);

impl Delegated {
    fn new(name: &str) -> Delegated {
        let folder = cgroup2_mount().unwrap().join(name);
        fs::create_dir(&folder).unwrap();
        let delegated = Delegated(folder);
        delegated.give(&delegated.0);
        // Where the caller is: next to it the container's is made, since one with processes passes nothing on.
        let caller = delegated.0.join("caller");
        fs::create_dir(&caller).unwrap();
        delegated.give(&caller);
        delegated
    }

    fn give(&self, folder: &Path) {
        chown(folder, Some(USER.id), Some(USER.id)).unwrap();
        for file in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
            chown(folder.join(file), Some(USER.id), Some(USER.id)).unwrap();
        }
    }

    /// A container whose every call comes from within the delegated cgroup.
    fn container(&self, bundle: Bundle) -> Container {
        let enter = format!("echo $$ >{}/caller/cgroup.procs", self.0.display());
        USER.container_from(bundle, &enter, "exec \"$@\"")
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for folder in [self.0.join("caller"), self.0.clone()] {
            wait_for(&format!("{} to be empty", folder.display()), || {
                fs::remove_dir(&folder).is_ok().then_some(())
            });
        }
    }
}

fn unique(bundle: &Bundle) -> String {
    bundle.scratch().file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn without_delegation_there_is_no_cgroup_and_a_warning_says_so() {
    known_gap!(Runc, Crun, "they say nothing");
    let container = USER.container(bundle().sh("cat /proc/self/cgroup"));
    let output = container.run().expect_ok();
    let warning = "warning: the container has no cgroup of its own: ";
    let output = output.expect_stderr(warning);
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
    assert!(!output.stdout.contains(container.id()), "{output}");
    // With a log it is there, and stderr stays empty.
    let container = USER.container(bundle());
    let log = container.bundle().scratch_file("log");
    let container = container.with_globals(&["--log", &log, "--log-format", "json"]);
    container.run().expect_ok().expect_no_stderr();
    let line: integration::Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!(line["level"], "warning");
    assert!(line["msg"].as_str().unwrap().starts_with("the container has no cgroup of its own: "), "{line}");
}

#[test]
fn a_failure_leaves_one_object_in_the_log_and_no_warning() {
    known_gap!(Runc, Crun, "they log what they like");
    let container = USER.container(bundle().args(&["/no/such"]));
    let log = container.bundle().scratch_file("log");
    let container = container.with_globals(&["--log", &log, "--log-format", "json"]);
    container.create().expect_fail();
    let line: integration::Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!(line["level"], "error", "{line}");
}

#[test]
fn what_prints_json_prints_nothing_else() {
    let container = USER.container(bundle().sleeping());
    container.run_detached().expect_ok();
    container.state_output().expect_ok().expect_no_stderr();
    container.call("list").output().expect_ok().expect_no_stderr();
    known_gap!(Crun, "1.8 has no features");
    container.call("features").output().expect_ok().expect_no_stderr();
}

#[test]
fn a_limit_that_cannot_be_set_is_never_lost() {
    requires!(uses_cgroup2(), "cgroup v1 is used");
    for (field, value, name) in [
        ("/linux/resources/pids/limit", json!(5), "linux.resources.pids.limit"),
        ("/linux/resources/memory/limit", json!(104_857_600), "linux.resources.memory.limit"),
        ("/linux/cgroupsPath", json!("/caisson-not-delegated/x"), "linux.cgroupsPath"),
    ] {
        let container = USER.container(bundle().set(field, value));
        let refused = container.run().expect_fail();
        container.state_output().expect_fail();
        if integration::flavour() == integration::Flavour::Ours {
            refused.expect_stderr(&format!("{name} needs a cgroup"));
        }
    }
}

/// Engines send rules for devices in any case; without privileges they mean nothing, as nobody can make a node.
#[test]
fn rules_for_devices_are_left_to_the_user_s_permissions() {
    let rules = json!([{"allow": false, "access": "rwm"}]);
    USER.container(bundle().set("/linux/resources/devices", rules).sh("echo x >/dev/null")).run().expect_ok();
}

#[test]
fn what_needs_a_cgroup_says_that_there_is_none() {
    known_gap!(Runc, Crun, "they say it in other words, or show zeros");
    let container = USER.container(bundle().sleeping());
    container.run_detached().expect_ok();
    let reason = "the container has no cgroup of its own";
    container.pause().expect_fail().expect_stderr(reason);
    container.call("ps").args([container.id()]).output().expect_fail().expect_stderr(reason);
    container.call("events").args(["--stats", container.id()]).output().expect_fail().expect_stderr(reason);
    container.update(&["--pids-limit", "9"]).expect_fail().expect_stderr(reason);
    container.kill("KILL").expect_ok();
}

#[test]
fn a_cgroup_that_is_the_callers_is_shown_read_only() {
    requires!(uses_cgroup2(), "cgroup v1 is used");
    known_gap!(Runc, Crun, "they mount it as it is asked for");
    let writable = || {
        bundle()
            .remove_mount("/sys/fs/cgroup")
            .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw", "nosuid", "noexec", "nodev"])
            .sh("mkdir /sys/fs/cgroup/x 2>&1; cat /sys/fs/cgroup/cgroup.procs >/dev/null && echo readable")
    };
    // With a cgroup namespace, without one (CVE-2023-25809).
    for bundle in [writable(), writable().remove_namespace("cgroup")] {
        let output = USER.container(bundle).run().expect_ok();
        assert!(output.stdout.contains("Read-only file system"), "{output}");
        assert!(output.stdout.ends_with("readable\n"), "{output}");
        output.expect_stderr("read-only, as it shows the caller's cgroup");
    }
}

#[test]
fn a_delegated_cgroup_is_used() {
    requires!(uses_cgroup2(), "cgroup v1 is used");
    let bundle = bundle().sh("echo here; sleep 600 & exec sleep 600");
    let delegated = Delegated::new(&unique(&bundle));
    let container = delegated.container(bundle);
    container.run_detached().expect_ok();
    container.wait_stdout("here");
    assert_eq!(container.stderr(), "");
    let folder = delegated.0.join(container.id());
    wait_for("both processes", || (container.ps().len() == 2).then_some(()));
    assert_eq!(container.init().cgroup_folder(), folder);
    container.pause().expect_ok();
    assert_eq!(container.status(), "paused");
    container.resume().expect_ok();
    container.stats();
    container.kill("KILL").expect_ok();
    container.wait_status("stopped");
    container.delete().expect_ok();
    assert!(!folder.exists());
}

#[test]
fn limits_are_set_and_changed_in_a_delegated_cgroup() {
    requires!(uses_cgroup2(), "cgroup v1 is used");
    requires!(integration::has_controller("pids"), "no controller pids on cgroup v2");
    let bundle = bundle().set("/linux/resources/pids/limit", json!(17)).sleeping();
    let name = unique(&bundle);
    let delegated = Delegated::new(&name);
    fs::write(cgroup2_mount().unwrap().join("cgroup.subtree_control"), "+pids").unwrap();
    let container = delegated.container(bundle.set("/linux/cgroupsPath", json!(format!("/{name}/box"))));
    container.run_detached().expect_ok();
    assert_eq!(container.init().cgroup_file("pids.max").trim(), "17");
    container.update(&["--pids-limit", "23"]).expect_ok();
    assert_eq!(container.init().cgroup_file("pids.max").trim(), "23");
    container.delete_force().expect_ok();
}

#[test]
fn a_writable_delegated_cgroup_is_the_container_s() {
    requires!(uses_cgroup2(), "cgroup v1 is used");
    let bundle = bundle()
        .remove_mount("/sys/fs/cgroup")
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw", "nosuid", "noexec", "nodev"])
        .sh("mkdir /sys/fs/cgroup/inner && echo made; rmdir /sys/fs/cgroup/inner; ls -d /sys/fs/cgroup/caller");
    let delegated = Delegated::new(&unique(&bundle));
    let output = delegated.container(bundle).run();
    assert_eq!(output.stdout, "made\n", "{output}");
}

/// The user of the test machine whose systemd runs without a login.
#[test]
fn the_user_s_own_systemd_makes_the_scope() {
    let user = Ordinary { id: 1000, subordinate: 100_000 };
    let private = format!("/run/user/{}/systemd/private", user.id);
    requires!(Path::new(&private).exists(), "user {} has no systemd of its own here", user.id);
    known_gap!(Runc, Crun, "they ask the environment");
    let bundle = user.mapped_bundle(Bundle::new()).set("/linux/resources/pids/limit", json!(9));
    let name = unique(&bundle);
    let bundle =
        bundle.set("/linux/cgroupsPath", json!(format!(":p:{name}"))).sh("echo here; exec sleep 600");
    let container = user.container(bundle).with_globals(&["--systemd-cgroup"]);
    container.run_detached().expect_ok();
    container.wait_stdout("here");
    let above = format!("/user.slice/user-{0}.slice/user@{0}.service/user.slice", user.id);
    assert_eq!(container.init().cgroup(), format!("{above}/p-{name}.scope"));
    assert_eq!(container.init().cgroup_file("pids.max").trim(), "9");
    assert_eq!(container.ps(), [container.init_pid()]);
    container.update(&["--pids-limit", "11"]).expect_ok();
    assert_eq!(container.init().cgroup_file("pids.max").trim(), "11");
    container.pause().expect_ok();
    assert_eq!(container.status(), "paused");
    let folder = container.init().cgroup_folder();
    container.delete_force().expect_ok();
    wait_for("the scope to be gone", || (!folder.exists()).then_some(()));
}

/// A container driven with $XDG_RUNTIME_DIR and without `--root`.
struct Session {
    container: Container,
    folder: PathBuf,
}

impl Session {
    fn new(bundle: Bundle, mode: u32) -> Session {
        let container = USER.container(bundle);
        let folder = container.bundle().scratch().join("runtime-folder");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        chown(&folder, Some(USER.id), Some(USER.id)).unwrap();
        Session { container, folder }
    }

    fn call(&self, args: &[&str]) -> Call {
        let runtime = self.container.bundle().scratch_file("runtime-as-user");
        Call::of(runtime).env("XDG_RUNTIME_DIR", &self.folder).args(args)
    }

    fn run(&self, flags: &[&str]) -> Call {
        let bundle = self.container.bundle().path();
        let run = self.call(&["run", "--bundle", bundle.to_str().unwrap()]);
        run.args(flags).args([self.container.id()])
    }
}

#[test]
fn the_state_is_below_xdg_runtime_dir() {
    let session = Session::new(bundle().sleeping(), 0o700);
    let run = session.run(&["--detach"]).output_in(session.container.bundle().scratch()).output();
    run.expect_ok();
    let id = session.container.id();
    assert_eq!(session.call(&["state", id]).output().expect_ok().json()["status"], "running");
    if integration::flavour() == integration::Flavour::Ours {
        let root = session.folder.join("caisson/runtime");
        let found = fs::metadata(&root).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid()), (0o1700, USER.id));
        assert!(root.join(id).join("state.json").exists());
        // Root does not follow it.
        let by_root =
            Call::runtime().args(["--root".as_ref(), root.as_os_str()]).args(["state", id]).output();
        by_root.expect_fail().expect_stderr(&format!("belongs to user {}, not to 0", USER.id));
    }
    session.call(&["delete", "--force", id]).output().expect_ok();
}

#[test]
fn a_runtime_folder_of_somebody_else_is_refused() {
    known_gap!(Runc, Crun, "they take what they can write to");
    let session = Session::new(bundle(), 0o777);
    chown(&session.folder, Some(0), Some(0)).unwrap();
    let refused = session.run(&[]).output().expect_fail();
    refused.expect_stderr(&format!("belongs to user 0, not to {}", USER.id));
    session.call(&["list"]).output().expect_fail().expect_stderr("XDG_RUNTIME_DIR");
    // What needs no folder works.
    session.call(&["features"]).output().expect_ok();
}

#[test]
fn without_a_runtime_folder_the_error_says_what_to_do() {
    known_gap!(Runc, Crun, "they name the folder alone");
    let session = Session::new(bundle(), 0o700);
    let refused = session.run(&[]).env_remove("XDG_RUNTIME_DIR").output().expect_fail();
    refused.expect_stderr("XDG_RUNTIME_DIR is not set");
}
