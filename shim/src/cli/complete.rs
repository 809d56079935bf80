//! What may come next on a command line that somebody is still typing: commands, flags, values of flags, and names of
//! what there is. Made of the tables that command lines are read by, so nothing is ever missing in it.
//!
//! Pure: names come from who asks, and only those are looked up that can stand at this place. The answer is for the
//! shells' scripts in `shells`, in the form of Go's `cobra` (pkg.go.dev/github.com/spf13/cobra, "Shell completions"),
//! which docker's is too.

use crate::bundle::defaults::ALL_CAPABILITIES;

use super::flags::{Flag, Form, Takes};
use super::{GLOBALS, GROUPS, Globals, Verb, help};

/// A kind of names that only the disk knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// All containers.
    Containers,
    /// Containers whose program runs.
    Running,
    /// Containers that could be started.
    Stopped,
    /// Images.
    Images,
    /// Networks.
    Networks,
    /// Volumes.
    Volumes,
    /// Variables of the environment.
    Variables,
}

/// What may come next.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Words, each with what it stands for.
    pub words: Vec<(String, String)>,
    /// Whether files may stand here, if no word fits.
    pub files: bool,
    /// Whether more follows the word without a blank.
    pub unfinished: bool,
}

impl Answer {
    /// Lines for a shell's script: words, each with a tab and what it stands for, and a number behind a colon: 2 for a word
    /// that is unfinished, 4 for a place where no files are meant.
    #[must_use]
    pub fn to_lines(&self) -> String {
        let mut text = String::new();
        for (word, about) in &self.words {
            text.push_str(word);
            if !about.is_empty() {
                text.push('\t');
                text.push_str(about);
            }
            text.push('\n');
        }
        let number = u8::from(self.unfinished) * 2 + u8::from(!self.files) * 4;
        text + &format!(":{number}\n")
    }

    fn of<'a>(words: impl IntoIterator<Item = (&'a str, &'a str)>) -> Answer {
        let words = words.into_iter().map(|(word, about)| (word.to_owned(), about.to_owned())).collect();
        Answer { words, ..Answer::default() }
    }

    fn plain<'a>(words: impl IntoIterator<Item = &'a str>) -> Answer {
        Answer::of(words.into_iter().map(|word| (word, "")))
    }

    /// Without what does not begin so, in order, each once.
    fn beginning_with(mut self, begin: &str) -> Answer {
        self.words.retain(|(word, _)| word.starts_with(begin));
        self.words.sort();
        self.words.dedup_by(|one, other| one.0 == other.0);
        // A shell puts what is alike in all of them there, blank or not; one alone it takes for the word.
        self.unfinished |=
            self.words.iter().all(|(word, _)| word.ends_with(['=', ':'])) && !self.words.is_empty();
        self
    }
}

/// What a flag's value may be, by its name; `true` where more follows the word.
const VALUES: &[(&str, &[&str])] = &[
    ("attach", &["stdin", "stdout", "stderr"]),
    ("cgroupns", &["host", "private"]),
    ("gpus", &["all"]),
    ("ipc", &["container:", "host", "none", "private", "shareable"]),
    ("log-driver", &["journald", "json-file", "none"]),
    ("log-opt", &["max-file=", "max-size=", "labels=", "env=", "tag="]),
    ("mount", &["type=bind,", "type=tmpfs,", "type=volume,"]),
    ("network", &["container:", "host", "none"]),
    ("net", &["container:", "host", "none"]),
    ("pid", &["container:", "host"]),
    ("pull", &["always", "missing", "never"]),
    ("restart", &["always", "no", "on-failure", "on-failure:", "unless-stopped"]),
    (
        "security-opt",
        &[
            "apparmor=",
            "label=",
            "no-new-privileges",
            "seccomp=",
            "seccomp=unconfined",
            "systempaths=unconfined",
        ],
    ),
    ("signal", &SIGNALS),
    ("stop-signal", &SIGNALS),
    ("type", &["container", "image", "volume"]),
    ("userns", &["host"]),
    ("uts", &["host"]),
    (
        "ulimit",
        &[
            "as=",
            "core=",
            "cpu=",
            "data=",
            "fsize=",
            "locks=",
            "memlock=",
            "msgqueue=",
            "nice=",
            "nofile=",
            "nproc=",
            "rss=",
            "rtprio=",
            "rttime=",
            "sigpending=",
            "stack=",
        ],
    ),
];

