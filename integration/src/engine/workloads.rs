//! What people do with an engine that has docker's command line; each function is a test for one of them.

use crate::engine::Client;
use crate::{Flavour, Process, Terminal, flavour, has_controller, holds_capability, wait_for};

/// See linux/capability.h.
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_SYS_RESOURCE: u32 = 24;

/// Its output is "term" when it is asked to end, and its status then 3.
pub const POLITE: &str = "trap 'echo term; exit 3' TERM; echo begun; while :; do sleep 1 & wait $!; done";

/// Whether a privileged container can be had: runc gives all capabilities that the engine knows, or none.
#[must_use]
pub fn gives_what_the_host_has() -> bool {
    flavour() != Flavour::Runc || holds_capability(CAP_SYS_RESOURCE)
}

/// The status is that of the program, or says that the engine could not run it, and why.
#[track_caller]
pub fn exit_codes(engine: &impl Client) {
    engine.sh(&[], "exit 7").expect_code(7);
    engine.sh(&[], "sh -c 'kill -9 $$'; exit $?").expect_code(137);
    let missing = engine.cli(&["run", "--rm", "box", "no-such-program"]).expect_code(127);
    missing.expect_stderr("exec: \"no-such-program\": executable file not found in $PATH");
    let no_program = engine.cli(&["run", "--rm", "box", "/etc/passwd"]).expect_code(126);
    no_program.expect_stderr("exec: \"/etc/passwd\": permission denied");
    // Of anything else the runtime's own message is what the user sees.
    let refused = engine.sh(&["--sysctl", "net.ipv4.no_such_parameter=1"], "true").expect_fail();
    refused.expect_stderr("no_such_parameter");
    // What failed is gone, and its name free.
    for _ in 0..2 {
        engine.cli(&["run", "--rm", "--name", "again", "box", "no-such-program"]).expect_code(127);
    }
    engine.expect_empty();
}

/// User, folder, names, environment, limits, capabilities, seccomp, and namespaces of others.
#[track_caller]
pub fn rights_and_limits<C: Client>(engine: &C) {
    let run = |options: &[&str], script: &str| engine.in_container(options, script);
    assert_eq!(run(&["--user", "1000"], "id -u; id -g; id -G"), "1000\n1000\n1000 2000");
    assert_eq!(run(&["--user", "7:8", "--group-add", "9"], "id -u; id -g; id -G"), "7\n8\n8 9");
    assert_eq!(run(&["--workdir", "/home/user"], "pwd"), "/home/user");
    assert_eq!(run(&["--hostname", "named"], "hostname; cat /etc/hostname"), "named\nnamed");
    assert_eq!(run(&["--env", "A=b c"], "echo \"$A:$HOME\""), "b c:/root");
    // Podman raises whichever of these two is not given.
    let limits = ["--ulimit", "nofile=123:456", "--ulimit", "nproc=78:90"];
    let script = "ulimit -n; ulimit -Hn; awk '/Max processes/ { print $3, $4 }' /proc/self/limits";
    assert_eq!(run(&limits, script), "123\n456\n78 90");
    assert_eq!(
        run(&["--sysctl", "net.ipv4.ip_default_ttl=17"], "cat /proc/sys/net/ipv4/ip_default_ttl"),
        "17"
    );

    let status =
        |options: &[&str]| run(options, "awk '/^(Cap|NoNew|Seccomp:)/ { print $1, $2 }' /proc/self/status");
    let usual = status(&[]);
    let bounding = C::USUAL_CAPABILITIES;
    for line in [format!("CapBnd: {bounding:016x}"), "NoNewPrivs: 0".to_owned(), "Seccomp: 2".to_owned()] {
        assert!(usual.contains(&line), "{usual}");
    }
    let none = "0000000000000000";
    let dropped = status(&["--cap-drop", "ALL"]);
    for set in ["Inh", "Prm", "Eff", "Bnd", "Amb"] {
        assert!(dropped.contains(&format!("Cap{set}: {none}")), "{dropped}");
    }
    let added = status(&["--cap-drop", "ALL", "--cap-add", "NET_ADMIN"]);
    assert!(added.contains("CapEff: 0000000000001000"), "{added}");
    let unprivileged = status(&["--user", "1000", "--security-opt", "no-new-privileges"]);
    assert!(unprivileged.contains("NoNewPrivs: 1") && unprivileged.contains(&format!("CapEff: {none}")));
    assert!(status(&["--security-opt", "seccomp=unconfined"]).contains("Seccomp: 0"));
    // What the engines' filters forbid to who has no CAP_SYS_ADMIN.
    engine.sh(&[], "unshare -u true").expect_fail().expect_stderr("Operation not permitted");

    // A first process that reaps, and one that is another container's neighbour.
    assert_eq!(run(&["--init"], "cat /proc/1/comm"), format!("{}-init", C::PROGRAM));
    let other = engine.detached(&["--ipc", "shareable"], "exec sleep 600");
    let shared = format!("container:{other}");
    assert_eq!(
        run(&["--pid", &shared, "--ipc", &shared], "cat /proc/1/cmdline | tr '\\0' ' '"),
        "sleep 600 "
    );
}

