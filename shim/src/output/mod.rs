//! What commands print: tables, templates, numbers for people. Rendering only: nothing here looks at the store.

pub mod format;
pub mod human;
pub mod table;
pub mod template;
pub mod value;

use std::io::Write as _;

use crate::error::{Context, Result};

/// Writes text to standard output.
///
/// # Errors
/// The system's reason: a full disk, a closed pipe.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .during(|| "write to standard output".into())
}

/// Writes a line to standard error. There is nobody to tell if that fails.
pub fn complain(line: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
