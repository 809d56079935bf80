//! Operations in the wrong state, on what is not there, and on what is broken: exit codes, the phrases that
//! callers search for, and that a refused operation changes nothing. (runtime-spec, runtime.md "Operations".)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;

use integration::{Bundle, Container, cgroup2_mount, created, json, known_gap, requires, running, wait_for};

/// Its program has run to its end.
fn stopped() -> Container {
    let container = created(Bundle::new());
    container.start().expect_ok();
    container.wait_status("stopped");
    container
}

/// Folders of containers below the root.
fn kept(container: &Container) -> Vec<String> {
    let entries = fs::read_dir(container.state_root()).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_stopped_container_is_not_started_again() {
    let container = stopped();
    container.start().expect_code(1).expect_runc_phrase("cannot start a container that has stopped");
    assert_eq!(container.status(), "stopped");
}

#[test]
fn a_running_container_is_not_started_again_and_says_why() {
    let container = running(Bundle::new());
    let pid = container.init_pid();
    container.start().expect_code(1).expect_runc_phrase("cannot start an already running container");
    assert_eq!((container.status().as_str(), container.init_pid()), ("running", pid));
}

#[test]
fn run_with_an_id_in_use_changes_nothing() {
    let container = running(Bundle::new());
    let pid = container.init_pid();
    let same = container.sibling().with_id(container.id());
    for options in [&[][..], &["--detach"]] {
        same.run_with(options).expect_code(1).expect_runc_phrase("container with given ID already exists");
    }
    assert_eq!((container.status().as_str(), container.init_pid()), ("running", pid));
    assert!(container.init().is_alive());
}

#[test]
fn an_id_of_a_stopped_container_is_still_in_use() {
    let container = stopped();
    let same = container.sibling().with_id(container.id());
    same.create().expect_code(1).expect_runc_phrase("container with given ID already exists");
    assert_eq!(container.status(), "stopped");
}

#[test]
fn an_id_is_free_again_after_delete() {
    let container = stopped();
    container.delete().expect_ok();
    container.create().expect_ok();
    assert_eq!(container.status(), "created");
}

#[test]
fn a_created_container_is_deleted_without_force() {
    let container = created(Bundle::new().sleeping());
    known_gap!(Crun, "1.8.1 wants --force for a created container");
    let init = container.init();
    container.delete().expect_ok().expect_no_stderr();
    assert!(!init.is_alive());
    container.state_output().expect_code(1).expect_runc_phrase("does not exist");
    assert_eq!(kept(&container), [""; 0]);
}

#[test]
fn a_created_container_is_deleted_by_force() {
    let container = created(Bundle::new().sleeping());
    let init = container.init();
    container.delete_force().expect_ok().expect_no_stderr();
    assert!(!init.is_alive());
    assert_eq!(kept(&container), [""; 0]);
}

#[test]
fn a_running_container_is_not_deleted_and_says_why() {
    let container = running(Bundle::new());
    let phrase = format!("cannot delete container {} that is not stopped: running", container.id());
    container.delete().expect_code(1).expect_runc_phrase(&phrase);
    assert!(container.init().is_alive());
}

#[test]
fn kill_reaches_a_created_container() {
    let container = created(Bundle::new().sleeping());
    let init = container.init();
    container.kill("KILL").expect_ok().expect_no_stderr();
    wait_for("the end of init", || (!init.is_alive()).then_some(()));
    container.wait_status("stopped");
    container.start().expect_code(1).expect_runc_phrase("cannot start a container that has stopped");
    container.delete().expect_ok();
}

#[test]
fn a_stopped_container_gets_no_signal_by_any_name() {
    let container = stopped();
    for signal in ["KILL", "TERM", "9", "0"] {
        container.kill(signal).expect_fail().expect_runc_phrase("container not running");
    }
}

#[test]
fn kill_all_of_a_stopped_container_succeeds() {
    let container = stopped();
    known_gap!(Runc, "1.1.5 says `container not running`; it has been a success since 1.2");
    for flag in ["--all", "-a", "-all"] {
        container.call("kill").args([flag, container.id(), "KILL"]).output().expect_ok().expect_no_stderr();
    }
}

#[test]
fn kill_all_reaches_every_process() {
    let bundle = Bundle::new().sh("sleep 1000 & sleep 1000 & echo ready; wait").remove_namespace("pid");
    let container = created(bundle);
    container.start().expect_ok();
    container.wait_stdout("ready");
    let pids = wait_for("three processes in the container", || {
        let pids = family(container.init_pid());
        (pids.len() == 3).then_some(pids)
    });
    container.call("kill").args(["--all", container.id(), "KILL"]).output().expect_ok();
    for pid in pids {
        wait_for("the end of every process", || (!integration::Process::new(pid).is_alive()).then_some(()));
    }
}

/// A process and its children.
fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    std::iter::once(pid).chain(children.split_whitespace().map(|pid| pid.parse().unwrap())).collect()
}

