//! The bytes against another writer's and systemd's own, and the conversation against a peer that does not do
//! what it should.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::connection::{Connection, Wait};
use super::message::{self, Kind, Message, Method, PROLOGUE};
use super::value::Value;
use super::wire::{Reader, Writer};

const LONG: Duration = Duration::from_secs(30);

pub(in crate::cgroup) fn wait(patience: Duration) -> Wait<'static> {
    Wait::new(patience, None)
}

/// The other end of a connection, which does as it is told.
pub(in crate::cgroup) struct Peer(pub UnixStream);

impl Peer {
    /// Runs `script` at the other end of a connection; both begin after the authentication.
    pub(in crate::cgroup) fn talk<T: Send + 'static>(
        script: impl FnOnce(&mut Self) -> T + Send + 'static,
    ) -> (std::os::fd::OwnedFd, JoinHandle<T>) {
        Self::raw(|peer| {
            peer.authenticate();
            script(peer)
        })
    }

    /// The same before the authentication.
    pub(in crate::cgroup) fn raw<T: Send + 'static>(
        script: impl FnOnce(&mut Self) -> T + Send + 'static,
    ) -> (std::os::fd::OwnedFd, JoinHandle<T>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_read_timeout(Some(LONG)).unwrap();
        (ours.into(), std::thread::spawn(move || script(&mut Self(theirs))))
    }

    fn authenticate(&mut self) {
        let mut hello = [0; 29];
        self.0.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
        self.0.write_all(b"DATA\r\nOK 0123456789abcdef\r\n").unwrap();
    }

    /// The next call: its number, its method and its arguments; `None` when nobody is there any more.
    pub(in crate::cgroup) fn call(&mut self) -> Option<(u32, String, Vec<Value>)> {
        let mut bytes = vec![0; PROLOGUE];
        self.0.read_exact(&mut bytes).ok()?;
        let serial = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
        let length = message::length(bytes.first_chunk().unwrap()).unwrap();
        bytes.resize(length, 0);
        self.0.read_exact(&mut bytes[PROLOGUE..]).ok()?;
        let message = Message::parse(&bytes).unwrap();
        Some((serial, message.member.clone(), message.body().unwrap()))
    }

    /// The next call, which is of this method; its number and its arguments.
    pub(in crate::cgroup) fn expect(&mut self, method: &str) -> (u32, Vec<Value>) {
        let (serial, member, body) = self.call().expect(method);
        assert_eq!(member, method);
        (serial, body)
    }

    pub(in crate::cgroup) fn reply(&mut self, serial: u32, body: &[Value]) {
        self.0.write_all(&message(2, &[(5, Value::U32(serial))], body)).unwrap();
    }

    pub(in crate::cgroup) fn refuse(&mut self, serial: u32, name: &str, text: &str) {
        let fields = [(5, Value::U32(serial)), (4, Value::text(name))];
        self.0.write_all(&message(3, &fields, &[Value::text(text)])).unwrap();
    }

    pub(in crate::cgroup) fn signal(&mut self, interface: &str, member: &str, body: &[Value]) {
        let fields = [(1, Value::Path("/o".into())), (2, Value::text(interface)), (3, Value::text(member))];
        self.0.write_all(&message(4, &fields, body)).unwrap();
    }
}

