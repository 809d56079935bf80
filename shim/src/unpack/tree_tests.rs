//! They make devices and owners: as root.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::*;
use crate::unpack::written::{block, extended, file, folder, header, link, owned, padded, record};

/// A folder with a canary beside it; both are gone at the end.
struct Ground {
    outer: PathBuf,
}

impl Ground {
    fn new(name: &str) -> Ground {
        let outer = std::env::temp_dir().join(format!("caisson-tree-{}-{name}", std::process::id()));
        std::fs::create_dir(&outer).unwrap();
        std::fs::create_dir(outer.join("root")).unwrap();
        std::fs::create_dir(outer.join("outside")).unwrap();
        std::fs::write(outer.join("outside/canary"), "sings").unwrap();
        Ground { outer }
    }

    fn root(&self) -> PathBuf {
        self.outer.join("root")
    }

    fn unpack(&self, entries: &[Vec<u8>]) -> Result<Unpacked> {
        let bytes = entries.concat();
        let folder = std::fs::File::open(self.root()).unwrap();
        unpack(&mut Archive::new(&bytes[..]), folder.as_fd(), As::Root)
    }

    /// Names and contents below the root; `!` is a whiteout, `->` a link.
    fn list(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(&self.root(), "", &mut found);
        found.sort();
        found
    }

    fn assert_untouched(&self, what: &str) {
        let canary = std::fs::read_to_string(self.outer.join("outside/canary")).unwrap();
        let names = std::fs::read_dir(self.outer.join("outside")).unwrap().count();
        let around = std::fs::read_dir(&self.outer).unwrap().count();
        assert_eq!((canary.as_str(), names, around), ("sings", 1, 2), "{what}");
    }
}

fn list(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.push(format!("{name}/"));
            list(&entry.path(), &format!("{name}/"), found);
        } else if kind.is_symlink() {
            found.push(format!("{name}->{}", entry.path().read_link().unwrap().display()));
        } else if kind.is_char_device() && entry.metadata().unwrap().rdev() == 0 {
            found.push(format!("!{name}"));
        } else if kind.is_file() {
            found.push(format!("{name}={}", std::fs::read_to_string(entry.path()).unwrap()));
        } else {
            found.push(name);
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let parent = std::fs::File::open(self.outer.parent().unwrap()).unwrap();
        let name = CString::new(self.outer.file_name().unwrap().as_encoded_bytes()).unwrap();
        remove_all(parent.as_fd(), &name).unwrap();
    }
}

fn opaque(path: &Path) -> bool {
    let mut value = [0; 8];
    fs::lgetxattr(path, "trusted.overlay.opaque", &mut value[..]).is_ok_and(|length| value[..length] == *b"y")
}

