//! The commands and their flags: one table, which `flags` reads command lines by and `help` makes texts of.
//!
//! What a flag is called and whether it takes a value stands here and nowhere else.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::flags::{self, Action, Argument, Flag, Form, Given, switch, value};
use super::{
    Command, Create, Delete, Events, Globals, Kill, List, ListFormat, LogFormat, Pause, Ps, Resume, Run,
    Spec, Start, State, checkpoint, duration, exec, update,
};

/// One command: its name, its form, and how what was given is read.
pub(super) struct Verb {
    /// As it is typed.
    pub(super) name: &'static str,
    /// One line for people.
    pub(super) about: &'static str,
    /// Its flags and arguments.
    pub(super) form: Form,
    read: fn(&mut Given) -> Result<Command, String>,
}

/// A command's flags, which may stand anywhere, and the container's id.
const fn of_container(flags: &'static [&'static [Flag]]) -> Form {
    Form { flags, arguments: &[ID], flags_end_at_argument: false }
}

/// A command's flags where no container is named.
const fn without_arguments(flags: &'static [&'static [Flag]]) -> Form {
    Form { flags, arguments: &[], flags_end_at_argument: false }
}

const ID: Argument = Argument { shown: "CONTAINER", help: "the container's id", required: true, many: false };

/// The flags that `create` and `run` have in common.
const CREATE: &[Flag] = &[
    value("bundle", "DIR", "folder of config.json (default: the current one)").short('b'),
    value("console-socket", "SOCKET", "AF_UNIX socket that receives the terminal's master"),
    value("pidfd-socket", "SOCKET", "AF_UNIX socket that receives a pidfd of the first process"),
    value("pid-file", "FILE", "file that the process id is written to"),
    switch("no-pivot", "enter the root without pivot_root (for a root on a ramdisk)"),
    switch("no-new-keyring", "keep the caller's session keyring"),
    value("preserve-fds", "N", "number of descriptors after stderr that the program inherits"),
];

/// The form of the output of `list` and `ps`.
const FORMAT: Flag = value("format", "FORMAT", "`table` (default) or `json`").short('f');