/// The bytes of a message of this type.
pub(in crate::cgroup) fn message(kind: u8, fields: &[(u8, Value)], body: &[Value]) -> Vec<u8> {
    let mut content = Writer::default();
    body.iter().for_each(|value| content.value(value).unwrap());
    let signature: String = body.iter().map(Value::signature).collect();
    let mut fields = fields.to_vec();
    fields.push((8, Value::Signature(signature)));
    let pair = |(code, value): (u8, Value)| Value::Struct(vec![Value::Byte(code), value.boxed()]);
    let mut whole = Writer::default();
    whole.bytes.extend_from_slice(&[b'l', kind, 0, 1]);
    whole.u32(u32::try_from(content.bytes.len()).unwrap());
    whole.u32(1);
    whole.value(&Value::Array("(yv)".into(), fields.into_iter().map(pair).collect())).unwrap();
    whole.align(8);
    whole.bytes.extend_from_slice(&content.bytes);
    whole.bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// A call of StartTransientUnit with a value of every type, as zbus 6.2.1 marshals it.
const ARGUMENTS: &str = "0e00000072756e632d7765622e73636f70650000070000007265706c616365009001000000000000\
    0b0000004465736372697074696f6e00017300001500000063616973736f6e20636f6e7461696e65\
    72207765620000000800000044656c65676174650001620001000000000000000400000050494473\
    00026175000000000400000067120000090000004d656d6f72794d61780001740000000000000000\
    00001000000000000b000000416c6c6f7765644350557300026179000200000005010000000000000b00000044657669\
    6365416c6c6f7700056128737329000032000000000000000d0000002f6465762f636861722f313a330000000300000072\
    776d000000000006000000636861722d2a0000010000006d0000000000000012000000494f5265616442616e64776964\
    74684d61780005612873742900000020000000000000000e0000002f6465762f626c6f636b2f383a3000000000\
    0000ffffffffffffffff05000000456d707479000561287373290000000000000000030000004f64640008\
    28796e7169786429000000000000000100feff03000000fcffffff00000000fbffffffffffffff000000000000f83f\
    0000000000000000";

fn arguments() -> Vec<Value> {
    let pair = |a: Value, b: Value| Value::Struct(vec![a, b]);
    let text = |text: &str| Value::text(text);
    let properties = vec![
        ("Description", text("caisson container web")),
        ("Delegate", Value::Bool(true)),
        ("PIDs", Value::Array("u".into(), vec![Value::U32(4711)])),
        ("MemoryMax", Value::U64(1 << 20)),
        ("AllowedCPUs", Value::bytes([5, 1])),
        (
            "DeviceAllow",
            Value::Array(
                "(ss)".into(),
                vec![pair(text("/dev/char/1:3"), text("rwm")), pair(text("char-*"), text("m"))],
            ),
        ),
        (
            "IOReadBandwidthMax",
            Value::Array("(st)".into(), vec![pair(text("/dev/block/8:0"), Value::U64(u64::MAX))]),
        ),
        ("Empty", Value::Array("(ss)".into(), vec![])),
        (
            "Odd",
            Value::Struct(vec![
                Value::Byte(1),
                Value::I16(-2),
                Value::U16(3),
                Value::I32(-4),
                Value::I64(-5),
                Value::Double(1.5),
            ]),
        ),
    ];
    let properties = properties.into_iter().map(|(name, value)| pair(text(name), value.boxed())).collect();
    vec![
        text("runc-web.scope"),
        text("replace"),
        Value::Array("(sv)".into(), properties),
        Value::Array("(sa(sv))".into(), vec![]),
    ]
}

#[test]
fn arguments_are_the_bytes_of_another_writer() {
    let mut writer = Writer::default();
    arguments().iter().for_each(|argument| writer.value(argument).unwrap());
    assert_eq!(hex(&writer.bytes), hex(&unhex(ARGUMENTS)));
    let read = Reader::new(&writer.bytes, false).body("ssa(sv)a(sa(sv))").unwrap();
    assert_eq!(read, arguments());
}

#[test]
fn a_call_is_the_bytes_of_another_writer() {
    let method = Method {
        destination: Some("org.freedesktop.systemd1"),
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member: "GetUnit",
    };
    let header = "6c01000113000000070000009700000001016f00190000002f6f72672f667265656465736b746f702f\
        73797374656d64310000000000000002017300200000006f72672e667265656465736b746f702e73\
        797374656d64312e4d616e6167657200000000000000000301730007000000476574556e69740006\
        017300180000006f72672e667265656465736b746f702e73797374656d6431000000000000000008\
        016700017300";
    let mut wanted = unhex(header);
    wanted.resize(wanted.len().next_multiple_of(8), 0);
    wanted.extend_from_slice(b"\x0e\0\0\0runc-web.scope\0");
    assert_eq!(hex(&method.call(7, &[Value::text("runc-web.scope")]).unwrap()), hex(&wanted));
}

/// What systemd 252 answered to GetUnit and to Get on its private socket.
const NO_SUCH_UNIT: &[u8] = b"l\x03\x01\x01$\x00\x00\x00\x03\x00\x00\x00g\x00\x00\x00\x05\x01u\x00\x03\x00\x00\
    \x00\x04\x01s\x00#\x00\x00\x00org.freedesktop.systemd1.NoSuchUnit\x00\x00\x00\x00\x00\x07\x01s\x00\x18\x00\
    \x00\x00org.freedesktop.systemd1\x00\x00\x00\x00\x00\x00\x00\x00\x08\x01g\x00\x01s\x00\x00\x1f\x00\x00\x00Unit \
    runc-web.scope not loaded.\x00";
const VERSION: &[u8] = b"l\x02\x01\x01\x19\x00\x00\x00\x01\x00\x00\x007\x00\x00\x00\x05\x01u\x00\x01\x00\x00\x00\
    \x07\x01s\x00\x18\x00\x00\x00org.freedesktop.systemd1\x00\x00\x00\x00\x00\x00\x00\x00\x08\x01g\x00\x01v\x00\x00\
    \x01s\x00\x00\x10\x00\x00\x00252.39-1~deb12u2\x00";

#[test]
fn answers_of_systemd_are_read() {
    assert_eq!(message::length(VERSION.first_chunk().unwrap()).unwrap(), VERSION.len());
    let version = Message::parse(VERSION).unwrap();
    assert_eq!(version.kind, Kind::Return(1));
    assert_eq!(version.body().unwrap(), [Value::text("252.39-1~deb12u2").boxed()]);
    let refusal = Message::parse(NO_SUCH_UNIT).unwrap();
    assert_eq!(refusal.kind, Kind::Error(3, "org.freedesktop.systemd1.NoSuchUnit".into()));
    assert_eq!(refusal.body().unwrap(), [Value::text("Unit runc-web.scope not loaded.")]);
}

#[test]
fn a_big_endian_message_is_read() {
    // A reply to call 258 with the uint32 0x01020304 and the text "é".
    let bytes = b"B\x02\x00\x01\x00\x00\x00\x0b\x00\x00\x00\x01\x00\x00\x00\x10\
        \x05\x01u\x00\x00\x00\x01\x02\x08\x01g\x00\x02us\x00\
        \x01\x02\x03\x04\x00\x00\x00\x02\xc3\xa9\x00";
    assert_eq!(message::length(bytes.first_chunk().unwrap()).unwrap(), bytes.len());
    let message = Message::parse(bytes).unwrap();
    assert_eq!(message.kind, Kind::Return(258));
    assert_eq!(message.body().unwrap(), [Value::U32(0x0102_0304), Value::text("é")]);
}

/// Cut anywhere or with any byte another, a message is read or refused, without a panic and without taking
/// more memory than its bytes bear out.
#[test]
fn broken_messages_are_refused() {
    let call = {
        let method = Method { destination: None, path: "/o", interface: "a.b", member: "M" };
        method.call(1, &arguments()).unwrap()
    };
    for bytes in [NO_SUCH_UNIT, VERSION, &call] {
        for length in 0..bytes.len() {
            let cut = Message::parse(&bytes[..length]).and_then(|message| message.body());
            assert!(cut.is_err(), "{length}");
        }
        for position in 0..bytes.len() {
            for flip in [1, 0x10, 0x80, 0xff] {
                let mut bytes = bytes.to_vec();
                bytes[position] ^= flip;
                let _ = Message::parse(&bytes).and_then(|message| message.body());
            }
        }
    }
    let long = [b'l', 2, 0, 1, 0, 0, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0];
    assert!(message::length(&long).unwrap_err().to_string().ends_with("is too long to be meant"));
    assert!(message::length(b"HTTP/1.1 400 Bad").is_err());
    for (signature, bytes) in [
        ("b", &b"\x02\0\0\0"[..]),
        ("s", b"\x01\0\0\0a."),
        ("s", b"\x02\0\0\0a\0\0"),
        ("s", b"\x01\0\0\0\xff\0"),
        ("yu", b"\x01\x01\0\0\x01\0\0\0"),
        ("ay", b"\xff\xff\xff\xff"),
        ("at", b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("v", b"\x02ss\0\0\0\0\0\0\0\0\0"),
        ("h", b"\0\0\0\0"),
        ("a", b"\0\0\0\0"),
    ] {
        assert!(Reader::new(bytes, false).body(signature).is_err(), "{signature} {bytes:?}");
    }
}

#[test]
fn what_dbus_cannot_carry_is_not_sent() {
    let mut writer = Writer::default();
    assert!(writer.value(&Value::text("a\0b")).is_err());
    assert!(writer.value(&Value::Signature("y".repeat(256))).is_err());
}

const METHOD: Method<'static> = Method { destination: None, path: "/o", interface: "a.b", member: "M" };

#[test]
fn answers_find_their_calls_whatever_comes_between() {
    let (socket, peer) = Peer::talk(|peer| {
        let first = peer.expect("M").0;
        let second = peer.expect("M").0;
        peer.signal("a.b", "Other", &[]);
        peer.signal("a.b", "Wanted", &[Value::U32(1)]);
        // A call of one of our methods: there are none, and nobody waits for an answer here.
        peer.0.write_all(&METHOD.call(9, &[]).unwrap()).unwrap();
        peer.refuse(second, "a.Error", "why");
        peer.signal("a.b", "Wanted", &[Value::U32(2)]);
        peer.reply(first, &[Value::text("x")]);
    });
    let wait = &mut wait(LONG);
    let mut connection = Connection::over(socket, wait).unwrap();
    connection.listen("a.b", "Wanted");
    let first = connection.send(&METHOD, &[], wait).unwrap();
    let second = connection.send(&METHOD, &[Value::Bool(true)], wait).unwrap();
    assert_eq!(connection.answer(first, wait).unwrap().unwrap(), [Value::text("x")]);
    let refused = connection.answer(second, wait).unwrap().unwrap_err();
    assert_eq!((refused.name.as_str(), refused.text.as_str()), ("a.Error", "why"));
    let signal = |connection: &mut Connection, number, wait: &mut Wait<'_>| {
        connection.signal(wait, |body| body == [Value::U32(number)]).unwrap()
    };
    assert_eq!(signal(&mut connection, 2, wait), [Value::U32(2)]);
    assert_eq!(signal(&mut connection, 1, wait), [Value::U32(1)]);
    peer.join().unwrap();
}

#[test]
fn a_message_may_come_byte_by_byte() {
    let (socket, peer) = Peer::talk(|peer| {
        let serial = peer.expect("M").0;
        let bytes = [
            message(4, &[(3, Value::text("Other"))], &[]),
            message(2, &[(5, Value::U32(serial))], &[Value::U64(7)]),
        ]
        .concat();
        for byte in bytes {
            peer.0.write_all(&[byte]).unwrap();
            std::thread::yield_now();
        }
    });
    let wait = &mut wait(LONG);
    let mut connection = Connection::over(socket, wait).unwrap();
    let serial = connection.send(&METHOD, &[], wait).unwrap();
    assert_eq!(connection.answer(serial, wait).unwrap().unwrap(), [Value::U64(7)]);
    peer.join().unwrap();
}

/// A peer that does `script` instead of answering a call.
fn answer_of(script: impl FnOnce(&mut Peer) + Send + 'static, patience: Duration) -> String {
    let (socket, peer) = Peer::talk(move |peer| {
        peer.expect("M");
        script(peer);
    });
    let wait = &mut wait(patience);
    let mut connection = Connection::over(socket, wait).unwrap();
    let serial = connection.send(&METHOD, &[], wait).unwrap();
    let error = connection.answer(serial, wait).unwrap_err().to_string();
    drop(connection);
    peer.join().unwrap();
    error
}

#[test]
fn a_peer_that_does_not_answer_is_an_error_and_no_wait_without_end() {
    assert_eq!(answer_of(|_| {}, LONG), "the other side closed the connection");
    let half = |peer: &mut Peer| peer.0.write_all(&VERSION[..30]).unwrap();
    assert_eq!(answer_of(half, LONG), "the other side closed the connection");
    let garbage = |peer: &mut Peer| peer.0.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    assert_eq!(answer_of(garbage, LONG), "what came over the socket is no D-Bus message");
    // Silence, and half a message, until the caller has gone.
    let silent = |peer: &mut Peer| assert_eq!(peer.call(), None);
    assert_eq!(answer_of(silent, Duration::from_millis(50)), "no answer within 0.05 s");
    let stuck = |peer: &mut Peer| {
        peer.0.write_all(&VERSION[..40]).unwrap();
        assert_eq!(peer.call(), None);
    };
    assert_eq!(answer_of(stuck, Duration::from_millis(50)), "no answer within 0.05 s");
}

#[test]
fn a_server_that_does_not_take_us_is_an_error() {
    let open = |answer: &'static [u8], patience| {
        let (socket, peer) = Peer::raw(move |peer| {
            peer.0.write_all(answer).unwrap();
            let _ = peer.0.read_to_end(&mut Vec::new());
        });
        let error = Connection::over(socket, &mut wait(patience)).map(drop).unwrap_err().to_string();
        peer.join().unwrap();
        error
    };
    assert_eq!(
        open(b"REJECTED EXTERNAL\r\n", LONG),
        "it does not take this user (it answered \"REJECTED EXTERNAL\" to AUTH EXTERNAL)"
    );
    assert_eq!(
        open(b"DATA\r\nERROR\r\n", LONG),
        "it does not take this user (it answered \"ERROR\" to AUTH EXTERNAL)"
    );
    assert_eq!(open(&[b'x'; 4096], LONG), "what answers there does not speak D-Bus");
    assert_eq!(open(b"DATA\r\nO", Duration::from_millis(50)), "no answer within 0.05 s");
}

