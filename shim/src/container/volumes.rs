//! What containers have mounted that is not their own: volumes, of others too, and what the host gives them.
//!
//! At a birth, `place` makes volumes that are missing, fills new ones, and says what the document mounts; at a start and an
//! end volumes are made ready and let go. An image's `VOLUME`s are places and nothing more: each gets a volume without a
//! name, is looked up in the container's root alone, and may not lie where the kernel's own file systems are.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::bundle::process::clean;
use crate::bundle::spec::Mount;
use crate::bundle::syntax::mount::Relabel;
use crate::bundle::syntax::volume;
use crate::container::config::Config;
use crate::container::host_config::HostConfig;
use crate::container::record::{Container, MountPoint};
use crate::container::store::Containers;
use crate::container::{self, ContainerId};
use crate::error::{Context, Error, Result};
use crate::event;
use crate::store::record::Lock;
use crate::volume::relabel;
use crate::volume::store::{self, Volumes};
use crate::volume::{DRIVER, attach, users};

/// Most volumes that an image may ask for.
const OF_IMAGE_MAX: usize = 256;
/// Where an image's volume may not be: what is mounted there is the kernel's, and what is below it is too.
const KERNELS: [&str; 5] = ["/proc", "/sys", "/dev", "/dev/pts", "/dev/mqueue"];

/// Something to be mounted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// As the record has it; of a volume, name and source are told when there is one.
    pub point: MountPoint,
    /// The volume that it is.
    pub volume: Option<store::Wanted>,
    /// What the image has there is copied into a new volume.
    pub copy: bool,
    /// Whether SELinux is to let containers use it.
    pub relabel: Relabel,
    /// Another container has it.
    pub of_other: bool,
}

/// What `place` has found and made.
#[derive(Debug, Default)]
pub struct Placed {
    /// For the record.
    pub points: Vec<MountPoint>,
    /// For the document: volumes, and what other containers have. Other mounts of the user's are in it already.
    pub mounts: Vec<Mount>,
    /// Sources that SELinux is to let containers use, and whether all of them.
    pub relabel: Vec<(String, Relabel)>,
}

/// The volumes of these folders.
///
/// # Errors
/// The system's reason.
pub fn open(containers: &Containers) -> Result<Volumes> {
    Volumes::open(containers.root(), containers.state_root())
}

/// Makes and fills the volumes of a container in the making, whose root is `root`. The caller keeps volumes from being
/// removed ([`Volumes::keep`]) until the container's record says what it has, and calls [`give_up`] if it comes to none.
///
/// # Errors
/// What cannot be, in Docker's words; the system's reason.
pub fn place(
    containers: &Containers,
    root: BorrowedFd,
    (config, host_config): (&Config, &HostConfig),
    wanted: Vec<Wanted>,
    placed: &mut Placed,
) -> Result<()> {
    let volumes = open(containers)?;
    let others = of_others(containers, host_config.volumes_from.as_deref().unwrap_or_default())?;
    for mut one in complete(wanted, others, config, host_config)? {
        if let Some(asked) = &one.volume {
            let (volume, _) = volumes.create(asked)?;
            one.point.anonymous = asked.name.is_empty();
            one.point.name.clone_from(&volume.name);
            one.point.source = text(&volumes, &volume.name)?;
            DRIVER.clone_into(&mut one.point.driver);
            placed.points.push(one.point.clone());
            if one.copy && one.point.subpath.is_empty() {
                let lasting = !(one.point.anonymous && host_config.auto_remove);
                attach::fill(&volumes, containers, &volume, (root, &one.point.destination), lasting)?;
            }
        } else {
            placed.points.push(one.point.clone());
        }
        let point = &one.point;
        if one.relabel != Relabel::No {
            placed.relabel.push((point.source.clone(), one.relabel));
        }
        // Mounts of the user's that are no volumes are in the document already.
        if one.volume.is_some() || one.of_other {
            placed.mounts.push(mount_of(point));
        }
    }
    Ok(())
}

fn mount_of(point: &MountPoint) -> Mount {
    let (kind, source) = match point.kind.as_str() {
        "tmpfs" => ("tmpfs", "tmpfs".to_owned()),
        _ if point.subpath.is_empty() => ("bind", point.source.clone()),
        // Where it leads, each start says.
        _ => ("bind", format!("{}/{}", point.source, point.subpath)),
    };
    Mount {
        destination: point.destination.clone(),
        kind: kind.to_owned(),
        source,
        options: options_of(point),
    }
}

