//! The driver `journald`: each line is a message to the system's journal, with docker's fields.
//!
//! The protocol is systemd's own (systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram a message, its fields one behind the
//! other. It is sent to the socket's name each time, so that a journald that was started anew gets it too. A journald
//! that does not take messages keeps nobody waiting for longer than a moment: what it does not take is lost, and told
//! with the next message that it takes.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::settings::Attributes;
use super::{Origin, Stream, attributes};
use crate::error::{Context as _, Error, Kind, Result};

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// How long a message may wait for room.
const PATIENCE: Duration = Duration::from_millis(500);
/// Priorities of syslog(3).
const ERROR: &str = "3";
const INFORMATION: &str = "6";

/// A way to the journal, and what every message begins with.
#[derive(Debug)]
pub(super) struct Journald {
    socket: UnixDatagram,
    path: PathBuf,
    fields: Vec<u8>,
    message: Vec<u8>,
    lost: u64,
}

impl Journald {
    /// Looks whether a journald is there.
    pub(super) fn open(wanted: &Attributes, origin: &Origin) -> Result<Journald> {
        Journald::open_at(Path::new(SOCKET), wanted, origin)
    }

    fn open_at(path: &Path, wanted: &Attributes, origin: &Origin) -> Result<Journald> {
        if !path.exists() {
            let reason = format!("log driver journald: there is no journald at {}", path.display());
            return Err(Error::new(Kind::NotFound, reason));
        }
        let tag = attributes::tag(wanted, origin)?;
        let tag = tag.unwrap_or_else(|| attributes::short(origin.id).to_owned());
        let mut fields = Vec::new();
        for (name, value) in [
            ("CONTAINER_ID", attributes::short(origin.id)),
            ("CONTAINER_ID_FULL", origin.id),
            ("CONTAINER_NAME", origin.name),
            ("CONTAINER_TAG", &tag),
            ("IMAGE_NAME", origin.image_name),
            ("SYSLOG_IDENTIFIER", &tag),
        ] {
            push_field(&mut fields, name, value.as_bytes());
        }
        for (name, value) in attributes::extra(wanted, origin) {
            push_field(&mut fields, &field_name(&name), value.as_bytes());
        }
        let words = || "log driver journald".to_owned();
        let socket = UnixDatagram::unbound().during(words)?;
        socket.set_write_timeout(Some(PATIENCE)).during(words)?;
        Ok(Journald { socket, path: path.to_owned(), fields, message: Vec::new(), lost: 0 })
    }

    /// Lines that the journal has not taken, and does not tell of yet.
    pub(super) fn lost(&self) -> Option<String> {
        (self.lost > 0).then(|| format!("{} lines of output are missing in the journal", self.lost))
    }

    /// Sends a line.
    pub(super) fn put(&mut self, stream: Stream, piece: &[u8]) {
        if self.lost > 0 {
            let text = format!("[{} lines of output are missing here]", self.lost);
            if !self.send(Stream::Stderr, text.as_bytes(), false) {
                self.lost += 1;
                return;
            }
            self.lost = 0;
        }
        let (line, is_partial) = match piece.strip_suffix(b"\n") {
            Some(line) => (line, false),
            None => (piece, true),
        };
        if !self.send(stream, line, is_partial) {
            self.lost += 1;
        }
    }

    fn send(&mut self, stream: Stream, line: &[u8], is_partial: bool) -> bool {
        self.message.clear();
        self.message.extend_from_slice(&self.fields);
        let priority = if stream == Stream::Stderr { ERROR } else { INFORMATION };
        push_field(&mut self.message, "PRIORITY", priority.as_bytes());
        if is_partial {
            push_field(&mut self.message, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        push_field(&mut self.message, "MESSAGE", line);
        self.socket.send_to(&self.message, &self.path).is_ok()
    }
}

/// A field with any value.
fn push_field(message: &mut Vec<u8>, name: &str, value: &[u8]) {
    message.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        message.push(b'\n');
        message.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        message.push(b'=');
    }
    message.extend_from_slice(value);
    message.push(b'\n');
}

/// A name of a label or variable as journald takes it: capital letters, digits and underscores, no digit or underscore
/// at the start. Journald's own fields begin with an underscore, so nobody gets at those.
fn field_name(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    let name: String =
        upper.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '_' }).collect();
    let name = name.trim_start_matches(|char: char| char == '_' || char.is_ascii_digit());
    if name.is_empty() { "LABEL".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_as_journald_reads_them() {
        let mut message = Vec::new();
        push_field(&mut message, "A", b"x=y");
        push_field(&mut message, "B", b"two\nlines");
        assert_eq!(message, b"A=x=y\nB\n\x09\0\0\0\0\0\0\0two\nlines\n");
    }

    #[test]
    fn each_line_is_a_message_and_what_was_lost_is_told() {
        let scratch = crate::store::scratch::Scratch::new();
        let path = scratch.join("socket");
        let (labels, id) = (std::collections::BTreeMap::new(), "0123456789abcdef");
        let origin = Origin {
            id,
            name: "web",
            labels: &labels,
            env: &["A=1".to_owned()],
            image_name: "box:1",
            image_id: "sha256:0",
            path: Path::new("/x"),
            journal: None,
        };
        let wanted =
            Attributes { env: vec!["A".into()], tag: Some("{{.Name}}!".into()), ..Attributes::default() };
        let error = Journald::open_at(&path, &wanted, &origin).unwrap_err().to_string();
        assert!(error.contains("there is no journald at"), "{error}");
        let server = UnixDatagram::bind(&path).unwrap();
        let mut log = Journald::open_at(&path, &wanted, &origin).unwrap();
        let receive = |server: &UnixDatagram| {
            let mut bytes = vec![0; 1 << 16];
            let count = server.recv(&mut bytes).unwrap();
            String::from_utf8(bytes[..count].to_vec()).unwrap()
        };
        log.put(Stream::Stdout, b"one\n");
        let head = "CONTAINER_ID=0123456789ab\nCONTAINER_ID_FULL=0123456789abcdef\nCONTAINER_NAME=web\n\
                    CONTAINER_TAG=web!\nIMAGE_NAME=box:1\nSYSLOG_IDENTIFIER=web!\nA=1\n";
        assert_eq!(receive(&server), format!("{head}PRIORITY=6\nMESSAGE=one\n"));
        log.put(Stream::Stderr, b"part");
        let partial = "PRIORITY=3\nCONTAINER_PARTIAL_MESSAGE=true\nMESSAGE=part\n";
        assert_eq!(receive(&server), format!("{head}{partial}"));
        // It is started anew.
        drop(server);
        std::fs::remove_file(&path).unwrap();
        log.put(Stream::Stdout, b"two\n");
        log.put(Stream::Stdout, b"three\n");
        let server = UnixDatagram::bind(&path).unwrap();
        log.put(Stream::Stdout, b"four\n");
        assert!(receive(&server).ends_with("PRIORITY=3\nMESSAGE=[2 lines of output are missing here]\n"));
        assert!(receive(&server).ends_with("PRIORITY=6\nMESSAGE=four\n"));
    }

    #[test]
    fn no_label_becomes_a_field_of_journalds_own() {
        for (name, field) in
            [("com.example.tier", "COM_EXAMPLE_TIER"), ("__UID", "UID"), ("1a", "A"), ("é=\n", "LABEL")]
        {
            assert_eq!(field_name(name), field);
        }
    }
}
