//! Docker's grammar of flags: what a command has, and how a command line is read by that.
//!
//! Docker reads its command line by the Go package `pflag` (pkg.go.dev/github.com/spf13/pflag, "Command line flag
//! syntax"): `--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`, short switches in one group (`-aq`), and
//! switches that can be turned off (`--all=false`). Scripts rely on all of it and on its messages, and no parser of
//! general use has this grammar. The tables are constants: reading a command line builds nothing but its result.
//!
//! Pure. What a value means is the command's matter; a flag may name a check, so that a value that can mean nothing is
//! told with the flag that it was given to.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use crate::error::{Error, Result};
use crate::escape::one_line;

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: it is on, or off with `=false`.
    Nothing,
    /// A value, which help texts call this; the last one given counts.
    One(&'static str),
    /// A value, any number of times.
    Many(&'static str),
}

/// Says what is wrong with a value, if anything is.
pub type Check = fn(&str) -> std::result::Result<(), String>;

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The long name, without dashes.
    pub name: &'static str,
    /// The short name.
    pub short: Option<char>,
    /// What follows it.
    pub takes: Takes,
    /// For people.
    pub help: &'static str,
    /// Whether help texts leave it out.
    pub hidden: bool,
    /// What its values have to be.
    pub check: Option<Check>,
}

/// A flag that is on or off.
#[must_use]
pub const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag { name, short: None, takes: Takes::Nothing, help, hidden: false, check: None }
}

/// A flag with a value.
#[must_use]
pub const fn value(name: &'static str, shown: &'static str, help: &'static str) -> Flag {
    Flag { name, short: None, takes: Takes::One(shown), help, hidden: false, check: None }
}

/// A flag that may be given more than once, each time with a value.
#[must_use]
pub const fn list(name: &'static str, shown: &'static str, help: &'static str) -> Flag {
    Flag { name, short: None, takes: Takes::Many(shown), help, hidden: false, check: None }
}

impl Flag {
    /// The same flag with a short name.
    #[must_use]
    pub const fn short(self, short: char) -> Flag {
        Flag { short: Some(short), ..self }
    }

    /// The same flag, left out of help texts.
    #[must_use]
    pub const fn hidden(self) -> Flag {
        Flag { hidden: true, ..self }
    }

    /// The same flag, whose values have to pass this.
    #[must_use]
    pub const fn checked(self, check: Check) -> Flag {
        Flag { check: Some(check), ..self }
    }

    /// `-a, --all`, as messages call it.
    fn shown(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.name),
            None => format!("--{}", self.name),
        }
    }
}

/// How many arguments a command takes, besides its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// This many.
    Exactly(usize),
    /// This many, or more.
    AtLeast(usize),
    /// This many, or fewer.
    AtMost(usize),
    /// From the first to the second number.
    Between(usize, usize),
}

impl Arity {
    /// What is wrong with this number of arguments, in Docker's words.
    #[must_use]
    pub fn complaint(self, count: usize) -> Option<String> {
        let plural = |number: usize| if number == 1 { "argument" } else { "arguments" };
        match self {
            Arity::Exactly(0) | Arity::AtMost(0) if count > 0 => Some("accepts no arguments".to_owned()),
            Arity::Exactly(number) if count != number => {
                Some(format!("requires {number} {}", plural(number)))
            }
            Arity::AtLeast(number) if count < number => {
                Some(format!("requires at least {number} {}", plural(number)))
            }
            Arity::AtMost(number) if count > number => {
                Some(format!("requires at most {number} {}", plural(number)))
            }
            Arity::Between(least, most) if count < least || count > most => {
                Some(format!("requires at least {least} and at most {most} {}", plural(most)))
            }
            _ => None,
        }
    }
}

/// The flags of a command, in groups that commands share, and its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// What stands behind the command in its usage, such as `[OPTIONS] IMAGE [IMAGE...]`.
    pub usage: &'static str,
    /// The flags.
    pub flags: &'static [&'static [Flag]],
    /// How many arguments.
    pub arity: Arity,
    /// Whether nothing is a flag behind the first argument, as with `docker run IMAGE COMMAND`.
    pub flags_end_at_argument: bool,
}

