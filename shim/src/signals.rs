//! Ctrl-C and its kin, for commands that have something to put in order before they end.
//!
//! The signals are blocked and waited for by a thread of their own, so that no code runs at a moment of their choice.

use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use crate::error::{Context, Error, Kind, Result};

/// What a shell says of a program that Ctrl-C has ended.
pub const INTERRUPTED: i32 = 130;
/// How long putting things in order may take before the program ends anyway.
const GRACE: Duration = Duration::from_secs(10);

/// Calls `action` when somebody wants the program to end. At the second signal, or when the program is still there
/// after a while, it ends at once: what is on the disk is whole at any moment. To be called before other threads are
/// there, which would get the signals otherwise.
///
/// # Errors
/// The system's reason.
pub fn on_interrupt(action: impl FnOnce() + Send + 'static) -> Result<()> {
    let mut signals = SigSet::empty();
    let ignored = ignored()?;
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP] {
        // What the caller has us ignore (nohup, a shell's background) would reach who waits for it all the same.
        if ignored & (1 << (signal as u32 - 1)) == 0 {
            signals.add(signal);
        }
    }
    signals
        .thread_block()
        .map_err(|errno| Error::new(Kind::System, format!("sigprocmask: {}", errno.desc())))?;
    let wait = move || {
        if signals.wait().is_err() {
            return;
        }
        std::thread::spawn(|| {
            std::thread::sleep(GRACE);
            std::process::exit(INTERRUPTED);
        });
        action();
        let _ = signals.wait();
        std::process::exit(INTERRUPTED);
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .map(drop)
        .map_err(|error| Error::from(error).of(Kind::System))
}

/// The signals that this process was started to ignore, as a mask (proc_pid_status(5), `SigIgn`).
fn ignored() -> Result<u64> {
    let path = "/proc/self/status";
    let status = std::fs::read_to_string(path).during(|| format!("read {path}"))?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.ok_or_else(|| Error::new(Kind::System, format!("read {path}: no SigIgn")))
}
