//! Which volumes there are, and where they lie: the only code that knows how.
//!
//! `volumes/NAME/` appears and goes by rename; in it are `volume.json` and `_data`, which containers see. Two locks: who is
//! about to use volumes, and has not yet said so in a container's record, holds `volumes.lock` shared, and who removes one
//! holds it exclusively; `lock` in a volume's folder is around each change of what lies or is mounted in it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::container::ContainerId;
use crate::error::{Context, Error, Kind, Result};
use crate::event;
use crate::root::remove::forget;
use crate::store::folder::make_private;
use crate::store::leftover::VOLUME;
use crate::store::record::{self, Lock};
use crate::volume::{self, ANONYMOUS, DRIVER, Volume, attach, options};

/// What containers see of a volume, in its folder.
pub const DATA: &str = "_data";
const RECORD: &str = "volume.json";

/// All volumes of a store.
#[derive(Clone, Debug)]
pub struct Volumes {
    root: PathBuf,
    state: PathBuf,
}

/// A volume to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Empty for one that nobody names.
    pub name: String,
    /// Notes of the user's.
    pub labels: BTreeMap<String, String>,
    /// The driver's.
    pub options: BTreeMap<String, String>,
}

impl Volumes {
    /// The volumes in these folders (`--root`, `--state`), which exist.
    ///
    /// # Errors
    /// The system's reason.
    pub fn open(root: &Path, state: &Path) -> Result<Volumes> {
        let volumes = Volumes { root: root.to_owned(), state: state.to_owned() };
        make_private(&volumes.all())?;
        make_private(&root.join("ingest"))?;
        Ok(volumes)
    }

    fn all(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// `--state`.
    #[must_use]
    pub fn state_root(&self) -> &Path {
        &self.state
    }

    /// Where a volume lies.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        self.all().join(name)
    }

    /// What containers see of it.
    #[must_use]
    pub fn mountpoint(&self, name: &str) -> PathBuf {
        self.folder(name).join(DATA)
    }

    /// Keeps volumes from being removed until the lock is dropped: for who is about to use some.
    ///
    /// # Errors
    /// The system's reason.
    pub fn keep(&self) -> Result<Lock> {
        Lock::shared(&self.root.join("volumes.lock"))
    }

    /// Keeps everybody from beginning to use volumes until the lock is dropped.
    ///
    /// # Errors
    /// The system's reason.
    pub(super) fn close(&self) -> Result<Lock> {
        Lock::exclusive(&self.root.join("volumes.lock"))
    }

    /// Around a change of what lies or is mounted in a volume, which exists.
    ///
    /// # Errors
    /// The system's reason.
    pub(super) fn lock(&self, name: &str) -> Result<Lock> {
        Lock::exclusive(&self.folder(name).join("lock")).map_err(|error| match error.kind() {
            Kind::NotFound => volume::missing(name),
            _ => error,
        })
    }

    /// The same if nobody else has it at this moment.
    ///
    /// # Errors
    /// The system's reason.
    pub(super) fn try_lock(&self, name: &str) -> Result<Option<Lock>> {
        Lock::try_exclusive(&self.folder(name).join("lock"))
    }

    /// A volume, if there is one of this name.
    ///
    /// # Errors
    /// What is no name; a damaged record; the system's reason.
    pub fn get(&self, name: &str) -> Result<Option<Volume>> {
        if volume::check_name(name).is_err() {
            return Ok(None);
        }
        record::read(&self.folder(name).join(RECORD))
    }

    /// The volume of this name, which is made if there is none; whether it was made.
    ///
    /// # Errors
    /// A name or options that cannot be, in Docker's words; the system's reason.
    pub fn create(&self, wanted: &Wanted) -> Result<(Volume, bool)> {
        let mut labels = wanted.labels.clone();
        let name = if wanted.name.is_empty() {
            labels.insert(ANONYMOUS.to_owned(), String::new());
            ContainerId::random()?.to_string()
        } else {
            volume::check_name(&wanted.name).during(|| format!("create {}", wanted.name))?;
            wanted.name.clone()
        };
        if let Some(volume) = self.get(&name)? {
            return Ok((volume, false));
        }
        options::check(&wanted.options).during(|| format!("create {name}"))?;
        let some = |map: &BTreeMap<String, String>| Some(map.clone()).filter(|map| !map.is_empty());
        let volume = Volume {
            created_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            driver: DRIVER.to_owned(),
            labels: some(&labels),
            name,
            options: some(&wanted.options),
        };
        self.publish(&volume).during(|| format!("volume {:?}", volume.name))
    }

