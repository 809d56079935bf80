//! `exec`: where the new process is - namespaces, root, cgroup, filter, terminal - seen from inside and from outside.
//! (runc-exec(8); setns(2), clone3(2), cgroup-v2.rst "No Internal Process Constraint".)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::os::unix::fs::MetadataExt;

use integration::{
    Bundle, Call, ConsoleSocket, Container, Flavour, Process, Terminal, asleep, cgroup2_mount, flavour,
    has_controller, json, kernel_has, known_gap, requires, runtime_under_test, uses_cgroup2, wait_for,
};

const KINDS: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
const SLEEP: [&str; 2] = ["sleep", "500"];
const ON_V1: &str = "this runtime uses cgroup v1 on a hybrid host";

/// A process that `exec` has added, beside its container's init.
fn added(bundle: Bundle) -> (Container, Process, Process) {
    let (container, init) = asleep(bundle);
    let process = container.exec_detached(&[], &SLEEP);
    (container, init, process)
}

#[track_caller]
fn expect_same_namespaces(init: Process, process: Process) {
    for kind in KINDS {
        assert_eq!(process.namespace(kind), init.namespace(kind), "{kind}");
    }
}

#[test]
fn all_namespaces_are_those_of_init() {
    let (_container, init, process) = added(Bundle::new());
    expect_same_namespaces(init, process);
    assert_ne!(process.namespace("pid"), Process::this().namespace("pid"));
    assert_eq!(process.namespace("user"), Process::this().namespace("user"));
    // The number inside is another one: the process is in the pid namespace itself, not only its children.
    let inside: Vec<String> = process.status("NSpid").split_whitespace().map(str::to_owned).collect();
    assert_eq!((inside.len(), inside[0].as_str()), (2, process.pid().to_string().as_str()));
}

#[test]
fn namespaces_that_are_the_hosts_stay_so() {
    let bundle = Bundle::new().remove_namespace("network").remove_namespace("ipc");
    // Without a network namespace of its own a container may not mount sysfs.
    let bundle = bundle.remove_mount("/sys").remove_mount("/dev/mqueue");
    let (_container, init, process) = added(bundle);
    expect_same_namespaces(init, process);
    for kind in ["net", "ipc"] {
        assert_eq!(process.namespace(kind), Process::this().namespace(kind), "{kind}");
    }
}

#[test]
fn a_container_in_the_hosts_pid_namespace_gets_a_process_there() {
    let (container, init, process) = added(Bundle::new().remove_namespace("pid"));
    expect_same_namespaces(init, process);
    assert_eq!(process.namespace("pid"), Process::this().namespace("pid"));
    container.delete_force().expect_ok();
    wait_for("the end of the process", || (!process.is_alive()).then_some(()));
}

#[test]
fn namespaces_that_the_container_joined_are_joined() {
    let (_other, first) = asleep(Bundle::new());
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", first.pid());
    let bundle = Bundle::new()
        .join_namespace("network", &path("net"))
        .join_namespace("ipc", &path("ipc"))
        .join_namespace("uts", &path("uts"))
        .join_namespace("pid", &path("pid"))
        .remove("/hostname");
    let (_container, init, process) = added(bundle);
    expect_same_namespaces(init, process);
    assert_eq!(process.namespace("net"), first.namespace("net"));
    assert_eq!(process.namespace("pid"), first.namespace("pid"));
}

#[test]
fn a_time_namespace_is_joined_with_its_clocks() {
    requires!(kernel_has("/proc/self/ns/time"), "no time namespaces");
    known_gap!(Runc, Crun, "these versions know no time namespaces");
    let offsets = json!({"boottime": {"secs": 1_000_000, "nanosecs": 0}});
    let bundle = Bundle::new().new_namespace("time").set("/linux/timeOffsets", offsets);
    let (container, init, process) = added(bundle);
    assert_eq!(process.namespace("time"), init.namespace("time"));
    assert_ne!(process.namespace("time"), Process::this().namespace("time"));
    let uptime = container.exec_sh(&[], "cut -d . -f 1 /proc/uptime");
    assert!(uptime.parse::<u64>().unwrap() >= 1_000_000, "{uptime}");
}

