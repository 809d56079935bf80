//! The command line: which command, with which flags.
//!
//! Global flags stand before the command. Only the flags of the command that was chosen are looked at; help texts are
//! made of the same tables (`help`), when somebody asks for them.

pub mod complete;
pub mod create_flags;
pub mod flags;
pub mod help;
pub mod shells;
pub mod spec_flags;
mod suggest;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cli::flags::{Arity, Flag, Form, Given, Scan, scan, switch, value};
use crate::error::Result;
use crate::escape::one_line;

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Exit status of a command line that cannot be read, as Docker's.
pub const USAGE: u8 = 125;

const GLOBAL_FLAGS: [Flag; 4] = [
    value("root", "string", "Where images are kept (default /var/lib/caisson, or below $XDG_DATA_HOME)"),
    value(
        "state",
        "string",
        "What ends with the host's uptime (default /run/caisson, or below $XDG_RUNTIME_DIR)",
    ),
    switch("debug", "Say on standard error what is being done").short('D'),
    switch("version", "Print version information and quit").short('v'),
];

/// The flags before the command.
pub const GLOBALS: Form = Form {
    usage: "[OPTIONS] COMMAND",
    flags: &[&GLOBAL_FLAGS],
    arity: Arity::AtLeast(0),
    flags_end_at_argument: true,
};

/// What stands before the command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Globals {
    root: Option<PathBuf>,
    state: Option<PathBuf>,
    debug: bool,
}

impl Globals {
    /// `--root`.
    #[must_use]
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// `--state`.
    #[must_use]
    pub fn state(&self) -> Option<&Path> {
        self.state.as_deref()
    }

    /// The flags again, for another call of this program.
    #[must_use]
    pub fn words(&self) -> Vec<OsString> {
        let mut words = Vec::new();
        for (flag, path) in [("--root", &self.root), ("--state", &self.state)] {
            if let Some(path) = path {
                words.extend([flag.into(), path.as_os_str().to_owned()]);
            }
        }
        words.extend(self.debug.then(|| "--debug".into()));
        words
    }

    /// The same, with these folders.
    #[must_use]
    pub fn with(&self, root: &Path, state: &Path) -> Globals {
        Globals { root: Some(root.to_owned()), state: Some(state.to_owned()), ..self.clone() }
    }

    /// Writes a line to standard error if `--debug` was given.
    pub fn debug(&self, line: impl FnOnce() -> String) {
        if self.debug {
            crate::output::complain(&format!("debug: {}", line()));
        }
    }
}

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct Verb {
    /// All its names, the first of which is its own: `image ls`, `image list`, `images`.
    pub names: &'static [&'static str],
    /// One line for people. A command without one is for programs: neither help texts nor completions tell of it.
    pub about: &'static str,
    /// Flags and arguments.
    pub form: Form,
    /// Does it; the answer is the exit status.
    pub run: fn(&Globals, &Given) -> Result<u8>,
}

/// Commands that have commands, and what they are about.
pub const GROUPS: [(&str, &str); 5] = [
    ("container", "Manage containers"),
    ("image", "Manage images"),
    ("network", "Manage networks"),
    ("system", "Manage what is kept on the disk"),
    ("volume", "Manage volumes"),
];

/// Commands of docker's that are not for a shim without a daemon.
const NEVER: &[&str] = &[
    "build",
    "builder",
    "buildx",
    "checkpoint",
    "compose",
    "config",
    "context",
    "image build",
    "image push",
    "manifest",
    "node",
    "plugin",
    "push",
    "search",
    "secret",
    "service",
    "stack",
    "swarm",
    "trust",
];

/// Why a command of docker's is not here, if that is so.
fn absence(name: &str) -> Option<&'static str> {
    NEVER.contains(&name).then_some("is docker's, and is not supported")
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Parsed {
    /// To print this.
    Text(String),
    /// A command.
    Command(Globals, &'static Verb, Given),
}

/// A command line that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Misuse {
    /// What is wrong, and how it is done; some lines without a newline at the end.
    pub message: String,
    /// The exit status.
    pub code: u8,
}

/// Reads the arguments of the program, without its name.
///
/// # Errors
/// A command line that cannot be read.
pub fn parse(args: &[OsString], verbs: &'static [&'static Verb]) -> std::result::Result<Parsed, Misuse> {
    let misuse = |reason: String| Misuse {
        message: format!(
            "{reason}\n\nUsage:  shim {}\n\nRun 'shim --help' for more information",
            GLOBALS.usage
        ),
        code: USAGE,
    };
    let mut given = match scan(&GLOBALS, args) {
        Ok(Scan::Help) => return Ok(Parsed::Text(help::overview(verbs))),
        Ok(Scan::Given(given)) => given,
        Err(reason) => return Err(misuse(reason)),
    };
    if given.is_on("version") {
        return Ok(Parsed::Text(format!("Caisson shim version {VERSION}\n")));
    }
    let globals = Globals {
        root: given.path("root").map(Path::to_owned),
        state: given.path("state").map(Path::to_owned),
        debug: given.is_on("debug"),
    };
    let words = std::mem::take(&mut given.arguments);
    let Some(first) = words.first() else { return Ok(Parsed::Text(help::overview(verbs))) };
    if first == "help" {
        return help::about(&words[1..], verbs);
    }
    let (verb, name, rest) = find(&words, verbs)?;
    let Some(verb) = verb else { return Ok(Parsed::Text(help::group(&name, verbs))) };
    let misuse = |message: String, code: u8| {
        let usage = format!("Usage:  shim {name} {}", verb.form.usage);
        let message = format!("{message}\n\n{usage}\n\nRun 'shim {name} --help' for more information");
        Misuse { message, code }
    };
    match scan(&verb.form, rest) {
        Ok(Scan::Help) => Ok(Parsed::Text(help::of(verb, &name))),
        Ok(Scan::Given(given)) => match verb.form.arity.complaint(given.arguments.len()) {
            None => Ok(Parsed::Command(globals, verb, given)),
            Some(complaint) => Err(misuse(format!("shim: 'shim {name}' {complaint}"), 1)),
        },
        Err(reason) => Err(misuse(reason, USAGE)),
    }
}

