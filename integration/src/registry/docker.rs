//! Debian's docker-registry, with images put where it keeps them.
//!
//! Nothing is pushed: the registry's folder is written as the distribution project describes it (its `storage` package,
//! `paths.go` by its documentation): a blob under its digest, and links to it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;

use crate::{Call, Layout, Running, Scratch, wait_for};

/// What the registry asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demands {
    /// It is `user` with the password `pass word`, or nobody.
    pub password: bool,
    /// It speaks TLS, by the certificate in its folder.
    pub tls: bool,
    /// With TLS: it is somebody with that very certificate.
    pub certificate: bool,
}

/// `user` and `pass word`, as htpasswd(1) -B writes it.
const HTPASSWD: &str = "user:$2y$04$FzWJVeCkLzhCbOd.RiUJhO9H57buOUsiXp1TdRGCza1/D0lD31xcO\n";

/// A registry that is running.
#[derive(Debug)]
pub struct Registry {
    // Ends first.
    _server: Running,
    scratch: Scratch,
    port: u16,
}

/// Whether there is one.
#[must_use]
pub fn is_installed() -> bool {
    Path::new("/usr/bin/docker-registry").exists()
}

impl Registry {
    /// Starts one, and waits until it answers.
    #[must_use]
    #[track_caller]
    pub fn start(demands: Demands) -> Registry {
        // Between the choice of a port and its use somebody else may have taken it.
        let started = (0..5).find_map(|_| Registry::try_start(demands));
        started.expect("docker-registry on some port of 127.0.0.1")
    }

    #[track_caller]
    fn try_start(demands: Demands) -> Option<Registry> {
        let scratch = Scratch::new();
        let folder = scratch.path();
        let port = free_port();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:{port}'",
            folder.join("store").display()
        );
        if demands.tls {
            make_certificate(folder);
            let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
            let clients = match demands.certificate {
                true => format!(", clientcas: [{}]", certificate.display()),
                false => String::new(),
            };
            let (certificate, key) = (certificate.display(), key.display());
            config += &format!(", tls: {{certificate: {certificate}, key: {key}{clients}}}");
        }
        config += "}\n";
        if demands.password {
            let file = folder.join("htpasswd");
            fs::write(&file, HTPASSWD).expect("write a file of passwords");
            config += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", file.display());
        }
        let file = folder.join("config.yml");
        fs::write(&file, config).expect("write a configuration");
        let mut server = Call::of("docker-registry").args(["serve"]).args([&file]).output_in(folder).spawn();
        let is_up = wait_for("docker-registry", || {
            if !server.is_running() {
                return Some(false);
            }
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok().map(|_| true)
        });
        (is_up && server.is_running()).then_some(Registry { _server: server, scratch, port })
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The folder with its certificate, `cert.pem`, which is its own authority's too, and `key.pem`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Has the image of a layout under `repository:tag`.
    #[track_caller]
    pub fn put(&self, layout: &Layout, repository: &str, tag: &str) {
        store(&self.scratch.path().join("store"), layout, repository, tag);
    }
}

/// Puts the image of a layout under `repository:tag` where a registry keeps what it has.
#[track_caller]
pub fn store(root: &Path, layout: &Layout, repository: &str, tag: &str) {
    let root = root.join("docker/registry/v2");
    let hex = |digest: &str| digest.strip_prefix("sha256:").expect("sha256").to_owned();
    let link = |path: String, digest: &str| {
        let folder = root.join("repositories").join(repository).join(path);
        fs::create_dir_all(&folder).expect("create a folder");
        fs::write(folder.join("link"), digest).expect("write a link");
    };
    let blob = |digest: &str| {
        let folder = root.join("blobs/sha256").join(&hex(digest)[..2]).join(hex(digest));
        fs::create_dir_all(&folder).expect("create a folder");
        if !folder.join("data").exists() {
            fs::copy(layout.path(digest), folder.join("data")).expect("copy a blob");
        }
    };
    for digest in layout.layers.iter().map(|(digest, _)| digest).chain([&layout.config]) {
        blob(digest);
        link(format!("_layers/sha256/{}", hex(digest)), digest);
    }
    blob(&layout.manifest);
    link(format!("_manifests/revisions/sha256/{}", hex(&layout.manifest)), &layout.manifest);
    link(format!("_manifests/tags/{tag}/current"), &layout.manifest);
    link(format!("_manifests/tags/{tag}/index/sha256/{}", hex(&layout.manifest)), &layout.manifest);
}

/// One that nobody listens on at this moment.
#[track_caller]
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen on 127.0.0.1");
    listener.local_addr().expect("address of a socket").port()
}

/// A certificate for 127.0.0.1 that is its own authority, as Docker's documentation has people make it.
#[track_caller]
fn make_certificate(folder: &Path) {
    let call =
        Call::of("openssl").args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let call = call.args([
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=registry",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]);
    let call = call.args(["-keyout".as_ref(), folder.join("key.pem").as_os_str()]);
    call.args(["-out".as_ref(), folder.join("cert.pem").as_os_str()]).output().expect_ok();
}
