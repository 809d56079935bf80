//! Two trees of files, entry by entry, through descriptors: no link is followed, and nothing is run.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::unpack::c_string;
use crate::unpack::tree::As;

/// The first difference of two trees, in words. Of the folders named in `inherited` only what is in them counts: the
/// rest of them comes from elsewhere.
///
/// # Errors
/// The system's reason.
pub(super) fn difference(
    wanted: BorrowedFd,
    found: BorrowedFd,
    inherited: &BTreeSet<Vec<u8>>,
    who: As,
) -> Result<Option<String>> {
    // By path and not by recursion: a tree may be deeper than there are descriptors.
    let mut folders: Vec<Vec<u8>> = vec![Vec::new()];
    while let Some(folder) = folders.pop() {
        let words = || format!("folder {:?}", String::from_utf8_lossy(&folder));
        let sides = [open_folder(wanted, &folder).during(words)?, open_folder(found, &folder).during(words)?];
        let names = [names(&sides[0]).during(words)?, names(&sides[1]).during(words)?];
        if let Some(name) = names[0].symmetric_difference(&names[1]).next() {
            let what = if names[0].contains(name) { "it is not there" } else { "it should not be there" };
            return Ok(Some(told(&join(&folder, name.as_bytes()), what)));
        }
        // Behind the names: who has added a file has changed the folder's time too.
        if !inherited.contains(&folder)
            && let Some(what) = open_files_differ(&sides, who).during(words)?
        {
            return Ok(Some(told(&folder, &what)));
        }
        for name in &names[0] {
            let path = join(&folder, name.as_bytes());
            let words = || format!("entry {:?}", String::from_utf8_lossy(&path));
            match entries_differ(&sides, name, who).during(words)? {
                Entry::Differs(what) => return Ok(Some(told(&path, &what))),
                Entry::Folder => folders.push(path),
                Entry::Same => {}
            }
        }
    }
    Ok(None)
}

enum Entry {
    Same,
    /// Both are folders.
    Folder,
    Differs(String),
}

fn told(path: &[u8], what: &str) -> String {
    format!("{:?}: {what}", String::from_utf8_lossy(if path.is_empty() { b"/" } else { path }))
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

fn open_folder(tree: BorrowedFd, path: &[u8]) -> Result<OwnedFd> {
    let path = c_string(if path.is_empty() { b"." } else { path })?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    fs::openat2(tree, &*path, flags, Mode::empty(), resolve).during(|| "openat2".into())
}

fn names(folder: &OwnedFd) -> Result<BTreeSet<CString>> {
    let mut names = BTreeSet::new();
    for entry in fs::Dir::read_from(folder).during(|| "getdents".into())? {
        let name = entry.during(|| "getdents".into())?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.insert(name);
        }
    }
    Ok(names)
}

fn entries_differ(folders: &[OwnedFd; 2], name: &CString, who: As) -> Result<Entry> {
    let stat =
        |folder: &OwnedFd| fs::statat(folder, &**name, AtFlags::SYMLINK_NOFOLLOW).during(|| "fstatat".into());
    let stats = [stat(&folders[0])?, stat(&folders[1])?];
    let kinds = stats.each_ref().map(|stat| FileType::from_raw_mode(stat.st_mode));
    if kinds[0] != kinds[1] {
        return Ok(Entry::Differs(format!("it is {:?}, not {:?}", kinds[1], kinds[0]).to_lowercase()));
    }
    if kinds[0] == FileType::Directory {
        return Ok(Entry::Folder);
    }
    if let Some(what) = stats_differ(&stats) {
        return Ok(Entry::Differs(what));
    }
    let what = match kinds[0] {
        FileType::RegularFile => {
            let open = |folder: &OwnedFd| {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                fs::openat(folder, &**name, flags, Mode::empty()).during(|| "openat".into())
            };
            let files = [open(&folders[0])?, open(&folders[1])?];
            match attributes_differ(&files, who)? {
                None => content_differs(files)?,
                what => what,
            }
        }
        FileType::Symlink => {
            let target =
                |folder: &OwnedFd| fs::readlinkat(folder, &**name, Vec::new()).during(|| "readlinkat".into());
            (target(&folders[0])? != target(&folders[1])?).then(|| "it leads elsewhere".to_owned())
        }
        _ => None,
    };
    Ok(what.map_or(Entry::Same, Entry::Differs))
}

fn stats_differ([wanted, found]: &[Stat; 2]) -> Option<String> {
    let time = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec);
    let kind = FileType::from_raw_mode(wanted.st_mode);
    let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    let table = [
        (wanted.st_mode != found.st_mode, "mode"),
        ((wanted.st_uid, wanted.st_gid) != (found.st_uid, found.st_gid), "owner"),
        (kind == FileType::RegularFile && wanted.st_size != found.st_size, "length"),
        (kind != FileType::Directory && wanted.st_nlink != found.st_nlink, "number of names"),
        (is_device && wanted.st_rdev != found.st_rdev, "device number"),
        // Whiteouts have none that anybody has set.
        (time(wanted) != time(found) && !(is_device && wanted.st_rdev == 0), "time of change"),
    ];
    table.into_iter().find(|(differs, _)| *differs).map(|(_, what)| format!("its {what} is another"))
}

/// What is open and no plain file is a folder.
fn open_files_differ(files: &[OwnedFd; 2], who: As) -> Result<Option<String>> {
    let stat = |file: &OwnedFd| fs::fstat(file).during(|| "fstat".into());
    match stats_differ(&[stat(&files[0])?, stat(&files[1])?]) {
        None => attributes_differ(files, who),
        what => Ok(what),
    }
}

fn attributes_differ(files: &[OwnedFd; 2], who: As) -> Result<Option<String>> {
    let all = [attributes(&files[0], who)?, attributes(&files[1], who)?];
    Ok((all[0] != all[1]).then(|| "its extended attributes are others".to_owned()))
}

/// Names and values, as far as the unpacker sets them: the system adds its own (SELinux's labels).
fn attributes(file: &OwnedFd, who: As) -> Result<BTreeSet<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0; 1 << 16];
    let length = match fs::flistxattr(file, &mut names) {
        Err(Errno::OPNOTSUPP) => 0,
        result => result.during(|| "flistxattr".into())?,
    };
    let mut found = BTreeSet::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name == b"security.selinux" || (who != As::Root && name.starts_with(b"trusted.")) {
            continue;
        }
        let mut value = vec![0; 1 << 16];
        let length = fs::fgetxattr(file, name, &mut value[..]).during(|| "fgetxattr".into())?;
        value.truncate(length);
        found.insert((name.to_vec(), value));
    }
    Ok(found)
}

fn content_differs(files: [OwnedFd; 2]) -> Result<Option<String>> {
    let mut files = files.map(File::from);
    let mut buffers = [vec![0; 1 << 16], vec![0; 1 << 16]];
    loop {
        let mut lengths = [0; 2];
        for ((file, buffer), length) in files.iter_mut().zip(&mut buffers).zip(&mut lengths) {
            while *length < buffer.len() {
                match file
                    .read(&mut buffer[*length..])
                    .during(|| format!("read descriptor {}", file.as_raw_fd()))?
                {
                    0 => break,
                    count => *length += count,
                }
            }
        }
        if buffers[0][..lengths[0]] != buffers[1][..lengths[1]] {
            return Ok(Some("its content is another".to_owned()));
        }
        if lengths[0] == 0 {
            return Ok(None);
        }
    }
}
