//! The terminal that somebody sits at: raw mode, and back again on every way out; its size.
//!
//! A terminal that stays raw after a program is dead to most people. So it is put back when the value ends, when this
//! program panics, and, because signals are waited for and not taken where they come (`client`), when it is told to end.

use std::io::{IsTerminal as _, Stdin};
use std::os::fd::AsFd;
use std::sync::{Mutex, Once, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::error::{Context as _, Error, Result};

/// The terminal as it was found, while it is raw: for the hook of a panic.
static FOUND: Mutex<Option<Termios>> = Mutex::new(None);

/// Standard input as a raw terminal, until the value ends.
#[derive(Debug)]
pub struct Raw {
    stdin: Stdin,
    raw: Termios,
}

impl Raw {
    /// Makes standard input raw; None if it is no terminal.
    ///
    /// # Errors
    /// The system's reason.
    pub fn enter() -> Result<Option<Raw>> {
        static HOOK: Once = Once::new();
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let words = || "terminal".to_owned();
        let found = tcgetattr(&stdin).during(words)?;
        let mut raw = found.clone();
        raw.make_raw();
        HOOK.call_once(|| {
            let hook = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                hook(info);
            }));
        });
        *FOUND.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        let raw = Raw { stdin, raw };
        raw.again().during(words)?;
        Ok(Some(raw))
    }

    /// Makes it raw again, after somebody else had it.
    ///
    /// # Errors
    /// The system's reason.
    pub fn again(&self) -> Result<()> {
        tcsetattr(&self.stdin, OptionalActions::Now, &self.raw)?;
        Ok(())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    // A panic may come from anywhere: whoever holds the lock is not waited for.
    if let Ok(mut found) = FOUND.try_lock()
        && let Some(found) = found.take()
    {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &found);
    }
}

/// Rows and columns of the terminal that output goes to, or input comes from; None without any, or where it does not know.
#[must_use]
pub fn size() -> Option<(u16, u16)> {
    let of = |fd: &dyn AsFd| tcgetwinsize(fd.as_fd()).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    let size = of(&std::io::stdout()).or_else(|| of(&std::io::stdin()))?;
    Some((size.ws_row, size.ws_col))
}

/// Refuses a terminal for somebody who has none to type at, as docker does.
///
/// # Errors
/// Docker's words.
pub fn check(stdin: bool, tty: bool) -> Result<()> {
    if stdin && tty && !std::io::stdin().is_terminal() {
        return Err(Error::usage("the input device is not a TTY"));
    }
    Ok(())
}
