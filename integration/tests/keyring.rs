//! The session keyring: the container's own, or with `--no-new-keyring` the caller's. (session-keyring(7),
//! keyctl(2).)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;

use integration::{Bundle, Call, Container, known_gap, mark, requires, runtime_under_test, wait_for};

#[cfg(target_arch = "x86_64")]
const KEYCTL: u32 = 250;
#[cfg(not(target_arch = "x86_64"))]
const KEYCTL: u32 = 219;

/// Prints the serial number and the name of the session keyring: KEYCTL_GET_KEYRING_ID is 0.
const DESCRIBE: &str = r#"my $n = shift; my $b = "\0" x 999; my $id = syscall($n, 0, -3, 0);
    my $l = syscall($n, 6, -3, $b, 999); die "keyctl: $!" if $l < 1;
    print "$id ", substr($b, 0, $l - 1) =~ s/.*;//r, "\n"; $| = 1; sleep shift"#;

/// A container whose program prints the name of its session keyring: KEYCTL_DESCRIBE is 6,
/// KEY_SPEC_SESSION_KEYRING -3. No tool for keys is part of every Debian; perl is.
fn reader() -> Container {
    let script = r#"my $b = "\0" x 999; my $n = syscall(shift, 6, -3, $b, 999); die "keyctl: $!" if $n < 1;
        print substr($b, 0, $n - 1) =~ s/.*;//r"#;
    Bundle::new().host_programs().args(&["/usr/bin/perl", "-e", script, &KEYCTL.to_string()]).container()
}

/// Runs it from within a session keyring of this name: KEYCTL_JOIN_SESSION_KEYRING is 1.
fn keyring_seen(container: &Container, keyring: &str, options: &[&str]) -> String {
    let script = "syscall(shift, 1, shift) > 0 or die \"keyctl: $!\"; exec @ARGV or die";
    let call = Call::of("perl").args(["-e", script, &KEYCTL.to_string(), keyring]);
    let call =
        call.args([runtime_under_test()]).args(["--root".as_ref(), container.state_root().as_os_str()]);
    let call = call.args(["run", "--bundle"]).args([container.bundle().path()]).args(options);
    call.args([container.id()]).output().expect_ok().stdout
}

#[test]
fn a_container_has_a_session_keyring_of_its_own() {
    known_gap!(Crun, "the harness calls it through a shell of its own");
    requires!(integration::kernel_has("/proc/keys"), "this kernel has no keys");
    let container = reader();
    let keyring = keyring_seen(&container, &format!("{}keyring", mark()), &[]);
    assert_eq!(keyring, format!("_ses.{}", container.id()));
}

#[test]
fn the_callers_session_keyring_stays_with_no_new_keyring() {
    known_gap!(Crun, "the harness calls it through a shell of its own");
    requires!(integration::kernel_has("/proc/keys"), "this kernel has no keys");
    let callers = format!("{}keyring-kept", mark());
    assert_eq!(keyring_seen(&reader(), &callers, &["--no-new-keyring"]), callers);
}

#[test]
fn two_containers_do_not_share_a_keyring() {
    known_gap!(Crun, "the harness calls it through a shell of its own");
    requires!(integration::kernel_has("/proc/keys"), "this kernel has no keys");
    let first = reader();
    let second = first.sibling();
    let callers = format!("{}keyring-two", mark());
    assert_ne!(keyring_seen(&first, &callers, &[]), keyring_seen(&second, &callers, &[]));
}

/// What a process that `exec` adds is to find, and what it finds: number and name of the session keyring.
fn found_again(run_options: &[&str]) -> (String, String, Container) {
    let number = KEYCTL.to_string();
    let words = |seconds| ["/usr/bin/perl", "-e", DESCRIBE, number.as_str(), seconds];
    let container = Bundle::new().host_programs().args(&words("600")).container();
    let printed = container.bundle().scratch().join("printed");
    fs::create_dir(&printed).unwrap();
    let run = container.birth("run", &[&["--detach"], run_options].concat());
    run.output_in(&printed).output().expect_ok();
    let read = || fs::read_to_string(printed.join("stdout")).unwrap();
    let init = wait_for("the keyring of init", || Some(read()).filter(|text| text.ends_with('\n')));
    let added = container.exec(&words("0")).expect_ok().stdout;
    (init, added, container)
}

#[test]
fn a_process_that_exec_adds_finds_the_containers_session_keyring() {
    requires!(integration::kernel_has("/proc/keys"), "this kernel has no keys");
    let (init, added, container) = found_again(&[]);
    assert_eq!(added, init, "the same one, and none made anew");
    assert!(init.ends_with(&format!(" _ses.{}\n", container.id())), "{init}");
}

#[test]
fn with_no_new_keyring_exec_makes_none_either() {
    known_gap!(Runc, Crun, "these versions make one");
    requires!(integration::kernel_has("/proc/keys"), "this kernel has no keys");
    let (init, added, container) = found_again(&["--no-new-keyring"]);
    assert!(!added.contains(container.id()) && !init.contains(container.id()), "{init}{added}");
}
