//! The records of a pax extended header: `LENGTH KEY=VALUE\n`, where the length counts itself. Pure.
//!
//! Source: POSIX.1-2017 `pax`, "pax Extended Header"; GNU tar manual, "Storing Sparse Files". Readers that disagree
//! about where a record ends see different archives (CVE-2025-62518 and its kin): what is not exactly so is refused.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// What an extended header says of the entry behind it.
#[derive(Default, Debug, PartialEq)]
pub struct Records {
    /// Name of the entry.
    pub path: Option<Vec<u8>>,
    /// Where a link leads.
    pub link: Option<Vec<u8>>,
    /// Length of the data in the archive, in bytes.
    pub size: Option<i64>,
    /// Owner.
    pub uid: Option<i64>,
    /// Group.
    pub gid: Option<i64>,
    /// Time of change: seconds since 1970, nanoseconds.
    pub mtime: Option<(i64, u32)>,
    /// Extended attributes, in order.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// What GNU tar says of a sparse file.
    pub sparse: Sparse,
}

/// GNU tar's three ways to describe a sparse file.
#[derive(Default, Debug, PartialEq)]
pub struct Sparse {
    /// Version 1.0: the pieces are told at the beginning of the data.
    pub is_in_data: bool,
    /// Whole length of the file, in bytes.
    pub size: Option<i64>,
    /// Offset, length, offset, length … (versions 0.0 and 0.1).
    pub map: Vec<i64>,
    /// The file's own name, where `path` is made up.
    pub name: Option<Vec<u8>>,
}

const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// Reads all records. A later one of the same key replaces an earlier one, an empty value takes it away.
///
/// # Errors
/// A record that is not exactly as the standard has it.
pub fn parse(mut rest: &[u8]) -> Result<Records> {
    let mut records = Records::default();
    let mut version = (None, None);
    // Where each attribute is: of two with one name the later one counts.
    let mut known: HashMap<&[u8], usize> = HashMap::new();
    while !rest.is_empty() {
        let (record, behind) = split_record(rest).ok_or_else(|| bad("a record is malformed"))?;
        rest = behind;
        let at = record.iter().position(|byte| *byte == b'=').ok_or_else(|| bad("a record has no ="))?;
        let (key, value) = (&record[..at], &record[at + 1..]);
        match key {
            b"" => return Err(bad("a record has no key")),
            b"path" => records.path = name(key, value)?,
            b"linkpath" => records.link = name(key, value)?,
            b"size" => records.size = number(key, value)?,
            b"uid" => records.uid = number(key, value)?,
            b"gid" => records.gid = number(key, value)?,
            b"mtime" => records.mtime = time(value)?,
            b"GNU.sparse.major" => version.0 = number(key, value)?,
            b"GNU.sparse.minor" => version.1 = number(key, value)?,
            b"GNU.sparse.name" => records.sparse.name = name(key, value)?,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => records.sparse.size = number(key, value)?,
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                // The two alternate, from an offset on.
                if key.ends_with(b"offset") != records.sparse.map.len().is_multiple_of(2) {
                    return Err(bad("GNU.sparse.offset and .numbytes do not alternate"));
                }
                records.sparse.map.extend(number(key, value)?);
            }
            b"GNU.sparse.map" => {
                records.sparse.map = value
                    .split(|byte| *byte == b',')
                    .map(|number| decimal(number).ok_or_else(|| bad("GNU.sparse.map has no numbers")))
                    .collect::<Result<_>>()?;
            }
            _ => {
                if let Some(key) = key.strip_prefix(ATTRIBUTE) {
                    if key.is_empty() || key.contains(&0) {
                        return Err(bad("an extended attribute has no name"));
                    }
                    let next = records.attributes.len();
                    match *known.entry(key).or_insert(next) {
                        at if at < next => records.attributes[at].1 = value.to_vec(),
                        _ => records.attributes.push((key.to_vec(), value.to_vec())),
                    }
                }
            }
        }
    }
    records.sparse.is_in_data = match version {
        (None, None) | (Some(0), Some(0 | 1)) => false,
        (Some(1), Some(0)) => true,
        _ => return Err(bad("GNU.sparse: unknown version")),
    };
    Ok(records)
}

fn bad(reason: &str) -> Error {
    Error::invalid(format!("pax header: {reason}"))
}

/// The first record without length and newline, and what is behind it.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..blank])?).ok()?;
    if length > bytes.len() || length < blank + 2 {
        return None;
    }
    let record = bytes[blank + 1..length].strip_suffix(b"\n")?;
    Some((record, &bytes[length..]))
}