    /// First whole, then in its place: nobody sees a part of it.
    fn publish(&self, volume: &Volume) -> Result<(Volume, bool)> {
        let draft = self.root.join("ingest").join(format!("{VOLUME}{}", record::unique_name()));
        // A process with this id may have left one when the host went down; nobody alive has this name.
        forget(&draft)?;
        make_private(&draft)?;
        let made = (|| {
            let data = draft.join(DATA);
            fs::create_dir(&data)?;
            fs::set_permissions(&data, fs::Permissions::from_mode(0o755))?;
            record::write(&draft.join(RECORD), volume)
        })();
        let moved = made.and_then(|()| {
            let place = self.folder(&volume.name);
            match rustix::fs::renameat_with(CWD, &draft, CWD, &place, RenameFlags::NOREPLACE) {
                Ok(()) => File::open(self.all())
                    .and_then(|all| all.sync_all())
                    .map(|()| true)
                    .during(|| "fsync".into()),
                // Somebody else was quicker.
                Err(Errno::EXIST) => Ok(false),
                Err(errno) => Err(errno).during(|| format!("rename to {place:?}")),
            }
        });
        match moved {
            Ok(true) => {
                event::volume(&self.state, "create", &volume.name, &[("driver", DRIVER)]);
                Ok((volume.clone(), true))
            }
            Ok(false) => {
                forget(&draft)?;
                let known = self.get(&volume.name)?.ok_or_else(|| volume::missing(&volume.name))?;
                Ok((known, false))
            }
            Err(error) => Err(match forget(&draft) {
                Ok(()) => error,
                Err(clean_up) => error.and(&clean_up),
            }),
        }
    }

    /// Names of all volumes, in order.
    ///
    /// # Errors
    /// The system's reason.
    pub fn names(&self) -> Result<Vec<String>> {
        let words = || format!("read {:?}", self.all());
        let mut names = Vec::new();
        for entry in fs::read_dir(self.all()).during(words)? {
            let name = entry.during(words)?.file_name().to_string_lossy().into_owned();
            names.extend(volume::check_name(&name).is_ok().then_some(name));
        }
        names.sort();
        Ok(names)
    }

    /// All volumes, by their names.
    ///
    /// # Errors
    /// A damaged record, or the system's reason.
    pub fn list(&self) -> Result<Vec<Volume>> {
        let mut all = Vec::new();
        for name in self.names()? {
            all.extend(self.get(&name)?);
        }
        Ok(all)
    }

    /// Writes the record of a volume that has lost it.
    ///
    /// # Errors
    /// The system's reason.
    pub(super) fn write_record(&self, volume: &Volume) -> Result<()> {
        record::write(&self.folder(&volume.name).join(RECORD), volume)
    }

    /// A volume's folder and what containers see of it, by descriptors.
    ///
    /// # Errors
    /// There is no such volume; the system's reason.
    pub(super) fn open_folders(&self, name: &str) -> Result<(OwnedFd, OwnedFd)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |path: PathBuf| match rustix::fs::open(&path, flags, Mode::empty()) {
            Err(Errno::NOENT) => Err(volume::missing(name)),
            open => open.during(|| format!("open {path:?}")),
        };
        Ok((open(self.folder(name))?, open(self.mountpoint(name))?))
    }

    /// Removes a volume, which nobody uses: the caller has closed the gate ([`Volumes::close`]) and looked.
    ///
    /// # Errors
    /// The system's reason.
    pub(super) fn remove(&self, volume: &Volume) -> Result<()> {
        let name = &volume.name;
        attach::detach_all(self, volume)?;
        let hidden = self.root.join("ingest").join(format!("gone-{}", record::unique_name()));
        let words = || format!("volume {name:?}");
        // First out of sight: nobody finds it half removed.
        match fs::rename(self.folder(name), &hidden) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(volume::missing(name)),
            result => result.during(words)?,
        }
        event::volume(&self.state, "destroy", name, &[("driver", DRIVER)]);
        forget(&hidden).during(words)?;
        let users = self.users_folder(name);
        if users.exists() { forget(&users).during(words) } else { Ok(()) }
    }

    /// Where it is told who has mounted a volume that has to be mounted: in the state folder.
    #[must_use]
    pub(super) fn users_folder(&self, name: &str) -> PathBuf {
        self.state.join("volumes").join(name)
    }
}

/// The error of a volume that containers use, in Docker's words.
pub(super) fn in_use(name: &str, users: &[String]) -> Error {
    Error::conflict(format!("remove {name}: volume is in use - [{}]", users.join(", ")))
}
