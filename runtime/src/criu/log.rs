//! CRIU's own log: where it is, and what it says last of errors.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use rustix::fs::{FileType, OFlags};

use super::Folder;
use crate::error::Error;

/// How much of the log's end is looked at, in bytes. What went wrong is said last.
const LOOKED_AT: u64 = 1 << 20;
/// How many lines of errors are shown, and how much of each, in characters.
const LINES: usize = 3;
const WIDTH: usize = 300;

/// The error of a request, with the last errors in CRIU's log `name` and the path of that.
#[must_use]
pub fn explain(error: Error, folder: &Folder, name: &str) -> Error {
    let Some(text) = end_of(folder, name) else { return error };
    let mut said = error.to_string();
    for line in errors(&text) {
        let _ = write!(said, ": {line:?}");
    }
    let _ = write!(said, "; log: {:?}", folder.path().join(name));
    Error::other(said)
}

/// Why CRIU did not stop all processes in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// They were many, or the machine is slow.
    Slow,
    /// One sleeps where no signal reaches it (proc_pid_stat(5) state D).
    Unseizable,
}

/// Whether that is what its log `name` says (`alarm_handler` in CRIU's criu/cr-dump.c, `compel_wait_task` in its
/// compel/src/lib/infect.c).
#[must_use]
pub fn timeout(folder: &Folder, name: &str) -> Option<Timeout> {
    timeout_in(&end_of(folder, name)?)
}

fn timeout_in(log: &str) -> Option<Timeout> {
    let asleep = |line: &str| line.contains("Unseizable non-zombie") && line.contains("state D");
    log.contains("Timeout reached")
        .then(|| if log.lines().any(asleep) { Timeout::Unseizable } else { Timeout::Slow })
}

/// The end of the log, if there is one.
fn end_of(folder: &Folder, name: &str) -> Option<String> {
    let file = File::from(folder.open_file(name, OFlags::RDONLY | OFlags::NONBLOCK).ok()?);
    let stat = rustix::fs::fstat(&file).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut file = file;
    let size = u64::try_from(stat.st_size).ok()?;
    file.seek(SeekFrom::Start(size.saturating_sub(LOOKED_AT))).ok()?;
    let mut bytes = Vec::new();
    file.take(LOOKED_AT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last errors of a log, without the time in front; not the one that says nothing but that it failed.
fn errors(log: &str) -> Vec<String> {
    let mut lines: Vec<String> = log
        .lines()
        .rev()
        .filter(|line| line.contains("Error (") && !line.ends_with(" FAILED."))
        .take(LINES)
        .map(|line| {
            let text = line.find("Error (").map_or(line, |at| &line[at..]);
            text.chars().take(WIDTH).collect()
        })
        .collect();
    lines.reverse();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "(00.000001) Version: 3.17.1\n\
        (00.000002) Error (criu/first.c:1): one\n\
        (00.100000) Error (criu/x.c:2): two\n\
        (00.405272) Error (criu/files-reg.c:1710): Can't lookup mount=32 for fd=1 path=/tmp/out\n\
        (00.405561) Error (criu/cr-dump.c:1635): Dump files (pid: 220) failed with -1\n\
        (00.552623) Error (criu/cr-dump.c:2053): Dumping FAILED.\n";

    #[test]
    fn the_last_errors_are_shown_without_the_times() {
        assert_eq!(
            errors(LOG),
            [
                "Error (criu/x.c:2): two",
                "Error (criu/files-reg.c:1710): Can't lookup mount=32 for fd=1 path=/tmp/out",
                "Error (criu/cr-dump.c:1635): Dump files (pid: 220) failed with -1"
            ]
        );
        assert!(errors("(00.1) all is well\n").is_empty());
        let long = format!("Error ({}", "é".repeat(1000));
        assert_eq!(errors(&long)[0].chars().count(), WIDTH);
    }

    #[test]
    fn a_timeout_is_told_from_other_failures() {
        let reached = "(10.01) Error (criu/cr-dump.c:1739): Timeout reached. Try to interrupt: 0\n";
        let asleep = "(10.02) Error (compel/src/lib/infect.c:234): \
            Unseizable non-zombie 4468 found, state D, err -1/4\n";
        assert_eq!(timeout_in(LOG), None);
        assert_eq!(timeout_in(reached), Some(Timeout::Slow));
        assert_eq!(timeout_in(&format!("{reached}{asleep}")), Some(Timeout::Unseizable));
        assert_eq!(
            timeout_in(&format!("{reached}{}", asleep.replace("state D", "state S"))),
            Some(Timeout::Slow)
        );
        assert_eq!(timeout_in(asleep), None);
    }

    #[test]
    fn the_log_is_named_and_a_link_in_its_place_is_not_followed() {
        let dir = crate::container::tests::TempDir::new();
        let folder = Folder::open(dir.path()).unwrap();
        std::fs::write(dir.path().join("dump.log"), LOG).unwrap();
        let text = explain(Error::other("criu failed"), &folder, "dump.log").to_string();
        let path = folder.path().join("dump.log");
        assert!(
            text.starts_with("criu failed: \"Error (criu/x.c:2): two\": \"Error (criu/files-reg"),
            "{text}"
        );
        assert!(text.ends_with(&format!("failed with -1\"; log: {path:?}")), "{text}");
        std::os::unix::fs::symlink("dump.log", dir.path().join("link")).unwrap();
        for name in ["link", "none"] {
            assert_eq!(explain(Error::other("criu failed"), &folder, name).to_string(), "criu failed");
        }
    }
}
