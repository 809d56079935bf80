//! Where in a container's cgroup a further process is born.

use std::os::fd::OwnedFd;

use super::{Cgroup, hierarchy, tree};
use crate::bail;
use crate::error::{Context, Error, Result};

impl Cgroup {
    /// The cgroup that `exec --cgroup` names, below this one; `/` and the empty path are this one itself.
    ///
    /// # Errors
    /// A path that leaves this cgroup, names controllers as on cgroup v1, or is not there.
    pub fn sub_cgroup(&self, path: &str) -> Result<OwnedFd> {
        if path.contains(':') {
            bail!("controllers can be named on cgroup v1 only; on cgroup v2 it is the path alone");
        }
        let Some(below) = below(path) else { bail!("{path:?} is not a sub cgroup path") };
        self.lower(&below)
    }

    /// The cgroup that a process of the container is in, where that is below this one.
    ///
    /// # Errors
    /// A process outside of it; failures to look.
    pub fn of_member(&self, pid: i32) -> Result<Option<OwnedFd>> {
        let theirs = hierarchy::cgroup_of(pid)?;
        let own = format!("/{}", self.record().path);
        match theirs.strip_prefix(&own) {
            Some("") => Ok(None),
            Some(rest) if rest.starts_with('/') => self.lower(rest.trim_start_matches('/')).map(Some),
            _ => bail!("process {pid} is in cgroup {theirs:?}, which is not the container's {own:?}"),
        }
    }

    fn lower(&self, path: &str) -> Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        let opened = tree::open(self.fd(), path).context(|| format!("cgroup {:?}", self.path()))?;
        opened.ok_or_else(|| {
            let there = format!("{:?}", format!("{}/{path}", self.path()));
            Error::from(sys::Error::new("openat2", there, libc::ENOENT))
        })
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
