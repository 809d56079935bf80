//! What a container or a hook inherits without having been given it: environment, groups, capabilities,
//! working directory, signals.
//!
//! CVE-2022-29162, CVE-2022-27650, CVE-2022-24769, CVE-2025-27612, CVE-2022-36109, CVE-2023-25173,
//! CVE-2020-14370, CVE-2025-23266. See docs/attacks.md.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod attack;

use std::fs;

use integration::{Bundle, Call, Container, json};

/// The runtime with `run` for a container, started by a program that first changes its own process.
fn run_under(changer: &[&str], container: &Container) -> Call {
    container.birth_by(changer, "run", &[])
}

#[test]
fn cve_2022_29162_no_capability_is_inherited_from_the_caller() {
    ours_only!();
    // Every set of the caller has what a root without limits would pass on, down to the ambient one.
    let some = "+kill,+chown,+dac_override,+net_raw,+setuid,+sys_admin";
    let full = ["setpriv", "--inh-caps", some, "--ambient-caps", some, "--"];
    let show = "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | tr '\\n' ' '";
    let none = "0000000000000000";
    let kill = "0000000000000020";
    for (uid, effective) in [(0, kill), (1000, none)] {
        let sets = json!({"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]});
        let container = Bundle::new()
            .set("/process/capabilities", sets)
            .set("/process/user", json!({"uid": uid, "gid": uid}))
            .sh(show)
            .container();
        let output = run_under(&full, &container).output().expect_ok();
        let wanted = format!(
            "CapInh:\t{none} CapPrm:\t{effective} CapEff:\t{effective} CapBnd:\t{kill} CapAmb:\t{none} "
        );
        assert_eq!(output.stdout, wanted, "uid {uid}");
    }
    // Without the field there are none at all.
    let container = Bundle::new().remove("/process/capabilities").sh(show).container();
    let output = run_under(&full, &container).output().expect_ok();
    let wanted = format!("CapInh:\t{none} CapPrm:\t{none} CapEff:\t{none} CapBnd:\t{none} CapAmb:\t{none} ");
    assert_eq!(output.stdout, wanted);
}

#[test]
fn cve_2022_29162_a_file_with_capabilities_gives_no_more_than_the_bounding_set() {
    ours_only!();
    let bundle = Bundle::new();
    let file = bundle.rootfs().join("bin/capable");
    Call::of("cp").args([bundle.rootfs().join("bin/busybox"), file.clone()]).output().expect_ok();
    // VFS_CAP_REVISION_2, effective; permitted and inheritable: everything (capabilities(7), xattr(7)).
    let mut value = 0x0200_0001_u32.to_le_bytes().to_vec();
    value.extend([0xff; 8]);
    value.extend([0xff, 0x01, 0, 0, 0xff, 0x01, 0, 0]);
    if let Err(error) =
        rustix::fs::setxattr(&file, "security.capability", &value, rustix::fs::XattrFlags::empty())
    {
        integration::skip!("no file capabilities in this file system: {error}");
    }
    let container = bundle
        .capabilities(&[])
        .set("/process/noNewPrivileges", json!(false))
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .args(&["/bin/capable", "grep", "-E", "^Cap(Prm|Eff)", "/proc/self/status"])
        .container();
    let output = container.run();
    // The kernel refuses to run it, or runs it without.
    assert!(output.stdout.lines().all(|line| line.ends_with("0000000000000000")), "{output}");
}

#[test]
fn cve_2022_36109_groups_are_those_of_the_configuration() {
    ours_only!();
    for (listed, wanted) in [(json!([]), "0"), (json!([7, 8]), "0 7 8")] {
        let container = Bundle::new()
            .set("/process/user", json!({"uid": 0, "gid": 0, "additionalGids": listed}))
            .sh("id -G")
            .container();
        let changer = ["setpriv", "--groups", "4242,4243", "--"];
        let output = run_under(&changer, &container).output().expect_ok();
        assert_eq!(output.stdout.trim_end(), wanted);
    }
}

#[test]
fn cve_2020_14370_the_environment_is_that_of_the_configuration() {
    ours_only!();
    let container = Bundle::new().env("LISTED", "1").args(&["env"]).container();
    let output = container
        .birth("run", &[])
        .env("CAISSON_SECRET", "secret")
        .env("LD_PRELOAD", "")
        .env("NOTIFY_SOCKET", "")
        .output()
        .expect_ok();
    let mut names: Vec<_> = output.stdout.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LISTED", "PATH", "TERM"]);
}

#[test]
fn the_environment_of_a_created_container_is_gone_once_it_runs() {
    ours_only!();
    let container = Bundle::new().sleeping().container();
    let output = container.bundle().scratch_file("output");
    fs::create_dir(&output).unwrap();
    container
        .birth("create", &[])
        .env("CAISSON_SECRET", "secret")
        .output_in(output.as_ref())
        .output()
        .expect_ok();
    container.start().expect_ok();
    let environment = container.init().environ();
    assert!(!environment.iter().any(|entry| entry.starts_with("CAISSON_SECRET")), "{environment:?}");
}

#[test]
fn cve_2025_23266_a_hook_gets_neither_the_container_s_environment_nor_the_caller_s() {
    ours_only!();
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let bundle = Bundle::new().sleeping();
        let report = bundle.scratch_file("report");
        // The cwd too: a folder of the image must not be where a careless hook looks for its libraries.
        let script =
            format!("/usr/bin/env > {report}; /bin/pwd >> {report}; ls -l /proc/self/fd >> {report}");
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["LISTED=1"]});
        let container = bundle
            .env("LD_PRELOAD", "/evil.so")
            .env("EVIL", "1")
            .push(&format!("/hooks/{kind}"), hook)
            .container();
        let output = container.bundle().scratch_file("output");
        fs::create_dir(&output).unwrap();
        let call = container.birth("create", &[]).env("CAISSON_SECRET", "secret");
        call.output_in(output.as_ref()).output().expect_ok();
        container.start().expect_ok();
        container.delete_force().expect_ok();
        let report = fs::read_to_string(&report).unwrap_or_else(|error| panic!("{kind}: {error}"));
        // PWD and the like are the shell's own.
        for stranger in ["LD_PRELOAD", "EVIL", "CAISSON_SECRET", "TERM=", "HOME="] {
            assert!(!report.contains(stranger), "{kind}: {report}");
        }
        assert!(report.contains("LISTED=1\n"), "{kind}: {report}");
        let bundle = container.bundle().path();
        let bundle = bundle.to_str().unwrap();
        let place = report.lines().find(|line| line.starts_with('/')).unwrap();
        assert_eq!(place, bundle, "{kind}");
        let numbers: Vec<_> = report
            .lines()
            .filter_map(|line| line.split(" -> ").next()?.rsplit(' ').next()?.parse::<u32>().ok())
            .collect();
        assert!(numbers.iter().all(|number| *number <= 3), "{kind}: {report}");
    }
}

