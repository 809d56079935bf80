//! `--volume`, `--mount` and `--tmpfs`: what is to be mounted, what the record tells of it, and which volumes there have
//! to be. Sources of binds are looked up here; volumes are the library's.

use std::path::{Path, PathBuf};

use crate::bundle::options::Options;
use crate::bundle::process::clean;
use crate::bundle::spec::Mount;
use crate::bundle::syntax::mount::{MountRequest, Relabel, Request};
use crate::bundle::syntax::{mount, tmpfs, volume};
use crate::cli::flags::Given;
use crate::container::config::Config;
use crate::container::host_config::HostConfig;
use crate::container::record::MountPoint;
use crate::container::volumes::Wanted;
use crate::error::{Context, Error, Result};
use crate::image::config::Empty;
use crate::volume::store;

/// All that was asked for, in the order of the flags: `--volume`, `--mount`, `--tmpfs`.
#[derive(Debug, Default)]
pub(super) struct Asked {
    volumes: Vec<(String, Request)>,
    mounts: Vec<(MountRequest, Request)>,
    tmpfs: Vec<(String, Mount)>,
    from: Vec<String>,
}

/// Reads the flags.
///
/// # Errors
/// Docker's words; a source of a bind that is not there.
pub(super) fn read(given: &Given) -> Result<Asked> {
    let mut asked = Asked::default();
    for text in given.texts("volume")? {
        asked.volumes.push((text.to_owned(), found(volume::volume(text)?)?));
    }
    for text in given.texts("mount")? {
        let mut request = mount::mount(text)?;
        let found = found(mount::request(&request)?)?;
        if let Request::Bind { mount, .. } = &found {
            request.source.clone_from(&mount.source);
        }
        asked.mounts.push((request, found));
    }
    for text in given.texts("tmpfs")? {
        asked.tmpfs.push((text.to_owned(), tmpfs::tmpfs(text)?));
    }
    for text in given.texts("volumes-from")? {
        volume::from(text)?;
        asked.from.push(text.to_owned());
    }
    Ok(asked)
}

impl Asked {
    fn requests(&self) -> impl Iterator<Item = &Request> {
        self.volumes.iter().map(|(_, request)| request).chain(self.mounts.iter().map(|(_, request)| request))
    }

    /// Mounts that need no volume.
    pub(super) fn mounts(&self) -> Vec<Mount> {
        let of_request = |request: &Request| match request {
            Request::Bind { mount, .. } | Request::Tmpfs(mount) => Some(mount.clone()),
            Request::Volume(_) => None,
        };
        let tmpfs = self.tmpfs.iter().map(|(_, mount)| mount.clone());
        self.requests().filter_map(of_request).chain(tmpfs).collect()
    }

    /// Refuses what only containers can have.
    ///
    /// # Errors
    /// A volume, or a label.
    pub(super) fn refuse_volumes(&self) -> Result<()> {
        match self.requests().find(|request| {
            !matches!(request, Request::Bind { relabel: Relabel::No, .. } | Request::Tmpfs(_))
        }) {
            Some(Request::Volume(volume)) => {
                let place = &volume.mount.destination;
                Err(Error::usage(format!("{place}: a bundle has no volumes: name a path of the host's")))
            }
            Some(_) if crate::volume::relabel::is_enabled() => {
                Err(Error::usage("a bundle's binds are not relabelled for SELinux: leave z and Z out"))
            }
            _ => Ok(()),
        }
    }

    /// Is there something of the user's at this place?
    pub(super) fn has(&self, place: &str) -> bool {
        let place_of = |request: &Request| match request {
            Request::Bind { mount, .. } | Request::Tmpfs(mount) => clean(&mount.destination) == place,
            Request::Volume(volume) => volume.mount.destination == place,
        };
        self.requests().any(place_of)
            || self.tmpfs.iter().any(|(_, mount)| clean(&mount.destination) == place)
    }

