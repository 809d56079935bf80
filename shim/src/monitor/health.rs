//! What health checks say of a container: when the next one is due, and what a result changes. Pure; the numbers and
//! rules are Docker's (docs.docker.com, Dockerfile reference, "HEALTHCHECK").

use std::time::Duration;

use crate::container::state::{Check, Health};
use crate::image::config::Healthcheck;

/// How many results are kept.
const KEPT: usize = 5;
/// How much of what a check printed is kept, in bytes.
pub const OUTPUT_MAX: usize = 4096;
/// Exit status of a check that took too long or could not be run.
pub const NO_STATUS: i32 = -1;
/// What docker runs a line with where the image says nothing.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// How a container is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Time between the end of a check and the next one.
    interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// How long after the start failures do not count.
    start_period: Duration,
    /// Time between two in that period, until one succeeds.
    start_interval: Duration,
    /// Failures in a row that make it unhealthy.
    retries: u32,
}

impl Plan {
    /// What a container's configuration asks for; None if that is no check. `shell` is the image's.
    #[must_use]
    pub fn of(check: Option<&Healthcheck>, shell: Option<&[String]>) -> Option<Plan> {
        let check = check?;
        let (kind, words) = check.test.as_deref()?.split_first()?;
        let command = match (kind.as_str(), words) {
            ("CMD", [_, ..]) => words.to_vec(),
            ("CMD-SHELL", [line, ..]) => {
                let shell = shell.filter(|shell| !shell.is_empty());
                let mut command = shell.map_or_else(|| SHELL.map(str::to_owned).to_vec(), <[String]>::to_vec);
                command.push(line.clone());
                command
            }
            _ => return None,
        };
        let time = |nanoseconds: i64, otherwise: u64| match u64::try_from(nanoseconds) {
            Ok(given) if given > 0 => Duration::from_nanos(given),
            _ => Duration::from_secs(otherwise),
        };
        Some(Plan {
            command,
            interval: time(check.interval, 30),
            timeout: time(check.timeout, 30),
            start_period: time(check.start_period, 0),
            start_interval: time(check.start_interval, 5),
            retries: u32::try_from(check.retries).ok().filter(|retries| *retries > 0).unwrap_or(3),
        })
    }

    /// How long to wait for the next check, `since_start` being how long the program has run.
    #[must_use]
    pub fn wait(&self, health: &Health, since_start: Duration) -> Duration {
        let is_starting = since_start < self.start_period && health.status == STARTING;
        if is_starting { self.start_interval } else { self.interval }
    }

    /// Notes a result; `since_start` is how long the program had run when the check began. The new status, if it is
    /// another one.
    pub fn note(&self, health: &mut Health, check: Check, since_start: Duration) -> Option<&'static str> {
        let before = health.status.clone();
        let status = if check.exit_code == 0 {
            health.failing_streak = 0;
            HEALTHY
        } else {
            let counts = health.status != STARTING || since_start >= self.start_period;
            health.failing_streak += u32::from(counts);
            if health.failing_streak >= self.retries { UNHEALTHY } else { known(&before) }
        };
        let superfluous = (health.log.len() + 1).saturating_sub(KEPT);
        health.log.drain(..superfluous);
        health.log.push(check);
        status.clone_into(&mut health.status);
        (status != before).then_some(status)
    }
}

/// No check has succeeded yet.
pub const STARTING: &str = "starting";
/// The last one succeeded, or not enough have failed since.
const HEALTHY: &str = "healthy";
/// Too many have failed in a row; also what Docker says of a container that has ended.
pub const UNHEALTHY: &str = "unhealthy";

fn known(status: &str) -> &'static str {
    match status {
        HEALTHY => HEALTHY,
        UNHEALTHY => UNHEALTHY,
        _ => STARTING,
    }
}

/// The state of a container that was just started: results of former runs stay.
#[must_use]
pub fn begun(before: Option<Health>) -> Health {
    let log = before.map(|health| health.log).unwrap_or_default();
    Health { status: STARTING.to_owned(), failing_streak: 0, log }
}

