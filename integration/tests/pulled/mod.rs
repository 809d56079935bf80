//! What the tests of `shim pull` share.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use integration::{Call, ImageMaker, Layout, Shim};

/// A command of the shim that knows nothing of this host's own credentials, certificates and proxies.
#[must_use]
pub fn shim_call(shim: &Shim, words: &[&str]) -> Call {
    let mut call =
        shim.call(words).env("HOME", shim.folder()).env("DOCKER_CONFIG", shim.folder().join("docker"));
    for name in [
        "REGISTRY_AUTH_FILE",
        "XDG_RUNTIME_DIR",
        "XDG_CONFIG_HOME",
        "NO_PROXY",
        "no_proxy",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
    ] {
        call = call.env_remove(name);
    }
    call
}

/// The image as a layout in this folder.
#[must_use]
#[track_caller]
pub fn layout(folder: &Path, image: &ImageMaker) -> Layout {
    image.oci_layout(folder);
    Layout::open(folder)
}

/// All that is below a folder: for each path what it is, whose, and what is in it; no times of our own files.
#[must_use]
#[track_caller]
pub fn contents(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stat = path.symlink_metadata().unwrap();
        let kind = stat.file_type();
        let inside = if kind.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap();
            format!(
                "{} {:x}",
                bytes.len(),
                bytes.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()))
            )
        } else {
            String::new()
        };
        let name = path.strip_prefix(root).unwrap().display().to_string();
        // Of the image's own files also when they were changed.
        let time = if name.starts_with("layers/") && name.contains("/diff/") { stat.mtime() } else { 0 };
        found.insert(name, format!("{:o} {}:{} {time} {inside}", stat.mode(), stat.uid(), stat.gid()));
        if kind.is_dir() {
            walk(root, &path, found);
        }
    }
}
