//! `kill` (runtime.md "Kill"): a signal's name becomes a number, and the number reaches the right process.

use super::{CgroupRecord, Cgroups, Entry, Pidfd};
use crate::error::{Error, Kind, Result};

/// The signals of signal(7) without their SIG, and the other names they go by.
const NAMES: [(&str, i32); 34] = [
    ("ABRT", libc::SIGABRT),
    ("ALRM", libc::SIGALRM),
    ("BUS", libc::SIGBUS),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("FPE", libc::SIGFPE),
    ("HUP", libc::SIGHUP),
    ("ILL", libc::SIGILL),
    ("INT", libc::SIGINT),
    ("IO", libc::SIGIO),
    ("IOT", libc::SIGABRT),
    ("KILL", libc::SIGKILL),
    ("PIPE", libc::SIGPIPE),
    ("POLL", libc::SIGIO),
    ("PROF", libc::SIGPROF),
    ("PWR", libc::SIGPWR),
    ("QUIT", libc::SIGQUIT),
    ("SEGV", libc::SIGSEGV),
    ("STKFLT", libc::SIGSTKFLT),
    ("STOP", libc::SIGSTOP),
    ("SYS", libc::SIGSYS),
    ("TERM", libc::SIGTERM),
    ("TRAP", libc::SIGTRAP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("VTALRM", libc::SIGVTALRM),
    ("WINCH", libc::SIGWINCH),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
];
/// Realtime signals as programs know them: the C library keeps 32 and 33 for itself.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// A signal by number (0 to 64) or by name, with or without `SIG`, in any case, realtime as `RTMIN+3`.
///
/// # Errors
/// `unknown signal "X"`.
pub fn parse(text: &str) -> Result<i32> {
    let unknown = || Error::other(format!("unknown signal {text:?}"));
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().filter(|number| (0..=RTMAX).contains(number)).ok_or_else(unknown);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    named.or_else(|| realtime(name)).ok_or_else(unknown)
}

/// `RTMIN`, `RTMIN+n`, `RTMAX`, `RTMAX-n`.
fn realtime(name: &str) -> Option<i32> {
    let offset = |text: &str, sign: char| match text.strip_prefix(sign) {
        None => text.is_empty().then_some(0),
        Some(digits) if digits.len() <= 2 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok()
        }
        Some(_) => None,
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        RTMIN + offset(rest, '+')?
    } else {
        RTMAX - offset(name.strip_prefix("RTMAX")?, '-')?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

/// Sends a signal to the container's init; with `all` to every process of its cgroup.
///
/// SIGKILL to a container without a pid namespace of its own goes to the whole cgroup, as nothing else would
/// end its other processes. No lock is taken: hooks may use it. A frozen cgroup needs no thaw: its processes
/// die of SIGKILL as they are (cgroup-v2.rst "cgroup.freeze").
///
/// # Errors
/// Kind `Status` "container not running" when init has ended; with `all` that is no error.
pub fn kill(entry: &Entry, signal: i32, all: bool, cgroups: &dyn Cgroups) -> Result<()> {
    let record = entry.record()?;
    let init = record.init.map(|init| init.open()).transpose()?.flatten();
    if init.is_none() && !all {
        return Err(not_running());
    }
    let whole = all || (signal == libc::SIGKILL && record.shares_pid_namespace);
    if whole && let Some(cgroup) = &record.cgroup {
        if signal == libc::SIGKILL {
            cgroups.kill(cgroup)?;
        } else {
            signal_members(cgroups, cgroup, signal, init.as_ref())?;
        }
    }
    // Above, init was left out, or is dying: it gets the signal here, once.
    let reached = match &init {
        Some(init) => init.send(signal)?,
        None => false,
    };
    if reached || whole { Ok(()) } else { Err(not_running()) }
}

fn not_running() -> Error {
    Error::new(Kind::Status, "container not running")
}

/// How often the members are listed anew: a fork bomb must not keep `kill` for ever.
const ROUNDS: usize = 10;

/// Signals every member but init, each once: also those that were made while the others got theirs. Who is
/// still a member after its descriptor was opened is the process behind it, so no stranger who got a used pid
/// is hit.
fn signal_members(
    cgroups: &dyn Cgroups,
    cgroup: &CgroupRecord,
    signal: i32,
    init: Option<&Pidfd>,
) -> Result<()> {
    let mut seen: Vec<i32> = init.map(Pidfd::pid).into_iter().collect();
    for _ in 0..ROUNDS {
        let mut opened = Vec::new();
        for pid in cgroups.pids(cgroup)? {
            if !seen.contains(&pid)
                && let Some(pidfd) = Pidfd::open(pid)?
            {
                seen.push(pid);
                opened.push(pidfd);
            }
        }
        if opened.is_empty() {
            break;
        }
        let members = cgroups.pids(cgroup)?;
        for pidfd in opened.iter().filter(|pidfd| members.contains(&pidfd.pid())) {
            pidfd.send(signal)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "signal_tests.rs"]
mod tests;
