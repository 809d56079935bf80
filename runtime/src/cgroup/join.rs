//! Where in a container's cgroup a further process is born.

use std::os::fd::OwnedFd;

use super::{Cgroup, Manager, hierarchy, systemd, tree};
use crate::bail;
use crate::error::{Context, Result};
use crate::signals::Signals;

/// A cgroup below a container's, or that one itself.
#[derive(Debug)]
pub struct Lower {
    /// Relative to the container's; empty for that one itself.
    pub path: String,
    /// Its folder.
    pub fd: OwnedFd,
}

impl Cgroup {
    /// The cgroup that `exec --cgroup` names, below this one; `/` and the empty path are this one itself.
    ///
    /// # Errors
    /// A path that leaves this cgroup, names controllers as on cgroup v1, or is not there.
    pub fn sub_cgroup(&self, path: &str) -> Result<Lower> {
        if path.contains(':') {
            bail!("controllers can be named on cgroup v1 only; on cgroup v2 it is the path alone");
        }
        let Some(below) = below(path) else { bail!("{path:?} is not a sub cgroup path") };
        self.lower(below)
    }

    /// The cgroup that a process of the container is in, where that is below this one.
    ///
    /// # Errors
    /// A process outside of it; failures to look.
    pub fn of_member(&self, pid: i32) -> Result<Option<Lower>> {
        let theirs = hierarchy::cgroup_of(pid)?;
        let own = format!("/{}", self.record().path);
        match theirs.strip_prefix(&own) {
            Some("") => Ok(None),
            Some(rest) if rest.starts_with('/') => {
                self.lower(rest.trim_start_matches('/').to_owned()).map(Some)
            }
            _ => bail!("process {pid} is in cgroup {theirs:?}, which is not the container's {own:?}"),
        }
    }

    fn lower(&self, path: String) -> Result<Lower> {
        let name = if path.is_empty() { "." } else { path.as_str() };
        let opened = tree::open(self.fd(), name).context(|| format!("cgroup {:?}", self.path()))?;
        match opened {
            Some(fd) => Ok(Lower { path, fd }),
            None => {
                let there = format!("{:?}", format!("{}/{name}", self.path()));
                Err(sys::Error::new("openat2", there, libc::ENOENT).into())
            }
        }
    }

    /// Whether there is somebody with more rights than the caller, who can be asked to [`fetch`](Self::fetch) a
    /// process.
    pub fn has_manager(&self) -> bool {
        matches!(self.record().manager, Manager::Systemd(_))
    }

    /// Has systemd move process `pid`, which is this process's child and waits, to the cgroup at `below` this one.
    ///
    /// The kernel lets nobody start or move a process from one part of the hierarchy to another who may not write to
    /// what both have in common. That is so for an ordinary user in a login session, whose containers are in the part
    /// of his own systemd.
    ///
    /// # Errors
    /// A cgroup that no systemd has made, and what systemd says.
    pub fn fetch(&self, pid: i32, below: &str, signals: &mut Signals) -> Result<()> {
        let Manager::Systemd(unit) = &self.record().manager else {
            bail!("cgroup {:?} is not systemd's", self.path());
        };
        systemd::attach(self.record(), unit, below, pid, signals)
    }
}

/// The path without its detours, relative; `None` where it leads out. Lexical, as nothing here is a link.
fn below(path: &str) -> Option<String> {
    let mut levels = Vec::new();
    for level in path.split('/') {
        match level {
            "" | "." => {}
            ".." => {
                levels.pop()?;
            }
            name => levels.push(name),
        }
    }
    Some(levels.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below() {
        for (path, clean) in
            [("", ""), ("/", ""), ("a", "a"), ("/a//b/./", "a/b"), ("a/../b", "b"), ("a/..", "")]
        {
            assert_eq!(below(path).as_deref(), Some(clean), "{path:?}");
        }
        for path in ["..", "/..", "../web", "a/../..", "a/../../a"] {
            assert_eq!(below(path), None, "{path:?}");
        }
    }
}
