//! What a monitor and its clients say to each other over its socket: frames of a kind, a length and a payload.
//!
//! Both ends are the same user's programs, and still nothing that comes is believed: lengths are capped, what cannot be
//! read ends the conversation. Pure.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Longest payload, in bytes.
pub const PAYLOAD_MAX: usize = 64 << 10;
/// Kind and length.
pub const HEADER: usize = 5;

/// The kind of [`Frame::Stdout`].
pub const STDOUT: u8 = 65;
/// The kind of [`Frame::Stderr`].
pub const STDERR: u8 = 66;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Client: wants these streams.
    Attach(Attach),
    /// Client: bytes for standard input.
    Stdin(Vec<u8>),
    /// Client: standard input has ended.
    StdinEnd,
    /// Client: its terminal has this many rows and columns.
    Resize(u16, u16),
    /// Starter: how to start. Answered by [`Frame::Started`] or [`Frame::Failed`].
    Start(Start),
    /// Client: the user wants the container to end; no policy starts it again. Answered by [`Frame::Exit`] when it has.
    Stop,
    /// Client: wants [`Frame::Exit`] when the container has ended.
    Wait,
    /// Client: published ports of the container that runs are others than at its start.
    Ports,
    /// Monitor: bytes of standard output.
    Stdout(Vec<u8>),
    /// Monitor: bytes of standard error.
    Stderr(Vec<u8>),
    /// Monitor: the container's program runs.
    Started(i32),
    /// Monitor: it cannot be started; the exit status for that, and why.
    Failed(u8, String),
    /// Monitor: its program has ended, and all that follows from it is done.
    Exit(Exit),
    /// Monitor: what comes now is all output from this moment on.
    Attached,
}

/// Which streams a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attach {
    /// To write to.
    pub stdin: bool,
    /// To read.
    pub stdout: bool,
    /// To read.
    pub stderr: bool,
}

/// How to start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Start {
    /// What the starter is attached to from the first byte on.
    pub attach: Attach,
    /// Rows and columns of the starter's terminal.
    pub size: Option<(u16, u16)>,
    /// A container that was left without a monitor is taken over, not started.
    pub adopt: bool,
}

/// How a container's program ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exit {
    /// 0 to 255.
    pub code: i32,
    /// For want of memory.
    pub oom: bool,
    /// Why it could not go on.
    pub error: String,
}

impl Frame {
    fn kind(&self) -> u8 {
        match self {
            Frame::Attach(_) => 1,
            Frame::Stdin(_) => 2,
            Frame::StdinEnd => 3,
            Frame::Resize(..) => 4,
            Frame::Start(_) => 5,
            Frame::Stop => 6,
            Frame::Wait => 7,
            Frame::Ports => 8,
            Frame::Stdout(_) => STDOUT,
            Frame::Stderr(_) => STDERR,
            Frame::Started(_) => 67,
            Frame::Failed(..) => 68,
            Frame::Exit(_) => 69,
            Frame::Attached => 70,
        }
    }