/// All mounts of a container, each place once: what the user asks for, then what other containers have, then what the
/// image wants.
fn complete(
    wanted: Vec<Wanted>,
    others: BTreeMap<String, MountPoint>,
    config: &Config,
    host_config: &HostConfig,
) -> Result<Vec<Wanted>> {
    let is_nameless = |one: &Wanted| one.volume.as_ref().is_some_and(|volume| volume.name.is_empty());
    let (nameless, mut all): (Vec<Wanted>, Vec<Wanted>) = wanted.into_iter().partition(is_nameless);
    let has = |all: &[Wanted], place: &str| {
        all.iter().any(|one| one.point.destination == place)
            || host_config.tmpfs.keys().any(|known| clean(known) == place)
    };
    for (place, point) in others {
        if !has(&all, &place) {
            all.push(Wanted { point, of_other: true, ..Wanted::default() });
        }
    }
    for one in nameless {
        // Docker's own words for a place that is asked for by `--mount` twice are those of the document's mounts.
        if !has(&all, &one.point.destination) {
            all.push(one);
        }
    }
    let mut of_image = 0;
    for path in config.volumes.iter().flat_map(BTreeMap::keys) {
        let place = clean(path);
        if has(&all, &place) {
            continue;
        }
        check_place(&place).during(|| format!("volume {path:?} of the image"))?;
        of_image += 1;
        if of_image > OF_IMAGE_MAX {
            return Err(Error::invalid(format!("the image wants more than {OF_IMAGE_MAX} volumes")));
        }
        let point = MountPoint {
            kind: "volume".to_owned(),
            destination: place,
            rw: true,
            options: ["rbind", "rprivate"].map(str::to_owned).to_vec(),
            ..MountPoint::default()
        };
        let volume = Some(store::Wanted::default());
        all.push(Wanted { point, volume, copy: true, ..Wanted::default() });
    }
    Ok(all)
}

/// May an image have a volume here?
fn check_place(place: &str) -> Result<()> {
    let is_below = |folder: &str| place.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    if place == "/" {
        return Err(Error::invalid("invalid specification: destination can't be '/'"));
    }
    if place.contains('\0') || KERNELS.contains(&place) || is_below("/proc") || is_below("/sys") {
        return Err(Error::invalid("no volume may be there"));
    }
    Ok(())
}

/// What the containers of `--volumes-from` have, by its place: of two the later one counts.
fn of_others(containers: &Containers, from: &[String]) -> Result<BTreeMap<String, MountPoint>> {
    let mut found = BTreeMap::new();
    for text in from {
        let (name, read_only) = volume::from(text)?;
        let id = containers.find(name)?;
        let other = containers.get(&id)?.ok_or_else(|| container::missing(name))?;
        for mut point in other.mounts {
            point.options = options_of(&point);
            if read_only && point.rw {
                point.rw = false;
                point.options.retain(|option| option != "rw");
                point.options.push("rro".to_owned());
            }
            point.mode.clear();
            found.insert(point.destination.clone(), point);
        }
    }
    Ok(found)
}

/// How it is mounted; a record from before volumes does not tell.
fn options_of(point: &MountPoint) -> Vec<String> {
    if !point.options.is_empty() {
        return point.options.clone();
    }
    let propagation = if point.propagation.is_empty() { "rprivate" } else { &point.propagation };
    let mut options = vec!["rbind".to_owned(), propagation.to_owned()];
    options.extend((!point.rw).then(|| "rro".to_owned()));
    options
}

/// Has SELinux, which is enabled, let a container use what it has: by the label of its mounts.
///
/// # Errors
/// A folder of the host's that nobody may relabel, in Docker's words; the system's reason.
pub fn relabel(placed: &Placed, label: &str) -> Result<()> {
    placed
        .relabel
        .iter()
        .try_for_each(|(source, how)| relabel::relabel(source, label, *how == Relabel::Shared))
}

fn text(volumes: &Volumes, name: &str) -> Result<String> {
    let path = volumes.mountpoint(name);
    path.to_str().map(str::to_owned).ok_or_else(|| Error::usage(format!("{path:?} is not UTF-8")))
}

/// Keeps volumes from being removed while a container is made that may get some.
///
/// # Errors
/// The system's reason.
pub fn keep(
    containers: &Containers,
    wanted: &[Wanted],
    config: &Config,
    host_config: &HostConfig,
) -> Result<Option<Lock>> {
    let of_image = config.volumes.as_ref().is_some_and(|volumes| !volumes.is_empty());
    let any = of_image || host_config.volumes_from.is_some() || wanted.iter().any(|one| one.volume.is_some());
    any.then(|| open(containers)?.keep()).transpose()
}

/// Removes the volumes without a name of a container that came to nothing.
///
/// # Errors
/// The system's reason.
pub fn give_up(containers: &Containers, id: &str, placed: &Placed) -> Result<()> {
    let names: Vec<&str> = anonymous(&placed.points).collect();
    if names.is_empty() {
        return Ok(());
    }
    users::remove_anonymous(&open(containers)?, containers, &names, id)
}

