//! A volume in use: what its options say is mounted on its folder from the first container that has it until the last.
//!
//! Who has it mounted is a file in the state folder for each container, written and taken away under the volume's lock. A
//! file counts as long as the container may run: it is looked after, a runtime is at work to start it, or its program lives;
//! what a crash has left counts for nobody, so that no number has to be right. Everybody who uses a volume first goes on with what a killed command has begun
//! (`fill`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{IpAddr, ToSocketAddrs as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change, mount_remount, unmount,
};

use crate::container::ContainerId;
use crate::container::store::Containers;
use crate::error::{Context, Error, Result};
use crate::store::folder::{make_private, names};
use crate::unpack::c_string;
use crate::volume::fill::Place;
use crate::volume::options::{self, Filesystem};
use crate::volume::store::Volumes;
use crate::volume::{self, Volume};

/// Fills a volume, which the caller keeps from being removed, with what `root` has at `path`. See [`Place::fill`].
///
/// # Errors
/// The system's reason; nothing was put into the volume then.
pub fn fill(
    volumes: &Volumes,
    containers: &Containers,
    volume: &Volume,
    (root, path): (BorrowedFd, &str),
    lasting: bool,
) -> Result<()> {
    let name = &volume.name;
    let _lock = volumes.lock(name)?;
    if !volume.is_mount() {
        let (beside, data) = volumes.open_folders(name)?;
        return Place { data: &data, beside: &beside }.fill(root, path, lasting);
    }
    put(volumes, volume)?;
    let filled = volumes.open_folders(name).and_then(|(_, data)| {
        let filled = Place { data: &data, beside: &data }.fill(root, path, lasting);
        drop(data);
        filled
    });
    match (filled, take_away_unused(volumes, containers, volume)) {
        (Err(error), Err(clean_up)) => Err(error.and(&clean_up)),
        (filled, taken) => filled.and(taken),
    }
}

/// Makes a volume ready for a container that starts.
///
/// # Errors
/// There is no such volume; what cannot be mounted, in Docker's words; the system's reason.
pub fn attach(volumes: &Volumes, name: &str, container: &ContainerId) -> Result<()> {
    let volume = volumes.get(name)?.ok_or_else(|| volume::missing(name))?;
    let (beside, data) = volumes.open_folders(name)?;
    if !volume.is_mount() {
        let place = Place { data: &data, beside: &beside };
        if place.is_unsettled()? {
            let _lock = volumes.lock(name)?;
            place.settle()?;
        }
        return Ok(());
    }
    drop(data);
    let _lock = volumes.lock(name)?;
    let folder = volumes.users_folder(name);
    make_private(&folder)?;
    let user = folder.join(container.as_str());
    File::create(&user).during(|| format!("create {user:?}"))?;
    let put = put(volumes, &volume).and_then(|()| {
        let (_, data) = volumes.open_folders(name)?;
        Place { data: &data, beside: &data }.settle()
    });
    put.inspect_err(|_| drop(fs::remove_file(&user)))
}

/// A container does not have this volume mounted any more: the last one has its mount taken away. Nothing where it did not.
///
/// # Errors
/// The system's reason.
pub fn release(
    volumes: &Volumes,
    containers: &Containers,
    name: &str,
    container: &ContainerId,
) -> Result<()> {
    let user = volumes.users_folder(name).join(container.as_str());
    if !user.exists() {
        return Ok(());
    }
    let Some(volume) = volumes.get(name)? else { return Ok(()) };
    let _lock = volumes.lock(name)?;
    match fs::remove_file(&user) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).during(|| format!("remove {user:?}"));
        }
        _ => {}
    }
    take_away_unused(volumes, containers, &volume)
}

/// Takes away all that is mounted on a volume's folder, in which nobody has any part.
///
/// # Errors
/// The system's reason.
pub(super) fn detach_all(volumes: &Volumes, volume: &Volume) -> Result<()> {
    while volume.is_mount() && is_mounted(volumes, &volume.name)? {
        take_away(&volumes.mountpoint(&volume.name))?;
    }
    Ok(())
}

