//! Archives of tar: made of members whose every field may be odd, and read by the shim, by the `tar` crate and now and
//! then by GNU tar. What the shim accepts, the others have to read alike, or it is known why not ([`Oddity`]).

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use caisson_shim::unpack::archive::{Archive, Kind};

use crate::random::Random;

const BLOCK: usize = 512;
/// More entries than any archive here has: a reader that does not end is stopped.
const ENTRIES_MAX: usize = 1000;

/// Why readers may differ about an archive that the shim accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oddity {
    /// A length of what has no data (a folder, a link), in its header or by pax: none to Go and the shim, data to be
    /// passed over to others, which then take that for headers.
    LengthOfNothing,
    /// A sparse file: the `tar` crate knows no pax sparse files, and gives the length of what is stored.
    Sparse,
    /// A pax record that is empty, which takes back what was said before (pax), or that others do not undo.
    EmptyRecord,
    /// A record twice: the last one counts here and in Go; the `tar` crate takes the first.
    RecordTwice,
    /// A name that ends in a slash: of a file it makes a folder before ustar, and of others for some.
    Slash,
    /// An end without the two blocks of zeros, or in the middle of a file's padding.
    NoEnd,
    /// An extended header for nobody, or one that others take for an entry.
    Extended,
    /// A number that is not octal digits and what may be around them.
    OddNumber,
    /// A magic that is no one's, behind which some look for a prefix all the same.
    OddMagic,
    /// A name in both GNU's header and the entry's own field with a NUL in it.
    Nul,
}

/// An archive, and what is odd about it.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Why others may read it in another way.
    pub oddities: Vec<Oddity>,
}

/// An entry as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// As written, less slashes at its end.
    pub path: Vec<u8>,
    /// A letter as in ls(1).
    pub kind: char,
    /// Of a file; 0 of anything else.
    pub size: u64,
}

/// An archive that may be one.
#[must_use]
pub fn make(random: &mut Random) -> Made {
    let mut made = Made { bytes: Vec::new(), oddities: Vec::new() };
    for _ in 0..=random.below(5) {
        member(random, &mut made);
    }
    if random.one_in(10) {
        made.oddities.push(Oddity::NoEnd);
    } else {
        made.bytes.resize(made.bytes.len() + 2 * BLOCK, 0);
    }
    if random.one_in(12) {
        let length = random.below(made.bytes.len() + 1);
        made.bytes.truncate(length);
        made.oddities.push(Oddity::NoEnd);
    }
    if random.one_in(12) {
        // Anything, anywhere: mostly the checksum tells.
        let at = random.below(made.bytes.len());
        if let Some(byte) = made.bytes.get_mut(at) {
            *byte ^= 1 << random.below(8);
        }
    }
    made
}

fn member(random: &mut Random, made: &mut Made) {
    let mut told_by_pax = false;
    if random.one_in(3) {
        let records = records(random, made);
        told_by_pax = records.windows(6).any(|text| text == b" size=");
        let kind = if random.one_in(8) { b'g' } else { b'x' };
        extended(made, kind, &records);
        if kind == b'g' {
            made.oddities.push(Oddity::Extended);
        }
    }
    if random.one_in(6) {
        let kind = *random.pick(b"LLLK");
        let mut text = name(random, 200, made);
        if random.one_in(3) {
            text.push(0);
        }
        extended(made, kind, &text);
    }
    let typeflag = *random.pick(b"0000000055512346\x007Sxg?");
    let length = *random.pick(&[0, 0, 1, 5, 511, 512, 513, 1030]);
    let data: Vec<u8> = (0..length).map(|at| b"data "[at % 5]).collect();
    let has_data = matches!(typeflag, b'0' | 0 | b'7' | b'S');
    let told = if random.one_in(25) {
        random.below(2000)
    } else if has_data {
        length
    } else {
        0
    };
    if !has_data && (told != 0 || told_by_pax) {
        made.oddities.push(Oddity::LengthOfNothing);
    }
    let mut block = header(random, typeflag, told, made);
    checksum(random, &mut block);
    made.bytes.extend_from_slice(&block);
    if has_data {
        made.bytes.extend_from_slice(&data);
        made.bytes.resize(made.bytes.len().next_multiple_of(BLOCK), 0);
    }
    match typeflag {
        b'S' => made.oddities.push(Oddity::Sparse),
        b'x' | b'g' => made.oddities.push(Oddity::Extended),
        _ => {}
    }
}

