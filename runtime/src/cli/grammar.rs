//! The parsers: one for the global flags, one for each command, and the table of commands.
//!
//! Each is built only when it is used. What a flag is called and whether it takes a value stands here and
//! nowhere else. Every flag has a long name: `flags` hands it over by that.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command as Parser, value_parser};

use super::{
    Command, Create, Delete, Events, Globals, Kill, List, ListFormat, LogFormat, Pause, Ps, Resume, Run,
    Spec, Start, State, duration, flags, update,
};

/// One command: its name, its parser, and how its arguments are read.
pub(super) struct Verb {
    name: &'static str,
    about: &'static str,
    /// Adds flags and arguments.
    build: fn(Parser) -> Parser,
    /// Whether nothing is a flag after the first argument, the id.
    pub(super) flags_end_at_argument: bool,
    read: fn(&mut ArgMatches) -> Result<Command, String>,
}

/// Every command, in the order of a container's life.
const VERBS: &[Verb] = &[
    Verb {
        name: "create",
        about: "make a container that waits for `start`",
        build: |parser| create_flags(parser).arg(id()),
        flags_end_at_argument: false,
        read: |m| Ok(Command::Create(read_create(m)?)),
    },
    Verb {
        name: "start",
        about: "start the program of a created container",
        build: |parser| parser.arg(id()),
        flags_end_at_argument: false,
        read: |m| Ok(Command::Start(Start { id: text(m, "id") })),
    },
    Verb {
        name: "run",
        about: "make and start a container",
        build: |parser| {
            create_flags(parser)
                .arg(switch("detach", "return once the program runs").short('d'))
                .arg(switch("keep", "keep the container when its program has ended"))
                .arg(switch("no-subreaper", "leave the container's orphans to the system's reaper"))
                .arg(id())
        },
        flags_end_at_argument: false,
        read: |m| {
            Ok(Command::Run(Run {
                create: read_create(m)?,
                detach: m.get_flag("detach"),
                keep: m.get_flag("keep"),
                no_subreaper: m.get_flag("no-subreaper"),
            }))
        },
    },
    Verb {
        name: "state",
        about: "print a container's state as JSON",
        build: |parser| parser.arg(id()),
        flags_end_at_argument: false,
        read: |m| Ok(Command::State(State { id: text(m, "id") })),
    },
    Verb {
        name: "kill",
        about: "send a signal (SIGTERM) to a container's first process",
        build: |parser| {
            let all = switch("all", "every process of the container; no error where none is left").short('a');
            parser
                .arg(all.hide(true))
                .arg(id())
                .arg(Arg::new("signal").value_name("SIGNAL").help("name or number"))
        },
        // A signal may be given as anything, even with a dash: it is refused by name, not as a flag.
        flags_end_at_argument: true,
        read: |m| {
            let signal = text(m, "signal");
            let signal = if signal.is_empty() { "SIGTERM".to_owned() } else { signal };
            Ok(Command::Kill(Kill { id: text(m, "id"), signal, all: m.get_flag("all") }))
        },
    },
    Verb {
        name: "pause",
        about: "stop all processes of a container",
        build: |parser| parser.arg(id()),
        flags_end_at_argument: false,
        read: |m| Ok(Command::Pause(Pause { id: text(m, "id") })),
    },
    Verb {
        name: "resume",
        about: "let the processes of a paused container run again",
        build: |parser| parser.arg(id()),
        flags_end_at_argument: false,
        read: |m| Ok(Command::Resume(Resume { id: text(m, "id") })),
    },
    Verb {
        name: "update",
        about: "change the limits of a container",
        build: |parser| update::flags(parser).arg(id()),
        flags_end_at_argument: false,
        read: |m| Ok(Command::Update(Box::new(update::read(m)?))),
    },
    Verb {
        name: "ps",
        about: "show the processes of a container",
        build: |parser| {
            let options = Arg::new("options").value_name("PS OPTION").num_args(0..).action(ArgAction::Append);
            parser
                .arg(value("format", "FORMAT", "`table` (default) or `json`").short('f'))
                .arg(id())
                .arg(options.value_parser(value_parser!(OsString)).help("for ps(1), in place of -ef"))
        },
        // What follows the id is for ps(1).
        flags_end_at_argument: true,
        read: |m| {
            let format = format(m)?;
            let options = m.remove_many("options").map(Iterator::collect).unwrap_or_default();
            Ok(Command::Ps(Ps { id: text(m, "id"), format, options }))
        },
    },
    Verb {
        name: "events",
        about: "print what a container uses, and that it runs out of memory, as lines of JSON",
        build: |parser| {
            parser
                .arg(value("interval", "DURATION", "time between two prints (default: 5s)"))
                .arg(switch("stats", "print once what the container uses, and end"))
                .arg(id())
        },
        flags_end_at_argument: false,
        read: |m| {
            let given = optional(m, "interval").unwrap_or_else(|| "5s".into());
            let interval = duration::parse(&given.to_string_lossy())?;
            Ok(Command::Events(Events { id: text(m, "id"), stats: m.get_flag("stats"), interval }))
        },
    },
    Verb {
        name: "delete",
        about: "remove a container",
        build: |parser| {
            let force = switch("force", "kill it first if it runs; no error if there is none").short('f');
            parser.arg(force).arg(id())
        },
        flags_end_at_argument: false,
        read: |m| Ok(Command::Delete(Delete { id: text(m, "id"), force: m.get_flag("force") })),
    },
    Verb {
        name: "list",
        about: "show the containers under the root",
        build: |parser| {
            parser
                .arg(value("format", "FORMAT", "`table` (default) or `json`").short('f'))
                .arg(switch("quiet", "only the ids").short('q'))
        },
        flags_end_at_argument: false,
        read: |m| Ok(Command::List(List { format: format(m)?, quiet: m.get_flag("quiet") })),
    },
    Verb {
        name: "spec",
        about: "write a config.json to start from",
        build: |parser| {
            parser
                .arg(value("bundle", "DIR", "folder to write into (default: the current one)").short('b'))
                .arg(switch("rootless", "for a caller without privileges"))
        },
        flags_end_at_argument: false,
        read: |m| Ok(Command::Spec(Spec { bundle: bundle(m), rootless: m.get_flag("rootless") })),
    },
    Verb {
        name: "features",
        about: "print what this program supports as JSON",
        build: |parser| parser,
        flags_end_at_argument: false,
        read: |_| Ok(Command::Features),
    },
];

