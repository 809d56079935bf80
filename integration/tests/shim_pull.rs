//! Images from registries: Debian's docker-registry, and one of our own that counts what it is asked for.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod pulled;

use std::fs;

use integration::registry::docker::{self, Demands};
use integration::{Answer, Body, Call, Fake, ImageMaker, Layout, Registry, Shim, is_root, json, requires};
use pulled::{contents, layout, shim_call};

fn short(digest: &str) -> &str {
    &digest["sha256:".len()..][..12]
}

/// A store, and a registry that has `box:1` for whoever meets its demands.
fn demanding(demands: Demands) -> (Shim, Registry) {
    let shim = Shim::in_memory();
    let layout = layout(&shim.folder().join("layout"), &ImageMaker::busybox());
    let registry = Registry::start(demands);
    registry.put(&layout, "box", "1");
    (shim, registry)
}

#[test]
fn an_image_comes_from_debians_registry_in_dockers_words() {
    requires!(is_root(), "unpacking layers needs root");
    requires!(docker::is_installed(), "no docker-registry");
    let shim = Shim::in_memory();
    let layout = layout(
        &shim.folder().join("layout"),
        &ImageMaker::busybox().layer("a", |folder| fs::write(folder.join("a"), "a").unwrap()),
    );
    let registry = Registry::start(Demands::default());
    for tag in ["latest", "1", "2"] {
        registry.put(&layout, "team/box", tag);
    }
    let name = format!("{}/team/box", registry.host());
    let pull = |words: &[&str]| shim_call(&shim, words).output();
    let stdout = pull(&["pull", &name]).expect_ok().expect_no_stderr().stdout;
    let digest = &layout.manifest;
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[..2], ["Using default tag: latest", "latest: Pulling from team/box"], "{stdout}");
    for (layer, _) in &layout.layers {
        let told: Vec<&str> =
            lines.iter().filter_map(|line| line.strip_prefix(&format!("{}: ", short(layer)))).collect();
        assert_eq!(
            told,
            ["Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete"],
            "{stdout}"
        );
    }
    let end = [
        format!("Digest: {digest}"),
        format!("Status: Downloaded newer image for {name}:latest"),
        format!("{name}:latest"),
    ];
    assert_eq!(lines[lines.len() - 3..], end, "{stdout}");
    assert_eq!(shim.stdout(&["images", "--format", "{{.ID}}", "--no-trunc"]), format!("{}\n", layout.config));

    let again = pull(&["pull", &format!("{name}:latest")]).expect_ok().stdout;
    let same = format!(
        "latest: Pulling from team/box\nDigest: {digest}\nStatus: Image is up to date for {name}:latest\n{name}:latest\n"
    );
    assert_eq!(again, same);
    let by_digest = format!("{name}@{digest}");
    assert_eq!(pull(&["pull", "-q", &by_digest]).expect_ok().stdout, format!("{by_digest}\n"));

    let all = pull(&["image", "pull", "-a", &name]).expect_ok().stdout;
    for tag in ["1", "2", "latest"] {
        assert!(all.contains(&format!("{tag}: Pulling from team/box\nDigest: {digest}\n")), "{all}");
    }
    assert!(all.ends_with(&format!("Status: Downloaded newer image for {name}\n{name}\n")), "{all}");
    let tags = shim.stdout(&["images", "--format", "{{.Tag}}"]);
    let mut tags: Vec<&str> = tags.lines().collect();
    tags.sort_unstable();
    assert_eq!(tags, ["1", "2", "latest"]);

    pull(&["pull", "-a", &format!("{name}:1")])
        .expect_code(1)
        .expect_stderr("tag can't be used with --all-tags/-a");
    pull(&["pull", &format!("{name}:none")])
        .expect_code(1)
        .expect_stderr("not found")
        .expect_stderr("manifest unknown");
    pull(&["pull", "127.0.0.1:1/x"]).expect_code(1).expect_stderr("Connection refused");
    pull(&["pull", &name, "--platform", "linux/s390x"]).expect_code(1).expect_stderr(&format!(
        "image with reference {name}:latest was found but does not match the specified platform: wanted linux/s390x"
    ));
    pull(&["pull", "Upper/Case"]).expect_code(1).expect_stderr("must be lowercase");
}

