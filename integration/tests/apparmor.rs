//! `process.apparmorProfile` on a host that has AppArmor: the profile is the program's, and holds. (apparmor(7),
//! apparmor.d(5), runtime-spec config.md "Linux Process". Without AppArmor: `labels`.)
//!
//! The profile is loaded for the test and goes with it. `make test-vm FLAVOUR=systemd` has AppArmor.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;

use integration::{Bundle, Call, Scratch, asleep, json, kernel_has, requires, running};

fn apparmor() -> bool {
    fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
}

const NO_APPARMOR: &str = "no AppArmor on this host, or no apparmor_parser";

/// A profile in the kernel, which the parser takes out again.
struct Profile {
    name: String,
    scratch: Scratch,
}

impl Profile {
    /// Everything is allowed, except for writing files whose name begins with `forbidden`.
    fn load() -> Profile {
        let scratch = Scratch::new();
        let name = scratch.path().file_name().unwrap().to_str().unwrap().to_owned();
        let rules = format!(
            "profile {name} flags=(attach_disconnected,mediate_deleted) {{\n  \
             capability,\n  network,\n  mount,\n  umount,\n  pivot_root,\n  ptrace,\n  signal,\n  unix,\n  \
             file,\n  deny /**/forbidden* w,\n}}\n"
        );
        let profile = Profile { name, scratch };
        fs::write(profile.file(), rules).unwrap();
        profile.parser("--add");
        profile
    }

    fn file(&self) -> String {
        self.scratch.path().join("profile").to_str().unwrap().to_owned()
    }

    fn parser(&self, verb: &str) {
        let options = ["--skip-cache", "--quiet", verb, &self.file()];
        Call::of("apparmor_parser").args(options).output().expect_ok();
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        self.parser("--remove");
    }
}

fn has_all() -> bool {
    apparmor() && kernel_has("/usr/sbin/apparmor_parser")
}

#[test]
fn the_program_runs_under_the_profile_and_is_held_by_it() {
    requires!(has_all(), "{NO_APPARMOR}");
    let profile = Profile::load();
    let script = "cat /proc/self/attr/current; echo x >/tmp/allowed && echo written; \
                  (echo x >/tmp/forbidden) 2>&1 | sed 's/.*: //'; exec sleep 600";
    let container = Bundle::new().set("/process/apparmorProfile", json!(profile.name)).sh(script).container();
    container.run_detached().expect_ok();
    container.wait_stdout("ermission");
    let expected = format!("{} (enforce)\nwritten\nPermission denied\n", profile.name);
    assert_eq!(container.stdout(), expected);
    // From outside too: the whole container, and not the runtime that made it.
    assert_eq!(container.init().read("attr/current"), format!("{} (enforce)\n", profile.name));
    assert_eq!(fs::read_to_string("/proc/self/attr/current").unwrap(), "unconfined\n");
}

#[test]
fn the_profile_is_there_before_start_only_for_the_program() {
    requires!(has_all(), "{NO_APPARMOR}");
    let profile = Profile::load();
    let container = Bundle::new().set("/process/apparmorProfile", json!(profile.name)).sleeping().container();
    container.create().expect_ok();
    // The change happens at execve: until then init does what the profile might forbid.
    assert_eq!(container.init().read("attr/current"), "unconfined\n");
    container.start().expect_ok();
    let confined = format!("{} (enforce)\n", profile.name);
    integration::wait_for("the profile", || {
        (container.init().read("attr/current") == confined).then_some(())
    });
}

#[test]
fn a_profile_holds_with_a_user_namespace_and_no_new_privileges() {
    requires!(has_all(), "{NO_APPARMOR}");
    let profile = Profile::load();
    for no_new_privileges in [false, true] {
        let bundle = Bundle::new()
            .user_namespace(500_000, 65_536)
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .set("/process/apparmorProfile", json!(profile.name));
        let seen = bundle.in_container("cat /proc/self/attr/current");
        assert_eq!(seen, format!("{} (enforce)", profile.name), "{no_new_privileges}");
    }
}

#[test]
fn a_process_that_exec_adds_is_under_the_containers_profile_or_the_one_that_is_asked_for() {
    requires!(has_all(), "{NO_APPARMOR}");
    let (own, other) = (Profile::load(), Profile::load());
    let container = asleep(Bundle::new().set("/process/apparmorProfile", json!(own.name))).0;
    let confined = |options: &[&str]| {
        container.exec_detached(options, &["sleep", "500"]).read("attr/current").trim_end().to_owned()
    };
    assert_eq!(confined(&[]), format!("{} (enforce)", own.name));
    assert_eq!(confined(&["--apparmor", &other.name]), format!("{} (enforce)", other.name));
    assert_eq!(confined(&["--apparmor", "unconfined"]), "unconfined");
    // It holds from the program's first moment on.
    container.exec_sh(&[], "! (echo x >/tmp/forbidden) 2>/dev/null");
    container.exec_sh(&["--apparmor", "unconfined"], "echo x >/tmp/forbidden");
    let missing = container.exec_call(&["--apparmor", "caisson-no-such-profile"], &["true"]).output();
    missing.expect_fail().expect_stderr("caisson-no-such-profile");
}

#[test]
fn unconfined_and_no_profile_confine_nothing() {
    requires!(has_all(), "{NO_APPARMOR}");
    for bundle in [Bundle::new(), Bundle::new().set("/process/apparmorProfile", json!("unconfined"))] {
        assert_eq!(running(bundle).init().read("attr/current"), "unconfined\n");
    }
}