#[test]
fn a_signal_for_this_process_ends_the_wait() {
    let (socket, peer) = Peer::talk(|peer| {
        peer.expect("M");
        assert_eq!(peer.call(), None);
    });
    // In a thread of its own: signals are blocked for one thread, and sent to it alone.
    let caller = std::thread::spawn(move || {
        let mut signals = crate::signals::Signals::block().unwrap();
        let wait = &mut Wait::new(LONG, Some(&mut signals));
        let mut connection = Connection::over(socket, wait).unwrap();
        let serial = connection.send(&METHOD, &[], wait).unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGWINCH).unwrap(); // asks for nothing
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
        let begun = Instant::now();
        let error = connection.answer(serial, wait).unwrap_err().to_string();
        assert!(begun.elapsed() < LONG);
        error
    });
    assert_eq!(caller.join().unwrap(), "interrupted by SIGTERM");
    peer.join().unwrap();
}

#[test]
fn a_socket_whose_queue_is_full_is_not_waited_for_without_end() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect, listen, socket};
    let folder = crate::container::tests::TempDir::new();
    let path = folder.path().join("s");
    let server = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    let address = SocketAddrUnix::new(&path).unwrap();
    bind(&server, &address).unwrap();
    listen(&server, 0).unwrap();
    let first = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    connect(&first, &address).unwrap();
    let path = path.to_str().unwrap();
    let error = Connection::open(path, &mut wait(Duration::from_millis(50))).map(drop).unwrap_err();
    assert_eq!(error.to_string(), format!("connect to {path:?}: no answer within 0.05 s"));
    let missing = Connection::open("/nowhere/at/all", &mut wait(LONG)).map(drop).unwrap_err();
    assert_eq!(missing.errno(), libc::ENOENT);
}