    /// Tells it in the record, and what the container has to have: in the order of the flags.
    pub(super) fn tell(&self, config: &mut Config, host_config: &mut HostConfig) -> Vec<Wanted> {
        let (mut wanted, mut binds) = (Vec::new(), Vec::new());
        for (text, request) in &self.volumes {
            let mode = text.splitn(3, ':').nth(2).unwrap_or_default();
            match request {
                Request::Volume(volume) if volume.name.is_empty() => {
                    let place = volume.mount.destination.clone();
                    config.volumes.get_or_insert_default().insert(place, Empty {});
                }
                // As it was asked for, but for what only the caller's folder tells.
                Request::Bind { mount, .. } if text.starts_with('.') => {
                    let rest = text.split_once(':').map_or("", |(_, rest)| rest);
                    binds.push(format!("{}:{rest}", mount.source));
                }
                _ => binds.push(text.clone()),
            }
            wanted.push(wanted_of(request, mode));
        }
        for (told, request) in &self.mounts {
            host_config.mounts.push(told.clone());
            // As Docker tells it of volumes.
            let mode = if matches!(request, Request::Volume(_)) { "z" } else { "" };
            wanted.push(wanted_of(request, mode));
        }
        for (text, mount) in &self.tmpfs {
            let options = text.split_once(':').map_or("", |(_, options)| options);
            host_config.tmpfs.insert(mount.destination.clone(), options.to_owned());
        }
        host_config.binds = Some(binds).filter(|binds| !binds.is_empty());
        host_config.volumes_from = Some(self.from.clone()).filter(|from| !from.is_empty());
        wanted
    }
}

/// A mount as the record has it, and the volume it is of.
fn wanted_of(request: &Request, mode: &str) -> Wanted {
    let (mount, kind) = match request {
        Request::Bind { mount, .. } => (mount, "bind"),
        Request::Tmpfs(mount) => (mount, "tmpfs"),
        Request::Volume(volume) => (&volume.mount, "volume"),
    };
    let has = |names: &[&str]| mount.options.iter().any(|option| names.contains(&option.as_str()));
    let propagation = mount.options.iter().find(|option| {
        matches!(option.as_str(), "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave")
    });
    let mut point = MountPoint {
        kind: kind.to_owned(),
        source: if kind == "bind" { mount.source.clone() } else { String::new() },
        destination: clean(&mount.destination),
        mode: mode.to_owned(),
        rw: !has(&["ro", "rro"]),
        propagation: propagation.filter(|_| kind == "bind").cloned().unwrap_or_default(),
        options: mount.options.clone(),
        ..MountPoint::default()
    };
    match request {
        Request::Volume(volume) => {
            point.subpath.clone_from(&volume.subpath);
            if !volume.name.is_empty() && mode.is_empty() {
                // As Docker tells it of volumes with a name.
                "z".clone_into(&mut point.mode);
            }
            let (name, labels, options) =
                (volume.name.clone(), volume.labels.clone(), volume.options.clone());
            Wanted {
                point,
                volume: Some(store::Wanted { name, labels, options }),
                copy: volume.copy,
                relabel: volume.relabel,
                of_other: false,
            }
        }
        Request::Bind { relabel, .. } => Wanted { point, relabel: *relabel, ..Wanted::default() },
        Request::Tmpfs(_) => Wanted { point, ..Wanted::default() },
    }
}

/// A mount whose source is there.
fn found(request: Request) -> Result<Request> {
    let Request::Bind { mount, make_source, relabel } = request else { return Ok(request) };
    let source = &mount.source;
    let path: PathBuf = std::path::absolute(source).during(|| format!("path {source:?}"))?;
    let path = path.to_str().ok_or_else(|| Error::invalid(format!("{path:?} is not UTF-8")))?;
    // By its text, as Docker does.
    let path = PathBuf::from(clean(path));
    if !is_there(&path)? {
        if !make_source {
            let path = path.display();
            return Err(Error::invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {path}"
            )));
        }
        std::fs::create_dir_all(&path).during(|| format!("create {path:?}"))?;
    }
    let source = path.display().to_string();
    Ok(Request::Bind { mount: Mount { source, ..mount }, make_source, relabel })
}

fn is_there(path: &Path) -> Result<bool> {
    path.try_exists().during(|| format!("stat {path:?}"))
}

/// Options of the file systems in memory of `--hardened`.
const HARDENED_TMPFS: &str = "mode=1777,size=64m";

/// File systems in memory that `--hardened` adds, where the user has nothing else.
///
/// # Errors
/// None that there could be: the options are ours.
pub(super) fn harden(asked: &Asked, options: &mut Options) -> Result<Vec<&'static str>> {
    const PLACES: [&str; 2] = ["/tmp", "/run"];
    let added: Vec<&str> = PLACES.into_iter().filter(|place| !asked.has(place)).collect();
    for place in &added {
        options.mounts.push(tmpfs::tmpfs(&format!("{place}:{HARDENED_TMPFS}"))?);
    }
    Ok(added)
}

/// Tells them in the record.
pub(super) fn tell_hardened(places: &[&str], host_config: &mut HostConfig) {
    for place in places {
        host_config.tmpfs.insert((*place).to_owned(), HARDENED_TMPFS.to_owned());
    }
}
