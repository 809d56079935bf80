//! Registries that lie, stall and are broken: a pull from them fails with a reason, in bounded memory, and leaves
//! neither an image nor a layer; what can pass is tried again.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod pulled;

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use integration::{Answer, Body, Fake, ImageMaker, Layout, Request, Shim, Value, is_root, json, requires};
use pulled::{contents, layout, shim_call};

/// A case: what differs from an honest registry, and what is said of it.
type Lie = Box<dyn Fn(&Layout, &Request) -> Option<Answer> + Send + Sync>;

fn image(shim: &Shim) -> Layout {
    let maker =
        ImageMaker::busybox().layer("more", |folder| std::fs::write(folder.join("more"), "more").unwrap());
    layout(&shim.folder().join("layout"), &maker)
}

/// Pulls from a registry that answers `lie` where it has an answer; what was said.
#[track_caller]
fn refused(lie: Lie) -> String {
    let shim = Shim::in_memory();
    let layout = image(&shim);
    let registry =
        Fake::start(move |request| lie(&layout, request).unwrap_or_else(|| layout.answer(request)));
    let output = shim_call(&shim, &["pull", &format!("{}/box:1", registry.host())]).output().expect_code(1);
    assert_eq!(shim.stdout(&["images", "-q"]), "");
    // Layers below the one that is wrong may be there, complete; no image has them.
    for path in contents(&shim.root()).keys() {
        assert!(!path.starts_with("leases/") && !path.starts_with("ingest/layer-"), "{path}: {output}");
    }
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
    output.stderr
}

fn lie(answer: impl Fn(&Layout, &Request) -> Option<Answer> + Send + Sync + 'static) -> Lie {
    Box::new(answer)
}

/// Instead of the upper layer.
fn instead_of_layer(answer: impl Fn(&Layout, &Request) -> Answer + Send + Sync + 'static) -> Lie {
    lie(move |layout, request| request.target.contains(&layout.layers[1].0).then(|| answer(layout, request)))
}

/// Another document for the tag.
fn manifest(change: impl Fn(&Layout) -> Value + Send + Sync + 'static) -> Lie {
    lie(move |layout, request| {
        let document = change(layout).to_string();
        let kind = if document.contains("\"manifests\"") { "index" } else { "manifest" };
        let kind = format!("application/vnd.oci.image.{kind}.v1+json");
        request.target.ends_with("/manifests/1").then(|| Answer::bytes(document).header("Content-Type", kind))
    })
}

