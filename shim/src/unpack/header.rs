//! One header block of a tar archive: fields at fixed places, as ustar (POSIX.1-1988), GNU tar and older programs
//! write them. Pure.
//!
//! Sources: POSIX.1-2017 `pax` ("ustar Interchange Format"), GNU tar manual, appendix "Tar Internals".

use crate::error::{Error, Result};

/// Size of a header, and what data is padded to, in bytes.
pub const BLOCK: usize = 512;

/// Whose extensions a header has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    /// Before ustar: names of 100 bytes and nothing more.
    V7,
    /// With a prefix of the name.
    Ustar,
    /// GNU tar's own: other things where ustar has the prefix.
    Gnu,
}

/// A header whose checksum is right.
pub struct Header<'a> {
    block: &'a [u8; BLOCK],
    format: Format,
}

impl<'a> Header<'a> {
    /// Checks the block's sum. (Sun's tar added signed bytes: both sums are taken.)
    ///
    /// # Errors
    /// This is no header.
    pub fn parse(block: &'a [u8; BLOCK]) -> Result<Header<'a>> {
        let told = octal(&block[148..156]).ok_or_else(|| bad("checksum", "is no number"))?;
        let summed =
            block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
        let unsigned: i64 = summed.clone().map(i64::from).sum();
        let signed: i64 = summed.map(|byte| i64::from(byte.cast_signed())).sum();
        if told != unsigned && told != signed {
            return Err(bad("checksum", "is wrong"));
        }
        let format = match &block[257..265] {
            b"ustar  \0" => Format::Gnu,
            magic if magic.starts_with(b"ustar\0") => Format::Ustar,
            _ => Format::V7,
        };
        Ok(Header { block, format })
    }

    /// The kind of entry, a character.
    #[must_use]
    pub fn typeflag(&self) -> u8 {
        self.block[156]
    }

    /// The name, with ustar's prefix.
    #[must_use]
    pub fn path(&self) -> Vec<u8> {
        let name = text(&self.block[0..100]);
        let prefix = text(&self.block[345..500]);
        if self.format != Format::Ustar || prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    /// Where a link leads.
    #[must_use]
    pub fn link(&self) -> Vec<u8> {
        text(&self.block[157..257]).to_vec()
    }

    /// Permission bits.
    ///
    /// # Errors
    /// A field that is no number; as for the fields below.
    pub fn mode(&self) -> Result<i64> {
        number(&self.block[100..108], "mode")
    }

    /// Owner.
    ///
    /// # Errors
    /// See [`Header::mode`].
    pub fn uid(&self) -> Result<i64> {
        number(&self.block[108..116], "uid")
    }

    /// Group.
    ///
    /// # Errors
    /// See [`Header::mode`].
    pub fn gid(&self) -> Result<i64> {
        number(&self.block[116..124], "gid")
    }

    /// Length of the data behind the header, in bytes.
    ///
    /// # Errors
    /// See [`Header::mode`].
    pub fn size(&self) -> Result<i64> {
        number(&self.block[124..136], "size")
    }

    /// Time of change, in seconds since 1970.
    ///
    /// # Errors
    /// See [`Header::mode`].
    pub fn mtime(&self) -> Result<i64> {
        number(&self.block[136..148], "mtime")
    }

    /// Major and minor number of a device.
    ///
    /// # Errors
    /// See [`Header::mode`].
    pub fn device(&self) -> Result<(i64, i64)> {
        if self.format == Format::V7 {
            return Ok((0, 0));
        }
        Ok((number(&self.block[329..337], "devmajor")?, number(&self.block[337..345], "devminor")?))
    }

    /// GNU's old sparse files: the first pieces, as 24 bytes each, whether more follow, and the whole length.
    ///
    /// # Errors
    /// A header that is not GNU's.
    pub fn sparse(&self) -> Result<(&'a [u8], bool, i64)> {
        if self.format != Format::Gnu {
            return Err(bad("typeflag", "S is GNU tar's alone"));
        }
        Ok((&self.block[386..482], self.block[482] != 0, number(&self.block[483..495], "realsize")?))
    }
}

fn bad(field: &str, reason: &str) -> Error {
    Error::invalid(format!("tar header: {field} {reason}"))
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits between blanks and NULs; nothing at all is 0. None for anything else.
fn octal(field: &[u8]) -> Option<i64> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
    let begin = field.iter().position(|byte| !is_blank(byte)).unwrap_or(field.len());
    let field = &field[begin..];
    let end = field.iter().position(is_blank).unwrap_or(field.len());
    // What stands behind the digits' end is nobody's: GNU tar and Go do not look at it either.
    field[..end].iter().try_fold(0_i64, |value, byte| match byte {
        b'0'..=b'7' => Some(value.checked_mul(8)?.checked_add(i64::from(byte - b'0'))?),
        _ => None,
    })
}

/// Octal, or GNU's big-endian two's complement, which the highest bit of the first byte announces.
///
/// # Errors
/// Neither, or more than 63 bits.
pub fn number(field: &[u8], name: &str) -> Result<i64> {
    let first = field.first().copied().unwrap_or_default();
    if first & 0x80 == 0 {
        return octal(field).ok_or_else(|| bad(name, "is no number"));
    }
    // The second highest bit is the sign; the highest of all belongs to no number.
    let negative = first & 0x40 != 0;
    let begin = i64::from(first & 0x3f) - if negative { 0x40 } else { 0 };
    field[1..]
        .iter()
        .try_fold(begin, |value, byte| value.checked_mul(256)?.checked_add(i64::from(*byte)))
        .ok_or_else(|| bad(name, "is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_gnus() {
        let table: [(&[u8], Option<i64>); 13] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"00000000644 ", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"77777777777\0", Some(0o77_777_777_777)),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"0x00644\0", None),
            (b"\x80\0\0\0\0\0\x01\x02", Some(0x102)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN)),
        ];
        for (field, value) in table {
            assert_eq!(number(field, "x").ok(), value, "{field:?}");
        }
    }

    #[test]
    fn a_block_whose_sum_is_wrong_is_no_header() {
        let mut block = [0_u8; BLOCK];
        block[148..156].copy_from_slice(b"0000400\0");
        assert!(Header::parse(&block).is_ok(), "eight blanks are 256");
        block[0] = b'a';
        assert!(Header::parse(&block).is_err());
        // 0xff counts 255, or -1.
        block[0] = 0xff;
        block[148..156].copy_from_slice(b"0000777\0");
        assert!(Header::parse(&block).is_ok());
        block[148..156].copy_from_slice(b"0000377\0");
        assert!(Header::parse(&block).is_ok());
    }
}
