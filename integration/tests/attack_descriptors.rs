//! Descriptors, folders and memory of the runtime that a container could get hold of.
//!
//! CVE-2024-21626, GHSA-xr7r-f8xq-vfvv, CVE-2016-9962. See docs/attacks.md.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod attack;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use attack::Canary;
use integration::{Bundle, Call, Container, Process, json, runtime_under_test, wait_for};

/// The descriptors that a runtime could have open at the wrong moment; the published attack used 7 and 8.
const DESCRIPTORS: std::ops::Range<u32> = 3..24;

/// A call of the runtime from a shell that has more open than it should: `exec` redirections, then `birth`.
fn called_with(redirections: &str, container: &Container, command: &str, options: &[&str]) -> Call {
    let script = format!("exec {redirections}; exec \"$0\" \"$@\"");
    Call::of("sh")
        .args(["-c".as_ref(), script.as_ref(), runtime_under_test().as_os_str()])
        .args(["--root".as_ref(), container.state_root().as_os_str()])
        .args([command.as_ref(), "--bundle".as_ref(), container.bundle().path().as_os_str()])
        .args(options)
        .args([container.id()])
}

#[test]
fn cve_2024_21626_no_descriptor_of_the_runtime_is_a_working_directory() {
    ours_only!();
    let bundle = Bundle::new().sh("cat /proc/self/cwd/../outside/file outside/file 2>/dev/null; pwd");
    symlink("/proc/self/fd", bundle.rootfs().join("descriptors")).unwrap();
    let canary = Canary::of(&bundle);
    let scratch = bundle.scratch().to_str().unwrap().to_owned();
    let container = bundle.container();
    let config = container.bundle().path().join("config.json");
    let original = fs::read_to_string(&config).unwrap();
    for number in DESCRIPTORS {
        for cwd in [
            format!("/proc/self/fd/{number}"),
            format!("/proc/self/fd/{number}/"),
            format!("/descriptors/{number}"),
            format!("/proc/thread-self/fd/{number}/../../..{scratch}"),
        ] {
            let text = original.replace("\"cwd\":\"/\"", &format!("\"cwd\":{cwd:?}"));
            assert_ne!(text, original);
            fs::write(&config, text).unwrap();
            let output =
                called_with(&format!("7< {0:?} 9< {0:?} 8< /", canary.path()), &container, "run", &[]);
            let output = output.output().expect_fail().expect_stderr("process.cwd");
            assert!(!output.stdout.contains("canary"), "{cwd}: {output}");
            canary.assert_untouched(&cwd);
        }
    }
}

#[test]
fn cve_2024_21626_no_descriptor_of_the_runtime_leads_to_a_program() {
    ours_only!();
    let bundle = Bundle::new();
    let canary = Canary::of(&bundle);
    let script = bundle.scratch().join("program");
    fs::write(&script, "#!/bin/sh\necho escaped\n").unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let script = script.to_str().unwrap().to_owned();
    let container = bundle.args(&["PROGRAM"]).container();
    let config = container.bundle().path().join("config.json");
    let original = fs::read_to_string(&config).unwrap();
    for number in DESCRIPTORS {
        for program in [
            format!("/proc/self/fd/{number}"),
            format!("/proc/self/fd/{number}/program"),
            format!("/proc/self/fd/{number}/../program"),
            format!("/proc/self/fd/{number}{script}"),
            format!("/proc/self/fd/{number}/../../../../../../..{script}"),
        ] {
            fs::write(&config, original.replace("PROGRAM", &program)).unwrap();
            let redirections = format!("7< {:?} 9< / 8< {script:?}", container.bundle().scratch());
            let output = called_with(&redirections, &container, "run", &[]).output().expect_fail();
            let output = output.expect_stderr("exec: \"/proc/self/fd");
            assert!(!output.stdout.contains("escaped"), "{program}: {output}");
        }
    }
    canary.assert_untouched("programs by descriptor");
}