const SIGNALS: [&str; 12] = [
    "SIGCONT", "SIGHUP", "SIGINT", "SIGKILL", "SIGQUIT", "SIGSTOP", "SIGTERM", "SIGTRAP", "SIGTSTP",
    "SIGUSR1", "SIGUSR2", "SIGWINCH",
];

/// Flags whose value is a file or a folder.
const FILES: [&str; 10] =
    ["cidfile", "device", "env-file", "input", "label-file", "output", "root", "state", "volume", "workdir"];

/// What `--filter` takes, by the command's own name.
const FILTERS: &[(&str, &[&str])] = &[
    (
        "container ls",
        &[
            "ancestor=",
            "before=",
            "exited=",
            "expose=",
            "health=",
            "id=",
            "is-task=",
            "label=",
            "name=",
            "network=",
            "publish=",
            "since=",
            "status=",
            "volume=",
        ],
    ),
    ("container prune", &["label!=", "label=", "until="]),
    ("system prune", &["label!=", "label=", "until="]),
    (
        "system events",
        &["container=", "daemon=", "event=", "image=", "label=", "network=", "scope=", "type=", "volume="],
    ),
    ("image ls", &["before=", "dangling=", "label=", "reference=", "since=", "until="]),
    ("image prune", &["dangling=", "label!=", "label=", "until="]),
    ("network ls", &["dangling=", "driver=", "id=", "label=", "name=", "scope=", "type="]),
    ("network prune", &["label!=", "label=", "until="]),
    ("volume ls", &["dangling=", "driver=", "label=", "name="]),
    ("volume prune", &["all=", "label!=", "label="]),
];

const STATUSES: [&str; 7] = ["created", "dead", "exited", "paused", "removing", "restarting", "running"];

/// Commands whose containers have to be in some state to be of use; others take any.
const STATES: &[(&str, Names)] = &[
    ("container attach", Names::Running),
    ("container exec", Names::Running),
    ("container kill", Names::Running),
    ("container pause", Names::Running),
    ("container start", Names::Stopped),
    ("container stats", Names::Running),
    ("container stop", Names::Running),
    ("container top", Names::Running),
    ("container unpause", Names::Running),
];

/// How somebody gets at names: with the global flags of the line.
pub type Lookup<'a> = &'a dyn Fn(&Globals, Names) -> Vec<String>;

/// What may come next on the line of these words, the last of which is not finished; the program's own name is not among
/// them.
#[must_use]
pub fn complete(words: &[String], verbs: &'static [&'static Verb], names: Lookup) -> Answer {
    let Some((current, before)) = words.split_last() else { return Answer::default() };
    let mut globals = Globals::default();
    let scan = Walked::along(&GLOBALS, before);
    for (flag, value) in &scan.values {
        match flag.name {
            "root" => globals.root = Some(value.into()),
            "state" => globals.state = Some(value.into()),
            _ => {}
        }
    }
    let asked = Asked { globals, names };
    let Some((first, rest)) = scan.arguments.split_first() else {
        return asked.word(&GLOBALS, "", &scan, current, || top_level(verbs)).beginning_with(current);
    };
    let (first, rest) = if *first == "help" {
        match rest.split_first() {
            None => return top_level(verbs).beginning_with(current),
            Some((group, [])) if is_group(group) => {
                return Answer::of(help::commands_of(group, verbs)).beginning_with(current);
            }
            Some(_) => return Answer::default(),
        }
    } else {
        (*first, rest)
    };
    let by_name = |name: &str| verbs.iter().copied().find(|verb| verb.names.contains(&name));
    let (verb, rest) = match (by_name(first), rest) {
        (Some(verb), rest) => (verb, rest),
        (None, []) if is_group(first) => {
            return Answer::of(help::commands_of(first, verbs)).beginning_with(current);
        }
        (None, [second, rest @ ..]) => match by_name(&format!("{first} {second}")) {
            Some(verb) => (verb, rest),
            None => return Answer::default(),
        },
        (None, []) => return Answer::default(),
    };
    let rest: Vec<String> = rest.iter().map(|word| (*word).to_owned()).collect();
    let scan = Walked::along(&verb.form, &rest);
    let arguments = || asked.argument(verb, &scan.arguments);
    asked.word(&verb.form, verb.names[0], &scan, current, arguments).beginning_with(current)
}

fn is_group(word: &str) -> bool {
    GROUPS.iter().any(|(group, _)| *group == word)
}