/// Is a volume mounted that no container uses? What crashes leave.
///
/// # Errors
/// The system's reason.
pub(super) fn is_useless(volumes: &Volumes, containers: &Containers, volume: &Volume) -> Result<bool> {
    Ok(volume.is_mount()
        && is_mounted(volumes, &volume.name)?
        && !is_used(volumes, containers, &volume.name)?)
}

/// Takes its mount away if nobody uses it; the caller has the volume's lock.
pub(super) fn take_away_unused(volumes: &Volumes, containers: &Containers, volume: &Volume) -> Result<()> {
    if is_used(volumes, containers, &volume.name)? {
        return Ok(());
    }
    detach_all(volumes, volume)
}

fn take_away(path: &Path) -> Result<()> {
    // Lazily: a command may look into it at this moment, and containers have mounts of their own.
    unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).during(|| format!("unmount {path:?}"))
}

fn is_used(volumes: &Volumes, containers: &Containers, name: &str) -> Result<bool> {
    for id in names(&volumes.users_folder(name))? {
        let Ok(id) = ContainerId::parse(&id) else { continue };
        if containers.may_run(&id)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Its folder and what is above it are on different mounts (statx(2), STATX_MNT_ID).
fn is_mounted(volumes: &Volumes, name: &str) -> Result<bool> {
    let mount_id = |path: PathBuf| {
        let mask = rustix::fs::StatxFlags::MNT_ID;
        rustix::fs::statx(rustix::fs::CWD, &path, AtFlags::SYMLINK_NOFOLLOW, mask)
            .map(|stat| stat.stx_mnt_id)
            .during(|| format!("statx {path:?}"))
    };
    Ok(mount_id(volumes.folder(name))? != mount_id(volumes.mountpoint(name))?)
}

/// Mounts what a volume's options say, unless that is done.
fn put(volumes: &Volumes, volume: &Volume) -> Result<()> {
    let empty = BTreeMap::new();
    let options = volume.options.as_ref().unwrap_or(&empty);
    let Some(wanted) = options::filesystem(options) else { return Ok(()) };
    if is_mounted(volumes, &volume.name)? {
        return Ok(());
    }
    let path = volumes.mountpoint(&volume.name);
    let result = mounted(&wanted, &path);
    result.during(|| {
        let data = options::without_secrets(&wanted.data);
        let flags = if wanted.flags.is_empty() {
            String::new()
        } else {
            format!(", flags: {:#x}", wanted.flags.bits())
        };
        let data = if data.is_empty() { String::new() } else { format!(", data: {data}") };
        format!("failed to mount local volume: mount {}:{}{flags}{data}", wanted.device, path.display())
    })
}

fn mounted(wanted: &Filesystem, path: &Path) -> Result<()> {
    // The folder is the caller's own: nobody puts a link there.
    let (flags, device) = (wanted.flags, wanted.device.as_str());
    if flags.contains(MountFlags::BIND) {
        if flags.contains(MountFlags::REC) {
            mount_bind_recursive(device, path)?;
        } else {
            mount_bind(device, path)?;
        }
    } else {
        let data = c_string(with_addresses(&wanted.kind, device, &wanted.data)?)?;
        mount(device, path, wanted.kind.as_str(), flags, &*data)?;
    }
    let described = (|| {
        let rest = flags.difference(MountFlags::BIND | MountFlags::REC);
        if flags.contains(MountFlags::BIND) && !rest.is_empty() {
            mount_remount(path, MountFlags::BIND | rest, c"")?;
        }
        wanted.propagation.iter().try_for_each(|propagation| mount_change(path, *propagation))
    })();
    described.map_err(|errno| {
        let error = Error::from(errno);
        match take_away(path) {
            Ok(()) => error,
            Err(clean_up) => error.and(&clean_up),
        }
    })
}

/// The kernel takes addresses of file servers, and people name them: `addr=storage.example`, or `//storage.example/data`
/// of CIFS, whose server keeps its name.
fn with_addresses(kind: &str, device: &str, data: &str) -> Result<String> {
    if !matches!(kind, "nfs" | "nfs4" | "cifs" | "smb3") {
        return Ok(data.to_owned());
    }
    let mut words: Vec<String> = Vec::new();
    for word in data.split(',').filter(|word| !word.is_empty()) {
        words.push(match word.strip_prefix("addr=") {
            Some(name) if name.parse::<IpAddr>().is_err() => format!("addr={}", address(name)?),
            _ => word.to_owned(),
        });
    }
    let is_told = words.iter().any(|word| word.starts_with("addr=") || word.starts_with("ip="));
    if let Some(server) = server_of_cifs(kind, device).filter(|_| !is_told) {
        words.push(format!("addr={}", address(server)?));
    }
    Ok(words.join(","))
}

/// The name of `//NAME/SHARE`.
fn server_of_cifs<'a>(kind: &str, device: &'a str) -> Option<&'a str> {
    let server = device.strip_prefix("//")?.split(['/', '\\']).next()?;
    (matches!(kind, "cifs" | "smb3") && !server.is_empty() && server.parse::<IpAddr>().is_err())
        .then_some(server)
}