#[test]
fn cve_2024_21626_the_program_has_its_three_descriptors_and_no_more() {
    ours_only!();
    let script = "for f in /proc/1/fd/*; do echo ${f##*/}; done; read line";
    for (options, wanted) in [(&[][..], "0 1 2"), (&["--preserve-fds", "2"], "0 1 2 3 4")] {
        let container = Bundle::new().args(&["cat"]).container();
        let outside = container.bundle().scratch().to_owned();
        let redirections = format!("3< {outside:?} 4< /dev/zero 7< {outside:?} 9< / 8< /etc/passwd");
        let mut run = called_with(&redirections, &container, "run", options).stdin_pipe().spawn();
        container.wait_running(&mut run);
        wait_for("the program", || (container.init().cmdline() == ["cat"]).then_some(()));
        let numbers: Vec<_> =
            container.init().descriptors().iter().map(|(number, _)| number.to_string()).collect();
        assert_eq!(numbers.join(" "), wanted);
        drop(run.stdin());
        run.wait().expect_ok();
    }
    // As the program itself sees it; 3 is the folder that the shell reads.
    let seen = Bundle::new().in_container(&script.replace("; read line", ""));
    assert!(seen.split('\n').all(|number| ["0", "1", "2", "3", "*"].contains(&number)), "{seen}");
}

#[test]
fn a_created_container_s_init_holds_nothing_of_the_host() {
    ours_only!();
    let source = Bundle::new();
    let volume = source.scratch_file("volume");
    fs::create_dir(&volume).unwrap();
    let container = Bundle::new().sleeping().bind(&volume, "/volume", &["rbind"]).container();
    let outside = container.bundle().scratch().to_owned();
    let output = container.bundle().scratch_file("output");
    fs::create_dir(&output).unwrap();
    let redirections = format!("7< {outside:?} 9< / 8< /etc/passwd");
    called_with(&redirections, &container, "create", &[]).output_in(output.as_ref()).output().expect_ok();
    let init = container.init();
    let state = container.state_root().join(container.id());
    for (number, _) in init.descriptors() {
        let stat = init.path(&format!("fd/{number}")).metadata().unwrap();
        assert!(!stat.is_dir(), "descriptor {number} is a folder: {:?}", init.descriptors());
        // Standard input and output, the gate's two FIFOs, and the end of the channel.
        let is_gate = ["gate", "report"].iter().any(|name| {
            let gate = state.join(name).metadata().unwrap();
            (gate.dev(), gate.ino()) == (stat.dev(), stat.ino())
        });
        assert!(number < 3 || is_gate, "descriptor {number} is left: {:?}", init.descriptors());
    }
    let rootfs = container.bundle().rootfs().metadata().unwrap();
    for door in ["root", "cwd"] {
        let stat = init.path(door).metadata().unwrap();
        assert_eq!((stat.dev(), stat.ino()), (rootfs.dev(), rootfs.ino()), "{door}");
    }
    // Nothing of the host's tree is mounted any more, beneath or on top.
    let mounts = init.mounts();
    let host = Process::this().mounts();
    let top = host.iter().find(|mount| mount.destination.as_os_str() == "/").unwrap();
    assert!(
        !mounts.iter().any(|mount| mount.root == top.root && mount.source == top.source),
        "the host's root is still there: {mounts:#?}"
    );
}

/// A container, created and not started, and what a neighbour in its pid namespace says of it.
#[track_caller]
fn what_a_neighbour_sees(script: &str) -> String {
    let created = Bundle::new().sleeping().container();
    let output = created.bundle().scratch_file("output");
    fs::create_dir(&output).unwrap();
    let call = created.birth("create", &[]).env("CAISSON_SECRET", "secret-of-the-caller");
    call.output_in(output.as_ref()).output().expect_ok();
    let namespace = format!("/proc/{}/ns/pid", created.init_pid());
    let neighbour = Bundle::new()
        .capabilities(&["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SETUID", "CAP_KILL", "CAP_MKNOD"])
        .join_namespace("pid", &namespace)
        .sh(&format!("({script}) 2>&1; true"))
        .run()
        .expect_ok();
    assert_eq!(created.status(), "created", "{script}: {}", neighbour.stdout);
    neighbour.stdout
}

#[test]
fn cve_2016_9962_a_neighbour_in_the_pid_namespace_does_not_get_at_an_init_that_waits() {
    ours_only!();
    for attempt in [
        "cat /proc/1/environ",
        "ls -l /proc/1/fd/0",
        "for f in /proc/1/fd/*; do cat $f; done",
        "for f in /proc/1/fd/*; do printf G > $f; done",
        "ls /proc/1/root/",
        "ls /proc/1/cwd/",
        "cat /proc/1/mem",
        "cat /proc/1/maps",
        "cat /proc/1/exe",
    ] {
        let seen = what_a_neighbour_sees(attempt);
        assert!(seen.to_lowercase().contains("denied"), "{attempt}: {seen}");
        assert!(!seen.contains("secret-of-the-caller"), "{attempt}: {seen}");
    }
}

