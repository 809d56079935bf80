//! The session keyring: the container's own, or with `--no-new-keyring` the caller's. (session-keyring(7),
//! keyctl(2).)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::{Bundle, Call, Container, known_gap, mark, requires, runtime_under_test};

#[cfg(target_arch = "x86_64")]
const KEYCTL: u32 = 250;
#[cfg(not(target_arch = "x86_64"))]
const KEYCTL: u32 = 219;

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
