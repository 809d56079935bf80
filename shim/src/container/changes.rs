//! What a container has changed of its image's files.
//!
//! Its own layer says where to look; what is there is compared with what the image has there, each as the kernel shows it
//! (`root::view`). So folders that were renamed or replaced, and files of which only the description was changed, are no
//! special cases. What the runtime has put there for its mounts is no change.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{self, FileType, Stat};
use rustix::io::Errno;

use crate::container::record::Container;
use crate::container::store::Containers;
use crate::container::{ContainerId, size};
use crate::error::{Context, Error, Result};
use crate::pack::tree::{below, names, open_folder, stat};
use crate::root::view;
use crate::rootless;
use crate::store::layer::{Layers, is_opaque};

/// Paths on which something is mounted in every container: what the runtime has made there to mount on is nobody's.
const MOUNTED_ON: [&[u8]; 17] = [
    b".dockerenv",
    b"dev",
    b"dev/console",
    b"dev/mqueue",
    b"dev/pts",
    b"dev/shm",
    b"etc",
    b"etc/hostname",
    b"etc/hosts",
    b"etc/mtab",
    b"etc/resolv.conf",
    b"proc",
    b"run/.containerenv",
    b"sbin/docker-init",
    b"sys",
    b"sys/fs",
    b"sys/fs/cgroup",
];

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is another, or something in it is.
    Modified,
    /// It was not there.
    Added,
    /// It is gone, with all that was in it.
    Deleted,
}

/// A path that is not as in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What became of it.
    pub kind: Kind,
    /// Below the root, without a slash before it.
    pub path: Vec<u8>,
}

/// A container's files and its image's, to be looked at.
#[derive(Debug)]
pub struct Sides {
    /// What the container sees, without what is mounted in it.
    pub merged: OwnedFd,
    /// What its image has; None for an image without layers.
    below: Option<OwnedFd>,
    /// What the container has written.
    upper: OwnedFd,
}

/// The two sides of a container.
///
/// # Errors
/// A layer that is not there; the system's reason.
pub fn sides(containers: &Containers, container: &Container) -> Result<Sides> {
    let folder = containers.folder(&ContainerId::parse(&container.id)?);
    let layers = Layers::open(containers.root())?;
    let mut trees: Vec<PathBuf> = Vec::new();
    for chain_id in container.layers.iter().rev() {
        let missing = || Error::not_found(format!("layer {chain_id} is missing"));
        let layer = layers.get(chain_id)?.ok_or_else(missing)?;
        trees.push(layers.tree(chain_id));
        if layer.hides_all_below {
            break;
        }
    }
    let (place, who) = (folder.join(crate::bundle::ROOT), rootless::who()?);
    let upper = folder.join(size::UPPER);
    let open = |trees: &[PathBuf]| view::open(trees, &place, who);
    let all: Vec<PathBuf> = std::iter::once(upper.clone()).chain(trees.iter().cloned()).collect();
    Ok(Sides {
        merged: open(&all)?,
        below: if trees.is_empty() { None } else { Some(open(&trees)?) },
        upper: open(&[upper])?,
    })
}

impl Sides {
    /// What is not as in the image, in order of the paths.
    ///
    /// # Errors
    /// The first path that cannot be read, by its name.
    pub fn changes(&self) -> Result<Vec<Change>> {
        let mut found = Vec::new();
        self.folder(b"", Look::AtWritten, &mut found)?;
        found.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(found)
    }

    /// Looks into a folder; whether anything in it has changed.
    fn folder(&self, path: &[u8], look: Look, found: &mut Vec<Change>) -> Result<bool> {
        let before = found.len();
        for entry in self.entries(path, look).during(|| format!("{:?}", String::from_utf8_lossy(path)))? {
            let at = below(path, entry.name.as_bytes());
            match (&entry.below, &entry.merged) {
                (None, None) => {}
                (Some(_), None) => found.push(Change { kind: Kind::Deleted, path: at }),
                (None, Some(now)) => self.added(at, now, look, found)?,
                (Some(then), Some(now)) => self.both(at, then, now, look, found)?,
            }
        }
        Ok(found.len() > before)
    }

