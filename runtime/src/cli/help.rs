//! Help and usage texts, made by clap of the table that command lines are read by.

use clap::{Arg, ArgAction, Command as Parser};

use super::flags::{Action, Argument, Flag, Form, HELP};
use super::grammar::{GLOBALS, VERBS, Verb};

/// The help text of the whole program.
pub(super) fn overview() -> String {
    let mut commands = String::from("Commands:\n");
    for verb in VERBS {
        commands.push_str(&format!("  {:<10} {}\n", verb.name, verb.about));
    }
    commands.push_str("\n`runtime COMMAND --help` shows a command's flags.\n");
    globals().after_help(commands).render_help().to_string()
}

/// The usage of the whole program.
pub(super) fn usage() -> String {
    globals().render_usage().to_string()
}

/// A command's help text.
pub(super) fn of(verb: &Verb) -> String {
    parser(verb).render_help().to_string()
}

/// A command's usage.
pub(super) fn usage_of(verb: &Verb) -> String {
    parser(verb).render_usage().to_string()
}

fn globals() -> Parser {
    with(Parser::new("runtime"), &GLOBALS)
        .version(super::VERSION)
        .about("An OCI container runtime in runc's place")
        .override_usage("runtime [GLOBAL FLAGS] COMMAND [FLAGS] [ARGUMENTS]")
}

fn parser(verb: &Verb) -> Parser {
    with(Parser::new(verb.name), &verb.form).about(verb.about).bin_name(format!("runtime {}", verb.name))
}

fn with(parser: Parser, form: &Form) -> Parser {
    let flags = std::iter::once(&HELP).chain(form.flags.iter().copied().flatten());
    parser
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .args(flags.map(flag))
        .args(form.arguments.iter().map(argument))
}

fn flag(flag: &Flag) -> Arg {
    let arg = Arg::new(flag.name).long(flag.name).short(flag.short).help(flag.help).hide(flag.hidden);
    match flag.action {
        Action::Value(shown) => arg.value_name(shown),
        Action::Switch => arg.action(ArgAction::SetTrue),
        Action::Help => arg.action(ArgAction::Help),
        Action::Version => arg.action(ArgAction::Version),
    }
}

fn argument(argument: &Argument) -> Arg {
    let arg =
        Arg::new(argument.shown).value_name(argument.shown).help(argument.help).required(argument.required);
    if argument.many { arg.num_args(0..) } else { arg }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_nothing_wrong_with_any_form() {
        globals().debug_assert();
        VERBS.iter().for_each(|verb| parser(verb).debug_assert());
    }
}