#[test]
fn in_a_user_namespace_root_is_the_mapped_user() {
    known_gap!(Crun, "1.8.1 has no -g");
    let (container, init, process) = added(Bundle::new().user_namespace(500_000, 65_536));
    expect_same_namespaces(init, process);
    assert!(process.status("Uid").split_whitespace().all(|id| id == "500000"));
    assert_eq!(container.exec_sh(&[], "id -u; cat /proc/self/uid_map | tr -s ' '"), "0\n 0 500000 65536");
    assert_eq!(
        container.exec_sh(&["--user", "1000:1001", "-g", "7"], "echo $(id -u) $(id -g) $(id -G)"),
        "1000 1001 1001 7"
    );
    assert_eq!(process.status("CapEff"), init.status("CapEff"));
    // What it makes is its own on disk too.
    container.exec_sh(&[], "touch /made");
    assert_eq!(init.inside("/made").metadata().unwrap().uid(), 500_000);
}

/// As an ordinary user, who has every right over the user namespace that is his, and none over the one he is in.
#[test]
fn a_caller_without_rights_over_its_own_namespaces_joins_through_the_user_namespace() {
    known_gap!(Runc, Crun, "these need CAP_SYS_ADMIN where root has made the container");
    for start in [true, false] {
        let container = Bundle::new().user_namespace(500_000, 65_536).args(&["sleep", "600"]).container();
        container.create().expect_ok();
        if start {
            container.start().expect_ok();
        }
        let file = container.bundle().scratch_file("pid");
        let call = Call::of("setpriv").args(["--bounding-set", "-sys_admin"]).args([runtime_under_test()]);
        let call = call.args(["--root".as_ref(), container.state_root().as_os_str()]);
        let call = call.args(["exec", "--detach", "--pid-file", &file, container.id()]).args(SLEEP);
        call.output_in(container.bundle().scratch()).output().expect_ok();
        let process = Process::new(fs::read_to_string(&file).unwrap().parse().unwrap());
        let init = container.init();
        expect_same_namespaces(init, process);
        assert_eq!(process.cgroup(), init.cgroup());
        assert_eq!(process.status("Uid"), init.status("Uid"));
        let numbers: Vec<u32> = process.descriptors().into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [0, 1, 2]);
    }
}

#[test]
fn the_root_is_the_containers() {
    let (_container, init, process) = added(Bundle::new());
    let same = |path: &str| {
        let (ours, theirs) =
            (process.inside(path).metadata().unwrap(), init.inside(path).metadata().unwrap());
        assert_eq!((ours.dev(), ours.ino()), (theirs.dev(), theirs.ino()), "{path}");
    };
    same("/");
    same("/proc");
    same("/dev/null");
}

#[test]
fn without_a_mount_namespace_of_its_own_the_root_is_still_the_containers() {
    known_gap!(Runc, Crun, "these versions run the program in the host's root");
    let bundle = Bundle::new()
        .remove_namespace("mount")
        .edit(|config| {
            for gone in ["/mounts", "/linux/maskedPaths", "/linux/readonlyPaths"] {
                config.set(gone, json!([]));
            }
        })
        .file("/marker", 0o644, b"inside");
    let container = asleep(bundle).0;
    let output = container.exec(&["cat", "/marker"]);
    output.expect_ok().expect_stdout("inside");
}

#[test]
fn the_process_is_in_the_containers_cgroup() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let (container, init, process) = added(Bundle::new());
    assert_eq!(process.cgroup(), init.cgroup());
    assert_ne!(process.cgroup(), Process::this().cgroup());
    // As the program sees it from its first moment on: the root of its namespace.
    assert_eq!(container.exec_sh(&[], "grep ^0:: /proc/self/cgroup"), "0::/");
}

