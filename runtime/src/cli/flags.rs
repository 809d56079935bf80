//! Go-style flags: what a command has, and how a command line is read by that.
//!
//! runc's callers write `-no-subreaper`, `-bundle=X` or `--debug=false`, as Go's flag package allows
//! (pkg.go.dev/flag, "Command line flag syntax"). What is a flag and whether it takes a value is asked of
//! the command's table, never guessed from the spelling. The tables are constants: reading a command line
//! that makes sense builds nothing but its result, since every container's birth waits for it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What a flag does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Is on or off.
    Switch,
    /// Takes a value, which help texts call this.
    Value(&'static str),
    /// Prints the help text.
    Help,
    /// Prints the version.
    Version,
}

/// One flag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flag {
    /// The long name, without dashes.
    pub(super) name: &'static str,
    /// The short name.
    pub(super) short: Option<char>,
    /// What it does.
    pub(super) action: Action,
    /// One line for people.
    pub(super) help: &'static str,
    /// Whether help texts leave it out.
    pub(super) hidden: bool,
}

/// A flag with a value.
pub(super) const fn value(name: &'static str, shown: &'static str, help: &'static str) -> Flag {
    Flag { name, short: None, action: Action::Value(shown), help, hidden: false }
}

/// A flag without one.
pub(super) const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag { name, short: None, action: Action::Switch, help, hidden: false }
}

impl Flag {
    /// The same flag with a short name.
    pub(super) const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }

    /// The same flag, left out of help texts.
    pub(super) const fn hidden(self) -> Self {
        Self { hidden: true, ..self }
    }

    /// The same flag with another action.
    pub(super) const fn action(self, action: Action) -> Self {
        Self { action, ..self }
    }
}

/// An argument that is no flag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Argument {
    /// What help texts call it.
    pub(super) shown: &'static str,
    /// One line for people.
    pub(super) help: &'static str,
    /// Whether it has to be there.
    pub(super) required: bool,
    /// Whether there may be any number of it; only the last one may.
    pub(super) many: bool,
}

/// The flags of a command, in groups that commands share, and its arguments in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// The flags.
    pub(super) flags: &'static [&'static [Flag]],
    /// The arguments.
    pub(super) arguments: &'static [Argument],
    /// Whether nothing is a flag after the first argument.
    pub(super) flags_end_at_argument: bool,
}

/// What a scan finds.
pub(super) enum Scan {
    /// `--help` or `-h`.
    Help,
    /// `--version` or `-v`, where the form has it.
    Version,
    /// Flags and arguments.
    Given(Given),
}

/// The flags of a command line and its arguments.
#[derive(Debug, Default)]
pub(super) struct Given {
    values: Vec<(&'static str, OsString)>,
    switches: Vec<(&'static str, bool)>,
    /// What is no flag, in order.
    pub(super) arguments: Vec<OsString>,
}

impl Given {
    /// The last value given for the flag, also an empty one.
    pub(super) fn last(&mut self, name: &str) -> Option<OsString> {
        let at = self.values.iter().rposition(|(flag, _)| *flag == name)?;
        Some(std::mem::take(&mut self.values[at].1))
    }

    /// A flag's value; an empty one is the same as none, as in runc.
    pub(super) fn value(&mut self, name: &str) -> Option<OsString> {
        self.last(name).filter(|value| !value.is_empty())
    }

    /// All values given for the flag, in order.
    pub(super) fn all(&mut self, name: &str) -> Vec<OsString> {
        let of_name = self.values.iter_mut().filter(|(flag, _)| *flag == name);
        of_name.map(|(_, value)| std::mem::take(value)).collect()
    }

    /// What a switch was set to last, if it was given.
    pub(super) fn switched(&self, name: &str) -> Option<bool> {
        self.switches.iter().rfind(|(switch, _)| *switch == name).map(|(_, on)| *on)
    }

    /// Whether a switch is on: the last one given wins.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.switched(name) == Some(true)
    }

    /// The argument at `position` as text; empty where there is none.
    pub(super) fn text(&mut self, position: usize) -> Result<String, String> {
        let argument = self.arguments.get_mut(position).map(std::mem::take).unwrap_or_default();
        argument.into_string().map_err(|_| "an argument is not UTF-8".to_owned())
    }
}

/// Separates flags from arguments.
///
/// # Errors
/// One line in Go's words: an unknown flag, a flag without its value, a switch with a value that is none.
pub(super) fn scan(form: &Form, args: &[OsString]) -> Result<Scan, String> {
    let mut given = Given::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some((name, value)) = split(arg)? else {
            if arg != "--" {
                given.arguments.push(arg.clone());
            }
            if arg == "--" || form.flags_end_at_argument {
                given.arguments.extend(args.cloned());
                break;
            }
            continue;
        };
        let flag = find(form, name)
            .ok_or_else(|| format!("flag provided but not defined: -{}", name.to_string_lossy()))?;
        match flag.action {
            Action::Help => return Ok(Scan::Help),
            Action::Version => return Ok(Scan::Version),
            Action::Value(_) => {
                let value = match value {
                    Some(value) => value,
                    None => args
                        .next()
                        .ok_or_else(|| format!("flag needs an argument: {}", arg.to_string_lossy()))?,
                };
                given.values.push((flag.name, value.to_owned()));
            }
            Action::Switch => {
                let on = value.map_or(Some(true), go_bool).ok_or_else(|| {
                    format!("invalid boolean value {:?} for -{}", value.unwrap_or(name), name.display())
                })?;
                given.switches.push((flag.name, on));
            }
        }
    }
    Ok(Scan::Given(given))
}

/// Name and attached value of a flag; `None` for an argument, `-` and `--`.
fn split(arg: &OsStr) -> Result<Option<(&OsStr, Option<&OsStr>)>, String> {
    let bytes = arg.as_bytes();
    let body = match bytes {
        b"-" | b"--" => return Ok(None),
        [b'-', b'-', body @ ..] | [b'-', body @ ..] => body,
        _ => return Ok(None),
    };
    if body.starts_with(b"-") || body.starts_with(b"=") {
        return Err(format!("bad flag syntax: {}", arg.to_string_lossy()));
    }
    let (name, value) = match body.iter().position(|byte| *byte == b'=') {
        Some(at) => (&body[..at], Some(OsStr::from_bytes(&body[at + 1..]))),
        None => (body, None),
    };
    Ok(Some((OsStr::from_bytes(name), value)))
}

/// The form's flag of that name, long or short, with however many dashes. Every form has `help`.
fn find(form: &Form, name: &OsStr) -> Option<Flag> {
    let name = name.to_str()?;
    let mut chars = name.chars();
    let short = chars.next().filter(|_| chars.next().is_none());
    let is = |flag: &&Flag| flag.name == name || (short.is_some() && flag.short == short);
    std::iter::once(&HELP).chain(form.flags.iter().copied().flatten()).find(is).copied()
}

/// The flag that all commands have.
pub(super) const HELP: Flag = switch("help", "print this help").short('h').action(Action::Help);

/// The values that Go's strconv.ParseBool knows.
pub(super) fn go_bool(text: &OsStr) -> Option<bool> {
    match text.to_str()? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
