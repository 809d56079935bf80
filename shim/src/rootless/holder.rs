//! The namespaces that an ordinary user's containers live in: a user namespace, in which root is the user, and a mount
//! namespace, where their roots are mounted (user_namespaces(7), mount_namespaces(7)).
//!
//! A process that does nothing, the holder, keeps them while the host is up; every command on containers joins them, and
//! so do monitors and runtimes, which commands start. Which process it is, is recorded in the state folder with the time
//! of its start; where it was killed, any monitor's namespaces are the same.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;

use rustix::mount::{MountPropagationFlags, mount_change};
use serde::{Deserialize, Serialize};
use sys::process::Clone;

use super::{CLONE_NEWUSER, ENTERED, Granted};
use crate::container::process::{ProcessId, boot_id};
use crate::container::state::State;
use crate::error::{Context, Error, Kind, Result};
use crate::own_program;
use crate::store::folder::Folders;
use crate::store::record::{self, Lock};

/// The hidden command that is the holder.
pub const VERB: &str = "hold";

const CLONE_NEWNS: u64 = 0x2_0000;
const RECORD: &str = "namespaces.json";

#[derive(Serialize, Deserialize)]
struct Record {
    holder: ProcessId,
    boot: String,
}

/// User and mount namespace.
struct Namespaces {
    user: File,
    mount: File,
}

impl Namespaces {
    /// Those of a process; None if it has ended.
    fn of(process: ProcessId) -> Result<Option<Namespaces>> {
        let open = |kind: &str| {
            let path = format!("/proc/{}/ns/{kind}", process.pid);
            match File::open(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                open => open.map(Some).during(|| format!("open {path:?}")),
            }
        };
        let (Some(user), Some(mount)) = (open("user")?, open("mnt")?) else { return Ok(None) };
        // Alive after they were opened: so they were of this process and no later one.
        Ok(process.is_alive().then_some(Namespaces { user, mount }))
    }

    fn join(self) -> Result<()> {
        let folder = std::env::current_dir().during(|| "getcwd".into())?;
        let failed = |error: sys::Error| Error::new(Kind::Denied, format!("the user's namespaces: {error}"));
        let kind = |flag: u64| i32::try_from(flag).unwrap_or_default();
        sys::process::setns(self.user.as_fd(), kind(CLONE_NEWUSER)).map_err(failed)?;
        sys::process::setns(self.mount.as_fd(), kind(CLONE_NEWNS)).map_err(failed)?;
        // Joining leads to the root folder, and paths on the command line count from here.
        std::env::set_current_dir(&folder).during(|| format!("chdir {folder:?}"))?;
        let _ = ENTERED.set(());
        Ok(())
    }
}

/// Has this process, which must have no other thread, go on in the namespaces of the user's containers. Where there are
/// none, they are made if `make` says so, or if a container is to be taken over by whoever looks at it; otherwise nothing is
/// done, as no container runs: false then.
///
/// # Errors
/// No user namespaces for users here; what newuidmap and newgidmap say; the system's reason.
pub fn join(folders: &Folders, make: bool) -> Result<bool> {
    let state = folders.state();
    let _lock = Lock::exclusive(&state.join("namespaces.lock"))?;
    let boot = boot_id()?;
    let known = record::read::<Record>(&state.join(RECORD))?.filter(|record| record.boot == boot);
    let mut found = match known {
        Some(record) => Namespaces::of(record.holder)?,
        None => None,
    };
    let mut make = make;
    if found.is_none() {
        let (of_monitors, is_left) = of_monitors(folders.root(), &boot)?;
        found = of_monitors;
        // All of it was killed, and a monitor that takes over has to be where its container may run again.
        make |= is_left;
    }
    if found.is_none() && make {
        let holder = hold(state)?;
        record::write_fast(&state.join(RECORD), &Record { holder, boot })?;
        found = Namespaces::of(holder)?;
    }
    match found {
        Some(namespaces) => namespaces.join().map(|()| true),
        None if make => Err(Error::new(Kind::System, "the holder of the user's namespaces has ended")),
        None => Ok(false),
    }
}

/// The namespaces of a monitor, if one is there; and if there is none, does any record say that something goes on?
fn of_monitors(root: &Path, boot: &str) -> Result<(Option<Namespaces>, bool)> {
    let mut is_left = false;
    let entries = fs::read_dir(root.join("containers")).into_iter().flatten().flatten();
    for entry in entries {
        let state = record::read::<State>(&entry.path().join("state.json"))?;
        let Some(state) = state.filter(|state| state.boot == boot && state.is_open()) else { continue };
        if let Some(monitor) = state.monitor
            && let Some(namespaces) = Namespaces::of(monitor)?
        {
            return Ok((Some(namespaces), false));
        }
        is_left = true;
    }
    Ok((None, is_left))
}

/// Makes the namespaces, and the process that holds them.
fn hold(state: &Path) -> Result<ProcessId> {
    let granted = Granted::read()?;
    let failed = |error: sys::Error| Error::new(Kind::Denied, format!("user namespace: {error}"));
    sys::process::heed_children().map_err(failed)?;
    let (mut ready, go) = std::io::pipe().during(|| "pipe".into())?;
    let (mut told, tell) = std::io::pipe().during(|| "pipe".into())?;
    match sys::process::clone3(CLONE_NEWUSER | CLONE_NEWNS, None).map_err(failed)? {
        Clone::Child => {
            drop((go, told));
            if ready.read_exact(&mut [0]).is_ok() {
                let error = become_holder(state);
                let _ = (&tell).write_all(error.to_string().as_bytes());
            }
            sys::process::exit_now(1);
        }
        Clone::Parent { pid, pidfd: _ } => {
            drop((ready, tell));
            granted.write(pid)?;
            let mut go = go;
            go.write_all(&[1]).during(|| "pipe".into())?;
            drop(go);
            // It closes when the holder is executed.
            let mut reason = String::new();
            told.read_to_string(&mut reason).during(|| "pipe".into())?;
            if !reason.is_empty() {
                return Err(Error::new(Kind::Denied, reason));
            }
            ProcessId::of(pid).ok_or_else(|| Error::new(Kind::System, "the holder has ended"))
        }
    }
}

/// In the clone: nothing of the caller's is kept, neither its terminal, nor its memory, nor its command line. Why not, if
/// not.
fn become_holder(state: &Path) -> Error {
    // What the host mounts later is seen, and nothing that is mounted here is seen by the host.
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    if let Err(errno) = mount_change("/", flags) {
        return Error::from(errno);
    }
    if let Err(errno) = rustix::process::setsid() {
        return Error::from(errno);
    }
    let mut command = own_program::command();
    command.arg("--state").arg(state).arg(VERB);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    sys::spawn::inherit_nothing(&mut command);
    Error::from(command.exec())
}

/// The holder: it waits for its end.
pub fn wait() -> ! {
    loop {
        std::thread::park();
    }
}
