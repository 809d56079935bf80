//! What a command tells the outside: its error, its warnings, its debug lines, its exit code.
//!
//! The rules come from the callers:
//! - Podman decodes the whole log as one JSON object after a failure, containerd's shim keeps the last
//!   object of level `error` and rejects the file if a `time` is not RFC 3339. So a failure writes exactly
//!   one object, and warnings reach the log only when the command succeeds.
//! - conmon takes the first read of stderr as the message, engines show its last line. So stderr gets one
//!   line in one write, also where the log has it already.
//! - go-runc reads `state` with stdout and stderr as one. So its success leaves stderr empty.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::cli::{Globals, LogFormat, UsageError};
use crate::error::{Call, Context, Error, Kind, Result};
use crate::requirement;
use crate::time::rfc3339;

/// Exit code of every failure of the runtime itself, but for `exec`'s.
pub const FAILURE: u8 = 1;
/// Exit code of a failure of `exec`, which passes a program's own code on: most programs use no code as high.
pub const EXEC_FAILURE: u8 = 255;

/// Collects what is to be told while a command runs.
#[derive(Debug)]
pub struct Log {
    target: Option<(PathBuf, File)>,
    format: LogFormat,
    debug: bool,
    /// Whether stderr stays empty on success.
    silent: bool,
    warnings: Vec<String>,
}

impl Log {
    /// The log of a command; `silent` keeps what a success has to tell off stderr, because the caller takes
    /// stderr for the command's output.
    ///
    /// # Errors
    /// `--log` that cannot be opened: told before anything is done, since nobody would learn of it after.
    fn open(globals: &Globals, silent: bool) -> Result<Self> {
        let target = match &globals.log {
            Some(path) => Some((path.clone(), open(path).context(|| "--log")?)),
            None => None,
        };
        Ok(Self { target, ..Self::without_target(globals, silent) })
    }

    fn without_target(globals: &Globals, silent: bool) -> Self {
        let Globals { log_format: format, debug, .. } = *globals;
        Self { target: None, format, debug, silent, warnings: Vec::new() }
    }

    /// Something that the configuration asks for and that is not done, or not as it was written.
    pub fn warning(&mut self, text: impl Into<String>) {
        self.warnings.push(one_line(&text.into()).into_owned());
    }

    /// Whether there is a warning that was not written yet.
    #[must_use]
    pub fn has_warnings(&self) -> bool {
        !self.warnings.is_empty()
    }

    /// A line for `--debug`, built and written at once only if that was given.
    pub fn debug(&mut self, text: impl FnOnce() -> String) {
        if self.debug {
            let line = line(self.format, "debug", &one_line(&text()), SystemTime::now());
            if !self.append(&line) && !self.silent {
                to_stderr(&line);
            }
        }
    }

    /// Writes the warnings so far. Called at a success, and by a command that is about to let a container's program
    /// run, whose stderr it is then: what it says before it began is said first.
    pub fn flush(&mut self) {
        if self.warnings.is_empty() {
            return;
        }
        let warnings = std::mem::take(&mut self.warnings);
        let time = SystemTime::now();
        let lines: String = warnings.iter().map(|text| line(self.format, "warning", text, time)).collect();
        if !self.append(&lines) && !self.silent {
            to_stderr(&plain("warning: ", &warnings));
        }
    }

    /// Appends to `--log`; whether there is one and all of the text is in it.
    fn append(&self, text: &str) -> bool {
        let Some((_, file)) = &self.target else { return false };
        let mut file = file;
        file.write_all(text.as_bytes()).is_ok()
    }

    /// Tells why the command failed: one object or line in the log, one line on stderr.
    fn failure(&self, message: &str, hint: Option<&str>) {
        let message = &*one_line(message);
        let line = line(self.format, "error", message, SystemTime::now());
        let mut text = match (&self.target, self.format) {
            (None, LogFormat::Json) => line,
            (Some((path, _)), _) if !self.append(&line) => {
                format!("{message} (and --log {path:?} cannot be written)\n")
            }
            _ => format!("{message}\n"),
        };
        if std::io::stderr().is_terminal() {
            let warnings = plain("warning: ", &self.warnings);
            text = format!("{warnings}{text}");
            if let Some(hint) = hint {
                let _ = write!(text, "\nhint: {hint}\n");
            }
        }
        to_stderr(&text);
    }

    /// Tells of a failure and gives its exit code.
    fn end(&self, error: &Error) -> u8 {
        self.failure(&requirement::message(error), hint(error));
        FAILURE
    }
}