/// Every command, in the order of a container's life.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "create",
        about: "make a container that waits for `start`",
        form: of_container(&[CREATE]),
        read: |given| Ok(Command::Create(read_create(given)?)),
    },
    Verb {
        name: "start",
        about: "start the program of a created container",
        form: of_container(&[]),
        read: |given| Ok(Command::Start(Start { id: given.text(0)? })),
    },
    Verb {
        name: "run",
        about: "make and start a container",
        form: of_container(&[
            CREATE,
            &[
                switch("detach", "return once the program runs").short('d'),
                switch("keep", "keep the container when its program has ended"),
                switch("no-subreaper", "leave the container's orphans to the system's reaper"),
            ],
        ]),
        read: |given| {
            Ok(Command::Run(Run {
                create: read_create(given)?,
                detach: given.is_on("detach"),
                keep: given.is_on("keep"),
                no_subreaper: given.is_on("no-subreaper"),
            }))
        },
    },
    Verb {
        name: "exec",
        about: "run a further program in a container",
        form: Form {
            flags: &[exec::FLAGS],
            arguments: &[
                ID,
                Argument {
                    shown: "COMMAND",
                    help: "the program and its arguments",
                    required: false,
                    many: true,
                },
            ],
            // What follows the id is the program's.
            flags_end_at_argument: true,
        },
        read: |given| Ok(Command::Exec(Box::new(exec::read(given)?))),
    },
    Verb {
        name: "state",
        about: "print a container's state as JSON",
        form: of_container(&[]),
        read: |given| Ok(Command::State(State { id: given.text(0)? })),
    },
    Verb {
        name: "kill",
        about: "send a signal (SIGTERM) to a container's first process",
        form: Form {
            flags: &[&[switch("all", "every process of the container; no error where none is left")
                .short('a')
                .hidden()]],
            arguments: &[
                ID,
                Argument { shown: "SIGNAL", help: "name or number", required: false, many: false },
            ],
            // A signal may be given as anything, even with a dash: it is refused by name, not as a flag.
            flags_end_at_argument: true,
        },
        read: |given| {
            let (id, signal) = (given.text(0)?, given.text(1)?);
            let signal = if signal.is_empty() { "SIGTERM".to_owned() } else { signal };
            Ok(Command::Kill(Kill { id, signal, all: given.is_on("all") }))
        },
    },
    Verb {
        name: "pause",
        about: "stop all processes of a container",
        form: of_container(&[]),
        read: |given| Ok(Command::Pause(Pause { id: given.text(0)? })),
    },
    Verb {
        name: "resume",
        about: "let the processes of a paused container run again",
        form: of_container(&[]),
        read: |given| Ok(Command::Resume(Resume { id: given.text(0)? })),
    },
    Verb {
        name: "update",
        about: "change the limits of a container",
        form: of_container(&[update::FLAGS]),
        read: |given| Ok(Command::Update(Box::new(update::read(given)?))),
    },
    Verb {
        name: "ps",
        about: "show the processes of a container",
        form: Form {
            flags: &[&[FORMAT]],
            arguments: &[
                ID,
                Argument {
                    shown: "PS OPTION",
                    help: "for ps(1), in place of -ef",
                    required: false,
                    many: true,
                },
            ],
            // What follows the id is for ps(1).
            flags_end_at_argument: true,
        },
        read: |given| {
            let (id, format) = (given.text(0)?, format(given)?);
            Ok(Command::Ps(Ps { id, format, options: given.arguments.drain(1..).collect() }))
        },
    },
    Verb {
        name: "events",
        about: "print what a container uses, and that it runs out of memory, as lines of JSON",
        form: of_container(&[&[
            value("interval", "DURATION", "time between two prints (default: 5s)"),
            switch("stats", "print once what the container uses, and end"),
        ]]),
        read: |given| {
            let interval = given.value("interval").unwrap_or_else(|| "5s".into());
            let interval = duration::parse(&interval.to_string_lossy())?;
            Ok(Command::Events(Events { id: given.text(0)?, stats: given.is_on("stats"), interval }))
        },
    },
    Verb {
        name: "checkpoint",
        about: "write the state of a container's processes to images (by CRIU), and delete it",
        form: of_container(&[checkpoint::COMMON, checkpoint::CHECKPOINT]),
        read: |given| Ok(Command::Checkpoint(Box::new(checkpoint::read(given)?))),
    },
    Verb {
        name: "restore",
        about: "make a container that goes on where a checkpoint was taken",
        form: of_container(&[checkpoint::COMMON, checkpoint::RESTORE]),
        read: |given| Ok(Command::Restore(Box::new(checkpoint::read_restore(given)?))),
    },
    Verb {
        name: "delete",
        about: "remove a container",
        form: of_container(&[&[
            switch("force", "kill it first if it runs; no error if there is none").short('f')
        ]]),
        read: |given| Ok(Command::Delete(Delete { id: given.text(0)?, force: given.is_on("force") })),
    },
    Verb {
        name: "list",
        about: "show the containers under the root",
        form: without_arguments(&[&[FORMAT, switch("quiet", "only the ids").short('q')]]),
        read: |given| Ok(Command::List(List { format: format(given)?, quiet: given.is_on("quiet") })),
    },
    Verb {
        name: "spec",
        about: "write a config.json to start from",
        form: without_arguments(&[&[
            value("bundle", "DIR", "folder to write into (default: the current one)").short('b'),
            switch("rootless", "for a caller without privileges"),
        ]]),
        read: |given| Ok(Command::Spec(Spec { bundle: bundle(given), rootless: given.is_on("rootless") })),
    },
    Verb {
        name: "features",
        about: "print what this program supports as JSON",
        form: without_arguments(&[]),
        read: |_| Ok(Command::Features),
    },
];