#[test]
fn a_cgroup_below_the_containers_can_be_asked_for() {
    requires!(uses_cgroup2(), "{ON_V1}");
    known_gap!(Crun, "1.8.1 takes another form");
    let (container, init) = asleep(Bundle::new());
    let own = init.cgroup_folder();
    fs::create_dir_all(own.join("a/b")).unwrap();
    let born = |path: &str| {
        let process = container.exec_detached(&["--cgroup", path], &SLEEP);
        process.cgroup().strip_prefix(&init.cgroup()).unwrap().to_owned()
    };
    assert_eq!(born("a"), "/a");
    assert_eq!(born("/a/b"), "/a/b");
    assert_eq!(born("/"), "");
    let code = 255;
    container.exec_call(&["--cgroup", "none"], &["true"]).output().expect_code(code);
    for path in ["..", "/..", "a/../..", "../../"] {
        let output = container.exec_call(&["--cgroup", path], &["true"]).output().expect_code(code);
        output.expect_stderr("is not a sub cgroup path");
    }
    container.exec_call(&["--cgroup", "memory:a"], &["true"]).output().expect_code(code);
}

/// As Docker or systemd do it in a container: all processes move down, and controllers are passed on. Then the
/// kernel allows no process in the container's own cgroup any more.
#[test]
fn where_the_container_has_moved_down_its_inits_cgroup_takes_the_process() {
    requires!(uses_cgroup2(), "{ON_V1}");
    let Some(controller) = ["pids", "memory", "hugetlb"].into_iter().find(|name| has_controller(name)) else {
        integration::skip!("no controller on cgroup v2");
    };
    let (container, init) = asleep(Bundle::new());
    let own = init.cgroup_folder();
    let before = init.cgroup();
    let mount = cgroup2_mount().unwrap();
    // The container's cgroup must have a controller before it can pass one on.
    for level in own.ancestors().skip(1).take_while(|level| level.starts_with(&mount)) {
        let _ = fs::write(level.join("cgroup.subtree_control"), format!("+{controller}"));
    }
    let inner = own.join("init");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("cgroup.procs"), init.pid().to_string()).unwrap();
    fs::write(own.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
    let process = container.exec_detached(&[], &SLEEP);
    assert_eq!(process.cgroup(), format!("{before}/init"));
    known_gap!(Crun, "1.8.1 takes another form");
    // What is asked for by name is not put elsewhere.
    let refused = container.exec_call(&["--cgroup", "/"], &["true"]).output().expect_code(255);
    if flavour() == Flavour::Ours {
        refused.expect_stderr("passes controllers on");
    }
}

#[test]
fn the_filter_of_the_container_holds() {
    known_gap!(Crun, "1.8.1 does not take the container's noNewPrivileges");
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}],
    });
    for privileges in [true, false] {
        let bundle = Bundle::new().set("/linux/seccomp", filter.clone());
        let (container, init, process) = added(bundle.set("/process/noNewPrivileges", json!(privileges)));
        assert_eq!((init.status("Seccomp"), process.status("Seccomp")), ("2".to_owned(), "2".to_owned()));
        assert_eq!(process.status("NoNewPrivs"), u8::from(privileges).to_string());
        assert_eq!(process.status("CapEff"), init.status("CapEff"), "what loading needed is given up");
        let output = container.exec(&["mkdir", "/refused"]).expect_code(1);
        output.expect_stderr("Function not implemented");
    }
}

#[test]
fn limits_and_priorities_are_the_containers() {
    known_gap!(Crun, "1.8.1 takes them from a document alone");
    let bundle = Bundle::new()
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]))
        .set("/process/oomScoreAdj", json!(77));
    let (_container, _init, process) = added(bundle);
    assert_eq!(process.limit("Max open files"), ("100".to_owned(), "200".to_owned()));
    assert_eq!(process.read("oom_score_adj").trim(), "77");
}

#[test]
fn scheduler_and_io_priority_are_the_containers() {
    known_gap!(Runc, Crun, "these versions do not know them, or not in exec");
    let bundle = Bundle::new()
        .set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 5}))
        .set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 4}));
    let container = asleep(bundle).0;
    // Fields 19 and 41 of proc_pid_stat(5).
    assert_eq!(container.exec_sh(&[], "cut -d ' ' -f 19,41 /proc/self/stat"), "5 3");
    assert_eq!(container.exec_sh(&[], "ionice"), "idle");
}

