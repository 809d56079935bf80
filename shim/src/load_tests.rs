use super::*;
use crate::store::image::Found as Named;
use crate::store::scratch::Scratch;
use crate::unpack::written::{file, header, link, owned, padded};

fn part(path: &str, data: &[u8]) -> Vec<u8> {
    [header(b'0', path, data.len() as u64), padded(data)].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::read::GzEncoder::new(bytes, flate2::Compression::fast());
    let mut packed = Vec::new();
    encoder.read_to_end(&mut packed).unwrap();
    packed
}

/// Two layers, unpacked.
fn layers() -> [Vec<u8>; 2] {
    let base = [owned(b'5', "bin", 0o755, (0, 0)), file("bin/sh", "#!"), vec![0; 1024]].concat();
    [base, [file("bin/top", "2"), vec![0; 1024]].concat()]
}

fn config(architecture: &str) -> Vec<u8> {
    let [one, two] = layers().map(|layer| Digest::of(&layer));
    format!(
        r#"{{"architecture":"{architecture}","os":"linux","config":{{"Cmd":["sh"]}},
        "rootfs":{{"type":"layers","diff_ids":["{one}","{two}"]}}}}"#
    )
    .into_bytes()
}

/// What `docker save` writes: the second layer is a link, as where an archive has it twice.
fn saved(tags: &str) -> Vec<u8> {
    let [one, two] = layers();
    let manifest =
        format!(r#"[{{"Config":"c.json","RepoTags":{tags},"Layers":["a/layer.tar","b/layer.tar"]}}]"#);
    [
        part("manifest.json", manifest.as_bytes()),
        part("c.json", &config("amd64")),
        part("a/layer.tar", &one),
        link(b'2', "b/layer.tar", "../x/layer.tar"),
        part("x/layer.tar", &two),
        vec![0; 1024],
    ]
    .concat()
}

fn descriptor(media_type: &str, bytes: &[u8], rest: &str) -> String {
    let digest = Digest::of(bytes);
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}{rest}}}"#, bytes.len())
}

fn blob_part(bytes: &[u8]) -> Vec<u8> {
    part(&blob(&Digest::of(bytes)), bytes)
}

/// An OCI layout whose layers are packed, for two platforms, behind an index; `change` may spoil the manifests.
fn layout(name: &str, change: impl Fn(String) -> String) -> Vec<u8> {
    let packed = layers().map(|layer| gzip(&layer));
    let mut parts: Vec<Vec<u8>> = packed.iter().map(|layer| blob_part(layer)).collect();
    let mut platforms = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let config = config(architecture);
        let all: Vec<String> =
            packed.iter().map(|l| descriptor(manifest::layer_type(Packing::Gzip), l, "")).collect();
        let config_descriptor = descriptor(manifest::OCI_CONFIG, &config, "");
        let manifest =
            format!(r#"{{"schemaVersion":2,"config":{config_descriptor},"layers":[{}]}}"#, all.join(","));
        let manifest = change(manifest).into_bytes();
        let platform = format!(r#","platform":{{"os":"linux","architecture":"{architecture}"}}"#);
        platforms.push(descriptor(manifest::OCI_MANIFEST, &manifest, &platform));
        parts.extend([blob_part(&config), blob_part(&manifest)]);
    }
    let inner = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, platforms.join(",")).into_bytes();
    let named = format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{name}"}}"#);
    let index =
        format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, descriptor(manifest::OCI_INDEX, &inner, &named));
    parts.extend([blob_part(&inner), part("index.json", index.as_bytes()), vec![0; 1024]]);
    parts.concat()
}

fn load_into(scratch: &Scratch, bytes: &[u8], platform: &str) -> Result<Vec<Loaded>> {
    load(scratch.path(), bytes, Some(&Platform::parse(platform).unwrap()), As::Root)
}

