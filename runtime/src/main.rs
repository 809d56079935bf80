//! The `runtime` binary: parse, do, report.

#![forbid(unsafe_code)]
use caisson_runtime::cli::{self, Parsed};
use caisson_runtime::{command, report};
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let code = match cli::parse(&args) {
        Ok(Parsed::Text(text)) => report::text(&text),
        Ok(Parsed::Command(globals, command)) => {
            let mut log = report::Log::new(&globals, command.output_is_parsed());
            report::finish(command::execute(&globals, &command, &mut log), log)
        }
        Err(error) => report::usage(&error),
    };
    ExitCode::from(code)
}
