//! Where the shim keeps things: folders that are the user's alone.
//!
//! Everything that lasts lies below one folder (`/var/lib/caisson`), everything that ends with the host's uptime
//! below another (`/run/caisson`); an ordinary user has them where the XDG Base Directory Specification says. All
//! are 0700 and the caller's own: nobody else can put links or files into them, so names in them may be used as paths.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Kind, Result};

/// The two folders, which exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    root: PathBuf,
    state: PathBuf,
}

impl Folders {
    /// Opens the folders named by `--root` and `--state`, or the usual ones, and makes what is missing.
    ///
    /// # Errors
    /// A folder that is not the caller's, cannot be made, or for which an ordinary user's environment has no place.
    pub fn open(root: Option<&Path>, state: Option<&Path>) -> Result<Folders> {
        let uid = rustix::process::geteuid();
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let usual = if uid.is_root() {
            (Ok(PathBuf::from("/var/lib/caisson")), Ok(PathBuf::from("/run/caisson")))
        } else {
            of_user(
                variable("XDG_DATA_HOME").as_deref(),
                variable("HOME").as_deref(),
                variable("XDG_RUNTIME_DIR").as_deref(),
            )
        };
        let root = root.map_or(usual.0, |root| Ok(root.to_owned()))?;
        let state = state.map_or(usual.1, |state| Ok(state.to_owned()))?;
        for (flag, folder) in [("--root", &root), ("--state", &state)] {
            if !folder.is_absolute() {
                return Err(Error::usage(format!("{flag} {folder:?}: the path has to be absolute")));
            }
            make_private(folder)?;
        }
        Ok(Folders { root, state })
    }

    /// What lasts.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What ends with the host's uptime.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }
}

/// An ordinary user's folders, by these three variables.
fn of_user(
    data: Option<&OsStr>,
    home: Option<&OsStr>,
    runtime: Option<&OsStr>,
) -> (Result<PathBuf>, Result<PathBuf>) {
    let missing = |name: &str, flag: &str| Error::usage(format!("{name} is not set: set it, or say {flag}"));
    let data = data.map(PathBuf::from).or_else(|| home.map(|home| Path::new(home).join(".local/share")));
    let root = data.map(|data| data.join("caisson")).ok_or_else(|| missing("HOME", "--root"));
    let state = runtime.map(|runtime| Path::new(runtime).join("caisson"));
    (root, state.ok_or_else(|| missing("XDG_RUNTIME_DIR", "--state")))
}

/// Makes a folder 0700, those above it as the umask has them. One that is there has to be the caller's; what others
/// may do in it is taken from them.
///
/// # Errors
/// Another user's folder, no folder, or the system's reason.
pub fn make_private(path: &Path) -> Result<()> {
    let words = || format!("folder {path:?}");
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let parent =
                path.parent().ok_or_else(|| Error::invalid("it has no folder above it")).during(words)?;
            fs::create_dir_all(parent).during(words)?;
            return match DirBuilder::new().mode(0o700).create(path) {
                // Somebody else made it meanwhile: the checks below are for it too.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => make_private(path),
                result => result.during(words),
            };
        }
        Err(error) => return Err(error).during(words),
    }
    let stat = fs::symlink_metadata(path).during(words)?;
    if !stat.is_dir() {
        return Err(Error::invalid("not a folder")).during(words);
    }
    let uid = rustix::process::geteuid().as_raw();
    if stat.uid() != uid {
        let reason = format!("it belongs to user {}, not to {uid}", stat.uid());
        return Err(Error::new(Kind::Denied, reason)).during(words);
    }
    if stat.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).during(words)?;
    }
    Ok(())
}

/// Names in a folder, in order; none where there is no folder.
///
/// # Errors
/// The system's reason.
pub fn names(folder: &Path) -> Result<Vec<String>> {
    let words = || format!("read {folder:?}");
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.during(words)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.during(words)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    #[test]
    fn an_ordinary_users_folders_are_where_xdg_has_them() {
        let of = |data: Option<&str>, home: Option<&str>, runtime: Option<&str>| {
            let (root, state) = of_user(data.map(OsStr::new), home.map(OsStr::new), runtime.map(OsStr::new));
            (root.map_err(|error| error.to_string()), state.map_err(|error| error.to_string()))
        };
        let path = |path: &str| Ok(PathBuf::from(path));
        assert_eq!(of(Some("/d"), Some("/h"), Some("/r")), (path("/d/caisson"), path("/r/caisson")));
        assert_eq!(of(None, Some("/h"), Some("/r")).0, path("/h/.local/share/caisson"));
        let (root, state) = of(None, None, None);
        assert!(root.unwrap_err().contains("HOME is not set"));
        assert!(state.unwrap_err().contains("XDG_RUNTIME_DIR is not set"));
    }

    #[test]
    fn folders_are_private_and_the_callers_own() {
        let scratch = Scratch::new();
        let folders = Folders::open(Some(&scratch.join("a/b")), Some(&scratch.join("c"))).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(folders.root()), mode(folders.state())), (0o700, 0o700));
        fs::set_permissions(folders.root(), fs::Permissions::from_mode(0o755)).unwrap();
        Folders::open(Some(folders.root()), Some(folders.state())).unwrap();
        assert_eq!(mode(folders.root()), 0o700);

        assert!(
            Folders::open(Some(Path::new("relative")), None).unwrap_err().to_string().contains("absolute")
        );
        fs::write(scratch.join("file"), "").unwrap();
        assert!(make_private(&scratch.join("file")).unwrap_err().to_string().ends_with("not a folder"));
        std::os::unix::fs::symlink(folders.root(), scratch.join("link")).unwrap();
        assert!(make_private(&scratch.join("link")).is_err(), "a link to a folder is no folder of ours");
        std::os::unix::fs::chown(folders.root(), Some(12345), None).unwrap();
        let error = make_private(folders.root()).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
    }
}
