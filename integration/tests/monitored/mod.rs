//! Containers and who looks after them: their processes, their records, and the socket, seen from outside.
#![allow(dead_code)] // each test program uses its part

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

use integration::{PATIENCE, Process, Shim, Value, wait_for};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

pub const ROOT: &str = "containers need root";

/// Waits until a container's recorded state is as `wanted`.
#[track_caller]
pub fn wait_for_state(shim: &Shim, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, || Some(shim.recorded_state(id)).filter(&wanted))
}

/// Waits until nothing more happens to a container; its recorded state.
#[track_caller]
pub fn ended(shim: &Shim, id: &str) -> Value {
    wait_for_state(shim, id, "the end of a container", |state| {
        state["status"] == "exited" && state.get("monitor").is_none()
    })
}

/// The process that does the work of a container's monitor.
#[track_caller]
pub fn worker(shim: &Shim, id: &str) -> Process {
    let state = wait_for_state(shim, id, "a monitor", |state| state.get("monitor").is_some());
    Process::new(u32::try_from(state["monitor"]["pid"].as_u64().unwrap()).unwrap())
}

/// The process that waits and holds: the worker's parent.
#[track_caller]
pub fn keeper(shim: &Shim, id: &str) -> Process {
    let keeper = Process::new(worker(shim, id).status("PPid").parse().unwrap());
    assert_eq!(keeper.cmdline(), worker(shim, id).cmdline());
    keeper
}

/// Both of them, and those of all other containers too.
pub fn monitors(shim: &Shim) -> Vec<Process> {
    let is_one = |process: &Process| {
        let line = fs::read(process.path("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == b"monitor")
    };
    shim.processes().into_iter().filter(is_one).collect()
}

/// Sends a signal to a process, if it is there.
pub fn signal(process: Process, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(process.pid()).unwrap()).unwrap();
    if let Ok(open) = pidfd_open(pid, PidfdFlags::empty()) {
        let _ = pidfd_send_signal(&open, signal);
    }
}

/// Kills a process, and waits until it is gone.
#[track_caller]
pub fn kill(process: Process) {
    signal(process, Signal::KILL);
    wait_for("the end of a killed process", || (!process.is_alive()).then_some(()));
}

/// What a container has printed, by its log's lines: stream and text.
pub fn logged(shim: &Shim, id: &str) -> Vec<(String, String)> {
    let path = shim.container_folder(id).join(format!("{id}-json.log"));
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let line = |line: &str| -> (String, String) {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        (line["stream"].as_str().unwrap().to_owned(), line["log"].as_str().unwrap().to_owned())
    };
    whole.lines().map(line).collect()
}

/// Its standard output alone, in one.
pub fn printed(shim: &Shim, id: &str) -> String {
    logged(shim, id).into_iter().filter(|(stream, _)| stream == "stdout").map(|(_, text)| text).collect()
}

/// Actions of a container, in order, by the file of events.
pub fn events(shim: &Shim, id: &str) -> Vec<Value> {
    let text = fs::read_to_string(shim.state().join("events.json")).unwrap_or_default();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|event| event["Actor"]["ID"] == id).collect()
}

/// Their names.
pub fn actions(shim: &Shim, id: &str) -> Vec<String> {
    events(shim, id).iter().map(|event| event["Action"].as_str().unwrap().to_owned()).collect()
}

/// A client of a monitor's socket.
pub struct Client(pub UnixStream);

impl Client {
    #[track_caller]
    pub fn connect(shim: &Shim, id: &str) -> Client {
        let folder = shim.state().join("containers").join(id);
        let open = File::open(&folder).unwrap();
        let stream = UnixStream::connect(format!("/proc/self/fd/{}/socket", open.as_raw_fd())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(stream)
    }

    #[track_caller]
    pub fn say(&mut self, kind: u8, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&[kind][..], &length, payload].concat();
        self.0.write_all(&frame).unwrap();
    }

    /// Attached to its output.
    #[track_caller]
    pub fn attached(shim: &Shim, id: &str, streams: &str) -> Client {
        let mut client = Client::connect(shim, id);
        client.say(1, streams.as_bytes());
        assert_eq!(client.hear(), Some((70, Vec::new())));
        client
    }

    /// The next frame; None at the end.
    #[track_caller]
    pub fn hear(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 5];
        let mut have = 0;
        while have < header.len() {
            match self.0.read(&mut header[have..]) {
                Ok(0) => return None,
                Ok(count) => have += count,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing is heard: {error}"),
            }
        }
        let [kind, a, b, c, d] = header;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap()];
        self.0.read_exact(&mut payload).unwrap();
        Some((kind, payload))
    }

    /// Everything up to the end: standard output, and the frame `Exit`.
    #[track_caller]
    pub fn hear_all(mut self) -> (Vec<u8>, Option<Value>) {
        let (mut output, mut exit) = (Vec::new(), None);
        while let Some((kind, payload)) = self.hear() {
            match kind {
                65 => output.extend(payload),
                69 => exit = Some(serde_json::from_slice(&payload).unwrap()),
                _ => {}
            }
        }
        (output, exit)
    }
}
