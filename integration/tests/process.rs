//! `process.args`, `process.env`, `process.cwd`: what the program is given, seen from inside and in
//! /proc/PID. (runtime-spec config.md "Process".)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use integration::{Bundle, Call, asleep, json, known_gap, runtime_under_test};

#[test]
fn arguments_arrive_as_they_are_listed() {
    let args = ["sleep", "600", "", "two words", "'quote\"", "$HOME", "line\nbreak", "naïve ☃", "\\", "-x"];
    let script = "for a in \"$@\"; do printf '<%s>' \"$a\"; done";
    let mut all = vec!["sh", "-c", script];
    all.extend(args);
    let output = Bundle::new().args(&all).run().expect_ok();
    let expected: String = args[1..].iter().map(|arg| format!("<{arg}>")).collect();
    assert_eq!(output.stdout, expected);
}

#[test]
fn the_command_line_in_proc_is_the_one_listed() {
    let (_container, init) = asleep(Bundle::new());
    assert_eq!(init.cmdline(), ["sleep", "600"]);
    // The name alone is looked up in PATH, and argv[0] stays as it is listed.
    assert_eq!(fs::read_link(init.path("exe")).unwrap().file_name().unwrap(), "busybox");
}

#[test]
fn a_program_is_found_by_an_absolute_path() {
    Bundle::new().args(&["/bin/sh", "-c", "echo $0", "zero"]).run().expect_ok().expect_stdout("zero\n");
}

#[test]
fn a_program_is_found_relative_to_the_working_directory() {
    let bundle = Bundle::new().file("/srv/tool", 0o755, b"#!/bin/sh\necho from $PWD\n");
    let output = bundle.set("/process/cwd", json!("/srv")).args(&["./tool"]).run();
    output.expect_ok().expect_stdout("from /srv\n");
}

#[test]
fn path_of_the_container_and_not_of_the_host_is_searched_in_order() {
    let bundle = Bundle::new()
        .file("/opt/a/tool", 0o644, b"#!/bin/sh\necho not executable\n")
        .file("/opt/b/tool", 0o755, b"#!/bin/sh\necho b\n")
        .file("/opt/c/tool", 0o755, b"#!/bin/sh\necho c\n")
        .set("/process/env", json!(["PATH=/nowhere:/opt/a:/opt/b:/opt/c"]))
        .args(&["tool"]);
    let container = bundle.container();
    let output = container.birth("run", &[]).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").output();
    output.expect_ok().expect_stdout("b\n");
}

#[test]
fn a_folder_of_that_name_in_path_is_passed_over() {
    let bundle = Bundle::new().file("/opt/b/tool", 0o755, b"#!/bin/sh\necho b\n");
    fs::create_dir_all(bundle.rootfs().join("opt/a/tool")).unwrap();
    let bundle = bundle.set("/process/env", json!(["PATH=/opt/a:/opt/b"])).args(&["tool"]);
    bundle.run().expect_ok().expect_stdout("b\n");
}

#[test]
fn the_environment_is_what_is_listed_in_order_and_home() {
    let listed = ["PATH=/bin", "B=2", "A=1", "EMPTY=", "EQUALS=a=b=c", "SPACE= x ", "HOME=/else", "Z=☃"];
    let (_container, init) = asleep(Bundle::new().set("/process/env", json!(listed)));
    assert_eq!(init.environ(), listed);
}

#[test]
fn of_variables_listed_twice_the_last_one_counts() {
    let listed = json!(["PATH=/bin", "TWICE=first", "OTHER=x", "TWICE=second"]);
    let (_container, init) = asleep(Bundle::new().set("/process/env", listed));
    let twice: Vec<String> = init.environ().into_iter().filter(|entry| entry.starts_with("TWICE=")).collect();
    assert_eq!(twice.last().map(String::as_str), Some("TWICE=second"));
    let output = Bundle::new().env("TWICE", "first").env("TWICE", "second").sh("echo $TWICE").run();
    output.expect_ok().expect_stdout("second\n");
}

