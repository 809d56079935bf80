//! Go-style flags, rewritten into the form clap reads.
//!
//! runc's callers write `-no-subreaper`, `-bundle=X` or `--debug=false`, as Go's flag package allows
//! (pkg.go.dev/flag, "Command line flag syntax"); clap would take the first for a row of short flags. What
//! is a flag and whether it takes a value is asked of the parser itself, never guessed from the spelling.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, ArgAction, Command};

/// What a scan finds.
pub(super) enum Scan {
    /// `--help` or `-h`.
    Help,
    /// `--version` or `-v`, where the parser has it.
    Version,
    /// The flags in clap's form (`--name` or `--name=value`), and everything else.
    Flags(Vec<OsString>, Vec<OsString>),
}

/// Separates flags from arguments. With `end_at_argument` nothing is a flag after the first argument.
///
/// # Errors
/// One line in Go's words: an unknown flag, a flag without its value, a switch with a value that is none.
pub(super) fn scan(parser: &Command, args: &[OsString], end_at_argument: bool) -> Result<Scan, String> {
    let mut flags = Vec::new();
    let mut switches: Vec<(&Arg, bool)> = Vec::new();
    let mut rest = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some((name, value)) = split(arg)? else {
            if arg == "--" {
                rest.extend(args.cloned());
                break;
            }
            rest.push(arg.clone());
            if end_at_argument {
                rest.extend(args.cloned());
                break;
            }
            continue;
        };
        let flag = find(parser, name)
            .ok_or_else(|| format!("flag provided but not defined: -{}", name.to_string_lossy()))?;
        match flag.get_action() {
            ArgAction::Help => return Ok(Scan::Help),
            ArgAction::Version => return Ok(Scan::Version),
            action if action.takes_values() => {
                let value = match value {
                    Some(value) => value,
                    None => args
                        .next()
                        .ok_or_else(|| format!("flag needs an argument: {}", arg.to_string_lossy()))?,
                };
                flags.push(canonical(flag, Some(value)));
            }
            _ => {
                let on = value.map_or(Some(true), go_bool).ok_or_else(|| {
                    format!("invalid boolean value {:?} for -{}", value.unwrap_or(name), name.display())
                })?;
                switches.retain(|(earlier, _)| earlier.get_id() != flag.get_id());
                switches.push((flag, on));
            }
        }
    }
    flags.extend(switches.iter().filter(|(_, on)| *on).map(|(flag, _)| canonical(flag, None)));
    Ok(Scan::Flags(flags, rest))
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

/// The parser's flag of that name, long or short, with however many dashes.
fn find<'a>(parser: &'a Command, name: &OsStr) -> Option<&'a Arg> {
    let name = name.to_str()?;
    let mut chars = name.chars();
    let short = chars.next().filter(|_| chars.next().is_none());
    parser
        .get_arguments()
        .find(|arg| arg.get_long() == Some(name) || (short.is_some() && arg.get_short() == short))
}

fn canonical(flag: &Arg, value: Option<&OsStr>) -> OsString {
    let mut text = b"--".to_vec();
    text.extend_from_slice(flag.get_long().unwrap_or_default().as_bytes());
    if let Some(value) = value {
        text.push(b'=');
        text.extend_from_slice(value.as_bytes());
    }
    OsString::from_vec(text)
}

/// The values that Go's strconv.ParseBool knows.
pub(super) fn go_bool(text: &OsStr) -> Option<bool> {
    match text.to_str()? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