#[test]
fn no_socket_of_the_runtime_has_an_abstract_name() {
    ours_only!();
    // CVE-2020-15257: whoever shares the network namespace reaches an abstract socket.
    let abstract_names = || {
        let sockets = fs::read_to_string("/proc/net/unix").unwrap();
        let names: Vec<String> =
            sockets.lines().filter_map(|line| Some(line.split_once(" @")?.1.to_owned())).collect();
        names
    };
    let container = Bundle::new().sleeping().remove_namespace("network").container();
    container.create().expect_ok();
    let init = container.init();
    let sockets =
        || init.descriptors().into_iter().filter(|(_, to)| to.starts_with("socket:")).collect::<Vec<_>>();
    // `create` is done when it has told init so; init may still be on its way to the gate.
    wait_for("init to let go of its last socket", || sockets().is_empty().then_some(()));
    container.start().expect_ok();
    let name = runtime_under_test().file_name().unwrap().to_str().unwrap();
    for found in abstract_names() {
        assert!(!found.contains(container.id()) && !found.contains(name), "{found}");
    }
}

#[test]
fn a_script_of_the_test_really_hands_descriptors_over() {
    // Or the tests above would show nothing: `sh` keeps what it opened by number over exec.
    let output =
        Call::of("sh").args(["-c", "exec 7< / ; exec readlink /proc/self/fd/7"]).output().expect_ok();
    assert_eq!(output.stdout, "/\n");
    assert_eq!(json!("/").to_string(), "\"/\"");
}

/// A runtime that is root of a user namespace and nothing on the host, and joins one inside that, whose root would
/// get at the descriptors of an init that waits: it is not dumpable before it joins.
#[test]
fn cve_2016_9962_a_joined_user_namespace_does_not_get_at_an_init_of_a_rootless_runtime() {
    ours_only!();
    let outer =
        Call::of("unshare").args(["--user", "--map-root-user", "--mount", "cat"]).stdin_pipe().spawn();
    let namespace = |pid: u32, kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    let own = |kind: &str| namespace(std::process::id(), kind);
    wait_for("the outer namespaces", || (namespace(outer.pid(), "mnt") != own("mnt")).then_some(()));
    let outer_pid = outer.pid().to_string();
    let enter = ["nsenter", "--target", &outer_pid, "--user", "--mount", "--preserve-credentials"];
    let inner = Call::of(enter[0])
        .args(&enter[1..])
        .args(["unshare", "--user", "--map-root-user", "--ipc", "cat"])
        .stdin_pipe()
        .spawn();
    wait_for("the inner namespaces", || {
        let user = namespace(inner.pid(), "user");
        (namespace(inner.pid(), "ipc") != own("ipc") && user != namespace(outer.pid(), "user")).then_some(())
    });
    let inner_pid = inner.pid().to_string();
    // Group 5 of the terminals is none of the namespace's.
    let bundle = Bundle::new().sleeping().remove_mount("/dev/pts");
    let bundle = bundle.join_namespace("user", &format!("/proc/{inner_pid}/ns/user"));
    let container = bundle.container().with_globals(&["--rootless", "true"]);
    let output = container.bundle().scratch_file("output");
    fs::create_dir(&output).unwrap();
    container.birth_by(&enter, "create", &[]).output_in(output.as_ref()).output().expect_ok();
    let init = container.init();
    assert_eq!(init.namespace("user"), Process::new(inner.pid()).namespace("user"));
    let look = |path: PathBuf| {
        Call::of("nsenter")
            .args(["--target", &inner_pid, "--user", "--preserve-credentials", "readlink"])
            .args([path])
            .output()
    };
    look(init.path("root")).expect_code(1);
    look(init.path("fd/0")).expect_code(1);
    // The same look at the program, once it runs, shows that the look itself works.
    container.start().expect_ok();
    look(init.path("fd/0")).expect_ok();
    container.delete_force().expect_ok();
}
