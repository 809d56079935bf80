//! What commands print: tables, templates, numbers for people, archives. Rendering only: nothing here looks at the
//! store.

pub mod archive;
pub mod document;
pub mod format;
pub mod human;
pub mod label;
pub mod table;
pub mod template;
pub mod value;

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};

use crate::error::{Context, Error, Kind, Result};
use crate::escape::harmless;

/// Writes text to standard output. A terminal gets control characters other than ends of lines and tabs escaped: what
/// images and registries say does not command it. Others get the text as it is.
///
/// # Errors
/// The system's reason: a full disk; [`Kind::Unread`] where nobody reads the pipe any more.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let text = if stdout.is_terminal() { harmless(text) } else { Cow::Borrowed(text) };
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => Error::from(error).of(Kind::Unread),
            _ => error.into(),
        })
        .during(|| "write to standard output".into())
}

/// Writes a line to standard error. There is nobody to tell if that fails.
pub fn complain(line: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