fn header(random: &mut Random, typeflag: u8, size: usize, made: &mut Made) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let path = name(random, 100, made);
    block[..path.len()].copy_from_slice(&path);
    number(random, &mut block[100..108], 0o644, made);
    number(random, &mut block[108..116], 1000, made);
    number(random, &mut block[116..124], 1000, made);
    number(random, &mut block[124..136], size as u64, made);
    number(random, &mut block[136..148], 1_700_000_000, made);
    block[156] = typeflag;
    if matches!(typeflag, b'1' | b'2') && !random.one_in(10) {
        let target = name(random, 100, made);
        block[157..157 + target.len()].copy_from_slice(&target);
    }
    match random.below(8) {
        0 => block[257..265].copy_from_slice(b"ustar  \0"),
        1 => {}
        2 => {
            block[257..265].copy_from_slice(random.pick::<[u8; 8]>(&[
                *b"ustar\0\0\0",
                *b"ustar 00",
                *b"ustar\x0099",
                *b"USTAR\x0000",
            ]));
            made.oddities.push(Oddity::OddMagic);
        }
        _ => block[257..265].copy_from_slice(b"ustar\x0000"),
    }
    number(random, &mut block[329..337], 1, made);
    number(random, &mut block[337..345], 3, made);
    if random.one_in(6) {
        let prefix = name(random, 155, made);
        block[345..345 + prefix.len()].copy_from_slice(&prefix);
    }
    block
}

/// Names, of which some are of the longest that a field takes.
fn name(random: &mut Random, most: usize, made: &mut Made) -> Vec<u8> {
    let mut name = Vec::new();
    for _ in 0..=random.below(4) {
        let piece: &[u8] = random.pick::<&[u8]>(&[
            b"a",
            b"b/",
            b"../",
            b"/",
            b"./",
            b".wh.x",
            b"dir/",
            b"\xff\xfe",
            b"long-long-long-long-long-long/",
            b" ",
            b"c",
        ]);
        name.extend_from_slice(piece);
    }
    if random.one_in(12) {
        name.resize(most, b'n');
    }
    if random.one_in(40) {
        name.extend_from_slice(b"\0hidden");
        made.oddities.push(Oddity::Nul);
    }
    if random.one_in(60) {
        name.clear();
    }
    if name.ends_with(b"/") {
        made.oddities.push(Oddity::Slash);
    }
    name.truncate(most);
    name
}

/// A number, mostly as everybody writes it.
fn number(random: &mut Random, field: &mut [u8], value: u64, made: &mut Made) {
    let width = field.len();
    let text = match random.below(60) {
        0 => vec![b' '; width],
        1 => format!("{value:>width$o} ", width = width - 1).into_bytes(),
        2 => {
            let mut binary = vec![0; width];
            binary[width - 8..].copy_from_slice(&value.to_be_bytes());
            binary[0] |= 0x80;
            binary
        }
        3 => vec![0xff; width],
        4 => format!("{:01$o}", value, width).into_bytes(),
        5 => format!("-{:01$o}", value, width - 1).into_bytes(),
        6 => (0..width).map(|_| random.byte()).collect(),
        7 => format!("{value:o}\0junk").into_bytes(),
        _ => {
            field.copy_from_slice(format!("{:01$o}\0", value, width - 1).as_bytes());
            return;
        }
    };
    made.oddities.push(Oddity::OddNumber);
    let length = text.len().min(width);
    field[..length].copy_from_slice(&text[..length]);
}