#[test]
fn a_registry_that_lies_is_refused_with_the_reason() {
    requires!(is_root(), "unpacking layers needs root");
    let table: Vec<(&str, Lie, &str)> = vec![
        (
            "other bytes of the same length",
            instead_of_layer(|layout, _| Answer::bytes(vec![7; layout.layers[1].1])),
            "its digest is sha256:",
        ),
        ("a shorter layer", instead_of_layer(|_, _| Answer::bytes("short")), "it is 5 bytes long, not"),
        (
            "a longer layer",
            instead_of_layer(|layout, _| Answer::bytes(vec![7; layout.layers[1].1 + 1])),
            "bytes long, not",
        ),
        (
            "a longer layer, not measured",
            instead_of_layer(|layout, _| {
                let mut blob = layout.blob(&layout.layers[1].0);
                blob.push(0);
                Answer::status(200).body(Body::Unmeasured(blob))
            }),
            "it is longer than",
        ),
        (
            "a layer without end",
            instead_of_layer(|_, _| Answer::status(200).body(Body::Endless(vec![7; 65536]))),
            "it is longer than",
        ),
        (
            "headers without end",
            instead_of_layer(|_, _| Answer::status(200).body(Body::EndlessHeaders)),
            "headers of more than",
        ),
        (
            "a manifest without end",
            lie(|_, request| {
                request
                    .target
                    .contains("/manifests/")
                    .then(|| Answer::status(200).body(Body::Endless(b"[[[[[[[[".repeat(1000))))
            }),
            "more than 4194304 bytes",
        ),
        (
            "a digest in the header that is another",
            lie(|layout, request| {
                let digest = format!("sha256:{}", "0".repeat(64));
                request.target.contains("/manifests/").then(|| {
                    Answer::bytes(layout.blob(&layout.manifest)).header("Docker-Content-Digest", digest)
                })
            }),
            "and the registry says sha256:0000",
        ),
        (
            "a configuration with other bytes",
            lie(|layout, request| {
                request
                    .target
                    .contains(&layout.config)
                    .then(|| Answer::bytes(layout.blob(&layout.config).to_ascii_uppercase()))
            }),
            "its digest is sha256:",
        ),
        ("no layer", instead_of_layer(|_, _| Answer::status(404)), "404"),
        ("no answer that is one", instead_of_layer(|_, _| Answer::status(204)), "status 204"),
        (
            "a redirect in a circle",
            instead_of_layer(|_, request| Answer::status(302).header("Location", &request.target)),
            "too many redirects",
        ),
        (
            "a redirect to a file",
            instead_of_layer(|_, _| Answer::status(302).header("Location", "file:///etc/passwd")),
            "no address",
        ),
        (
            "a redirect to plain http far away",
            instead_of_layer(|_, _| Answer::status(302).header("Location", "http://192.0.2.1/x")),
            "which is not https",
        ),
        (
            "a token server that is not https",
            lie(|_, request| {
                let challenge = "Bearer realm=\"http://192.0.2.1/token\"";
                (request.target != "/v2/").then(|| Answer::status(401).header("WWW-Authenticate", challenge))
            }),
            "the token server is not https",
        ),
        ("schema 1", manifest(|_| json!({"schemaVersion": 1, "fsLayers": []})), "schema 1"),
        (
            "a helm chart",
            manifest(|layout| {
                let mut document = layout.document();
                document["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
                document
            }),
            "it is no image",
        ),
        (
            "a digest that is a path",
            manifest(|layout| {
                let mut document = layout.document();
                document["layers"][0]["digest"] = json!("sha256:../../../../etc/passwd");
                document
            }),
            "invalid digest",
        ),
        (
            "fewer layers than the configuration has",
            manifest(|layout| {
                let mut document = layout.document();
                document["layers"].as_array_mut().unwrap().pop();
                document
            }),
            "1 layers, but 2 in the image's configuration",
        ),
        (
            "layers in another order",
            manifest(|layout| {
                let mut document = layout.document();
                document["layers"].as_array_mut().unwrap().reverse();
                document
            }),
            "unpacked it is sha256:",
        ),
        (
            "a layer with another size in the manifest",
            manifest(|layout| {
                let mut document = layout.document();
                document["layers"][1]["size"] = json!(layout.layers[1].1 + 7);
                document
            }),
            "bytes long, not",
        ),
        (
            "an index that leads to itself",
            lie(|layout, request| {
                let manifest = json!({"mediaType": "application/vnd.oci.image.index.v1+json", "digest": layout.manifest,
                "size": 1, "platform": {"os": "linux", "architecture": integration::image::architecture()}});
                let index = json!({"schemaVersion": 2, "manifests": [manifest]}).to_string();
                let kind = "application/vnd.oci.image.index.v1+json";
                request
                    .target
                    .contains("/manifests/")
                    .then(|| Answer::bytes(index).header("Content-Type", kind))
            }),
            "its digest is sha256:",
        ),
        (
            "indexes one inside of the other",
            lie(|layout, request| {
                let mut last = layout.manifest.clone();
                let mut size = layout.blob(&last).len();
                for _ in 0..6 {
                    let inner = json!({"mediaType": "application/vnd.oci.image.index.v1+json", "digest": last, "size": size,
                    "platform": {"os": "linux", "architecture": integration::image::architecture()}});
                    let outer = json!({"schemaVersion": 2, "manifests": [inner]});
                    size = outer.to_string().len();
                    last = layout.add(&outer);
                }
                let kind = "application/vnd.oci.image.index.v1+json";
                request
                    .target
                    .ends_with("/manifests/1")
                    .then(|| Answer::bytes(layout.blob(&last)).header("Content-Type", kind))
            }),
            "one inside of the other",
        ),
    ];
    // Together: most of the time goes into waiting.
    std::thread::scope(|scope| {
        for (what, lie, reason) in table {
            scope.spawn(move || {
                let said = refused(lie);
                assert!(said.contains(reason), "{what}: {said}");
            });
        }
    });
}

#[test]
fn a_list_of_tags_without_end_is_refused() {
    let shim = Shim::in_memory();
    let count = AtomicUsize::new(0);
    let registry = Fake::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let tags: Vec<String> = (0..20_000).map(|tag| format!("t{number}-{tag}")).collect();
        let next = format!("</v2/box/tags/list?last={number}>; rel=\"next\"");
        Answer::bytes(json!({"name": "box", "tags": tags}).to_string()).header("Link", next)
    });
    let pull = |registry: &Fake| {
        shim_call(&shim, &["pull", "-a", &format!("{}/box", registry.host())]).output().expect_code(1)
    };
    pull(&registry).expect_stderr("more than 100000 tags");
    let registry = Fake::start(|_| Answer::bytes(r#"{"tags":["../../x"]}"#));
    pull(&registry).expect_stderr("is no tag");
    let registry = Fake::start(|_| {
        Answer::bytes(r#"{"tags":["a"]}"#).header("Link", "<http://192.0.2.1/v2/box/tags/list>; rel=next")
    });
    pull(&registry).expect_stderr("at another place than the registry");
    let registry = Fake::start(|request| {
        Answer::bytes(r#"{"tags":[]}"#).header("Link", format!("<{}>; rel=next", request.target))
    });
    pull(&registry).expect_stderr("it goes on with itself");
}

#[test]
fn what_passes_is_tried_again() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::in_memory();
    let layout = image(&shim);
    let busy = AtomicUsize::new(0);
    let first = std::sync::Mutex::new(None::<Instant>);
    let registry = Fake::start(move |request| {
        if request.target == "/v2/" {
            return layout.answer(request);
        }
        match busy.fetch_add(1, Ordering::SeqCst) {
            0 => {
                *first.lock().unwrap() = Some(Instant::now());
                Answer::status(429).header("Retry-After", "2")
            }
            1 => {
                let waited = first.lock().unwrap().expect("the first came before").elapsed();
                if waited < Duration::from_millis(1900) { Answer::status(400) } else { Answer::status(503) }
            }
            2 => Answer::status(200).body(Body::Cut(vec![b'{'], 1000)),
            _ => layout.answer(request),
        }
    });
    shim_call(&shim, &["pull", "-q", &format!("{}/box:1", registry.host())])
        .output()
        .expect_ok()
        .expect_no_stderr();

    let registry = Fake::start(|_| Answer::status(429).header("Retry-After", "100000"));
    let output = shim_call(&shim, &["pull", &format!("{}/box:1", registry.host())]).output().expect_code(1);
    output.expect_stderr("it asks to wait 100000 seconds");
}

#[test]
fn a_layer_that_grows_without_end_takes_no_memory() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::in_memory();
    let layout = image(&shim);
    // An archive, then 300 MB of nothing: packed, not even one.
    let file = shim.folder().join("bomb");
    let mut gzip = std::process::Command::new("gzip")
        .arg("-c1")
        .stdin(std::process::Stdio::piped())
        .stdout(std::fs::File::create(&file).unwrap())
        .spawn()
        .unwrap();
    let mut stdin = gzip.stdin.take().unwrap();
    (0..300).for_each(|_| stdin.write_all(&vec![0; 1 << 20]).unwrap());
    drop(stdin);
    assert!(gzip.wait().unwrap().success());
    let bomb = integration::image::blob(&file);
    std::fs::rename(&file, layout.path(&bomb.digest)).unwrap();
    let mut document = layout.document();
    document["layers"][1]["digest"] = json!(bomb.digest);
    document["layers"][1]["size"] = json!(bomb.size);
    let shown = Layout { manifest: layout.add(&document), ..layout };
    let registry = Fake::start(move |request| shown.answer(request));
    let pull = shim_call(&shim, &["pull", &format!("{}/box:1", registry.host())]);
    // The kernel's bound on the whole program, threads' stacks and all: far less than what comes out.
    let pull = pull.through(&["prlimit", "--data=67108864"]).output().expect_code(1);
    pull.expect_stderr("unpacked it is sha256:");
}

#[test]
fn a_layer_that_is_there_twice_comes_once() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::in_memory();
    let same = |folder: &std::path::Path| std::fs::write(folder.join("same"), "same").unwrap();
    let maker = ImageMaker::busybox().layer("one", same).layer("two", same);
    let layout = layout(&shim.folder().join("layout"), &maker);
    assert_eq!(layout.layers[1], layout.layers[2]);
    let twice = layout.layers[1].0.clone();
    let registry = Fake::start(move |request| layout.answer(request));
    shim_call(&shim, &["pull", "-q", &format!("{}/box:1", registry.host())]).output().expect_ok();
    assert_eq!(registry.asked_for(&twice), 1);
    assert_eq!(std::fs::read_dir(shim.root().join("layers")).unwrap().count(), 3);
}
