//! Buildah with this runtime: builds, and commands in what is being built.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::Terminal;
use integration::engine::{Buildah, manual};

/// Leaves the test as skipped where there is no Buildah; else one in a world of its own.
macro_rules! buildah {
    () => {{
        if let Some(obstacle) = Buildah::obstacle() {
            integration::skip!("{obstacle}");
        }
        Buildah::start()
    }};
}

#[test]
fn the_lines_of_the_manual_plug_it_in() {
    let buildah = buildah!();
    for (command, printed) in manual::dialogue("buildah-proof") {
        buildah.world().sh(&command).output().expect_ok().expect_stdout(&printed);
    }
}

#[test]
fn an_image_is_built_by_running_its_steps() {
    let buildah = buildah!();
    let file = "FROM box\nENV A=from-env\nWORKDIR /work\nCOPY given .\nRUN cat given >made && echo $A >>made\n\
        USER 1000\nRUN id -u >/tmp/id\n";
    buildah.world().write("/run/context/Containerfile", file);
    buildah.world().write("/run/context/given", "given\n");
    buildah.buildah(&["bud", "--tag", "built", "/run/context"]).expect_ok();
    let container = buildah.buildah(&["from", "built"]).expect_ok().stdout.trim().to_owned();
    let seen = buildah.buildah(&["run", &container, "cat", "/work/made", "/tmp/id"]).expect_ok();
    seen.expect_stdout("given\nfrom-env\n1000\n");
    // A step that fails: its status, and what it said.
    buildah.world().write("/run/context/Containerfile", "FROM box\nRUN echo sorry >&2; exit 9\n");
    buildah.buildah(&["bud", "/run/context"]).expect_code(9).expect_stderr("sorry");
    buildah.world().write("/run/context/Containerfile", "FROM box\nRUN [\"/no-such-program\"]\n");
    let missing = buildah.buildah(&["bud", "/run/context"]).expect_fail();
    missing.expect_stderr("exec: \"/no-such-program\": stat /no-such-program: no such file or directory");
}

#[test]
fn a_command_runs_in_a_working_container() {
    let buildah = buildah!();
    let container = buildah.buildah(&["from", "box"]).expect_ok().stdout.trim().to_owned();
    let run = |options: &[&str], script: &str| {
        let words = [&["run"], options, &[&container, "sh", "-c", script]].concat();
        buildah.buildah(&words)
    };
    run(&[], "echo out; exit 7").expect_code(7).expect_stdout("out\n");
    run(&["--user", "7:8", "--workingdir", "/tmp", "--hostname", "named"], "id -u; id -g; pwd; hostname")
        .expect_ok()
        .expect_stdout("7\n8\n/tmp\nnamed\n");
    buildah.world().write("/run/shared/file", "shared\n");
    run(
        &["--volume", "/run/shared:/shared:ro"],
        "cat /shared/file; touch /shared/x 2>/dev/null || echo read-only",
    )
    .expect_ok()
    .expect_stdout("shared\nread-only\n");
    let none = run(&["--cap-add", "CAP_SYS_ADMIN"], "mount -t tmpfs tmpfs /mnt && echo mounted").expect_ok();
    none.expect_stdout("mounted\n");
    let (mut terminal, other) = Terminal::pair();
    let words = ["run", "--tty", &container, "sh", "-c", "tty; read x; echo got $x; exit 3"];
    let running = buildah.call(&words).on_terminal(other).spawn();
    terminal.read_until("/dev/pts/0");
    terminal.send("input\n");
    terminal.read_until("got input");
    running.wait().expect_code(3);
}
