//! An OCI runtime, driven by its command line as containerd and Docker do: whichever it is, ours, runc or crun.
//!
//! Nothing of a runtime is linked. Commands get an environment without what steers the loader, no descriptor but their
//! standard ones, and a log of their own from which the reason of a failure comes.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::Deserialize;

use crate::error::{Context, Error, Kind, Result};

/// The runtime that containers have unless they ask for another.
pub const DEFAULT: &str = "runtime";
/// Where runtimes are that PATH does not lead to.
const PLACES: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin"];

/// A runtime with a folder for its records.
#[derive(Clone, Debug)]
pub struct Runtime {
    path: PathBuf,
    root: PathBuf,
}

/// What a runtime says of a container (OCI runtime-spec, "State").
#[derive(Clone, Debug, Deserialize)]
pub struct RuntimeState {
    /// `creating`, `created`, `running`, `stopped`; `paused` besides.
    pub status: String,
    /// 0 where there is none.
    #[serde(default)]
    pub pid: i32,
}

/// Finds a runtime's binary by `--runtime`: a path, or a name. Ours is looked for beside this program first.
///
/// # Errors
/// There is none, in Docker's words.
pub fn find(word: Option<&str>) -> Result<PathBuf> {
    let name = word.filter(|word| !word.is_empty()).unwrap_or(DEFAULT);
    let missing = || Error::not_found(format!("unknown or invalid runtime name: {name}"));
    if name.contains('/') {
        let path = Path::new(name);
        if !path.is_absolute() {
            return Err(Error::usage(format!("--runtime {name}: the path has to be absolute")));
        }
        return is_program(path).then(|| path.to_owned()).ok_or_else(missing);
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned()));
    let beside = beside.filter(|_| name == DEFAULT);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let listed = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
    let usual = PLACES.iter().map(PathBuf::from);
    let mut places = beside.into_iter().chain(listed).chain(usual).map(|folder| folder.join(name));
    places.find(|path| is_program(path)).ok_or_else(missing)
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|stat| stat.is_file() && stat.permissions().mode() & 0o111 != 0)
}

impl Runtime {
    /// The runtime at `path`, whose records are in `root`.
    #[must_use]
    pub fn new(path: &Path, root: &Path) -> Runtime {
        Runtime { path: path.to_owned(), root: root.to_owned() }
    }

    /// A command of it with its global flags; `log` is where it writes why it failed, as JSON.
    #[must_use]
    pub fn command(&self, log: Option<&Path>) -> Command {
        let mut command = Command::new(&self.path);
        // What the user's environment says is for his containers and his programs, not for who has root's rights.
        for name in ["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"]
        {
            command.env_remove(name);
        }
        command.arg("--root").arg(&self.root);
        if let Some(log) = log {
            command.arg("--log").arg(log).args(["--log-format", "json"]);
        }
        command
    }

    /// Does one short command to its end.
    ///
    /// # Errors
    /// What it says on standard error; the system's reason where it cannot be started.
    pub fn call<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Output> {
        let verb = args.first().map(|verb| verb.as_ref().to_string_lossy().into_owned()).unwrap_or_default();
        let words = || format!("{} {verb}", self.path.display());
        let mut command = self.command(None);
        // A monitor has its signals blocked.
        sys::spawn::inherit_nothing(&mut command);
        let output = command.args(args).stdin(Stdio::null()).output().during(words)?;
        if output.status.success() {
            return Ok(output);
        }
        let reason = reason(&String::from_utf8_lossy(&output.stderr));
        Err(Error::new(Kind::System, reason)).during(words)
    }

    /// Sends a signal to the container's first process.
    ///
    /// # Errors
    /// As for [`Runtime::call`].
    pub fn kill(&self, id: &str, signal: &str) -> Result<()> {
        self.call(&["kill", id, signal]).map(drop)
    }

    /// Forgets a container, which it ends if need be; one that is not there is fine.
    ///
    /// # Errors
    /// As for [`Runtime::call`].
    pub fn delete(&self, id: &str) -> Result<()> {
        let delete = || self.call(&["delete", "--force", id]).map(drop);
        // One that was killed on its way has left something, and the next one goes on from there.
        delete().or_else(|_| delete())
    }

    /// Has all its processes stand still.
    ///
    /// # Errors
    /// As for [`Runtime::call`].
    pub fn pause(&self, id: &str) -> Result<()> {
        self.call(&["pause", id]).map(drop)
    }

    /// Has them go on.
    ///
    /// # Errors
    /// As for [`Runtime::call`].
    pub fn resume(&self, id: &str) -> Result<()> {
        self.call(&["resume", id]).map(drop)
    }

    /// What it says of a container.
    ///
    /// # Errors
    /// As for [`Runtime::call`]; what cannot be read.
    pub fn state(&self, id: &str) -> Result<RuntimeState> {
        let output = self.call(&["state", id])?;
        let wrong = |error: serde_json::Error| Error::invalid(error.to_string());
        serde_json::from_slice(&output.stdout)
            .map_err(wrong)
            .during(|| format!("{} state", self.path.display()))
    }
}

/// Why a runtime failed, by the last line that it wrote; runc's and crun's are lines of a log.
#[must_use]
pub fn reason(stderr: &str) -> String {
    let line =
        stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why").trim();
    if let Some((_, rest)) = line.split_once(" msg=")
        && let Ok(text) = serde_json::from_str::<String>(rest)
    {
        return text;
    }
    // crun begins some with the time.
    line.to_owned()
}

/// Docker's exit status for a program that could not be started: 127 for one that is not there, 126 for one that cannot
/// be executed, 125 for all else.
#[must_use]
pub fn start_status(reason: &str) -> u8 {
    let reason = reason.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if says(&["executable file not found", "executable file `"]) {
        return 127;
    }
    if !says(&["exec", "starting container process"]) {
        return 125;
    }
    if says(&["no such file or directory", "not a directory"]) {
        127
    } else if says(&["permission denied", "is a directory", "exec format error", "invalid argument"]) {
        126
    } else {
        125
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_a_path_or_a_name() {
        assert_eq!(find(Some("/bin/sh")).unwrap(), Path::new("/bin/sh"));
        assert!(find(Some("sh")).unwrap().ends_with("sh"));
        for word in ["/bin", "/nowhere/runc", "no-such-runtime-here", "../runc", "a/b"] {
            assert!(find(Some(word)).is_err(), "{word}");
        }
        let error = find(Some("no-such-runtime-here")).unwrap_err().to_string();
        assert_eq!(error, "unknown or invalid runtime name: no-such-runtime-here");
    }

    #[test]
    fn a_failure_ends_in_what_it_says_on_standard_error() {
        let runtime = Runtime::new(Path::new("/bin/ls"), Path::new("/nowhere"));
        let error = runtime.delete("x").unwrap_err().to_string();
        assert!(
            error.starts_with("/bin/ls delete: /bin/ls: unrecognized option '--root'")
                || error.contains("--help"),
            "{error}"
        );
        let line = "time=\"2026-11-21T23:11:00Z\" level=error msg=\"runc run failed: no \\\"x\\\"\"\n";
        assert_eq!(reason(line), "runc run failed: no \"x\"");
        assert_eq!(reason("warning\ncannot find it\n\n"), "cannot find it");
        assert_eq!(reason(""), "it does not say why");
    }
}
