//! The `shim` binary: parse, do, report.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;

use caisson_shim::cli::{self, Parsed};
use caisson_shim::{command, output};

fn main() -> ExitCode {
    // Whatever the caller left open stays here: it is not for helpers and runtimes that are started later.
    let _ = sys::process::cloexec_from(3);
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let done = match cli::parse(&args, command::VERBS) {
        Ok(Parsed::Text(text)) => output::print(&text).map(|()| 0),
        Ok(Parsed::Command(globals, verb, given)) => command::run(&globals, verb, &given),
        Err(misuse) => {
            output::complain(&misuse.message);
            return ExitCode::from(misuse.code);
        }
    };
    done.map_or_else(|error| ExitCode::from(command::report(&error)), ExitCode::from)
}