/// All devices and capabilities, and nothing masked.
#[track_caller]
pub fn privileged<C: Client>(engine: &C) {
    let script = "grep -E 'CapEff|Seccomp:' /proc/self/status | tr -d '\\t'; ls -l /dev/fuse | cut -c1; \
        mkdir /sys/fs/cgroup/made && echo made; mount -t tmpfs tmpfs /mnt && echo mounted; \
        grep ' /proc/sys ' /proc/mounts; echo end";
    let output = engine.sh(&["--privileged"], script);
    // What the host itself lacks cannot be given.
    let all = u64::from_str_radix(&Process::this().status("CapBnd"), 16).unwrap() & C::ALL_CAPABILITIES;
    assert_eq!(output.stdout, format!("CapEff:{all:016x}\nSeccomp:0\nc\nmade\nmounted\nend\n"), "{output}");
}

/// Read-only roots, temporary file systems, bind mounts, volumes, devices, copies in and out.
#[track_caller]
pub fn file_systems(engine: &impl Client) {
    let run = |options: &[&str], script: &str| engine.in_container(options, script);
    let writable = "touch /file 2>/dev/null && echo yes || echo no";
    assert_eq!(run(&[], writable), "yes");
    assert_eq!(run(&["--read-only"], writable), "no");
    assert_eq!(
        run(
            &["--read-only", "--tmpfs", "/scratch:size=1m,mode=750"],
            "touch /scratch/file; stat -c %a /scratch"
        ),
        "750"
    );

    engine.world().write("/run/shared/file", "from the host");
    assert_eq!(
        run(&["--volume", "/run/shared:/data"], "cat /data/file; echo back >/data/made"),
        "from the host"
    );
    assert_eq!(engine.world().sh("cat /run/shared/made").output().stdout, "back\n");
    let read_only = ["--mount", "type=bind,source=/run/shared,target=/data,readonly"];
    engine.sh(&read_only, "touch /data/other").expect_code(1).expect_stderr("Read-only file system");

    // A new volume begins with what the image has there.
    assert_eq!(run(&["--volume", "kept:/etc"], "echo mine >/etc/mine; wc -l </etc/passwd"), "2");
    assert_eq!(run(&["--volume", "kept:/data:ro"], "cat /data/mine; ls /data/passwd"), "mine\n/data/passwd");

    assert_eq!(
        run(&["--device", "/dev/fuse:/dev/other:r"], "stat -c '%F %t' /dev/other"),
        "character special file a"
    );
    assert_eq!(run(&["--shm-size", "1m"], "df -k /dev/shm | awk 'NR == 2 { print $2 }'"), "1024");

    // Into a container that runs, and out of it.
    let name = engine.detached(&[], "exec sleep 600");
    engine.cli(&["cp", "/run/shared/file", &format!("{name}:/copied")]).expect_ok();
    engine.cli(&["cp", &format!("{name}:/copied"), "/run/shared/returned"]).expect_ok();
    assert_eq!(engine.world().sh("cat /run/shared/returned").output().stdout, "from the host");
    let diff = engine.cli(&["diff", &name]).expect_ok();
    assert!(diff.stdout.lines().any(|line| line == "A /copied"), "{diff}");
    engine.cli(&["commit", &name, "committed"]).expect_ok();
    engine.cli(&["run", "--rm", "committed", "cat", "/copied"]).expect_ok().expect_stdout("from the host");
}