/// What is kept of what a check printed, as Docker marks what it has cut.
#[must_use]
pub fn shown(mut printed: Vec<u8>) -> String {
    let is_cut = printed.len() > OUTPUT_MAX;
    printed.truncate(OUTPUT_MAX);
    let mut text = String::from_utf8_lossy(&printed).into_owned();
    if is_cut {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn check(test: &[&str]) -> Healthcheck {
        Healthcheck { test: Some(test.iter().map(ToString::to_string).collect()), ..Healthcheck::default() }
    }

    fn result(exit_code: i32) -> Check {
        Check { exit_code, ..Check::default() }
    }

    #[test]
    fn a_check_is_a_command_or_a_line_for_a_shell() {
        let of = |test: &[&str], shell: Option<&[String]>| {
            Plan::of(Some(&check(test)), shell).map(|plan| plan.command.join("|"))
        };
        assert_eq!(of(&["CMD", "curl", "-f"], None).as_deref(), Some("curl|-f"));
        assert_eq!(of(&["CMD-SHELL", "exit 0"], None).as_deref(), Some("/bin/sh|-c|exit 0"));
        let bash = ["/bin/bash".to_owned(), "-ec".to_owned()];
        assert_eq!(of(&["CMD-SHELL", "x"], Some(&bash)).as_deref(), Some("/bin/bash|-ec|x"));
        assert_eq!(of(&["CMD-SHELL", "x"], Some(&[])).as_deref(), Some("/bin/sh|-c|x"));
        for none in [&["NONE"][..], &[], &["CMD"], &["CMD-SHELL"], &["RUN", "x"]] {
            assert_eq!(of(none, None), None, "{none:?}");
        }
        assert_eq!(Plan::of(None, None), None);
        let plan = Plan::of(Some(&check(&["CMD", "x"])), None).unwrap();
        let seconds =
            [plan.interval, plan.timeout, plan.start_period, plan.start_interval].map(|time| time.as_secs());
        assert_eq!((seconds, plan.retries), ([30, 30, 0, 5], 3), "Docker's defaults");
    }

    #[test]
    fn failures_in_a_row_make_it_unhealthy_and_a_success_healthy() {
        let plan = Plan::of(Some(&Healthcheck { retries: 2, ..check(&["CMD", "x"]) }), None).unwrap();
        let mut health = begun(None);
        let mut note = |code| plan.note(&mut health, result(code), Duration::from_secs(1));
        let changes = [1, 0, 1, 0, 1, 1, 1, 0].map(&mut note);
        let wanted = [None, Some(HEALTHY), None, None, None, Some(UNHEALTHY), None, Some(HEALTHY)];
        assert_eq!(changes, wanted);
        assert_eq!((health.failing_streak, health.log.len()), (0, KEPT));
        assert_eq!(health.log.iter().map(|check| check.exit_code).collect::<Vec<_>>(), [0, 1, 1, 1, 0]);
    }

    #[test]
    fn in_the_start_period_failures_do_not_count_until_one_succeeds() {
        let times = Healthcheck {
            start_period: 10 * SECOND,
            start_interval: SECOND,
            interval: 7 * SECOND,
            ..check(&["CMD", "x"])
        };
        let plan = Plan::of(Some(&Healthcheck { retries: 1, ..times }), None).unwrap();
        let (early, late) = (Duration::from_secs(9), Duration::from_secs(10));
        let mut health = begun(None);
        assert_eq!(plan.wait(&health, early).as_secs(), 1);
        assert_eq!(plan.wait(&health, late).as_secs(), 7);
        assert_eq!(plan.note(&mut health, result(1), early), None);
        assert_eq!(health.failing_streak, 0);
        let mut slow = health.clone();
        assert_eq!(plan.note(&mut slow, result(1), late), Some(UNHEALTHY));
        assert_eq!(plan.note(&mut health, result(0), early), Some(HEALTHY));
        assert_eq!(plan.wait(&health, early).as_secs(), 7, "it has started");
        assert_eq!(plan.note(&mut health, result(1), early), Some(UNHEALTHY), "it counts from now on");
        let again = begun(Some(health));
        assert_eq!((again.status.as_str(), again.failing_streak, again.log.len()), (STARTING, 0, 3));
    }

    #[test]
    fn what_a_check_printed_is_cut() {
        assert_eq!(shown(b"ok\n".to_vec()), "ok\n");
        assert_eq!(shown(vec![b'x'; OUTPUT_MAX]).len(), OUTPUT_MAX);
        let long = shown(vec![b'x'; OUTPUT_MAX + 1]);
        assert!(long.len() == OUTPUT_MAX + 3 && long.ends_with("x..."));
        assert_eq!(shown(vec![0xff, b'a']), "\u{fffd}a");
    }
}