#[test]
fn a_registry_with_passwords_wants_a_login() {
    requires!(is_root(), "unpacking layers needs root");
    requires!(docker::is_installed(), "no docker-registry");
    let (shim, registry) = demanding(Demands { password: true, ..Demands::default() });
    let (host, name) = (registry.host(), format!("{}/box:1", registry.host()));
    let call = |words: &[&str]| shim_call(&shim, words);
    let denied = call(&["pull", &name]).output().expect_code(1);
    let denied = denied.expect_stderr(&format!(
        "pull access denied for {host}/box, repository does not exist or may require 'shim login {host}'"
    ));
    denied.expect_stderr("no basic auth credentials");

    let login = ["login", "--username", "user", "--password-stdin", &host];
    let wrong = call(&login).stdin_bytes("wrong word").output().expect_code(1).expect_stderr("unauthorized");
    assert!(!wrong.stderr.contains("wrong word"), "{wrong}");
    let config = shim.folder().join("docker/config.json");
    assert!(!config.exists(), "nothing was kept");
    fs::create_dir(shim.folder().join("docker")).unwrap();
    fs::write(&config, r#"{"detachKeys":"ctrl-x","auths":{"other.org":{"auth":"dTpw"}}}"#).unwrap();
    let right =
        call(&login).stdin_bytes("pass word\n").output().expect_ok().expect_stdout("Login Succeeded\n");
    right.expect_stderr(&format!(
        "WARNING! Your credentials are stored unencrypted in '{}'.",
        config.display()
    ));
    let kept: integration::Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    assert_eq!(kept["detachKeys"], "ctrl-x");
    assert_eq!(kept["auths"]["other.org"]["auth"], "dTpw");
    assert_eq!(kept["auths"][&host]["auth"], "dXNlcjpwYXNzIHdvcmQ=");
    call(&["pull", "-q", &name]).output().expect_ok().expect_no_stderr();
    call(&["login", &host])
        .output()
        .expect_ok()
        .expect_stdout("Authenticating with existing credentials...\nLogin Succeeded\n");

    call(&["logout", &host])
        .output()
        .expect_ok()
        .expect_stdout(&format!("Removing login credentials for {host}\n"));
    call(&["logout", &host]).output().expect_ok().expect_stdout(&format!("Not logged in to {host}\n"));
    call(&["pull", &name]).output().expect_code(1);
    let kept: integration::Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    assert_eq!(kept, json!({"detachKeys": "ctrl-x", "auths": {"other.org": {"auth": "dTpw"}}}));

    let insecure = call(&["login", "-u", "user", "-p", "pass word", &host]).output().expect_ok();
    insecure.expect_stderr("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    for (words, reason) in [
        (
            &["login", "-p", "x", "--password-stdin", "-u", "u"][..],
            "--password and --password-stdin are mutually exclusive",
        ),
        (&["login", "--password-stdin"], "Must provide --username with --password-stdin"),
        (&["login", "127.0.0.1:1"], "Cannot perform an interactive login from a non TTY device"),
        (&["login", "a b"], "is no name of a registry"),
    ] {
        call(words).output().expect_code(1).expect_stderr(reason);
    }
}

#[test]
fn a_helper_keeps_passwords_in_the_files_place() {
    requires!(is_root(), "unpacking layers needs root");
    requires!(docker::is_installed(), "no docker-registry");
    let (shim, registry) = demanding(Demands { password: true, ..Demands::default() });
    let host = registry.host();
    let (helpers, safe) = (shim.folder().join("helpers"), shim.folder().join("safe"));
    fs::create_dir(&helpers).unwrap();
    let script = format!(
        "#!/bin/sh\nwhile read name value; do [ $name != SigBlk: ] || blocked=$value; done </proc/self/status\n\
         case $blocked in *[1-9a-f]*) echo signals are blocked; exit 1 ;; esac\n\
         case $1 in\nstore) cat > {safe} ;;\nget) if [ -e {safe} ]; then cat {safe}; else \
         echo credentials not found in native keychain; exit 1; fi ;;\nerase) rm {safe} ;;\nesac\n",
        safe = safe.display()
    );
    integration::write_program(&helpers.join("docker-credential-safe"), &script);
    fs::create_dir(shim.folder().join("docker")).unwrap();
    let config = shim.folder().join("docker/config.json");
    fs::write(&config, r#"{"credsStore":"safe"}"#).unwrap();
    let path = format!("{}:{}", helpers.display(), std::env::var("PATH").unwrap());
    let call = |words: &[&str]| shim_call(&shim, words).env("PATH", &path);
    let login = call(&["login", "-u", "user", "--password-stdin", &host])
        .stdin_bytes("pass word")
        .output()
        .expect_ok();
    login.expect_no_stderr();
    let kept: integration::Value = serde_json::from_slice(&fs::read(&safe).unwrap()).unwrap();
    assert_eq!(kept, json!({"ServerURL": host, "Username": "user", "Secret": "pass word"}));
    let file = fs::read_to_string(&config).unwrap();
    assert!(file.contains(&host) && !file.contains("dXNlcjpwYXNzIHdvcmQ"), "{file}");
    call(&["pull", "-q", &format!("{host}/box:1")]).output().expect_ok();
    call(&["logout", &host])
        .output()
        .expect_ok()
        .expect_stdout(&format!("Removing login credentials for {host}\n"));
    assert!(!safe.exists());
    fs::write(&config, r#"{"credsStore":"nobody-has-it"}"#).unwrap();
    let failed = call(&["pull", &format!("{host}/box:1")]).output().expect_code(1);
    failed.expect_stderr("docker-credential-nobody-has-it get: No such file or directory");
}

#[test]
fn a_certificate_is_believed_when_it_lies_in_the_registrys_folder() {
    requires!(is_root(), "unpacking layers needs root");
    requires!(docker::is_installed(), "no docker-registry");
    let (shim, registry) = demanding(Demands { tls: true, ..Demands::default() });
    let name = format!("{}/box:1", registry.host());
    let pull = || shim_call(&shim, &["pull", "-q", &name]).output();
    pull().expect_code(1).expect_stderr("certificate signed by unknown authority");
    let folder = shim.folder().join(format!(".config/containers/certs.d/{}", registry.host()));
    fs::create_dir_all(&folder).unwrap();
    let ca = folder.join("ca.crt");
    // Another one of the same name.
    let other = Registry::start(Demands { tls: true, ..Demands::default() });
    fs::copy(other.folder().join("cert.pem"), &ca).unwrap();
    pull().expect_code(1).expect_stderr("certificate");
    fs::copy(registry.folder().join("cert.pem"), &ca).unwrap();
    pull().expect_ok().expect_stdout(&format!("{name}\n"));
    // By the variable that Go's programs know.
    fs::remove_file(&ca).unwrap();
    let by_variable =
        shim_call(&shim, &["pull", "-q", &name]).env("SSL_CERT_FILE", registry.folder().join("cert.pem"));
    by_variable.output().expect_ok();
    fs::write(&ca, "nothing").unwrap();
    pull().expect_code(1).expect_stderr("there is no certificate in it");
}

#[test]
fn credentials_go_to_the_registry_and_its_token_server_and_to_nobody_else() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::in_memory();
    let layout = layout(&shim.folder().join("layout"), &ImageMaker::busybox());
    let blobs = layout.clone();
    // Where blobs are: it asks for a password, and is shown none.
    let far = Fake::start(move |request| {
        if request.header("authorization").is_some() || request.target.ends_with("?asks") {
            return Answer::status(401).header("WWW-Authenticate", "Basic realm=\"give it to me\"");
        }
        blobs.answer(request)
    });
    let tokens = Fake::start(|request| match request.header("authorization") {
        // user:pass word
        Some("Basic dXNlcjpwYXNzIHdvcmQ=") => Answer::bytes(r#"{"token":"good"}"#),
        _ => Answer::status(401),
    });
    let (registry_layout, far_host, realm) =
        (layout.clone(), far.host(), format!("http://{}/token", tokens.host()));
    let registry = Fake::start(move |request| {
        if request.header("authorization") != Some("Bearer good") {
            let challenge =
                format!("Bearer realm=\"{realm}\",service=\"the registry\",scope=\"repository:box:pull\"");
            return Answer::status(401).header("WWW-Authenticate", challenge);
        }
        match request.target.contains("/blobs/") {
            true => Answer::status(307).header("Location", format!("http://{far_host}{}", request.target)),
            false => registry_layout.answer(request),
        }
    });
    let name = format!("{}/box:1", registry.host());
    shim_call(&shim, &["pull", &name]).output().expect_code(1).expect_stderr("unauthorized");
    let login = shim_call(&shim, &["login", "-u", "user", "--password-stdin", &registry.host()])
        .stdin_bytes("pass word");
    login.output().expect_ok();
    let output = shim_call(&shim, &["pull", &name]).output().expect_ok().expect_no_stderr();
    assert!(!output.stdout.contains("pass word") && !output.stdout.contains("good"), "{output}");
    assert_eq!(shim.stdout(&["images", "--format", "{{.ID}}", "--no-trunc"]), format!("{}\n", layout.config));
    assert!(far.requests().iter().all(|request| request.header("authorization").is_none()));
    assert!(far.requests().len() >= 2);
    let asked = tokens.requests();
    assert!(asked.iter().any(|request| request.target
        == "/token?service=the%20registry&scope=repository%3Abox%3Apull&account=user"));
    for request in registry.requests() {
        assert!(
            !format!("{request:?}").contains("dXNlcjpwYXNzIHdvcmQ"),
            "the password is for the token server"
        );
    }
    // A server elsewhere that asks for a password gets none.
    let (asks, far_host) = (layout, far.host());
    let registry = Fake::start(move |request| match request.target.contains("/blobs/") {
        true => Answer::status(302).header("Location", format!("http://{far_host}{}?asks", request.target)),
        false => asks.answer(request),
    });
    let login = shim_call(&shim, &["login", "-u", "user", "--password-stdin", &registry.host()])
        .stdin_bytes("pass word");
    login.output().expect_ok();
    let shim = Shim::in_memory();
    shim_call(&shim, &["pull", &format!("{}/box:1", registry.host())]).output().expect_code(1);
    assert!(far.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn of_an_index_the_image_for_the_platform_comes_and_no_other() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::in_memory();
    let layout = layout(&shim.folder().join("layout"), &ImageMaker::busybox());
    let size = layout.blob(&layout.manifest).len();
    let of = |platform: &str, digest: &str, size: usize| {
        let (os, architecture) = platform.split_once('/').unwrap();
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
            "platform": {"os": os, "architecture": architecture}})
    };
    let other = layout.add(&json!({"schemaVersion": 2, "config": {}, "layers": "nonsense"}));
    let own = integration::image::architecture();
    let manifests = [of("linux/s390x", &other, 1), of(&format!("linux/{own}"), &layout.manifest, size)];
    let index = layout.add(&json!({"schemaVersion": 2, "manifests": manifests}));
    let shown = Layout { manifest: index.clone(), ..layout.clone() };
    let registry = Fake::start(move |request| shown.answer(request));
    let name = format!("{}/box:1", registry.host());
    let stdout = shim_call(&shim, &["pull", &name]).output().expect_ok().stdout;
    assert!(stdout.contains(&format!("Digest: {index}\n")), "the digest is the index's: {stdout}");
    assert_eq!(
        shim.stdout(&["images", "--digests", "--format", "{{.Digest}} {{.ID}}", "--no-trunc"]),
        format!("{index} {}\n", layout.config)
    );
    assert_eq!(registry.asked_for(&other), 0);
    shim_call(&shim, &["pull", "--platform", "linux/riscv64", &name])
        .output()
        .expect_code(1)
        .expect_stderr("no matching manifest for linux/riscv64 in the manifest list entries");
}

#[test]
fn what_is_there_is_not_fetched_and_pulls_at_the_same_time_share() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::in_memory();
    let folder = shim.folder().join("layouts");
    fs::create_dir(&folder).unwrap();
    let base = layout(&folder.join("base"), &ImageMaker::busybox());
    let add =
        |name: &str| ImageMaker::busybox().layer(name, |folder| fs::write(folder.join(name), name).unwrap());
    let (one, two) = (layout(&folder.join("one"), &add("one")), layout(&folder.join("two"), &add("two")));
    let registry = Fake::start(move |request| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        match request.target.split('/').nth(2) {
            Some("one") => one.answer(request),
            _ => two.answer(request),
        }
    });
    let names = ["one", "two"].map(|name| format!("{}/{name}:1", registry.host()));
    let pulls: Vec<_> =
        (0..6).map(|number| shim_call(&shim, &["pull", &names[number % 2]]).spawn()).collect();
    let outputs: Vec<_> = pulls.into_iter().map(|pull| pull.wait().expect_ok().expect_no_stderr()).collect();
    assert_eq!(registry.asked_for(&format!("/blobs/{}", base.layers[0].0)), 1, "{outputs:#?}");
    assert_eq!(shim.stdout(&["images", "-q"]).lines().count(), 2);
    assert!(
        contents(&shim.root())
            .keys()
            .all(|path| !path.starts_with("ingest/") && !path.starts_with("leases/"))
    );
}