#[test]
fn cve_2025_23266_a_hook_in_the_container_runs_without_its_environment() {
    ours_only!();
    let output = Bundle::new()
        .env("EVIL", "1")
        .push(
            "/hooks/startContainer",
            json!({"path": "/bin/sh", "args": ["sh", "-c", "env > /tmp/report"], "env": ["LISTED=1"]}),
        )
        .args(&["cat", "/tmp/report"])
        .run()
        .expect_ok();
    assert!(output.stdout.contains("LISTED=1") && !output.stdout.contains("EVIL"), "{output}");
}

#[test]
fn signals_that_the_caller_blocks_or_ignores_are_neither_for_the_program() {
    ours_only!();
    let container = Bundle::new().sh("grep -E '^Sig(Blk|Ign)' /proc/self/status | tr '\\n' ' '").container();
    // env(1) ignores and blocks what it is told to, then becomes the runtime.
    let changer = ["env", "--ignore-signal=TERM,USR1,PIPE", "--block-signal=HUP,USR2", "--"];
    let output = run_under(&changer[..3], &container).output().expect_ok();
    assert_eq!(output.stdout, "SigBlk:\t0000000000000000 SigIgn:\t0000000000000000 ");
}

#[test]
fn the_death_of_the_caller_is_no_signal_for_the_container() {
    ours_only!();
    // PDEATHSIG of the caller's kind is cleared by the kernel in a clone, and must not be set again.
    let container = Bundle::new().sleeping().container();
    let output = container.bundle().scratch_file("output");
    fs::create_dir(&output).unwrap();
    container
        .birth_by(&["setpriv", "--pdeathsig", "KILL", "--"], "create", &[])
        .output_in(output.as_ref())
        .output()
        .expect_ok();
    // `create` has ended, and its caller too.
    assert_eq!(container.status(), "created");
    container.start().expect_ok();
    assert_eq!(container.status(), "running");
}
