//! `mounts`: Docker's, changed by flags, and those of the user. Pure.

use crate::bundle::defaults;
use crate::bundle::host::Host;
use crate::bundle::options::{Options, SharedMemory, Whose};
use crate::bundle::process::clean;
use crate::bundle::spec::Mount;
use crate::error::{Error, Result};

/// All of them, in the order in which they are made: what lies deeper comes later.
///
/// # Errors
/// Two mounts of the user's at one place, in Docker's words, or one that replaces the root.
pub fn mounts(options: &Options, host: &Host) -> Result<Vec<Mount>> {
    let mut own: Vec<Mount> = Vec::new();
    for mount in &options.mounts {
        let destination = clean(&mount.destination);
        if destination == "/" {
            return Err(Error::invalid("invalid specification: destination can't be '/'"));
        }
        if own.iter().any(|known| known.destination == destination) {
            return Err(Error::invalid(format!("Duplicate mount point: {destination}")));
        }
        own.push(Mount { destination, ..mount.clone() });
    }
    let mut all = usual(options, host);
    // One of the user's takes the place of Docker's, /proc and /sys too, and hides those below it.
    let is_hidden = |mount: &Mount| {
        own.iter().any(|user| match mount.destination.strip_prefix(user.destination.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        })
    };
    all.retain(|mount| !is_hidden(mount));
    // Files of our own give way to the user's at the same place, and stand in a folder of his otherwise (as Docker).
    let files = options.files.iter().filter(|file| own.iter().all(|own| own.destination != file.destination));
    own.extend(files.cloned().collect::<Vec<_>>());
    // By depth and otherwise as given, so that no mount hides one that was asked for (as Docker sorts them).
    own.sort_by_key(|mount| mount.destination.matches('/').count());
    all.extend(own);
    Ok(all)
}

