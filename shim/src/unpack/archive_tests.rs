use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::unpack::written::{block, extended, header, padded};

/// What is in an archive: each entry with its data.
fn read(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>> {
    let mut archive = Archive::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = archive.next_entry()? {
        let mut data = Vec::new();
        let mut buffer = [0; 700];
        loop {
            match archive.read_data(&mut buffer)? {
                0 => break,
                count => data.extend_from_slice(&buffer[..count]),
            }
        }
        entries.push((entry, data));
    }
    Ok(entries)
}

fn paths(bytes: &[u8]) -> Vec<String> {
    read(bytes).unwrap().into_iter().map(|(entry, _)| String::from_utf8(entry.path).unwrap()).collect()
}

#[test]
fn entries_of_every_kind_are_told_apart() {
    let link = |typeflag| block(typeflag, "l", 0, |block| block[157..160].copy_from_slice(b"a/b")).to_vec();
    let device = |typeflag| {
        block(typeflag, "d", 0, |block| {
            block[329..337].copy_from_slice(b"0000012\0");
            block[337..345].copy_from_slice(b"0000007\0");
        })
        .to_vec()
    };
    let table = [
        (
            [header(b'0', "f", 3), padded(b"abc")].concat(),
            Kind::File(3, vec![Piece { offset: 0, length: 3 }]),
        ),
        ([header(0, "f", 3), padded(b"abc")].concat(), Kind::File(3, vec![Piece { offset: 0, length: 3 }])),
        ([header(b'7', "f", 0)].concat(), Kind::File(0, vec![])),
        (header(0, "f/", 0), Kind::Folder),
        (header(b'5', "f", 0), Kind::Folder),
        // A length of what has no data is no data.
        (header(b'5', "f", 1000), Kind::Folder),
        (link(b'1'), Kind::HardLink(b"a/b".to_vec())),
        (link(b'2'), Kind::Symlink(b"a/b".to_vec())),
        (device(b'3'), Kind::Character(10, 7)),
        (device(b'4'), Kind::Block(10, 7)),
        (header(b'6', "p", 0), Kind::Fifo),
    ];
    for (bytes, kind) in table {
        let entries = read(&[&bytes[..], &header(b'5', "next", 0), &[0; 1024]].concat()).unwrap();
        assert_eq!(entries[0].0.kind, kind);
        assert_eq!(entries[1].0.path, b"next", "{kind:?}");
        let first = &entries[0].0;
        assert_eq!((first.mode, first.uid, first.gid, first.mtime), (0o644, 1000, 1001, (10, 0)));
    }
}

#[test]
fn an_archive_may_end_with_the_last_byte_of_its_last_file() {
    let first = [header(b'0', "a", 3), padded(b"abc")].concat();
    let last = header(b'0', "b", 600);
    let data = [b'x'; 600];
    for padding in [0, 1, 423] {
        let bytes = [&first[..], &last, &data, &[0; 512][..padding]].concat();
        let entries = read(&bytes).unwrap();
        assert_eq!(entries.len(), 2, "{padding}");
        assert_eq!(entries[1].1, data);
    }
    assert!(read(&[&first[..], &last, &data[..599]].concat()).is_err(), "cut");
    // What only announces an entry is none.
    let mut announced = extended(b'L', "name");
    announced.truncate(BLOCK + 4);
    assert!(read(&[&first[..], &announced].concat()).is_err());
}

#[test]
fn names_come_from_the_prefix_from_pax_or_from_gnus_header() {
    let prefixed = block(b'5', "name", 0, |block| block[345..348].copy_from_slice(b"p/q")).to_vec();
    assert_eq!(paths(&prefixed), ["p/q/name"]);
    let long = "x/".repeat(150);
    let pax = format!("{} path={long}\n", long.len() + 10);
    assert_eq!(paths(&[extended(b'x', &pax), header(b'5', "short", 0)].concat()), [long.as_str()]);
    let gnu = [extended(b'L', &format!("{long}\0junk")), header(b'5', "short", 0)].concat();
    assert_eq!(paths(&gnu), [long.as_str()]);
    // It counts for one entry only.
    assert_eq!(paths(&[gnu, header(b'5', "b", 0)].concat()), [long.as_str(), "b"]);
    assert_eq!(paths(&[extended(b'g', "10 path=z\n"), header(b'5', "b", 0)].concat()), ["b"]);
}

#[test]
fn the_length_of_pax_is_the_length() {
    let inner = [header(b'0', "smuggled", 0), vec![0; 512]].concat();
    let told = format!("13 size={}\n", inner.len());
    let bytes =
        [extended(b'x', &told), header(b'0', "f", 0), inner.clone(), header(b'5', "next", 0)].concat();
    let entries = read(&bytes).unwrap();
    assert_eq!(entries.iter().map(|(entry, _)| &entry.path[..]).collect::<Vec<_>>(), [&b"f"[..], b"next"]);
    assert_eq!(entries[0].1, inner);
}

#[test]
fn data_that_is_not_read_is_passed_over_and_the_end_is_known() {
    let bytes = [header(b'0', "f", 1500), vec![7; 1536], header(b'5', "next", 0)].concat();
    for behind in [vec![], vec![0; 512], vec![0; 1024], [vec![0; 1024], vec![9; 77]].concat()] {
        let bytes = [bytes.clone(), behind].concat();
        let mut archive = Archive::new(&bytes[..]);
        let names =
            [archive.next_entry().unwrap().unwrap().path, archive.next_entry().unwrap().unwrap().path];
        assert_eq!(names, [b"f".to_vec(), b"next".to_vec()]);
        assert_eq!(archive.next_entry().unwrap(), None);
        assert_eq!(archive.next_entry().unwrap(), None, "also when asked again");
    }
}

#[test]
fn what_readers_could_disagree_about_is_refused() {
    let folder = header(b'5', "d", 0);
    let high = |range: std::ops::Range<usize>| {
        let value = [&[0x80][..], &vec![0xff; range.len() - 1]].concat();
        block(b'5', "d", 0, |block| block[range].copy_from_slice(&value)).to_vec()
    };
    let table = [
        ("a header is cut", folder[..300].to_vec()),
        ("data is cut", [header(b'0', "f", 600), vec![0; 512]].concat()),
        ("no tar at all", vec![b'x'; 2048]),
        ("an entry behind zeros", [vec![0; 512], folder.clone()].concat()),
        (
            "two pax headers",
            [extended(b'x', "9 path=a\n"), extended(b'x', "9 path=b\n"), folder.clone()].concat(),
        ),
        ("two names", [extended(b'x', "9 path=a\n"), extended(b'L', "b"), folder.clone()].concat()),
        ("nothing behind a pax header", [extended(b'x', "9 path=a\n"), vec![0; 1024]].concat()),
        ("no name", header(b'5', "", 0)),
        ("a link to nothing", header(b'2', "l", 0)),
        ("an unknown kind", header(b'Z', "d", 0)),
        ("a huge pax header", block(b'x', "d", 1 << 30, |_| ()).to_vec()),
        (
            "a negative length",
            [extended(b'x', "11 size=-5\n"), header(b'0', "f", 5), padded(b"abcde")].concat(),
        ),
        ("an owner of -1", [extended(b'x', "18 uid=4294967295\n"), folder.clone()].concat()),
        ("an owner beyond 32 bits", [extended(b'x', "18 gid=4294967296\n"), folder.clone()].concat()),
        ("an owner in binary beyond 32 bits", high(108..116)),
        ("a malformed global header", [extended(b'g', "9 path"), folder].concat()),
    ];
    for (what, bytes) in table {
        let error = read(&bytes).expect_err(what);
        assert!(!error.to_string().contains('\n'), "{what}: {error}");
    }
}

#[test]
fn contradicting_pieces_of_a_sparse_file_are_refused() {
    let pieces_of = |numbers: &[i64], whole, stored| pieces(numbers, whole, stored).ok();
    let piece = |offset, length| Piece { offset, length };
    assert_eq!(pieces_of(&[0, 5, 9, 1], 20, 6), Some(vec![piece(0, 5), piece(9, 1)]));
    assert_eq!(pieces_of(&[20, 0], 20, 0), Some(vec![]), "an empty piece marks the end");
    for (numbers, whole, stored) in [
        (&[0][..], 20, 0),
        (&[0, 5, 4, 1], 20, 6),
        (&[9, 1, 0, 5], 20, 6),
        (&[0, 21], 20, 21),
        (&[0, 5], 20, 6),
        (&[0, -5], 20, 0),
        (&[-1, 5], 20, 5),
        (&[i64::MAX, i64::MAX], 20, 0),
    ] {
        assert_eq!(pieces_of(numbers, whole, stored), None, "{numbers:?}");
    }
}

/// What GNU tar writes in this way of a file with holes is read as the same file.
fn gnu_tar_round_trip(options: &[&str]) {
    let folder =
        std::env::temp_dir().join(format!("caisson-tar-{}-{}", std::process::id(), options.join("")));
    std::fs::create_dir(&folder).unwrap();
    let long = "n".repeat(120);
    let mut file = std::fs::File::create(folder.join("sparse")).unwrap();
    file.set_len(40_000_000).unwrap();
    // More pieces than fit into a header, and than into one extension of it.
    for number in 0..40_u64 {
        file.write_all_at(format!("piece {number}").as_bytes(), number * 1_000_000).unwrap();
    }
    file.flush().unwrap();
    std::fs::write(folder.join(&long), b"long").unwrap();
    let tar = |folder: &Path| {
        let mut command = Command::new("tar");
        command.args(options).args(["--sparse", "--owner=70000", "--group=7", "--create", "--file=-"]);
        command.args(["--mtime=@99", "--directory"]).arg(folder).args(["sparse", &long]).output().unwrap()
    };
    let output = tar(&folder);
    let expected = std::fs::read(folder.join("sparse")).unwrap();
    std::fs::remove_file(folder.join("sparse")).unwrap();
    std::fs::remove_file(folder.join(&long)).unwrap();
    std::fs::remove_dir(&folder).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.len() < 2_000_000, "holes are not stored");

    let entries = read(&output.stdout).unwrap();
    assert_eq!(entries.len(), 2);
    let (entry, data) = &entries[0];
    assert_eq!(
        (entry.path.as_slice(), entry.uid, entry.gid, entry.mtime),
        (&b"sparse"[..], 70000, 7, (99, 0))
    );
    let Kind::File(length, pieces) = &entry.kind else { panic!("{entry:?}") };
    assert!(pieces.len() > 20, "{pieces:?}");
    let mut whole = vec![0; usize::try_from(*length).unwrap()];
    let mut rest = &data[..];
    for piece in pieces {
        let (begin, length) =
            (usize::try_from(piece.offset).unwrap(), usize::try_from(piece.length).unwrap());
        let (now, behind) = rest.split_at(length);
        whole[begin..begin + length].copy_from_slice(now);
        rest = behind;
    }
    assert!(whole == expected, "the same bytes");
    assert_eq!((entries[1].0.path.as_slice(), entries[1].1.as_slice()), (long.as_bytes(), &b"long"[..]));
}

#[test]
fn gnu_tars_formats_and_sparse_files_are_read() {
    gnu_tar_round_trip(&["--format=gnu"]);
    gnu_tar_round_trip(&["--format=oldgnu"]);
    for version in ["0.0", "0.1", "1.0"] {
        gnu_tar_round_trip(&["--format=posix", &format!("--sparse-version={version}")]);
    }
}
