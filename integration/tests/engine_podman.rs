//! Podman with this runtime as its runtime: what people do with `podman`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::engine::{Client, Podman, manual, workloads};
use integration::{Terminal, has_controller, requires, wait_for};

/// Leaves the test as skipped where there is no Podman; else one in a world of its own.
macro_rules! podman {
    () => {{
        if let Some(obstacle) = Podman::obstacle() {
            integration::skip!("{obstacle}");
        }
        Podman::start()
    }};
}

#[test]
fn the_lines_of_the_manual_plug_it_in() {
    let podman = podman!();
    for (command, printed) in manual::dialogue("podman-proof") {
        podman.world().sh(&command).output().expect_ok().expect_stdout(&printed);
    }
}

#[test]
fn exit_codes_are_those_of_the_program_or_say_what_podman_could_not_run() {
    workloads::exit_codes(&podman!());
}

#[test]
fn errors_come_from_the_log_as_the_runtimes_one_message() {
    let podman = podman!();
    let refused = podman.sh(&["--sysctl", "net.ipv4.no_such_parameter=1"], "true").expect_fail();
    let message = refused.stderr.lines().last().unwrap_or_default().to_owned();
    assert!(message.starts_with("Error: caisson: "), "{refused}");
    assert!(message.contains("no_such_parameter") && !message.contains('{'), "{refused}");
}

#[test]
fn a_process_has_the_user_rights_and_limits_that_were_asked_for() {
    workloads::rights_and_limits(&podman!());
}

#[test]
fn a_privileged_container_has_all_devices_and_capabilities() {
    requires!(workloads::gives_what_the_host_has(), "runc refuses a capability that the host lacks");
    workloads::privileged(&podman!());
}

#[test]
fn file_systems_are_read_only_temporary_bound_or_volumes() {
    workloads::file_systems(&podman!());
}

#[test]
fn a_container_is_stopped_killed_paused_restarted_and_removed() {
    workloads::life(&podman!());
}

#[test]
fn a_terminal_is_given_resized_left_and_taken_up_again() {
    workloads::terminals(&podman!());
}

#[test]
fn networks_are_none_the_hosts_another_containers_or_a_bridge() {
    workloads::networks(&podman!());
}

#[test]
fn an_image_is_built_by_running_its_steps() {
    workloads::build(&podman!());
}

#[test]
fn users_are_mapped_by_options() {
    let podman = podman!();
    let map = |options: &[&str]| {
        let map = podman.in_container(options, "cat /proc/self/uid_map");
        map.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(map(&["--uidmap", "0:100000:5000"]), ["0", "100000", "5000"]);
    let own = map(&["--userns", "auto"]);
    assert_eq!((own[0].as_str(), own[1].as_str()), ("0", "400000"));
    assert_eq!(map(&["--userns", "auto:size=300"])[2], "300");

    // Files of the image and of volumes are seen with their owners, a terminal too.
    podman.world().sh("mkdir /run/data && chown 100000 /run/data").output().expect_ok();
    let options = ["--uidmap", "0:100000:5000", "--volume", "/run/data:/data", "--hostname", "inside"];
    let output =
        podman.in_container(&options, "touch /data/made; hostname; stat -c %u /data /etc/passwd /proc/1");
    assert_eq!(output, "inside\n0\n0\n0");
    podman.world().sh("stat -c %u /run/data/made").output().expect_ok().expect_stdout("100000\n");
    let (mut terminal, other) = Terminal::pair();
    let run =
        ["run", "--rm", "-it", "--uidmap", "0:100000:5000", "box", "sh", "-c", "stat -c 'owner %u' $(tty)"];
    podman.call(&run).on_terminal(other).spawn().wait().expect_ok();
    assert!(terminal.read_to_end().contains("owner 0"));
}

#[test]
fn a_running_container_is_looked_at() {
    let podman = podman!();
    let name = podman.detached(&[], "sleep 599 & exec sleep 600");
    wait_for("both processes", || {
        let top = podman.cli(&["top", &name, "pid", "args"]).expect_ok().stdout;
        (top.contains("sleep 599") && top.contains("sleep 600") && top.lines().count() == 3).then_some(())
    });
    // Its own cgroup's time is there whatever controllers are.
    let busy = podman.detached(&[], "while :; do :; done");
    wait_for("time used", || {
        let stats = podman.cli(&["stats", "--no-stream", "--format", "{{.CPUPerc}}", &busy]).expect_ok();
        let percent: f64 = stats.stdout.trim().trim_end_matches('%').parse().unwrap();
        (percent > 1.0).then_some(())
    });
}

#[test]
fn further_programs_run_in_a_container() {
    workloads::exec(&podman!());
}

#[test]
fn a_further_program_has_a_terminal() {
    workloads::exec_on_a_terminal(&podman!());
}

#[test]
fn health_is_checked_when_asked_for() {
    // Podman leaves the interval to systemd's timers; each check is a program run in the container.
    let podman = podman!();
    let name = podman
        .detached(&["--health-cmd", "test -e /tmp/well", "--health-interval", "disable"], "exec sleep 600");
    podman.cli(&["healthcheck", "run", &name]).expect_code(1);
    podman.cli(&["exec", &name, "touch", "/tmp/well"]).expect_ok();
    podman.cli(&["healthcheck", "run", &name]).expect_ok();
}

#[test]
fn namespaces_and_mounts_of_the_host_are_shared() {
    workloads::namespaces_of_the_host(&podman!());
}

#[test]
fn limits_stand_and_who_exceeds_them_is_killed() {
    let controllers = ["memory", "pids", "cpu"].iter().all(|name| has_controller(name));
    requires!(controllers, "no memory, pids and cpu controllers on cgroup v2");
    workloads::limits(&podman!());
}
