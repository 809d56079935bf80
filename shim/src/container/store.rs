//! Which containers there are, and where what is known of them lies: the only code that knows how.
//!
//! `containers/ID/` appears and goes by rename, under one lock with the names; `names/NAME` has the id in it. A name whose
//! container is not there is nobody's: a crash between the two leaves nothing that has to be mended. Two locks lie in a
//! container's folder: `lock` around each change of its two records, and `operation.lock` of who starts or removes it.
//! What ends with the host's uptime lies in the state folder, and above all the lock of its monitor.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::container::process::{ProcessId, boot_id};
use crate::container::record::Container;
use crate::container::state::{State, Status};
use crate::container::{self, ContainerId, name};
use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::monitor;
use crate::reference::is_full_id;
use crate::root::remove::forget;
use crate::runtime::Runtime;
use crate::store::folder::{Folders, make_private};
use crate::store::lease::Leases;
use crate::store::record::{self, Lock};

/// What the folder of a container in the making is called, with something unique behind it.
pub const DRAFT: &str = "container-";
/// The lock of who starts, removes or renames a container, in its folder.
const OPERATION: &str = "operation.lock";
/// How often a generated name may turn out to be taken.
const ATTEMPTS: u32 = 64;

/// All containers of a store.
#[derive(Clone, Debug)]
pub struct Containers {
    root: PathBuf,
    state: PathBuf,
}

/// A container in the making: a folder that nobody else sees, and that is a crash's leaving once it is not locked.
#[derive(Debug)]
pub struct Draft {
    /// Its name to be.
    pub id: ContainerId,
    path: PathBuf,
    _lock: File,
}

impl Draft {
    /// Where its files are to be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its lock of operations, which stays the container's when that gets its place.
    ///
    /// # Errors
    /// The system's reason.
    pub fn operation(&self) -> Result<Lock> {
        Lock::exclusive(&self.path.join(OPERATION))
    }

    /// Gives it up.
    ///
    /// # Errors
    /// The system's reason.
    pub fn discard(self) -> Result<()> {
        forget(&self.path)
    }
}

/// A container as it is found.
#[derive(Clone, Debug)]
pub struct Found {
    /// What was asked for.
    pub container: Container,
    /// What is happening.
    pub state: State,
    /// Its program runs, is started or has ended, and nobody looks after it.
    pub is_orphan: bool,
}

impl Containers {
    /// Opens the containers in these folders, and makes what is missing.
    ///
    /// # Errors
    /// The system's reason.
    pub fn open(folders: &Folders) -> Result<Containers> {
        let containers = Containers { root: folders.root().to_owned(), state: folders.state().to_owned() };
        for folder in [containers.all(), containers.root.join("names"), containers.state.join("containers")] {
            make_private(&folder)?;
        }
        make_private(&containers.root.join("ingest"))?;
        Ok(containers)
    }

    fn all(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// `--root`: images, layers, containers.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `--state`.
    #[must_use]
    pub fn state_root(&self) -> &Path {
        &self.state
    }

    /// Where a container's files are.
    #[must_use]
    pub fn folder(&self, id: &ContainerId) -> PathBuf {
        self.all().join(id.as_str())
    }

    /// Where what ends with the host's uptime is; it is there from the first start on.
    #[must_use]
    pub fn state_folder(&self, id: &ContainerId) -> PathBuf {
        self.state.join("containers").join(id.as_str())
    }

    /// A container's own OCI runtime.
    #[must_use]
    pub fn runtime(&self, container: &Container) -> Runtime {
        Runtime::new(&container.runtime_path, &self.runtime_root(&container.runtime_path))
    }

    /// Where an OCI runtime keeps its own records: each runtime has its own.
    #[must_use]
    pub fn runtime_root(&self, runtime: &Path) -> PathBuf {
        self.state.join("runtime").join(runtime.file_name().unwrap_or("runtime".as_ref()))
    }

    /// Begins a container.
    ///
    /// # Errors
    /// The system's reason.
    pub fn draft(&self) -> Result<Draft> {
        let path = self.root.join("ingest").join(format!("{DRAFT}{}", record::unique_name()));
        let words = || format!("folder {path:?}");
        // A process with this id may have left one when the host went down; nobody alive has this name.
        forget(&path).during(words)?;
        // Nobody sweeps between the folder's birth and its lock.
        let _gate = Leases::open(&self.root)?.keep_open()?;
        make_private(&path)?;
        let lock = File::open(&path).during(words)?;
        lock.lock().during(words)?;
        Ok(Draft { id: ContainerId::random()?, path, _lock: lock })
    }

    /// Gives a container its name and its place; an empty name is replaced by a generated one. `lasting` has it
    /// survive a crash of the host.
    ///
    /// # Errors
    /// A name that another one has, in Docker's words; the system's reason. The draft is there still.
    pub fn publish(&self, draft: &Draft, mut container: Container, lasting: bool) -> Result<Container> {
        let _lock = self.lock_all()?;
        if container.name.is_empty() {
            container.name = self.generate_name()?;
        } else {
            self.check_name(&container.name)?;
        }
        let words = || format!("container {}", draft.id);
        replace(&draft.path.join("container.json"), &container, lasting)?;
        replace(&draft.path.join("state.json"), &State::default(), lasting)?;
        // First the name: one without a container is nobody's.
        let name = self.name_path(&container.name);
        write_name(&name, draft.id.as_str(), lasting)?;
        let folder = self.folder(&draft.id);
        if let Err(error) = fs::rename(&draft.path, &folder) {
            let _ = fs::remove_file(&name);
            return Err(error).during(words);
        }
        if lasting {
            File::open(self.all()).and_then(|all| all.sync_all()).during(words)?;
        }
        Ok(container)
    }

    /// A container's record, if there is such a container.
    ///
    /// # Errors
    /// A damaged record, or the system's reason.
    pub fn get(&self, id: &ContainerId) -> Result<Option<Container>> {
        record::read(&self.folder(id).join("container.json"))
    }

    /// What is recorded of what happens to it; nothing has, where there is no record.
    ///
    /// # Errors
    /// A damaged record, or the system's reason.
    pub fn state(&self, id: &ContainerId) -> Result<State> {
        Ok(record::read(&self.folder(id).join("state.json"))?.unwrap_or_default())
    }

    /// Ids of all containers, in no order.
    ///
    /// # Errors
    /// The system's reason.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        let words = || format!("read {:?}", self.all());
        let mut ids = Vec::new();
        for entry in fs::read_dir(self.all()).during(words)? {
            ids.extend(ContainerId::parse(&entry.during(words)?.file_name().to_string_lossy()).ok());
        }
        Ok(ids)
    }