#[test]
fn an_archive_of_docker_save_is_loaded_packed_or_not() {
    for pack in [
        |bytes: Vec<u8>| bytes,
        |bytes: Vec<u8>| gzip(&bytes),
        |b: Vec<u8>| zstd::encode_all(&b[..], 1).unwrap(),
    ] {
        let scratch = Scratch::new();
        let loaded =
            load_into(&scratch, &pack(saved(r#"["box:1","host:5000/me/box"]"#)), "linux/amd64").unwrap();
        let id = Digest::of(&config("amd64"));
        let names = vec!["box:1".to_owned(), "host:5000/me/box:latest".to_owned()];
        assert_eq!(loaded, [Loaded { id: id.clone(), names }]);
        let images = ImageRecord::open(scratch.path()).read().unwrap();
        assert!(matches!(images.find("box:1").unwrap(), Named::Name(found, _) if found == id));
        let top = images.get(&id).unwrap().layers[1].clone();
        let layers = Layers::open(scratch.path()).unwrap();
        assert_eq!(std::fs::read_to_string(layers.tree(&top).join("bin/top")).unwrap(), "2");
        assert_eq!(std::fs::read_dir(scratch.join("ingest")).unwrap().count(), 0, "nothing is left");
        // Once more: nothing changes.
        load_into(&scratch, &saved("null"), "linux/amd64").unwrap();
        assert_eq!(ImageRecord::open(scratch.path()).read().unwrap(), images);
    }
}

#[test]
fn of_a_layout_the_image_for_the_platform_is_loaded_with_its_own_manifest() {
    for (platform, architecture) in [("linux/amd64", "amd64"), ("linux/arm64", "arm64")] {
        let scratch = Scratch::new();
        let loaded = load_into(&scratch, &layout("localhost/box:2", |same| same), platform).unwrap();
        let id = Digest::of(&config(architecture));
        assert_eq!(loaded, [Loaded { id: id.clone(), names: vec!["localhost/box:2".into()] }]);
        let images = ImageRecord::open(scratch.path()).read().unwrap();
        let content = Content::open(scratch.path()).unwrap();
        let manifest = content.read(&images.get(&id).unwrap().manifest, 4096).unwrap();
        assert!(
            matches!(Document::parse(&manifest, None).unwrap(), Document::Manifest(m) if m.config.digest == id)
        );
    }
    let scratch = Scratch::new();
    let error = load_into(&scratch, &layout("x/y", |same| same), "linux/s390x").unwrap_err().to_string();
    assert!(error.ends_with("no image for platform linux/s390x in it"), "{error}");
}

/// `docker save` with a configuration and layers under these paths.
fn saved_as(config_path: &str, config: &[u8], layer_paths: [&str; 2]) -> Vec<u8> {
    let [one, two] = layers();
    let manifest = format!(r#"[{{"Config":"{config_path}","RepoTags":null,"Layers":{layer_paths:?}}}]"#);
    [
        part("manifest.json", manifest.as_bytes()),
        part("c", config),
        part("a", &one),
        part("b", &two),
        vec![0; 1024],
    ]
    .concat()
}

#[test]
fn an_archive_that_contradicts_itself_leaves_no_image() {
    let other = Digest::of(b"other").to_string();
    let right = config("amd64");
    let config_digest = Digest::of(&right).to_string();
    let diff_id = Digest::of(&layers()[1]).to_string();
    let wrong = String::from_utf8(right.clone()).unwrap().replace(&diff_id, &other).into_bytes();
    let table: [(&str, Vec<u8>, &str); 12] = [
        ("empty", vec![0; 1024], "no images"),
        ("no archive", b"hello".repeat(300), "tar header"),
        ("a missing part", layout("a/b", |text| text.replace(&config_digest, &other)), "No such file"),
        (
            "a wrong size",
            layout("a/b", |text| text.replacen(r#""size":"#, r#""size":1"#, 2)),
            "bytes came, not",
        ),
        (
            "no layers",
            layout("a/b", |text| text.replacen(r#""layers":["#, r#""layers":[],"x":["#, 1)),
            "0 layers, but 2",
        ),
        ("a bad name", saved(r#"["UPPER"]"#), "must be lowercase"),
        ("a path out of it", saved_as("c", &right, ["a", "../../../../../../etc/passwd"]), "No such file"),
        ("an absolute path", saved_as("/etc/passwd", &right, ["a", "b"]), "No such file"),
        ("a folder for a file", saved_as(".", &right, ["a", "b"]), "not a file"),
        ("another layer than was said", saved_as("c", &wrong, ["a", "b"]), "unpacked it is"),
        ("a pipe for a file", [header(b'6', "manifest.json", 0), vec![0; 1024]].concat(), "not a file"),
        (
            "a link out of it",
            [link(b'2', "manifest.json", "/etc/passwd"), vec![0; 1024]].concat(),
            "no images",
        ),
    ];
    for (what, bytes, reason) in table {
        let scratch = Scratch::new();
        let error = load_into(&scratch, &bytes, "linux/amd64").expect_err(what).to_string();
        assert!(error.contains(reason) && !error.contains('\n'), "{what}: {error}");
        assert!(ImageRecord::open(scratch.path()).read().unwrap().iter().next().is_none(), "{what}");
        let names =
            std::fs::read_dir(scratch.join("ingest")).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("load-")).collect();
        assert_eq!(left, [""; 0], "{what}");
    }
}

#[test]
fn no_archive_makes_its_image_pass_for_what_a_registry_has_by_digest() {
    let scratch = Scratch::new();
    let name = format!("busybox@{}", Digest::of(b"what everybody trusts"));
    for archive in [saved(&format!("[{name:?}]")), layout(&name, |same| same)] {
        let error = load_into(&scratch, &archive, "linux/amd64").unwrap_err().to_string();
        assert!(error.ends_with("its digest is not the image's"), "{error}");
        assert!(ImageRecord::open(scratch.path()).read().unwrap().find(&name).is_err());
    }
}