#[test]
fn what_was_cut_goes_on_where_it_stopped() {
    requires!(is_root(), "unpacking layers needs root");
    let maker = ImageMaker::busybox();
    let fresh = Shim::in_memory();
    let layout = layout(&fresh.folder().join("layout"), &maker);
    let (layer, size) = layout.layers[0].clone();
    let honest = layout.clone();
    let registry = Fake::start(move |request| honest.answer(request));
    shim_call(&fresh, &["pull", &format!("{}/box:1", registry.host())]).output().expect_ok();
    let whole = contents(&fresh.root());

    // Cut at several places, the registry knowing ranges, ignoring them, or answering another one.
    for manner in ["ranges", "ignores ranges", "wrong ranges"] {
        let (shown, digest) = (layout.clone(), layer.clone());
        let registry = Fake::start(move |request| {
            let cuts = [0, 1, size / 3, size / 2, size - 1];
            if !request.target.ends_with(&digest) {
                return shown.answer(request);
            }
            let blob = shown.blob(&digest);
            let from = request.from().unwrap_or(0);
            match (manner, request.from()) {
                ("wrong ranges", Some(from)) => {
                    let range = format!("bytes 0-{}/{}", blob.len() - 1, blob.len());
                    return Answer::status(206)
                        .header("Content-Range", range)
                        .body(Body::Whole(blob[from - 1..].to_vec()));
                }
                ("ranges", Some(from)) => {
                    let end = cuts.iter().copied().find(|cut| *cut > from).unwrap_or(size);
                    let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
                    let body = Body::Cut(blob[from..end].to_vec(), size - from);
                    return Answer::status(206).header("Content-Range", range).body(body);
                }
                _ => {}
            }
            let asked = COUNT.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 4;
            let end = if manner == "ranges" { size / 3 } else { [size / 3, size / 2, size - 1, size][asked] };
            Answer::status(200).body(Body::Cut(blob[..end.max(from.min(1))].to_vec(), size))
        });
        COUNT.store(0, std::sync::atomic::Ordering::SeqCst);
        let shim = Shim::in_memory();
        let output = shim_call(&shim, &["pull", &format!("{}/box:1", registry.host())]).output().expect_ok();
        // The names differ by the registry's port.
        let mut came = contents(&shim.root());
        came.remove("images.json");
        let mut wanted = whole.clone();
        wanted.remove("images.json");
        assert_eq!(came, wanted, "{manner}: {output}");
        assert!(registry.asked_for(&layer) > 1, "{manner}");
    }
}

