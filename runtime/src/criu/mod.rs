//! CRIU (criu.org), which dumps and restores processes: found on the host, started as a server for one request
//! (`criu swrk`), talked to by its RPC over a socket pair.
//!
//! Owns the program and the conversation, and knows nothing of containers: what is to be dumped, and what to do when
//! CRIU notifies, is the callers'. CRIU runs as root on the host; it is looked for in the folders of $PATH and never
//! inside a container. Folders that it reads and writes go to it as descriptors.

mod folder;
pub mod images;
mod log;
pub mod rpc;
mod server;
mod wire;

use std::path::PathBuf;

use rustix::fs::{FileType, Mode, OFlags};

pub use folder::Folder;
pub use log::{Timeout, explain, timeout};
pub use rpc::{Features, Kind, Options, Version};
pub use server::{Manner, Notice, Server};

use crate::bail;
use crate::error::{Context, Result};
use crate::signals::Signals;

/// The first version that tells its version, which is what runc asks for too.
const OLDEST: Version = Version(3, 0, 0);
/// Where $PATH does not say otherwise.
const USUAL_FOLDERS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program, found and asked after its version.
#[derive(Debug)]
pub struct Criu {
    path: PathBuf,
    version: Version,
}

impl Criu {
    /// Finds the program in $PATH and asks it for its version.
    ///
    /// # Errors
    /// Where there is none, where it does not answer, and where it is too old.
    pub fn find(signals: &mut Signals) -> Result<Self> {
        let mut criu = Self { path: find_in(std::env::var("PATH").ok().as_deref())?, version: OLDEST };
        let mut server = criu.start(Manner::default())?;
        let answer = server.ask(&rpc::ask_version(), signals, &mut |_, _, _| Ok(()));
        criu.version = answer.context(|| format!("ask {:?} for its version", criu.path))?.version;
        drop(server);
        criu.require(OLDEST, "checkpoint and restore")?;
        Ok(criu)
    }

    /// The version that was found.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Refuses to go on where the program is older than `what` needs.
    ///
    /// # Errors
    /// With both versions.
    pub fn require(&self, oldest: Version, what: &str) -> Result<()> {
        if self.version < oldest {
            bail!("{what}: needs CRIU {oldest} or newer, and {:?} is {}", self.path, self.version);
        }
        Ok(())
    }

    /// Refuses to go on where CRIU or the kernel lack a feature.
    ///
    /// # Errors
    /// The feature, by the flag that needs it.
    pub fn require_features(&self, wanted: Features, flag: &str, signals: &mut Signals) -> Result<()> {
        let mut server = self.start(Manner::default())?;
        let answer = server.ask(&rpc::ask_features(wanted), signals, &mut |_, _, _| Ok(()));
        let found = answer.context(|| "ask criu for features")?.features;
        if wanted.mem_track && !found.mem_track {
            bail!("{flag}: criu and this kernel cannot track written memory (CONFIG_MEM_SOFT_DIRTY)");
        }
        if wanted.lazy_pages && !found.lazy_pages {
            bail!("{flag}: criu and this kernel cannot deliver pages late (CONFIG_USERFAULTFD)");
        }
        Ok(())
    }

    /// Starts a server for one request.
    ///
    /// # Errors
    /// As socketpair(2), fork(2) and execve(2).
    pub fn start(&self, manner: Manner<'_>) -> Result<Server> {
        Server::start(&self.path, manner)
    }
}

/// The first program of that name in the absolute folders of `path`.
fn find_in(path: Option<&str>) -> Result<PathBuf> {
    let folders = path.filter(|path| !path.is_empty()).unwrap_or(USUAL_FOLDERS);
    for folder in folders.split(':').filter(|folder| folder.starts_with('/')) {
        let candidate = PathBuf::from(folder).join("criu");
        let opened = rustix::fs::open(&candidate, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let is_program = opened.and_then(|file| rustix::fs::fstat(&file)).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_mode & 0o111 != 0
        });
        if is_program {
            return Ok(candidate);
        }
    }
    bail!(
        "criu is not in $PATH ({folders:?}): checkpoint and restore need CRIU {OLDEST} or newer on the host"
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_program_is_an_executable_file_in_an_absolute_folder() {
        let dir = crate::container::tests::TempDir::new();
        let folder = |name: &str| {
            let folder = dir.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            folder
        };
        let (plain, nested, good) = (folder("plain"), folder("nested"), folder("good"));
        std::fs::write(plain.join("criu"), "").unwrap();
        std::fs::create_dir(nested.join("criu")).unwrap();
        std::fs::write(good.join("criu"), "").unwrap();
        std::fs::set_permissions(good.join("criu"), PermissionsExt::from_mode(0o755)).unwrap();
        let path = format!(":.:relative:{}:{}:{}", plain.display(), nested.display(), good.display());
        assert_eq!(find_in(Some(&path)).unwrap(), good.join("criu"));
        let path = format!(".:{}", plain.display());
        assert_eq!(
            find_in(Some(&path)).unwrap_err().to_string(),
            format!(
                "criu is not in $PATH ({path:?}): checkpoint and restore need CRIU 3.0 or newer on the host"
            )
        );
    }
}