#[test]
fn nothing_of_the_callers_environment_arrives() {
    let bundle = Bundle::new().set("/process/env", json!(["PATH=/bin"])).args(&["sleep", "600"]);
    let container = bundle.container();
    let call = container.birth("run", &["--detach"]).output_in(container.bundle().scratch());
    call.env("CAISSON_SECRET", "1").env("LD_PRELOAD", "").output().expect_ok();
    let names: Vec<String> = container
        .init()
        .environ()
        .iter()
        .map(|entry| entry.split('=').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(names, ["PATH", "HOME"]);
}

#[test]
fn home_comes_from_the_containers_passwd() {
    for (uid, home) in [(0, "/root"), (1000, "/home/user"), (4242, "/")] {
        let bundle = Bundle::new().set("/process/env", json!(["PATH=/bin"]));
        let bundle = bundle.set("/process/user/uid", json!(uid)).sh("echo $HOME");
        bundle.run().expect_ok().expect_stdout(&format!("{home}\n"));
    }
}

#[test]
fn home_is_the_root_where_there_is_no_passwd() {
    let bundle = Bundle::new().set("/process/env", json!(["PATH=/bin"])).sh("echo $HOME");
    fs::remove_file(bundle.rootfs().join("etc/passwd")).unwrap();
    bundle.run().expect_ok().expect_stdout("/\n");
}

#[test]
fn a_hostile_passwd_neither_blocks_nor_breaks_the_start() {
    // A pipe nobody writes to: CVE-2024-9676 made engines wait for ever.
    known_gap!(Runc, Crun, "these versions open whatever is there, and wait");
    let bundle = Bundle::new().set("/process/env", json!(["PATH=/bin"])).sh("echo $HOME");
    let passwd = bundle.rootfs().join("etc/passwd");
    fs::remove_file(&passwd).unwrap();
    nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    bundle.run().expect_ok().expect_stdout("/\n");
}

#[test]
fn the_working_directory_is_entered() {
    let output = Bundle::new().set("/process/cwd", json!("/home/user")).sh("pwd").run();
    output.expect_ok().expect_stdout("/home/user\n");
}

#[test]
fn a_missing_working_directory_is_made() {
    let bundle = Bundle::new().set("/process/cwd", json!("/new/folders/here"));
    let made = bundle.rootfs().join("new/folders/here");
    let container = bundle.sh("pwd; stat -c '%a %u' /new /new/folders/here").container();
    container.run().expect_ok().expect_stdout("/new/folders/here\n755 0\n755 0\n");
    assert!(made.is_dir());
}

#[test]
fn a_working_directory_below_a_mount_is_made_in_that_mount() {
    let bundle =
        Bundle::new().mount("/mnt", "tmpfs", "tmpfs", &["nosuid"]).set("/process/cwd", json!("/mnt/x/y"));
    let root = bundle.rootfs();
    let container = bundle.sh("pwd").container();
    container.run().expect_ok().expect_stdout("/mnt/x/y\n");
    assert!(!root.join("mnt/x").exists());
}

#[test]
fn a_working_directory_reached_through_links_stays_inside() {
    let bundle = Bundle::new().set("/process/cwd", json!("/link/sub")).sh("pwd -P");
    std::os::unix::fs::symlink("../../../../srv", bundle.rootfs().join("link")).unwrap();
    fs::create_dir(bundle.rootfs().join("srv/sub")).unwrap();
    bundle.run().expect_ok().expect_stdout("/srv/sub\n");
}

#[test]
fn a_working_directory_that_is_a_file_is_refused() {
    let container = Bundle::new().set("/process/cwd", json!("/etc/hosts")).container();
    container.create().expect_code(1).expect_runc_phrase("not a directory");
    container.state_output().expect_code(1);
}

#[test]
fn a_relative_working_directory_is_refused() {
    let container = Bundle::new().set("/process/cwd", json!("relative")).container();
    container.create().expect_fail().expect_runc_phrase("absolute");
}

#[test]
fn a_working_directory_that_only_root_can_reach_is_entered_for_any_user() {
    // As with `docker run --user 1000 --workdir /root`: the folder is entered before root is given up.
    let bundle = Bundle::new().set("/process/user", json!({"uid": 1000, "gid": 1000}));
    fs::set_permissions(bundle.rootfs().join("root"), Permissions::from_mode(0o700)).unwrap();
    let bundle = bundle.set("/process/cwd", json!("/root")).sh("id -u; ls . 2>/dev/null || echo closed");
    bundle.run().expect_ok().expect_stdout("1000\nclosed\n");
}

#[test]
fn signals_that_the_caller_ignores_or_blocks_are_as_new_for_the_program() {
    known_gap!(Runc, "1.1.5 ignores a signal of its own, and the program inherits that");
    known_gap!(Crun, "the harness calls it through a shell of its own");
    let container = Bundle::new().args(&["sleep", "600"]).container();
    // A shell's `trap ''` ignores, and what is ignored stays so over execve; perl blocks.
    let block = "use POSIX; sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGUSR1, SIGCHLD)) or die; exec @ARGV";
    let call = Call::of("sh").args(["-c", "trap '' PIPE USR2; exec perl -e \"$0\" \"$@\"", block]);
    let call =
        call.args([runtime_under_test()]).args(["--root".as_ref(), container.state_root().as_os_str()]);
    let call = call.args(["run", "--detach", "--bundle"]).args([container.bundle().path()]);
    call.args([container.id()]).output_in(container.bundle().scratch()).output().expect_ok();
    for field in ["SigBlk", "SigIgn"] {
        assert_eq!(container.init().status(field), "0000000000000000", "{field}");
    }
}

#[test]
fn only_standard_descriptors_are_open() {
    let output = Bundle::new().sh("ls /proc/self/fd | tr '\\n' ' '").run().expect_ok();
    // The fourth is the one with which ls reads the folder.
    assert_eq!(output.stdout, "0 1 2 3 ");
    let (_container, init) = asleep(Bundle::new());
    let open: Vec<u32> = init.descriptors().into_iter().map(|(number, _)| number).collect();
    assert_eq!(open, [0, 1, 2]);
}
