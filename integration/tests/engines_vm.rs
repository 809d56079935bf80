//! Docker, Podman, containerd and Buildah with systemd's cgroup driver and every controller: what they limit, count and
//! watch, and where.
//!
//! Needs a machine of its own with systemd and the engines: `make test-vm FLAVOUR=engines`. (Everything else that
//! people do with an engine is in engine_docker.rs and its neighbours; Kubernetes is in cri.rs.)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::sync::{Mutex, MutexGuard, PoisonError};

use integration::engine::{Buildah, Client, Containerd, Docker, Podman, RootlessPodman, World, workloads};
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

const GREEDY_OPTIONS: [&str; 4] = ["--memory", "16m", "--memory-swap", "16m"];
const GREEDY: [&str; 5] = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"];

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
    const DRIVER: [&str; 3] = ["--live-restore", "--exec-opt", "native.cgroupdriver=systemd"];
    let _alone = machine!(Docker);
    let mut docker = Docker::start_in_machine(&DRIVER);
    docker
        .cli(&["info", "--format", "{{.CgroupDriver}} {{.CgroupVersion}}"])
        .expect_ok()
        .expect_stdout("systemd 2\n");
    limited(&docker, |id| format!("docker-{id}.scope"));

    // More than there is, for one of its processes: when the last one ends, systemd may remove the scope before
    // containerd has looked why.
    let greedy =
        docker.detached(&GREEDY_OPTIONS, &format!("{}; echo survived; exec sleep 600", GREEDY.join(" ")));
    docker.wait_logs(&greedy, "survived");
    docker.cli(&["kill", &greedy]).expect_ok();
    docker.cli(&["wait", &greedy]).expect_ok().expect_stdout("137\n");
    docker.wait_inspect(&greedy, ".State.OOMKilled", "true");
    docker.cli(&["rm", &greedy]).expect_ok();

    looked_into(&docker);
    stopped(&docker);

    // It asks by itself, through exec.
    workloads::health(&docker);

    // A daemon that was killed finds its containers again.
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

    // More than there is. Who survives keeps the scope until conmon, which may have stopped watching when the limit was
    // touched first, has looked once more.
    let script = format!("sleep 600 >/dev/null 2>&1 & exec {}", GREEDY.join(" "));
    let words =
        [&["run", "--name", "greedy", "--pid", "host"][..], &GREEDY_OPTIONS, &["box", "sh", "-c", &script]];
    podman.cli(&words.concat()).expect_code(137);
    podman.wait_inspect("greedy", ".State.OOMKilled", "true");
    podman.cli(&["rm", "greedy"]).expect_ok();

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

#[test]
fn containerd_with_systemds_driver() {
    let _alone = machine!(Containerd);
    let containerd = Containerd::start_in(World::machine());
    let name = format!("{}ctr", integration::mark());
    let cgroup = format!("system.slice:ctr:{name}");
    let options = ["--runc-systemd-cgroup", "--cgroup", &cgroup, "--memory-limit", "67108864"];
    let script = "trap 'exit 3' TERM; touch /tmp/begun; while :; do sleep 1 & wait $!; done";
    let running = containerd.run(&[&["--rm"][..], &options].concat(), &name, &["sh", "-c", script]).spawn();
    wait_for("a task", || containerd.status(&name).filter(|status| status == "RUNNING"));

    let list = containerd.ctr(&["task", "list"]).expect_ok().stdout;
    let line = list.lines().find(|line| line.starts_with(&name)).expect("a task");
    let process = Process::new(line.split_whitespace().nth(1).unwrap().parse().unwrap());
    let scope = format!("ctr-{name}.scope");
    assert_eq!(process.cgroup(), format!("/system.slice/{scope}"));
    assert_eq!(limits(process, ["memory.max"]), ["67108864"]);
    assert_eq!(systemd_says(&scope, "MemoryMax"), "67108864");
    let exec = containerd.exec(&[], &name, "until [ -e /tmp/begun ]; do sleep 0.1; done; exit 4");
    exec.output().expect_code(4);
    let metrics = containerd.ctr(&["task", "metrics", &name]).expect_ok();
    assert!(metrics.stdout.contains("pids.current"), "{metrics}");
    containerd.ctr(&["task", "pause", &name]).expect_ok();
    assert_eq!(limits(process, ["cgroup.freeze"]), ["1"]);
    containerd.ctr(&["task", "resume", &name]).expect_ok();
    containerd.ctr(&["task", "kill", &name]).expect_ok();
    running.wait().expect_code(3);
    wait_for("the end of the scope", || (systemd_says(&scope, "LoadState") == "not-found").then_some(()));
}

