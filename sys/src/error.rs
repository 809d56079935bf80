//! The error of a kernel call: which call, on what, and why the kernel refused.

use std::fmt;

use nix::errno::Errno;

/// Result of a kernel call.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed kernel call, rendered as `open_tree("/srv/hosts"): no such file or directory (ENOENT)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Name of the call as its man page spells it.
    pub call: &'static str,
    /// The arguments that matter to a reader, already quoted; may be empty.
    pub args: String,
    /// The errno value.
    pub errno: i32,
}

impl Error {
    /// An error of `call` with the given errno.
    pub fn new(call: &'static str, args: impl Into<String>, errno: i32) -> Self {
        Self { call, args: args.into(), errno }
    }

    /// An error of `call` with the calling thread's current errno.
    pub fn last(call: &'static str, args: impl Into<String>) -> Self {
        Self::new(call, args, Errno::last_raw())
    }

    /// An error of `call` from an [`std::io::Error`]; EIO where the latter carries no errno.
    pub fn from_io(call: &'static str, args: impl Into<String>, error: &std::io::Error) -> Self {
        Self::new(call, args, error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_call(f, self.call, &self.args, self.errno)
    }
}

/// Writes a failed call as [`Error`] is rendered.
///
/// # Errors
/// The formatter's.
pub fn write_call(f: &mut fmt::Formatter<'_>, call: &str, args: &str, errno: i32) -> fmt::Result {
    write!(f, "{call}({args}): {} ({})", errno_text(errno), errno_name(errno))
}

impl std::error::Error for Error {}

/// The text of an errno as strerror(3) has it, in lower case as Go prints it: engines search for
/// "no such file or directory".
pub fn errno_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let text = text.rsplit_once(" (os error ").map_or(text.as_str(), |(text, _)| text);
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            let mut lower = first.to_lowercase().to_string();
            lower.push_str(&text[first.len_utf8()..]);
            lower
        }
        _ => text.to_owned(),
    }
}

/// The symbolic name of an errno: `ENOENT`.
pub fn errno_name(errno: i32) -> String {
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => format!("errno {errno}"),
        known => format!("{known:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_call_arguments_reason_name() {
        let error = Error::new("open_tree", "\"/srv/hosts\"", libc::ENOENT);
        assert_eq!(error.to_string(), "open_tree(\"/srv/hosts\"): no such file or directory (ENOENT)");
    }

    #[test]
    fn texts_are_strerrors_in_lower_case() {
        assert_eq!(errno_text(libc::EBADF), "bad file descriptor");
        assert_eq!(errno_text(libc::EACCES), "permission denied");
        assert_eq!(errno_text(libc::ELIBBAD), "accessing a corrupted shared library");
    }
}