/// A command (None for a group alone), the name it was called by, and the words behind it.
type Called<'a> = (Option<&'static Verb>, String, &'a [OsString]);

/// Finds the command that the first one or two words name.
fn find<'a>(
    words: &'a [OsString],
    verbs: &'static [&'static Verb],
) -> std::result::Result<Called<'a>, Misuse> {
    let by_name = |name: &str| verbs.iter().copied().find(|verb| verb.names.contains(&name));
    let first = words[0].to_string_lossy().into_owned();
    if let Some(verb) = by_name(&first) {
        return Ok((Some(verb), first, &words[1..]));
    }
    let refused = |name: &str, reason: &str| {
        let message = format!("shim: 'shim {name}' {reason}\n\nRun 'shim --help' for more information");
        Err(Misuse { message, code: 1 })
    };
    if let Some(reason) = absence(&first) {
        return refused(&first, reason);
    }
    if !GROUPS.iter().any(|(group, _)| *group == first) {
        let meant = suggest::like(&first, &suggest::commands(verbs));
        let message = format!(
            "shim: unknown command: shim {}\n\n{}Run 'shim --help' for more information",
            one_line(&first),
            suggest::told(&meant)
        );
        return Err(Misuse { message, code: 1 });
    }
    let Some(second) = words.get(1).map(|word| word.to_string_lossy()) else { return Ok((None, first, &[])) };
    if second == "--help" || second == "-h" {
        return Ok((None, first, &[]));
    }
    let name = format!("{first} {second}");
    match by_name(&name) {
        Some(verb) => Ok((Some(verb), name, &words[2..])),
        None if absence(&name).is_some() => refused(&name, absence(&name).unwrap_or_default()),
        None => {
            let unknown = format!("shim: unknown command: shim {}", one_line(&name));
            let meant = suggest::told(&suggest::like(&second, &suggest::commands_of(&first, verbs)));
            let message = format!(
                "{unknown}\n\nUsage:  shim {first}\n\n{meant}Run 'shim {first} --help' for more information"
            );
            Err(Misuse { message, code: 1 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &Globals, _: &Given) -> Result<u8> {
        Ok(0)
    }

    const LS: Verb = Verb {
        names: &["image ls", "images"],
        about: "List images",
        form: Form {
            usage: "[OPTIONS] [REPOSITORY[:TAG]]",
            flags: &[&[switch("all", "Show all").short('a')]],
            arity: Arity::AtMost(1),
            flags_end_at_argument: false,
        },
        run: nothing,
    };
    const VERBS: &[&Verb] = &[&LS];

    fn parsed(line: &str) -> std::result::Result<Parsed, Misuse> {
        let args: Vec<OsString> =
            line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect();
        parse(&args, VERBS)
    }

    #[test]
    fn a_command_is_found_by_all_its_names_behind_the_global_flags() {
        for line in ["images -a x", "image ls -a x", "--root /r -D --state=/s images x -a"] {
            let Ok(Parsed::Command(globals, verb, given)) = parsed(line) else { panic!("{line}") };
            assert_eq!(verb.names[0], "image ls");
            assert!(given.is_on("all") && given.words().unwrap() == ["x"], "{line}");
            assert_eq!(globals.debug, line.contains("-D"));
            assert_eq!(globals.root(), line.contains("--root").then_some(Path::new("/r")));
        }
    }

    #[test]
    fn help_and_version_are_texts() {
        for line in [
            "",
            "--help",
            "help",
            "image",
            "image --help",
            "images --help",
            "help image ls",
            "--version",
            "-v",
        ] {
            assert!(matches!(parsed(line), Ok(Parsed::Text(_))), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_how_it_is_done_with_dockers_exit_status() {
        for (line, message, code) in [
            (
                "--foo images",
                "unknown flag: --foo\n\nUsage:  shim [OPTIONS] COMMAND\n\nRun 'shim --help' for more information",
                125,
            ),
            (
                "images --foo",
                "unknown flag: --foo\n\nUsage:  shim images [OPTIONS] [REPOSITORY[:TAG]]\n\nRun 'shim images --help' for more information",
                125,
            ),
            (
                "image ls a b",
                "shim: 'shim image ls' requires at most 1 argument\n\nUsage:  shim image ls [OPTIONS] [REPOSITORY[:TAG]]\n\nRun 'shim image ls --help' for more information",
                1,
            ),
            (
                "imagse",
                "shim: unknown command: shim imagse\n\nDid you mean this?\n  image\n  images\n\nRun 'shim --help' for more information",
                1,
            ),
            (
                "image build .",
                "shim: 'shim image build' is docker's, and is not supported\n\nRun 'shim --help' for more information",
                1,
            ),
            ("foo", "shim: unknown command: shim foo\n\nRun 'shim --help' for more information", 1),
            (
                "image foo",
                "shim: unknown command: shim image foo\n\nUsage:  shim image\n\nRun 'shim image --help' for more information",
                1,
            ),
        ] {
            let misuse = parsed(line).expect_err(line);
            assert_eq!((misuse.message.as_str(), misuse.code), (message, code), "{line}");
        }
    }
}
