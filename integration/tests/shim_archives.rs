//! Images out of the store and into it: save, load, import.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::path::Path;

use integration::image::blob;
use integration::{Call, ImageMaker, Shim, is_root, json, requires};

fn busybox() -> ImageMaker {
    ImageMaker::busybox().layer("hello", |folder| fs::write(folder.join("hello"), "hello\n").unwrap())
}

/// Unpacks an archive by tar(1).
fn unpacked(archive: &Path, folder: &Path) {
    fs::create_dir(folder).unwrap();
    let call = Call::of("tar").args(["--extract", "--file"]).args([archive, "--directory".as_ref(), folder]);
    call.output().expect_ok().expect_no_stderr();
}

fn json_of(path: &Path) -> integration::Value {
    fs::read_to_string(path).unwrap().parse().unwrap()
}

#[test]
fn what_is_saved_is_a_docker_archive_and_a_layout_and_comes_back_the_same() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::new();
    let maker = busybox().named("box:1").named("box:2").named("localhost:5000/other:x");
    let id = maker.id();
    shim.load(&maker.oci_archive(&shim.folder().join("made.tar")));
    let saved = shim.folder().join("saved.tar");
    let output = saved.to_str().unwrap();
    // A name without a tag means all tags; the same image comes once.
    shim.cli(&["save", "-o", output, "box", "box:1"]).expect_ok().expect_no_stderr().expect_stdout("");

    let folder = shim.folder().join("saved");
    unpacked(&saved, &folder);
    let manifest = json_of(&folder.join("manifest.json"));
    assert_eq!(manifest.as_array().unwrap().len(), 1);
    assert_eq!(manifest[0]["RepoTags"], json!(["box:1", "box:2"]));
    assert_eq!(manifest[0]["Config"], json!(format!("blobs/sha256/{}", &id["sha256:".len()..])));
    assert_eq!(manifest[0]["Layers"].as_array().unwrap().len(), 2);
    let index = json_of(&folder.join("index.json"));
    let named = |at: usize| index["manifests"][at]["annotations"]["io.containerd.image.name"].clone();
    assert_eq!([named(0), named(1)], ["docker.io/library/box:1", "docker.io/library/box:2"]);
    for entry in fs::read_dir(folder.join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(blob(&path).digest, format!("sha256:{name}"));
    }

    // Into another store, through a pipe, and out again: the same bytes.
    let other = Shim::new();
    let loaded = "Loaded image: box:1\nLoaded image: box:2\n";
    other
        .call(&["load"])
        .stdin_from(fs::File::open(&saved).unwrap())
        .output()
        .expect_ok()
        .expect_stdout(loaded);
    let again = other.folder().join("again.tar");
    other.cli(&["save", "box:1", "box:2", "--output", again.to_str().unwrap()]).expect_ok();
    assert_eq!(blob(&again).digest, blob(&saved).digest);
    // By id it has no name; what cannot be written leaves nothing behind.
    other.cli(&["save", "-o", again.to_str().unwrap(), &id]).expect_ok();
    let nameless = Shim::new();
    nameless
        .cli(&["load", "-i", again.to_str().unwrap()])
        .expect_ok()
        .expect_stdout(&format!("Loaded image ID: {id}\n"));
    nameless
        .cli(&["save", "nothing", "-o", &format!("{output}.x")])
        .expect_code(1)
        .expect_stderr("No such image: nothing:latest\n");
    nameless
        .cli(&["save", "-o", "/nowhere/x", &id])
        .expect_code(1)
        .expect_stderr("No such file or directory");
    nameless
        .cli(&["save", "-o", nameless.folder().to_str().unwrap(), &id])
        .expect_code(1)
        .expect_stderr("Is a directory");
    nameless
        .cli(&["save", "--platform", "linux/s390x", &id])
        .expect_code(1)
        .expect_stderr("does not provide the specified platform");
    let names = |shim: &Shim| -> Vec<String> {
        let names = fs::read_dir(shim.folder()).unwrap().map(|entry| entry.unwrap().file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| name.starts_with(".caisson"))
            .collect()
    };
    assert_eq!(names(&nameless), [""; 0]);
}