/// Digits and nothing else.
pub fn decimal(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

fn number(key: &[u8], value: &[u8]) -> Result<Option<i64>> {
    if value.is_empty() {
        return Ok(None);
    }
    match decimal(value) {
        Some(number) => Ok(Some(number)),
        None => Err(bad(&format!("{} is no number", String::from_utf8_lossy(key)))),
    }
}

fn name(key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>> {
    if value.contains(&0) {
        return Err(bad(&format!("{} has a NUL in it", String::from_utf8_lossy(key))));
    }
    Ok(Some(value.to_vec()).filter(|value| !value.is_empty()))
}

/// Seconds with a fraction, of which nine digits count: `-1.5` is half a second before -1.
fn time(value: &[u8]) -> Result<Option<(i64, u32)>> {
    if value.is_empty() {
        return Ok(None);
    }
    let wrong = || bad("mtime is no time");
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    let mut parts = digits.splitn(2, |byte| *byte == b'.');
    let seconds = decimal(parts.next().unwrap_or_default()).ok_or_else(wrong)?;
    let mut nanoseconds = 0;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(wrong());
    }
    for place in 0..9 {
        nanoseconds = nanoseconds * 10 + fraction.get(place).map_or(0, |digit| u32::from(digit - b'0'));
    }
    Ok(Some(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        // Nanoseconds count forwards, also before 1970.
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &str) -> String {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length += 1;
        }
        format!("{length} {key}={value}\n")
    }

    #[test]
    fn records_are_read() {
        let text: String = [
            ("path", "a=b/ä"),
            ("linkpath", "c"),
            ("size", "9999999999"),
            ("uid", "1"),
            ("gid", "2"),
            ("mtime", "12.5"),
            ("SCHILY.xattr.user.x", "\u{0}y"),
            ("comment", "ignored"),
        ]
        .iter()
        .map(|(key, value)| record(key, value))
        .collect();
        let records = parse(text.as_bytes()).unwrap();
        assert_eq!(records.path.as_deref(), Some("a=b/ä".as_bytes()));
        assert_eq!((records.size, records.uid, records.gid), (Some(9_999_999_999), Some(1), Some(2)));
        assert_eq!(records.mtime, Some((12, 500_000_000)));
        assert_eq!(records.attributes, [(b"user.x".to_vec(), b"\0y".to_vec())]);
    }

    #[test]
    fn the_last_record_of_a_key_counts_and_an_empty_one_takes_it_away() {
        let text = [record("path", "a"), record("path", "b"), record("uid", "1"), record("uid", "")].concat();
        let records = parse(text.as_bytes()).unwrap();
        assert_eq!((records.path, records.uid), (Some(b"b".to_vec()), None));
    }

    #[test]
    fn sparse_files_are_described_in_three_ways() {
        let pairs = [
            ("GNU.sparse.offset", "0"),
            ("GNU.sparse.numbytes", "5"),
            ("GNU.sparse.offset", "9"),
            ("GNU.sparse.numbytes", "0"),
            ("GNU.sparse.size", "9"),
        ];
        let text: String = pairs.iter().map(|(key, value)| record(key, value)).collect();
        assert_eq!(parse(text.as_bytes()).unwrap().sparse.map, [0, 5, 9, 0]);
        let records = parse(record("GNU.sparse.map", "0,5,9,0").as_bytes()).unwrap();
        assert_eq!(records.sparse.map, [0, 5, 9, 0]);
        let text = record("GNU.sparse.major", "1") + &record("GNU.sparse.minor", "0");
        assert!(parse(text.as_bytes()).unwrap().sparse.is_in_data);
        for wrong in [
            record("GNU.sparse.numbytes", "5"),
            record("GNU.sparse.offset", "0") + &record("GNU.sparse.offset", "1"),
            record("GNU.sparse.map", "0,"),
            record("GNU.sparse.major", "2") + &record("GNU.sparse.minor", "0"),
        ] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_before_1970_count_forwards() {
        for (text, time_of) in
            [("0", (0, 0)), ("1.000000001999", (1, 1)), ("-1", (-1, 0)), ("-1.25", (-2, 750_000_000))]
        {
            assert_eq!(time(text.as_bytes()).unwrap(), Some(time_of), "{text}");
        }
        for text in ["x", "1.x", "--1", "1.-1", "+1", ".", "9223372036854775808"] {
            assert!(time(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_record_that_readers_could_disagree_about_is_refused() {
        for text in [
            "x",
            "6 a=b",
            "6 a=b\n7",
            "7 a=b\n",
            "5 a=b\n",
            "0 a=b\n",
            "-6 a=b\n",
            "+6 a=b\n",
            " 6 a=b\n",
            "06 =b\n",
            "6  ab\n",
            "99999999999999999999 a=b\n",
            "16 path=a\0b/ccc\n",
            "13 uid=-1000\n",
            "11 uid=0x1\n",
            "12 size=1e3\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
