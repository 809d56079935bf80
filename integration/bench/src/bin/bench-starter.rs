//! Starts one program and prints its peak memory in KiB to the file named first: that of the largest process
//! among it and its descendants (getrusage(2), `RUSAGE_CHILDREN`). A program of its own because a process
//! starts with its parent's memory: the kernel never reports less than what the starter itself occupied.

#![forbid(unsafe_code)]

use std::process::{Command, ExitCode, Stdio};

use nix::sys::resource::{UsageWho, getrusage};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(file), Some(program)) = (arguments.next(), arguments.next()) else {
        return ExitCode::from(2);
    };
    let Ok(status) = Command::new(program).args(arguments).stdin(Stdio::null()).status() else {
        return ExitCode::from(127);
    };
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return ExitCode::from(126);
    };
    if std::fs::write(file, usage.max_rss().to_string()).is_err() {
        return ExitCode::from(125);
    }
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(124))
}
