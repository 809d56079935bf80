//! The command line: what runc's callers send, as plain structs.
//!
//! Nothing is judged here beyond the form of the arguments, and nothing is read from the host except the
//! environment and the working directory. The grammar is runc's: global flags stand before the command
//! only; long flags take one dash or two; a flag may be repeated, the last one wins; within a command flags
//! and arguments may be mixed. `grammar` is the table of commands and flags, `flags` reads a command line by
//! it, and `help` (clap) makes the texts for people of it, which costs a good command line nothing.

mod checkpoint;
mod duration;
mod exec;
mod flags;
mod grammar;
mod help;
mod update;
mod version;

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::report;
use crate::spec::{IntelRdt, Resources};
pub use checkpoint::{CgroupsMode, Checkpoint, CriuFlags, Restore};
pub use version::{COMMIT, NAME, VERSION, version_text};

/// Form of the lines that go to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `time="…" level=error msg="…"`.
    #[default]
    Text,
    /// One JSON object on each line.
    Json,
}

/// The flags before the command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Globals {
    /// Folder of the containers' state, absolute; see [`Globals::state_root`] for the default.
    pub root: Option<PathBuf>,
    /// File that errors, warnings and debug lines are appended to.
    pub log: Option<PathBuf>,
    /// Form of these lines.
    pub log_format: LogFormat,
    /// Whether debug lines are written.
    pub debug: bool,
    /// Whether systemd is asked for the cgroup.
    pub systemd_cgroup: bool,
    /// Whether failures to reach the cgroup are tolerated; `None` decides by the host.
    pub rootless: Option<bool>,
}

/// The folder of the containers' state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRoot {
    /// Absolute path.
    pub path: PathBuf,
    /// $XDG_RUNTIME_DIR, where the folder lies in that. It gets the sticky bit then, which keeps it from being
    /// cleaned away: the XDG base directory specification lets anyone remove old files that lack it.
    pub runtime_folder: Option<PathBuf>,
}

impl Globals {
    /// Where the state is: `--root`, else $XDG_RUNTIME_DIR/caisson/runtime for a rootless caller, else
    /// /run/caisson/runtime. Never runc's own folder: the two programs' records differ.
    pub fn state_root(&self) -> StateRoot {
        if let Some(root) = &self.root {
            return StateRoot { path: root.clone(), runtime_folder: None };
        }
        let xdg = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| Path::new(dir).is_absolute());
        match xdg.map(PathBuf::from) {
            Some(dir) if is_rootless() => {
                StateRoot { path: dir.join("caisson/runtime"), runtime_folder: Some(dir) }
            }
            _ => StateRoot { path: PathBuf::from("/run/caisson/runtime"), runtime_folder: None },
        }
    }
}

/// Whether the caller is an ordinary user, or root of a user namespace that is not called root (runc's
/// rule: after `unshare -r` USER still names the user, whose folder is meant).
fn is_rootless() -> bool {
    if !nix::unistd::geteuid().is_root() {
        return true;
    }
    #[allow(clippy::disallowed_methods)] // An unreadable map means: not in a user namespace.
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let initial = map.is_empty() || map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    !initial && std::env::var_os("USER").is_none_or(|user| user != "root")
}

/// A verb with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Make a container that waits for `start`.
    Create(Create),
    /// Make and start a container.
    Run(Run),
    /// Start the program of a created container.
    Start(Start),
    /// Run a further program in a container.
    Exec(Box<Exec>),
    /// Print a container's state.
    State(State),
    /// Send a signal to a container's first process.
    Kill(Kill),
    /// Stop all processes of a container.
    Pause(Pause),
    /// Let them run again.
    Resume(Resume),
    /// Change a container's limits.
    Update(Box<Update>),
    /// Show a container's processes.
    Ps(Ps),
    /// Print what a container uses, and that it runs out of memory.
    Events(Events),
    /// Write the state of a container's processes to images.
    Checkpoint(Box<Checkpoint>),
    /// Make a container of images.
    Restore(Box<Restore>),
    /// Remove a container.
    Delete(Delete),
    /// Show all containers under the root.
    List(List),
    /// Write a config.json to start from.
    Spec(Spec),
    /// Print what this binary supports.
    Features,
}