    /// The bytes of it. A payload that is too long is cut: who has more to say says it in several frames.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Numbers and text only: nothing in it can fail.
        fn json<T: Serialize>(value: &T) -> Vec<u8> {
            serde_json::to_vec(value).unwrap_or_default()
        }
        let mut payload = match self {
            Frame::Attach(attach) => json(attach),
            Frame::Start(start) => json(start),
            Frame::Exit(exit) => json(exit),
            Frame::Stdin(bytes) | Frame::Stdout(bytes) | Frame::Stderr(bytes) => {
                return encode_bytes(self.kind(), bytes);
            }
            Frame::Resize(rows, columns) => [rows.to_be_bytes(), columns.to_be_bytes()].concat(),
            Frame::Started(pid) => pid.to_be_bytes().to_vec(),
            Frame::Failed(code, reason) => [&[*code], reason.as_bytes()].concat(),
            Frame::StdinEnd | Frame::Stop | Frame::Wait | Frame::Ports | Frame::Attached => Vec::new(),
        };
        payload.truncate(PAYLOAD_MAX);
        encode_bytes(self.kind(), &payload)
    }

    fn decode(kind: u8, payload: &[u8]) -> Result<Frame> {
        fn json<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T> {
            serde_json::from_slice(payload).map_err(|error| Error::invalid(format!("frame: {error}")))
        }
        let wrong = || Error::invalid(format!("frame of kind {kind} with {} bytes", payload.len()));
        Ok(match (kind, payload) {
            (1, _) => Frame::Attach(json(payload)?),
            (2, _) => Frame::Stdin(payload.to_vec()),
            (3, []) => Frame::StdinEnd,
            (4, &[a, b, c, d]) => Frame::Resize(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
            (5, _) => Frame::Start(json(payload)?),
            (6, []) => Frame::Stop,
            (7, []) => Frame::Wait,
            (8, []) => Frame::Ports,
            (65, _) => Frame::Stdout(payload.to_vec()),
            (66, _) => Frame::Stderr(payload.to_vec()),
            (67, &[a, b, c, d]) => Frame::Started(i32::from_be_bytes([a, b, c, d])),
            (68, [code, reason @ ..]) => Frame::Failed(*code, String::from_utf8_lossy(reason).into_owned()),
            (69, _) => Frame::Exit(json(payload)?),
            (70, []) => Frame::Attached,
            _ => return Err(wrong()),
        })
    }
}

fn encode_bytes(kind: u8, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(PAYLOAD_MAX)];
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.push(kind);
    bytes.extend(u32::try_from(payload.len()).unwrap_or_default().to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Takes frames out of bytes as they come.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// More bytes have come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, if all of it has come.
    ///
    /// # Errors
    /// What is no frame: there is no going on after it.
    pub fn next_frame(&mut self) -> Result<Option<Frame>> {
        let Some((header, rest)) = self.bytes.split_at_checked(HEADER) else { return Ok(None) };
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > PAYLOAD_MAX {
            return Err(Error::invalid(format!("frame of {length} bytes: {PAYLOAD_MAX} are the most")));
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let frame = Frame::decode(header[0], payload)?;
        self.bytes.drain(..HEADER + length);
        Ok(Some(frame))
    }

    /// Has a part of a frame come?
    #[must_use]
    pub fn has_rest(&self) -> bool {
        !self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_were_written_however_they_come() {
        let attach = Attach { stdin: true, stdout: true, stderr: false };
        let frames = [
            Frame::Attach(attach),
            Frame::Stdin(b"in\0\xff".to_vec()),
            Frame::StdinEnd,
            Frame::Resize(24, 80),
            Frame::Start(Start { attach, size: Some((1, 2)), adopt: true }),
            Frame::Stop,
            Frame::Wait,
            Frame::Ports,
            Frame::Stdout(vec![7; PAYLOAD_MAX]),
            Frame::Stderr(Vec::new()),
            Frame::Started(4711),
            Frame::Failed(127, "not found".to_owned()),
            Frame::Exit(Exit { code: 137, oom: true, error: "e".to_owned() }),
            Frame::Attached,
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        for size in [1, 3, 4096, bytes.len()] {
            let mut decoder = Decoder::default();
            let mut read = Vec::new();
            for part in bytes.chunks(size) {
                decoder.push(part);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    read.push(frame);
                }
            }
            assert!(read == frames && !decoder.has_rest(), "{size}");
        }
    }

    #[test]
    fn what_is_no_frame_ends_the_conversation() {
        for bytes in [
            &[2, 0xff, 0xff, 0xff, 0xff][..],
            &[2, 0, 1, 0, 1],
            &[0, 0, 0, 0, 0],
            &[4, 0, 0, 0, 3, 1, 2, 3],
            &[6, 0, 0, 0, 1, 0],
            &[5, 0, 0, 0, 2, b'[', b'1'],
            &[68, 0, 0, 0, 0],
        ] {
            let mut decoder = Decoder::default();
            decoder.push(bytes);
            assert!(decoder.next_frame().is_err(), "{bytes:?}");
        }
        let mut decoder = Decoder::default();
        decoder.push(&[2, 0, 0, 0, 1]);
        assert!(decoder.next_frame().unwrap().is_none() && decoder.has_rest());
    }
}
