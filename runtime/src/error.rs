//! The one error of the runtime: a kind that decides exit code and phrasing, and a chain of steps.
//!
//! It reads `outermost step: inner step: call(arguments): reason (ERRNO)` on one line. It is plain data so
//! that it crosses from a container's init to the caller of `create` unchanged.

use std::borrow::Cow;
use std::fmt;

/// Result of the runtime's operations.
pub type Result<T> = std::result::Result<T, Error>;

/// What sort of failure it is, where someone acts on the difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// Anything without a meaning of its own.
    #[default]
    Other,
    /// The command line was wrong.
    Usage,
    /// config.json does not parse or breaks the specification.
    Spec,
    /// No container of that id.
    NotFound,
    /// A container of that id exists already.
    Exists,
    /// The operation does not fit the container's status.
    Status,
}

/// A failure with the steps that led to it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Error {
    kind: Kind,
    cause: Cause,
    /// Each step around the cause, the innermost first.
    steps: Vec<String>,
    /// Failures of clean-up after this one; they never replace the cause.
    notes: Vec<String>,
}

/// What went wrong. A kernel call is put into words only where somebody reads them: many a refusal is
/// expected (a path to mask that is not there), and the words cost more than the call.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Cause {
    Text(String),
    Call { call: Cow<'static, str>, args: String, errno: i32 },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Call { call, args, errno } => sys::write_call(f, call, args, *errno),
        }
    }
}

impl Error {
    /// An error of a kind with its cause.
    pub fn new(kind: Kind, cause: impl fmt::Display) -> Self {
        Self { kind, cause: Cause::Text(cause.to_string()), steps: Vec::new(), notes: Vec::new() }
    }

    /// An error without a special kind.
    pub fn other(cause: impl fmt::Display) -> Self {
        Self::new(Kind::Other, cause)
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// errno of the cause, 0 where it did not come from the kernel.
    pub fn errno(&self) -> i32 {
        match self.cause {
            Cause::Text(_) => 0,
            Cause::Call { errno, .. } => errno,
        }
    }

    /// The name of the call, where the kernel does not have it.
    pub fn missing_call(&self) -> Option<&str> {
        match &self.cause {
            Cause::Call { call, errno: libc::ENOSYS, .. } => Some(call),
            _ => None,
        }
    }

    /// The same error, one step further out.
    #[must_use]
    pub fn context(mut self, step: impl fmt::Display) -> Self {
        self.steps.push(step.to_string());
        self
    }

    /// The same error with another kind.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The same error with every text cut to a few pages at most, so that it fits into one packet or pipe,
    /// whatever the configuration had it quote.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let (Cause::Text(cause) | Cause::Call { args: cause, .. }) = &mut self.cause;
        cut_middle(cause);
        self.steps.iter_mut().chain(&mut self.notes).for_each(cut_middle);
        self
    }

    /// Attaches a failure of clean-up beneath the cause.
    pub fn attach(&mut self, cleanup: &Error) {
        self.notes.push(cleanup.to_string());
    }
}

/// Bytes at each end of a text that stay when it is cut; no path the kernel takes is as long as both.
const KEPT_BYTES: usize = 2048;

/// Takes out the middle of a text that is too long: the reason stands at its end.
fn cut_middle(text: &mut String) {
    if text.len() <= 2 * KEPT_BYTES {
        return;
    }
    let (head, tail) =
        (text.floor_char_boundary(KEPT_BYTES), text.ceil_char_boundary(text.len() - KEPT_BYTES));
    let cut = tail - head;
    text.replace_range(head..tail, &format!("[{cut} bytes cut]"));
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in self.steps.iter().rev() {
            write!(f, "{step}: ")?;
        }
        self.cause.fmt(f)?;
        for note in &self.notes {
            write!(f, " (then, while cleaning up: {note})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<sys::Error> for Error {
    fn from(error: sys::Error) -> Self {
        let sys::Error { call, args, errno } = error;
        let cause = Cause::Call { call: call.into(), args, errno };
        Self { kind: Kind::Other, cause, steps: Vec::new(), notes: Vec::new() }
    }
}

/// Adds the step that failed.
pub trait Context<T> {
    /// Names the step; the text is only built on failure.
    fn context<D: fmt::Display>(self, step: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context<D: fmt::Display>(self, step: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.into().context(step()))
    }
}

/// Turns the errors of std, nix and rustix into ours by naming the call and its arguments.
pub trait Call<T> {
    /// `call` as its man page spells it; `args` is only built on failure.
    fn call<S: Into<String>>(self, call: &'static str, args: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Call<T> for std::io::Result<T> {
    fn call<S: Into<String>>(self, call: &'static str, args: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(errno) => sys::Error::new(call, args(), errno).into(),
            None => Error::other(format!("{call}({}): {error}", args().into())),
        })
    }
}

impl<T> Call<T> for nix::Result<T> {
    fn call<S: Into<String>>(self, call: &'static str, args: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| sys::Error::new(call, args(), errno as i32).into())
    }
}

impl<T> Call<T> for rustix::io::Result<T> {
    fn call<S: Into<String>>(self, call: &'static str, args: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| sys::Error::new(call, args(), errno.raw_os_error()).into())
    }
}

/// Returns early with an [`Error`] of no special kind.
#[macro_export]
macro_rules! bail {
    ($($arg:tt)*) => { return Err($crate::error::Error::other(format!($($arg)*))) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_read_from_the_outside_in() {
        let error: Error = sys::Error::new("open_tree", "\"/srv/hosts\"", libc::ENOENT).into();
        let error = error.context("mount /mounts/3 at /etc/hosts").context("create \"web\"");
        assert_eq!(
            error.to_string(),
            "create \"web\": mount /mounts/3 at /etc/hosts: open_tree(\"/srv/hosts\"): no such file or directory (ENOENT)"
        );
        assert_eq!(error.errno(), libc::ENOENT);
    }

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_reason() {
        let path = "é".repeat(100_000);
        let error: Error = sys::Error::new("open", format!("{path:?}"), libc::ENAMETOOLONG).into();
        let text = error.context("short").bounded().to_string();
        assert!(text.len() < 2 * KEPT_BYTES + 100, "{}", text.len());
        assert!(text.starts_with("short: open(\"éé") && text.contains("é[195"), "{text}");
        assert!(text.ends_with("é\"): file name too long (ENAMETOOLONG)"), "{text}");
    }

    #[test]
    fn clean_up_never_replaces_the_cause() {
        let mut error = Error::other("cause");
        error.attach(&Error::other("rmdir"));
        assert_eq!(error.to_string(), "cause (then, while cleaning up: rmdir)");
    }
}
