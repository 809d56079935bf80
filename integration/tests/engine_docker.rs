//! Docker with this runtime as its default runtime: what people do with `docker`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;

use integration::engine::workloads::POLITE;
use integration::engine::{Client, Docker, manual, workloads};
use integration::{Terminal, has_controller, requires, wait_for};

/// Leaves the test as skipped where there is no Docker; else a daemon of its own.
macro_rules! docker {
    ($($options:literal),*) => {{
        if let Some(obstacle) = Docker::obstacle() {
            integration::skip!("{obstacle}");
        }
        Docker::start_with(&[$($options),*])
    }};
}

#[test]
fn the_lines_of_the_manual_plug_it_in() {
    let docker = docker!();
    for (command, printed) in manual::dialogue("docker-proof") {
        docker.world().sh(&command).output().expect_ok().expect_stdout(&printed);
    }
}

#[test]
fn exit_codes_are_those_of_the_program_or_say_what_docker_could_not_run() {
    workloads::exit_codes(&docker!());
}

#[test]
fn a_process_has_the_user_rights_and_limits_that_were_asked_for() {
    workloads::rights_and_limits(&docker!());
}

#[test]
fn a_privileged_container_has_all_devices_and_capabilities() {
    requires!(workloads::gives_what_the_host_has(), "runc refuses a capability that the host lacks");
    workloads::privileged(&docker!());
}

#[test]
fn file_systems_are_read_only_temporary_bound_or_volumes() {
    workloads::file_systems(&docker!());
}

#[test]
fn a_container_is_stopped_killed_paused_restarted_and_removed() {
    workloads::life(&docker!());
}

#[test]
fn a_running_container_is_looked_at_and_changed() {
    let docker = docker!();
    let name = docker.detached(&[], "sleep 599 & exec sleep 600");
    // Both are there once the second has become what it is.
    wait_for("both processes", || {
        let top = docker.cli(&["top", &name, "-o", "pid,args"]).expect_ok().stdout;
        (top.contains("sleep 599") && top.contains("sleep 600") && top.lines().count() == 3).then_some(())
    });
    let format = "{{.Name}} {{.CPUPerc}}";
    let stats = docker.cli(&["stats", "--no-stream", "--format", format, &name]).expect_ok();
    assert!(stats.stdout.starts_with(&name) && stats.stdout.trim_end().ends_with('%'), "{stats}");
    if has_controller("cpu") {
        let busy = docker.detached(&[], "while :; do :; done");
        wait_for("time used", || {
            let stats = docker.cli(&["stats", "--no-stream", "--format", "{{.CPUPerc}}", &busy]).expect_ok();
            let percent: f64 = stats.stdout.trim().trim_end_matches('%').parse().unwrap();
            (percent > 1.0).then_some(())
        });
        docker.cli(&["rm", "--force", &busy]).expect_ok();
    }
    docker.cli(&["update", "--restart", "always", &name]).expect_ok();
    assert_eq!(docker.inspect(&name, ".HostConfig.RestartPolicy.Name"), "always");
    if has_controller("memory") && has_controller("pids") {
        docker
            .cli(&["update", "--pids-limit", "77", "--memory", "64m", "--memory-swap", "64m", &name])
            .expect_ok();
        let pid = docker.inspect(&name, ".State.Pid");
        let script =
            format!("cd /sys/fs/cgroup$(sed -n 's/^0:://p' /proc/{pid}/cgroup); cat pids.max memory.max");
        docker.world().sh(&script).output().expect_ok().expect_stdout("77\n67108864\n");
    }
}

#[test]
fn a_terminal_is_given_resized_left_and_taken_up_again() {
    workloads::terminals(&docker!());
}

#[test]
fn networks_are_none_the_hosts_another_containers_or_a_bridge() {
    let docker = docker!();
    workloads::networks(&docker);
    // The name service of a network of the user's own.
    let serve = "echo 'served' >/tmp/page; exec httpd -f -p 80 -h /tmp";
    docker.detached(&["--network", "own", "--network-alias", "page-server"], serve);
    wait_for("a page", || {
        let get = docker.sh(&["--network", "own"], "wget -q -O - http://page-server/page");
        (get.stdout == "served\n").then_some(())
    });
}

#[test]
fn an_image_is_built_by_running_its_steps() {
    workloads::build(&docker!());
}

