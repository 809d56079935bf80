//! The end of the work before its end: Ctrl-C, or a failure that makes the rest pointless.
//!
//! Who waits for a server is woken by closing its connections; who sleeps before another try is woken by name.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Error, Kind, Result};

/// Whether to go on, for all threads of a command.
#[derive(Default)]
pub struct Cancel {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_cancelled: bool,
    agents: Vec<ureq::Agent>,
}

impl Cancel {
    /// Nobody is to go on. Connections of all agents that are watched are closed.
    pub fn cancel(&self) {
        let agents = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.is_cancelled = true;
            std::mem::take(&mut state.agents)
        };
        self.changed.notify_all();
        agents.into_iter().for_each(ureq::Agent::shutdown);
    }

    /// Is it to end?
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_cancelled
    }

    /// Ends the connections of this agent with the rest.
    pub fn watch(&self, agent: &ureq::Agent) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_cancelled {
            drop(state);
            agent.clone().shutdown();
        } else {
            state.agents.push(agent.clone());
        }
    }

    /// May the work go on?
    ///
    /// # Errors
    /// [`Kind::Interrupted`].
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(interrupted()) } else { Ok(()) }
    }

    /// Waits so long.
    ///
    /// # Errors
    /// As for [`Cancel::check`], at once.
    pub fn sleep(&self, duration: Duration) -> Result<()> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, duration, |state| !state.is_cancelled)
            .unwrap_or_else(PoisonError::into_inner);
        if state.is_cancelled { Err(interrupted()) } else { Ok(()) }
    }
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "interrupted")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sleeps_is_woken() {
        let cancel = Cancel::default();
        cancel.sleep(Duration::from_millis(1)).unwrap();
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| cancel.sleep(Duration::from_secs(600)));
            cancel.cancel();
            assert_eq!(sleeper.join().unwrap().unwrap_err().kind(), Kind::Interrupted);
        });
        assert!(cancel.is_cancelled() && cancel.check().is_err());
    }
}
