//! The `runtime` binary: parse, do, report.

#![no_main]
#![deny(unsafe_code)] // but for the name of the function that `sys::program` makes
use caisson_runtime::cli::{self, Parsed};
use caisson_runtime::{command, report, seal};
use std::ffi::OsString;

sys::program!(run);

fn run() -> u8 {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    // First of all: where it starts the program again, nothing is done twice, and moved onto another mount,
    // the program has to be mapped anew. Whatever the arguments mean, protection does no harm.
    let protected = args
        .iter()
        .any(|arg| ["create", "run", "exec", "restore"].iter().any(|verb| arg == verb))
        .then(seal::protect_own_binary);
    match cli::parse(&args) {
        Ok(Parsed::Text(text)) => report::text(&text),
        Ok(Parsed::Command(globals, command)) => {
            let (silent, failure) = (command.output_is_parsed(), command.failure_code());
            report::tell(&globals, silent, failure, |log| {
                command::execute(&globals, &command, protected, log)
            })
        }
        Err(error) => report::usage(&error),
    }
}
