//! A tree of files as it is seen from outside: every entry with all that stat(2) and xattr(7) say of it, to be compared
//! with another one; and the layers of a store as the one tree that overlayfs makes of them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher as _};
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, StatxFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Bytes of a file; 0 for anything else.
    pub size: u64,
    /// Of a file's content.
    pub content: u64,
    /// Where a symbolic link leads.
    pub target: Vec<u8>,
    /// Of a device.
    pub device: u64,
    /// The first name, in order, of what has this inode.
    pub first_name: Vec<u8>,
    /// Extended attributes.
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The entries of a tree by their paths, of which that of its root is empty.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The entries.
    pub entries: BTreeMap<Vec<u8>, Entry>,
    /// Bytes on the disk, of each file.
    pub stored: BTreeMap<Vec<u8>, u64>,
}

impl Tree {
    /// Looks at all below a folder.
    #[must_use]
    #[track_caller]
    pub fn read(root: &Path) -> Tree {
        let mut tree = Tree::default();
        let mut inodes = BTreeMap::new();
        let mut waiting = vec![Vec::new()];
        while let Some(name) = waiting.pop() {
            let path = root.join(OsStr::from_bytes(&name));
            // The root may be a link of procfs to a descriptor.
            let path = if name.is_empty() { root.join(".") } else { path };
            let stat = fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("stat {path:?}: {e}"));
            let kind = FileType::from_raw_mode(stat.mode());
            if kind == FileType::Directory {
                let entries = fs::read_dir(&path).unwrap_or_else(|e| panic!("read {path:?}: {e}"));
                for entry in entries {
                    let below = entry.expect("read a folder").file_name();
                    let slash: &[u8] = if name.is_empty() { b"" } else { b"/" };
                    waiting.push([&name, slash, below.as_bytes()].concat());
                }
            }
            let is_file = kind == FileType::RegularFile;
            let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
            let target = match kind {
                FileType::Symlink => fs::read_link(&path).expect("read a link").into_os_string(),
                _ => Default::default(),
            };
            if kind != FileType::Directory && stat.nlink() > 1 {
                let names: &mut Vec<Vec<u8>> = inodes.entry((stat.dev(), stat.ino())).or_default();
                names.push(name.clone());
            }
            if is_file {
                tree.stored.insert(name.clone(), stat.blocks() * 512);
            }
            let entry = Entry {
                mode: stat.mode(),
                owner: (stat.uid(), stat.gid()),
                mtime: (stat.mtime(), stat.mtime_nsec()),
                size: if is_file { stat.size() } else { 0 },
                content: if is_file { content_of(&path) } else { 0 },
                target: target.as_bytes().to_vec(),
                device: if is_device { stat.rdev() } else { 0 },
                first_name: name.clone(),
                attributes: attributes_of(&path),
            };
            tree.entries.insert(name, entry);
        }
        for mut names in inodes.into_values() {
            names.sort();
            for name in &names {
                if let Some(entry) = tree.entries.get_mut(name) {
                    entry.first_name.clone_from(&names[0]);
                }
            }
        }
        tree
    }

    /// How it differs from another one, a line for each entry, at most 50.
    #[must_use]
    pub fn differences(&self, other: &Tree) -> Vec<String> {
        let names: std::collections::BTreeSet<_> = self.entries.keys().chain(other.entries.keys()).collect();
        let differ = names.into_iter().filter_map(|name| {
            let (ours, theirs) = (self.entries.get(name), other.entries.get(name));
            let shown = String::from_utf8_lossy(name).escape_debug().to_string();
            (ours != theirs).then(|| format!("{shown}: {ours:?} and not {theirs:?}"))
        });
        differ.take(50).collect()
    }
}

fn content_of(path: &Path) -> u64 {
    let mut file = File::open(path).unwrap_or_else(|e| panic!("open {path:?}: {e}"));
    let mut hasher = DefaultHasher::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer).unwrap_or_else(|e| panic!("read {path:?}: {e}")) {
            0 => return hasher.finish(),
            count => hasher.write(&buffer[..count]),
        }
    }
}

fn attributes_of(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names[..]).expect("list attributes");
    let named = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    named
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).expect("read an attribute");
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect()
}

/// Layers as overlayfs shows them, mounted nowhere: [`Merged::path`] leads there, for this process alone.
#[derive(Debug)]
pub struct Merged(OwnedFd);

impl Merged {
    /// The layers of a store at `root`, the highest of which no other one has for its parent. Panics unless there is
    /// exactly one such.
    #[must_use]
    #[track_caller]
    pub fn of_store(root: &Path) -> Merged {
        let layers = root.join("layers");
        let mut parents = BTreeMap::new();
        for entry in fs::read_dir(&layers).expect("read the layers") {
            let name = entry.expect("read the layers").file_name().into_string().expect("a digest");
            let record = fs::read(layers.join(&name).join("layer.json")).expect("read a record");
            let record: serde_json::Value = serde_json::from_slice(&record).expect("a record");
            let parent = record["parent"].as_str().map(|digest| digest["sha256:".len()..].to_owned());
            parents.insert(name, parent);
        }
        let is_parent = |name: &String| parents.values().flatten().any(|parent| parent == name);
        let tops: Vec<&String> = parents.keys().filter(|name| !is_parent(name)).collect();
        assert_eq!(tops.len(), 1, "one image in the store: {parents:#?}");
        let (mut folders, mut next) = (Vec::new(), Some(tops[0].clone()));
        while let Some(name) = next {
            folders.push(layers.join(&name).join("diff"));
            next = parents.get(&name).cloned().flatten();
        }
        Merged::of(&folders)
    }

    /// These folders, the highest first.
    #[must_use]
    #[track_caller]
    pub fn of(folders: &[PathBuf]) -> Merged {
        let opened: Vec<File> = folders.iter().map(|path| File::open(path).expect("open a layer")).collect();
        // An overlay of one layer has to have another one.
        let empty = crate::Scratch::new();
        let mut lower: Vec<String> =
            opened.iter().map(|layer| format!("/proc/self/fd/{}", layer.as_raw_fd())).collect();
        if lower.len() == 1 {
            lower.push(empty.path().to_str().expect("UTF-8").to_owned());
        }
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).expect("fsopen overlay");
        fsconfig_set_string(&context, "lowerdir", lower.join(":")).expect("fsconfig lowerdir");
        fsconfig_create(&context).expect("fsconfig create");
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
        Merged(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).expect("fsmount"))
    }

    /// Where the tree is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// Whether the file system of a folder keeps holes of files apart.
#[must_use]
pub fn keeps_holes(folder: &Path) -> bool {
    let path = folder.join("hole");
    let file = File::create(&path).expect("create a file");
    file.set_len(1 << 20).expect("make it long");
    let stat = rustix::fs::statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::BLOCKS).expect("statx");
    fs::remove_file(&path).expect("remove a file");
    stat.stx_blocks < 8
}