    /// Finds a container by its name, its id, or the beginning of an id that no other one has.
    ///
    /// # Errors
    /// None, or more than one, in Docker's words.
    pub fn find(&self, word: &str) -> Result<ContainerId> {
        let missing = || container::missing(word);
        if is_full_id(word) {
            let id = ContainerId::parse(word)?;
            if self.folder(&id).join("container.json").exists() {
                return Ok(id);
            }
        }
        if let Ok(name) = name::parse(word)
            && let Some(id) = self.of_name(name)?
        {
            return Ok(id);
        }
        if word.is_empty() || !word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(missing());
        }
        let mut ids = self.ids()?.into_iter().filter(|id| id.as_str().starts_with(word));
        match (ids.next(), ids.next()) {
            (Some(id), None) => Ok(id),
            (None, _) => Err(missing()),
            _ => Err(Error::usage(format!("multiple IDs found with provided prefix: {word}"))),
        }
    }

    /// A container with what is happening to it, as the kernel agrees. What nobody has recorded is recorded now; one that
    /// nobody looks after gets a monitor again, if that is possible.
    ///
    /// # Errors
    /// A damaged record, or the system's reason.
    pub fn observe(&self, id: &ContainerId) -> Result<Option<Found>> {
        match self.look(id)? {
            // Whoever asks wants to know of the container, and of its monitor only if that is what he asks for.
            Some(found) if found.is_orphan => match monitor::adopt(self, id) {
                Ok(()) => self.look(id),
                Err(_) => Ok(Some(found)),
            },
            found => Ok(found),
        }
    }

    /// The same without a monitor for an orphan: only who takes it over finds out what has become of it. What the end of
    /// the host has ended is recorded.
    fn look(&self, id: &ContainerId) -> Result<Option<Found>> {
        let Some(container) = self.get(id)? else { return Ok(None) };
        let state = self.state(id)?;
        let settled = |container, state| Ok(Some(Found { container, state, is_orphan: false }));
        if !state.is_open() || state.monitor.is_some_and(ProcessId::is_alive) || self.is_supervised(id)? {
            return settled(container, state);
        }
        // Its monitor may have recorded the end and gone since the record was read.
        let state = self.state(id)?;
        if !state.is_open() {
            return settled(container, state);
        }
        let boot = boot_id()?;
        if state.boot == boot {
            let is_orphan = !self.is_supervised(id)?;
            return Ok(Some(Found { container, state, is_orphan }));
        }
        let lasting = !container.host_config.auto_remove;
        let state = self.update_state(id, lasting, |state| {
            // Not if another monitor has begun meanwhile.
            if state.is_open() && state.boot != boot {
                if state.status.has_process() || state.status == Status::Restarting {
                    state.exit_code = 255;
                    state.status = Status::Exited;
                    state.finished_at = jiff::Timestamp::now().to_string();
                }
                state.process = None;
                state.monitor = None;
                state.is_starting = false;
                state.networks.clear();
                state.ports.clear();
            }
            state.clone()
        })?;
        settled(container, state)
    }

    /// Does a monitor look after it? Its lock is the kernel's answer.
    ///
    /// # Errors
    /// The system's reason.
    pub fn is_supervised(&self, id: &ContainerId) -> Result<bool> {
        self.is_locked(id, "monitor.lock")
    }

    /// May its program run at this moment? It has a monitor, a runtime that is at work to start it, or a process that
    /// nobody looks after. What a container that may not has of a network is free.
    ///
    /// # Errors
    /// A damaged record, or the system's reason.
    pub fn may_run(&self, id: &ContainerId) -> Result<bool> {
        if self.is_supervised(id)? || self.is_locked(id, "start.lock")? {
            return Ok(true);
        }
        let state = self.state(id)?;
        Ok(state.process.is_some_and(ProcessId::is_alive) && state.boot == boot_id()?)
    }

    /// Has anybody this lock in its state folder?
    fn is_locked(&self, id: &ContainerId, name: &str) -> Result<bool> {
        let path = self.state_folder(id).join(name);
        let words = || format!("lock {path:?}");
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            open => open.during(words)?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error).during(words),
        }
    }

    /// Changes what is recorded of what happens, and returns what `change` does. `lasting` has it survive a crash of
    /// the host.
    ///
    /// # Errors
    /// There is no such container; a damaged record; the system's reason.
    pub fn update_state<T>(
        &self,
        id: &ContainerId,
        lasting: bool,
        change: impl FnOnce(&mut State) -> T,
    ) -> Result<T> {
        let _lock = self.lock(id)?;
        let before = self.state(id)?;
        let mut state = before.clone();
        let result = change(&mut state);
        if state != before {
            // Whoever removes it takes the folder away at any moment.
            replace(&self.folder(id).join("state.json"), &state, lasting).map_err(|error| gone(error, id))?;
        }
        Ok(result)
    }

    /// Changes a container's record.
    ///
    /// # Errors
    /// As for [`Containers::update_state`].
    pub fn update(&self, id: &ContainerId, change: impl FnOnce(&mut Container)) -> Result<()> {
        let _lock = self.lock(id)?;
        let mut container = self.get(id)?.ok_or_else(|| container::missing(id))?;
        change(&mut container);
        record::write(&self.folder(id).join("container.json"), &container).map_err(|error| gone(error, id))
    }

    /// Keeps others from starting, removing or renaming it until the lock is dropped; it may have gone meanwhile.
    ///
    /// # Errors
    /// There is no such container; the system's reason.
    pub fn operation(&self, id: &ContainerId) -> Result<Lock> {
        let lock = Lock::exclusive(&self.folder(id).join(OPERATION)).map_err(|error| gone(error, id))?;
        match self.get(id)? {
            Some(_) => Ok(lock),
            None => Err(container::missing(id)),
        }
    }

    /// The same if nobody else does at this moment; None otherwise.
    ///
    /// # Errors
    /// As for [`Containers::operation`].
    pub fn try_operation(&self, id: &ContainerId) -> Result<Option<Lock>> {
        let path = self.folder(id).join(OPERATION);
        let lock = Lock::try_exclusive(&path).map_err(|error| gone(error, id))?;
        match self.get(id)? {
            Some(_) => Ok(lock),
            None => Err(container::missing(id)),
        }
    }

    /// Gives a container another name; its former one.
    ///
    /// # Errors
    /// A name that another one has; the system's reason.
    pub fn rename(&self, id: &ContainerId, new: &str) -> Result<String> {
        let _lock = self.lock_all()?;
        let old = self.get(id)?.ok_or_else(|| container::missing(id))?.name;
        if old == new {
            return Err(Error::usage("Renaming a container with the same name as its current name"));
        }
        self.check_name(new)?;
        // At any moment the record's name leads here.
        write_name(&self.name_path(new), id.as_str(), true)?;
        self.update(id, |container| new.clone_into(&mut container.name))?;
        fs::remove_file(self.name_path(&old)).during(|| format!("name {old:?}"))?;
        Ok(old)
    }

    /// Forgets a container: its name is free, and its folder, in which nothing may be mounted any more, is removed.
    ///
    /// # Errors
    /// The system's reason.
    pub fn remove(&self, id: &ContainerId) -> Result<()> {
        let words = || format!("container {id}");
        // First out of sight: nobody finds it half removed.
        let hidden = self.root.join("ingest").join(format!("gone-{}", record::unique_name()));
        {
            let _lock = self.lock_all()?;
            let name = self.get(id).ok().flatten().map(|container| container.name);
            match fs::rename(self.folder(id), &hidden) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                result => result.during(words)?,
            }
            if let Some(name) = name
                && fs::read(self.name_path(&name)).is_ok_and(|text| text == id.as_str().as_bytes())
            {
                fs::remove_file(self.name_path(&name)).during(words)?;
            }
        }
        forget(&hidden).during(words)?;
        forget(&self.state_folder(id)).during(words)
    }

    /// What containers lead to: layers by chain id, and images' configurations.
    ///
    /// # Errors
    /// A damaged record, or the system's reason: who cannot know them all may not take any for garbage.
    pub fn held(&self) -> Result<BTreeSet<Digest>> {
        let mut held = BTreeSet::new();
        for id in self.ids()? {
            if let Some(container) = self.get(&id)? {
                held.extend(container.layers);
                held.insert(container.image);
            }
        }
        Ok(held)
    }

    /// Which container has this name.
    ///
    /// # Errors
    /// What is no id; the system's reason.
    pub fn of_name(&self, name: &str) -> Result<Option<ContainerId>> {
        let path = self.name_path(name);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let id = ContainerId::parse(&text).during(|| format!("read {path:?}"))?;
                Ok(self.folder(&id).join("container.json").exists().then_some(id))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).during(|| format!("read {path:?}")),
        }
    }

    /// Frees a name that is of no container; false if it is of one.
    ///
    /// # Errors
    /// The system's reason.
    pub fn forget_name(&self, name: &str) -> Result<bool> {
        let _lock = self.lock_all()?;
        if name::parse(name).is_ok() && self.of_name(name)?.is_some() {
            return Ok(false);
        }
        match fs::remove_file(self.name_path(name)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            removed => removed.map(|()| true).during(|| format!("name {name:?}")),
        }
    }

    /// Has a container's name lead to it again; it gets another one where somebody else has it by now. False if all is
    /// well.
    ///
    /// # Errors
    /// The system's reason.
    pub fn restore_name(&self, id: &ContainerId) -> Result<bool> {
        let _lock = self.lock_all()?;
        let Some(container) = self.get(id)? else { return Ok(false) };
        match self.of_name(&container.name)? {
            Some(known) if known == *id => return Ok(false),
            None => write_name(&self.name_path(&container.name), id.as_str(), true)?,
            Some(_) => {
                let name = self.generate_name()?;
                write_name(&self.name_path(&name), id.as_str(), true)?;
                self.update(id, |container| container.name = name)?;
            }
        }
        Ok(true)
    }

    /// Takes away names that were being written when their command was killed.
    ///
    /// # Errors
    /// The system's reason.
    pub fn sweep_names(&self) -> Result<()> {
        // Nobody alive is writing one.
        let _lock = self.lock_all()?;
        let names = self.root.join("names");
        let words = || format!("read {names:?}");
        for entry in fs::read_dir(&names).during(words)? {
            let entry = entry.during(words)?;
            if entry.file_name().to_string_lossy().starts_with(".new-") {
                let path = entry.path();
                fs::remove_file(&path).during(|| format!("remove {path:?}"))?;
            }
        }
        Ok(())
    }

    fn check_name(&self, name: &str) -> Result<()> {
        match self.of_name(name)? {
            None => Ok(()),
            Some(id) => Err(Error::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". \
                 You have to remove (or rename) that container to be able to reuse that name."
            ))),
        }
    }

    fn generate_name(&self) -> Result<String> {
        for attempt in 0..ATTEMPTS {
            let random = u64::from_str_radix(&ContainerId::random()?.as_str()[..16], 16).unwrap_or_default();
            let name = name::generate(random, attempt);
            if self.of_name(&name)?.is_none() {
                return Ok(name);
            }
        }
        // With so many containers, an id is as good a name.
        Ok(ContainerId::random()?.as_str()[..12].to_owned())
    }

    fn name_path(&self, name: &str) -> PathBuf {
        self.root.join("names").join(name)
    }

    fn lock_all(&self) -> Result<Lock> {
        Lock::exclusive(&self.root.join("containers.lock"))
    }

    /// Around a change of its records.
    fn lock(&self, id: &ContainerId) -> Result<Lock> {
        Lock::exclusive(&self.folder(id).join("lock")).map_err(|error| gone(error, id))
    }
}

/// A container whose folder is not there.
fn gone(error: Error, id: &ContainerId) -> Error {
    match error.kind() {
        Kind::NotFound => container::missing(id),
        _ => error,
    }
}

fn replace<T: serde::Serialize>(path: &Path, record: &T, lasting: bool) -> Result<()> {
    if lasting { record::write(path, record) } else { record::write_fast(path, record) }
}

/// By rename: a name is whole or not there.
fn write_name(path: &Path, id: &str, lasting: bool) -> Result<()> {
    let words = || format!("name {path:?}");
    let written = if lasting { record::write_bytes } else { record::write_bytes_fast };
    written(path, id.as_bytes()).during(words)
}

#[cfg(test)]
#[path = "store_tests.rs"]
pub(crate) mod tests;