impl Command {
    /// The verb as it is typed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Run(_) => "run",
            Self::Start(_) => "start",
            Self::Exec(_) => "exec",
            Self::State(_) => "state",
            Self::Kill(_) => "kill",
            Self::Pause(_) => "pause",
            Self::Resume(_) => "resume",
            Self::Update(_) => "update",
            Self::Ps(_) => "ps",
            Self::Events(_) => "events",
            Self::Checkpoint(_) => "checkpoint",
            Self::Restore(_) => "restore",
            Self::Delete(_) => "delete",
            Self::List(_) => "list",
            Self::Spec(_) => "spec",
            Self::Features => "features",
        }
    }

    /// The exit code of its failures.
    pub fn failure_code(&self) -> u8 {
        if matches!(self, Self::Exec(_)) { report::EXEC_FAILURE } else { report::FAILURE }
    }

    /// Whether callers parse what the command prints, some of them stdout and stderr together: go-runc's
    /// `state` and `ps`, CRI-O's `features`. Then a success leaves stderr empty.
    pub fn output_is_parsed(&self) -> bool {
        matches!(self, Self::State(_) | Self::List(_) | Self::Ps(_) | Self::Events(_) | Self::Features)
    }
}

/// Arguments of `create`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// The container's id, not yet checked.
    pub id: String,
    /// The bundle's folder; `.` where none is given.
    pub bundle: PathBuf,
    /// AF_UNIX socket that receives the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// AF_UNIX socket that receives a pidfd of the container's first process.
    pub pidfd_socket: Option<PathBuf>,
    /// File that the process id is written to.
    pub pid_file: Option<PathBuf>,
    /// Whether the root is entered without pivot_root(2).
    pub no_pivot: bool,
    /// Whether the caller's session keyring is kept.
    pub no_new_keyring: bool,
    /// Number of descriptors after stderr that the program inherits.
    pub preserve_fds: u32,
}

/// Arguments of `run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// All of `create`'s.
    pub create: Create,
    /// Whether `run` returns once the program runs.
    pub detach: bool,
    /// Whether the container stays when its program has ended.
    pub keep: bool,
    /// Whether orphans of the container are left to the system's reaper.
    pub no_subreaper: bool,
}

/// Arguments of `start`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The container's id.
    pub id: String,
}

/// Arguments of `exec`. Flags that are not given change nothing. What is text to a container is bytes on a command
/// line: whether it is UTF-8 is `exec`'s to say, whose failures have a code of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    /// The container's id.
    pub id: String,
    /// The program and its arguments.
    pub args: Vec<OsString>,
    /// The file that has the process as JSON; the container's own process is changed where none is given.
    pub process: Option<PathBuf>,
    /// Working directory.
    pub cwd: Option<OsString>,
    /// `NAME=value`, not yet checked.
    pub env: Vec<OsString>,
    /// `uid[:gid]`, not yet checked.
    pub user: Option<OsString>,
    /// Further groups, not yet checked.
    pub additional_gids: Vec<OsString>,
    /// Further capabilities by name.
    pub caps: Vec<OsString>,
    /// Whether execve may never grant privileges.
    pub no_new_privs: Option<bool>,
    /// AppArmor profile.
    pub apparmor: Option<OsString>,
    /// SELinux label.
    pub process_label: Option<OsString>,
    /// Path of a cgroup below the container's.
    pub cgroup: Option<OsString>,
    /// Whether a paused container will do.
    pub ignore_paused: bool,
    /// Whether the process gets a terminal.
    pub tty: bool,
    /// AF_UNIX socket that receives the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// Whether `exec` returns once the program runs.
    pub detach: bool,
    /// File that the process id is written to.
    pub pid_file: Option<PathBuf>,
    /// AF_UNIX socket that receives a pidfd of the process.
    pub pidfd_socket: Option<PathBuf>,
    /// Number of descriptors after stderr that the program inherits.
    pub preserve_fds: u32,
}

/// Arguments of `state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The container's id.
    pub id: String,
}

/// Arguments of `kill`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// The container's id.
    pub id: String,
    /// Name (with or without SIG) or number, not yet checked; SIGTERM where none is given.
    pub signal: String,
    /// runc's old flag: every process of the container, and no error where none is left.
    pub all: bool,
}

/// Arguments of `pause`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// The container's id.
    pub id: String,
}

/// Arguments of `resume`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The container's id.
    pub id: String,
}

/// Arguments of `update`.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The container's id.
    pub id: String,
    /// The file that has the limits, `-` for standard input; the flags of single limits count for nothing then.
    pub file: Option<PathBuf>,
    /// The limits that flags give.
    pub resources: Resources,
    /// `--l3-cache-schema` and `--mem-bw-schema`, which count in any case.
    pub intel_rdt: IntelRdt,
    /// Flags that were given and mean nothing on cgroup v2.
    pub obsolete: Vec<&'static str>,
}