fn checksum(random: &mut Random, block: &mut [u8; BLOCK]) {
    block[148..156].copy_from_slice(b"        ");
    let mut sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    if random.one_in(80) {
        sum += 1;
    }
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn extended(made: &mut Made, typeflag: u8, data: &[u8]) {
    let mut block = [0; BLOCK];
    block[..9].copy_from_slice(b"extension");
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = typeflag;
    let magic: &[u8] = if matches!(typeflag, b'L' | b'K') { b"ustar  \0" } else { b"ustar\x0000" };
    block[257..265].copy_from_slice(magic);
    checksum(&mut Random::new(1), &mut block);
    made.bytes.extend_from_slice(&block);
    made.bytes.extend_from_slice(data);
    made.bytes.resize(made.bytes.len().next_multiple_of(BLOCK), 0);
}

fn records(random: &mut Random, made: &mut Made) -> Vec<u8> {
    let mut records = Vec::new();
    let mut known: Vec<&str> = Vec::new();
    for _ in 0..=random.below(3) {
        let key = *random.pick::<&str>(&[
            "path",
            "path",
            "linkpath",
            "size",
            "uid",
            "gid",
            "mtime",
            "SCHILY.xattr.user.x",
            "comment",
            "GNU.sparse.size",
            "GNU.sparse.map",
            "GNU.sparse.major",
            "GNU.sparse.minor",
            "GNU.sparse.name",
            "GNU.sparse.realsize",
            "hdrcharset",
        ]);
        let value = match key {
            "path" | "linkpath" | "GNU.sparse.name" => name(random, 300, made),
            "size" | "GNU.sparse.size" | "GNU.sparse.realsize" => random
                .pick(&["0", "1", "5", "513", "99999999999999999999", "-1", " 5", "5 ", "0x5"])
                .as_bytes()
                .to_vec(),
            "GNU.sparse.map" => random.pick(&["0,5", "0,1,8,1", "5,0", "1", "a,b"]).as_bytes().to_vec(),
            "mtime" => random.pick(&["1", "1.5", "-1.25", "1.", ".5", "1e3"]).as_bytes().to_vec(),
            _ => random.pick(&["1", "0", "1000", "", "4294967295"]).as_bytes().to_vec(),
        };
        if key.starts_with("GNU") {
            made.oddities.push(Oddity::Sparse);
        }
        if value.is_empty() {
            made.oddities.push(Oddity::EmptyRecord);
        }
        if known.contains(&key) {
            made.oddities.push(Oddity::RecordTwice);
        }
        known.push(key);
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length += 1;
        }
        if random.one_in(40) {
            length = random.below(100);
        }
        records.extend_from_slice(format!("{length} {key}=").as_bytes());
        records.extend_from_slice(&value);
        records.push(b'\n');
    }
    records
}

/// What the shim sees in an archive; None where it refuses it.
///
/// # Errors
/// Where it does not come to an end, or gives more than there is.
pub fn ours(bytes: &[u8]) -> Result<Option<Vec<Seen>>, String> {
    let mut archive = Archive::new(bytes);
    let mut seen = Vec::new();
    loop {
        let entry = match archive.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(Some(seen)),
            Err(_) => return Ok(None),
        };
        let (kind, size) = match &entry.kind {
            Kind::File(size, _) => ('-', *size),
            Kind::Folder => ('d', 0),
            Kind::Symlink(_) => ('l', 0),
            Kind::HardLink(_) => ('h', 0),
            Kind::Fifo => ('p', 0),
            Kind::Character(..) => ('c', 0),
            Kind::Block(..) => ('b', 0),
        };
        let (mut buffer, mut stored) = ([0; 700], 0);
        loop {
            match archive.read_data(&mut buffer) {
                Ok(0) => break,
                Ok(count) => stored += count,
                Err(_) => return Ok(None),
            }
        }
        if stored > bytes.len() {
            return Err(format!("{stored} bytes of data out of {}", bytes.len()));
        }
        seen.push(Seen { path: trimmed(&entry.path), kind, size });
        if seen.len() > ENTRIES_MAX {
            return Err("it does not end".to_owned());
        }
    }
}