impl Verb {
    /// The command's parser.
    pub(super) fn parser(&self) -> Parser {
        let parser = bare(self.name).about(self.about).bin_name(format!("runtime {}", self.name));
        (self.build)(parser)
    }

    /// The command's help text.
    pub(super) fn help(&self) -> String {
        self.parser().render_help().to_string()
    }

    /// Reads scanned flags and arguments.
    pub(super) fn read(
        &self,
        parser: Parser,
        flags: Vec<OsString>,
        values: Vec<OsString>,
    ) -> Result<Command, String> {
        let least = parser.get_positionals().filter(|arg| arg.is_required_set()).count();
        let unbounded = parser.get_positionals().any(|arg| matches!(arg.get_action(), ArgAction::Append));
        let most = if unbounded { usize::MAX } else { parser.get_positionals().count() };
        if values.len() < least || values.len() > most {
            let bound = if least == most {
                format!("exactly {least}")
            } else if values.len() < least {
                format!("a minimum of {least}")
            } else {
                format!("a maximum of {most}")
            };
            return Err(format!("{:?} requires {bound} argument(s), got {}", self.name, values.len()));
        }
        (self.read)(&mut matches(parser, flags, values)?)
    }
}

/// The command of that name.
pub(super) fn find(name: &OsStr) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| name == verb.name)
}

/// The message for a command that does not exist.
pub(super) fn unknown(name: &OsStr) -> String {
    let name = name.to_string_lossy();
    let near = VERBS.iter().map(|verb| (distance(&name, verb.name), verb.name)).min();
    let guess = match near {
        Some((distance, near)) if distance <= 2 && distance < near.len() => {
            format!("did you mean {near:?}? ")
        }
        _ => String::new(),
    };
    let all: Vec<&str> = VERBS.iter().map(|verb| verb.name).collect();
    format!("unknown command {name:?}: {guess}the commands are {}", all.join(", "))
}

/// Edits (one character inserted, removed, replaced, or two swapped) between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(32).collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped { best.min(rows[i - 2][j - 2] + 1) } else { best }
            };
        }
    }
    rows[a.len()][b.len()]
}

/// The parser of the global flags.
pub(super) fn globals() -> Parser {
    bare("runtime")
        .version(super::VERSION)
        .about("An OCI container runtime in runc's place")
        .override_usage("runtime [GLOBAL FLAGS] COMMAND [FLAGS] [ARGUMENTS]")
        .arg(value("root", "DIR", "folder of the containers' state, best on a tmpfs (default: /run/caisson/runtime, or $XDG_RUNTIME_DIR/caisson/runtime when rootless)"))
        .arg(value("log", "FILE", "append errors, warnings and debug lines to this file"))
        .arg(value("log-format", "FORMAT", "`text` (default) or `json`"))
        .arg(switch("debug", "write debug lines"))
        .arg(switch("systemd-cgroup", "let systemd make the cgroup; cgroupsPath is then slice:prefix:name"))
        .arg(value("rootless", "BOOL", "tolerate a cgroup out of reach: `true`, `false` or `auto` (default)"))
        .arg(Arg::new("version").long("version").short('v').action(ArgAction::Version).help("print the version"))
}