/// stop, start, pause, kill, wait, restart, remove, and the engine's own way of starting again.
#[track_caller]
pub fn life(engine: &impl Client) {
    let name = engine.detached(&["--restart", "no"], POLITE);
    engine.wait_logs(&name, "begun");
    engine.cli(&["stop", &name]).expect_ok();
    assert_eq!(engine.inspect(&name, ".State.ExitCode"), "3");
    engine.cli(&["logs", &name]).expect_ok().expect_stdout("begun\nterm\n");

    engine.cli(&["start", &name]).expect_ok();
    engine.wait_logs(&name, "term\nbegun\n");
    engine.cli(&["pause", &name]).expect_ok();
    assert_eq!(engine.inspect(&name, ".State.Status"), "paused");
    engine.cli(&["unpause", &name]).expect_ok();
    assert_eq!(engine.inspect(&name, ".State.Status"), "running");
    engine.cli(&["kill", "--signal", "TERM", &name]).expect_ok();
    engine.cli(&["wait", &name]).expect_ok().expect_stdout("3\n");
    engine.cli(&["restart", &name]).expect_ok();
    engine.cli(&["kill", &name]).expect_ok();
    engine.cli(&["wait", &name]).expect_ok().expect_stdout("137\n");

    // Who does not listen is killed when the time is over, and who is paused is removed by force.
    let deaf = engine.detached(&[], "trap '' TERM; echo begun; while :; do sleep 1; done");
    engine.wait_logs(&deaf, "begun");
    engine.cli(&["stop", "--time", "1", &deaf]).expect_ok();
    assert_eq!(engine.inspect(&deaf, ".State.ExitCode"), "137");
    engine.cli(&["start", &deaf]).expect_ok();
    engine.cli(&["pause", &deaf]).expect_ok();
    engine.cli(&["rm", "--force", &deaf, &name]).expect_ok();
    engine.expect_empty();

    // The daemon's own way of starting again.
    let again = engine.detached(&["--restart", "on-failure:2"], "echo once; exit 5");
    engine.wait_inspect(&again, ".RestartCount", "2");
    engine.wait_inspect(&again, ".State.Status", "exited");
    engine.cli(&["logs", &again]).expect_ok().expect_stdout("once\nonce\nonce\n");
    assert_eq!(engine.inspect(&again, ".State.ExitCode"), "5");
}

