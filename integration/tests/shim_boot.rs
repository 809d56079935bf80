//! `shim system boot`: what restart policies ask for when the host has started. The end of an uptime is made up: records as
//! they were while everything ran, with another boot id, and a state folder that is gone.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::path::Path;

use integration::{Call, Scratch, Shim, Value, is_root, json, mark, requires, wait_for};

const SLEEP: [&str; 3] = ["busybox", "sleep", "600"];

/// As if the host had gone down without a word and come up again: no process, no mount, no state folder, and records as
/// they were.
fn reboot(shim: &Shim) {
    let ids = shim.container_ids();
    let mut records: Vec<Value> = ids.iter().map(|id| shim.recorded_state(id)).collect();
    for (id, state) in ids.iter().zip(&records) {
        if state["status"] == "running" {
            shim.cli(&["kill", id]).expect_ok();
        }
    }
    wait_for("the end of all processes", || shim.processes().is_empty().then_some(()));
    let own = fs::read_to_string("/proc/self/stat").unwrap();
    let own_start = own.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().parse::<u64>().unwrap();
    for (id, state) in ids.iter().zip(&mut records) {
        if state["boot"] != "" {
            state["boot"] = "11111111-2222-3333-4444-555555555555".into();
        }
        if state.get("process").is_some_and(Value::is_object) {
            // Another process has this number now, and began at the same tick: it is not of this uptime all the same.
            state["process"] = json!({"pid": std::process::id(), "start_time": own_start});
        }
        let folder = shim.container_folder(id);
        // One of `--rm` went with its kill; after a real end of the host it is there.
        if folder.exists() {
            fs::write(folder.join("state.json"), state.to_string()).unwrap();
        }
    }
    fs::remove_dir_all(shim.state()).unwrap();
}

fn named(shim: &Shim, name: &str, flags: &[&str]) -> String {
    shim.detached(&[&["--name", name], flags, &SLEEP].concat())
}

#[track_caller]
fn status(shim: &Shim, name: &str) -> (String, i64) {
    let state = &shim.inspect(name)["State"];
    (state["Status"].as_str().unwrap().to_owned(), state["ExitCode"].as_i64().unwrap())
}

#[test]
fn after_a_reboot_policies_say_what_is_started_in_order_of_creation() {
    requires!(is_root(), "containers of an ordinary user have other folders");
    let shim = Shim::with_busybox();
    let gone = shim.folder().join("gone");
    fs::create_dir(&gone).unwrap();
    // Names in another order than that of creation.
    named(&shim, "zebra", &["--restart", "always"]);
    named(&shim, "none", &[]);
    let broken = format!("{}:/mnt", gone.display());
    named(&shim, "broken", &["--restart", "always", "-v", &broken]);
    named(&shim, "failure", &["--restart", "on-failure"]);
    named(&shim, "mule", &["--restart", "unless-stopped"]);
    named(&shim, "stopped", &["--restart", "unless-stopped"]);
    named(&shim, "ass", &["--restart", "always"]);
    shim.cli(&["create", "--name", "new", "--restart", "always", "busybox", "true"]).expect_ok();
    shim.cli(&["stop", "--time", "0", "stopped", "ass"]).expect_ok();
    reboot(&shim);
    fs::remove_dir(&gone).unwrap();

    let boot = shim.cli(&["system", "boot"]).expect_code(1);
    // Docker starts what has `always` though the user had stopped it.
    assert_eq!(boot.stdout, "zebra\nmule\nass\n");
    assert_eq!(boot.stderr.lines().count(), 1, "{boot}");
    assert!(boot.stderr.contains("start container broken: ") && boot.stderr.contains("gone"), "{boot}");
    let this = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    for name in ["zebra", "mule", "ass"] {
        assert_eq!(status(&shim, name), ("running".to_owned(), 0), "{name}");
        let id = shim.inspect(name)["Id"].as_str().unwrap().to_owned();
        assert!(shim.process(&id).is_alive());
        assert_eq!(shim.recorded_state(&id)["boot"], this.trim_end());
    }
    // What ran and is not started again has docker's status for that.
    for name in ["none", "failure"] {
        assert_eq!(status(&shim, name), ("exited".to_owned(), 255), "{name}");
    }
    assert_eq!(status(&shim, "stopped").0, "exited");
    assert_eq!(status(&shim, "new").0, "created");

    // Once more, in the same uptime: what the user stops now stays so, whatever its policy.
    shim.cli(&["stop", "--time", "0", "ass"]).expect_ok();
    fs::create_dir(&gone).unwrap();
    assert_eq!(shim.stdout(&["system", "boot"]), "broken\n");
    assert_eq!(status(&shim, "ass").0, "exited");
}

