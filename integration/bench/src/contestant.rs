//! Who is measured: this project's runtime, crun and runc of the host, and the floor.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::arguments::Options;
use crate::bundle::Bundles;
use crate::measure::Timed;
use crate::workshop::Workshop;

/// The name of this project's runtime.
pub const OURS: &str = "runtime";
/// The name of the floor.
pub const FLOOR: &str = "floor";

/// How a contestant is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By runc's command line.
    Runtime,
    /// By the floor's: `run` only.
    Floor,
}

/// A program to be measured.
pub struct Contestant {
    /// Its name in the tables.
    pub name: String,
    /// How it is called.
    pub kind: Kind,
    /// Its file.
    pub program: PathBuf,
    /// The first line of its `--version`; empty for the floor.
    pub version: String,
    /// The size of its file in bytes.
    pub size: u64,
}

/// Those there are. Ours and the floor have to be; another runtime that is missing is noted.
pub fn find(options: &Options, notes: &mut Vec<String>) -> Result<Vec<Contestant>> {
    let mut found = vec![Contestant::new(OURS, Kind::Runtime, &options.runtime)?];
    for name in ["crun", "runc"] {
        match in_path(name) {
            Some(path) => found.push(Contestant::new(name, Kind::Runtime, &path)?),
            None => notes.push(format!("{name} is left out: it is not in PATH.")),
        }
    }
    found.push(Contestant::new(FLOOR, Kind::Floor, &options.floor)?);
    Ok(found)
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

impl Contestant {
    fn new(name: &str, kind: Kind, program: &Path) -> Result<Self> {
        let program = program.canonicalize().with_context(|| format!("find {}", program.display()))?;
        let size = program.metadata().with_context(|| format!("look at {}", program.display()))?.len();
        let version = match kind {
            Kind::Floor => String::new(),
            Kind::Runtime => {
                let output = Command::new(&program).arg("--version").output();
                let output = output.with_context(|| format!("run {} --version", program.display()))?;
                String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
            }
        };
        Ok(Self { name: name.to_owned(), kind, program, version, size })
    }

    /// The bundle of this contestant; its seccomp one has a profile.
    pub fn bundle(&self, workshop: &Workshop, seccomp: bool) -> PathBuf {
        workshop.path(format!("{}{}", self.name, if seccomp { "-seccomp" } else { "" }))
    }

    /// A container's whole life in one call. `program` is for the floor; a runtime has it in its bundle.
    pub fn run(&self, bundles: &Bundles, workshop: &Workshop, seccomp: bool, program: &[&str]) -> Timed {
        match self.kind {
            Kind::Floor => {
                let command = Timed::new(&self.program).arg(workshop.cgroup_folder()).arg(bundles.root());
                program.iter().fold(command, |command, argument| command.arg(argument))
            }
            Kind::Runtime => {
                let bundle = self.bundle(workshop, seccomp);
                self.verb(workshop, "run").arg("--bundle").arg(bundle).arg(self.id())
            }
        }
    }

    /// A command of the runtime, with its state in the workshop.
    pub fn verb(&self, workshop: &Workshop, verb: impl AsRef<OsStr>) -> Timed {
        Timed::new(&self.program).arg("--root").arg(workshop.path(format!("state-{}", self.name))).arg(verb)
    }

    /// The id of its container: one at a time.
    pub fn id(&self) -> String {
        format!("bench-{}", self.name)
    }

    /// After a failed proof: whatever it left of its container.
    pub fn remove_rest(&self, workshop: &Workshop) {
        if self.kind == Kind::Runtime {
            let _ = self.verb(workshop, "delete").arg("--force").arg(self.id()).finish(workshop);
        }
    }
}