#[test]
fn cpus_of_exec_are_set_at_last() {
    known_gap!(Runc, Crun, "these versions do not know execCPUAffinity");
    let allowed = Process::this().status("Cpus_allowed_list");
    let cpus: Vec<&str> = allowed.split([',', '-']).collect();
    let (first, last) = (cpus[0], cpus[cpus.len() - 1]);
    let shown = |affinity: integration::Value| {
        let container = asleep(Bundle::new().set("/process/execCPUAffinity", affinity)).0;
        assert_eq!(container.init().status("Cpus_allowed_list"), allowed, "it is for exec alone");
        container.exec_sh(&[], "grep Cpus_allowed_list /proc/self/status | cut -f 2")
    };
    assert_eq!(shown(json!({"initial": first, "final": last})), last);
    assert_eq!(shown(json!({"final": first})), first);
    assert_eq!(shown(json!({"initial": last})), last);
}

#[test]
fn personality_and_memory_policy_are_the_containers() {
    known_gap!(Runc, Crun, "these versions do not know them, or not in exec");
    requires!(cfg!(target_arch = "x86_64"), "LINUX32 has another name here");
    let bundle = Bundle::new().set("/linux/personality", json!({"domain": "LINUX32"}));
    let (container, _init, process) = added(bundle);
    assert_eq!(process.read("personality"), "00000008\n");
    assert_eq!(container.exec_sh(&[], "uname -m"), "i686");
    requires!(kernel_has("/proc/self/numa_maps"), "this kernel has no NUMA");
    let policy = json!({"mode": "MPOL_BIND", "nodes": "0"});
    let (_container, _init, process) = added(Bundle::new().set("/linux/memoryPolicy", policy));
    let maps = process.read("numa_maps");
    // Of the process, as no new mapping has one of its own.
    let stack = maps.lines().find(|line| line.split_whitespace().any(|word| word == "stack")).unwrap();
    assert_eq!(stack.split_whitespace().nth(1), Some("bind:0"), "{stack}");
}

/// Each is another than the container's own.
#[test]
fn priorities_limits_and_cpus_of_a_document_come_first() {
    known_gap!(Runc, Crun, "these versions do not know them, or not in exec");
    let container = asleep(
        Bundle::new()
            .set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 5}))
            .set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 4}))
            .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]))
            .set("/process/oomScoreAdj", json!(77))
            .set("/process/user/umask", json!(0o77)),
    )
    .0;
    let allowed = Process::this().status("Cpus_allowed_list");
    let last = allowed.rsplit([',', '-']).next().unwrap();
    let document = json!({
        "user": {"uid": 0, "gid": 0, "umask": 0o27}, "cwd": "/", "env": ["PATH=/bin"],
        "args": SLEEP,
        "scheduler": {"policy": "SCHED_OTHER", "nice": 7},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}],
        "oomScoreAdj": 88,
        "execCPUAffinity": {"final": last},
    });
    let file = container.bundle().scratch_file("process.json");
    fs::write(&file, document.to_string()).unwrap();
    let process = container.exec_detached(&["--process", &file], &SLEEP);
    let stat = process.read("stat");
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!((fields[19 - 3], fields[41 - 3].trim()), ("7", "0"), "nice value and policy: {stat}");
    assert_eq!(process.limit("Max open files"), ("50".to_owned(), "60".to_owned()));
    assert_eq!(process.read("oom_score_adj").trim(), "88");
    assert_eq!(process.status("Umask"), "0027");
    assert_eq!(process.status("Cpus_allowed_list"), last);
    let shown = document.to_string().replace(r#"["sleep","500"]"#, r#"["ionice"]"#);
    fs::write(&file, shown).unwrap();
    let output = container.exec_call(&["--process", &file], &[]).output();
    output.expect_ok().expect_stdout("best-effort: prio 6\n");
}

