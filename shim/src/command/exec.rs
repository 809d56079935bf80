//! `shim exec`

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::attach::DETACH_KEYS;
use super::spec_options;
use crate::cli::flags::{Arity, Form, Given, list, switch, value};
use crate::cli::{Globals, Verb};
use crate::container;
use crate::container::ContainerId;
use crate::container::exec::{self, CANNOT_EXECUTE, Request, failure, failure_status};
use crate::container::process::ProcessId;
use crate::container::record::Container;
use crate::container::state::Status;
use crate::container::store::{Containers, Found};
use crate::error::{Context as _, Error, Kind, Result};
use crate::event;
use crate::monitor::terminal_exec;
use crate::output;
use crate::stream::client::{self, Ended, Options};
use crate::stream::keys::DetachKeys;
use crate::stream::protocol::{Attach, Frame};
use crate::stream::session::LEFT;
use crate::stream::terminal;

pub(super) const VERB: Verb = Verb {
    names: &["container exec", "exec"],
    about: "Execute a command in a running container",
    form: Form {
        usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
        flags: &[&[
            switch("detach", "Detached mode: run command in the background").short('d'),
            DETACH_KEYS,
            list("env", "list", "Set environment variables").short('e'),
            list("env-file", "list", "Read in a file of environment variables"),
            switch("interactive", "Keep STDIN open even if not attached").short('i'),
            switch("privileged", "Give extended privileges to the command"),
            switch("tty", "Allocate a pseudo-TTY").short('t'),
            value("user", "string", "Username or UID (format: \"<name|uid>[:<group|gid>]\")").short('u'),
            value("workdir", "string", "Working directory inside the container").short('w'),
        ]],
        arity: Arity::AtLeast(2),
        flags_end_at_argument: true,
    },
    run,
};

/// Longest log of a runtime that is read, in bytes.
const LOG_MAX: u64 = 64 << 10;
/// `si_code` of a signal that the kernel has sent, such as a terminal's.
const SI_KERNEL: i32 = 0x80;

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let containers = super::containers(globals)?;
    let words = given.words()?;
    let (word, args) = words.split_first().ok_or_else(|| Error::usage("no container"))?;
    let id = containers.find(word)?;
    let Found { container, state, .. } = containers.observe(&id)?.ok_or_else(|| container::missing(word))?;
    let detach = given.is_on("detach");
    let (interactive, tty) = (given.is_on("interactive") && !detach, given.is_on("tty"));
    if !detach {
        terminal::check(interactive, tty)?;
    }
    let init = match (state.status, state.process) {
        (Status::Running, Some(init)) => init,
        (Status::Paused, _) => {
            return Err(Error::conflict(format!(
                "Container {id} is paused, unpause the container before exec"
            )));
        }
        (Status::Restarting, _) => {
            let reason = format!("Container {id} is restarting, wait until the container is running");
            return Err(Error::conflict(reason));
        }
        _ => return Err(Error::conflict(format!("container {id} is not running"))),
    };
    let request = Request {
        args: args.iter().map(|word| (*word).to_owned()).collect(),
        env: spec_options::env(given)?,
        user: given.text("user")?.map(str::to_owned),
        workdir: given.text("workdir")?.filter(|path| !path.is_empty()).map(str::to_owned),
        privileged: given.is_on("privileged"),
        tty,
        size: terminal::size(),
    };
    let document = match exec::document(&containers.folder(&id), &container, init, &request) {
        // As of a program that cannot be executed: docker's client hears no more than that.
        Err(error) if error.kind() == Kind::Usage && !detach => {
            output::complain(&error.to_string());
            return Ok(CANNOT_EXECUTE);
        }
        document => document?,
    };
    let call = Call { containers: &containers, container: &container, id: &id, args: &request.args };
    let exec_id = ContainerId::random()?;
    call.tell("exec_create", &exec_id, &[]);
    // In memory: whatever becomes of us, nothing is left behind.
    let process = in_memory("process", &document)?;
    if tty {
        call.execute_on_terminal(&process, &exec_id, given)
    } else {
        call.execute(&process, &exec_id, detach, interactive)
    }
}

/// One program in one container.
struct Call<'a> {
    containers: &'a Containers,
    container: &'a Container,
    id: &'a ContainerId,
    args: &'a [String],
}

