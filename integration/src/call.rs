//! One run of a program: what it was given, how it ended, what it printed; never waited for without bound.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::{Flavour, PATIENCE, cgroup2_mount, executable, flavour, runtime_under_test};

/// After a program's end its pipes must close; what keeps them open is a process it left behind.
const DRAIN: Duration = Duration::from_secs(10);

/// A call in preparation. Standard input is /dev/null, output and errors are captured through pipes.
#[derive(Debug)]
pub struct Call {
    command: Command,
    shown: String,
    stdin: Input,
    capture: Capture,
    without_network: bool,
}

#[derive(Debug)]
enum Input {
    Null,
    Bytes(Vec<u8>),
    Pipe,
    Given(OwnedFd),
}

#[derive(Debug)]
enum Capture {
    Pipes,
    /// Output and errors in files, which the container's program may keep open for as long as it likes.
    Files {
        stdout: File,
        stderr: File,
    },
    /// The program writes to the terminal; nothing to capture.
    Terminal(OwnedFd),
}

impl Call {
    /// A call of any program.
    #[must_use]
    pub fn of(program: impl AsRef<OsStr>) -> Call {
        let shown = program.as_ref().to_string_lossy().into_owned();
        Call {
            command: Command::new(program),
            shown,
            stdin: Input::Null,
            capture: Capture::Pipes,
            without_network: false,
        }
    }

    /// A call of the runtime under test, without any argument yet.
    #[must_use]
    pub fn runtime() -> Call {
        let runtime = runtime_under_test();
        if flavour() == Flavour::Crun { Call::crun(runtime) } else { Call::of(runtime) }
    }

    /// A call of crun, which refuses to work where cgroup v1 is in use and cgroup v2 has a controller too. There it
    /// gets a mount namespace of its own, without cgroup v2; the shell becomes crun, so the pid stays the same.
    #[must_use]
    pub fn crun(program: &Path) -> Call {
        let Some(unified) = cgroup2_mount().filter(|mount| mount.ends_with("unified")) else {
            return Call::of(program);
        };
        let mut call = Call::of("unshare");
        call.command.args(["--mount", "sh", "-c", "umount \"$0\" && exec \"$@\""]).arg(unified).arg(program);
        call.shown = program.to_string_lossy().into_owned();
        call
    }