/// A terminal that is resized, left and taken up again, and input through a pipe.
#[track_caller]
pub fn terminals<C: Client>(engine: &C) {
    let (mut terminal, other) = Terminal::pair();
    terminal.resize(31, 77);
    let run = ["run", "--rm", "-it", "--detach-keys", "ctrl-]", "--name", "talk", "box", "sh"];
    let running = engine.call(&run).on_terminal(other).spawn();
    terminal.send("test -t 0 && test -t 1 && echo on a ter''minal; tty\n");
    let shown = terminal.read_until("/dev/pts/0");
    assert!(shown.contains("on a terminal"), "{shown}");
    // The client sends the size on as it can: maybe only after the first prompt.
    terminal.send("until [ \"$(stty size)\" = '31 77' ]; do sleep 0.1; done; echo siz''ed\n");
    terminal.read_until("sized");
    terminal.send("kept=value; echo ke''pt\n");
    terminal.read_until("kept\r\n");
    terminal.send("\u{1d}"); // ctrl-]
    running.wait().expect_ok();
    assert_eq!(engine.inspect("talk", ".State.Status"), "running");

    let (mut terminal, other) = Terminal::pair();
    let running = engine.call(&["attach", "talk"]).on_terminal(other).spawn();
    terminal.send("echo still $kept; exit 4\n");
    terminal.read_until("still value");
    let attached = running.wait();
    // Podman's attach gives 0 whatever happens, on other runtimes too.
    assert_eq!(attached.code(), if C::PROGRAM == "docker" { 4 } else { 0 }, "{attached}");
    wait_for("the container's removal", || engine.cli(&["inspect", "talk"]).code().ne(&0).then_some(()));

    // Input through a pipe, without a terminal, to its end.
    let call = engine.call(&["run", "--rm", "--interactive", "box", "sh", "-c", "cat; echo end"]);
    call.stdin_bytes("piped\n").output().expect_ok().expect_stdout("piped\nend\n");
}

/// No network, the engine's, another container's, and a bridge with addresses and published ports.
#[track_caller]
pub fn networks(engine: &impl Client) {
    let interfaces = "ls /sys/class/net | sort | tr '\\n' ' '";
    assert_eq!(engine.in_container(&["--network", "none"], interfaces), "lo ");
    assert_eq!(engine.in_container(&[], interfaces), "eth0 lo ");
    engine.world().sh("ip link add its-own type bridge").output().expect_ok();
    assert!(engine.in_container(&["--network", "host"], interfaces).contains("its-own"));

    // One serves; who shares its network finds it at home, others by its address or the published port.
    let serve = "echo 'served' >/tmp/page; exec httpd -f -p 80 -h /tmp";
    let server = engine.detached(&["--publish", "127.0.0.1:8080:80"], serve);
    let get = |address: &str| format!("wget -q -O - http://{address}/page");
    let served = |script: &str, options: &[&str]| {
        wait_for(script, || {
            let output = engine.sh(options, script);
            (output.status.success() && output.stdout == "served\n").then_some(())
        });
    };
    served(&get("127.0.0.1"), &["--network", &format!("container:{server}")]);
    let address = engine.inspect(&server, ".NetworkSettings.IPAddress");
    served(&get(&address), &[]);
    served(&get("127.0.0.1:8080"), &["--network", "host"]);

    // A network of the user's own, which a container comes into while it runs.
    engine.cli(&["network", "create", "own"]).expect_ok();
    engine.cli(&["network", "connect", "own", &server]).expect_ok();
    let address = engine.inspect(&server, ".NetworkSettings.Networks.own.IPAddress");
    served(&get(&address), &["--network", "own"]);
}

/// An image built by running its steps.
#[track_caller]
pub fn build(engine: &impl Client) {
    let file = "FROM box\nENV A=from-env\nWORKDIR /work\nCOPY given .\nRUN cat given >made && echo $A >>made\n\
        USER 1000\nRUN id -u >/tmp/id\nCMD cat made /tmp/id\n";
    engine.world().write("/run/context/Dockerfile", file);
    engine.world().write("/run/context/given", "given\n");
    engine.cli(&["build", "--tag", "built", "/run/context"]).expect_ok();
    engine.cli(&["run", "--rm", "built"]).expect_ok().expect_stdout("given\nfrom-env\n1000\n");
    // A step that fails: its status, and what it said.
    engine.world().write("/run/context/Dockerfile", "FROM box\nRUN echo sorry >&2; exit 9\n");
    let failed = engine.cli(&["build", "/run/context"]).expect_fail();
    // Docker says "returned a non-zero code: 9", Podman and Buildah "exit status 9".
    assert!(failed.stderr.contains("sorry") && failed.stderr.contains('9'), "{failed}");
}