static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

#[test]
fn a_registry_that_wants_a_certificate_is_shown_the_one_in_its_folder() {
    requires!(is_root(), "unpacking layers needs root");
    requires!(docker::is_installed(), "no docker-registry");
    let (shim, registry) = demanding(Demands { tls: true, certificate: true, ..Demands::default() });
    let name = format!("{}/box:1", registry.host());
    let pull = || shim_call(&shim, &["pull", "-q", &name]).output();
    let folder = shim.folder().join(format!(".config/docker/certs.d/{}", registry.host()));
    fs::create_dir_all(&folder).unwrap();
    fs::copy(registry.folder().join("cert.pem"), folder.join("ca.crt")).unwrap();
    pull().expect_code(1).expect_stderr("received fatal alert");
    fs::copy(registry.folder().join("cert.pem"), folder.join("client.cert")).unwrap();
    pull().expect_code(1).expect_stderr("missing key");
    // One that belongs to another.
    let other = Registry::start(Demands { tls: true, ..Demands::default() });
    fs::copy(other.folder().join("key.pem"), folder.join("client.key")).unwrap();
    pull().expect_code(1).expect_stderr("client certificate for 127.0.0.1");
    fs::copy(registry.folder().join("key.pem"), folder.join("client.key")).unwrap();
    pull().expect_ok().expect_stdout(&format!("{name}\n"));
}