/// Arguments of `ps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ps {
    /// The container's id.
    pub id: String,
    /// Form of the output.
    pub format: ListFormat,
    /// What ps(1) is given; `-ef` where nothing is.
    pub options: Vec<OsString>,
}

/// Arguments of `events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// The container's id.
    pub id: String,
    /// Whether what it uses is printed once, and that is all.
    pub stats: bool,
    /// Time between two prints.
    pub interval: Duration,
}

/// Arguments of `delete`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// The container's id.
    pub id: String,
    /// Whether a running container is killed first, and a missing one no error.
    pub force: bool,
}

/// Form of the output of `list` and `ps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFormat {
    /// Columns for people.
    Table,
    /// An array, of states or of process ids.
    Json,
}

/// Arguments of `list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Form of the output.
    pub format: ListFormat,
    /// Whether only ids are printed.
    pub quiet: bool,
}

/// Arguments of `spec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The folder to write into; the working directory where none is given.
    pub bundle: PathBuf,
    /// Whether the file is for a caller without privileges.
    pub rootless: bool,
}

/// A command line that makes sense.
#[derive(Debug, PartialEq)]
pub enum Parsed {
    /// Help or version: to be printed as it is.
    Text(String),
    /// Something to do.
    Command(Globals, Command),
}

/// A command line that does not.
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError {
    /// As far as they were understood: the log is still written to.
    pub globals: Globals,
    /// One line.
    pub message: String,
    /// The usage text that goes with it.
    pub help: String,
}

/// Reads the arguments (without the program's name).
///
/// # Errors
/// [`UsageError`] for unknown commands and flags, missing or surplus arguments, and values out of form.
pub fn parse(args: &[OsString]) -> Result<Parsed, UsageError> {
    // Engines ask for the version at each of their starts: answered before any parser exists.
    if let [only] = args
        && ["--version", "-v", "-version"].contains(&only.to_str().unwrap_or_default())
    {
        return Ok(Parsed::Text(version_text()));
    }
    let usage = |message| UsageError { globals: Globals::default(), message, help: help::usage() };
    let mut given = match flags::scan(&grammar::GLOBALS, args).map_err(usage)? {
        flags::Scan::Help => return Ok(Parsed::Text(help::overview())),
        flags::Scan::Version => return Ok(Parsed::Text(version_text())),
        flags::Scan::Given(given) => given,
    };
    let globals = grammar::read_globals(&mut given).map_err(usage)?;
    match given.arguments.split_first() {
        None => Ok(Parsed::Text(help::overview())),
        Some((verb, args)) if verb == "help" || verb == "h" => {
            parse_help(args).map_err(|message| UsageError { globals, ..usage(message) })
        }
        Some((verb, args)) => parse_command(globals, verb, args),
    }
}

/// `help [COMMAND]`.
fn parse_help(args: &[OsString]) -> Result<Parsed, String> {
    match args.first() {
        None => Ok(Parsed::Text(help::overview())),
        Some(name) => match grammar::find(name) {
            Some(verb) => Ok(Parsed::Text(help::of(verb))),
            None => Err(grammar::unknown(name)),
        },
    }
}

fn parse_command(globals: Globals, name: &OsStr, args: &[OsString]) -> Result<Parsed, UsageError> {
    let Some(verb) = grammar::find(name) else {
        return Err(UsageError { globals, message: grammar::unknown(name), help: help::usage() });
    };
    let read = || match flags::scan(&verb.form, args)? {
        flags::Scan::Help => Ok(Err(help::of(verb))),
        flags::Scan::Version => Ok(Err(version_text())),
        flags::Scan::Given(mut given) => verb.read(&mut given).map(Ok),
    };
    match read() {
        Ok(Ok(command)) => Ok(Parsed::Command(globals, command)),
        Ok(Err(text)) => Ok(Parsed::Text(text)),
        Err(message) => Err(UsageError { globals, message, help: help::usage_of(verb) }),
    }
}

/// The absolute form of `--root`; the state of all containers in `/` itself is never meant.
fn absolute_root(given: &OsStr) -> Result<PathBuf, String> {
    let refuse = || format!("flag --root: the folder may not be {given:?}");
    let path = std::path::absolute(given).map_err(|_| refuse())?;
    let depth = path.components().fold(0_usize, |depth, component| match component {
        Component::Normal(_) => depth + 1,
        Component::ParentDir => depth.saturating_sub(1),
        _ => depth,
    });
    if depth == 0 { Err(refuse()) } else { Ok(path) }
}

#[cfg(test)]
mod tests;