impl Call<'_> {
    /// With the caller's own streams.
    fn execute(&self, process: &File, exec_id: &ContainerId, detach: bool, interactive: bool) -> Result<u8> {
        let log = in_memory("log", &[])?;
        let path = &self.container.runtime_path;
        let runtime = self.containers.runtime(self.container);
        let mut command = runtime.command(Some(&path_of(&log)));
        command.arg("exec").arg("--process").arg(path_of(process));
        if detach {
            command.arg("--detach").stdout(Stdio::null()).stderr(Stdio::null());
        }
        if !interactive {
            command.stdin(Stdio::null());
        }
        command.arg(self.id.as_str());
        sys::spawn::inherit_nothing(&mut command);
        let signals = block_signals()?;
        let mut child = command.spawn().during(|| format!("{}", path.display()))?;
        self.tell("exec_start", exec_id, &[]);
        let code = wait(&mut child, &signals)?;
        if code == 0 {
            if !detach {
                self.tell("exec_die", exec_id, &[("exitCode", "0")]);
            }
            return Ok(0);
        }
        let Some(reason) = reason_in(log)? else {
            self.tell("exec_die", exec_id, &[("exitCode", &code.to_string())]);
            return Ok(code);
        };
        // The runtime has told it already where it has our standard error.
        if detach {
            return Err(Error::new(Kind::System, reason)).during(|| "exec".to_owned());
        }
        Ok(failure_status(&reason))
    }

    /// On a terminal, which a process of its own holds: so that it can be left.
    fn execute_on_terminal(&self, process: &File, exec_id: &ContainerId, given: &Given) -> Result<u8> {
        let mut connection = terminal_exec::launch(self.containers, self.id, process)?;
        self.tell("exec_start", exec_id, &[]);
        if given.is_on("detach") {
            return match client::read_frame(&mut connection)? {
                Frame::Failed(_, reason) => {
                    Err(Error::new(Kind::System, reason)).during(|| "exec".to_owned())
                }
                _ => Ok(0),
            };
        }
        let program = RefCell::new(None);
        let mut started = |pid: i32| {
            let open = ProcessId::of(pid).and_then(|process| process.open().ok().flatten());
            *program.borrow_mut() = open;
        };
        let mut forward = |signal: i32| {
            if let Some(pidfd) = &*program.borrow() {
                let _ = sys::pidfd_send_signal(pidfd.as_fd(), signal);
            }
        };
        let options = Options {
            attach: Attach { stdin: given.is_on("interactive"), stdout: true, stderr: false },
            tty: true,
            detach_keys: DetachKeys::parse(given.text("detach-keys")?.unwrap_or_default())?,
            forward: Some(&mut forward),
            started: Some(&mut started),
            again: None,
        };
        let ended = client::follow(connection, options)?;
        match &ended {
            Ended::Exit(exit) => self.tell("exec_die", exec_id, &[("exitCode", &exit.code.to_string())]),
            Ended::Failed(_, reason) => output::complain(reason),
            Ended::Detached => output::complain(LEFT),
            Ended::Signalled(_) => {}
            Ended::Lost => {
                return Err(Error::new(Kind::System, "exec: the holder of the terminal was killed"));
            }
        }
        Ok(super::attach::status(&ended))
    }

    /// Docker's events have the command line behind the action.
    fn tell(&self, action: &str, exec_id: &ContainerId, attributes: &[(&str, &str)]) {
        let mut all = vec![("execID", exec_id.as_str())];
        all.extend(attributes);
        let action = match action {
            "exec_die" => action.to_owned(),
            action => format!("{action}: {}", self.args.join(" ")),
        };
        event::emit(self.containers.state_root(), &action, self.container, &all);
    }
}

fn in_memory(name: &str, content: &[u8]) -> Result<File> {
    let file = memfd_create(name, MemfdFlags::CLOEXEC).map(File::from);
    let mut file = file.during(|| "memfd_create".to_owned())?;
    file.write_all(content).during(|| "memfd".to_owned())?;
    Ok(file)
}

/// How another process opens it, as long as this one lives.
fn path_of(file: &File) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into()
}

fn block_signals() -> Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
    ] {
        set.add(signal);
    }
    let failed = |errno: nix::errno::Errno| Error::new(Kind::System, errno.desc());
    set.thread_block().map_err(failed).during(|| "sigprocmask".to_owned())?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(failed)
        .during(|| "signalfd".to_owned())
}

/// Waits for the runtime, which is the program's stand-in: signals go to it.
fn wait(child: &mut Child, signals: &SignalFd) -> Result<u8> {
    let words = || "wait for the runtime".to_owned();
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).during(words)?;
    loop {
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).during(words),
        }
        if !fds[0].revents().is_empty() {
            return Ok(status(child.wait().during(words)?));
        }
        while let Ok(Some(info)) = signals.read_signal() {
            // What a terminal sends, the runtime has got too: it is in the same process group.
            if info.ssi_code != SI_KERNEL {
                let _ =
                    sys::pidfd_send_signal(pidfd.as_fd(), i32::try_from(info.ssi_signo).unwrap_or_default());
            }
        }
    }
}

fn status(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255);
    u8::try_from(code & 0xff).unwrap_or(u8::MAX)
}

/// Why the runtime itself has failed, by its log; None if it is the program's status that it ended with.
fn reason_in(mut log: File) -> Result<Option<String>> {
    let mut text = String::new();
    let words = || "log of the runtime".to_owned();
    log.rewind().during(words)?;
    log.take(LOG_MAX).read_to_string(&mut text).during(words)?;
    Ok(failure(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_that_failed_has_said_so_in_its_log() {
        let of = |text: &str| reason_in(in_memory("log", text.as_bytes()).unwrap()).unwrap();
        assert_eq!(of(""), None);
        assert_eq!(of("{\"level\":\"warning\",\"msg\":\"x\",\"time\":\"t\"}\n"), None);
        let line = "{\"level\":\"error\",\"msg\":\"exec failed: no\",\"time\":\"t\"}\n";
        assert_eq!(of(line).as_deref(), Some("exec failed: no"));
        assert_eq!(of("rubbish\n"), None);
    }
}