    fn added(&self, at: Vec<u8>, now: &Stat, look: Look, found: &mut Vec<Change>) -> Result<()> {
        let is_folder = kind(now) == FileType::Directory;
        let place = found.len();
        found.push(Change { kind: Kind::Added, path: at.clone() });
        let has_more = is_folder && self.folder(&at, self.look_into(&at, look)?, found)?;
        // Empty files and folders at these places are the runtime's. A container's own would be seen by nobody inside.
        let is_empty = if is_folder { !has_more } else { now.st_size == 0 || kind(now) == FileType::Symlink };
        if is_empty && MOUNTED_ON.contains(&&at[..]) {
            found.truncate(place);
        }
        Ok(())
    }

    fn both(&self, at: Vec<u8>, then: &Stat, now: &Stat, look: Look, found: &mut Vec<Change>) -> Result<()> {
        let is_changed = if kind(then) == FileType::Directory && kind(now) == FileType::Directory {
            let has_more = self.folder(&at, self.look_into(&at, look)?, found)?;
            // A folder in which the runtime has made something to mount on has another time, and is the same.
            has_more || described(then) != described(now)
        } else {
            // A file in the container's own layer was written to, or described anew.
            look == Look::AtWritten || !is_same_file(then, now)
        };
        if is_changed {
            found.push(Change { kind: Kind::Modified, path: at });
        }
        Ok(())
    }

    /// Where to look in a folder that is in the container's own layer: at what was written alone, unless it stands for
    /// itself.
    fn look_into(&self, path: &[u8], look: Look) -> Result<Look> {
        if look == Look::AtAll {
            return Ok(look);
        }
        let Some(folder) = open_folder(self.upper.as_fd(), path)? else { return Ok(Look::AtAll) };
        let stands_alone = is_opaque(&folder)? || is_renamed(folder.as_fd())?;
        Ok(if stands_alone { Look::AtAll } else { Look::AtWritten })
    }

    fn entries(&self, path: &[u8], look: Look) -> Result<Vec<Entry>> {
        let open = |root: Option<&OwnedFd>| match root {
            Some(root) => open_folder(root.as_fd(), path),
            None => Ok(None),
        };
        let (merged, below) = (open(Some(&self.merged))?, open(self.below.as_ref())?);
        let listed = |folder: &Option<OwnedFd>| folder.as_ref().map_or_else(|| Ok(Vec::new()), names);
        let all: BTreeSet<CString> = match look {
            Look::AtWritten => listed(&open(Some(&self.upper))?)?.into_iter().collect(),
            Look::AtAll => listed(&merged)?.into_iter().chain(listed(&below)?).collect(),
        };
        let side = |folder: &Option<OwnedFd>, name: &CString| match folder {
            Some(folder) => stat(folder, name),
            None => Ok(None),
        };
        let entry = |name: CString| -> Result<Entry> {
            Ok(Entry { merged: side(&merged, &name)?, below: side(&below, &name)?, name })
        };
        all.into_iter().map(entry).collect()
    }
}

/// Where changes may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// At what the container's own layer has.
    AtWritten,
    /// At everything: the folder has nothing of the one below it, or of another one.
    AtAll,
}