impl Form {
    /// The flags, whatever group they are in.
    pub fn all_flags(&self) -> impl Iterator<Item = &'static Flag> + use<> {
        self.flags.iter().copied().flatten()
    }
}

/// What was found on a command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// In order; switches have `true` or `false`.
    values: Vec<(&'static str, OsString)>,
    /// What is no flag, in order.
    pub arguments: Vec<OsString>,
}

impl Given {
    /// Is this switch on? The last one given counts.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.switched(name) == Some(true)
    }

    /// What a switch was set to, if it was given.
    #[must_use]
    pub fn switched(&self, name: &str) -> Option<bool> {
        self.last(name).map(|value| value == "true")
    }

    /// The last value given for a flag.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<&OsStr> {
        self.values.iter().rfind(|(flag, _)| *flag == name).map(|(_, value)| value.as_os_str())
    }

    /// The last value given for a flag, as a path.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.last(name).map(Path::new)
    }

    /// The last value given for a flag, as text.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<&str>> {
        self.last(name).map(|value| to_text(value, || format!("--{name}"))).transpose()
    }

    /// All values given for a flag, in order.
    ///
    /// # Errors
    /// One that is not UTF-8.
    pub fn texts(&self, name: &str) -> Result<Vec<&str>> {
        let of_name = self.values.iter().filter(|(flag, _)| *flag == name);
        of_name.map(|(_, value)| to_text(value, || format!("--{name}"))).collect()
    }

    /// The arguments, as text.
    ///
    /// # Errors
    /// One that is not UTF-8.
    pub fn words(&self) -> Result<Vec<&str>> {
        self.arguments.iter().map(|argument| to_text(argument, || "argument".into())).collect()
    }

    /// The names of all flags that were given, in order, with their values: for what treats many flags alike.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, &OsStr)> {
        self.values.iter().map(|(name, value)| (*name, value.as_os_str()))
    }
}

fn to_text(value: &OsStr, what: impl Fn() -> String) -> Result<&str> {
    value.to_str().ok_or_else(|| Error::usage(format!("{} {value:?} is not UTF-8", what())))
}

/// What a scan comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Scan {
    /// `--help`, or `-h` where that is not a flag of the command's own.
    Help,
    /// Flags and arguments.
    Given(Given),
}

/// Reads a command line.
///
/// # Errors
/// Docker's words for what does not fit.
pub fn scan(form: &Form, args: &[OsString]) -> std::result::Result<Scan, String> {
    let mut given = Given::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_bytes() {
            b"--" => {
                given.arguments.extend(rest.cloned());
                break;
            }
            [b'-', b'-', long @ ..] => {
                if is_help(form, long) {
                    return Ok(Scan::Help);
                }
                read_long(form, arg, long, &mut rest, &mut given)?;
            }
            [b'-', shorts @ ..] if !shorts.is_empty() => {
                if read_shorts(form, shorts, &mut rest, &mut given)? {
                    return Ok(Scan::Help);
                }
            }
            _ => {
                given.arguments.push(arg.clone());
                if form.flags_end_at_argument {
                    given.arguments.extend(rest.cloned());
                    break;
                }
            }
        }
    }
    Ok(Scan::Given(given))
}

fn is_help(form: &Form, long: &[u8]) -> bool {
    long == b"help" && form.all_flags().all(|flag| flag.name != "help")
}