#[test]
fn after_a_reboot_a_container_of_rm_is_removed() {
    requires!(is_root(), "containers of an ordinary user have other folders");
    let shim = Shim::with_busybox();
    let id = named(&shim, "gone", &[]);
    // While the host goes down nobody removes it: its record says so only afterwards.
    let path = shim.container_folder(&id).join("container.json");
    let mut record = shim.record(&id);
    record["HostConfig"]["AutoRemove"] = true.into();
    reboot(&shim);
    fs::write(&path, record.to_string()).unwrap();
    assert_eq!(shim.stdout(&["system", "boot"]), "");
    assert_eq!(shim.container_ids(), [""; 0]);
    // Its name is free.
    shim.cli(&["create", "--name", "gone", "busybox"]).expect_ok();
}

#[test]
fn the_unit_for_systemd_starts_them_and_its_end_is_not_theirs() {
    requires!(is_root(), "units of the system need root");
    let in_machine = std::env::var_os("CAISSON_TEST_MACHINE").is_some();
    requires!(
        in_machine && Path::new("/run/systemd/private").exists(),
        "not a machine of its own with systemd"
    );
    let shim = Shim::with_busybox();
    let id = named(&shim, "service", &["--restart", "always"]);
    reboot(&shim);
    let text = include_str!("../../packaging/systemd/caisson.service");
    let program = integration::shim_under_test().display().to_string();
    let (root, state) = (shim.root().display().to_string(), shim.state().display().to_string());
    let started = format!("ExecStart={program} --root {root} --state {state} system boot");
    assert!(text.contains("\nExecStart=/usr/bin/shim system boot\n"));
    let text = text.replace("ExecStart=/usr/bin/shim system boot", &started);
    let unit = Unit::new(&text);
    unit.systemctl(&["start"]);
    assert_eq!(unit.says("ActiveState"), "active");
    let process = shim.process(&id);
    assert!(process.is_alive());
    assert_eq!(shim.stdout(&["exec", "service", "echo", "works"]), "works\n");
    // Its monitor is in the unit's cgroup, and neither ends with the unit.
    let monitors = shim.processes();
    assert!(!monitors.is_empty());
    unit.systemctl(&["stop"]);
    assert_eq!(unit.says("ActiveState"), "inactive");
    assert!(process.is_alive() && monitors.iter().all(integration::Process::is_alive));
    assert_eq!(shim.stdout(&["ps", "--format", "{{.Names}} {{.State}}"]), "service running\n");
}

/// A unit of this test's own, gone with the value.
struct Unit {
    name: String,
    _scratch: Scratch,
}

impl Unit {
    fn new(text: &str) -> Unit {
        let scratch = Scratch::new();
        let name = format!("{}boot.service", mark());
        let path = scratch.path().join(&name);
        fs::write(&path, text).unwrap();
        Call::of("systemd-analyze").args(["verify"]).args([&path]).output().expect_ok();
        Call::of("systemctl").args(["link", "--runtime"]).args([&path]).output().expect_ok();
        Unit { name, _scratch: scratch }
    }

    #[track_caller]
    fn systemctl(&self, words: &[&str]) {
        Call::of("systemctl").args(words).args([&self.name]).output().expect_ok();
    }

    #[track_caller]
    fn says(&self, property: &str) -> String {
        let output = Call::of("systemctl").args(["show", "--value", "-p", property, &self.name]).output();
        output.expect_ok().stdout.trim_end().to_owned()
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        Call::of("systemctl").args(["stop", &self.name]).output();
        Call::of("systemctl").args(["disable", "--runtime", &self.name]).output();
    }
}
