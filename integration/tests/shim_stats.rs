//! Live figures: in docker's columns, and the kernel's.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::{
    Controllers, Shim, Terminal, Value, cgroup2_mount, has_controller, is_root, requires, uses_cgroup2,
};

const ROOT: &str = "containers need root";

/// Figures of one moment, as JSON.
#[track_caller]
fn figures(shim: &Shim, words: &[&str]) -> Vec<Value> {
    let text = shim.stdout(&[&["stats", "--no-stream", "--format", "json"], words].concat());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn percent(value: &Value) -> f64 {
    value.as_str().unwrap().trim_end_matches('%').parse().unwrap()
}

#[test]
fn figures_are_told_in_dockers_columns() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let id = shim.detached(&["--name", "busy", "busybox", "sh", "-c", "while :; do :; done"]);
    shim.detached(&["--name", "idle", "busybox", "sleep", "1000"]);
    shim.stdout(&["create", "--name", "down", "busybox", "true"]);
    let table = shim.stdout(&["stats", "--no-stream"]);
    let titles: Vec<&str> =
        table.lines().next().unwrap().split("  ").map(str::trim).filter(|title| !title.is_empty()).collect();
    let expected =
        ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"];
    assert_eq!(titles, expected);
    assert_eq!(table.lines().count(), 3, "{table}");
    let all = figures(&shim, &[]);
    let names: Vec<&str> = all.iter().map(|one| one["Name"].as_str().unwrap()).collect();
    assert_eq!(names, ["idle", "busy"], "the latest first");
    let (idle, busy) = (&all[0], &all[1]);
    assert_eq!((busy["ID"].as_str(), busy["Container"].as_str()), (Some(&id[..12]), Some(&id[..12])));
    if cgroup2_mount().is_some() {
        // Without any controller the kernel counts time in cgroups.
        assert!(percent(&busy["CPUPerc"]) > 5.0, "{busy}");
    }
    assert!(percent(&idle["CPUPerc"]) < 5.0, "{idle}");
    assert_eq!(idle["NetIO"], "0B / 0B");
    if !has_controller("memory") {
        assert_eq!((idle["MemUsage"].as_str(), idle["MemPerc"].as_str()), (Some("0B / 0B"), Some("0.00%")));
    }
    // By name, also of what does not run; and all of them.
    let named = figures(&shim, &["--no-trunc", "down", "busy"]);
    assert_eq!((named[0]["Container"].as_str(), named[0]["CPUPerc"].as_str()), (Some("down"), Some("0.00%")));
    assert_eq!((named[0]["MemUsage"].as_str(), named[0]["PIDs"].as_str()), (Some("0B / 0B"), Some("0")));
    assert_eq!(named[1]["ID"].as_str(), Some(id.as_str()));
    assert_eq!(figures(&shim, &["--all"]).len(), 3);
    let format = "table {{.Name}}\\t{{.PIDs}}";
    let table = shim.stdout(&["container", "stats", "--no-stream", "--format", format, "idle"]);
    assert!(table.starts_with("NAME      PIDS\nidle      "), "{table}");
    shim.cli(&["stats", "nobody"]).expect_code(1).expect_stderr("No such container: nobody");
    shim.cli(&["stats", "--no-stream", "--format", "{{.Foo}}", "idle"])
        .expect_code(1)
        .expect_stderr("can't evaluate field Foo");
}

#[test]
fn a_terminal_is_written_anew_each_time() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    shim.detached(&["--name", "box", "busybox", "sleep", "1000"]);
    let (mut terminal, other) = Terminal::pair();
    let mut running = shim.call(&["stats", "box"]).on_terminal(other).spawn();
    let first = terminal.read_until("\x1b[J");
    assert!(first.contains("\x1b[2J\x1b[HCONTAINER ID") && first.contains("box"), "{first:?}");
    let both = terminal.read_until("\x1b[J\x1b[H");
    assert_eq!(both.matches("\x1b[2J").count(), 1, "{both:?}");
    running.expect_alive();
    // Whoever it tells of is gone: nothing is left to be told.
    shim.stdout(&["rm", "-f", "box"]);
    terminal.read_to_end();
    running.wait().expect_ok();
}

#[test]
fn memory_processes_and_limits_are_the_kernels() {
    requires!(is_root(), "{ROOT}");
    requires!(
        has_controller("memory") && has_controller("pids"),
        "no memory and pids controller on cgroup v2"
    );
    requires!(uses_cgroup2(), "this runtime uses cgroup v1 on a hybrid host");
    let _controllers = Controllers::keep();
    let shim = Shim::with_busybox();
    let program = "dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2>/dev/null; dd if=/dev/zero of=/file bs=1M count=20 2>/dev/null; \
        sleep 1000 & sleep 1000 & echo ready; wait";
    let id = shim.detached(&["--name", "box", "--memory", "100m", "busybox", "sh", "-c", program]);
    integration::wait_for("the program", || shim.stdout(&["logs", "box"]).contains("ready").then_some(()));
    let told = &figures(&shim, &["box"])[0];
    let (usage, limit) = told["MemUsage"].as_str().unwrap().split_once(" / ").unwrap();
    assert_eq!(limit, "100MiB");
    let usage: f64 = usage.trim_end_matches("MiB").parse().unwrap_or_else(|_| panic!("{told}"));
    // Docker's figure: all but the file pages that the kernel calls inactive. Shared memory is none of those; which pages of a
    // file are, is the kernel's affair.
    let cgroup = shim.recorded_state(&id)["cgroup"].as_str().unwrap().trim_start_matches('/').to_owned();
    let file =
        |name: &str| std::fs::read_to_string(cgroup2_mount().unwrap().join(&cgroup).join(name)).unwrap();
    let mebibytes = |text: &str| text.trim().parse::<f64>().unwrap() / f64::from(1 << 20);
    let stat = file("memory.stat");
    let inactive = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")).unwrap();
    let wanted = mebibytes(&file("memory.current")) - mebibytes(inactive);
    assert!(usage >= 20.0 && (usage - wanted).abs() < 2.0, "{told}, wanted {wanted}");
    assert!((percent(&told["MemPerc"]) - usage).abs() < 1.0, "{told}");
    assert_eq!(told["PIDs"], "3");
}