/// `--name`, `--name value`, `--name=value`.
fn read_long<'a>(
    form: &Form,
    arg: &OsStr,
    long: &[u8],
    rest: &mut impl Iterator<Item = &'a OsString>,
    given: &mut Given,
) -> std::result::Result<(), String> {
    let (name, attached) = match long.iter().position(|byte| *byte == b'=') {
        Some(0) => return Err(format!("bad flag syntax: {}", printable(arg.as_bytes()))),
        Some(at) => (&long[..at], Some(OsString::from_vec(long[at + 1..].to_vec()))),
        None => (long, None),
    };
    if name.starts_with(b"-") {
        return Err(format!("bad flag syntax: {}", printable(arg.as_bytes())));
    }
    let flag = form
        .all_flags()
        .find(|flag| flag.name.as_bytes() == name)
        .ok_or_else(|| format!("unknown flag: --{}", printable(name)))?;
    let value = match (attached, flag.takes) {
        (Some(value), _) => value,
        (None, Takes::Nothing) => "true".into(),
        (None, _) => rest
            .next()
            .ok_or_else(|| format!("flag needs an argument: {}", printable(arg.as_bytes())))?
            .clone(),
    };
    keep(flag, value, given)
}

/// A group of short flags, of which the last may have a value. Whether it asks for help.
fn read_shorts<'a>(
    form: &Form,
    mut shorts: &[u8],
    rest: &mut impl Iterator<Item = &'a OsString>,
    given: &mut Given,
) -> std::result::Result<bool, String> {
    while let [short, behind @ ..] = shorts {
        let found =
            form.all_flags().find(|flag| flag.short.is_some_and(|name| u32::from(name) == u32::from(*short)));
        let Some(flag) = found else {
            if *short == b'h' {
                return Ok(true);
            }
            let short = printable(&[*short]);
            return Err(format!("unknown shorthand flag: '{short}' in -{}", printable(shorts)));
        };
        let value = match (behind, flag.takes) {
            ([b'=', value @ ..], _) if !value.is_empty() => OsString::from_vec(value.to_vec()),
            (_, Takes::Nothing) => {
                keep(flag, "true".into(), given)?;
                shorts = behind;
                continue;
            }
            ([], _) => {
                let missing = || {
                    format!("flag needs an argument: '{}' in -{}", printable(&[*short]), printable(shorts))
                };
                rest.next().ok_or_else(missing)?.clone()
            }
            (value, _) => OsString::from_vec(value.to_vec()),
        };
        keep(flag, value, given)?;
        return Ok(false);
    }
    Ok(false)
}

fn keep(flag: &'static Flag, value: OsString, given: &mut Given) -> std::result::Result<(), String> {
    let wrong = |reason: &str| {
        let value = printable(value.as_bytes());
        format!("invalid argument \"{value}\" for \"{}\" flag: {reason}", flag.shown())
    };
    let value = match (flag.takes, value.to_str()) {
        (Takes::Nothing, text) => match text.and_then(boolean) {
            Some(on) => OsString::from(if on { "true" } else { "false" }),
            None => return Err(wrong("it is neither true nor false")),
        },
        (_, text) => {
            if let Some(check) = flag.check {
                check(text.ok_or_else(|| wrong("not UTF-8"))?).map_err(|reason| wrong(&reason))?;
            }
            value
        }
    };
    given.values.push((flag.name, value));
    Ok(())
}