fn trimmed(path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    path[..end].to_vec()
}

/// What the `tar` crate sees; its error where it refuses it.
///
/// # Errors
/// Its own words.
pub fn tar_crate(bytes: &[u8]) -> Result<Vec<Seen>, String> {
    let mut archive = tar::Archive::new(bytes);
    let mut seen = Vec::new();
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let kind = match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => '-',
            tar::EntryType::Directory => 'd',
            tar::EntryType::Symlink => 'l',
            tar::EntryType::Link => 'h',
            tar::EntryType::Fifo => 'p',
            tar::EntryType::Char => 'c',
            tar::EntryType::Block => 'b',
            _ => '?',
        };
        let size = if kind == '-' { entry.size() } else { 0 };
        let path = trimmed(&entry.path_bytes());
        let mut data = Vec::new();
        entry.by_ref().take(1 << 20).read_to_end(&mut data).map_err(|error| error.to_string())?;
        seen.push(Seen { path, kind, size });
        if seen.len() > ENTRIES_MAX {
            return Err("it does not end".to_owned());
        }
    }
    Ok(seen)
}

/// What GNU tar lists; None where it has a complaint, or where its lines cannot be taken apart.
///
/// # Errors
/// Where it cannot be started.
pub fn gnu_tar(bytes: &[u8]) -> Result<Option<Vec<Seen>>, String> {
    let args =
        ["--list", "--verbose", "--numeric-owner", "--quoting-style=escape", "--absolute-names", "--file=-"];
    let mut command = Command::new("tar");
    command.args(args).env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("tar: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may have seen enough before the end.
        let _ = stdin.write_all(bytes);
    }
    let output = child.wait_with_output().map_err(|error| format!("tar: {error}"))?;
    if !output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().map(listed).collect())
}

/// `-rw-r--r-- 0/0 5 2024-01-01 00:00 name`.
fn listed(line: &str) -> Option<Seen> {
    let mut fields = line.split_whitespace();
    let (kind, size) = (fields.next()?.chars().next()?, fields.nth(1)?);
    let kind = if kind == 'C' { '-' } else { kind }; // a contiguous file
    let name = fields.nth(2)?;
    // A name with a blank in it looks like several.
    let rest: Vec<&str> = fields.collect();
    let is_plain = rest.is_empty() || matches!(rest[..], ["->", _] | ["link", "to", _]);
    let size = if kind == '-' { size.parse().ok()? } else { 0 };
    (is_plain && !name.contains('\\')).then(|| Seen { path: trimmed(name.as_bytes()), kind, size })
}

/// What came of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The shim refuses it.
    Refused,
    /// All read it alike.
    Alike,
    /// Another reader refuses it, or reads it in another way, and what is odd about it says why.
    Explained(Oddity),
}

/// Reads an archive in all ways; by GNU tar too, which takes its time, with `gnu`.
///
/// # Errors
/// What nobody can explain.
pub fn check(made: &Made, gnu: bool) -> Result<Outcome, String> {
    let Some(ours) = ours(&made.bytes)? else { return Ok(Outcome::Refused) };
    let explained = |difference: String| match made.oddities.first() {
        Some(oddity) => Ok(Outcome::Explained(*oddity)),
        None => Err(format!("the shim sees {ours:?}, {difference}")),
    };
    match tar_crate(&made.bytes) {
        Ok(theirs) if theirs == ours => {}
        Ok(theirs) => return explained(format!("the tar crate {theirs:?}")),
        Err(error) => return explained(format!("the tar crate says: {error}")),
    }
    // In its lines a blank of a name cannot be told from what stands between names.
    let gnu = gnu && !ours.iter().any(|seen| seen.path.contains(&b' '));
    match if gnu { gnu_tar(&made.bytes)? } else { None } {
        Some(theirs) if theirs != ours => explained(format!("GNU tar {theirs:?}")),
        _ => Ok(Outcome::Alike),
    }
}
