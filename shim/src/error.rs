//! One error for the whole library: what kind it is, and a chain of what was being done, outermost first.
//!
//! An error is told in one line; the system's reason ends it, as in `read "config.json": No such file or directory`.

use std::fmt;
use std::io;

use crate::escape::one_line;

/// What a caller may want to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line is wrong.
    Usage,
    /// Input from outside (an image, a registry, a file) is not what it has to be.
    Invalid,
    /// What was named is not there.
    NotFound,
    /// What was asked for contradicts what is there.
    Conflict,
    /// A registry wants other credentials, or the system more rights.
    Denied,
    /// It may work if tried again: the network, a busy registry.
    Unavailable,
    /// Somebody ended the work: Ctrl-C.
    Interrupted,
    /// There is no space left.
    Full,
    /// Nobody reads the output any more.
    Unread,
    /// Whoever failed has told why.
    Told,
    /// The system refused a call.
    System,
}

/// The library's error. Its text is one line without a full stop.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    /// Innermost first.
    chain: Vec<String>,
    /// Failures of clean-up: told behind the cause, never in its place.
    also: Vec<String>,
}

/// What the library's functions return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of this kind with its innermost words.
    pub fn new(kind: Kind, words: impl Into<String>) -> Error {
        Error { kind, chain: vec![words.into()], also: Vec::new() }
    }

    /// See [`Kind::Usage`].
    pub fn usage(words: impl Into<String>) -> Error {
        Error::new(Kind::Usage, words)
    }

    /// See [`Kind::Invalid`].
    pub fn invalid(words: impl Into<String>) -> Error {
        Error::new(Kind::Invalid, words)
    }

    /// See [`Kind::NotFound`].
    pub fn not_found(words: impl Into<String>) -> Error {
        Error::new(Kind::NotFound, words)
    }

    /// See [`Kind::Conflict`].
    pub fn conflict(words: impl Into<String>) -> Error {
        Error::new(Kind::Conflict, words)
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The same error, of another kind.
    #[must_use]
    pub fn of(mut self, kind: Kind) -> Error {
        self.kind = kind;
        self
    }

    /// Tells what failed while this was cleaned up.
    #[must_use]
    pub fn and(mut self, clean_up: &Error) -> Error {
        self.also.push(clean_up.to_string());
        self
    }

    fn outside(mut self, words: String) -> Error {
        self.chain.push(words);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (index, words) in self.chain.iter().rev().enumerate() {
            if index > 0 {
                f.write_str(": ")?;
            }
            // Names from images and registries stay on this line, whatever is in them.
            f.write_str(&one_line(words))?;
        }
        for also in &self.also {
            write!(f, " (and: {also})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// The reason alone, without Rust's `(os error 2)`.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(number) => text.replace(&format!(" (os error {number})"), ""),
        None => text,
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        // Our own errors travel through `Read` inside of the system's.
        error.downcast::<Error>().unwrap_or_else(|error| {
            let kind = match error.kind() {
                io::ErrorKind::NotFound => Kind::NotFound,
                io::ErrorKind::PermissionDenied => Kind::Denied,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Full,
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Kind::Invalid,
                _ => Kind::System,
            };
            Error::new(kind, reason(&error))
        })
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Error {
        io::Error::from(errno).into()
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::other(error)
    }
}

/// What was being done when it failed.
pub trait Context<T> {
    /// Puts words before the error's, as in `read "config.json"`.
    ///
    /// # Errors
    /// The one it was called on.
    fn during(self, words: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn during(self, words: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.into().outside(words()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_that_ends_in_the_systems_reason() {
        let error =
            std::fs::File::open("/nowhere\n/x").during(|| "open \"/nowhere\n/x\"".into()).unwrap_err();
        assert_eq!(error.to_string(), "open \"/nowhere\\n/x\": No such file or directory");
        assert_eq!(error.kind(), Kind::NotFound);
    }

    #[test]
    fn it_passes_a_stream_unchanged_and_keeps_what_failed_behind_it() {
        let inside: io::Error = Error::invalid("layer").into();
        let error = Err::<(), _>(inside).during(|| "unpack".into()).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.kind()), ("unpack: layer", Kind::Invalid));
        let error = error.and(&Error::new(Kind::System, "unlink"));
        assert_eq!(error.to_string(), "unpack: layer (and: unlink)");
    }
}
