//! `-v [SOURCE:]DESTINATION[:MODE]`, and `--volumes-from CONTAINER[:MODE]`.

use crate::bundle::process::clean;
use crate::bundle::syntax::mount::{BindOptions, PROPAGATIONS, Relabel, Request, Volume, bind};
use crate::error::{Error, Result};

/// Reads `-v`: a bind where the source is a path, a volume otherwise.
///
/// # Errors
/// Docker's words.
pub fn volume(text: &str) -> Result<Request> {
    let invalid = || Error::invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, mode) = match parts[..] {
        [destination] => ("", destination, ""),
        // A mode alone is no place: a volume of it would be somebody's mistake.
        [_, destination] if Mode::parse(destination).is_ok_and(|mode| mode.is_some()) => {
            return Err(invalid());
        }
        [source, destination] if !source.is_empty() => (source, destination, ""),
        [source, destination, mode] if !source.is_empty() => (source, destination, mode),
        _ => return Err(invalid()),
    };
    let mode = Mode::parse(mode)?.unwrap_or_default();
    if destination.is_empty() {
        return Err(invalid());
    }
    let is_bind = source.starts_with(['/', '.']);
    let wrong = |reason: &str| {
        let kind = if is_bind { "bind" } else { "volume" };
        Error::invalid(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"{kind}\": {reason}"
        ))
    };
    if !destination.starts_with('/') {
        return Err(wrong(&format!("invalid mount path: '{destination}' mount path must be absolute")));
    }
    if clean(destination) == "/" {
        return Err(wrong("invalid specification: destination can't be '/'"));
    }
    if is_bind {
        if mode.no_copy {
            return Err(wrong("field VolumeOptions must not be specified"));
        }
        let options = BindOptions { propagation: mode.propagation.to_owned(), ..BindOptions::default() };
        let mount = bind(source, destination, mode.read_only, &options);
        return Ok(Request::Bind { mount, make_source: true, relabel: mode.relabel });
    }
    if !mode.propagation.is_empty() {
        return Err(wrong("field BindOptions must not be specified"));
    }
    Ok(Request::Volume(Volume {
        name: source.to_owned(),
        mount: bind("", destination, mode.read_only, &BindOptions::default()),
        copy: !mode.no_copy,
        // A volume is everybody's unless somebody says otherwise.
        relabel: if mode.relabel == Relabel::Own { Relabel::Own } else { Relabel::Shared },
        ..Volume::default()
    }))
}

/// What stands behind the last colon.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mode<'a> {
    read_only: bool,
    relabel: Relabel,
    propagation: &'a str,
    no_copy: bool,
}

impl Mode<'_> {
    /// None for an empty one. Of each kind there may be one word.
    fn parse(text: &str) -> Result<Option<Mode<'_>>> {
        if text.is_empty() {
            return Ok(None);
        }
        let invalid = || Error::invalid(format!("invalid mode: {text}"));
        let (mut mode, mut seen) = (Mode::default(), [false; 5]);
        for word in text.split(',') {
            let kind = match word {
                "ro" | "rw" => {
                    mode.read_only = word == "ro";
                    0
                }
                "z" => {
                    mode.relabel = Relabel::Shared;
                    1
                }
                "Z" => {
                    mode.relabel = Relabel::Own;
                    1
                }
                "nocopy" => {
                    mode.no_copy = true;
                    2
                }
                // Words for Docker Desktop, which mean nothing on Linux.
                "consistent" | "cached" | "delegated" => 3,
                word => {
                    mode.propagation =
                        PROPAGATIONS.into_iter().find(|known| *known == word).ok_or_else(invalid)?;
                    4
                }
            };
            if std::mem::replace(&mut seen[kind], true) {
                return Err(invalid());
            }
        }
        Ok(Some(mode))
    }
}

/// Reads `--volumes-from`: whose, and whether it may be written to: as there, or not.
///
/// # Errors
/// Docker's words.
pub fn from(text: &str) -> Result<(&str, bool)> {
    let (name, mode) = text.split_once(':').unwrap_or((text, ""));
    if name.is_empty() {
        return Err(Error::invalid("volumes-from specification cannot be an empty string"));
    }
    let mode = match Mode::parse(mode) {
        Ok(mode) => mode.unwrap_or_default(),
        Err(_) => return Err(Error::invalid(format!("invalid mode: {mode}"))),
    };
    // What others have is shared already, and nothing is copied.
    if !mode.propagation.is_empty() || mode.no_copy {
        return Err(Error::invalid(format!("invalid mode: {}", &text[name.len() + 1..])));
    }
    Ok((name, mode.read_only))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        match volume(text).unwrap() {
            Request::Bind { mount, relabel, .. } => {
                format!("{} {} {} {relabel:?}", mount.source, mount.destination, mount.options.join(","))
            }
            Request::Volume(volume) => {
                let copy = if volume.copy { "copy" } else { "nocopy" };
                let mount = volume.mount;
                format!("[{}] {} {} {copy}", volume.name, mount.destination, mount.options.join(","))
            }
            Request::Tmpfs(_) => panic!("{text}"),
        }
    }

    #[test]
    fn a_path_is_bound_and_anything_else_is_a_volume() {
        assert_eq!(told("/a:/b"), "/a /b rbind,rprivate No");
        assert_eq!(told("/a:/b:ro,rslave"), "/a /b rbind,rro,rslave No");
        assert_eq!(told("./a:/b:rw,cached"), "./a /b rbind,rprivate No");
        assert_eq!(told("/a:/b:Z"), "/a /b rbind,rprivate Own");
        assert_eq!(told("data:/b"), "[data] /b rbind,rprivate copy");
        assert_eq!(told("data:/b/../c/:ro,nocopy"), "[data] /c rbind,rro,rprivate nocopy");
        assert_eq!(told("/b"), "[] /b rbind,rprivate copy");
        assert!(matches!(volume("/a:/b").unwrap(), Request::Bind { make_source: true, .. }));
    }

    #[test]
    fn what_means_nothing_is_refused_in_dockers_words() {
        for (text, reason) in [
            (
                "/a:b",
                "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' \
                 mount path must be absolute",
            ),
            ("b", "invalid mount path: 'b' mount path must be absolute"),
            ("/a:", "invalid volume specification"),
            (":/b", "invalid volume specification"),
            ("data:ro", "invalid volume specification: 'data:ro'"),
            ("/a:/b:ro:x", "invalid volume specification"),
            ("/a:/", "destination can't be '/'"),
            ("/a:/b:nope", "invalid mode: nope"),
            ("/a:/b:ro,rw", "invalid mode: ro,rw"),
            ("/a:/b:z,Z", "invalid mode: z,Z"),
            ("/a:/b:ro,", "invalid mode: ro,"),
            ("/a:/b:nocopy", "for type \"bind\": field VolumeOptions must not be specified"),
            ("C:\\x:/b", "invalid mode: /b"),
            ("data:/b:rshared", "for type \"volume\": field BindOptions must not be specified"),
        ] {
            let error = volume(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn volumes_of_others_are_as_there_or_read_only() {
        assert_eq!(from("web").unwrap(), ("web", false));
        assert_eq!(from("web:ro,z").unwrap(), ("web", true));
        for text in ["", ":ro", "web:x", "web:nocopy", "web:shared", "web:ro:ro"] {
            assert!(from(text).is_err(), "{text}");
        }
    }
}
