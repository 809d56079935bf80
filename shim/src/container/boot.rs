//! Which containers are started when the host has: those whose restart policy asks for it (docs.docker.com, "Start
//! containers automatically").
//!
//! Decides only. After a reboot that is every `always` and every `unless-stopped` that the user has not stopped; while the
//! host is up, as when somebody starts the unit again, those of them that nobody has stopped and that do not run.

use crate::container::NEVER;
use crate::container::host_config::RestartPolicy;
use crate::container::record::Container;
use crate::container::state::{State, Status};

/// Whether a container is started at the beginning of the host's uptime `boot`, or later in it.
#[must_use]
pub fn is_wanted(policy: &RestartPolicy, state: &State, boot: &str) -> bool {
    let rests = match state.status {
        Status::Exited => true,
        // One that was never started: nobody has asked for it to run.
        Status::Created => state.started_at != NEVER,
        Status::Running | Status::Paused | Status::Restarting | Status::Removing | Status::Dead => false,
    };
    match policy.name.as_str() {
        "always" => rests && (state.boot != boot || !state.stopped_by_user),
        "unless-stopped" => rests && !state.stopped_by_user,
        _ => false,
    }
}

/// Puts containers into the order in which they were made: one that joins a namespace was made after whose it is.
pub fn sort(containers: &mut [Container]) {
    // Times of different precision compare as times, not as texts; what cannot be read comes last.
    containers.sort_by_key(|container| {
        let created = container.created.parse::<jiff::Timestamp>();
        (created.is_err(), created.unwrap_or_default(), container.id.clone())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(policy: &str, change: impl FnOnce(&mut State)) -> bool {
        let mut state = State {
            status: Status::Exited,
            boot: "before".to_owned(),
            started_at: "2026-11-21T23:00:00Z".to_owned(),
            exit_code: 255,
            ..State::default()
        };
        change(&mut state);
        is_wanted(&RestartPolicy { name: policy.to_owned(), maximum_retry_count: 0 }, &state, "now")
    }

    #[test]
    fn policies_are_heeded_as_docker_does() {
        for (policy, ended, stopped, stopped_in_this_uptime) in [
            ("always", true, true, false),
            ("unless-stopped", true, false, false),
            ("on-failure", false, false, false),
            ("no", false, false, false),
            ("", false, false, false),
        ] {
            assert_eq!(wanted(policy, |_| ()), ended, "{policy}");
            assert_eq!(wanted(policy, |state| state.boot = "now".to_owned()), ended, "{policy}");
            assert_eq!(wanted(policy, |state| state.stopped_by_user = true), stopped, "{policy}");
            let again = wanted(policy, |state| {
                state.stopped_by_user = true;
                state.boot = "now".to_owned();
            });
            assert_eq!(again, stopped_in_this_uptime, "{policy}");
        }
    }

    #[test]
    fn only_what_has_run_and_rests_is_started() {
        for status in [Status::Running, Status::Paused, Status::Restarting, Status::Removing, Status::Dead] {
            assert!(!wanted("always", |state| state.status = status), "{status:?}");
        }
        assert!(!wanted("always", |state| *state = State::default()));
    }
}
