//! Where the container's cgroup is (config-linux.md "Cgroups Path").

use crate::bail;
use crate::error::{Error, Kind, Result};

/// A cgroup, named from the root of the hierarchy or from where the runtime itself is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// From the root.
    Absolute(Vec<String>),
    /// From the parent of the runtime's own cgroup, which has processes and can have no limited children.
    BesideRuntime(Vec<String>),
}

impl Place {
    /// Reads `linux.cgroupsPath`; without one the cgroup is named as the container.
    ///
    /// `.` and `..` are taken out of the text and never lead above the start. `slice:prefix:name` is a name
    /// like any other here: it means more to systemd alone.
    ///
    /// # Errors
    /// A path that names no cgroup of its own (`/`), or that no cgroup can have.
    pub fn parse(cgroups_path: &str, id: &str) -> Result<Self> {
        if cgroups_path.is_empty() {
            return Ok(Self::BesideRuntime(vec![id.to_owned()]));
        }
        let wrong = |why: &str| Error::new(Kind::Spec, format!("linux.cgroupsPath: {cgroups_path:?} {why}"));
        let mut names: Vec<String> = Vec::new();
        for name in cgroups_path.split('/') {
            match name {
                "" | "." => {}
                ".." => drop(names.pop()),
                name if name.contains(['\n', '\0']) => {
                    return Err(wrong("has a line break or a NUL in a name"));
                }
                name if name.len() > 255 => return Err(wrong("has a name of more than 255 bytes")),
                name => names.push(name.to_owned()),
            }
        }
        if names.is_empty() {
            return Err(wrong("is the root of the hierarchy, which cannot be a container's"));
        }
        Ok(if cgroups_path.starts_with('/') { Self::Absolute(names) } else { Self::BesideRuntime(names) })
    }

    /// The names below the root of the hierarchy; `own` gives the runtime's own cgroup where it matters.
    ///
    /// # Errors
    /// Those of `own`, and where the runtime is outside the hierarchy it sees.
    pub fn below(self, own: impl FnOnce() -> Result<String>) -> Result<Vec<String>> {
        let names = match self {
            Self::Absolute(names) => return Ok(names),
            Self::BesideRuntime(names) => names,
        };
        let own = own()?;
        let mut below: Vec<String> =
            own.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if below.iter().any(|name| name == "..") {
            bail!(
                "linux.cgroupsPath: the runtime's own cgroup {own:?} is outside the hierarchy it sees; give an absolute path"
            );
        }
        below.pop();
        below.extend(names);
        Ok(below)
    }
}
