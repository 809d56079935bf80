//! Prints which functions a program runs, in the order in which it first does: one name per line, as the
//! linker knows it. `bench-functions PROGRAM [ARGUMENT...]`; the program must not be stripped. Clones of the
//! program are followed until they execute another one, or until the first process ends: a container's init
//! may wait for long, and goes on by itself then.
//!
//! Every instruction is stepped through (ptrace(2), PTRACE_SINGLESTEP), so nothing is missed and nothing
//! depends on the machine's counters. `scripts/order-functions` makes the linker's order of it.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

fn main() -> ExitCode {
    match trace() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench-functions: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn trace() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().context("usage: bench-functions PROGRAM [ARGUMENT...]")?;
    let program = std::fs::canonicalize(&program).with_context(|| format!("find {program:?}"))?;
    let symbols = Symbols::read(&program)?;

    // A shell that stops itself: it can be attached to before it becomes the program.
    let mut child = Command::new("/bin/sh")
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .arg(&program)
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
        .context("start a shell")?;
    let names = attach(&child).and_then(|shell| {
        Tracer { program, symbols, base: 0, seen: HashSet::new(), names: Vec::new() }.follow(shell)
    });
    if names.is_err() {
        let _ = child.kill();
    }
    let _ = child.wait(); // the tracer has mostly seen its end already

    let mut out = BufWriter::new(std::io::stdout().lock());
    for name in names? {
        writeln!(out, "{name}").context("write to standard output")?;
    }
    out.flush().context("write to standard output")
}

fn attach(child: &Child) -> Result<Pid> {
    let shell = Pid::from_raw(i32::try_from(child.id()).context("process id")?);
    waitpid(shell, Some(WaitPidFlag::WUNTRACED)).context("wait for the shell to stop")?;
    ptrace::attach(shell).context("attach to the shell")?;
    waitpid(shell, None).context("wait for the shell")?;
    let options = Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE;
    ptrace::setoptions(shell, options).context("set the options of ptrace")?;
    kill(shell, Signal::SIGCONT).context("let the shell go on")?;
    ptrace::cont(shell, None).context("let the shell go on")?;
    Ok(shell)
}

struct Tracer {
    program: PathBuf,
    symbols: Symbols,
    /// Where the program was loaded.
    base: u64,
    seen: HashSet<usize>,
    names: Vec<String>,
}

impl Tracer {
    fn follow(mut self, first: Pid) -> Result<Vec<String>> {
        let mut traced = HashSet::from([first]);
        let mut stepping = HashSet::new();
        loop {
            let status = waitpid(None, Some(WaitPidFlag::__WALL)).context("wait for the traced processes")?;
            let Some(pid) = status.pid() else { continue };
            let mut pass_on = None;
            match status {
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) if pid == first => {
                    traced.remove(&first);
                    traced.into_iter().try_for_each(let_go)?;
                    return Ok(self.names);
                }
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                    traced.remove(&pid);
                    continue;
                }
                WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC) => {
                    if !self.begin(pid)? {
                        ptrace::detach(pid, None).context("detach")?;
                        traced.remove(&pid);
                        continue;
                    }
                    stepping.insert(pid);
                }
                WaitStatus::PtraceEvent(..) | WaitStatus::Stopped(_, Signal::SIGTRAP)
                    if stepping.contains(&pid) =>
                {
                    self.note(pid)?;
                }
                WaitStatus::PtraceEvent(..) | WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
                // A clone's first stop.
                WaitStatus::Stopped(_, Signal::SIGSTOP) if traced.insert(pid) => {
                    stepping.insert(pid);
                }
                WaitStatus::Stopped(_, signal) => pass_on = (signal != Signal::SIGSTOP).then_some(signal),
                _ => {}
            }
            let resumed =
                if stepping.contains(&pid) { ptrace::step(pid, pass_on) } else { ptrace::cont(pid, pass_on) };
            match resumed {
                // Killed meanwhile: its end is reported next.
                Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
                Err(errno) => bail!("step process {pid}: {errno}"),
            }
        }
    }

    /// Whether what was executed is the program; then where it lies.
    fn begin(&mut self, pid: Pid) -> Result<bool> {
        if std::fs::read_link(format!("/proc/{pid}/exe")).ok().as_ref() != Some(&self.program) {
            return Ok(false);
        }
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).context("read the mappings")?;
        let start = maps.split('-').next().context("no mappings")?;
        self.base = u64::from_str_radix(start, 16).context("the first mapping")?;
        Ok(true)
    }

    fn note(&mut self, pid: Pid) -> Result<()> {
        let registers = match ptrace::getregs(pid) {
            Err(nix::errno::Errno::ESRCH) => return Ok(()),
            registers => registers.with_context(|| format!("read the registers of process {pid}"))?,
        };
        let offset = registers.rip.wrapping_sub(self.base);
        if let Some(index) = self.symbols.find(offset)
            && self.seen.insert(index)
        {
            self.names.push(self.symbols.0[index].1.clone());
        }
        Ok(())
    }
}

/// Lets a process go on by itself: stopped first, since a trap that is still under way would kill it.
fn let_go(pid: Pid) -> Result<()> {
    kill(pid, Signal::SIGSTOP).with_context(|| format!("stop process {pid}"))?;
    while !matches!(
        waitpid(pid, Some(WaitPidFlag::__WALL)),
        Ok(WaitStatus::Stopped(_, Signal::SIGSTOP) | WaitStatus::Exited(..) | WaitStatus::Signaled(..))
            | Err(_)
    ) {
        ptrace::cont(pid, None).with_context(|| format!("let process {pid} go on"))?;
    }
    match ptrace::detach(pid, Signal::SIGCONT) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(errno) => bail!("detach process {pid}: {errno}"),
    }
}

/// Functions by their addresses, relative to where the program is loaded.
struct Symbols(Vec<(u64, String)>);

impl Symbols {
    fn read(program: &Path) -> Result<Self> {
        let output = Command::new("nm").arg("--defined-only").arg(program).output().context("start nm")?;
        let text = String::from_utf8(output.stdout).context("what nm prints")?;
        let mut symbols: Vec<(u64, String)> = text
            .lines()
            .filter_map(|line| {
                let mut fields = line.split(' ');
                let (address, kind, name) = (fields.next()?, fields.next()?, fields.next()?);
                let address = u64::from_str_radix(address, 16).ok()?;
                matches!(kind, "t" | "T" | "w" | "W" | "i").then(|| (address, name.to_owned()))
            })
            .collect();
        if symbols.is_empty() {
            bail!("{} has no symbols: build it unstripped", program.display());
        }
        symbols.sort();
        symbols.dedup_by_key(|(address, _)| *address);
        Ok(Self(symbols))
    }

    fn find(&self, offset: u64) -> Option<usize> {
        let last = self.0.last()?.0;
        let after = self.0.partition_point(|(address, _)| *address <= offset);
        (offset <= last).then(|| after.checked_sub(1)).flatten()
    }
}