#[test]
fn a_signal_that_does_not_exist_is_named() {
    known_gap!(Crun, "1.8.1 ignores a signal it does not know, and succeeds");
    let container = running(Bundle::new());
    for signal in ["NOSUCH", "SIGNOSUCH", "SIG", "-9", "65", "1000", "9x", "SIGRTMAX+1"] {
        let output = container.kill(signal).expect_code(1);
        if integration::flavour() == integration::Flavour::Ours || !signal.starts_with(['6', '1']) {
            output.expect_runc_phrase("unknown signal");
        }
    }
    assert!(container.init().is_alive());
}

#[test]
fn realtime_signals_are_known_by_name_and_number() {
    known_gap!(Runc, "knows no names of realtime signals");
    known_gap!(Crun, "1.8.1 knows them under other numbers");
    let script = "trap 'echo got36' 36; trap 'echo got62' 62; echo ready; while :; do sleep 0.1; done";
    let container = created(Bundle::new().sh(script));
    container.start().expect_ok();
    container.wait_stdout("ready");
    for (signal, shown) in [("RTMIN+2", "got36"), ("SIGRTMAX-2", "got62"), ("36", "got36"), ("62", "got62")] {
        let before = container.stdout().matches(shown).count();
        container.kill(signal).expect_ok();
        wait_for(shown, || (container.stdout().matches(shown).count() > before).then_some(()));
    }
}

#[test]
fn kill_without_a_signal_sends_sigterm() {
    let script = "trap 'echo got; exit 0' TERM; echo ready; while :; do sleep 0.1; done";
    let container = created(Bundle::new().sh(script));
    container.start().expect_ok();
    container.wait_stdout("ready");
    container.call("kill").args([container.id()]).output().expect_ok();
    container.wait_stdout("got");
}

#[test]
fn signal_zero_only_asks_whether_it_runs() {
    let container = running(Bundle::new());
    known_gap!(Crun, "1.8.1 takes it for no signal");
    container.kill("0").expect_ok();
    assert_eq!(container.status(), "running");
}

#[test]
fn every_verb_refuses_an_id_outside_the_grammar() {
    // Never of another runtime: one that takes `..` for a container deletes what is above its root.
    known_gap!(Crun, "1.8.1 checks ids less");
    known_gap!(Runc, "not to be tried");
    let container = Bundle::new().container();
    for id in ["../up", "a/b", ".", "..", "a b", "x\n", "ü", ""] {
        for verb in ["state", "start", "kill", "delete"] {
            let output = container.call(verb).args([id]).output();
            assert_eq!(output.status.code(), Some(1), "{verb} {id:?}: {output}");
        }
    }
}

#[test]
fn an_invalid_id_is_named_in_the_words_of_runc() {
    known_gap!(Crun, "1.8.1 checks ids less");
    let container = Bundle::new().container().with_id("not/valid");
    container.create().expect_fail().expect_runc_phrase("invalid container ID format");
}

#[test]
fn a_missing_bundle_is_an_error_that_names_it() {
    let container = Bundle::new().container();
    let missing = container.bundle().scratch_file("no-bundle");
    for verb in ["create", "run"] {
        let output = container.call(verb).args(["--bundle", &missing, container.id()]).output();
        output.expect_fail().expect_stderr("no-bundle").expect_stderr("o such file or directory");
    }
    assert_eq!(kept(&container), [""; 0]);
}

#[test]
fn a_missing_configuration_is_told_in_the_words_of_runc() {
    let container = Bundle::new().container_without_config();
    container.create().expect_code(1).expect_runc_phrase("JSON specification file config.json not found");
    assert_eq!(kept(&container), [""; 0]);
}