fn address(name: &str) -> Result<IpAddr> {
    let words = || format!("error resolving passed in network volume address: lookup {name}");
    let found: Vec<IpAddr> = (name, 0).to_socket_addrs().during(words)?.map(|found| found.ip()).collect();
    // As Go's resolver has it.
    let best = found.iter().find(|address| address.is_ipv4()).or(found.first());
    best.copied().ok_or_else(|| Error::not_found("no address")).during(words)
}

/// A file or folder in a volume, as the volume is at this moment: what is in it is the containers', and no link leads out.
///
/// # Errors
/// Nothing there, in Docker's words; a link that leads out; the system's reason.
pub fn open_subpath(volumes: &Volumes, name: &str, subpath: &str) -> Result<OwnedFd> {
    let (_, data) = volumes.open_folders(name)?;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let words = || format!("cannot access path {}", volumes.mountpoint(name).join(subpath).display());
    rustix::fs::openat2(data.as_fd(), subpath, flags, Mode::empty(), inside).during(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::folder::Folders;
    use crate::store::scratch::Scratch;

    #[test]
    fn a_volume_is_used_while_a_runtime_is_at_work_to_start_its_container() {
        let scratch = Scratch::new();
        let folders = Folders::open(Some(&scratch.join("root")), Some(&scratch.join("state"))).unwrap();
        let containers = Containers::open(&folders).unwrap();
        let volumes = Volumes::open(folders.root(), folders.state()).unwrap();
        let id = ContainerId::random().unwrap();
        let is_used = || is_used(&volumes, &containers, "data").unwrap();
        assert!(!is_used());
        let users = volumes.users_folder("data");
        fs::create_dir_all(&users).unwrap();
        File::create(users.join(id.as_str())).unwrap();
        // A crash has left that: nobody looks after the container.
        make_private(&containers.state_folder(&id)).unwrap();
        assert!(!is_used());
        for lock in ["start.lock", "monitor.lock"] {
            let lock = File::create(containers.state_folder(&id).join(lock)).unwrap();
            lock.lock().unwrap();
            assert!(is_used());
            drop(lock);
            assert!(!is_used());
        }
    }

    #[test]
    fn servers_that_are_named_have_addresses() {
        let of = |kind: &str, device: &str, data: &str| with_addresses(kind, device, data).unwrap();
        assert_eq!(of("nfs", ":/x", "addr=10.0.0.1,rw"), "addr=10.0.0.1,rw");
        assert_eq!(of("tmpfs", "x", "addr=localhost"), "addr=localhost");
        let local = address("localhost").unwrap();
        assert_eq!(of("nfs", ":/x", "addr=localhost,nfsvers=4"), format!("addr={local},nfsvers=4"));
        assert_eq!(of("cifs", "//localhost/data", "user=me"), format!("user=me,addr={local}"));
        assert_eq!(of("cifs", "//localhost/data", "ip=10.0.0.1"), "ip=10.0.0.1");
        assert_eq!(of("cifs", "//10.0.0.1/data", ""), "");
    }

    #[test]
    fn a_name_that_nobody_knows_is_told() {
        let error = with_addresses("nfs", ":/x", "addr=nobody.invalid").unwrap_err().to_string();
        assert!(
            error.starts_with("error resolving passed in network volume address: lookup nobody.invalid: ")
        );
    }
}