/// Further programs in a running container: their status, input, user, folder, environment and rights, in the
/// foreground and not.
#[track_caller]
pub fn exec(engine: &impl Client) {
    let name = engine.detached(&["--env", "GIVEN=yes"], POLITE);
    engine.wait_logs(&name, "begun");
    let exec = |options: &[&str], script: &str| {
        engine.cli(&[&["exec"], options, &[&name, "sh", "-c", script]].concat())
    };
    exec(&[], "echo out; echo err >&2; exit 7").expect_code(7).expect_stdout("out\n").expect_stderr("err");
    let seen =
        exec(&["--user", "1000", "--workdir", "/tmp", "--env", "A=b"], "id -u; id -G; pwd; echo $A $GIVEN");
    seen.expect_ok().expect_stdout("1000\n1000 2000\n/tmp\nb yes\n");
    let call = engine.call(&["exec", "--interactive", &name, "sh", "-c", "cat; echo end"]);
    call.stdin_bytes("piped\n").output().expect_ok().expect_stdout("piped\nend\n");
    // In the same namespaces and cgroup as the first process, with no more rights than it has.
    let same = "for kind in mnt pid net ipc uts; do \
        [ $(readlink /proc/1/ns/$kind) = $(readlink /proc/self/ns/$kind) ] || echo other $kind; done; \
        cmp /proc/1/cgroup /proc/self/cgroup; \
        for pid in 1 self; do grep -E 'CapEff|CapBnd|CapInh|NoNewPrivs|Seccomp:' /proc/$pid/status >/tmp/$pid; done; \
        cmp /tmp/1 /tmp/self";
    exec(&[], same).expect_ok().expect_stdout("");
    if gives_what_the_host_has() {
        let all = exec(&["--privileged"], "sed -n 's/^CapEff:\\t//p' /proc/self/status").expect_ok();
        let all = u64::from_str_radix(all.stdout.trim(), 16).expect("a mask");
        assert_ne!(all & CAP_SYS_ADMIN, 0, "{all:x}");
    }
    exec(&["--detach"], "echo made >/tmp/made").expect_ok();
    wait_for("what a detached program makes", || {
        (exec(&[], "cat /tmp/made").stdout == "made\n").then_some(())
    });
    // What cannot be run.
    let missing = engine.cli(&["exec", &name, "no-such-program"]);
    assert!(matches!(missing.code(), 126 | 127), "{missing}");
    let said = format!("{}{}", missing.stdout, missing.stderr); // docker's is on stdout
    assert!(said.contains("exec: \"no-such-program\": executable file not found in $PATH"), "{missing}");
    engine.cli(&["exec", &name, "/etc/passwd"]).expect_code(126);
    // Not while it is paused, nor after its end.
    engine.cli(&["pause", &name]).expect_ok();
    exec(&[], "true").expect_fail();
    engine.cli(&["unpause", &name]).expect_ok();
    engine.cli(&["stop", &name]).expect_ok();
    exec(&[], "true").expect_fail();
    engine.cli(&["rm", &name]).expect_ok();
}

/// A further program on a terminal.
#[track_caller]
pub fn exec_on_a_terminal(engine: &impl Client) {
    let name = engine.detached(&[], "exec sleep 600");
    let (mut terminal, other) = Terminal::pair();
    terminal.resize(31, 77);
    let running = engine.call(&["exec", "-it", &name, "sh"]).on_terminal(other).spawn();
    terminal.send("until [ \"$(stty size)\" = '31 77' ]; do sleep 0.1; done; echo siz''ed; tty\n");
    terminal.read_until("sized\r\n");
    terminal.read_until("/dev/pts/0\r\n");
    // It is the one that controls the session: an interrupt reaches what runs on it.
    terminal.send("sh -c \"echo re''ady; exec sleep 600\"\n");
    terminal.read_until("ready\r\n");
    terminal.send("\u{3}");
    terminal.send("echo aft''er; exit 5\n");
    terminal.read_until("after");
    running.wait().expect_code(5);
}

