//! Values to bytes and back (D-Bus specification, "Marshalling"): little-endian out, both ways in.
//!
//! What comes in is checked before it is used: no length is believed that the bytes do not bear out.

use super::value::{MAX_DEPTH, Value, first_type};
use crate::error::{Error, Result};

/// The longest array that the specification allows.
const MAX_ARRAY: usize = 64 << 20;

/// Bytes under construction. Alignment counts from their beginning.
#[derive(Debug, Default)]
pub struct Writer {
    /// What was written so far.
    pub bytes: Vec<u8>,
}

impl Writer {
    /// Fills up with zeros to a multiple of `alignment`.
    pub fn align(&mut self, alignment: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment), 0);
    }

    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.bytes.extend_from_slice(&bytes);
    }

    /// A number of four bytes.
    pub fn u32(&mut self, number: u32) {
        self.put(number.to_le_bytes());
    }

    fn length(&mut self, length: usize) -> Result<()> {
        match u32::try_from(length) {
            Ok(length) if length as usize <= MAX_ARRAY => {
                self.u32(length);
                Ok(())
            }
            _ => Err(Error::other(format!("{length} bytes are too many for a D-Bus message"))),
        }
    }

    fn text(&mut self, text: &str) -> Result<()> {
        refuse_nul(text)?;
        self.length(text.len())?;
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        Ok(())
    }

    fn signature(&mut self, signature: &str) -> Result<()> {
        refuse_nul(signature)?;
        let length = u8::try_from(signature.len())
            .map_err(|_| Error::other(format!("the D-Bus signature {signature:?} is too long")))?;
        self.bytes.push(length);
        self.bytes.extend_from_slice(signature.as_bytes());
        self.bytes.push(0);
        Ok(())
    }

    /// One value.
    ///
    /// # Errors
    /// A NUL in a text, and lengths that the specification does not allow.
    pub fn value(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::Byte(byte) => self.bytes.push(*byte),
            Value::Bool(truth) => self.u32(u32::from(*truth)),
            Value::I16(number) => self.put(number.to_le_bytes()),
            Value::U16(number) => self.put(number.to_le_bytes()),
            Value::I32(number) => self.put(number.to_le_bytes()),
            Value::U32(number) => self.put(number.to_le_bytes()),
            Value::I64(number) => self.put(number.to_le_bytes()),
            Value::U64(number) => self.put(number.to_le_bytes()),
            Value::Double(number) => self.put(number.to_le_bytes()),
            Value::Text(text) | Value::Path(text) => self.text(text)?,
            Value::Signature(signature) => self.signature(signature)?,
            Value::Array(element, items) => return self.array(element, items),
            Value::Struct(fields) => {
                self.align(8);
                fields.iter().try_for_each(|field| self.value(field))?;
            }
            Value::Entry(key, value) => {
                self.align(8);
                self.value(key)?;
                self.value(value)?;
            }
            Value::Variant(inner) => {
                self.signature(&inner.signature())?;
                self.value(inner)?;
            }
        }
        Ok(())
    }

    /// The length does not count the bytes between it and the first element.
    fn array(&mut self, element: &str, items: &[Value]) -> Result<()> {
        self.u32(0);
        let length_at = self.bytes.len() - 4;
        self.align(alignment(element));
        let start = self.bytes.len();
        items.iter().try_for_each(|item| self.value(item))?;
        let length = self.bytes.len() - start;
        let length = u32::try_from(length)
            .ok()
            .filter(|_| length <= MAX_ARRAY)
            .ok_or_else(|| Error::other(format!("{length} bytes are too many for a D-Bus array")))?;
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}

fn refuse_nul(text: &str) -> Result<()> {
    match text.contains('\0') {
        true => Err(Error::other(format!("{text:?} has a NUL, which D-Bus cannot carry"))),
        false => Ok(()),
    }
}

/// What a type's address is a multiple of.
fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 4,
    }
}

/// Bytes that are being read. Alignment counts from their beginning.
#[derive(Debug, Clone)]
pub struct Reader<'b> {
    bytes: &'b [u8],
    position: usize,
    big_endian: bool,
}

impl<'b> Reader<'b> {
    /// A reader of `bytes`.
    pub fn new(bytes: &'b [u8], big_endian: bool) -> Self {
        Self { bytes, position: 0, big_endian }
    }

