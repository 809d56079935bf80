//! Docker with this runtime as its default runtime: what people do with `docker`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;

use integration::engine::{Docker, manual};
use integration::{Terminal, has_controller, wait_for};

/// Leaves the test as skipped where there is no Docker; else a daemon of its own.
macro_rules! docker {
    ($($options:literal),*) => {{
        if let Some(obstacle) = Docker::obstacle() {
            integration::skip!("{obstacle}");
        }
        Docker::start_with(&[$($options),*])
    }};
}

/// Its output is "term" when it is asked to end, and its status then 3.
const POLITE: &str = "trap 'echo term; exit 3' TERM; echo begun; while :; do sleep 1 & wait $!; done";

#[test]
fn the_lines_of_the_manual_plug_it_in() {
    let docker = docker!();
    for (command, printed) in manual::dialogue("docker-proof") {
        docker.world().sh(&command).output().expect_ok().expect_stdout(&printed);
    }
}

#[test]
fn exit_codes_are_those_of_the_program_or_say_what_docker_could_not_run() {
    let docker = docker!();
    docker.sh(&[], "exit 7").expect_code(7);
    docker.sh(&[], "sh -c 'kill -9 $$'; exit $?").expect_code(137);
    let missing = docker.docker(&["run", "--rm", "box", "no-such-program"]).expect_code(127);
    missing.expect_stderr("exec: \"no-such-program\": executable file not found in $PATH");
    let no_program = docker.docker(&["run", "--rm", "box", "/etc/passwd"]).expect_code(126);
    no_program.expect_stderr("exec: \"/etc/passwd\": permission denied");
    // Anything else of a failed `create` is 125, and the runtime's own message is what the user sees.
    let refused = docker.sh(&["--sysctl", "kernel.no_such_parameter=1"], "true").expect_code(125);
    refused.expect_stderr("no_such_parameter");
    // What failed is gone, and its name free.
    for _ in 0..2 {
        docker.docker(&["run", "--rm", "--name", "again", "box", "no-such-program"]).expect_code(127);
    }
    docker.docker(&["ps", "--all", "--quiet"]).expect_ok().expect_stdout("");
}

