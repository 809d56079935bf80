//! Whose namespaces a container is to have: `--network`, `--pid`, `--ipc`, `--uts`, `--cgroupns`, `--userns`. Pure.
//!
//! A mode is kept in the record in Docker's words, another container by its full id; which process has the namespace is
//! found at each start (`start`).

use crate::bundle::options::{Namespaces, Whose};
use crate::error::{Error, Result};
use crate::network::DEFAULT;

/// One mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The container's own.
    #[default]
    Own,
    /// Its own, which others may join (IPC).
    Shareable,
    /// Its own, without /dev/shm (IPC).
    Nothing,
    /// The host's.
    Host,
    /// That of the container of this name or id.
    Container(String),
    /// The container's own, in networks of which this one is the first (network).
    Network(String),
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// `--network`.
    pub network: Mode,
    /// `--pid`.
    pub pid: Mode,
    /// `--ipc`.
    pub ipc: Mode,
    /// `--uts`.
    pub uts: Mode,
    /// `--cgroupns`.
    pub cgroup: Mode,
}

impl Mode {
    /// `--network`, or the first of several.
    ///
    /// # Errors
    /// Docker's words.
    pub fn network(text: &str) -> Result<Mode> {
        match text {
            "none" => Ok(Mode::Own),
            "host" => Ok(Mode::Host),
            text => match container(text) {
                Some("") => Err(Error::usage(format!("invalid container format {text}"))),
                Some(name) => Ok(Mode::Container(name.to_owned())),
                None if matches!(text, "" | "default") => Ok(Mode::Network(DEFAULT.to_owned())),
                None => Ok(Mode::Network(text.to_owned())),
            },
        }
    }

    /// `--pid`.
    ///
    /// # Errors
    /// Docker's words.
    pub fn pid(text: &str) -> Result<Mode> {
        match text {
            "" | "private" => Ok(Mode::Own),
            "host" => Ok(Mode::Host),
            text => match container(text).filter(|name| !name.is_empty()) {
                Some(name) => Ok(Mode::Container(name.to_owned())),
                None => Err(Error::usage(format!("--pid {text}: invalid PID mode"))),
            },
        }
    }

    /// `--ipc`.
    ///
    /// # Errors
    /// Docker's words.
    pub fn ipc(text: &str) -> Result<Mode> {
        match text {
            "" | "private" => Ok(Mode::Own),
            "shareable" => Ok(Mode::Shareable),
            "none" => Ok(Mode::Nothing),
            "host" => Ok(Mode::Host),
            text => match container(text).filter(|name| !name.is_empty()) {
                Some(name) => Ok(Mode::Container(name.to_owned())),
                None => Err(Error::usage(format!("invalid IPC mode: {text}"))),
            },
        }
    }

    /// `--uts` and `--cgroupns`, whose `flag` an error names.
    ///
    /// # Errors
    /// Docker's words.
    pub fn plain(flag: &str, text: &str) -> Result<Mode> {
        match text {
            "" | "private" => Ok(Mode::Own),
            "host" => Ok(Mode::Host),
            text => {
                let kind = if flag == "uts" { "UTS" } else { "CGROUP" };
                Err(Error::usage(format!("--{flag} {text}: invalid {kind} mode")))
            }
        }
    }

    /// Docker's word for it, with this one for a container's own.
    #[must_use]
    pub fn word(&self, own: &str) -> String {
        match self {
            Mode::Own => own.to_owned(),
            Mode::Shareable => "shareable".to_owned(),
            Mode::Nothing => "none".to_owned(),
            Mode::Host => "host".to_owned(),
            Mode::Container(name) => format!("container:{name}"),
            Mode::Network(name) => name.clone(),
        }
    }

    /// The other container.
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        match self {
            Mode::Container(name) => Some(name),
            _ => None,
        }
    }

    fn whose(&self) -> Whose {
        match self {
            Mode::Own | Mode::Shareable | Mode::Nothing | Mode::Network(_) => Whose::Own,
            Mode::Host => Whose::Host,
            Mode::Container(_) => Whose::Joined,
        }
    }
}

impl Modes {
    /// What the document says of them.
    #[must_use]
    pub fn namespaces(&self) -> Namespaces {
        Namespaces {
            pid: self.pid.whose(),
            ipc: self.ipc.whose(),
            uts: self.uts.whose(),
            cgroup: self.cgroup.whose(),
            network: self.network.whose(),
        }
    }

    /// Those of another container, with their flags.
    pub fn joined(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [("network", &self.network), ("pid", &self.pid), ("ipc", &self.ipc)];
        all.into_iter().filter_map(|(flag, mode)| Some((flag, mode.container()?)))
    }
}

/// What stands behind `container:`.
#[must_use]
pub fn container(text: &str) -> Option<&str> {
    text.strip_prefix("container:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_and_told_in_dockers_words() {
        for (text, mode) in [
            ("", Mode::Own),
            ("shareable", Mode::Shareable),
            ("none", Mode::Nothing),
            ("host", Mode::Host),
            ("container:x", Mode::Container("x".into())),
        ] {
            assert_eq!(Mode::ipc(text).unwrap(), mode);
            assert_eq!(mode.word(""), text);
        }
        assert_eq!(Mode::network("none").unwrap(), Mode::Own);
        for (text, name) in [("", "bridge"), ("default", "bridge"), ("mine", "mine")] {
            assert_eq!(Mode::network(text).unwrap(), Mode::Network(name.to_owned()));
        }
        assert_eq!(Mode::Own.word("none"), "none");
        for (error, words) in [
            (Mode::network("container:"), "invalid container format container:"),
            (Mode::pid("container:"), "invalid PID mode"),
            (Mode::pid("shareable"), "invalid PID mode"),
            (Mode::ipc("x"), "invalid IPC mode: x"),
            (Mode::plain("uts", "container:x"), "--uts container:x: invalid UTS mode"),
            (Mode::plain("cgroupns", "x"), "invalid CGROUP mode"),
        ] {
            let error = error.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let modes = Modes { network: Mode::Container("a".into()), ipc: Mode::Shareable, ..Modes::default() };
        assert_eq!(modes.joined().collect::<Vec<_>>(), [("network", "a")]);
        let namespaces = modes.namespaces();
        assert_eq!(
            (namespaces.network, namespaces.ipc, namespaces.pid),
            (Whose::Joined, Whose::Own, Whose::Own)
        );
    }
}
