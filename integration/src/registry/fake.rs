//! A registry of our own, which answers what a test tells it to and remembers what it was asked.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;

/// What the registry was asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As text.
    pub body: String,
}

impl Request {
    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// First byte of the range that was asked for.
    #[must_use]
    pub fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }

    fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut request = Request { method, target, headers, body: String::new() };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        stream.take(length).read_to_string(&mut request.body).ok()?;
        Some(request)
    }
}

/// What it answers.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
}

/// What follows the headers.
#[derive(Clone, Debug)]
pub enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// These bytes of as many as this, then the connection is closed.
    Cut(Vec<u8>, usize),
    /// These bytes of as many as this, then nothing until the other side goes.
    Stalled(Vec<u8>, usize),
    /// These bytes, and no length was told.
    Unmeasured(Vec<u8>),
    /// These bytes again and again, until nobody reads them.
    Endless(Vec<u8>),
    /// Headers without end.
    EndlessHeaders,
}

impl Answer {
    /// This status and nothing else.
    #[must_use]
    pub fn status(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: Body::Whole(Vec::new()) }
    }

    /// This body.
    #[must_use]
    pub fn body(self, body: Body) -> Answer {
        Answer { body, ..self }
    }

    /// These bytes.
    #[must_use]
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Answer {
        Answer::status(200).body(Body::Whole(bytes.into()))
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl ToString) -> Answer {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    fn write(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Some Reason\r\nConnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match &self.body {
            Body::Whole(bytes) => {
                write!(stream, "{head}Content-Length: {}\r\n\r\n", bytes.len())?;
                stream.write_all(bytes)
            }
            Body::Cut(bytes, length) => {
                write!(stream, "{head}Content-Length: {length}\r\n\r\n")?;
                stream.write_all(bytes)
            }
            Body::Stalled(bytes, length) => {
                write!(stream, "{head}Content-Length: {length}\r\n\r\n")?;
                stream.write_all(bytes)?;
                stream.read(&mut [0]).map(drop)
            }
            Body::Unmeasured(bytes) => {
                write!(stream, "{head}\r\n")?;
                stream.write_all(bytes)
            }
            Body::Endless(bytes) => {
                write!(stream, "{head}\r\n")?;
                loop {
                    stream.write_all(bytes)?;
                }
            }
            Body::EndlessHeaders => {
                write!(stream, "{head}")?;
                loop {
                    write!(stream, "X-Filling: {}\r\n", "x".repeat(4000))?;
                }
            }
        }
    }
}

/// A registry that is running.
#[derive(Debug)]
pub struct Fake {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Fake {
    /// Starts one that answers so.
    #[must_use]
    #[track_caller]
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen on 127.0.0.1");
        let address = listener.local_addr().expect("address of a socket");
        let (requests, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, stopped, answer) = (Arc::clone(&requests), Arc::clone(&stop), Arc::new(answer));
        let listener = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &log, &*answer));
            }
        });
        Fake { address, requests, stop, listener: Some(listener) }
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// All that it was asked, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("nobody panics here").clone()
    }

    /// How often it was asked for something with these words in its address.
    #[must_use]
    pub fn asked_for(&self, words: &str) -> usize {
        self.requests().iter().filter(|request| request.target.contains(words)).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // It waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request) -> Answer) {
    let _ = stream.set_read_timeout(Some(crate::PATIENCE));
    let mut first = [0];
    if stream.peek(&mut first).is_ok() && first == [0x16] {
        // A greeting of TLS: what Go's server of plain http says to that.
        let _ = (&stream)
            .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n");
        return;
    }
    let Ok(copy) = stream.try_clone() else { return };
    let Some(request) = Request::read(&mut BufReader::new(copy)) else { return };
    log.lock().expect("nobody panics here").push(request.clone());
    let _ = answer(&request).write(&stream);
}

/// An OCI layout as a registry shows it, under any name of a repository.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Where it is.
    pub folder: PathBuf,
    /// Digest of the manifest.
    pub manifest: String,
    /// Digest of the configuration.
    pub config: String,
    /// Digests and lengths of the packed layers, the lowest first.
    pub layers: Vec<(String, usize)>,
}

impl Layout {
    /// The layout in this folder, of one image.
    #[must_use]
    #[track_caller]
    pub fn open(folder: &Path) -> Layout {
        let index: Value = read_json(&folder.join("index.json"));
        let manifest = text(&index["manifests"][0]["digest"]);
        let mut layout =
            Layout { folder: folder.to_owned(), manifest, config: String::new(), layers: Vec::new() };
        let document: Value = read_json(&layout.path(&layout.manifest));
        layout.config = text(&document["config"]["digest"]);
        let layers = document["layers"].as_array().expect("a list of layers");
        let size = |layer: &Value| usize::try_from(layer["size"].as_u64().expect("a size")).expect("fits");
        layout.layers = layers.iter().map(|layer| (text(&layer["digest"]), size(layer))).collect();
        layout
    }

    /// Adds a document to the blobs; its digest.
    #[track_caller]
    pub fn add(&self, document: &Value) -> String {
        let file = self.folder.join("document");
        fs::write(&file, document.to_string()).expect("write a document");
        let digest = crate::image::blob(&file).digest;
        fs::rename(&file, self.path(&digest)).expect("move a document");
        digest
    }

    /// Its manifest.
    #[must_use]
    #[track_caller]
    pub fn document(&self) -> Value {
        read_json(&self.path(&self.manifest))
    }

    /// Where a blob is.
    #[must_use]
    pub fn path(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.strip_prefix("sha256:").expect("sha256"))
    }

    /// A blob.
    #[must_use]
    #[track_caller]
    pub fn blob(&self, digest: &str) -> Vec<u8> {
        fs::read(self.path(digest)).expect("read a blob")
    }

    /// What an honest registry answers; every tag is this image.
    #[must_use]
    #[track_caller]
    pub fn answer(&self, request: &Request) -> Answer {
        let path = request.target.split('?').next().expect("a path");
        let Some(name) = path.rsplit('/').next().filter(|_| path != "/v2/") else {
            return Answer::bytes("{}");
        };
        if path.contains("/manifests/") {
            let digest = if name.starts_with("sha256:") { name } else { &self.manifest };
            if self.path(digest).exists() {
                let document = self.blob(digest);
                let is_index =
                    serde_json::from_slice::<Value>(&document).expect("JSON").get("manifests").is_some();
                let kind = if is_index { "index" } else { "manifest" };
                return Answer::bytes(document)
                    .header("Content-Type", format!("application/vnd.oci.image.{kind}.v1+json"))
                    .header("Docker-Content-Digest", digest);
            }
        }
        if path.contains("/blobs/") && self.path(name).exists() {
            let blob = self.blob(name);
            return match request.from() {
                None => Answer::bytes(blob),
                Some(from) if from < blob.len() => {
                    let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
                    Answer::status(206)
                        .header("Content-Range", range)
                        .body(Body::Whole(blob[from..].to_vec()))
                }
                Some(_) => Answer::status(416),
            };
        }
        Answer::status(404)
    }
}

#[track_caller]
fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("read a document")).expect("JSON")
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}
