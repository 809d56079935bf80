//! Tests that change the process they run in: such a test runs this test binary once more, with itself as
//! the only test, in namespaces of its own made by unshare(1). Only tests use this.

use std::process::Command;

/// Set in the process that runs one test alone.
const ALONE: &str = "CAISSON_TEST_ALONE";

/// Whether this is the process in which `test` (its full path) may do as it likes. Elsewhere that process
/// is run, with `options` for unshare(1), and must succeed; then the test is over and the answer is no.
pub fn alone(test: &str, options: &[&str]) -> bool {
    if std::env::var_os(ALONE).is_some_and(|name| name == test) {
        return true;
    }
    let output = Command::new("unshare")
        .args(options)
        .arg("--")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ALONE, test)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{test} alone: {}\n{stdout}\n{stderr}", output.status);
    assert!(stdout.contains("test result: ok. 1 passed"), "there is no test {test}\n{stdout}\n{stderr}");
    print!("{stderr}"); // reasons for what was left out
    false
}

/// A field of /proc/thread-self/status (proc_pid_status(5)), trimmed.
pub fn status_field(name: &str) -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("/proc/thread-self/status has no {name}")).trim().to_owned()
}

/// Whether this thread has capability number `capability` in its effective set.
pub fn holds(capability: u8) -> bool {
    u64::from_str_radix(&status_field("CapEff"), 16).unwrap() & (1 << capability) != 0
}
