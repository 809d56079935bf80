//! Images in the one form that containerd imports: an OCI layout (opencontainers/image-spec, image-layout.md) as a
//! tar archive, of one layer.

use std::fs;
use std::path::{Path, PathBuf};

use integration::{Call, Scratch, Value, engine, json};

/// An archive with busybox as the image of this name.
pub fn busybox(folder: &Path, name: &str) -> PathBuf {
    let scratch = Scratch::new();
    archive(folder, &engine::image::archive(&scratch), name, &["sh"])
}

/// An archive with a pod's first process: catatonit(1), which only waits and reaps, as in Podman's pods.
pub fn pause(folder: &Path, name: &str) -> PathBuf {
    let scratch = Scratch::new();
    let layer = scratch.path().join("layer.tar");
    let call = Call::of("tar").args(["--create", "--directory", "/usr/bin", "--file"]);
    call.args([layer.as_os_str(), "catatonit".as_ref()]).output().expect_ok();
    archive(folder, &layer, name, &["/catatonit", "-P"])
}

fn archive(folder: &Path, layer: &Path, name: &str, command: &[&str]) -> PathBuf {
    let layout = Scratch::new();
    let blobs = layout.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let layer = blob(&blobs, &fs::read(layer).unwrap(), "application/vnd.oci.image.layer.v1.tar");
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": command, "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    });
    let config = blob(&blobs, config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]});
    let mut manifest = blob(&blobs, manifest.to_string().as_bytes(), kind);
    manifest["annotations"] = json!({"io.containerd.image.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(layout.path().join("index.json"), index.to_string()).unwrap();
    fs::write(layout.path().join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    let path = folder.join(format!("{}.tar", name.replace(['/', ':'], "-")));
    let call = Call::of("tar").args(["--create".as_ref(), "--file".as_ref(), path.as_os_str()]);
    call.args(["--directory".as_ref(), layout.path().as_os_str(), ".".as_ref()]).output().expect_ok();
    path
}

/// Adds a blob; its descriptor.
fn blob(blobs: &Path, bytes: &[u8], kind: &str) -> Value {
    let sum = Call::of("sha256sum").stdin_bytes(bytes).output().expect_ok().stdout;
    let sum = sum.split(' ').next().unwrap();
    fs::write(blobs.join(sum), bytes).unwrap();
    json!({"mediaType": kind, "digest": format!("sha256:{sum}"), "size": bytes.len()})
}
