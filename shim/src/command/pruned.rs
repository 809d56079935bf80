//! What the commands that prune ask and tell alike.

use std::fmt::Write as _;

use crate::catalog::remove::Gone;
use crate::error::{Context as _, Result};
use crate::output::{self, human};

/// Asks on standard output, and takes nothing but yes for it.
pub(super) fn confirmed(what: &str) -> Result<bool> {
    asked(&format!("WARNING! This will remove {what}.\nAre you sure you want to continue? [y/N] "))
}

/// The same with words of one's own.
pub(super) fn asked(question: &str) -> Result<bool> {
    output::print(question)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).during(|| "read standard input".into())?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// A title with a line for each thing that is gone; nothing where there are none.
pub(super) fn section(text: &mut String, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        let _ = writeln!(text, "{title}:\n{}\n", lines.join("\n"));
    }
}

/// The lines of what is gone of images.
pub(super) fn of_images(gone: &[Gone]) -> Vec<String> {
    let line = |gone: &Gone| match gone {
        Gone::Name(name) => format!("untagged: {name}"),
        Gone::Content(digest) => format!("deleted: {digest}"),
    };
    gone.iter().map(line).collect()
}

/// How many bytes are free now.
pub(super) fn reclaimed(text: &mut String, bytes: u64) {
    let _ = writeln!(text, "Total reclaimed space: {}", human::size_with(bytes, 4));
}
