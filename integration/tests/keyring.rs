//! The session keyring: the container's own, or with `--no-new-keyring` the caller's. (session-keyring(7),
//! keyctl(2).)

use integration::{Bundle, Call, Container, known_gap, mark, requires, runtime_under_test};

#[cfg(target_arch = "x86_64")]
const KEYCTL: u32 = 250;
#[cfg(not(target_arch = "x86_64"))]
const KEYCTL: u32 = 219;

/// Runs the container from within a session keyring of this name; what it sees in /proc/keys.
fn keys_seen(container: &Container, keyring: &str, options: &[&str]) -> String {
    // KEYCTL_JOIN_SESSION_KEYRING is 1. No tool for keys is part of every Debian; perl is.
    let script = "syscall(shift, 1, shift) > 0 or die \"keyctl: $!\"; exec @ARGV or die";
    let call = Call::of("perl").args(["-e", script, &KEYCTL.to_string(), keyring]);
    let call =
        call.args([runtime_under_test()]).args(["--root".as_ref(), container.state_root().as_os_str()]);
    let call = call.args(["run", "--bundle"]).args([container.bundle().path()]).args(options);
    call.args([container.id()]).output().expect_ok().stdout
}

/// /proc/keys is among the masked paths.
fn reader() -> Container {
    let container = Bundle::new().remove("/linux/maskedPaths").sh("cat /proc/keys");
    // The runtime may do without a keyring only where the kernel has none.
    container.container()
}

#[test]
fn a_container_has_a_session_keyring_of_its_own() {
    known_gap!(Crun, "the harness calls it through a shell of its own");
    requires!(integration::kernel_has("/proc/keys"), "this kernel has no keys");
    let callers = format!("{}keyring", mark());
    let container = reader();
    let keys = keys_seen(&container, &callers, &[]);
    assert!(!keys.contains(&callers), "{keys}");
    assert!(keys.contains(&format!("_ses.{}", container.id())), "{keys}");
}

#[test]
fn the_callers_session_keyring_stays_with_no_new_keyring() {
    known_gap!(Crun, "the harness calls it through a shell of its own");
    requires!(integration::kernel_has("/proc/keys"), "this kernel has no keys");
    let callers = format!("{}keyring-kept", mark());
    let container = reader();
    let keys = keys_seen(&container, &callers, &["--no-new-keyring"]);
    assert!(keys.contains(&callers), "{keys}");
    assert!(!keys.contains(&format!("_ses.{}", container.id())), "{keys}");
}