#[test]
fn containers_live_on_when_the_daemon_is_killed_and_are_found_again() {
    let mut docker = docker!("--live-restore");
    let name = docker.detached(&[], POLITE);
    let ending = docker.detached(&[], "sleep 2.5; exit 6");
    docker.wait_logs(&name, "begun");
    let pid = docker.inspect(&name, ".State.Pid");
    docker.murder();
    docker.world().sh(&format!("test -d /proc/{pid}")).output().expect_ok();
    wait_for("the end of the other", || {
        let left = docker.world().sh("pgrep --full --exact 'sleep 2.5'").output();
        (!left.status.success()).then_some(())
    });
    docker.restart();
    assert_eq!(docker.inspect(&name, ".State.Status"), "running");
    assert_eq!(docker.inspect(&name, ".State.Pid"), pid);
    docker.wait_inspect(&ending, ".State.Status", "exited");
    assert_eq!(docker.inspect(&ending, ".State.ExitCode"), "6");
    // Everything works on it as before.
    docker.cli(&["pause", &name]).expect_ok();
    docker.cli(&["unpause", &name]).expect_ok();
    docker.cli(&["stop", &name]).expect_ok();
    assert_eq!(docker.inspect(&name, ".State.ExitCode"), "3");
    docker.cli(&["logs", &name]).expect_ok().expect_stdout("begun\nterm\n");
    docker.cli(&["start", &name]).expect_ok();
    docker.cli(&["rm", "--force", &name, &ending]).expect_ok();
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
    docker.cli(&["rm", "--force", &name]).expect_ok();
}

#[test]
fn users_are_mapped_by_userns_remap() {
    let docker = docker!("--userns-remap=default");
    // Docker gives its user a range of ids.
    let range = docker.world().sh("sed -n 's/^dockremap://p' /etc/subuid").output().expect_ok().stdout;
    let (first, count) = range.trim().split_once(':').expect("a range in /etc/subuid");
    let map = docker.in_container(&[], "cat /proc/self/uid_map");
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", first, count]);
    docker.world().write("/run/data/file", "");
    docker.world().sh(&format!("chown {first} /run/data")).output().expect_ok();
    let script = "id -u; touch /data/made; echo written >/etc/file; hostname; stat -c %u /proc/1 /etc/passwd";
    let output = docker.in_container(&["--hostname", "inside", "--volume", "/run/data:/data"], script);
    assert_eq!(output, "0\ninside\n0\n0");
    docker.world().sh("stat -c %u /run/data/made").output().expect_ok().expect_stdout(&format!("{first}\n"));
    docker.sh(&["--volume", "/run/data:/data"], "chown 70000 /data/made").expect_fail();
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

#[test]
fn further_programs_run_in_a_container() {
    workloads::exec(&docker!());
}

#[test]
fn a_further_program_has_a_terminal() {
    workloads::exec_on_a_terminal(&docker!());
}

#[test]
fn health_is_checked() {
    workloads::health(&docker!());
}

#[test]
fn namespaces_and_mounts_of_the_host_are_shared() {
    workloads::namespaces_of_the_host(&docker!());
}

#[test]
fn limits_stand_and_who_exceeds_them_is_killed() {
    let controllers = ["memory", "pids", "cpu"].iter().all(|name| has_controller(name));
    requires!(controllers, "no memory, pids and cpu controllers on cgroup v2");
    workloads::limits(&docker!());
}

#[test]
fn buildkit_finds_it_in_runcs_place() {
    let docker = docker!();
    // BuildKit in dockerd does not ask for the default runtime, only for runc in PATH.
    let script = "#!/bin/sh\necho \"$*\" >>/run/world/calls\nexec /usr/local/sbin/runtime \"$@\"\n";
    docker.world().write("/usr/local/sbin/runc", script);
    docker.world().sh("chmod 755 /usr/local/sbin/runc").output().expect_ok();
    let file = "FROM box\nWORKDIR /work\nRUN id -u >made\nUSER 1000\nRUN id -u >/tmp/made\n\
        CMD cat /work/made /tmp/made\n";
    docker.world().write("/run/context/Dockerfile", file);
    let build = "DOCKER_BUILDKIT=1 docker build --progress plain --tag built /run/context";
    docker.world().sh(build).output().expect_ok();
    docker.cli(&["run", "--rm", "built"]).expect_ok().expect_stdout("0\n1000\n");
    docker.world().write("/run/context/Dockerfile", "FROM box\nRUN echo sorry >&2; exit 9\n");
    docker.world().sh(build).output().expect_fail().expect_stderr("sorry").expect_stderr("exit code: 9");
    let calls = fs::read_to_string(docker.world().folder().join("calls")).unwrap();
    assert_eq!(calls.lines().filter(|call| call.contains(" run --bundle ")).count(), 3, "{calls}");
}