fn top_level(verbs: &[&'static Verb]) -> Answer {
    let commands = verbs.iter().flat_map(|verb| help::short_names(verb).map(|name| (name, verb.about)));
    Answer::of(commands.chain(GROUPS).chain([("help", "Help about the command")]))
}

/// What has been typed so far, as far as it can be told.
struct Walked<'a> {
    values: Vec<(&'static Flag, &'a str)>,
    arguments: Vec<&'a str>,
    /// The flag whose value comes next.
    open: Option<&'static Flag>,
    /// Nothing is a flag any more.
    ended: bool,
}

impl<'a> Walked<'a> {
    fn along(form: &Form, words: &'a [String]) -> Walked<'a> {
        let mut walked = Walked { values: Vec::new(), arguments: Vec::new(), open: None, ended: false };
        for word in words {
            if let Some(flag) = walked.open.take() {
                walked.values.push((flag, word));
            } else if walked.ended || word == "-" || !word.starts_with('-') {
                walked.arguments.push(word);
                walked.ended |= form.flags_end_at_argument;
            } else if word == "--" {
                walked.ended = true;
            } else if let Some(long) = word.strip_prefix("--") {
                let (name, value) =
                    long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
                walked.flag(form.all_flags().find(|flag| flag.name == name), value);
            } else {
                walked.shorts(form, &word[1..]);
            }
        }
        walked
    }

    fn flag(&mut self, flag: Option<&'static Flag>, value: Option<&'a str>) {
        match (flag, value) {
            (Some(flag), None) if flag.takes != Takes::Nothing => self.open = Some(flag),
            (Some(flag), value) => self.values.push((flag, value.unwrap_or("true"))),
            (None, _) => {}
        }
    }

    /// `-aq`, `-fvalue`: what stands behind a flag with a value is that value.
    fn shorts(&mut self, form: &Form, word: &'a str) {
        for (at, short) in word.char_indices() {
            let flag = form.all_flags().find(|flag| flag.short == Some(short));
            let behind = &word[at + short.len_utf8()..];
            match flag {
                Some(flag) if flag.takes != Takes::Nothing && !behind.is_empty() => {
                    self.values.push((flag, behind.strip_prefix('=').unwrap_or(behind)));
                    return;
                }
                flag => self.flag(flag, None),
            }
        }
    }
}

/// Who asks.
struct Asked<'a> {
    globals: Globals,
    names: Lookup<'a>,
}