fn anonymous(points: &[MountPoint]) -> impl Iterator<Item = &str> {
    points.iter().filter(|point| point.anonymous).map(|point| point.name.as_str())
}

/// Removes a container's volumes without a name, unless another container has them too.
///
/// # Errors
/// The system's reason.
pub fn remove(containers: &Containers, container: &Container) -> Result<()> {
    let names: Vec<&str> = anonymous(&container.mounts).collect();
    if names.is_empty() {
        return Ok(());
    }
    users::remove_anonymous(&open(containers)?, containers, &names, &container.id)
}

/// Makes the volumes of a container ready that starts. What of them is seen in part is opened, by its place: the caller has
/// the document lead there.
///
/// # Errors
/// A volume that is not there or cannot be mounted, in Docker's words; the system's reason. [`release`] is for then, too.
pub fn attach(containers: &Containers, container: &Container) -> Result<Vec<(String, OwnedFd)>> {
    let mut opened = Vec::new();
    if !container.mounts.iter().any(|point| point.kind == "volume") {
        return Ok(opened);
    }
    let (volumes, id) = (open(containers)?, ContainerId::parse(&container.id)?);
    for point in container.mounts.iter().filter(|point| point.kind == "volume") {
        let words = || format!("error while mounting volume '{}'", point.source);
        attach::attach(&volumes, &point.name, &id).during(words)?;
        if !point.subpath.is_empty() {
            opened.push((
                point.destination.clone(),
                attach::open_subpath(&volumes, &point.name, &point.subpath)?,
            ));
        }
        let rw = if point.rw { "true" } else { "false" };
        let attributes = [
            ("container", container.id.as_str()),
            ("destination", &point.destination),
            ("driver", DRIVER),
            ("propagation", &point.propagation),
            ("read/write", rw),
        ];
        event::volume(containers.state_root(), "mount", &point.name, &attributes);
    }
    Ok(opened)
}

/// Lets go of a container's volumes; `ended` says that it had them.
///
/// # Errors
/// The system's reason, of the first that could not be let go.
pub fn release(containers: &Containers, container: &Container, ended: bool) -> Result<()> {
    if !container.mounts.iter().any(|point| point.kind == "volume") {
        return Ok(());
    }
    let (volumes, id) = (open(containers)?, ContainerId::parse(&container.id)?);
    let mut result = Ok(());
    for point in container.mounts.iter().filter(|point| point.kind == "volume") {
        result = result.and(attach::release(&volumes, containers, &point.name, &id));
        if ended {
            let attributes = [("container", container.id.as_str()), ("driver", DRIVER)];
            event::volume(containers.state_root(), "unmount", &point.name, &attributes);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::config::Empty;

    fn volume_at(place: &str, name: &str) -> Wanted {
        let point =
            MountPoint { destination: place.to_owned(), kind: "volume".to_owned(), ..MountPoint::default() };
        let volume = Some(store::Wanted { name: name.to_owned(), ..store::Wanted::default() });
        Wanted { point, volume, ..Wanted::default() }
    }

    fn places(wanted: Vec<Wanted>, others: &[&str], of_image: &[&str]) -> Vec<String> {
        let others = others.iter().map(|place| ((*place).to_owned(), volume_at(place, "").point)).collect();
        let volumes = of_image.iter().map(|place| ((*place).to_owned(), Empty {})).collect();
        let config = Config { volumes: Some(volumes), ..Config::default() };
        let all = complete(wanted, others, &config, &HostConfig::default()).unwrap();
        let name =
            |one: &Wanted| one.volume.as_ref().map_or("other".to_owned(), |volume| volume.name.clone());
        all.iter().map(|one| format!("{}={}", one.point.destination, name(one))).collect()
    }

    #[test]
    fn each_place_has_what_the_user_says_then_what_others_have_then_what_the_image_wants() {
        let user = || vec![volume_at("/a", ""), volume_at("/b", "named")];
        assert_eq!(
            places(user(), &["/a", "/c"], &["/a", "/d/../c/", "/e"]),
            ["/b=named", "/a=other", "/c=other", "/e="]
        );
        let twice = vec![volume_at("/a", ""), volume_at("/a", "named")];
        assert_eq!(places(twice, &[], &["a", "/b"]), ["/a=named", "/b="]);
    }

    #[test]
    fn an_image_has_no_volume_where_the_kernels_file_systems_are() {
        for place in ["/", "/proc", "/proc/self", "/sys/fs/cgroup", "/dev", "/dev/pts", "/a\0"] {
            assert!(check_place(place).is_err(), "{place}");
        }
        for place in ["/processes", "/etc", "/dev/shm", "/var/lib/data"] {
            check_place(place).unwrap();
        }
    }
}
