//! Help texts, in Docker's form, made of the tables that command lines are read by.

use std::ffi::OsString;
use std::fmt::Write as _;

use super::flags::{Flag, Form, Takes};
use super::{GLOBALS, GROUPS, Misuse, Parsed, Verb};

/// What people do most, in docker's order: a section of its own.
const COMMON: [&str; 9] = ["run", "exec", "ps", "pull", "images", "login", "logout", "version", "info"];

/// Where lines of help are broken, in characters.
const WIDTH: usize = 80;

/// The help text of the whole program.
pub(super) fn overview(verbs: &[&'static Verb]) -> String {
    let mut text = format!("Usage:  shim {}\n\nDocker's commands without a daemon\n", GLOBALS.usage);
    let mut all: Vec<(&str, &str)> =
        verbs.iter().flat_map(|verb| short_names(verb).map(|name| (name, verb.about))).collect();
    let common: Vec<(&str, &str)> =
        COMMON.iter().filter_map(|name| all.iter().find(|(known, _)| known == name).copied()).collect();
    all.retain(|(name, _)| !COMMON.contains(name));
    all.sort_unstable();
    section(&mut text, "Common Commands", &common);
    section(&mut text, "Management Commands", &GROUPS);
    section(&mut text, "Commands", &all);
    flags(&mut text, "Global Options", &GLOBALS);
    text.push_str("\nRun 'shim COMMAND --help' for more information on a command.\n");
    text
}

/// The help text of a command that has commands.
pub(super) fn group(group: &str, verbs: &[&'static Verb]) -> String {
    let about = GROUPS.iter().find(|(name, _)| *name == group).map_or("", |(_, about)| *about);
    let mut text = format!("Usage:  shim {group} COMMAND\n\n{about}\n");
    section(&mut text, "Commands", &commands_of(group, verbs));
    let _ = writeln!(text, "\nRun 'shim {group} COMMAND --help' for more information on a command.");
    text
}

/// A command's help text, under the name it was called by.
pub(super) fn of(verb: &Verb, name: &str) -> String {
    let mut text = format!("Usage:  shim {name} {}\n\n{}\n", verb.form.usage, verb.about);
    if verb.names.len() > 1 {
        let names: Vec<String> = verb.names.iter().map(|name| format!("shim {name}")).collect();
        let _ = write!(text, "\nAliases:\n  {}\n", names.join(", "));
    }
    flags(&mut text, "Options", &verb.form);
    text
}

/// `shim help [COMMAND]`.
pub(super) fn about(words: &[OsString], verbs: &'static [&'static Verb]) -> Result<Parsed, Misuse> {
    if words.is_empty() {
        return Ok(Parsed::Text(overview(verbs)));
    }
    let (verb, name, _) = super::find(words, verbs)?;
    Ok(Parsed::Text(verb.map_or_else(|| group(&name, verbs), |verb| of(verb, &name))))
}

/// The names of one word that a command for people has.
pub(super) fn short_names(verb: &Verb) -> impl Iterator<Item = &'static str> + use<> {
    let is_for_people = !verb.about.is_empty();
    verb.names.iter().copied().filter(move |name| is_for_people && !name.contains(' '))
}

/// The commands of a group, each by its first name in it, in order.
pub(super) fn commands_of(group: &str, verbs: &[&'static Verb]) -> Vec<(&'static str, &'static str)> {
    let of_group = |verb: &&'static Verb| {
        let name = verb.names.iter().find_map(|name| name.strip_prefix(group)?.strip_prefix(' '))?;
        (!verb.about.is_empty()).then_some((name, verb.about))
    };
    let mut found: Vec<(&str, &str)> = verbs.iter().filter_map(of_group).collect();
    found.sort_unstable();
    found
}

/// A list of names and what they stand for; nothing where there are none.
fn section(text: &mut String, title: &str, entries: &[(&str, &str)]) {
    if entries.is_empty() {
        return;
    }
    let width = entries.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let _ = write!(text, "\n{title}:\n");
    for (name, about) in entries {
        let _ = writeln!(text, "  {name:width$}   {about}");
    }
}

/// The flags of a form, in order of their names.
fn flags(text: &mut String, title: &str, form: &Form) {
    let mut all: Vec<&Flag> = form.all_flags().filter(|flag| !flag.hidden).collect();
    if all.is_empty() {
        return;
    }
    all.sort_unstable_by_key(|flag| flag.name);
    let heads: Vec<String> = all.iter().map(|flag| head(flag)).collect();
    let width = heads.iter().map(String::len).max().unwrap_or(0) + 3;
    let _ = write!(text, "\n{title}:\n");
    for (flag, head) in all.iter().zip(heads) {
        for (number, line) in wrapped(flag.help, WIDTH.saturating_sub(width).max(30)).iter().enumerate() {
            let head = if number == 0 { head.as_str() } else { "" };
            let _ = writeln!(text, "{head:width$}{line}");
        }
    }
}

/// `  -a, --all` or `      --format string`.
fn head(flag: &Flag) -> String {
    let short = flag.short.map_or("    ".to_owned(), |short| format!("-{short}, "));
    let shown = match flag.takes {
        Takes::Nothing => String::new(),
        Takes::One(shown) | Takes::Many(shown) => format!(" {shown}"),
    };
    format!("  {short}--{}{shown}", flag.name)
}

/// Broken at spaces, and where the text itself has an end of line.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::flags::{Arity, list, switch};
    use super::*;

    const VERB: Verb = Verb {
        names: &["image ls", "images"],
        about: "List images",
        form: Form {
            usage: "[OPTIONS] [REPOSITORY[:TAG]]",
            flags: &[&[
                switch("quiet", "Only show image IDs").short('q'),
                list(
                    "filter",
                    "filter",
                    "Filter output by conditions that are so long that the line has to be broken",
                )
                .short('f'),
                switch("secret", "Not shown").hidden(),
            ]],
            arity: Arity::AtMost(1),
            flags_end_at_argument: false,
        },
        run: |_, _| Ok(0),
    };

    #[test]
    fn a_commands_help_is_in_dockers_form() {
        let text = "Usage:  shim images [OPTIONS] [REPOSITORY[:TAG]]\n\nList images\n\nAliases:\n  shim image ls, shim images\n\n\
            Options:\n  -f, --filter filter   Filter output by conditions that are so long that the\n                        line has to be broken\n  \
            -q, --quiet           Only show image IDs\n";
        assert_eq!(of(&VERB, "images"), text);
    }

    #[test]
    fn the_overview_and_a_group_list_the_commands() {
        let other = Verb { names: &["container diff", "diff"], about: "Inspect changes", ..VERB };
        let hidden = Verb { names: &["hidden"], about: "", ..VERB };
        let text = overview(&[Box::leak(Box::new(hidden)), &VERB, Box::leak(Box::new(other))]);
        let commands = "\nCommon Commands:\n  images   List images\n\nManagement Commands:\n  container   Manage containers\n";
        assert!(text.contains(commands), "{text}");
        assert!(text.contains("\nCommands:\n  diff   Inspect changes\n\nGlobal Options:\n"), "{text}");
        assert!(text.contains("\n  -D, --debug"), "{text}");
        assert!(group("image", &[&VERB]).contains("\nCommands:\n  ls   List images\n"));
    }
}
