//! The command line of the benchmark.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// What `--help` prints.
pub const USAGE: &str = "\
usage: bench [--rounds N] [--warmup N] [--runtime P] [--floor P] [--seccomp F] [--write F]
       bench --smallest-limit [--runtime P] [--floor P]

  --rounds N    measured rounds; in each, everything runs once, in random order (60)
  --warmup N    rounds before these that are not measured (5)
  --runtime P   this project's runtime (runtime, beside this program)
  --floor P     the floor (floor, beside this program)
  --seccomp F   a profile (the object linux.seccomp of a configuration) for a run with seccomp
  --write F     writes the report into F, between its two lines <!-- figures --> and <!-- /figures -->
  --smallest-limit  prints under which limit of memory a container still runs, and nothing else

crun and runc are those in PATH. As root: containers are made, in a mount namespace of their own.
";

/// What the caller wants.
pub enum Asked {
    /// The usage.
    Help,
    /// The figures.
    Measure(Options),
}

/// How to measure.
pub struct Options {
    /// Measured rounds.
    pub rounds: usize,
    /// Rounds before these.
    pub warmup: usize,
    /// The runtime of this project.
    pub runtime: PathBuf,
    /// The floor.
    pub floor: PathBuf,
    /// A file with a seccomp profile.
    pub seccomp: Option<PathBuf>,
    /// The document that takes the report.
    pub write: Option<PathBuf>,
    /// Whether only the smallest limit of memory is looked for.
    pub smallest_limit: bool,
}

/// Reads the arguments (without the program's name).
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Asked> {
    let beside = std::env::current_exe().context("find the folder of this program")?;
    let mut options = Options {
        rounds: 60,
        warmup: 5,
        runtime: beside.with_file_name("runtime"),
        floor: beside.with_file_name("floor"),
        seccomp: None,
        write: None,
        smallest_limit: false,
    };
    let mut arguments = arguments;
    while let Some(flag) = arguments.next() {
        let flag = flag.to_string_lossy().into_owned();
        if flag == "--help" || flag == "-h" {
            return Ok(Asked::Help);
        }
        let mut value = || arguments.next().with_context(|| format!("{flag} needs a value (see --help)"));
        match flag.as_str() {
            "--rounds" => options.rounds = number(&flag, &value()?)?,
            "--warmup" => options.warmup = number(&flag, &value()?)?,
            "--runtime" => options.runtime = value()?.into(),
            "--floor" => options.floor = value()?.into(),
            "--seccomp" => options.seccomp = Some(value()?.into()),
            "--smallest-limit" => options.smallest_limit = true,
            "--write" => options.write = Some(value()?.into()),
            _ => bail!("no option {flag:?} (see --help)"),
        }
    }
    if options.rounds == 0 {
        bail!("--rounds 0 measures nothing");
    }
    Ok(Asked::Measure(options))
}

fn number(flag: &str, value: &OsString) -> Result<usize> {
    value
        .to_str()
        .and_then(|value| value.parse().ok())
        .with_context(|| format!("{flag} {value:?}: not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Asked> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn options_are_read() {
        let Ok(Asked::Measure(options)) = read(&["--rounds", "7", "--seccomp", "/s.json"]) else { panic!() };
        assert_eq!((options.rounds, options.warmup), (7, 5));
        assert_eq!(options.seccomp, Some("/s.json".into()));
        assert!(options.runtime.ends_with("runtime"));
    }

    #[test]
    fn mistakes_are_named() {
        let message = |arguments: &[&str]| read(arguments).err().unwrap().to_string();
        assert_eq!(message(&["--rounds", "many"]), "--rounds \"many\": not a number");
        assert_eq!(message(&["--rounds"]), "--rounds needs a value (see --help)");
        assert_eq!(message(&["--rounds", "0"]), "--rounds 0 measures nothing");
        assert_eq!(message(&["--loud"]), "no option \"--loud\" (see --help)");
    }
}