impl Asked<'_> {
    fn names(&self, kind: Names) -> Vec<String> {
        (self.names)(&self.globals, kind)
    }

    fn all(&self, kind: Names) -> Answer {
        Answer {
            words: self.names(kind).into_iter().map(|name| (name, String::new())).collect(),
            ..Answer::default()
        }
    }

    /// The word itself: a flag's value, a flag, or something else.
    fn word(
        &self,
        form: &Form,
        command: &str,
        scan: &Walked,
        current: &str,
        otherwise: impl FnOnce() -> Answer,
    ) -> Answer {
        if let Some(flag) = scan.open {
            return self.value(flag, command, current);
        }
        if scan.ended || !current.starts_with('-') {
            return otherwise();
        }
        if let Some((name, value)) = current.strip_prefix("--").and_then(|long| long.split_once('=')) {
            let Some(flag) = form.all_flags().find(|flag| flag.name == name) else {
                return Answer::default();
            };
            let mut answer = self.value(flag, command, value);
            for (word, _) in &mut answer.words {
                word.insert_str(0, &format!("--{name}="));
            }
            return answer;
        }
        let shown = form.all_flags().filter(|flag| !flag.hidden);
        let first_line = |flag: &Flag| flag.help.lines().next().unwrap_or_default().to_owned();
        let mut words: Vec<(String, String)> =
            shown.map(|flag| (format!("--{}", flag.name), first_line(flag))).collect();
        words.push(("--help".to_owned(), "Print usage".to_owned()));
        Answer { words, ..Answer::default() }
    }

    /// The value of a flag.
    fn value(&self, flag: &Flag, command: &str, current: &str) -> Answer {
        let known = VALUES.iter().find(|(name, _)| *name == flag.name).map(|(_, words)| *words);
        let joins = known.is_some_and(|words| words.contains(&"container:"));
        match flag.name {
            _ if joins && current.starts_with("container:") => self.behind("container:", Names::Running),
            "network" | "net" => {
                let mut answer = Answer::plain(known.unwrap_or_default().iter().copied());
                answer.words.extend(self.all(Names::Networks).words);
                answer
            }
            "filter" => self.filter(command, current),
            "format" => Answer::plain(["json", "table"]),
            "env" => self.all(Names::Variables),
            "cap-add" | "cap-drop" => Answer::plain(
                ["ALL"]
                    .into_iter()
                    .chain(ALL_CAPABILITIES.iter().map(|name| name.trim_start_matches("CAP_"))),
            ),
            "platform" => {
                Answer::plain(["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386", "linux/riscv64"])
            }
            "volumes-from" => self.all(Names::Containers),
            name if FILES.contains(&name) => Answer { files: true, ..Answer::default() },
            name => Answer {
                unfinished: name == "mount",
                ..Answer::plain(known.unwrap_or_default().iter().copied())
            },
        }
    }

    /// All names, each behind these words.
    fn behind(&self, begin: &str, kind: Names) -> Answer {
        let words =
            self.names(kind).into_iter().map(|name| (format!("{begin}{name}"), String::new())).collect();
        Answer { words, ..Answer::default() }
    }

    fn filter(&self, command: &str, current: &str) -> Answer {
        let of = |name: &str, words: &[&str]| Answer {
            words: words.iter().map(|word| (format!("{name}={word}"), String::new())).collect(),
            ..Answer::default()
        };
        match current.split_once('=') {
            None => {
                let known = FILTERS.iter().find(|(name, _)| *name == command);
                Answer {
                    unfinished: true,
                    ..Answer::plain(known.into_iter().flat_map(|(_, names)| names.iter().copied()))
                }
            }
            Some(("status", _)) => of("status", &STATUSES),
            Some(("health", _)) => of("health", &["healthy", "none", "starting", "unhealthy"]),
            Some((name @ ("all" | "dangling" | "is-task"), _)) => of(name, &["false", "true"]),
            Some(("ancestor", _)) => self.behind("ancestor=", Names::Images),
            Some((name @ ("before" | "since"), _)) => {
                let kind = if command.starts_with("image") { Names::Images } else { Names::Containers };
                self.behind(&format!("{name}="), kind)
            }
            Some(("name", _)) if command.starts_with("network") => self.behind("name=", Names::Networks),
            Some(("name", _)) if command.starts_with("volume") => self.behind("name=", Names::Volumes),
            Some(("name", _)) => self.behind("name=", Names::Containers),
            Some(("network", _)) => self.behind("network=", Names::Networks),
            Some(("volume", _)) => self.behind("volume=", Names::Volumes),
            Some(_) => Answer::default(),
        }
    }

    /// What is no flag: the usage says what is meant.
    fn argument(&self, verb: &Verb, before: &[&str]) -> Answer {
        let meant: Vec<&str> = verb.form.usage.split(' ').filter(|word| *word != "[OPTIONS]").collect();
        let repeats = meant.last().is_some_and(|last| last.contains("..."));
        let at = if repeats { before.len().min(meant.len() - 1) } else { before.len() };
        let Some(meant) = meant.get(at).map(|word| word.trim_matches(['[', ']', '.'])) else {
            return Answer::default();
        };
        // What was given once is not meant again.
        let without = |mut answer: Answer| {
            answer.words.retain(|(word, _)| !before.contains(&word.as_str()));
            answer
        };
        let of_containers = || {
            let known = STATES.iter().find(|(name, _)| *name == verb.names[0]);
            without(self.all(known.map_or(Names::Containers, |(_, kind)| *kind)))
        };
        match meant {
            // `image pull` brings a new one, most of the time the newer of one that is there.
            // Of `cp`: a container's path, or one of the host's.
            "CONTAINER:SRC_PATH" | "DEST_PATH|-" => {
                let mut answer = self.all(Names::Containers);
                answer.words.iter_mut().for_each(|(word, _)| word.push(':'));
                Answer { files: true, ..answer }
            }
            _ if meant.starts_with("CONTAINER") => of_containers(),
            // A new one has a new name.
            "NETWORK" if verb.names[0] != "network create" => without(self.all(Names::Networks)),
            _ if meant.starts_with("VOLUME") => without(self.all(Names::Volumes)),
            _ if meant.starts_with("IMAGE")
                || meant.starts_with("SOURCE_IMAGE")
                || meant.starts_with("NAME[:TAG")
                || meant.starts_with("REPOSITORY") =>
            {
                without(self.all(Names::Images))
            }
            _ if meant.starts_with("NAME|ID") => {
                let mut both = of_containers();
                both.words.extend(self.all(Names::Images).words);
                both
            }
            "bash|zsh|fish" => Answer::plain(["bash", "fish", "zsh"]),
            "file|-" | "FOLDER" => Answer { files: true, ..Answer::default() },
            _ => Answer::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::flags::{Arity, list, switch, value};
    use super::*;

    const STOP: Verb = Verb {
        names: &["container stop", "stop"],
        about: "Stop containers",
        form: Form {
            usage: "[OPTIONS] CONTAINER [CONTAINER...]",
            flags: &[&[
                value("signal", "string", "Signal to send").short('s'),
                value("time", "int", "").short('t'),
            ]],
            arity: Arity::AtLeast(1),
            flags_end_at_argument: false,
        },
        run: |_, _| Ok(0),
    };
    const RUN: Verb = Verb {
        names: &["container run", "run"],
        about: "Run a container",
        form: Form {
            usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
            flags: &[&[
                switch("rm", "Remove it"),
                value("network", "network", "Connect it"),
                list("env-file", "list", "Read a file"),
                value("secret", "string", "").hidden(),
            ]],
            arity: Arity::AtLeast(1),
            flags_end_at_argument: true,
        },
        run: |_, _| Ok(0),
    };
    const LS: Verb = Verb {
        names: &["container ls", "ps"],
        about: "List containers",
        form: Form {
            usage: "[OPTIONS]",
            flags: &[&[list("filter", "filter", "Only these").short('f')]],
            arity: Arity::Exactly(0),
            flags_end_at_argument: false,
        },
        run: |_, _| Ok(0),
    };
    const HIDDEN: Verb = Verb { names: &["hidden"], about: "", ..LS };
    const CP: Verb = Verb {
        names: &["container cp", "cp"],
        about: "Copy files",
        form: Form {
            usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-",
            flags: &[],
            arity: Arity::Exactly(2),
            flags_end_at_argument: false,
        },
        run: |_, _| Ok(0),
    };
    const VERBS: &[&Verb] = &[&CP, &STOP, &RUN, &LS, &HIDDEN];

    /// Words that may come next, and how the answer ends.
    fn next(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let names = |globals: &Globals, kind: Names| {
            let folder = globals.root().map(|root| root.to_string_lossy().into_owned()).unwrap_or_default();
            let names: &[&str] = match kind {
                Names::Containers => &["one", "two", "three"],
                Names::Running => &["one", "two"],
                Names::Stopped => &["three"],
                Names::Images => &["box:1"],
                Names::Networks => &["bridge", "mine"],
                Names::Variables => &["PATH"],
                Names::Volumes => &["data"],
            };
            names.iter().map(|name| format!("{folder}{name}")).collect()
        };
        let lines = complete(&words, VERBS, &names).to_lines();
        let words: Vec<&str> = lines.lines().map(|line| line.split('\t').next().unwrap()).collect();
        words.join(" ")
    }

    #[test]
    fn what_may_come_next_follows_from_the_tables() {
        for (line, words) in [
            ("st", "stop :4"),
            ("", "container cp help image network ps run stop system volume :4"),
            ("con", "container :4"),
            ("container ", "cp ls run stop :4"),
            ("cp ", "one: three: two: :2"),
            ("cp x", ":0"),
            ("cp x o", "one: :2"),
            ("help container s", "stop :4"),
            ("--ro", "--root :4"),
            ("--root ", ":0"),
            ("stop ", "one two :4"),
            ("stop one t", "two :4"),
            ("-D --root=/r/ container stop ", "/r/one /r/two :4"),
            ("stop -s SIGT", "SIGTERM SIGTRAP SIGTSTP :4"),
            ("stop -t 3 --signal=SIGK", "--signal=SIGKILL :4"),
            ("stop --si", "--signal :4"),
            ("stop -t", ":4"),
            ("stop -- -", ":4"),
            ("run --", "--env-file --help --network --rm :4"),
            ("run --rm --env-file ", ":0"),
            ("run --network c", "container: :6"),
            ("run --network m", "mine :4"),
            ("ps -f network=", "network=bridge network=mine :4"),
            ("run --network container:", "container:one container:two :4"),
            ("run --network=container:t", "--network=container:two :4"),
            ("run b", "box:1 :4"),
            ("run box:1 ", ":4"),
            ("run box:1 --", ":4"),
            ("ps --filter sta", "status= :6"),
            ("ps --filter=status=e", "--filter=status=exited :4"),
            ("ps -f ancestor=", "ancestor=box:1 :4"),
            ("ps ", ":4"),
            ("nothing ", ":4"),
            ("container nothing x", ":4"),
        ] {
            assert_eq!(next(line), words, "{line:?}");
        }
    }

    #[test]
    fn words_tell_what_they_stand_for() {
        let words = ["sto".to_owned()];
        assert_eq!(complete(&words, VERBS, &|_, _| Vec::new()).to_lines(), "stop\tStop containers\n:4\n");
    }
}
