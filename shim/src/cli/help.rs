//! Help texts, in Docker's form, made of the tables that command lines are read by.

use std::ffi::OsString;
use std::fmt::Write as _;

use super::flags::{Flag, Form, Takes};
use super::{GLOBALS, GROUPS, Misuse, Parsed, Verb};

/// Where lines of help are broken, in characters.
const WIDTH: usize = 80;

/// The help text of the whole program.
pub(super) fn overview(verbs: &[&'static Verb]) -> String {
    let mut text = format!("Usage:  shim {}\n\nDocker's commands without a daemon\n", GLOBALS.usage);
    section(
        &mut text,
        "Commands",
        verbs.iter().filter_map(|verb| Some((short_name(verb)?, verb.about))).collect(),
    );
    section(&mut text, "Management Commands", GROUPS.to_vec());
    flags(&mut text, "Global Options", &GLOBALS);
    text.push_str("\nRun 'shim COMMAND --help' for more information on a command.\n");
    text
}

/// The help text of a command that has commands.
pub(super) fn group(group: &str, verbs: &[&'static Verb]) -> String {
    let about = GROUPS.iter().find(|(name, _)| *name == group).map_or("", |(_, about)| *about);
    let mut text = format!("Usage:  shim {group} COMMAND\n\n{about}\n");
    let of_group = |verb: &&'static Verb| {
        let name = verb.names.iter().find_map(|name| name.strip_prefix(group)?.strip_prefix(' '))?;
        Some((name, verb.about))
    };
    section(&mut text, "Commands", verbs.iter().filter_map(of_group).collect());
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

/// The name of one word, if it has one.
fn short_name(verb: &Verb) -> Option<&'static str> {
    verb.names.iter().copied().find(|name| !name.contains(' '))
}

/// A list of names and what they stand for, in order.
fn section(text: &mut String, title: &str, mut entries: Vec<(&str, &str)>) {
    entries.sort_unstable();
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
        let text = overview(&[&VERB]);
        assert!(text.contains("\nCommands:\n  images   List images\n"), "{text}");
        assert!(text.contains("\n  -D, --debug"), "{text}");
        assert!(group("image", &[&VERB]).contains("\nCommands:\n  ls   List images\n"));
    }
}