    /// How far it has come.
    pub fn position(&self) -> usize {
        self.position
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8]> {
        let end = self.position.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.position..end)).ok_or_else(short)?;
        self.position += length;
        Ok(taken)
    }

    /// Passes over the zeros up to a multiple of `alignment`.
    pub fn align(&mut self, alignment: usize) -> Result<()> {
        let padding = self.position.next_multiple_of(alignment) - self.position;
        match self.take(padding)?.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(broken("what lies between two values is not zero")),
        }
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.align(N)?;
        let mut bytes: [u8; N] = self.take(N)?.try_into().map_err(|_| short())?;
        if self.big_endian {
            bytes.reverse();
        }
        Ok(bytes)
    }

    /// A number of four bytes.
    pub fn u32(&mut self) -> Result<u32> {
        self.number().map(u32::from_le_bytes)
    }

    fn string(&mut self, length: usize) -> Result<String> {
        let bytes = self.take(length)?.to_vec();
        let text = String::from_utf8(bytes).map_err(|_| broken("a text is not UTF-8"))?;
        match self.take(1)? {
            [0] if !text.contains('\0') => Ok(text),
            _ => Err(broken("a text does not end where it says")),
        }
    }

    fn text(&mut self) -> Result<String> {
        let length = self.u32()? as usize;
        self.string(length)
    }

    /// A signature.
    pub fn signature(&mut self) -> Result<String> {
        let length = usize::from(self.take(1)?[0]);
        self.string(length)
    }

    /// One value of this type, which is a single complete one.
    ///
    /// # Errors
    /// Bytes that end too early or say what cannot be.
    pub fn value(&mut self, signature: &str) -> Result<Value> {
        self.nested(signature, MAX_DEPTH)
    }

    fn nested(&mut self, signature: &str, depth: usize) -> Result<Value> {
        let inner = depth.checked_sub(1).ok_or_else(|| broken("values lie too deeply in one another"))?;
        Ok(match signature.as_bytes() {
            [b'y'] => Value::Byte(self.take(1)?[0]),
            [b'b'] => match self.u32()? {
                truth @ (0 | 1) => Value::Bool(truth == 1),
                _ => return Err(broken("a boolean is neither 0 nor 1")),
            },
            [b'n'] => Value::I16(self.number().map(i16::from_le_bytes)?),
            [b'q'] => Value::U16(self.number().map(u16::from_le_bytes)?),
            [b'i'] => Value::I32(self.number().map(i32::from_le_bytes)?),
            [b'u'] => Value::U32(self.u32()?),
            [b'x'] => Value::I64(self.number().map(i64::from_le_bytes)?),
            [b't'] => Value::U64(self.number().map(u64::from_le_bytes)?),
            [b'd'] => Value::Double(self.number().map(f64::from_le_bytes)?),
            [b's'] => Value::Text(self.text()?),
            [b'o'] => Value::Path(self.text()?),
            [b'g'] => Value::Signature(self.signature()?),
            [b'v'] => {
                let signature = self.signature()?;
                match first_type(&signature) {
                    Some((first, "")) => Value::Variant(Box::new(self.nested(first, inner)?)),
                    _ => return Err(broken("a variant's signature is not that of one value")),
                }
            }
            [b'a', ..] => self.array(&signature[1..], inner)?,
            [b'(', .., b')'] => {
                self.align(8)?;
                Value::Struct(self.sequence(&signature[1..signature.len() - 1], inner)?)
            }
            [b'{', .., b'}'] => {
                self.align(8)?;
                let mut pair = self.sequence(&signature[1..signature.len() - 1], inner)?.into_iter();
                match (pair.next(), pair.next()) {
                    (Some(key), Some(value)) => Value::Entry(Box::new(key), Box::new(value)),
                    _ => return Err(broken("an entry is not a pair")),
                }
            }
            _ => return Err(broken("a value is of an unknown type")),
        })
    }

    fn array(&mut self, element: &str, depth: usize) -> Result<Value> {
        let length = self.u32()? as usize;
        self.align(alignment(element))?;
        let end = self.position + length;
        if length > MAX_ARRAY || end > self.bytes.len() {
            return Err(short());
        }
        let mut items = Vec::new();
        while self.position < end {
            items.push(self.nested(element, depth)?);
        }
        match self.position == end {
            true => Ok(Value::Array(element.to_owned(), items)),
            false => Err(broken("an array does not end where it says")),
        }
    }

    /// Values of these types, one after the other.
    fn sequence(&mut self, signature: &str, depth: usize) -> Result<Vec<Value>> {
        let mut rest = signature;
        let mut values = Vec::new();
        while !rest.is_empty() {
            let (first, after) = first_type(rest).ok_or_else(|| broken("a signature is not well formed"))?;
            values.push(self.nested(first, depth)?);
            rest = after;
        }
        Ok(values)
    }

    /// All values of a message's body.
    ///
    /// # Errors
    /// As [`Self::value`].
    pub fn body(&mut self, signature: &str) -> Result<Vec<Value>> {
        self.sequence(signature, MAX_DEPTH)
    }
}

fn short() -> Error {
    broken("it ends too early")
}

fn broken(why: &str) -> Error {
    Error::other(format!("a D-Bus message is broken: {why}"))
}