#[test]
fn buildah_with_systemds_driver() {
    let _alone = machine!(Buildah);
    let buildah = Buildah::start_in(World::machine());
    // Buildah itself knows no driver: it hands the flag on.
    let driver = ["--runtime-flag", "systemd-cgroup"];
    let file = "FROM box\nRUN cat /sys/fs/cgroup/memory.max >/made; cat /proc/self/cgroup >>/made\n";
    buildah.world().write("/run/context/Containerfile", file);
    let options = [&["bud"], &driver[..], &["--memory", "64m", "--tag", "built", "/run/context"]].concat();
    buildah.buildah(&options).expect_ok();
    let container = buildah.buildah(&["from", "built"]).expect_ok().stdout.trim().to_owned();
    let run = |script: &str| {
        buildah.buildah(
            &[&["run"], &driver[..], &["--cgroupns", "host", &container, "sh", "-c", script]].concat(),
        )
    };
    run("cat /made").expect_ok().expect_stdout("67108864\n0::/\n");
    let seen = run("cat /proc/self/cgroup; exit 7").expect_code(7);
    let cgroup = seen.stdout.trim_end();
    assert!(cgroup.starts_with("0::/system.slice/") && cgroup.ends_with(".scope"), "{seen}");
    let scope = cgroup.rsplit('/').next().unwrap();
    wait_for("the end of the scope", || (systemd_says(scope, "LoadState") == "not-found").then_some(()));
}

#[test]
fn rootless_podman_with_the_users_manager() {
    let _alone = machine!(RootlessPodman);
    let podman = RootlessPodman::start_in_machine();
    let info = podman.cli(&["info", "--format", "{{.Host.CgroupManager}} {{.Host.Security.Rootless}}"]);
    info.expect_ok().expect_stdout("systemd true\n");
    let options = ["--memory", "64m", "--memory-swap", "64m", "--cpus", "0.5", "--pids-limit", "77"];
    let name = podman.detached(&options, workloads::POLITE);
    podman.wait_logs(&name, "begun");
    let (scope, process) = (format!("libpod-{}.scope", podman.inspect(&name, ".Id")), init(&podman, &name));
    let cgroup = process.cgroup();
    assert!(cgroup.starts_with("/user.slice/user-1000.slice/user@1000.service/"), "{cgroup}");
    assert!(cgroup.ends_with(&scope), "{cgroup}");
    let files = ["memory.max", "memory.swap.max", "cpu.max", "pids.max"];
    assert_eq!(limits(process, files), ["67108864", "0", "50000 100000", "77"]);
    let asked = ["systemctl", "--user", "show", "--value", "-p", "MemoryMax", &scope];
    podman.as_user(&asked).output().expect_ok().expect_stdout("67108864\n");
    podman.cli(&["exec", &name, "sh", "-c", "id -u; exit 4"]).expect_code(4).expect_stdout("0\n");
    podman.cli(&["stop", "--time", "50", &name]).expect_ok();
    assert_eq!(podman.inspect(&name, ".State.ExitCode"), "3");
    podman.cli(&["rm", &name]).expect_ok();
    assert!(!process.is_alive());
    podman.expect_empty();
}
