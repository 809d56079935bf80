//! Docker and Podman with systemd's cgroup driver and every controller: what they limit, count and watch, and where.
//!
//! Needs a machine of its own with systemd and the engines: `make test-vm FLAVOUR=engines`. (Everything else that
//! people do with an engine is in engine_docker.rs and engine_podman.rs.)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::sync::{Mutex, MutexGuard, PoisonError};

use integration::engine::{Client, Docker, Podman, World, workloads};
use integration::{Call, Process, wait_for};

/// Leaves the test as skipped where the machine is not ours; else it is ours alone.
macro_rules! machine {
    ($engine:ident) => {{
        if let Some(obstacle) = World::machine_obstacle() {
            integration::skip!("{obstacle}");
        }
        if let Some(obstacle) = $engine::obstacle() {
            integration::skip!("{obstacle}");
        }
        alone()
    }};
}

fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[track_caller]
fn systemd_says(unit: &str, property: &str) -> String {
    let output = Call::of("systemctl").args(["show", "--value", "-p", property, unit]).output();
    output.expect_ok().stdout.trim_end().to_owned()
}

/// The init of a container, as the host counts.
#[track_caller]
fn init(engine: &impl Client, name: &str) -> Process {
    Process::new(engine.inspect(name, ".State.Pid").parse().unwrap())
}

#[track_caller]
fn limits<const N: usize>(process: Process, files: [&str; N]) -> [String; N] {
    files.map(|file| process.cgroup_file(file).trim_end().to_owned())
}

/// Without the ten seconds that Podman gives to who does not listen.
#[track_caller]
fn removed(engine: &impl Client, name: &str) {
    engine.cli(&["kill", name]).expect_ok();
    engine.cli(&["rm", "--force", name]).expect_ok();
}

/// Limits as files and as properties of the scope, at first, after `update`, and after systemd has read its files again.
#[track_caller]
fn limited(engine: &impl Client, unit: impl Fn(&str) -> String) {
    let options = ["--memory", "64m", "--memory-swap", "64m", "--cpus", "0.5", "--pids-limit", "77"];
    let name = engine.detached(&options, "while :; do :; done");
    let (scope, process) = (unit(&engine.inspect(&name, ".Id")), init(engine, &name));
    assert!(process.cgroup().ends_with(&format!("/{scope}")), "{} {scope}", process.cgroup());
    let files = ["memory.max", "memory.swap.max", "cpu.max", "pids.max"];
    assert_eq!(limits(process, files), ["67108864", "0", "50000 100000", "77"]);
    let properties = ["MemoryMax", "CPUQuotaPerSecUSec", "TasksMax"];
    assert_eq!(properties.map(|name| systemd_says(&scope, name)), ["67108864", "500ms", "77"]);

    // The engine's own figures.
    let stats = |format: &str| {
        engine.cli(&["stats", "--no-stream", "--format", format, &name]).expect_ok().stdout.trim().to_owned()
    };
    wait_for("time used", || {
        let percent: f64 = stats("{{.CPUPerc}}").trim_end_matches('%').parse().unwrap();
        (percent > 1.0).then_some(())
    });
    let memory = stats("{{.MemUsage}} {{.PIDs}}");
    assert!(memory.contains("/ 6") && !memory.starts_with("0B") && memory.ends_with(" 1"), "{memory}");

    engine.cli(&["update", "--memory", "96m", "--memory-swap", "96m", "--cpus", "1.5", &name]).expect_ok();
    assert_eq!(limits(process, files), ["100663296", "0", "150000 100000", "77"]);
    Call::of("systemctl").args(["daemon-reload"]).output().expect_ok();
    assert_eq!(limits(process, files), ["100663296", "0", "150000 100000", "77"]);
    assert_eq!(properties.map(|name| systemd_says(&scope, name)), ["100663296", "1.500000s", "77"]);
    let folder = process.cgroup_folder();
    removed(engine, &name);
    wait_for("the end of the scope", || {
        (!folder.exists() && systemd_says(&scope, "LoadState") == "not-found").then_some(())
    });

    // More than there is, for one of its processes: when the last one ends, systemd may remove the scope before the
    // engine has looked why.
    let script = "dd if=/dev/zero of=/dev/null bs=64M count=1; echo survived; exec sleep 600";
    let greedy = engine.detached(&["--memory", "16m", "--memory-swap", "16m"], script);
    engine.wait_logs(&greedy, "survived");
    engine.cli(&["kill", &greedy]).expect_ok();
    engine.cli(&["wait", &greedy]).expect_ok().expect_stdout("137\n");
    engine.wait_inspect(&greedy, ".State.OOMKilled", "true");
    engine.cli(&["rm", &greedy]).expect_ok();
}