/// Health checks, which are programs run in a container again and again.
#[track_caller]
pub fn health(engine: &impl Client) {
    let options = ["--health-cmd", "test -e /tmp/well", "--health-interval", "1s", "--health-retries", "1"];
    let name = engine.detached(&options, "exec sleep 600");
    engine.wait_inspect(&name, ".State.Health.Status", "unhealthy");
    engine.cli(&["exec", &name, "touch", "/tmp/well"]).expect_ok();
    engine.wait_inspect(&name, ".State.Health.Status", "healthy");
    engine.cli(&["rm", "--force", &name]).expect_ok();
}

/// Namespaces of the host, and mounts that come in later.
#[track_caller]
pub fn namespaces_of_the_host(engine: &impl Client) {
    engine
        .world()
        .sh("mkdir -p /run/tree && mount -t tmpfs tree /run/tree && mount --make-shared /run/tree")
        .output()
        .expect_ok();
    let hosts =
        ["--pid", "host", "--ipc", "host", "--uts", "host", "--cgroupns", "host", "--network", "host"];
    let script = "for kind in pid ipc uts cgroup net; do readlink /proc/self/ns/$kind; done";
    let inside = engine.in_container(&hosts, script);
    let outside = engine.world().sh(script).output().expect_ok().stdout;
    assert_eq!(inside, outside.trim_end());
    // A private cgroup namespace hides where the container is; `--cgroup-parent` says where.
    assert_eq!(engine.in_container(&["--cgroupns", "private"], "grep ^0: /proc/self/cgroup"), "0::/");
    let options = ["--cgroupns", "host", "--cgroup-parent", "/of-its-own"];
    let cgroup = engine.in_container(&options, "grep ^0: /proc/self/cgroup");
    assert!(cgroup.starts_with("0::/of-its-own/"), "{cgroup}");

    let name = engine.detached(&["--volume", "/run/tree:/tree:rslave"], "exec sleep 600");
    engine
        .world()
        .sh("mkdir /run/tree/later && mount -t tmpfs -o size=1m later /run/tree/later")
        .output()
        .expect_ok();
    let mounts = engine.cli(&["exec", &name, "grep", "-c", " /tree/later ", "/proc/mounts"]);
    mounts.expect_ok().expect_stdout("1\n");
    // And one that goes out of a container.
    let options = ["--volume", "/run/tree:/tree:rshared", "--cap-add", "SYS_ADMIN"];
    engine.in_container(&options, "mkdir /tree/back && mount -t tmpfs back /tree/back");
    engine.world().sh("grep -q ' /run/tree/back ' /proc/mounts").output().expect_ok();
}

/// Limits stand in the container's cgroup, and who needs more memory than allowed is killed and reported.
/// Needs controllers.
#[track_caller]
pub fn limits(engine: &impl Client) {
    assert!(has_controller("memory") && has_controller("pids") && has_controller("cpu"));
    let options = ["--memory", "64m", "--memory-swap", "64m", "--pids-limit", "33", "--cpus", "0.5"];
    let files = "cd /sys/fs/cgroup; cat memory.max pids.max cpu.max";
    assert_eq!(engine.in_container(&options, files), "67108864\n33\n50000 100000");
    let name = engine.detached(&options, "exec sleep 600");
    engine.cli(&["update", "--memory", "32m", "--memory-swap", "32m", "--cpus", "0.25", &name]).expect_ok();
    let changed = engine.cli(&["exec", &name, "sh", "-c", files]).expect_ok();
    changed.expect_stdout("33554432\n33\n25000 100000\n");
    let eater = engine.detached(&options, "x=a; while :; do x=$x$x; done");
    engine.wait_inspect(&eater, ".State.Status", "exited");
    assert_eq!(engine.inspect(&eater, ".State.OOMKilled"), "true");
    assert_eq!(engine.inspect(&eater, ".State.ExitCode"), "137");
}
