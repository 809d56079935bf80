//! Messages: calls out, replies, errors and signals in (D-Bus specification, "Message Format").

use super::value::Value;
use super::wire::{Reader, Writer};
use crate::error::{Error, Result};

/// The part of a header that every message has.
pub const PROLOGUE: usize = 16;
/// No longer message is taken: systemd's answers here have a few hundred bytes.
const MAX_MESSAGE: usize = 1 << 20;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

const FIELD_PATH: u8 = 1;
const FIELD_INTERFACE: u8 = 2;
const FIELD_MEMBER: u8 = 3;
const FIELD_ERROR_NAME: u8 = 4;
const FIELD_REPLY_SERIAL: u8 = 5;
const FIELD_DESTINATION: u8 = 6;
const FIELD_SIGNATURE: u8 = 8;

/// A method to call.
#[derive(Debug, Clone, Copy)]
pub struct Method<'a> {
    /// Bus name of whom it is called of; `None` on a connection without a bus.
    pub destination: Option<&'a str>,
    /// Object.
    pub path: &'a str,
    /// Interface.
    pub interface: &'a str,
    /// Name.
    pub member: &'a str,
}

impl Method<'_> {
    /// The bytes of a call.
    ///
    /// # Errors
    /// Arguments that D-Bus cannot carry.
    pub fn call(&self, serial: u32, arguments: &[Value]) -> Result<Vec<u8>> {
        let mut body = Writer::default();
        arguments.iter().try_for_each(|argument| body.value(argument))?;
        let signature: String = arguments.iter().map(Value::signature).collect();
        let field = |code, value: Value| Value::Struct(vec![Value::Byte(code), value.boxed()]);
        let mut fields = vec![
            field(FIELD_PATH, Value::Path(self.path.to_owned())),
            field(FIELD_INTERFACE, Value::text(self.interface)),
            field(FIELD_MEMBER, Value::text(self.member)),
        ];
        if let Some(destination) = self.destination {
            fields.push(field(FIELD_DESTINATION, Value::text(destination)));
        }
        if !signature.is_empty() {
            fields.push(field(FIELD_SIGNATURE, Value::Signature(signature)));
        }
        let length = u32::try_from(body.bytes.len())
            .map_err(|_| Error::other("the arguments are too long for a D-Bus message"))?;
        let mut message = Writer::default();
        // No flags; version 1 of the protocol.
        message.bytes.extend_from_slice(&[b'l', METHOD_CALL, 0, 1]);
        message.u32(length);
        message.u32(serial);
        message.value(&Value::Array("(yv)".to_owned(), fields))?;
        message.align(8);
        message.bytes.extend_from_slice(&body.bytes);
        Ok(message.bytes)
    }
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The answer to the call of this serial number.
    Return(u32),
    /// The refusal of the call of this serial number, with the error's name.
    Error(u32, String),
    /// A signal.
    Signal,
    /// A call of one of our methods, of which there are none, or a kind that is to come.
    Other,
}

/// A message that came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The signal's name.
    pub member: String,
    /// The signal's interface.
    pub interface: String,
    /// What it carries, not read yet: most signals are about others.
    body: Vec<u8>,
    signature: String,
    big_endian: bool,
}

/// The length of the message that begins with this prologue.
///
/// # Errors
/// What is no message, and one that is too long to be meant.
pub fn length(prologue: &[u8; PROLOGUE]) -> Result<usize> {
    let mut reader = prologue_reader(prologue)?;
    let (body, _serial, fields) = (reader.u32()? as usize, reader.u32()?, reader.u32()? as usize);
    let length = PROLOGUE + fields.next_multiple_of(8) + body;
    if length > MAX_MESSAGE {
        return Err(Error::other(format!("a D-Bus message of {length} bytes is too long to be meant")));
    }
    Ok(length)
}

/// A reader behind the first four bytes, which say how to read the others.
fn prologue_reader(bytes: &[u8]) -> Result<Reader<'_>> {
    let big_endian = match bytes.first() {
        Some(b'l') => false,
        Some(b'B') => true,
        _ => return Err(Error::other("what came over the socket is no D-Bus message")),
    };
    if bytes.get(3) != Some(&1) {
        return Err(Error::other("a D-Bus message is of another version of the protocol"));
    }
    let mut reader = Reader::new(bytes, big_endian);
    reader.body("yyyy")?;
    Ok(reader)
}

impl Message {
    /// Reads a whole message.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = prologue_reader(bytes)?;
        reader.body("uu")?;
        let fields = match reader.value("a(yv)")? {
            Value::Array(_, fields) => fields,
            _ => Vec::new(),
        };
        reader.align(8)?;
        let mut message = Self {
            kind: Kind::Other,
            member: String::new(),
            interface: String::new(),
            body: bytes.get(reader.position()..).unwrap_or_default().to_vec(),
            signature: String::new(),
            big_endian: bytes.first() == Some(&b'B'),
        };
        let (mut reply, mut error) = (None, String::new());
        for field in fields {
            let Value::Struct(field) = field else { continue };
            let [Value::Byte(code), Value::Variant(value)] = field.as_slice() else { continue };
            match (*code, value.as_ref()) {
                (FIELD_INTERFACE, Value::Text(text)) => message.interface.clone_from(text),
                (FIELD_MEMBER, Value::Text(text)) => message.member.clone_from(text),
                (FIELD_ERROR_NAME, Value::Text(text)) => error.clone_from(text),
                (FIELD_REPLY_SERIAL, Value::U32(serial)) => reply = Some(*serial),
                (FIELD_SIGNATURE, Value::Signature(text)) => message.signature.clone_from(text),
                _ => {}
            }
        }
        message.kind = match (bytes.get(1), reply) {
            (Some(&METHOD_RETURN), Some(serial)) => Kind::Return(serial),
            (Some(&ERROR), Some(serial)) => Kind::Error(serial, error),
            (Some(&(METHOD_RETURN | ERROR)), None) => {
                return Err(Error::other("a D-Bus message answers to nothing"));
            }
            (Some(&SIGNAL), _) => Kind::Signal,
            _ => Kind::Other,
        };
        Ok(message)
    }

    /// What it carries.
    ///
    /// # Errors
    /// Bytes that are not what the signature says.
    pub fn body(&self) -> Result<Vec<Value>> {
        Reader::new(&self.body, self.big_endian).body(&self.signature)
    }
}
