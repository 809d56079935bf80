//! Images made on the spot: busybox as a tar archive, and as an OCI image in an archive (image-layout.md).

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::image::{architecture, blob, pack};
use crate::{Scratch, rootfs};

/// The name under which [`oci_archive`] is imported.
pub const REFERENCE: &str = "docker.io/library/box:latest";

/// A tar archive with the root of busybox, open: standard input of an import.
#[must_use]
#[track_caller]
pub fn open_archive() -> File {
    let scratch = Scratch::new();
    let path = scratch.path().join("image.tar");
    layer(scratch.path(), &path);
    File::open(path).expect("open an archive that was just written")
}

/// Writes busybox as an OCI image in an archive into a folder; its path.
#[must_use]
#[track_caller]
pub fn oci_archive(folder: &Path) -> PathBuf {
    let scratch = Scratch::new();
    let plain = scratch.path().join("layer");
    layer(scratch.path(), &plain);
    let path = folder.join("image-oci.tar");
    oci_image(&plain, &path, REFERENCE, &["sh"]);
    path
}

/// Writes the image of a pod's sandbox likewise, under this name: catatonit(1), which waits and reaps, as in Podman's
/// pods.
#[must_use]
#[track_caller]
pub fn pause_archive(folder: &Path, reference: &str) -> PathBuf {
    let scratch = Scratch::new();
    let (root, plain) = (scratch.path().join("root"), scratch.path().join("layer"));
    fs::create_dir(&root).expect("create a root");
    fs::copy("/usr/bin/catatonit", root.join("pause")).expect("copy catatonit");
    pack(&root, &plain);
    let path = folder.join("pause-oci.tar");
    oci_image(&plain, &path, reference, &["/pause", "-P"]);
    path
}

/// Makes an image of one layer, which is moved into it.
#[track_caller]
fn oci_image(layer: &Path, path: &Path, reference: &str, command: &[&str]) {
    let scratch = Scratch::new();
    let layout = scratch.path().join("layout");
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("create the layout");
    let layer = store(&blobs, layer, "application/vnd.oci.image.layer.v1.tar");
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": command},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    });
    let config = store_json(&blobs, scratch.path(), &config, "application/vnd.oci.image.config.v1+json");
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let mut manifest = store_json(&blobs, scratch.path(), &manifest, kind);
    manifest["annotations"] = json!({"io.containerd.image.name": reference});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(layout.join("index.json"), index.to_string()).expect("write the index");
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
        .expect("write the layout's version");
    pack(&layout, path);
}

/// Packs the root of busybox.
#[track_caller]
fn layer(scratch: &Path, archive: &Path) {
    let root = scratch.join("root");
    rootfs::populate(&root);
    pack(&root, archive);
}

/// Moves a file to where its digest says; its descriptor.
#[track_caller]
fn store(blobs: &Path, file: &Path, kind: &str) -> Value {
    let blob = blob(file);
    fs::rename(file, blobs.join(&blob.digest["sha256:".len()..])).expect("move a blob");
    json!({"mediaType": kind, "digest": blob.digest, "size": blob.size})
}

#[track_caller]
fn store_json(blobs: &Path, scratch: &Path, document: &Value, kind: &str) -> Value {
    let file = scratch.join("document");
    fs::write(&file, document.to_string()).expect("write a document");
    store(blobs, &file, kind)
}