/// What Go's `strconv.ParseBool` takes.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// On one line, whatever it is: these messages go to a terminal.
fn printable(bytes: &[u8]) -> String {
    one_line(&String::from_utf8_lossy(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_empty(text: &str) -> std::result::Result<(), String> {
        if text.is_empty() { Err("it is empty".into()) } else { Ok(()) }
    }

    const FORM: Form = Form {
        usage: "[OPTIONS] [NAME]",
        flags: &[
            &[switch("all", "").short('a'), switch("quiet", "").short('q')],
            &[
                value("output", "string", "").short('o'),
                list("filter", "filter", "").short('f').checked(not_empty),
            ],
        ],
        arity: Arity::AtMost(1),
        flags_end_at_argument: false,
    };

    fn args(line: &str) -> Vec<OsString> {
        line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect()
    }

    fn given(form: &Form, line: &str) -> Given {
        match scan(form, &args(line)) {
            Ok(Scan::Given(given)) => given,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn flags_are_read_as_docker_reads_them() {
        for line in ["-aq -o x y", "-qao x y", "-aqox y", "y --all --quiet --output=x", "-q -a=1 -o=x -- y"] {
            let given = given(&FORM, line);
            assert!(given.is_on("all") && given.is_on("quiet"), "{line}");
            assert_eq!(given.text("output").unwrap(), Some("x"), "{line}");
            assert_eq!(given.words().unwrap(), ["y"], "{line}");
        }
        let off = given(&FORM, "-a --all=false -q=F");
        assert_eq!(
            (off.switched("all"), off.switched("quiet"), off.is_on("all")),
            (Some(false), Some(false), false)
        );
        let filters = given(&FORM, "-f a=b --filter c -f=d=e");
        assert_eq!(filters.texts("filter").unwrap(), ["a=b", "c", "d=e"]);
        assert_eq!(given(&FORM, "-o - -").text("output").unwrap(), Some("-"));
        assert_eq!(given(&FORM, "-- -a --all").words().unwrap(), ["-a", "--all"]);
        assert_eq!(given(&FORM, "--output= x").text("output").unwrap(), Some(""));
    }

    #[test]
    fn behind_the_first_argument_there_are_no_flags_where_a_command_says_so() {
        let form = Form { flags_end_at_argument: true, ..FORM };
        let found = given(&form, "-a image -q --foo -- x");
        assert!(found.is_on("all") && !found.is_on("quiet"));
        assert_eq!(found.words().unwrap(), ["image", "-q", "--foo", "--", "x"]);
    }

    #[test]
    fn help_is_asked_for_by_both_names() {
        for line in ["--help", "-h", "x --help", "-ah"] {
            assert_eq!(scan(&FORM, &args(line)), Ok(Scan::Help), "{line}");
        }
        const HOST: Form = Form { flags: &[&[value("hostname", "string", "").short('h')]], ..FORM };
        assert_eq!(given(&HOST, "-h x").text("hostname").unwrap(), Some("x"));
    }

    #[test]
    fn what_does_not_fit_is_told_in_dockers_words() {
        for (line, message) in [
            ("--foo", "unknown flag: --foo"),
            ("--foo=x", "unknown flag: --foo"),
            ("-z", "unknown shorthand flag: 'z' in -z"),
            ("-aqx", "unknown shorthand flag: 'x' in -x"),
            ("-aq=", "unknown shorthand flag: '=' in -="),
            ("--output", "flag needs an argument: --output"),
            ("-o", "flag needs an argument: 'o' in -o"),
            ("-ao", "flag needs an argument: 'o' in -o"),
            ("---a", "bad flag syntax: ---a"),
            ("--=a", "bad flag syntax: --=a"),
            (
                "--all=maybe",
                "invalid argument \"maybe\" for \"-a, --all\" flag: it is neither true nor false",
            ),
            ("--filter=", "invalid argument \"\" for \"-f, --filter\" flag: it is empty"),
        ] {
            assert_eq!(scan(&FORM, &args(line)), Err(message.to_owned()), "{line}");
        }
        let odd = [OsString::from("--\u{1b}[2J\n")];
        assert_eq!(scan(&FORM, &odd), Err("unknown flag: --\\u{1b}[2J\\n".to_owned()));
    }

    #[test]
    fn arguments_are_counted() {
        let table = [
            (Arity::Exactly(2), 1, Some("requires 2 arguments")),
            (Arity::Exactly(1), 0, Some("requires 1 argument")),
            (Arity::Exactly(0), 1, Some("accepts no arguments")),
            (Arity::AtLeast(1), 0, Some("requires at least 1 argument")),
            (Arity::AtMost(1), 2, Some("requires at most 1 argument")),
            (Arity::Between(1, 2), 3, Some("requires at least 1 and at most 2 arguments")),
            (Arity::Exactly(2), 2, None),
            (Arity::AtLeast(1), 9, None),
            (Arity::AtMost(1), 0, None),
            (Arity::Between(1, 2), 1, None),
        ];
        for (arity, count, complaint) in table {
            assert_eq!(arity.complaint(count).as_deref(), complaint, "{arity:?} {count}");
        }
    }
}