#[test]
fn a_configuration_that_is_no_json_is_refused() {
    let ours = integration::flavour() == integration::Flavour::Ours;
    for content in [
        "",
        "{",
        "null",
        "[]",
        "42",
        "{}",
        "{\"ociVersion\":\"1.0.2\"",
        "{\"ociVersion\":\"1.0.2\"} x",
        "\0\0",
    ] {
        // Runc 1.1.5 and crun 1.8.1 stumble over these only later, or stop reading after the first value.
        if !ours && (["null", "{}"].contains(&content) || content.ends_with(" x")) {
            continue;
        }
        let container = Bundle::new().container_of_raw(content.as_bytes());
        container.create().expect_fail();
        assert_eq!(kept(&container), [""; 0], "{content:?}");
    }
}

#[test]
fn a_field_of_a_wrong_type_is_named_with_its_path() {
    known_gap!(Crun, "1.8.1 prints `unmarshal` errors without a path");
    for (pointer, value, field) in [
        ("/process/args", json!("sh"), "process.args"),
        ("/process/env", json!([1]), "process.env"),
        ("/process/user/uid", json!(-1), "process.user.uid"),
        ("/process/user/uid", json!("root"), "process.user.uid"),
        ("/process/oomScoreAdj", json!(1.5), "process.oomScoreAdj"),
        ("/process/terminal", json!("yes"), "process.terminal"),
        ("/root", json!("rootfs"), "root"),
        ("/mounts", json!({}), "mounts"),
        ("/linux/namespaces", json!(["pid"]), "linux.namespaces"),
        ("/linux/resources/memory/limit", json!("1G"), "linux.resources.memory.limit"),
        ("/hostname", json!(5), "hostname"),
    ] {
        let container = Bundle::new().set(pointer, value.clone()).container();
        container.create().expect_code(1).expect_stderr(field);
        assert_eq!(kept(&container), [""; 0], "{pointer} = {value}");
    }
}

#[test]
fn a_value_out_of_its_range_is_named_with_its_path() {
    known_gap!(Runc, "1.1.5 checks less, and names no paths");
    known_gap!(Crun, "1.8.1 checks less, and names no paths");
    let unknown = json!([{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}]);
    for (pointer, value, field) in [
        ("/ociVersion", json!("2.0.0"), "ociVersion"),
        ("/ociVersion", json!(""), "ociVersion"),
        ("/process/args", json!([]), "process.args"),
        ("/process/cwd", json!("relative"), "process.cwd"),
        ("/process/cwd", json!(""), "process.cwd"),
        ("/process/oomScoreAdj", json!(2000), "process.oomScoreAdj"),
        ("/root/path", json!(""), "root.path"),
        ("/linux/namespaces/0/type", json!("nonsense"), "linux.namespaces[0].type"),
        ("/process/rlimits", unknown, "process.rlimits[0].type"),
    ] {
        let container = Bundle::new().set(pointer, value.clone()).container();
        container.create().expect_code(1).expect_stderr(field);
        assert_eq!(kept(&container), [""; 0], "{pointer} = {value}");
    }
}

#[test]
fn a_root_that_is_missing_is_an_error_that_names_it() {
    let container = Bundle::new().set("/root/path", json!("no-such-root")).container();
    container.create().expect_fail().expect_stderr("no-such-root").expect_stderr("o such file or directory");
    assert_eq!(kept(&container), [""; 0]);
}

#[test]
fn a_configuration_that_is_a_pipe_does_not_hang_the_runtime() {
    known_gap!(Runc, "reads from whatever config.json is");
    known_gap!(Crun, "reads from whatever config.json is");
    let container = Bundle::new().container_without_config();
    let path = container.bundle().path().join("config.json");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    container.create().expect_code(1).expect_stderr("not a regular file");
}

#[test]
fn a_frozen_container_is_paused_and_deleted_by_force() {
    requires!(cgroup2_mount().is_some(), "no cgroup v2");
    known_gap!(Runc, "1.1.5 uses cgroup v1 on a hybrid host");
    known_gap!(Crun, "1.8.1 uses cgroup v1 on a hybrid host");
    let container = running(Bundle::new());
    let init = container.init();
    fs::write(init.cgroup_folder().join("cgroup.freeze"), "1").unwrap();
    assert_eq!(container.status(), "paused");
    let phrase = format!("cannot delete container {} that is not stopped: paused", container.id());
    container.delete().expect_code(1).expect_stderr(&phrase);
    container.delete_force().expect_ok().expect_no_stderr();
    assert!(!init.is_alive());
    assert_eq!(kept(&container), [""; 0]);
}

