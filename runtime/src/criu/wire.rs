//! The wire format of protocol buffers (protobuf.dev, "Encoding"), as much of it as CRIU's RPC needs.
//!
//! A message is a row of fields: a number with the kind of its value, then the value. Written are numbers, truth
//! values, texts and messages in messages; read are those, and what else there is is passed over. Nothing is known
//! here of what a field means. CRIU runs as root and reads only from us, but what it sends is checked all the same:
//! a length never leads out of the message.

use crate::bail;
use crate::error::Result;

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const FIXED_32: u64 = 5;

/// A message that is being written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Adds a number; as all types of protocol buffers that are not fixed, with its sign in 64 bits.
    pub fn number(&mut self, field: u32, value: i64) -> &mut Self {
        self.key(field, VARINT);
        self.varint(value.cast_unsigned());
        self
    }

    /// Adds a truth value.
    pub fn truth(&mut self, field: u32, value: bool) -> &mut Self {
        self.number(field, value.into())
    }

    /// Adds a text.
    pub fn text(&mut self, field: u32, value: &str) -> &mut Self {
        self.bytes(field, value.as_bytes())
    }

    /// Adds a message.
    pub fn message(&mut self, field: u32, value: &Self) -> &mut Self {
        self.bytes(field, &value.0)
    }

    /// The bytes of the whole.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn bytes(&mut self, field: u32, value: &[u8]) -> &mut Self {
        self.key(field, BYTES);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn key(&mut self, field: u32, kind: u64) {
        self.varint(u64::from(field) << 3 | kind);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push((value & 0x7f) as u8);
    }
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number or a truth value.
    Number(i64),
    /// A text or a message.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The number; 0 for anything else.
    pub fn number(self) -> i64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(_) => 0,
        }
    }

    /// The bytes; none for anything else.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Number(_) => &[],
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The text, with what is not UTF-8 replaced.
    pub fn text(self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

/// Reads the fields of a message in order.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// Calls `take` with number and value of each field.
    ///
    /// # Errors
    /// What is no message: an unknown kind, a value that is cut off. And those of `take`.
    pub fn fields(mut self, mut take: impl FnMut(u32, Value<'a>) -> Result<()>) -> Result<()> {
        while !self.0.is_empty() {
            let key = self.varint()?;
            let Ok(field) = u32::try_from(key >> 3) else { bail!("no protocol buffer: field {}", key >> 3) };
            match key & 7 {
                VARINT => {
                    let value = self.varint()?;
                    take(field, Value::Number(value.cast_signed()))?;
                }
                BYTES => {
                    let length = self.varint()?;
                    let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
                    take(field, Value::Bytes(bytes))?;
                }
                FIXED_64 => drop(self.take(8)?),
                FIXED_32 => drop(self.take(4)?),
                kind => bail!("no protocol buffer: field {field} is of kind {kind}"),
            }
        }
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let Some((bytes, rest)) = self.0.split_at_checked(length) else {
            bail!("no protocol buffer: {length} bytes where {} are left", self.0.len())
        };
        self.0 = rest;
        Ok(bytes)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        bail!("no protocol buffer: a number of more than 64 bits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>> {
        let mut fields = Vec::new();
        Reader(bytes).fields(|field, value| {
            fields.push((field, value));
            Ok(())
        })?;
        Ok(fields)
    }

    /// The examples of protobuf.dev "Encoding": field 1 with 150, field 2 with "testing", and the first in a message.
    #[test]
    fn the_published_examples_are_written_byte_for_byte() {
        let mut inner = Writer::default();
        inner.number(1, 150);
        assert_eq!(inner.0, [0x08, 0x96, 0x01]);
        let mut text = Writer::default();
        text.text(2, "testing");
        assert_eq!(text.0, b"\x12\x07testing");
        let mut outer = Writer::default();
        outer.message(3, &inner);
        assert_eq!(outer.into_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let mut negative = Writer::default();
        negative.number(1, -2);
        assert_eq!(negative.0, b"\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    }

    #[test]
    fn what_is_written_is_read() {
        let mut message = Writer::default();
        message
            .number(1, i64::MIN)
            .number(68, i64::MAX)
            .truth(2, true)
            .truth(3, false)
            .text(4, "")
            .text(5, "ä");
        let wanted = vec![
            (1, Value::Number(i64::MIN)),
            (68, Value::Number(i64::MAX)),
            (2, Value::Number(1)),
            (3, Value::Number(0)),
            (4, Value::Bytes(b"")),
            (5, Value::Bytes("ä".as_bytes())),
        ];
        assert_eq!(read(&message.into_bytes()).unwrap(), wanted);
    }

    #[test]
    fn unknown_kinds_of_fixed_length_are_passed_over() {
        let bytes = [b"\x09".as_slice(), &[0xff; 8], b"\x15", &[0xff; 4], b"\x18\x07"].concat();
        assert_eq!(read(&bytes).unwrap(), [(3, Value::Number(7))]);
    }

    #[test]
    fn what_is_cut_off_or_made_up_is_refused() {
        for bytes in [
            b"\x08".as_slice(),
            b"\x08\x96",
            b"\x12\x07test",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0b",
            b"\x09\x00",
            &[0x80; 11],
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.starts_with("no protocol buffer: "), "{bytes:x?}: {error}");
        }
    }
}
