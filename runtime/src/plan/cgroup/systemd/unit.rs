//! Names of units, and the folders that slices are (systemd.unit(5), systemd.slice(5)).

use std::fmt::Write;

use crate::error::{Error, Kind, Result};

/// The longest name of a unit.
const MAX_NAME: usize = 255;
const SLICE: &str = ".slice";

/// A scope and the slice that it lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// `prefix-name.scope`.
    pub name: String,
    /// `system.slice`, or what was asked for.
    pub slice: String,
}

impl Unit {
    /// Reads `linux.cgroupsPath`, which is `slice:prefix:name` here; without it, runc's names: the container
    /// `web` is `runc-web.scope` in `system.slice`, or in `user.slice` of a user's own manager.
    ///
    /// # Errors
    /// Kind `Spec`: another form, a slice that cannot be, a name that is too long.
    pub fn parse(cgroups_path: &str, id: &str, user: bool) -> Result<Self> {
        let wrong = |why: String| Error::new(Kind::Spec, format!("linux.cgroupsPath: {why}"));
        let (slice, prefix, name) = if cgroups_path.is_empty() {
            ("", "runc", id)
        } else {
            let mut parts = cgroups_path.split(':');
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some(slice), Some(prefix), Some(name), None) => (slice, prefix, name),
                _ => {
                    // The words by which callers know it from runc.
                    return Err(wrong(format!(
                        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {cgroups_path:?} instead"
                    )));
                }
            }
        };
        if name.ends_with(SLICE) {
            return Err(wrong(format!("{name:?} names a slice, which has no processes of its own")));
        }
        let slice = match slice {
            "" if user => "user.slice",
            "" => "system.slice",
            slice => slice,
        };
        if expand(slice).is_none() {
            return Err(wrong(format!(
                "{slice:?} is not the name of a slice, such as \"machine-web.slice\""
            )));
        }
        let name = escape(&format!("{prefix}-{name}.scope"));
        if name.len() > MAX_NAME {
            return Err(wrong(format!("the unit's name {name:?} is longer than {MAX_NAME} bytes")));
        }
        Ok(Self { name, slice: slice.to_owned() })
    }

    /// The names of the cgroups from that of the manager down to the scope's.
    pub fn folders(&self) -> Vec<String> {
        let mut folders = expand(&self.slice).unwrap_or_default();
        folders.push(self.name.clone());
        folders
    }
}

/// The folders of a slice: `a-b.slice` lies in `a.slice`; `-.slice` is the root, which is none.
fn expand(slice: &str) -> Option<Vec<String>> {
    let name = slice.strip_suffix(SLICE)?;
    if name == "-" {
        return Some(Vec::new());
    }
    let parts: Vec<&str> = name.split('-').collect();
    // Letters, digits and what escapes are made of; no slash, and no empty part.
    let fine = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte != b':' && is_plain(byte));
    if slice.len() > MAX_NAME || !parts.iter().all(fine) {
        return None;
    }
    Some((1..=parts.len()).map(|count| parts[..count].join("-") + SLICE).collect())
}

/// What a unit's name may have unescaped.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte)
}

/// A name with every other byte as `\xNN`, as systemd-escape(1) writes it. (An id may have a plus sign.)
fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        match is_plain(byte) {
            true => escaped.push(char::from(byte)),
            false => drop(write!(escaped, "\\x{byte:02x}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(path: &str) -> (String, String) {
        let unit = Unit::parse(path, "web", false).unwrap();
        (unit.slice, unit.name)
    }

    #[test]
    fn the_path_is_slice_prefix_and_name() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(unit(""), pair("system.slice", "runc-web.scope"));
        assert_eq!(unit("system.slice:docker:1234"), pair("system.slice", "docker-1234.scope"));
        assert_eq!(unit(":crio:x"), pair("system.slice", "crio-x.scope"));
        assert_eq!(unit("-.slice:p:n"), pair("-.slice", "p-n.scope"));
        assert_eq!(
            unit("kubepods-burstable-pod1_2.slice:cri-containerd:ab").0,
            "kubepods-burstable-pod1_2.slice"
        );
        // As runc: an empty prefix keeps its dash.
        assert_eq!(unit("a.slice::n"), pair("a.slice", "-n.scope"));
        assert_eq!(Unit::parse("", "web", true).unwrap().slice, "user.slice");
        assert_eq!(Unit::parse(":a:b", "web", true).unwrap().slice, "user.slice");
    }

    #[test]
    fn what_systemd_could_not_name_is_escaped() {
        assert_eq!(Unit::parse("", "a+b", false).unwrap().name, "runc-a\\x2bb.scope");
        assert_eq!(unit(":p:../é").1, "p-..\\x2f\\xc3\\xa9.scope");
    }

    #[test]
    fn slices_lie_in_one_another() {
        let folders = |path| Unit::parse(path, "web", false).unwrap().folders();
        assert_eq!(folders(""), ["system.slice", "runc-web.scope"]);
        assert_eq!(folders("-.slice:p:n"), ["p-n.scope"]);
        assert_eq!(
            folders("test-a-b.slice:p:n"),
            ["test.slice", "test-a.slice", "test-a-b.slice", "p-n.scope"]
        );
    }

    #[test]
    fn other_forms_are_refused_in_the_words_of_runc() {
        for path in ["/sys/x", "x", "a.slice:b", "a.slice:b:c:d", "::::"] {
            let error = Unit::parse(path, "web", false).unwrap_err();
            assert_eq!(error.kind(), Kind::Spec);
            assert_eq!(
                error.to_string(),
                format!(
                    "linux.cgroupsPath: expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead"
                )
            );
        }
        let long = "s".repeat(260);
        for slice in [
            "a",
            "a.scope",
            ".slice",
            "-a.slice",
            "a-.slice",
            "a--b.slice",
            "a/b.slice",
            "../a.slice",
            "-",
            "a b.slice",
        ] {
            let error = Unit::parse(&format!("{slice}:p:n"), "web", false).unwrap_err().to_string();
            assert!(error.contains("is not the name of a slice"), "{error}");
        }
        assert!(Unit::parse(&format!("{long}.slice:p:n"), "web", false).is_err());
        assert!(Unit::parse(&format!("a.slice:p:{long}"), "web", false).is_err());
        let error = Unit::parse("a.slice:p:b.slice", "web", false).unwrap_err().to_string();
        assert_eq!(error, "linux.cgroupsPath: \"b.slice\" names a slice, which has no processes of its own");
    }
}