/// Reads scanned global flags.
pub(super) fn read_globals(parser: Parser, flags: Vec<OsString>) -> Result<Globals, String> {
    let mut m = matches(parser, flags, Vec::new())?;
    let format = optional(&mut m, "log-format").map(|given| given.to_string_lossy().into_owned());
    let log_format = match format.as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => return Err(format!("flag --log-format: {other:?} is neither text nor json")),
    };
    let rootless = match optional(&mut m, "rootless") {
        None => None,
        Some(auto) if auto == "auto" => None,
        Some(given) => Some(
            flags::go_bool(&given)
                .ok_or_else(|| format!("flag --rootless: {given:?} is none of true, false and auto"))?,
        ),
    };
    // Unlike the other paths, an empty root is a mistake (an unset variable in a script), not an absence.
    let root = m.remove_one::<OsString>("root").map(|root| super::absolute_root(&root)).transpose()?;
    Ok(Globals {
        root,
        log: path(&mut m, "log"),
        log_format,
        debug: m.get_flag("debug"),
        systemd_cgroup: m.get_flag("systemd-cgroup"),
        rootless,
    })
}

/// The help text of the whole program.
pub(super) fn overview() -> String {
    let mut commands = String::from("Commands:\n");
    for verb in VERBS {
        commands.push_str(&format!("  {:<10} {}\n", verb.name, verb.about));
    }
    commands.push_str("\n`runtime COMMAND --help` shows a command's flags.\n");
    globals().after_help(commands).render_help().to_string()
}

/// A parser without clap's own flags.
fn bare(name: &'static str) -> Parser {
    Parser::new(name)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .no_binary_name(true)
        .args_override_self(true)
        .arg(Arg::new("help").long("help").short('h').action(ArgAction::Help).help("print this help"))
}

/// A flag with a value.
pub(super) fn value(name: &'static str, shown: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(shown).value_parser(value_parser!(OsString)).help(help)
}

/// A flag without one.
pub(super) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn id() -> Arg {
    Arg::new("id").value_name("CONTAINER").required(true).help("the container's id")
}

fn create_flags(parser: Parser) -> Parser {
    parser
        .arg(value("bundle", "DIR", "folder of config.json (default: the current one)").short('b'))
        .arg(value("console-socket", "SOCKET", "AF_UNIX socket that receives the terminal's master"))
        .arg(value("pidfd-socket", "SOCKET", "AF_UNIX socket that receives a pidfd of the first process"))
        .arg(value("pid-file", "FILE", "file that the process id is written to"))
        .arg(switch("no-pivot", "enter the root without pivot_root (for a root on a ramdisk)"))
        .arg(switch("no-new-keyring", "keep the caller's session keyring"))
        .arg(
            value("preserve-fds", "N", "number of descriptors after stderr that the program inherits")
                .value_parser(value_parser!(u32)),
        )
}

fn read_create(m: &mut ArgMatches) -> Result<Create, String> {
    Ok(Create {
        id: text(m, "id"),
        bundle: bundle(m),
        console_socket: path(m, "console-socket"),
        pidfd_socket: path(m, "pidfd-socket"),
        pid_file: path(m, "pid-file"),
        no_pivot: m.get_flag("no-pivot"),
        no_new_keyring: m.get_flag("no-new-keyring"),
        preserve_fds: m.remove_one("preserve-fds").unwrap_or(0),
    })
}

/// Lets clap read what `flags` made plain.
fn matches(parser: Parser, mut flags: Vec<OsString>, values: Vec<OsString>) -> Result<ArgMatches, String> {
    flags.push("--".into());
    flags.extend(values);
    parser.try_get_matches_from(flags).map_err(|error| {
        if error.kind() == ErrorKind::InvalidUtf8 {
            return "an argument is not UTF-8".to_owned();
        }
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        line.strip_prefix("error: ").unwrap_or(line).to_owned()
    })
}

/// A required argument.
pub(super) fn text(m: &mut ArgMatches, name: &str) -> String {
    m.remove_one(name).unwrap_or_default()
}

/// A flag's value; an empty one is the same as none, as in runc.
pub(super) fn optional(m: &mut ArgMatches, name: &str) -> Option<OsString> {
    m.remove_one::<OsString>(name).filter(|value| !value.is_empty())
}

pub(super) fn path(m: &mut ArgMatches, name: &str) -> Option<PathBuf> {
    optional(m, name).map(PathBuf::from)
}

/// The form of `list` and `ps`.
fn format(m: &mut ArgMatches) -> Result<ListFormat, String> {
    match optional(m, "format").map(|given| given.to_string_lossy().into_owned()).as_deref() {
        None | Some("table") => Ok(ListFormat::Table),
        Some("json") => Ok(ListFormat::Json),
        Some(other) => Err(format!("flag --format: {other:?} is neither table nor json")),
    }
}

fn bundle(m: &mut ArgMatches) -> PathBuf {
    path(m, "bundle").unwrap_or_else(|| PathBuf::from("."))
}
