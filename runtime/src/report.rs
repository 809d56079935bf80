//! What a command tells the outside: its error, its warnings, its debug lines, its exit code.
//!
//! The rules come from the callers:
//! - Podman decodes the whole log as one JSON object after a failure, containerd's shim keeps the last
//!   object of level `error` and rejects the file if a `time` is not RFC 3339. So a failure writes exactly
//!   one object, and warnings reach the log only when the command succeeds.
//! - conmon takes the first read of stderr as the message, engines show its last line. So stderr gets one
//!   line in one write, also where the log has it already.
//! - go-runc reads `state` with stdout and stderr as one. So its success leaves stderr empty.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::cli::{Globals, LogFormat, UsageError};
use crate::error::{Call, Error, Kind, Result};
use crate::requirement;
use crate::time::rfc3339;

/// Exit code of every failure of the runtime itself, but for `exec`'s.
pub const FAILURE: u8 = 1;
/// Exit code of a failure of `exec`, which passes a program's own code on: most programs use no code as high.
pub const EXEC_FAILURE: u8 = 255;

/// Collects what is to be told while a command runs.
#[derive(Debug)]
pub struct Log {
    target: Option<PathBuf>,
    format: LogFormat,
    debug: bool,
    /// Whether stderr stays empty on success.
    silent: bool,
    warnings: Vec<String>,
}

impl Log {
    /// The log of a command; `silent` keeps the warnings of a success off stderr, because the caller takes
    /// stderr for the command's output. Nothing is opened before there is something to write.
    pub fn new(globals: &Globals, silent: bool) -> Self {
        Self {
            target: globals.log.clone(),
            format: globals.log_format,
            debug: globals.debug,
            silent,
            warnings: Vec::new(),
        }
    }

    /// Something that the configuration asks for and that is not done, or not as it was written.
    pub fn warning(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// A line for `--debug`, built and written at once only if that was given.
    pub fn debug(&mut self, text: impl FnOnce() -> String) {
        if self.debug {
            let line = line(self.format, "debug", &text(), SystemTime::now());
            if self.append(&line).is_err() {
                to_stderr(&line);
            }
        }
    }

    /// Writes the warnings so far. Called at a success, and by a command that is about to hand its stderr
    /// to a container's program.
    pub fn flush(&mut self) {
        if self.warnings.is_empty() {
            return;
        }
        let warnings = std::mem::take(&mut self.warnings);
        let time = SystemTime::now();
        let lines: String = warnings.iter().map(|text| line(self.format, "warning", text, time)).collect();
        if self.target.is_some() && self.append(&lines).is_ok() {
            return;
        }
        if !self.silent {
            to_stderr(&plain("warning: ", &warnings));
        }
    }

    /// Appends to `--log`; an error where there is none.
    fn append(&self, text: &str) -> Result<()> {
        let Some(path) = &self.target else { return Err(Error::other("no --log")) };
        let file = OpenOptions::new().append(true).create(true).mode(0o644).open(path);
        let mut file: File = file.call("open", || format!("{path:?}"))?;
        file.write_all(text.as_bytes()).call("write", || format!("{path:?}"))
    }

    /// Tells why the command failed: one object or line in the log, one line on stderr.
    fn failure(&self, message: &str, hint: Option<&str>) {
        let line = line(self.format, "error", message, SystemTime::now());
        let logged = self.target.is_none() || self.append(&line).is_ok();
        let mut text = match (self.format, self.target.is_some()) {
            (LogFormat::Json, false) => line,
            _ => format!("{message}\n"),
        };
        if !logged {
            let path = self.target.clone().unwrap_or_default();
            text = format!("{message} (and --log {path:?} cannot be written)\n");
        }
        if std::io::stderr().is_terminal() {
            let warnings = plain("warning: ", &self.warnings);
            text = format!("{warnings}{text}");
            if let Some(hint) = hint {
                let _ = write!(text, "\nhint: {hint}\n");
            }
        }
        to_stderr(&text);
    }
}

fn plain(prefix: &str, lines: &[String]) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{prefix}{line}");
        text
    })
}

/// One line of the log.
fn line(format: LogFormat, level: &str, message: &str, time: SystemTime) -> String {
    let time = rfc3339(time);
    match format {
        LogFormat::Json => {
            let message = serde_json::Value::from(message);
            format!("{{\"level\":\"{level}\",\"msg\":{message},\"time\":\"{time}\"}}\n")
        }
        LogFormat::Text => format!("time=\"{time}\" level={level} msg={}\n", quoted(message)),
    }
}

/// As logrus writes a value: in quotes unless it is one plain word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("{text:?}") }
}

/// What helps after a failure; shown on terminals only.
fn hint(error: &Error) -> Option<&'static str> {
    match error.kind() {
        Kind::Exists => Some("`list` shows the containers, `delete` removes one"),
        Kind::NotFound => Some("`list` shows the containers below this --root"),
        Kind::Spec => Some("`spec` writes a config.json that is right, to compare with"),
        Kind::Other | Kind::Usage | Kind::Status => None,
    }
}

/// Ends a command: writes what is to be written and returns the exit code, after a failure `failure`.
pub fn finish(result: Result<u8>, failure: u8, mut log: Log) -> u8 {
    match result {
        Ok(code) => {
            log.flush();
            code
        }
        Err(error) => {
            log.failure(&requirement::message(&error), hint(&error));
            failure
        }
    }
}

/// Ends a command line that makes no sense: the usage on stdout, the reason in the log and on stderr.
pub fn usage(error: &UsageError) -> u8 {
    let _ = to_stdout(format!("Incorrect Usage.\n\n{}\n", error.help.trim_end()).as_bytes());
    Log::new(&error.globals, false).failure(&error.message, None);
    FAILURE
}

/// Prints help or version.
pub fn text(text: &str) -> u8 {
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    match to_stdout(format!("{text}{newline}").as_bytes()) {
        Ok(()) => 0,
        Err(error) => {
            to_stderr(&format!("{error}\n"));
            FAILURE
        }
    }
}

/// Writes a command's result.
///
/// # Errors
/// As write(2): output that was lost is a failure of the command.
pub fn to_stdout(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).call("write", || "stdout")
}

/// One write, so that a reader that takes only the first gets all of it.
fn to_stderr(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_json_line_is_one_object_with_the_keys_that_callers_read() {
        let text = line(LogFormat::Json, "error", "a \"b\"\n", UNIX_EPOCH);
        assert_eq!(
            text,
            "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\\n\",\"time\":\"1970-01-01T00:00:00Z\"}\n"
        );
    }

    #[test]
    fn a_text_line_is_quoted_as_logrus_does() {
        let text = line(LogFormat::Text, "warning", "a \"b\"", UNIX_EPOCH);
        assert_eq!(text, "time=\"1970-01-01T00:00:00Z\" level=warning msg=\"a \\\"b\\\"\"\n");
        assert_eq!(quoted("plain-word"), "plain-word");
        assert_eq!(quoted(""), "\"\"");
    }
}