#[test]
fn in_the_foreground_the_terminal_of_the_caller_is_passed_through() {
    known_gap!(Runc, "1.1.5 sets the size after the program has begun");
    let container = asleep(Bundle::new()).0;
    let (mut terminal, other) = Terminal::pair();
    terminal.resize(33, 99);
    let script = "tty; stty size; trap 'stty size' WINCH; echo ready; read x; echo got $x; exit 6";
    let running = container.exec_call(&["--tty"], &["sh", "-c", script]).on_terminal(other).spawn();
    let shown = terminal.read_until("ready");
    assert!(shown.contains("/dev/pts/") && shown.contains("33 99"), "{shown}");
    terminal.send("input\r");
    terminal.read_until("got input");
    running.wait().expect_code(6);
}

#[test]
fn the_terminal_of_a_detached_process_goes_to_the_socket() {
    for user_namespace in [false, true] {
        let bundle = Bundle::new();
        let bundle = if user_namespace { bundle.user_namespace(500_000, 65_536) } else { bundle };
        let socket = ConsoleSocket::listen(&bundle.scratch().join("console"));
        let container = asleep(bundle).0;
        let file = container.bundle().scratch_file("pid");
        let options = ["-t", "-d", "--console-socket", socket.path(), "--pid-file", &file];
        let script = "tty; echo end; read x; echo got $x; read y";
        container.exec_call(&options, &["sh", "-c", script]).output().expect_ok().expect_stdout("");
        let mut terminal = socket.terminal();
        assert!(terminal.read_until("end").starts_with("/dev/pts/"));
        let process = Process::new(fs::read_to_string(&file).unwrap().parse().unwrap());
        // It leads a session of its own, on that terminal.
        let stat = process.read("stat");
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        assert_eq!(fields[3], process.pid().to_string(), "{stat}");
        assert_ne!(fields[4], "0", "{stat}");
        terminal.send("input\r");
        terminal.read_until("got input");
    }
}

#[test]
fn the_size_of_a_document_is_there_before_the_program() {
    known_gap!(Crun, "1.8.1 does not set it");
    let bundle = Bundle::new();
    let socket = ConsoleSocket::listen(&bundle.scratch().join("console"));
    let container = asleep(bundle).0;
    let process = json!({
        "terminal": true, "consoleSize": {"height": 37, "width": 91}, "user": {"uid": 0, "gid": 0},
        "args": ["stty", "size"], "env": ["PATH=/bin"], "cwd": "/",
    });
    let path = container.bundle().scratch_file("process.json");
    fs::write(&path, process.to_string()).unwrap();
    let options = ["--process", &path, "--detach", "--console-socket", socket.path()];
    container.exec_call(&options, &[]).output().expect_ok();
    assert_eq!(socket.terminal().read_to_end().trim_end(), "37 91");
}

#[test]
fn a_terminal_that_nobody_or_two_would_have_is_refused() {
    known_gap!(Crun, "ignores a socket that no terminal goes to");
    let container = asleep(Bundle::new()).0;
    let path = container.bundle().scratch_file("nobody");
    for options in [
        &["-t", "-d"][..],
        &["--console-socket", &path],
        &["-d", "--console-socket", &path],
        &["-t", "--console-socket", &path],
    ] {
        container.exec_call(options, &["true"]).output().expect_fail();
    }
    let output =
        container.exec_call(&["-t", "-d", "--console-socket", &path], &["true"]).output().expect_fail();
    output.expect_runc_phrase("no such file or directory");
}

#[test]
fn the_pidfd_is_the_process() {
    known_gap!(Runc, Crun, "these versions have no --pidfd-socket");
    let bundle = Bundle::new();
    let socket = ConsoleSocket::listen(&bundle.scratch().join("pidfd"));
    let container = asleep(bundle).0;
    let process = container.exec_detached(&["--pidfd-socket", socket.path()], &SLEEP);
    let (pidfd, _) = socket.receive();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&pidfd)));
    let info = info.unwrap();
    assert!(info.contains(&format!("Pid:\t{}\n", process.pid())), "{info}");
    let gone = container.bundle().scratch_file("gone");
    let refused = container.exec_call(&["--pidfd-socket", &gone], &["true"]).output().expect_code(255);
    refused.expect_stderr("--pidfd-socket");
}
