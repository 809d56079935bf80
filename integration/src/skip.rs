//! Tests that cannot run here say so, and are counted.
//!
//! The test harness of Rust knows no "skipped": such a test returns early and passes. So the reason goes to
//! the real standard error, past the harness's capture, as one line `SKIPPED test: reason`, and to the file
//! named by `CAISSON_TEST_SKIPS`, one line each, for whoever wants to count them.

use std::fs::OpenOptions;
use std::io::Write;

/// The short path of a test from the type name of an item inside its function.
#[must_use]
pub fn test_name(item: &'static str) -> &'static str {
    item.strip_suffix("::here").unwrap_or(item)
}

/// Writes the line that says that `test` was skipped, and why.
pub fn report_skip(test: &str, reason: &str) {
    let line = format!("SKIPPED {test}: {reason}\n");
    // Not `eprint!`, which the test harness captures and drops when the test passes.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(file) = std::env::var_os("CAISSON_TEST_SKIPS") {
        // One write of one line in append mode: lines of parallel tests do not mix.
        let opened = OpenOptions::new().create(true).append(true).open(&file);
        opened.and_then(|mut file| file.write_all(line.as_bytes())).expect("append to CAISSON_TEST_SKIPS");
    }
}

/// Leaves the test with `SKIPPED test: reason`.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        fn here() {}
        $crate::report_skip($crate::test_name(::std::any::type_name_of_val(&here)), &format!($($reason)+));
        return;
    }};
}

/// Leaves the test with the reason as skipped unless the condition holds:
/// `requires!(has_controller("memory"), "no memory controller on cgroup v2")`.
#[macro_export]
macro_rules! requires {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            $crate::skip!($($reason)+);
        }
    };
}

/// Leaves the test as skipped when the runtime under test is one of those named, which are known to differ:
/// `known_gap!(Runc, Crun, "no time namespaces in these versions")`. Never for `Ours`.
#[macro_export]
macro_rules! known_gap {
    ($($flavour:ident),+, $reason:literal) => {
        $(
            if $crate::flavour() == $crate::Flavour::$flavour {
                $crate::skip!("known gap of {}: {}", stringify!($flavour), $reason);
            }
        )+
    };
}
