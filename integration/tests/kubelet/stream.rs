//! The other end of `kubectl exec`: the streams of a program over a WebSocket (RFC 6455), each message with the
//! number of its stream in front (k8s.io/apimachinery, v4.channel.k8s.io).

use std::io::{Read, Write};
use std::net::TcpStream;

use integration::PATIENCE;

const PROTOCOL: &str = "v4.channel.k8s.io";
const STDIN: u8 = 0;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

/// A running program's streams.
pub struct Stream {
    socket: TcpStream,
    /// What it printed.
    pub output: String,
    /// How it ended, as a `Status` in JSON.
    pub end: Option<String>,
}

impl Stream {
    /// Takes up the streams that `Exec` answered with.
    #[track_caller]
    pub fn open(url: &str) -> Stream {
        let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("not an address: {url}"));
        let (host, path) = rest.split_once('/').expect("an address with a path");
        let mut socket = TcpStream::connect(host).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // The key proves nothing to us; that of RFC 6455's own example will do.
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Stream { socket, output: String::new(), end: None }
    }

    /// Types a text.
    pub fn send(&mut self, text: &str) {
        self.message(STDIN, text.as_bytes());
    }

    /// Gives the terminal a size.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.message(RESIZE, format!("{{\"Width\":{columns},\"Height\":{rows}}}").as_bytes());
    }

    /// Reads until this was printed.
    #[track_caller]
    pub fn read_until(&mut self, text: &str) {
        while !self.output.contains(text) {
            assert!(self.read(), "the end before {text:?}: {:?} {:?}", self.output, self.end);
        }
    }

    /// Reads to the end.
    #[track_caller]
    pub fn read_to_end(&mut self) {
        while self.read() {}
    }

    /// A binary message; those of a client are masked, with a mask of zeros here.
    fn message(&mut self, stream: u8, content: &[u8]) {
        let length = u8::try_from(content.len() + 1).expect("a short message");
        assert!(length < 126, "a short message");
        let mut frame = vec![0x82, 0x80 | length, 0, 0, 0, 0, stream];
        frame.extend(content);
        self.socket.write_all(&frame).unwrap();
    }

    /// Reads one message; false when there are no more.
    #[track_caller]
    fn read(&mut self) -> bool {
        let mut head = [0; 2];
        match self.socket.read_exact(&mut head) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return false,
            read => read.expect("a message within the bounds of patience"),
        }
        let mut length = usize::from(head[1] & 0x7f);
        if length >= 126 {
            let mut more = vec![0; if length == 126 { 2 } else { 8 }];
            self.socket.read_exact(&mut more).unwrap();
            length = more.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        }
        let mut content = vec![0; length];
        self.socket.read_exact(&mut content).unwrap();
        let (kind, text) = (head[0] & 0xf, String::from_utf8_lossy(content.get(1..).unwrap_or_default()));
        match (kind, content.first()) {
            (8, _) => return false,
            (1 | 2, Some(&ERROR)) if !text.is_empty() => self.end = Some(text.into_owned()),
            (1 | 2, Some(_)) => self.output.push_str(&text),
            _ => {}
        }
        true
    }
}