#[test]
fn a_damaged_layer_is_not_saved() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::new();
    let maker = busybox().named("box:1");
    shim.load(&maker.oci_archive(&shim.folder().join("made.tar")));
    let content = shim.root().join("content/sha256");
    let largest = fs::read_dir(&content)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| path.metadata().unwrap().len());
    let largest = largest.unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    bytes[1000] ^= 1;
    fs::write(&largest, bytes).unwrap();
    let saved = shim.folder().join("saved.tar");
    shim.cli(&["save", "-o", saved.to_str().unwrap(), "box:1"])
        .expect_code(1)
        .expect_stderr("it is damaged: its digest is another\n");
    assert!(!saved.exists());
}

#[test]
fn a_root_folder_is_imported_packed_or_not() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::new();
    let root = shim.folder().join("tree");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), "text").unwrap();
    let tar = shim.folder().join("tree.tar");
    let pack = Call::of("tar").args(["--create", "--owner=7", "--group=8", "--file"]).args([&tar]);
    pack.args(["--directory".as_ref(), root.as_os_str(), "file".as_ref()]).output().expect_ok();
    for program in ["gzip", "zstd", "xz"] {
        Call::of(program).args(["--keep", "-q"]).args([&tar]).output().expect_ok();
    }
    let path = |end: &str| format!("{}{end}", tar.display());
    let changes = [
        "-c",
        "CMD [\"cat\", \"file\"]",
        "--change=ENV A=\"b c\"",
        "-c",
        "LABEL x=y\nEXPOSE 80",
        "-m",
        "made by hand",
    ];
    let words: Vec<String> = ["import"].iter().chain(&changes).map(|word| (*word).to_owned()).collect();
    let words = [words, vec![path(".gz"), "tree:gz".to_owned()]].concat();
    let id = shim.stdout(&words);
    let image = &shim.cli(&["image", "inspect", "tree:gz"]).expect_ok().json()[0];
    assert_eq!((image["Id"].as_str(), &image["Comment"]), (Some(id.trim_end()), &json!("made by hand")));
    assert_eq!(image["Config"]["Cmd"], json!(["cat", "file"]));
    assert_eq!(image["Config"]["Env"], json!(["A=b c"]));
    assert_eq!(image["Config"]["Labels"], json!({"x": "y"}));
    assert_eq!(image["Config"]["ExposedPorts"], json!({"80/tcp": {}}));
    assert_eq!(image["Size"], 4);
    // The same files are the same layer, however they were packed.
    shim.call(&["import", "-", "tree:plain"]).stdin_from(fs::File::open(&tar).unwrap()).output().expect_ok();
    shim.cli(&["import", "--platform", "linux/arm64", &path(".zst"), "tree:zst"]).expect_ok();
    let format = "{{index .RootFS.Layers 0}} {{.Architecture}} {{.Comment}}";
    let printed = |name: &str| shim.stdout(&["image", "inspect", "-f", format, name]);
    let layer = blob(&tar).digest;
    assert_eq!(
        printed("tree:plain").trim_end(),
        format!("{layer} {} Imported from -", integration::image::architecture())
    );
    assert_eq!(printed("tree:zst").trim_end(), format!("{layer} arm64 Imported from {}", path(".zst")));
    assert_eq!(fs::read_dir(shim.root().join("layers")).unwrap().count(), 1);

    shim.cli(&["import", &path(".xz")])
        .expect_code(1)
        .expect_stderr("it is packed by xz, which is not supported\n");
    shim.cli(&["load", "-i", &path(".xz")])
        .expect_code(1)
        .expect_stderr("it is packed by xz, which is not supported\n");
    shim.cli(&["import", "http://127.0.0.1/x"]).expect_code(1).expect_stderr("URLs are not fetched");
    shim.cli(&["import", "-c", "RUN x", &path("")])
        .expect_code(1)
        .expect_stderr("run is not a valid change command\n");
    shim.call(&["import", "-"]).stdin_bytes("hello").output().expect_code(1).expect_stderr("unexpected end");
    assert_eq!(fs::read_dir(shim.root().join("ingest")).unwrap().count(), 0, "nothing is left behind");
}