#[test]
fn everything_comes_out_as_it_was_described() {
    let place = Ground::new("everything");
    let attributes = [record("SCHILY.xattr.user.note", b"a\0b"), record("mtime", b"-1.5")].concat();
    let capability = b"\x01\0\0\x02\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let capable = String::from_utf8(record("SCHILY.xattr.security.capability", capability)).unwrap();
    let unpacked = place
        .unpack(&[
            owned(b'5', "./", 0o1750, (7, 8)),
            owned(b'5', "d/", 0o2711, (1000, 70000)),
            extended(b'x', &String::from_utf8(attributes).unwrap()),
            file("d/f", "text"),
            extended(b'x', &capable),
            owned(b'0', "d/suid", 0o6755, (5, 6)),
            link(b'1', "hard", "./d/f"),
            link(b'2', "soft", "/nowhere/../x"),
            owned(b'6', "pipe", 0o620, (3, 4)),
            block(b'3', "char", 0, |block| {
                block[329..337].copy_from_slice(b"0000001\0");
                block[337..345].copy_from_slice(b"0000003\0");
            })
            .to_vec(),
            vec![0; 1024],
        ])
        .unwrap();
    // The text, and where the symbolic link leads.
    assert_eq!(unpacked, Unpacked { size: 4 + 13, ..Unpacked::default() });
    let root = place.root();
    let stat = |path: &str| {
        let stat = root.join(path).symlink_metadata().unwrap();
        (stat.mode(), stat.uid(), stat.gid(), stat.mtime(), stat.mtime_nsec())
    };
    assert_eq!(stat(""), (0o41750, 7, 8, 10, 0));
    assert_eq!(stat("d"), (0o42711, 1000, 70000, 10, 0), "also after files were put into it");
    assert_eq!(stat("d/f"), (0o100_644, 1000, 1001, -2, 500_000_000));
    assert_eq!(stat("d/suid"), (0o106_755, 5, 6, 10, 0));
    assert_eq!(stat("pipe"), (0o10620, 3, 4, 10, 0));
    assert_eq!(stat("soft").1, 1000);
    assert_eq!(stat("soft").3, 10);
    let char = root.join("char").metadata().unwrap();
    assert_eq!((char.file_type().is_char_device(), char.rdev()), (true, fs::makedev(1, 3)));
    assert_eq!(root.join("hard").metadata().unwrap().ino(), root.join("d/f").metadata().unwrap().ino());
    assert_eq!(root.join("soft").read_link().unwrap(), Path::new("/nowhere/../x"));
    let mut value = [0; 32];
    let length = fs::getxattr(root.join("d/f"), "user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"a\0b");
    let length = fs::getxattr(root.join("d/suid"), "security.capability", &mut value[..]).unwrap();
    assert_eq!(&value[..length], capability, "chown would have taken it away");
}

#[test]
fn no_name_leads_out_of_the_folder() {
    let escape = "../outside/canary";
    let table: [(&str, Vec<Vec<u8>>); 14] = [
        ("a name with ..", vec![file(escape, "x")]),
        ("a name with .. behind a folder", vec![file("a/../../outside/canary", "x")]),
        ("a folder ..", vec![folder(".."), file("../outside/x", "x")]),
        ("a hard link out", vec![link(b'1', "l", escape), file("l", "x")]),
        ("a relative link", vec![link(b'2', "l", "../outside"), file("l/x", "x")]),
        ("an absolute link", vec![link(b'2', "l", "/"), file("l/outside/x", "x")]),
        (
            "a link to a link",
            vec![link(b'2', "a", ".."), link(b'2', "b", "a/outside"), file("b/canary", "x")],
        ),
        ("a file through a link", vec![link(b'2', "l", escape), file("l", "x")]),
        ("a folder over a link", vec![link(b'2', "l", "../outside"), owned(b'5', "l", 0o777, (9, 9))]),
        (
            "a hard link through a link",
            vec![link(b'2', "l", "../outside"), link(b'1', "h", "l/canary"), file("h", "x")],
        ),
        ("a hard link to a link", vec![link(b'2', "l", escape), link(b'1', "h", "l"), file("h", "x")]),
        ("a whiteout through a link", vec![link(b'2', "l", "../outside"), header(b'0', "l/.wh.canary", 0)]),
        ("a whiteout of ..", vec![folder("d"), header(b'0', "d/.wh...", 0)]),
        ("a magic link", vec![link(b'2', "l", "/proc/self/root"), file("l/tmp/x", "x")]),
    ];
    for (what, entries) in table {
        let place = Ground::new("escape");
        // Refused, or made inside: both are right.
        let _ = place.unpack(&entries);
        place.assert_untouched(what);
    }
    let place = Ground::new("inside");
    place
        .unpack(&[folder("usr"), folder("usr/lib"), link(b'2', "lib", "/usr/lib"), file("lib/x", "y")])
        .unwrap();
    assert_eq!(place.list(), ["lib->/usr/lib", "usr/", "usr/lib/", "usr/lib/x=y"], "as a chroot has it");
    let error = place.unpack(&[file(escape, "x")]).unwrap_err().to_string();
    assert_eq!(error, format!("entry {escape:?}: it leads out of the image's root"));
}

#[test]
fn a_later_entry_of_the_same_name_replaces_what_is_there() {
    let place = Ground::new("replace");
    place
        .unpack(&[
            folder("d"),
            file("d/a", "1"),
            folder("d/e"),
            file("d/e/b", "2"),
            link(b'2', "d/l", "/"),
            file("d", "3"),
            file("f", "4"),
            folder("f"),
            file("f/c", "5"),
            link(b'2', "g", "f"),
            file("g", "6"),
            file("h", "a longer text"),
            file("h", "7"),
            folder("k"),
            file("k/x", "8"),
            owned(b'5', "k", 0o700, (1, 1)),
        ])
        .unwrap();
    assert_eq!(place.list(), ["d=3", "f/", "f/c=5", "g=6", "h=7", "k/", "k/x=8"]);
    assert_eq!(place.root().join("k").metadata().unwrap().mode(), 0o40700);
}

#[test]
fn whiteouts_become_overlayfss_in_any_order() {
    let empty = |path: &str| header(b'0', path, 0);
    let place = Ground::new("whiteouts");
    let unpacked = place
        .unpack(&[
            empty(".wh.gone"),
            folder("d"),
            empty("d/.wh..wh..opq"),
            file("d/new", "1"),
            // Of its own layer it hides nothing, in whatever order they come.
            file("kept", "2"),
            empty(".wh.kept"),
            empty(".wh.later"),
            file("later", "3"),
            folder("e"),
            file("e/x", "4"),
            empty(".wh.e"),
            empty(".wh.f"),
            folder("f"),
            file("f/x", "5"),
            empty(".wh.g"),
            file("g/x", "6"),
            empty(".wh..wh.plnk"),
            empty(".wh..wh.aufs"),
        ])
        .unwrap();
    assert_eq!(
        place.list(),
        ["!gone", "d/", "d/new=1", "e/", "e/x=4", "f/", "f/x=5", "g/", "g/x=6", "kept=2", "later=3"]
    );
    let root = place.root();
    assert_eq!(["d", "e", "f", "g"].map(|name| opaque(&root.join(name))), [true; 4]);
    assert_eq!(unpacked.implied_folders, [b"".to_vec(), b"g".to_vec()].into());
    assert!(!unpacked.hides_all_below);
    assert!(place.unpack(&[empty(".wh..wh..opq")]).unwrap().hides_all_below);
    for wrong in [".wh.", "d/.wh..", "d/.wh..."] {
        assert!(place.unpack(&[empty(wrong)]).is_err(), "{wrong}");
    }
}

#[test]
fn folders_that_nobody_describes_are_told() {
    let place = Ground::new("implied");
    let unpacked =
        place.unpack(&[file("a/b/c", "1"), owned(b'5', "a", 0o700, (1, 1)), file("x/y", "2")]).unwrap();
    assert_eq!(unpacked.implied_folders, [b"".to_vec(), b"a/b".to_vec(), b"x".to_vec()].into());
    assert_eq!(place.root().join("x").metadata().unwrap().mode(), 0o40755);
}

#[test]
fn marks_of_overlayfs_and_labels_of_selinux_do_not_come_from_an_image() {
    let place = Ground::new("marks");
    let marks =
        ["trusted.overlay.opaque", "trusted.overlay.redirect", "user.overlay.metacopy", "security.selinux"];
    let records = marks.map(|mark| record(&format!("SCHILY.xattr.{mark}"), b"y")).concat();
    place.unpack(&[extended(b'x', &String::from_utf8(records).unwrap()), folder("d")]).unwrap();
    let path = place.root().join("d");
    let has = |mark: &&str| fs::getxattr(&path, *mark, &mut [0; 8][..]).is_ok_and(|length| length == 1);
    assert!(!marks.iter().any(has));
}

#[test]
fn a_sparse_file_has_its_holes() {
    let place = Ground::new("sparse");
    let records = [("GNU.sparse.map", "4096,3,8388608,0"), ("GNU.sparse.size", "8388608")];
    let records = records.map(|(key, value)| record(key, value.as_bytes())).concat();
    let pax = extended(b'x', &String::from_utf8(records).unwrap());
    place.unpack(&[pax, header(b'0', "s", 3), padded(b"abc")]).unwrap();
    let stat = place.root().join("s").metadata().unwrap();
    assert_eq!(stat.len(), 8_388_608);
    assert!(stat.blocks() < 100, "{} blocks", stat.blocks());
    assert_eq!(&std::fs::read(place.root().join("s")).unwrap()[4095..4100], b"\0abc\0");
}

#[test]
fn a_name_of_any_length_takes_neither_memory_nor_stack() {
    let ground = Ground::new("long");
    let pax = |path: &str| {
        let text = String::from_utf8(record("path", path.as_bytes())).unwrap();
        [extended(b'x', &text), file("short", "x")].concat()
    };
    let longest = format!("{}x", "d/".repeat(2047));
    ground.unpack(&[pax(&longest)]).unwrap();
    let error = ground.unpack(&[pax(&format!("{longest}/"))]).unwrap_err().to_string();
    assert!(error.ends_with("…: a name of 4096 bytes is too long") && error.len() < 200, "{error}");
    let error = ground.unpack(&[pax(&"d/".repeat(500_000))]).unwrap_err().to_string();
    assert!(error.ends_with("…: a name of 1000000 bytes is too long"), "{error}");
    // Through a link it goes deeper than any name does; it is removed all the same.
    let entries = [
        pax(&longest),
        link(b'2', "deeper", &"d/".repeat(45)),
        pax(&format!("deeper/{}x", "d/".repeat(2040))),
        file("replaced/x", "x"),
        pax(&format!("replaced/{}x", "d/".repeat(2040))),
        file("replaced", "by a file"),
    ];
    ground.unpack(&entries).unwrap();
    ground.assert_untouched("deep names");
}