    /// Appends arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Call {
        for arg in args {
            self.shown = format!("{} {}", self.shown, arg.as_ref().to_string_lossy());
            self.command.arg(arg);
        }
        self
    }

    /// Has messages show this instead of the command line so far.
    #[must_use]
    pub(crate) fn shown_as(mut self, text: &str) -> Call {
        text.clone_into(&mut self.shown);
        self
    }

    /// Has the shim's `run` and `create` make containers without a network, unless the words say which one: most tests do
    /// not care, and must not touch the host's.
    #[must_use]
    pub(crate) fn without_network(mut self) -> Call {
        self.without_network = true;
        self
    }

    /// Sets an environment variable of the call.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Call {
        self.command.env(key, value);
        self
    }

    /// Takes a variable out of the environment of the call.
    #[must_use]
    pub fn env_remove(mut self, key: &str) -> Call {
        self.command.env_remove(key);
        self
    }

    /// The working directory of the call.
    #[must_use]
    pub fn current_dir(mut self, path: &Path) -> Call {
        self.command.current_dir(path);
        self
    }

    /// These bytes, then the end, on standard input.
    #[must_use]
    pub fn stdin_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Call {
        self.stdin = Input::Bytes(bytes.into());
        self
    }

    /// A pipe as standard input, to be written through [`Running::stdin`].
    #[must_use]
    pub fn stdin_pipe(mut self) -> Call {
        self.stdin = Input::Pipe;
        self
    }

    /// An open file as standard input.
    #[must_use]
    pub fn stdin_from(mut self, file: impl Into<OwnedFd>) -> Call {
        self.stdin = Input::Given(file.into());
        self
    }

    /// Output and errors go to the files `stdout` and `stderr` of a folder instead of through pipes.
    #[must_use]
    #[track_caller]
    pub fn output_in(mut self, folder: &Path) -> Call {
        let open = |name| {
            let path = folder.join(name);
            let file = File::options().create(true).truncate(true).read(true).write(true).open(&path);
            file.unwrap_or_else(|error| panic!("open {}: {error}", path.display()))
        };
        self.capture = Capture::Files { stdout: open("stdout"), stderr: open("stderr") };
        self
    }

    /// The program leads a session of its own, whose controlling terminal is this one, which is also its
    /// input, output and errors. (Done by util-linux's setsid(1), which becomes the program.)
    #[must_use]
    pub fn on_terminal(mut self, terminal: OwnedFd) -> Call {
        let words = ["--ctty".as_ref(), self.command.get_program()];
        let words = words.into_iter().chain(self.command.get_args());
        self.command = same_with(&self.command, "setsid".as_ref(), words);
        self.capture = Capture::Terminal(terminal);
        self
    }

    /// The call as the last words of another program's command line, which changes its own process and then becomes
    /// this one: `&["sh", "-c", "exec 7>file; exec \"$0\" \"$@\""]`.
    #[must_use]
    pub fn through(mut self, caller: &[&str]) -> Call {
        let mut command = Command::new(caller[0]);
        command.args(&caller[1..]).arg(self.command.get_program()).args(self.command.get_args());
        self.command = command;
        self
    }

    /// Starts the program.
    #[track_caller]
    pub fn spawn(self) -> Running {
        let Call { mut command, shown, stdin, capture, without_network } = self;
        if without_network && let Some(words) = with_no_network(command.get_args()) {
            command = same_with(&command, command.get_program(), words.iter().map(OsString::as_os_str));
        }
        let same = |file: &File| Stdio::from(file.try_clone().expect("duplicate a descriptor"));
        match &capture {
            Capture::Pipes => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
            Capture::Files { stdout, stderr } => command.stdout(same(stdout)).stderr(same(stderr)),
            Capture::Terminal(terminal) => {
                let same = || Stdio::from(terminal.try_clone().expect("duplicate a descriptor"));
                command.stdin(same()).stdout(same()).stderr(same())
            }
        };
        let mut bytes = None;
        match stdin {
            Input::Null if matches!(capture, Capture::Terminal(_)) => {}
            Input::Null => drop(command.stdin(Stdio::null())),
            Input::Pipe => drop(command.stdin(Stdio::piped())),
            Input::Given(file) => drop(command.stdin(Stdio::from(file))),
            Input::Bytes(given) => {
                bytes = Some(given);
                command.stdin(Stdio::piped());
            }
        }
        let started = executable::started(|| command.spawn());
        let mut child = started.unwrap_or_else(|error| panic!("`{shown}`: {error}"));
        // The terminal's own descriptor must not be kept: its master sees the end when the last one closes.
        drop(command);
        let mut stdin = child.stdin.take();
        if let Some(bytes) = bytes {
            let mut pipe = stdin.take().expect("piped");
            // Apart, since a program that writes before it reads would otherwise stop both.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let (stdout, stderr) = match capture {
            Capture::Pipes => (
                Sink::Pipe(drain(child.stdout.take().expect("piped"))),
                Sink::Pipe(drain(child.stderr.take().expect("piped"))),
            ),
            Capture::Files { stdout, stderr } => (Sink::File(stdout), Sink::File(stderr)),
            Capture::Terminal(_) => (Sink::Nothing, Sink::Nothing),
        };
        Running { child, shown, stdin, stdout, stderr, done: false }
    }

    /// Runs the program to its end.
    #[track_caller]
    pub fn output(self) -> Output {
        self.spawn().wait()
    }
}

/// Another program with these words, with the environment and the folder of this command.
fn same_with<'a>(command: &Command, program: &OsStr, words: impl Iterator<Item = &'a OsStr>) -> Command {
    let mut other = Command::new(program);
    other.args(words);
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => other.env(key, value),
            None => other.env_remove(key),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        other.current_dir(folder);
    }
    other
}

/// The shim's words with `--network none` behind `run` or `create`, where they say nothing of a network.
fn with_no_network<'a>(words: impl Iterator<Item = &'a OsStr>) -> Option<Vec<OsString>> {
    let mut words: Vec<OsString> = words.map(OsStr::to_owned).collect();
    // Behind the folders, which may be called anything.
    let mut verb = words.iter().position(|word| word == "--state")? + 2;
    while words.get(verb).is_some_and(|word| word == "container" || word.as_encoded_bytes().starts_with(b"-"))
    {
        verb += 1;
    }
    let makes = words.get(verb).is_some_and(|word| word == "run" || word == "create");
    let says = |word: &OsString| {
        let word = word.as_encoded_bytes();
        [&b"--network"[..], b"--net"].iter().any(|flag| {
            word.strip_prefix(*flag).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"="))
        })
    };
    if !makes || words.iter().any(says) {
        return None;
    }
    words.splice(verb + 1..verb + 1, ["--network".into(), "none".into()]);
    Some(words)
}

#[derive(Debug)]
enum Sink {
    Pipe(Receiver<Vec<u8>>),
    File(File),
    Nothing,
}