struct Entry {
    name: CString,
    merged: Option<Stat>,
    below: Option<Stat>,
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn described(stat: &Stat) -> (u32, u32, u32) {
    (stat.st_mode, stat.st_uid, stat.st_gid)
}

/// As far as can be told without reading it.
fn is_same_file(then: &Stat, now: &Stat) -> bool {
    let of = |stat: &Stat| (described(stat), stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_rdev);
    of(then) == of(now)
}

/// Does overlayfs show another folder's content in this one?
fn is_renamed(folder: BorrowedFd) -> Result<bool> {
    for name in ["trusted.overlay.redirect", "user.overlay.redirect"] {
        match fs::fgetxattr(folder, name, &mut [0_u8; 0][..]) {
            Ok(_) | Err(Errno::RANGE) => return Ok(true),
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(errno) => return Err(errno).during(|| format!("fgetxattr {name:?}")),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;
    use crate::unpack::tree::As;
    use rustix::fs::{Mode, XattrFlags};
    use std::fs as std_fs;

    /// What the files of these two folders come to, `C /path` each.
    fn compared(scratch: &Scratch) -> Vec<String> {
        let open = |names: &[&str]| {
            let trees: Vec<PathBuf> = names.iter().map(|name| scratch.join(name)).collect();
            view::open(&trees, &scratch.join("place"), As::Root).unwrap()
        };
        let sides =
            Sides { merged: open(&["upper", "low"]), below: Some(open(&["low"])), upper: open(&["upper"]) };
        let told = |change: Change| {
            let letter = match change.kind {
                Kind::Modified => 'C',
                Kind::Added => 'A',
                Kind::Deleted => 'D',
            };
            format!("{letter} /{}", String::from_utf8(change.path).unwrap())
        };
        sides.changes().unwrap().into_iter().map(told).collect()
    }

    fn with(files: &[&str]) -> Scratch {
        let scratch = Scratch::new();
        for folder in ["low", "upper", "place"] {
            std_fs::create_dir(scratch.join(folder)).unwrap();
        }
        for file in files {
            let path = scratch.join(file);
            if file.ends_with('/') {
                std_fs::create_dir_all(path).unwrap();
            } else {
                std_fs::create_dir_all(path.parent().unwrap()).unwrap();
                std_fs::write(path, file).unwrap();
            }
        }
        scratch
    }

    fn whiteout(scratch: &Scratch, path: &str) {
        let parent = std_fs::File::open(scratch.join(path).parent().unwrap()).unwrap();
        let name = path.rsplit('/').next().unwrap();
        fs::mknodat(&parent, name, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    }

    #[test]
    fn what_was_written_added_and_deleted_is_told_with_the_folders_around_it() {
        let scratch = with(&[
            "low/etc/passwd",
            "low/etc/same",
            "low/gone/deep/file",
            "low/kept/a",
            "upper/etc/passwd",
            "upper/new/deep/file",
            "upper/kept/x/",
        ]);
        std_fs::remove_dir(scratch.join("upper/kept/x")).unwrap();
        whiteout(&scratch, "upper/gone");
        whiteout(&scratch, "upper/never");
        let told = ["C /etc", "C /etc/passwd", "D /gone", "A /new", "A /new/deep", "A /new/deep/file"];
        assert_eq!(compared(&scratch), told);
    }

    #[test]
    fn what_the_runtime_mounts_on_is_no_change() {
        let scratch = with(&["low/etc/passwd", "upper/etc/own"]);
        for file in ["upper/etc/hosts", "upper/etc/resolv.conf"] {
            std_fs::write(scratch.join(file), "").unwrap();
        }
        for folder in ["upper/proc", "upper/dev/pts", "upper/sys/fs/cgroup"] {
            std_fs::create_dir_all(scratch.join(folder)).unwrap();
        }
        assert_eq!(compared(&scratch), ["C /etc", "A /etc/own"]);
        std_fs::remove_file(scratch.join("upper/etc/own")).unwrap();
        assert_eq!(compared(&scratch), [""; 0]);
        // What has something in it is the container's own.
        std_fs::write(scratch.join("upper/dev/data"), "x").unwrap();
        std_fs::write(scratch.join("upper/etc/hosts"), "x").unwrap();
        assert_eq!(compared(&scratch), ["A /dev", "A /dev/data", "C /etc", "A /etc/hosts"]);
    }

    #[test]
    fn a_folder_that_was_replaced_is_compared_with_the_one_below_it() {
        let scratch = with(&["low/d/old", "low/d/both", "upper/d/new"]);
        std_fs::copy(scratch.join("low/d/both"), scratch.join("upper/d/both")).unwrap();
        let open = std_fs::File::open(scratch.join("upper/d")).unwrap();
        fs::fsetxattr(&open, "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        let told = compared(&scratch);
        assert!(told.contains(&"A /d/new".to_owned()) && told.contains(&"D /d/old".to_owned()), "{told:?}");
        assert_eq!(told.first().map(String::as_str), Some("C /d"));
    }

    #[test]
    fn a_folder_that_was_renamed_has_what_the_other_one_had() {
        let scratch = with(&["low/old/deep/file", "upper/new/"]);
        let open = std_fs::File::open(scratch.join("upper/new")).unwrap();
        fs::fsetxattr(&open, "trusted.overlay.redirect", b"/old", XattrFlags::empty()).unwrap();
        whiteout(&scratch, "upper/old");
        let told = ["A /new", "A /new/deep", "A /new/deep/file", "D /old"];
        assert_eq!(compared(&scratch), told);
    }
}