/// Opens the file of `--log` to append to it, and makes it (0644, less the umask) where it is missing.
///
/// Neither opening nor writing ever waits: a FIFO that nobody reads is refused, and what does not fit into a
/// full one is told on stderr.
fn open(path: &Path) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)) {
        // A device says so too: /dev/tty of a caller without a terminal.
        Err(Errno::NXIO) if is_fifo(path) => {
            Err(Errno::NXIO).call("open", || format!("{path:?}")).context(|| "nobody reads it")
        }
        opened => Ok(opened.call("open", || format!("{path:?}"))?.into()),
    }
}

fn is_fifo(path: &Path) -> bool {
    rustix::fs::stat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
}

/// A message as one line, whatever a name or a path in it holds: control characters, and what some readers take for
/// a line's end or a change of direction, stand as Rust escapes them.
fn one_line(message: &str) -> Cow<'_, str> {
    if !message.contains(misleads) {
        return Cow::Borrowed(message);
    }
    let mut line = String::with_capacity(message.len() + 16);
    for c in message.chars() {
        if misleads(c) { line.extend(c.escape_default()) } else { line.push(c) }
    }
    Cow::Owned(line)
}

/// Whether a character does something else than being shown.
fn misleads(c: char) -> bool {
    let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || reorders || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
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

/// As logrus writes a value: in quotes, with Go's escapes, unless it is one plain word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        let _ = match c {
            '"' | '\\' => write!(quoted, "\\{c}"),
            '\n' => write!(quoted, "\\n"),
            '\r' => write!(quoted, "\\r"),
            '\t' => write!(quoted, "\\t"),
            c if c.is_ascii_control() => write!(quoted, "\\x{:02x}", u32::from(c)),
            // The controls of Latin 1, and what would end the line or turn it around for some readers.
            c if c.is_control() || "\u{2028}\u{2029}\u{202e}\u{feff}".contains(c) => {
                write!(quoted, "\\u{:04x}", u32::from(c))
            }
            c => write!(quoted, "{c}"),
        };
    }
    quoted + "\""
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

/// Carries out a command, writes what is to be written about it and returns the exit code, which of a
/// failure is `failure`.
pub fn tell(
    globals: &Globals,
    silent: bool,
    failure: u8,
    command: impl FnOnce(&mut Log) -> Result<u8>,
) -> u8 {
    let mut log = match Log::open(globals, silent) {
        Ok(log) => log,
        Err(error) => return Log::without_target(globals, silent).end(&error),
    };
    match command(&mut log) {
        Ok(code) => {
            log.flush();
            code
        }
        Err(error) => {
            log.end(&error);
            failure
        }
    }
}

/// Ends a command line that makes no sense: the usage on stdout, the reason in the log and on stderr.
pub fn usage(error: &UsageError) -> u8 {
    let _ = to_stdout(format!("Incorrect Usage.\n\n{}\n", error.help.trim_end()).as_bytes());
    let UsageError { globals, message, .. } = error;
    match Log::open(globals, false) {
        Ok(log) => log.failure(message, None),
        Err(other) => Log::without_target(globals, false).failure(&format!("{message} (and {other})"), None),
    }
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
/// As write(2): output that was lost is a failure of the command. EBADF where stdout was closed when the
/// program started, though /dev/null is in its place now.
pub fn to_stdout(bytes: &[u8]) -> Result<()> {
    if sys::start::stdout_was_closed() {
        return Err(Errno::BADF).call("write", || "stdout");
    }
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
    fn a_message_is_one_line_and_moves_no_cursor() {
        let message = one_line("a\nb\u{1b}[31m\u{202e}\u{2028} \"ü\\n\"");
        assert_eq!(message, r#"a\nb\u{1b}[31m\u{202e}\u{2028} "ü\n""#);
        assert!(matches!(one_line("exec: \"ü\""), Cow::Borrowed(_)));
    }

    #[test]
    fn a_text_line_is_quoted_as_logrus_does() {
        let text = line(LogFormat::Text, "warning", "a \"b\"", UNIX_EPOCH);
        assert_eq!(text, "time=\"1970-01-01T00:00:00Z\" level=warning msg=\"a \\\"b\\\"\"\n");
        assert_eq!(quoted("plain-word"), "plain-word");
        assert_eq!(quoted(""), "\"\"");
        // As Go's strconv.Quote has them.
        assert_eq!(quoted("\u{1b}[m\t\\ü\u{85}\u{2028}\u{7f}"), r#""\x1b[m\t\\ü\u0085\u2028\x7f""#);
    }
}