fn usual(options: &Options, host: &Host) -> Vec<Mount> {
    let mut mounts = defaults::mounts();
    let size = options.shm_size.unwrap_or(defaults::SHM_SIZE);
    mounts.push(Mount {
        destination: "/dev/shm".to_owned(),
        kind: "tmpfs".to_owned(),
        source: "shm".to_owned(),
        options: ["nosuid", "noexec", "nodev", "mode=1777"].map(str::to_owned).to_vec(),
    });
    if let Some(shm) = mounts.last_mut() {
        shm.options.push(format!("size={size}"));
    }
    let bind = |destination: &str, options: &[&str]| Mount {
        destination: destination.to_owned(),
        kind: "bind".to_owned(),
        source: destination.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    };
    for mount in &mut mounts {
        let writable = options.privileged && matches!(mount.kind.as_str(), "sysfs" | "cgroup");
        mount.options.retain(|option| !(writable && option == "ro"));
        match (mount.destination.as_str(), &host.user) {
            // The group of terminals has to be one that there is inside.
            ("/dev/pts", Some(user)) if !user.has_group(5) => {
                mount.options.retain(|option| option != "gid=5");
            }
            // sysfs shows a network: it cannot be mounted by who does not own the network namespace.
            ("/sys", Some(_)) if options.namespaces.network == Whose::Host => {
                *mount = bind("/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);
            }
            // Likewise procfs, which shows processes.
            ("/proc", Some(_)) if options.namespaces.pid == Whose::Host => {
                *mount = bind("/proc", &["rbind", "nosuid", "noexec", "nodev"]);
            }
            // Where the host has mounted none, a mount of the container's own shows the host's queues too.
            ("/dev/mqueue", _) if !host.has_mqueue => {}
            ("/dev/shm" | "/dev/mqueue", _) if options.namespaces.ipc == Whose::Host => {
                *mount = bind(&mount.destination.clone(), &["rbind", "nosuid", "noexec", "nodev"]);
            }
            ("/dev/shm", _) => match &options.shared_memory {
                SharedMemory::Own => {}
                SharedMemory::Nothing => mount.kind.clear(),
                SharedMemory::Folder(folder) => {
                    *mount = bind("/dev/shm", &["rbind", "nosuid", "noexec", "nodev", "rprivate"]);
                    mount.source.clone_from(folder);
                }
            },
            _ => {}
        }
    }
    mounts.retain(|mount| !mount.kind.is_empty());
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::host::UserMappings;
    use crate::bundle::options::Namespaces;
    use crate::bundle::spec::IdMapping;

    fn bind(destination: &str) -> Mount {
        Mount {
            destination: destination.into(),
            kind: "bind".into(),
            source: "/x".into(),
            options: vec!["rbind".into()],
        }
    }

    fn destinations(mounts: &[Mount]) -> Vec<&str> {
        mounts.iter().map(|mount| mount.destination.as_str()).collect()
    }

    fn find<'a>(mounts: &'a [Mount], destination: &str) -> &'a Mount {
        mounts.iter().find(|mount| mount.destination == destination).unwrap()
    }

    #[test]
    fn the_users_mounts_come_last_and_the_deepest_of_them_at_the_end() {
        let options = Options {
            mounts: vec![bind("/a/b/c"), bind("//a/"), bind("/dev/shm"), bind("/z")],
            ..Options::default()
        };
        let mounts = mounts(&options, &Host::plain()).unwrap();
        let usual = ["/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue"];
        assert_eq!(destinations(&mounts), [&usual[..], &["/a", "/z", "/dev/shm", "/a/b/c"]].concat());
    }

    #[test]
    fn what_would_be_hidden_is_not_mounted() {
        let options = Options { mounts: vec![bind("/dev"), bind("/sys/fs")], ..Options::default() };
        let mounts = mounts(&options, &Host::plain()).unwrap();
        assert_eq!(destinations(&mounts), ["/proc", "/sys", "/dev", "/sys/fs"]);
    }

    #[test]
    fn a_place_is_mounted_once() {
        let with = |all: &[&str]| {
            let options = Options { mounts: all.iter().map(|at| bind(at)).collect(), ..Options::default() };
            mounts(&options, &Host::plain()).unwrap_err().to_string()
        };
        assert_eq!(with(&["/a", "/a/"]), "Duplicate mount point: /a");
        assert_eq!(with(&["/a/.."]), "invalid specification: destination can't be '/'");
    }

    #[test]
    fn the_usual_mounts_follow_the_flags() {
        let shm = |options: &Options| find(&mounts(options, &Host::plain()).unwrap(), "/dev/shm").clone();
        assert_eq!(shm(&Options::default()).options.last().unwrap(), "size=67108864");
        assert_eq!(
            shm(&Options { shm_size: Some(1), ..Options::default() }).options.last().unwrap(),
            "size=1"
        );
        let ipc = Namespaces { ipc: Whose::Host, ..Namespaces::default() };
        let shared = shm(&Options { namespaces: ipc, ..Options::default() });
        assert_eq!((shared.kind.as_str(), shared.source.as_str()), ("bind", "/dev/shm"));
        let without = Host { has_mqueue: false, ..Host::plain() };
        let namespaces = Namespaces { ipc: Whose::Host, ..Namespaces::default() };
        let made = mounts(&Options { namespaces, ..Options::default() }, &without).unwrap();
        assert_eq!(
            (find(&made, "/dev/mqueue").kind.as_str(), find(&made, "/dev/shm").kind.as_str()),
            ("mqueue", "bind")
        );
        let privileged = mounts(&Options { privileged: true, ..Options::default() }, &Host::plain()).unwrap();
        for place in ["/sys", "/sys/fs/cgroup"] {
            assert!(!find(&privileged, place).options.contains(&"ro".to_owned()), "{place}");
        }
    }

    #[test]
    fn files_of_our_own_give_way_to_the_users_and_shared_memory_is_what_was_asked_for() {
        let files = vec![bind("/etc/hosts"), bind("/etc/hostname")];
        let options =
            Options { files, mounts: vec![bind("/etc/hosts/"), bind("/etc")], ..Options::default() };
        let made = mounts(&options, &Host::plain()).unwrap();
        let of_etc: Vec<&str> =
            destinations(&made).into_iter().filter(|place| place.starts_with("/etc")).collect();
        assert_eq!(of_etc, ["/etc", "/etc/hosts", "/etc/hostname"]);
        let with = |shared_memory| {
            let options = Options { shared_memory, ..Options::default() };
            mounts(&options, &Host::plain()).unwrap()
        };
        assert!(!destinations(&with(SharedMemory::Nothing)).contains(&"/dev/shm"));
        let folder = with(SharedMemory::Folder("/there".into()));
        let shm = find(&folder, "/dev/shm");
        assert_eq!((shm.kind.as_str(), shm.source.as_str()), ("bind", "/there"));
    }

    #[test]
    fn an_ordinary_users_mounts_are_those_he_may_make() {
        let alone = vec![IdMapping { container_id: 0, host_id: 1000, size: 1 }];
        let host = Host {
            user: Some(UserMappings { uids: alone.clone(), gids: alone, is_entered: false }),
            ..Host::plain()
        };
        let network = Namespaces { network: Whose::Host, ..Namespaces::default() };
        let made = mounts(&Options { namespaces: network, ..Options::default() }, &host).unwrap();
        assert!(!find(&made, "/dev/pts").options.contains(&"gid=5".to_owned()));
        assert_eq!(find(&made, "/sys").kind, "bind");
        let made = mounts(&Options::default(), &host).unwrap();
        assert_eq!(find(&made, "/sys").kind, "sysfs");
    }
}