/// exec, with and without a terminal, top, and a health check that fails and recovers.
#[track_caller]
fn looked_into(engine: &impl Client) {
    let name = engine.detached(&["--init", "--user", "1000"], "exec sleep 600");
    let exec = ["exec", &name, "sh", "-c", "id -u; cat /proc/1/comm; cat /proc/self/cgroup; exit 5"];
    let output = engine.cli(&exec).expect_code(5);
    assert_eq!(output.stdout, format!("1000\n{}\n0::/\n", engine_init(&output.command)), "{output}");
    let missing = engine.cli(&["exec", &name, "no-such-program"]);
    assert!(matches!(missing.code(), 126 | 127), "{missing}");
    let (mut terminal, other) = integration::Terminal::pair();
    let running = engine.call(&["exec", "-it", "--user", "0", &name, "sh"]).on_terminal(other).spawn();
    terminal.send("test -t 0 && echo on a ter''minal of $(id -u); exit 4\n");
    terminal.read_until("on a terminal of 0");
    running.wait().expect_code(4);
    let top = engine.cli(&["top", &name]).expect_ok();
    assert!(top.stdout.contains("sleep 600"), "{top}");
    removed(engine, &name);
}

/// Paused, resumed, asked to end, started again and killed.
#[track_caller]
fn stopped(engine: &impl Client) {
    let name = engine.detached(&[], workloads::POLITE);
    engine.wait_logs(&name, "begun");
    engine.cli(&["pause", &name]).expect_ok();
    assert_eq!(init(engine, &name).cgroup_file("cgroup.freeze"), "1");
    engine.cli(&["unpause", &name]).expect_ok();
    engine.cli(&["stop", "--time", "50", &name]).expect_ok();
    assert_eq!(engine.inspect(&name, ".State.ExitCode"), "3");
    engine.cli(&["start", &name]).expect_ok();
    engine.cli(&["kill", &name]).expect_ok();
    engine.cli(&["wait", &name]).expect_ok().expect_stdout("137\n");
    engine.cli(&["rm", &name]).expect_ok();
}

fn engine_init(command: &str) -> &'static str {
    if command.contains("podman") { "podman-init" } else { "docker-init" }
}

#[test]
fn docker_with_systemds_driver() {
    let _alone = machine!(Docker);
    let mut docker = Docker::start_in(World::machine(), &["--exec-opt", "native.cgroupdriver=systemd"]);
    docker
        .cli(&["info", "--format", "{{.CgroupDriver}} {{.CgroupVersion}}"])
        .expect_ok()
        .expect_stdout("systemd 2\n");
    limited(&docker, |id| format!("docker-{id}.scope"));
    looked_into(&docker);
    stopped(&docker);

    // It asks by itself, through exec.
    workloads::health(&docker);

    // A daemon that was killed finds its containers again.
    let docker_options = ["--exec-opt", "native.cgroupdriver=systemd", "--live-restore"];
    docker.murder();
    docker.restart_with(&docker_options);
    let name = docker.detached(&["--memory", "64m"], workloads::POLITE);
    docker.wait_logs(&name, "begun");
    let process = init(&docker, &name);
    docker.murder();
    assert!(process.is_alive());
    docker.restart();
    assert_eq!(docker.inspect(&name, ".State.Status"), "running");
    docker.cli(&["exec", &name, "true"]).expect_ok();
    docker.cli(&["stop", &name]).expect_ok();
    assert_eq!(docker.inspect(&name, ".State.ExitCode"), "3");
    docker.cli(&["rm", &name]).expect_ok();
}

#[test]
fn podman_with_systemds_driver() {
    let _alone = machine!(Podman);
    let podman = Podman::start_in(World::machine());
    let info = podman.cli(&["info", "--format", "{{.Host.CgroupManager}} {{.Host.OCIRuntime.Name}}"]);
    info.expect_ok().expect_stdout("systemd caisson\n");
    limited(&podman, |id| format!("libpod-{id}.scope"));
    looked_into(&podman);
    stopped(&podman);

    // Timers of systemd ask, through exec.
    workloads::health(&podman);

    // A pod of two containers, whose slice limits both.
    podman.cli(&["pod", "create", "--name", "pod", "--memory", "64m"]).expect_ok();
    let first = podman.detached(&["--pod", "pod"], "exec sleep 601");
    let second = podman.detached(&["--pod", "pod"], "exec sleep 602");
    let both = [init(&podman, &first), init(&podman, &second)];
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(both[0].namespace(kind), both[1].namespace(kind), "{kind}");
    }
    let slice = both[0].cgroup_folder().parent().unwrap().to_owned();
    assert_eq!(both[1].cgroup_folder().parent(), Some(slice.as_path()));
    assert_eq!(std::fs::read_to_string(slice.join("memory.max")).unwrap(), "67108864\n");
    podman.cli(&["pod", "rm", "--force", "--time", "0", "pod"]).expect_ok();
    podman.expect_empty();
}