/// The flags before the command; what follows the first argument is the command's.
pub(super) const GLOBALS: Form = Form {
    flags: &[&[
        value(
            "root",
            "DIR",
            "folder of the containers' state, best on a tmpfs (default: /run/caisson/runtime, or $XDG_RUNTIME_DIR/caisson/runtime when rootless)",
        ),
        value("log", "FILE", "append errors, warnings and debug lines to this file"),
        value("log-format", "FORMAT", "`text` (default) or `json`"),
        switch("debug", "write debug lines"),
        switch("systemd-cgroup", "let systemd make the cgroup; cgroupsPath is then slice:prefix:name"),
        value("rootless", "BOOL", "tolerate a cgroup out of reach: `true`, `false` or `auto` (default)"),
        switch("version", "print the version").short('v').action(Action::Version),
    ]],
    arguments: &[],
    flags_end_at_argument: true,
};

impl Verb {
    /// Reads scanned flags and arguments.
    pub(super) fn read(&self, given: &mut Given) -> Result<Command, String> {
        let least = self.form.arguments.iter().filter(|argument| argument.required).count();
        let many = self.form.arguments.iter().any(|argument| argument.many);
        let most = if many { usize::MAX } else { self.form.arguments.len() };
        let got = given.arguments.len();
        if got < least || got > most {
            let bound = if least == most {
                format!("exactly {least}")
            } else if got < least {
                format!("a minimum of {least}")
            } else {
                format!("a maximum of {most}")
            };
            return Err(format!("{:?} requires {bound} argument(s), got {got}", self.name));
        }
        (self.read)(given)
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

/// Reads scanned global flags.
pub(super) fn read_globals(given: &mut Given) -> Result<Globals, String> {
    let format = given.value("log-format").map(|format| format.to_string_lossy().into_owned());
    let log_format = match format.as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => return Err(format!("flag --log-format: {other:?} is neither text nor json")),
    };
    let rootless = match given.value("rootless") {
        None => None,
        Some(auto) if auto == "auto" => None,
        Some(other) => Some(
            flags::go_bool(&other)
                .ok_or_else(|| format!("flag --rootless: {other:?} is none of true, false and auto"))?,
        ),
    };
    // Unlike the other paths, an empty root is a mistake (an unset variable in a script), not an absence.
    let root = given.last("root").map(|root| super::absolute_root(&root)).transpose()?;
    Ok(Globals {
        root,
        log: path(given, "log"),
        log_format,
        debug: given.is_on("debug"),
        systemd_cgroup: given.is_on("systemd-cgroup"),
        rootless,
    })
}

fn read_create(given: &mut Given) -> Result<Create, String> {
    Ok(Create {
        id: given.text(0)?,
        bundle: bundle(given),
        console_socket: path(given, "console-socket"),
        pidfd_socket: path(given, "pidfd-socket"),
        pid_file: path(given, "pid-file"),
        no_pivot: given.is_on("no-pivot"),
        no_new_keyring: given.is_on("no-new-keyring"),
        preserve_fds: preserve_fds(given)?,
    })
}

pub(super) fn preserve_fds(given: &mut Given) -> Result<u32, String> {
    match given.last("preserve-fds") {
        None => Ok(0),
        Some(number) => number
            .to_str()
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| format!("flag --preserve-fds: {number:?} is not a number from 0 to {}", u32::MAX)),
    }
}

pub(super) fn path(given: &mut Given, name: &str) -> Option<PathBuf> {
    given.value(name).map(PathBuf::from)
}

fn format(given: &mut Given) -> Result<ListFormat, String> {
    match given.value("format").map(|format| format.to_string_lossy().into_owned()).as_deref() {
        None | Some("table") => Ok(ListFormat::Table),
        Some("json") => Ok(ListFormat::Json),
        Some(other) => Err(format!("flag --format: {other:?} is neither table nor json")),
    }
}

pub(super) fn bundle(given: &mut Given) -> PathBuf {
    path(given, "bundle").unwrap_or_else(|| PathBuf::from("."))
}
