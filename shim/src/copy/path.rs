//! What the arguments of `cp` mean: docker's rules (docker's manual, `docker container cp`, "Extended description"). Pure.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::error::{Error, Result};

/// One of the two arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument<'a> {
    /// `CONTAINER:PATH`
    Container(&'a str, &'a [u8]),
    /// A path of the host.
    Host(&'a [u8]),
    /// `-`, an archive.
    Stream,
}

/// Reads an argument: what is absolute, or begins with a dot, is the host's, whatever colons it has.
///
/// # Errors
/// A container whose name is not UTF-8, or without a path.
pub fn argument(text: &OsStr) -> Result<Argument<'_>> {
    let bytes = text.as_bytes();
    if bytes == b"-" {
        return Ok(Argument::Stream);
    }
    match bytes.iter().position(|byte| *byte == b':') {
        Some(at) if at > 0 && !matches!(bytes[0], b'/' | b'.') => {
            let container = std::str::from_utf8(&bytes[..at])
                .map_err(|_| Error::usage(format!("argument {text:?} is not UTF-8")))?;
            if at + 1 == bytes.len() {
                // A variable that is empty would mean all of its root.
                return Err(Error::usage(format!("argument {text:?} has no path behind the colon")));
            }
            Ok(Argument::Container(container, &bytes[at + 1..]))
        }
        _ => Ok(Argument::Host(bytes)),
    }
}

/// How a path was written at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In a name: a link there is meant itself.
    Name,
    /// In a slash: it is meant to be a folder.
    Slash,
    /// In `/.`: what is in the folder is meant.
    Dot,
}

/// A path from the root, without `.` and `..`, which count as written and not as links lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absolute {
    /// Without the slash before it; empty for the root.
    pub path: Vec<u8>,
    /// How it was written.
    pub end: End,
}

impl Absolute {
    /// A path that counts from `folder`, which is absolute.
    #[must_use]
    pub fn of(folder: &[u8], written: &[u8]) -> Absolute {
        let whole =
            if written.starts_with(b"/") { written.to_vec() } else { [folder, b"/", written].concat() };
        let last = written.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let end = match last {
            b"." => End::Dot,
            b"" => End::Slash,
            _ => End::Name,
        };
        let path = clean(&whole);
        // All that there is of the root is in it.
        let end = if path.is_empty() { End::Dot } else { end };
        Absolute { path, end }
    }

    /// The folder around it and its name; None for the root.
    #[must_use]
    pub fn split(&self) -> Option<(&[u8], &[u8])> {
        split(&self.path)
    }

    /// For messages.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("/{}", String::from_utf8_lossy(&self.path))
    }
}

/// The parts of a path without `.` and `..`; above the root there is nothing but the root.
fn clean(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join(&b'/')
}

/// The folder around a path and the name in it; None for the root.
#[must_use]
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    match path.iter().rposition(|byte| *byte == b'/') {
        _ if path.is_empty() => None,
        Some(at) => Some((&path[..at], &path[at + 1..])),
        None => Some((b"", path)),
    }
}

/// What is at the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum There {
    /// A folder.
    Folder,
    /// Something else.
    File,
    /// Nothing, in a folder that is there.
    Nothing,
}

/// How the source gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Into the folder, under its own name.
    Into,
    /// What is in it, into the folder.
    Contents,
    /// Under the target's name.
    As,
}

/// Docker's rules.
///
/// # Errors
/// Docker's words for what contradicts itself.
pub fn how(source_is_folder: bool, source: End, there: There, target: End) -> Result<How> {
    match there {
        There::Folder if source_is_folder && source == End::Dot => Ok(How::Contents),
        There::Folder => Ok(How::Into),
        There::File if source_is_folder => Err(Error::conflict("cannot copy directory")),
        There::File if target != End::Name => Err(Error::conflict("not a directory")),
        There::Nothing if !source_is_folder && target != End::Name => {
            Err(Error::not_found("no such directory"))
        }
        There::File | There::Nothing => Ok(How::As),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_told_apart_as_docker_does() {
        let read = |text| argument(OsStr::new(text)).unwrap();
        assert_eq!(read("web:/etc"), Argument::Container("web", b"/etc"));
        assert_eq!(read("web:etc:x"), Argument::Container("web", b"etc:x"));
        for host in ["/a:b", "./a:b", "../a:b", ".a:b", "a", ":a", ""] {
            assert_eq!(read(host), Argument::Host(host.as_bytes()), "{host}");
        }
        assert_eq!(read("-"), Argument::Stream);
        assert!(argument(OsStr::from_bytes(b"\xff:/x")).is_err());
        assert!(argument(OsStr::new("web:")).is_err(), "an empty variable is not all files of it");
    }

    #[test]
    fn paths_count_as_they_are_written() {
        let of = |folder: &str, text: &str| {
            let found = Absolute::of(folder.as_bytes(), text.as_bytes());
            (found.shown(), found.end)
        };
        for (folder, text, shown, end) in [
            ("/", "/etc/passwd", "/etc/passwd", End::Name),
            ("/", "etc//x/../passwd", "/etc/passwd", End::Name),
            ("/", "/../../etc/", "/etc", End::Slash),
            ("/home/me", ".", "/home/me", End::Dot),
            ("/home/me", "..", "/home", End::Name),
            ("/home/me", "a/.", "/home/me/a", End::Dot),
            ("/home/me", "a/./", "/home/me/a", End::Slash),
            ("/home/me", "", "/home/me", End::Slash),
            ("/", "", "/", End::Dot),
            ("/", "/", "/", End::Dot),
        ] {
            assert_eq!(of(folder, text), (shown.to_owned(), end), "{text}");
        }
        assert_eq!(split(b"a/b"), Some((&b"a"[..], &b"b"[..])));
        assert_eq!((split(b"a"), split(b"")), (Some((&b""[..], &b"a"[..])), None));
    }

    #[test]
    fn what_is_copied_where_is_as_dockers_manual_says() {
        use End::{Dot, Name, Slash};
        use There::{File, Folder, Nothing};
        for (is_folder, source, there, target, wanted) in [
            (false, Name, Nothing, Name, Ok(How::As)),
            (false, Name, Nothing, Slash, Err("no such directory")),
            (false, Name, File, Name, Ok(How::As)),
            (false, Name, Folder, Name, Ok(How::Into)),
            (false, Name, File, Slash, Err("not a directory")),
            (true, Name, Nothing, Name, Ok(How::As)),
            (true, Dot, Nothing, Slash, Ok(How::As)),
            (true, Name, File, Name, Err("cannot copy directory")),
            (true, Slash, Folder, Name, Ok(How::Into)),
            (true, Dot, Folder, Name, Ok(How::Contents)),
        ] {
            let found = how(is_folder, source, there, target).map_err(|error| error.to_string());
            assert_eq!(found, wanted.map_err(str::to_owned), "{is_folder} {source:?} {there:?} {target:?}");
        }
    }
}
