//! `ps`: the container's processes as the host's ps(1) shows them, or their ids as JSON.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::process::Command;

use integration::{
    Bundle, Container, Flavour, Process, flavour, known_gap, requires, running, uses_cgroup2, wait_for,
};

const ON_V1: &str = "this runtime uses cgroup v1 on a hybrid host";

/// Two processes of known names.
fn of_two() -> Container {
    let container = Bundle::new().sh("sleep 1000 & echo up; wait").container();
    container.run_detached().expect_ok();
    wait_for("two processes", || (container.ps().len() == 2).then_some(()));
    container
}

/// Whether the host's ps(1) is procps', whose options are used here; busybox has another.
fn has_procps() -> bool {
    let version = Command::new("ps").arg("--version").output();
    version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("procps"))
}

/// A process and its children, by /proc.
fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    std::iter::once(pid).chain(children.split_whitespace().map(|pid| pid.parse().unwrap())).collect()
}

#[test]
fn the_ids_are_those_of_the_host() {
    let container = of_two();
    let mut wanted = family(container.init_pid());
    wanted.sort_unstable();
    assert_eq!(container.ps(), wanted);
    let output = container.call("ps").args(["-f", "json", container.id()]).output().expect_ok();
    assert!(output.stdout.starts_with('['), "{output}");
}

#[test]
fn a_table_has_the_heading_of_ps_and_the_containers_processes_alone() {
    requires!(has_procps(), "no ps(1) of procps");
    known_gap!(Crun, "1.8.1 shows only ids");
    let container = of_two();
    let other = running(Bundle::new());
    let table = container.call("ps").args([container.id()]).output().expect_ok().expect_no_stderr().stdout;
    let mut lines = table.lines();
    let heading: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(heading[..3], ["UID", "PID", "PPID"], "{table}");
    let mut pids: Vec<u32> =
        lines.map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap()).collect();
    pids.sort_unstable();
    assert_eq!(pids, container.ps());
    assert!(!pids.contains(&other.init_pid()));
    assert!(table.contains("sleep 1000"), "{table}");
}

#[test]
fn options_are_those_of_ps() {
    requires!(has_procps(), "no ps(1) of procps");
    known_gap!(Crun, "1.8.1 takes none");
    let container = of_two();
    let ps = |options: &[&str]| {
        let output = container.call("ps").args([container.id()]).args(options).output();
        output.expect_ok().expect_no_stderr().stdout
    };
    for options in [&["-eo", "comm,pid"][..], &["-e", "-o", "comm,pid"]] {
        let words: Vec<Vec<String>> =
            ps(options).lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
        assert_eq!(words.len(), 3, "{words:?}");
        assert_eq!(words[0], ["COMMAND", "PID"]);
        let sleep = words.iter().find(|line| line[0] == "sleep").expect("the sleep");
        assert!(container.ps().contains(&sleep[1].parse().unwrap()));
    }
    assert!(ps(&["aux"]).starts_with("USER"));
    // A start time has blanks in it: runc takes one of its words for the process id.
    if flavour() == Flavour::Ours {
        assert_eq!(ps(&["-eo", "lstart,pid,comm"]).lines().count(), 3);
        assert_eq!(ps(&["-eo", "ppid,pid"]).lines().count(), 3);
    }
}

#[test]
fn what_ps_refuses_is_told_in_its_words() {
    requires!(has_procps(), "no ps(1) of procps");
    known_gap!(Crun, "1.8.1 takes no options");
    let container = of_two();
    let ps = |options: &[&str]| container.call("ps").args([container.id()]).args(options).output();
    ps(&["--no-such-option"]).expect_code(1).expect_stderr("unknown gnu long option");
    ps(&["-eo", "comm"]).expect_code(1).expect_stderr("PID");
}

#[test]
fn without_ps_there_is_a_clear_error_and_still_the_ids() {
    known_gap!(Crun, "1.8.1 does not use it");
    let container = of_two();
    let pathless = |format| {
        let call = container.call("ps").env("PATH", "/nowhere").args(["--format", format, container.id()]);
        call.output()
    };
    let output = pathless("table").expect_code(1).expect_stderr("PATH");
    if flavour() == Flavour::Ours {
        output.expect_stderr("ps(1) is not in PATH: install procps, or use --format json");
    }
    pathless("json").expect_ok();
}

#[test]
fn processes_in_nested_cgroups_are_the_containers_too() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Crun, "1.8.1 lists those of the cgroup itself alone");
    let container = of_two();
    let folder = container.init().cgroup_folder();
    let before = container.ps();
    fs::create_dir_all(folder.join("a/b")).unwrap();
    fs::write(folder.join("a/b/cgroup.procs"), before[1].to_string()).unwrap();
    assert_eq!(container.ps(), before);
}

#[test]
fn processes_of_threaded_cgroups_are_listed_by_the_one_above() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Runc, Crun, "these versions fail for a container with a threaded cgroup");
    let container = of_two();
    let folder = container.init().cgroup_folder();
    let before = container.ps();
    fs::create_dir(folder.join("threads")).unwrap();
    fs::write(folder.join("threads/cgroup.type"), "threaded").unwrap();
    fs::write(folder.join("threads/cgroup.threads"), before[1].to_string()).unwrap();
    let kind = fs::read_to_string(folder.join("cgroup.type")).unwrap();
    assert_eq!(kind, "domain threaded\n", "the ground of this test");
    assert_eq!(container.ps(), before);
}

#[test]
fn a_created_container_has_its_init_and_a_stopped_one_nobody() {
    let container = Bundle::new().sh("exit 0").container();
    container.create().expect_ok();
    assert_eq!(container.ps(), [container.init_pid()]);
    assert!(Process::new(container.init_pid()).is_alive());
    container.start().expect_ok();
    container.wait_status("stopped");
    known_gap!(Crun, "1.8.1 fails for a stopped container");
    assert_eq!(container.ps(), [0; 0]);
    if has_procps() {
        let table = container.call("ps").args([container.id()]).output().expect_ok();
        assert_eq!(table.stdout.lines().count(), 1, "{table}");
    }
    container.delete().expect_ok();
    let output = container.call("ps").args([container.id()]).output();
    output.expect_code(1).expect_runc_phrase("does not exist");
}

#[test]
fn an_unknown_format_is_refused() {
    let container = of_two();
    container.call("ps").args(["-f", "xml", container.id()]).output().expect_fail();
}
