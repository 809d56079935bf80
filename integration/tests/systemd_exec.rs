//! `exec` where systemd has made the container's cgroup: the new process is in the scope, also where the kernel lets
//! the caller start none there and systemd has to bring it. (clone3(2), cgroup-v2.rst "Delegation Containment",
//! org.freedesktop.systemd1(5) AttachProcessesToUnit.)
//!
//! Needs systemd as init and pure cgroup v2: see `make test-vm` (its machine `systemd`). These tests run in a service
//! of the system's, so that an ordinary user's call comes from outside of what is the user's, as from a login session.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use integration::{
    Bundle, Call, Container, Ordinary, Process, json, known_gap, requires, runtime_under_test,
};

const NO_SYSTEMD: &str = "systemd is not init here, or cgroups are not all v2";
const NO_MANAGER: &str = "no user with a systemd of their own here";
const SLEEP: [&str; 2] = ["sleep", "500"];

/// The user of the test machine whose systemd runs without a login.
const USER: Ordinary = Ordinary { id: 1000, subordinate: Ordinary::NOBODYS.subordinate };
const MANAGER: &str = "/run/user/1000/systemd/private";
const PART: &str = "/user.slice/user-1000.slice/user@1000.service/";

fn has_systemd() -> bool {
    Path::new("/run/systemd/private").exists() && Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// The same with a cgroupsPath that no other test has.
fn in_scope(bundle: Bundle) -> Bundle {
    let name = bundle.scratch().file_name().unwrap().to_str().unwrap().to_owned();
    bundle.set("/linux/cgroupsPath", json!(format!(":e:{name}")))
}

/// A container of the user's in a scope of the user's systemd.
#[track_caller]
fn of_user() -> (Container, Process) {
    let bundle = in_scope(USER.bundle(Bundle::new())).args(&["sleep", "600"]);
    let container = USER.container(bundle).with_globals(&["--systemd-cgroup"]);
    container.run_detached().expect_ok();
    let init = container.init();
    assert!(init.cgroup().starts_with(PART), "{}", init.cgroup());
    (container, init)
}

#[test]
fn a_process_is_born_in_the_scope() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    known_gap!(Crun, "1.8 puts the program into a cgroup inside the scope");
    let container = in_scope(Bundle::new()).args(&["sleep", "600"]).container();
    let container = container.with_globals(&["--systemd-cgroup"]);
    container.run_detached().expect_ok();
    let process = container.exec_detached(&[], &SLEEP);
    assert_eq!(process.cgroup(), container.init().cgroup());
    assert_eq!(container.exec_sh(&[], "cat /proc/self/cgroup"), "0::/");
}

#[test]
fn an_ordinary_users_process_is_brought_into_the_scope() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    requires!(Path::new(MANAGER).exists(), "{NO_MANAGER}");
    known_gap!(Runc, Crun, "they ask the environment where the user's systemd is, or cannot do it");
    let (container, init) = of_user();
    assert!(!Process::this().cgroup().starts_with(PART), "the test has to come from outside");
    let process = container.exec_detached(&[], &SLEEP);
    assert_eq!(process.cgroup(), init.cgroup());
    assert_eq!(process.namespace("cgroup"), init.namespace("cgroup"));
    // As the program sees it from its first moment on.
    assert_eq!(container.exec_sh(&[], "cat /proc/self/cgroup"), "0::/");
    // By a name, and where the scope itself can have no processes any more, where init is.
    let scope = init.cgroup_folder();
    let inner = scope.join("inner");
    fs::create_dir(&inner).unwrap();
    let below = container.exec_detached(&["--cgroup", "inner"], &SLEEP);
    assert_eq!(below.cgroup(), format!("{}/inner", init.cgroup()));
    let before = init.cgroup();
    for pid in [init.pid(), process.pid()] {
        fs::write(inner.join("cgroup.procs"), pid.to_string()).unwrap();
    }
    fs::write(scope.join("cgroup.subtree_control"), "+pids").unwrap();
    let last = container.exec_detached(&[], &SLEEP);
    assert_eq!(last.cgroup(), format!("{before}/inner"));
}

/// Whoever is root of a user namespace reaches the container's namespaces by himself, and its cgroup no more than before.
#[test]
fn so_is_that_of_root_of_the_users_namespace() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    requires!(Path::new(MANAGER).exists(), "{NO_MANAGER}");
    known_gap!(Runc, Crun, "they ask the environment where the user's systemd is, or cannot do it");
    let bundle = Bundle::new().user_namespace(0, 1).remove_mount("/dev/pts"); // its group is not in the namespace
    let container = in_scope(bundle).args(&["sleep", "600"]).container();
    let scratch = container.bundle().scratch();
    Call::of("chown").args(["-R", "1000"]).args([scratch]).output().expect_ok();
    fs::set_permissions(scratch, fs::Permissions::from_mode(0o711)).unwrap();
    let (state, files) = (container.bundle().scratch_file("s"), container.bundle().scratch_file("files"));
    fs::create_dir(&files).unwrap();
    chown(&files, Some(1000), None).unwrap();
    let script = format!(
        "set -e; cd {files}; r() {{ {runtime} --root {state} \"$@\"; }}; trap 'r delete --force {id}' EXIT
         r --systemd-cgroup run --detach --pid-file init --bundle {bundle} {id} >run 2>&1 </dev/null || cat run
         r exec --detach --pid-file added {id} sleep 500 >exec 2>&1 </dev/null || cat exec
         cat /proc/$(cat init)/cgroup /proc/$(cat added)/cgroup",
        runtime = runtime_under_test().display(),
        id = container.id(),
        bundle = container.bundle().path().display(),
    );
    let call =
        Call::of("setpriv").args(["--reuid", "1000", "--regid", "1000", "--clear-groups", "env", "-i"]);
    let call = call.args(["PATH=/usr/sbin:/usr/bin", "unshare", "--user", "--map-root-user", "--mount"]);
    let seen = call.args(["sh", "-c", &script]).output().expect_ok().stdout;
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, lines[1]), "{seen}");
    assert!(lines[0].starts_with(&format!("0::{PART}")), "{seen}");
}

#[test]
fn where_no_systemd_can_be_asked_the_error_says_so_and_no_process_is_left() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    requires!(Path::new(MANAGER).exists(), "{NO_MANAGER}");
    known_gap!(Runc, Crun, "they ask the environment where the user's systemd is, or cannot do it");
    let (container, init) = of_user();
    // The folder with the sockets of the user's systemd, hidden from this one call.
    let call = "mount -t tmpfs none /run/user/1000
                exec setpriv --reuid 1000 --regid 1000 --clear-groups -- \"$@\"";
    let call = Call::of("unshare").args(["--mount", "sh", "-ec", call, "sh"]).args([runtime_under_test()]);
    let call = call.args(["--root".as_ref(), container.state_root().as_os_str()]);
    let refused = call.args(["exec", container.id(), "sleep", "500"]).output().expect_code(255);
    let refused = refused.expect_stderr("lets this caller start no process in cgroup");
    refused.expect_stderr("and systemd moves none there: user 1000 has no systemd of their own here");
    assert_eq!(init.cgroup_file("cgroup.procs").lines().count(), 1);
}
