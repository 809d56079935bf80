//! Whether a container is started again, and how long that waits: Docker's restart policies with its numbers. Pure.
//!
//! The wait before a restart begins at 100 ms and doubles up to a minute; after a run of 10 s it begins anew
//! (docs.docker.com, "Start containers automatically").

use std::time::Duration;

use crate::container::host_config::RestartPolicy;

/// The first wait.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A run of this length shows that the container works: the wait begins anew.
const LONG_RUN: Duration = Duration::from_secs(10);

/// How a run ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Exit status of the program.
    pub exit_code: i32,
    /// How long it ran.
    pub ran: Duration,
    /// The user asked for the end.
    pub stopped_by_user: bool,
    /// How often the policy has started it already.
    pub restart_count: u32,
}

/// The wait of one container, which grows with each of its restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    last: Option<Duration>,
}

impl Backoff {
    /// How long to wait before this container is started again; None if it is not.
    pub fn after(&mut self, policy: &RestartPolicy, ended: Ended) -> Option<Duration> {
        if !is_restarted(policy, ended) {
            return None;
        }
        if ended.ran >= LONG_RUN {
            self.last = None;
        }
        let wait = self.last.map_or(FIRST_WAIT, |last| (last * 2).min(LONGEST_WAIT));
        self.last = Some(wait);
        Some(wait)
    }

    /// The wait that was last begun.
    #[must_use]
    pub fn last(&self) -> Duration {
        self.last.unwrap_or(FIRST_WAIT)
    }

    /// The wait of somebody who has not seen the restarts before.
    #[must_use]
    pub fn resumed(restart_count: u32) -> Backoff {
        let mut backoff = Backoff::default();
        // Ten doublings reach the longest.
        for _ in 0..restart_count.min(10) {
            backoff.last = Some(backoff.last.map_or(FIRST_WAIT, |last| (last * 2).min(LONGEST_WAIT)));
        }
        backoff
    }
}

fn is_restarted(policy: &RestartPolicy, ended: Ended) -> bool {
    if ended.stopped_by_user {
        return false;
    }
    match policy.name.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => {
            let most = policy.maximum_retry_count;
            ended.exit_code != 0 && (most == 0 || ended.restart_count < most)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, maximum_retry_count: u32) -> RestartPolicy {
        RestartPolicy { name: name.to_owned(), maximum_retry_count }
    }

    fn ended(exit_code: i32) -> Ended {
        Ended { exit_code, ran: Duration::from_secs(1), stopped_by_user: false, restart_count: 0 }
    }

    #[test]
    fn who_is_started_again_depends_on_policy_status_and_user() {
        let is = |name, most, ended| Backoff::default().after(&policy(name, most), ended).is_some();
        for name in ["no", ""] {
            assert!(!is(name, 0, ended(1)), "{name}");
        }
        for name in ["always", "unless-stopped"] {
            assert!(is(name, 0, ended(0)) && is(name, 0, ended(137)), "{name}");
            assert!(!is(name, 0, Ended { stopped_by_user: true, ..ended(1) }), "{name}");
        }
        assert!(!is("on-failure", 0, ended(0)) && is("on-failure", 0, ended(1)));
        assert!(is("on-failure", 0, Ended { restart_count: 1000, ..ended(1) }), "0 is without limit");
        assert!(is("on-failure", 3, Ended { restart_count: 2, ..ended(1) }));
        assert!(!is("on-failure", 3, Ended { restart_count: 3, ..ended(1) }));
        assert!(!is("on-failure", 3, Ended { stopped_by_user: true, ..ended(1) }));
    }

    #[test]
    fn the_wait_doubles_to_a_minute_and_begins_anew_after_a_long_run() {
        let mut backoff = Backoff::default();
        let always = policy("always", 0);
        let waits: Vec<u128> =
            (0..12).filter_map(|_| backoff.after(&always, ended(1))).map(|wait| wait.as_millis()).collect();
        let wanted = [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000];
        assert_eq!(waits, wanted);
        for count in 0..12_u32 {
            let next = Backoff::resumed(count).after(&always, ended(1));
            assert_eq!(next.map(|wait| wait.as_millis()), wanted.get(count as usize).copied(), "{count}");
        }
        let just_not = Ended { ran: LONG_RUN.saturating_sub(Duration::from_millis(1)), ..ended(1) };
        assert_eq!(backoff.after(&always, just_not), Some(LONGEST_WAIT));
        assert_eq!(backoff.after(&always, Ended { ran: LONG_RUN, ..ended(0) }), Some(FIRST_WAIT));
        assert_eq!(backoff.after(&always, ended(0)), Some(FIRST_WAIT * 2));
    }
}
