//! What a kernel lacks when it does not know a call: since when Linux has it, and what runs here.
//!
//! Linux 5.15 has all of these. So who reads this runs an older kernel, or runs us inside of something that keeps
//! calls away with a seccomp filter, as sandboxes and old container engines do.

use std::fmt::Write as _;

use crate::error::Error;

/// The newer calls that the runtime cannot do without, and the Linux that brought them, or the flag that is used.
/// docs/kernel-features.md has the reasons.
const SINCE: [(&str, &str); 14] = [
    ("bpf", "4.15"),
    ("clone3", "5.7"),
    ("close_range", "5.11"),
    ("fsconfig", "5.2"),
    ("fsmount", "5.2"),
    ("fsopen", "5.2"),
    ("fspick", "5.2"),
    ("mount_setattr", "5.12"),
    ("move_mount", "5.2"),
    ("open_tree", "5.2"),
    ("openat2", "5.6"),
    ("pidfd_getfd", "5.6"),
    ("pidfd_open", "5.3"),
    ("pidfd_send_signal", "5.3"),
];

/// The message of a failed command; where the kernel has no such call, with what that means.
pub fn message(error: &Error) -> String {
    let mut text = error.to_string();
    let call = error.missing_call();
    if let Some((_, since)) = SINCE.iter().find(|(name, _)| Some(*name) == call) {
        let running = rustix::system::uname();
        let running = running.release().to_string_lossy();
        let reason = match is_older(&running, since) {
            true => "too old",
            false => "recent enough, so a seccomp filter around the runtime keeps the call away",
        };
        let _ = write!(text, "; needs Linux {since}, and Linux {running} is {reason}");
    }
    text
}

/// Whether a kernel's release comes before a version.
fn is_older(release: &str, version: &str) -> bool {
    let numbers = |text: &str| {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0_u32), numbers.next().unwrap_or(0_u32))
    };
    numbers(release) < numbers(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_ordered_by_number() {
        assert!(is_older("5.10.0-32-cloud-amd64", "5.12"));
        assert!(is_older("4.19", "5.2"));
        assert!(!is_older("5.12.0", "5.12"));
        assert!(!is_older("6.1", "5.12"));
    }

    #[test]
    fn only_a_missing_call_is_explained() {
        let failed = |call, errno| Error::from(sys::Error::new(call, "x", errno)).context("step");
        let text = message(&failed("openat2", libc::ENOSYS));
        assert!(
            text.starts_with("step: openat2(x): function not implemented (ENOSYS); needs Linux 5.6, "),
            "{text}"
        );
        let plain = |error: Error| assert_eq!(message(&error), error.to_string());
        plain(failed("openat2", libc::ENOENT));
        plain(failed("fsconfig of a file system", libc::ENOSYS));
        plain(Error::other("openat2"));
    }

    #[test]
    fn the_document_lists_every_call_with_its_version() {
        let document = include_str!("../../docs/kernel-features.md");
        for (call, since) in SINCE {
            let row =
                document.lines().find(|line| line.starts_with('|') && line.contains(&format!("{call}(2)")));
            let row = row.unwrap_or_else(|| panic!("{call}(2) is not in docs/kernel-features.md"));
            assert!(row.split('|').nth(2).is_some_and(|cell| cell.trim() == since), "{call} {since}: {row}");
        }
    }
}
