//! What is measured: each measure runs a contestant once and returns what it cost. A run that fails is an
//! error, never a figure.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::bundle::Bundles;
use crate::contestant::{Contestant, Kind};
use crate::workshop::Workshop;

/// One of the measured times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    /// `run` of /bin/true.
    Run,
    /// `create`, `start`, waiting for the program's end, `delete`.
    Cycle,
    /// `run` with a seccomp profile.
    RunSeccomp,
    /// `exec` of /bin/true into a container that is there.
    Exec,
    /// The same into one with a seccomp profile.
    ExecSeccomp,
    /// `--version`: the start of the program alone.
    Version,
}

impl Measure {
    /// All, in the order of the report.
    pub const ALL: [Self; 6] =
        [Self::Run, Self::Cycle, Self::RunSeccomp, Self::Exec, Self::ExecSeccomp, Self::Version];

    /// The heading of its table.
    pub fn title(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Cycle => "create + start + wait + delete",
            Self::RunSeccomp => "run with a seccomp profile",
            Self::Exec => "exec",
            Self::ExecSeccomp => "exec with a seccomp profile",
            Self::Version => "--version",
        }
    }

    /// Can this contestant do it?
    pub fn suits(self, contestant: &Contestant, bundles: &Bundles) -> bool {
        match self {
            Self::Run => true,
            Self::RunSeccomp | Self::ExecSeccomp => {
                contestant.kind == Kind::Runtime && bundles.with_seccomp()
            }
            Self::Cycle | Self::Exec | Self::Version => contestant.kind == Kind::Runtime,
        }
    }

    /// Does it once: the time from before the first program's start to after the last one's end.
    pub fn take(self, contestant: &Contestant, bundles: &Bundles, workshop: &Workshop) -> Result<Duration> {
        let program = Bundles::program();
        let took = match self {
            Self::Run => contestant.run(bundles, workshop, false, program).time(workshop),
            Self::RunSeccomp => contestant.run(bundles, workshop, true, program).time(workshop),
            Self::Version => Timed::new(&contestant.program).arg("--version").time(workshop),
            Self::Cycle => cycle(contestant, workshop),
            Self::Exec => exec(contestant, workshop, false, program),
            Self::ExecSeccomp => exec(contestant, workshop, true, program),
        };
        took.with_context(|| format!("{} of {}", self.title(), contestant.name))
    }
}

fn cycle(contestant: &Contestant, workshop: &Workshop) -> Result<Duration> {
    let (bundle, id) = (contestant.bundle(workshop, false), contestant.id());
    let file = workshop.path("pid");
    let create = contestant.verb(workshop, "create").arg("--bundle").arg(bundle).arg("--pid-file").arg(&file);
    let mut create = create.arg(&id);
    let mut start = contestant.verb(workshop, "start").arg(&id);
    let mut delete = contestant.verb(workshop, "delete").arg(&id);

    let begin = Instant::now();
    create.succeed(workshop)?;
    start.succeed(workshop)?;
    let pid = fs::read_to_string(&file).context("read the pid file")?;
    let pid = pid.trim().parse().with_context(|| format!("read the pid file: {pid:?}"))?;
    let end = waitpid(Pid::from_raw(pid), None).context("wait for the container")?;
    delete.succeed(workshop)?;
    let took = begin.elapsed();

    match end {
        WaitStatus::Exited(_, 0) => Ok(took),
        other => bail!("the container ended with {other:?}"),
    }
}

/// Into a container that waits for its start, which costs it no processor meanwhile.
fn exec(contestant: &Contestant, workshop: &Workshop, seccomp: bool, program: &[&str]) -> Result<Duration> {
    let (bundle, id) = (contestant.bundle(workshop, seccomp), contestant.id());
    let create = contestant.verb(workshop, "create").arg("--bundle").arg(bundle);
    create.arg(&id).succeed(workshop)?;
    let exec = contestant.verb(workshop, "exec").arg(&id);
    let took = program.iter().fold(exec, |exec, word| exec.arg(word)).time(workshop);
    let deleted = contestant.verb(workshop, "delete").arg("--force").arg(&id).succeed(workshop);
    took.and_then(|took| deleted.map(|()| took))
}

/// The peak memory (KiB) of one `run`: of the largest process among the contestant and its descendants.
pub fn peak_memory(contestant: &Contestant, bundles: &Bundles, workshop: &Workshop) -> Result<u64> {
    let starter = std::env::current_exe().context("find the folder of this program")?;
    let file = workshop.path("peak");
    let run = contestant.run(bundles, workshop, false, Bundles::program());
    let mut started = Timed::new(&starter.with_file_name("bench-starter")).arg(&file).arg(run.program);
    started = run.arguments.into_iter().fold(started, Timed::arg);
    started.succeed(workshop).with_context(|| format!("peak memory of {}", contestant.name))?;
    let text = fs::read_to_string(&file).context("read the peak memory")?;
    text.parse().with_context(|| format!("read the peak memory: {text:?}"))
}

/// A command to be timed: nothing on stdin, stdout thrown away, stderr in a file of the workshop (a pipe
/// would stay open as long as the container lives), and the same small environment for all.
pub struct Timed {
    program: OsString,
    arguments: Vec<OsString>,
}

impl Timed {
    /// The program without arguments.
    pub fn new(program: &Path) -> Self {
        Self { program: program.into(), arguments: Vec::new() }
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    fn command(&self, workshop: &Workshop) -> Result<Command> {
        let said = File::create(workshop.path("stderr")).context("make the file for stderr")?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        Ok(command)
    }

    /// Runs it: its exit status (none after a signal) and the last line it wrote to stderr.
    pub fn finish(&mut self, workshop: &Workshop) -> Result<(Option<i32>, String)> {
        let status = self.command(workshop)?.status();
        let status = status.with_context(|| format!("start {}", self.program.display()))?;
        Ok((status.code(), last_line(workshop)))
    }

    fn succeed(&mut self, workshop: &Workshop) -> Result<()> {
        self.time(workshop).map(drop)
    }

    fn time(&mut self, workshop: &Workshop) -> Result<Duration> {
        let mut command = self.command(workshop)?;
        let begin = Instant::now();
        let status = command.status().with_context(|| format!("start {}", self.program.display()))?;
        let took = begin.elapsed();
        if status.success() {
            return Ok(took);
        }
        let verb = self.arguments.get(2).map(|verb| verb.to_string_lossy()).unwrap_or_default();
        bail!("{} … {verb}: {status}: {}", self.program.display(), last_line(workshop))
    }
}

fn last_line(workshop: &Workshop) -> String {
    let said = fs::read(workshop.path("stderr")).unwrap_or_default();
    String::from_utf8_lossy(&said)
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default()
        .to_owned()
}