#[test]
fn a_process_has_the_user_rights_and_limits_that_were_asked_for() {
    let docker = docker!();
    let run = |options: &[&str], script: &str| docker.in_container(options, script);
    assert_eq!(run(&["--user", "1000"], "id -u; id -g; id -G"), "1000\n1000\n1000 2000");
    assert_eq!(run(&["--user", "7:8", "--group-add", "9"], "id -u; id -g; id -G"), "7\n8\n8 9");
    assert_eq!(run(&["--workdir", "/a/b"], "pwd"), "/a/b");
    assert_eq!(run(&["--hostname", "named"], "hostname; cat /etc/hostname"), "named\nnamed");
    assert_eq!(run(&["--env", "A=b c"], "echo \"$A:$HOME\""), "b c:/root");
    assert_eq!(run(&["--ulimit", "nofile=123:456"], "ulimit -n; ulimit -Hn"), "123\n456");
    assert_eq!(
        run(&["--sysctl", "net.ipv4.ip_default_ttl=17"], "cat /proc/sys/net/ipv4/ip_default_ttl"),
        "17"
    );

    let status =
        |options: &[&str]| run(options, "awk '/^(Cap|NoNew|Seccomp:)/ { print $1, $2 }' /proc/self/status");
    let usual = status(&[]);
    let bounding = "00000000a80425fb"; // Docker's usual fourteen
    for line in [format!("CapBnd: {bounding}"), "NoNewPrivs: 0".to_owned(), "Seccomp: 2".to_owned()] {
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
    // What Docker's filter forbids, and what it allows with the capability for it.
    docker.sh(&[], "unshare -U true").expect_fail().expect_stderr("Operation not permitted");
    docker.sh(&["--security-opt", "seccomp=unconfined"], "unshare -U true").expect_ok();

    // A first process that reaps, and one that is another container's neighbour.
    assert_eq!(run(&["--init"], "cat /proc/1/comm"), "docker-init");
    let other = docker.detached(&["--ipc", "shareable"], "exec sleep 600");
    let shared = format!("container:{other}");
    assert_eq!(
        run(&["--pid", &shared, "--ipc", &shared], "cat /proc/1/cmdline | tr '\\0' ' '"),
        "sleep 600 "
    );
}

#[test]
fn a_privileged_container_has_all_devices_and_capabilities() {
    let docker = docker!();
    let script = "grep -E 'CapEff|Seccomp:' /proc/self/status | tr -d '\\t'; ls -l /dev/fuse | cut -c1; \
        mkdir /sys/fs/cgroup/made && echo made; mount -t tmpfs tmpfs /mnt && echo mounted; \
        grep ' /proc/sys ' /proc/mounts; echo end";
    let output = docker.sh(&["--privileged"], script);
    // Docker 20.10 knows 38; what the host itself lacks cannot be given.
    let bounding = u64::from_str_radix(&integration::Process::this().status("CapBnd"), 16).unwrap();
    let all = bounding & ((1 << 38) - 1);
    assert_eq!(output.stdout, format!("CapEff:{all:016x}\nSeccomp:0\nc\nmade\nmounted\nend\n"), "{output}");
}

#[test]
fn file_systems_are_read_only_temporary_bound_or_volumes() {
    let docker = docker!();
    let run = |options: &[&str], script: &str| docker.in_container(options, script);
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

    docker.world().write("/srv-on-the-host/file", "from the host");
    assert_eq!(
        run(&["--volume", "/srv-on-the-host:/data"], "cat /data/file; echo back >/data/made"),
        "from the host"
    );
    assert_eq!(docker.world().sh("cat /srv-on-the-host/made").output().stdout, "back\n");
    let read_only = ["--mount", "type=bind,source=/srv-on-the-host,target=/data,readonly"];
    docker.sh(&read_only, "touch /data/other").expect_code(1).expect_stderr("Read-only file system");

    // A new volume begins with what the image has there.
    assert_eq!(run(&["--volume", "kept:/etc"], "echo mine >/etc/mine; wc -l </etc/passwd"), "2");
    assert_eq!(run(&["--volume", "kept:/data:ro"], "cat /data/mine; ls /data/passwd"), "mine\n/data/passwd");

    assert_eq!(
        run(&["--device", "/dev/fuse:/dev/other:r"], "stat -c '%F %t' /dev/other"),
        "character special file a"
    );
    assert_eq!(run(&["--shm-size", "1m"], "df -k /dev/shm | awk 'NR == 2 { print $2 }'"), "1024");

    // Into a container that runs, and out of it.
    let name = docker.detached(&[], "exec sleep 600");
    docker.docker(&["cp", "/srv-on-the-host/file", &format!("{name}:/copied")]).expect_ok();
    docker.docker(&["cp", &format!("{name}:/copied"), "/srv-on-the-host/returned"]).expect_ok();
    assert_eq!(docker.world().sh("cat /srv-on-the-host/returned").output().stdout, "from the host");
    docker.docker(&["diff", &name]).expect_ok().expect_stdout("A /copied\n");
    docker.docker(&["commit", &name, "committed"]).expect_ok();
    docker.docker(&["run", "--rm", "committed", "cat", "/copied"]).expect_ok().expect_stdout("from the host");
}

#[test]
fn a_container_is_stopped_killed_paused_restarted_and_removed() {
    let docker = docker!();
    let name = docker.detached(&["--restart", "no"], POLITE);
    docker.wait_logs(&name, "begun");
    docker.docker(&["stop", &name]).expect_ok();
    assert_eq!(docker.inspect(&name, ".State.ExitCode"), "3");
    docker.docker(&["logs", &name]).expect_ok().expect_stdout("begun\nterm\n");

    docker.docker(&["start", &name]).expect_ok();
    docker.wait_logs(&name, "term\nbegun\n");
    docker.docker(&["pause", &name]).expect_ok();
    assert_eq!(docker.inspect(&name, ".State.Status"), "paused");
    docker.docker(&["unpause", &name]).expect_ok();
    assert_eq!(docker.inspect(&name, ".State.Status"), "running");
    docker.docker(&["kill", "--signal", "TERM", &name]).expect_ok();
    docker.docker(&["wait", &name]).expect_ok().expect_stdout("3\n");
    docker.docker(&["restart", &name]).expect_ok();
    docker.docker(&["kill", &name]).expect_ok();
    docker.docker(&["wait", &name]).expect_ok().expect_stdout("137\n");

    // Who does not listen is killed when the time is over, and who is paused is removed by force.
    let deaf = docker.detached(&[], "trap '' TERM; echo begun; while :; do sleep 1; done");
    docker.wait_logs(&deaf, "begun");
    docker.docker(&["stop", "--time", "1", &deaf]).expect_ok();
    assert_eq!(docker.inspect(&deaf, ".State.ExitCode"), "137");
    docker.docker(&["start", &deaf]).expect_ok();
    docker.docker(&["pause", &deaf]).expect_ok();
    docker.docker(&["rm", "--force", &deaf, &name]).expect_ok();
    docker.docker(&["ps", "--all", "--quiet"]).expect_ok().expect_stdout("");

    // The daemon's own way of starting again.
    let again = docker.detached(&["--restart", "on-failure:2"], "echo once; exit 5");
    docker.wait_inspect(&again, ".RestartCount", "2");
    docker.wait_inspect(&again, ".State.Status", "exited");
    docker.docker(&["logs", &again]).expect_ok().expect_stdout("once\nonce\nonce\n");
    assert_eq!(docker.inspect(&again, ".State.ExitCode"), "5");
}

#[test]
fn a_running_container_is_looked_at_and_changed() {
    let docker = docker!();
    let name = docker.detached(&[], "sleep 599 & exec sleep 600");
    // Both are there once the second has become what it is.
    wait_for("both processes", || {
        let top = docker.docker(&["top", &name, "-o", "pid,args"]).expect_ok().stdout;
        (top.contains("sleep 599") && top.contains("sleep 600") && top.lines().count() == 3).then_some(())
    });
    let format = "{{.Name}} {{.CPUPerc}}";
    let stats = docker.docker(&["stats", "--no-stream", "--format", format, &name]).expect_ok();
    assert!(stats.stdout.starts_with(&name) && stats.stdout.trim_end().ends_with('%'), "{stats}");
    if has_controller("cpu") {
        let busy = docker.detached(&[], "while :; do :; done");
        wait_for("time used", || {
            let stats =
                docker.docker(&["stats", "--no-stream", "--format", "{{.CPUPerc}}", &busy]).expect_ok();
            let percent: f64 = stats.stdout.trim().trim_end_matches('%').parse().unwrap();
            (percent > 1.0).then_some(())
        });
        docker.docker(&["rm", "--force", &busy]).expect_ok();
    }
    docker.docker(&["update", "--restart", "always", &name]).expect_ok();
    assert_eq!(docker.inspect(&name, ".HostConfig.RestartPolicy.Name"), "always");
    if has_controller("memory") && has_controller("pids") {
        docker
            .docker(&["update", "--pids-limit", "77", "--memory", "64m", "--memory-swap", "64m", &name])
            .expect_ok();
        let pid = docker.inspect(&name, ".State.Pid");
        let script =
            format!("cd /sys/fs/cgroup$(sed -n 's/^0:://p' /proc/{pid}/cgroup); cat pids.max memory.max");
        docker.world().sh(&script).output().expect_ok().expect_stdout("77\n67108864\n");
    }
}

#[test]
fn a_terminal_is_given_resized_left_and_taken_up_again() {
    let docker = docker!();
    let (mut terminal, other) = Terminal::pair();
    terminal.resize(31, 77);
    let run = ["run", "--rm", "--interactive", "--tty", "--name", "talk", "box", "sh"];
    let running = docker.call(&run).on_terminal(other).spawn();
    terminal.send("test -t 0 && test -t 1 && echo on a ter''minal; tty\n");
    let shown = terminal.read_until("/dev/pts/0");
    assert!(shown.contains("on a terminal"), "{shown}");
    // The client sends the size on as it can: maybe only after the first prompt.
    wait_for("the size", || {
        terminal.send("echo size $(stty size).\n");
        terminal.read_until("size 31 77.").contains("size 31 77.").then_some(())
    });
    terminal.send("kept=value\n");
    terminal.send("\u{10}\u{11}"); // ctrl-p ctrl-q
    running.wait().expect_ok();
    assert_eq!(docker.inspect("talk", ".State.Status"), "running");

    let (mut terminal, other) = Terminal::pair();
    let running = docker.call(&["attach", "talk"]).on_terminal(other).spawn();
    terminal.send("echo still $kept; exit 4\n");
    terminal.read_until("still value");
    running.wait().expect_code(4);
    docker.docker(&["ps", "--all", "--quiet"]).expect_ok().expect_stdout("");

    // Input through a pipe, without a terminal, to its end.
    let call = docker.call(&["run", "--rm", "--interactive", "box", "sh", "-c", "cat; echo end"]);
    call.stdin_bytes("piped\n").output().expect_ok().expect_stdout("piped\nend\n");
}

#[test]
fn networks_are_none_the_hosts_another_containers_or_a_bridge() {
    let docker = docker!();
    let interfaces = "ls /sys/class/net | sort | tr '\\n' ' '";
    assert_eq!(docker.in_container(&["--network", "none"], interfaces), "lo ");
    assert!(docker.in_container(&["--network", "host"], interfaces).contains("docker0"));
    assert_eq!(docker.in_container(&[], interfaces), "eth0 lo ");

    // One serves; who shares its network finds it at home, others by its address or the published port.
    let serve = "echo 'served' >/tmp/page; exec httpd -f -p 80 -h /tmp";
    let server = docker.detached(&["--publish", "127.0.0.1:8080:80"], serve);
    let get = |address: &str| format!("wget -q -O - http://{address}/page");
    let served = |script: &str, options: &[&str]| {
        wait_for(script, || {
            let output = docker.sh(options, script);
            (output.status.success() && output.stdout == "served\n").then_some(())
        });
    };
    served(&get("127.0.0.1"), &["--network", &format!("container:{server}")]);
    let address = docker.inspect(&server, ".NetworkSettings.IPAddress");
    served(&get(&address), &[]);
    served(&get("127.0.0.1:8080"), &["--network", "host"]);

    // A network of the user's own has a name service.
    docker.docker(&["network", "create", "own"]).expect_ok();
    let named = docker.detached(&["--network", "own", "--network-alias", "page-server"], serve);
    served(&get("page-server"), &["--network", "own"]);
    docker.docker(&["network", "disconnect", "own", &named]).expect_ok();
    docker.docker(&["network", "connect", "own", &server]).expect_ok();
    let address = docker.inspect(&server, ".NetworkSettings.Networks.own.IPAddress");
    served(&get(&address), &["--network", "own"]);
}

#[test]
fn an_image_is_built_by_running_its_steps() {
    let docker = docker!();
    let file = "FROM box\nENV A=from-env\nWORKDIR /work\nCOPY given .\nRUN cat given >made && echo $A >>made\n\
        USER 1000\nRUN id -u >/tmp/id\nCMD cat made /tmp/id\n";
    docker.world().write("/context/Dockerfile", file);
    docker.world().write("/context/given", "given\n");
    docker.docker(&["build", "--tag", "built", "/context"]).expect_ok();
    docker.docker(&["run", "--rm", "built"]).expect_ok().expect_stdout("given\nfrom-env\n1000\n");
    // A step that fails: its status, and what it said.
    docker.world().write("/context/Dockerfile", "FROM box\nRUN echo sorry >&2; exit 9\n");
    let failed = docker.docker(&["build", "/context"]).expect_fail();
    failed.expect_stderr("sorry").expect_stderr("returned a non-zero code: 9");
}

#[test]
fn containers_live_on_when_the_daemon_is_killed_and_are_found_again() {
    let mut docker = docker!("--live-restore");
    let name = docker.detached(&[], POLITE);
    let ending = docker.detached(&[], "sleep 2; echo ended meanwhile; exit 6");
    docker.wait_logs(&name, "begun");
    let pid = docker.inspect(&name, ".State.Pid");
    docker.murder();
    docker.world().sh(&format!("test -d /proc/{pid}")).output().expect_ok();
    wait_for("the end of the other", || {
        let output = docker.world().sh("pidof sleep").output();
        (output.stdout.split_whitespace().count() <= 1).then_some(())
    });
    docker.restart();
    assert_eq!(docker.inspect(&name, ".State.Status"), "running");
    assert_eq!(docker.inspect(&name, ".State.Pid"), pid);
    docker.wait_inspect(&ending, ".State.Status", "exited");
    assert_eq!(docker.inspect(&ending, ".State.ExitCode"), "6");
    // Everything works on it as before.
    docker.docker(&["pause", &name]).expect_ok();
    docker.docker(&["unpause", &name]).expect_ok();
    docker.docker(&["stop", &name]).expect_ok();
    assert_eq!(docker.inspect(&name, ".State.ExitCode"), "3");
    docker.docker(&["logs", &name]).expect_ok().expect_stdout("begun\nterm\n");
    docker.docker(&["start", &name]).expect_ok();
    docker.docker(&["rm", "--force", &name, &ending]).expect_ok();
}

#[test]
fn containers_of_a_killed_daemon_end_with_it_unless_they_shall_live_on() {
    let mut docker = docker!();
    let name = docker.detached(&["--restart", "always"], POLITE);
    docker.wait_logs(&name, "begun");
    let pid = docker.inspect(&name, ".State.Pid");
    docker.murder();
    docker.restart();
    // The daemon ends what it finds and starts it anew.
    docker.wait_inspect(&name, ".State.Status", "running");
    assert_ne!(docker.inspect(&name, ".State.Pid"), pid);
    docker.docker(&["rm", "--force", &name]).expect_ok();
}

#[test]
fn users_are_mapped_by_userns_remap() {
    let docker = docker!("--userns-remap=default");
    // Docker gives its user a range of ids.
    let range = docker.world().sh("sed -n 's/^dockremap://p' /etc/subuid").output().expect_ok().stdout;
    let (first, count) = range.trim().split_once(':').expect("a range in /etc/subuid");
    let map = docker.in_container(&[], "cat /proc/self/uid_map");
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", first, count]);
    docker.world().write("/data/file", "");
    docker.world().sh(&format!("chown {first} /data")).output().expect_ok();
    let script = "id -u; touch /data/made; echo written >/etc/file; hostname; stat -c %u /proc/1 /etc/passwd";
    let output = docker.in_container(&["--hostname", "inside", "--volume", "/data:/data"], script);
    assert_eq!(output, "0\ninside\n0\n0");
    docker.world().sh("stat -c %u /data/made").output().expect_ok().expect_stdout(&format!("{first}\n"));
    docker.sh(&["--volume", "/data:/data"], "chown 70000 /data/made").expect_fail();
    // A terminal of the right owner, and no mapping where none is asked for.
    let (mut terminal, other) = Terminal::pair();
    let run = ["run", "--rm", "--interactive", "--tty", "box", "sh", "-c", "stat -c %u $(tty)"];
    docker.call(&run).on_terminal(other).spawn().wait().expect_ok();
    let shown = terminal.read_to_end();
    assert!(shown.contains("0\r\n"), "{shown:?}");
    let map = docker.in_container(&["--userns", "host"], "cat /proc/self/uid_map");
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "0", "4294967295"]);
}

#[test]
fn what_the_runtime_logs_is_one_object_that_docker_understands() {
    let docker = docker!();
    let refused = docker.sh(&["--workdir", "/etc/passwd/x"], "true").expect_fail();
    let message = refused.stderr.lines().next().unwrap_or_default().to_owned();
    assert!(message.starts_with("docker: Error response from daemon:"), "{refused}");
    assert!(!message.contains("unmarshal") && !message.contains("{\""), "{refused}");
    let log = fs::read_to_string(docker.world().folder().join("dockerd.log")).unwrap();
    assert!(!log.contains("unable to parse") && !log.contains("invalid character"), "{log}");
}
