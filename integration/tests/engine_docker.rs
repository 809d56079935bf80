//! Docker with this runtime as its default runtime: what people do with `docker`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::engine::{Docker, manual};

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
}