/// The call with these settings of the host's administrator, in a mount namespace of its own.
fn with_settings(shim: &Shim, call: Call, settings: &integration::Value) -> Call {
    let file = shim.folder().join("registries.json");
    fs::write(&file, settings.to_string()).unwrap();
    let script = format!(
        "mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work && \
         mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work overlay /etc && \
         mkdir -p /etc/caisson && cp {} /etc/caisson/registries.json && exec \"$0\" \"$@\"",
        file.display()
    );
    call.through(&["unshare", "--mount", "sh", "-c", &script])
}

#[test]
fn the_administrator_names_mirrors_and_insecure_registries() {
    requires!(is_root(), "unpacking layers needs root");
    requires!(docker::is_installed(), "no docker-registry");
    let shim = Shim::in_memory();
    let layout = layout(&shim.folder().join("layout"), &ImageMaker::busybox());
    let shown = layout.clone();
    let mirror = Fake::start(move |request| shown.answer(request));
    fs::create_dir(shim.folder().join("docker")).unwrap();
    // docker.io's own password is not for the mirror.
    let hub = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpwYXNzIHdvcmQ="}}}"#;
    fs::write(shim.folder().join("docker/config.json"), hub).unwrap();
    let settings = json!({"registry-mirrors": [format!("http://{}", mirror.host())]});
    let pull = || shim_call(&shim, &["pull", "box"]);
    let stdout = with_settings(&shim, pull(), &settings).output().expect_ok().stdout;
    assert!(
        stdout.ends_with("Status: Downloaded newer image for box:latest\ndocker.io/library/box:latest\n"),
        "{stdout}"
    );
    assert_eq!(mirror.asked_for("/v2/library/box/manifests/latest"), 1);
    assert!(mirror.requests().iter().all(|request| request.header("authorization").is_none()));

    // A registry with a certificate that nobody knows.
    let registry = Registry::start(Demands { tls: true, ..Demands::default() });
    registry.put(&layout, "box", "1");
    let name = format!("{}/box:1", registry.host());
    let insecure = json!({"insecure-registries": ["127.0.0.0/8"]});
    let pull = || shim_call(&shim, &["pull", "-q", &name]);
    with_settings(&shim, pull(), &json!({})).output().expect_code(1).expect_stderr("unknown authority");
    with_settings(&shim, pull(), &insecure).output().expect_ok();
    let typo = json!({"insecure-registry": ["127.0.0.0/8"]});
    let failed = with_settings(&shim, pull(), &typo).output().expect_code(1);
    failed.expect_stderr("read \"/etc/caisson/registries.json\": unknown field `insecure-registry`");
}