#[test]
fn sigkill_ends_a_frozen_container() {
    requires!(cgroup2_mount().is_some(), "no cgroup v2");
    known_gap!(Runc, "1.1.5 uses cgroup v1 on a hybrid host");
    known_gap!(Crun, "1.8.1 uses cgroup v1 on a hybrid host");
    let container = running(Bundle::new());
    fs::write(container.init().cgroup_folder().join("cgroup.freeze"), "1").unwrap();
    container.kill("KILL").expect_ok();
    container.wait_status("stopped");
    container.delete().expect_ok();
}

#[test]
fn a_container_whose_init_was_killed_from_outside_is_stopped() {
    let container = running(Bundle::new());
    let pid = i32::try_from(container.init_pid()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    container.wait_status("stopped");
    let state = container.state();
    assert_eq!(state["pid"], 0, "{state}");
    container.delete().expect_ok();
}

#[test]
fn a_folder_without_a_record_is_stale_and_deleted_by_force() {
    known_gap!(Runc, "a folder without state.json does not exist for runc 1.1.5");
    known_gap!(Crun, "1.8.1 does not tell such a folder from a missing one");
    let container = running(Bundle::new());
    let stale = container.state_root().join("stale-one");
    fs::create_dir(&stale).unwrap();
    fs::write(stale.join("state.json"), "{\"half\":").unwrap();
    for verb in ["state", "start", "kill", "delete"] {
        container.call(verb).args(["stale-one"]).output().expect_code(1).expect_stderr("stale");
    }
    let list = container.call("list").args(["-q"]).output().expect_ok();
    assert_eq!(list.stdout, format!("{}\n", container.id()));
    container.call("delete").args(["--force", "stale-one"]).output().expect_ok();
    assert!(!stale.exists());
    assert_eq!(container.status(), "running");
}

#[test]
fn the_status_is_creating_while_a_hook_runs() {
    let ours = integration::flavour() == integration::Flavour::Ours;
    for (verb, kind) in [("create", "createRuntime"), ("create", "createContainer"), ("run", "createRuntime")]
    {
        let bundle = Bundle::new().sleeping();
        let (entered, leave) = (bundle.scratch_file("entered"), bundle.scratch_file("leave"));
        let script = format!(
            "cat >{entered}.new; mv {entered}.new {entered}; until test -e {leave}; do sleep 0.05; done"
        );
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]);
        let container = bundle.set(&format!("/hooks/{kind}"), hook).container();
        let options: &[&str] = if verb == "run" { &["--detach"] } else { &[] };
        let folder = container.bundle().scratch().to_owned();
        let call = container.birth(verb, options).output_in(&folder).spawn();
        wait_for("the hook", || fs::exists(&entered).unwrap().then_some(()));
        // Runc 1.1.5 has no state to show yet, and neither it nor crun tells the hook `creating` in `run`.
        if ours {
            assert_eq!(container.status(), "creating", "{verb}, {kind}");
            let given: integration::Value = serde_json::from_slice(&fs::read(&entered).unwrap()).unwrap();
            assert_eq!(given["status"], "creating", "{given}");
            container.start().expect_code(1).expect_stderr("creating");
            container.delete().expect_code(1).expect_stderr("not stopped: creating");
        }
        fs::write(&leave, "").unwrap();
        call.wait().expect_ok();
        container.wait_status(if verb == "run" { "running" } else { "created" });
        container.delete_force().expect_ok();
    }
}

#[test]
fn a_create_that_is_killed_leaves_what_delete_force_removes() {
    known_gap!(Runc, "leaves its init behind");
    known_gap!(Crun, "leaves its init behind");
    let bundle = Bundle::new().sleeping();
    let (entered, leave) = (bundle.scratch_file("entered"), bundle.scratch_file("leave"));
    let script = format!("echo $$ >{entered}; until test -e {leave}; do sleep 0.05; done");
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]);
    let container = bundle.set("/hooks/createRuntime", hook).container();
    let folder = container.bundle().scratch().to_owned();
    let call = container.birth("create", &[]).output_in(&folder).spawn();
    let hook = wait_for("the hook", || fs::read_to_string(&entered).ok()?.trim().parse().ok());
    call.signal(rustix::process::Signal::KILL);
    assert_eq!(call.wait().code(), 128 + 9);
    container.delete_force().expect_ok();
    assert_eq!(kept(&container), [""; 0]);
    // The hook is nobody's child now, and not the container's.
    fs::write(&leave, "").unwrap();
    wait_for("the end of the hook", || (!integration::Process::new(hook).is_alive()).then_some(()));
}