fn drain(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

impl Sink {
    #[track_caller]
    fn collect(self, shown: &str, name: &str) -> String {
        let bytes = match self {
            Sink::Nothing => Vec::new(),
            Sink::File(file) => {
                // By position: the offset is shared with the container's program, which goes on writing.
                let mut bytes = vec![0; usize::try_from(file.metadata().expect("stat").len()).expect("fits")];
                file.read_exact_at(&mut bytes, 0).expect("read a captured file");
                bytes
            }
            Sink::Pipe(receiver) => receiver.recv_timeout(DRAIN).unwrap_or_else(|_| {
                panic!("`{shown}` ended, but a process it left behind holds its {name} open")
            }),
        };
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A started program. Dropped before its end, it is killed.
#[derive(Debug)]
pub struct Running {
    child: Child,
    shown: String,
    stdin: Option<ChildStdin>,
    stdout: Sink,
    stderr: Sink,
    done: bool,
}

impl Running {
    /// The pid of the program (of the runtime, not of the container).
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The other end of [`Call::stdin_pipe`], once.
    #[track_caller]
    pub fn stdin(&mut self) -> ChildStdin {
        self.stdin.take().expect("a pipe as standard input, taken once")
    }

    /// Sends the program a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signal a child that was not waited for");
    }

    /// Whether the program has not ended yet.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait for a child").is_none()
    }

    /// Waits for its end; kills it and panics when [`PATIENCE`] is over.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        self.finish()
    }

    /// Panics with what it printed if the program has ended.
    #[track_caller]
    pub fn expect_alive(&mut self) {
        if !self.is_running() {
            panic!("ended too early: {}", self.finish());
        }
    }

    #[track_caller]
    fn finish(&mut self) -> Output {
        drop(self.stdin.take());
        let ended = self.ends_within(PATIENCE);
        if !ended {
            let _ = self.child.kill();
        }
        let status = self.child.wait().expect("wait for a child");
        self.done = true;
        let take = |sink: &mut Sink| std::mem::replace(sink, Sink::Nothing);
        let stdout = take(&mut self.stdout).collect(&self.shown, "stdout");
        let stderr = take(&mut self.stderr).collect(&self.shown, "stderr");
        let output = Output { command: self.shown.clone(), status, stdout, stderr };
        assert!(ended, "killed after {} s without an end: {output}", PATIENCE.as_secs());
        output
    }

    fn ends_within(&self, bound: Duration) -> bool {
        let Ok(pidfd) = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()) else {
            // Ended, and seen so by `is_running`.
            return true;
        };
        let bound = Timespec::try_from(bound).expect("a bound of seconds");
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&bound)).expect("poll a pidfd") == 1
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.done {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// How a program ended, and what it printed (bytes that are not UTF-8 are replaced).
#[derive(Clone, Debug)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// The status as from wait(2).
    pub status: ExitStatus,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
}

impl Output {
    /// The exit status, or 128 + n after signal n.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Panics unless it exited with 0.
    #[track_caller]
    pub fn expect_ok(self) -> Output {
        self.expect_code(0)
    }

    /// Panics unless it exited with this status by itself.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Output {
        assert_eq!(self.status.code(), Some(code), "expected exit status {code}: {self}");
        self
    }

    /// Panics if it succeeded, was killed by a signal, or said nothing on standard error.
    #[track_caller]
    pub fn expect_fail(self) -> Output {
        assert!(self.status.code().is_some_and(|code| code != 0), "expected a failure: {self}");
        assert!(!self.stderr.trim().is_empty(), "expected a message on stderr: {self}");
        self
    }

    /// Panics unless exactly this was printed on standard output.
    #[track_caller]
    pub fn expect_stdout(self, text: &str) -> Output {
        assert_eq!(self.stdout, text, "on stdout: {self}");
        self
    }

    /// Panics unless standard error has this phrase; as text or quoted, as in a log line `msg="… \"x\""`.
    #[track_caller]
    pub fn expect_stderr(self, phrase: &str) -> Output {
        assert!(self.stderr.replace("\\\"", "\"").contains(phrase), "expected {phrase:?} on stderr: {self}");
        self
    }

    /// [`Output::expect_stderr`] of a phrase that callers of runc search for. Crun words its messages in other
    /// ways, so of crun nothing is asked.
    #[track_caller]
    pub fn expect_runc_phrase(self, phrase: &str) -> Output {
        if flavour() == Flavour::Crun { self } else { self.expect_stderr(phrase) }
    }

    /// Panics unless nothing was printed on standard error.
    #[track_caller]
    pub fn expect_no_stderr(self) -> Output {
        assert!(self.stderr.is_empty(), "expected nothing on stderr: {self}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not JSON: {error}: {self}"))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Output { command, status, stdout, stderr } = self;
        write!(f, "`{command}`: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
    }
}

/// The text of a file a container printed into, as it stands.
pub(crate) fn captured(folder: &Path, name: &str) -> String {
    String::from_utf8_lossy(&fs::read(folder.join(name)).unwrap_or_default()).into_owned()
}
