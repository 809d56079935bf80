//! Images made on the spot, by no program of others but tar(1): busybox and whatever a test adds to it, as an OCI
//! layout (image-spec, "Image Layout"), as the same in an archive, or as what `docker save` wrote before it knew
//! layouts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Call, Scratch, rootfs};

/// An image in the making.
#[derive(Debug)]
pub struct ImageMaker {
    scratch: Scratch,
    /// Archives of the layers, the lowest first, not packed.
    layers: Vec<PathBuf>,
    config: Value,
    names: Vec<String>,
}

/// One part of an image: what descriptors say of it.
#[derive(Clone, Debug)]
pub struct Blob {
    /// `sha256:` and the digits.
    pub digest: String,
    /// Length in bytes.
    pub size: u64,
}

impl ImageMaker {
    /// An image without layers and names, for this host.
    #[must_use]
    #[track_caller]
    pub fn empty() -> ImageMaker {
        let config = json!({
            "created": "2024-05-01T10:00:00Z",
            "architecture": architecture(),
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
            "history": [],
        });
        ImageMaker { scratch: Scratch::new(), layers: Vec::new(), config, names: Vec::new() }
    }

    /// An image of one layer, which is busybox.
    #[must_use]
    #[track_caller]
    pub fn busybox() -> ImageMaker {
        let mut maker = ImageMaker::empty();
        let root = maker.scratch.path().join("root");
        rootfs::populate(&root);
        maker.push_layer(&root, "busybox");
        fs::remove_dir_all(&root).expect("remove a folder that was just made");
        maker
    }

    /// One more layer on top: what `fill` puts into the folder that it is given, all of it root's.
    #[must_use]
    #[track_caller]
    pub fn layer(mut self, made_by: &str, fill: impl FnOnce(&Path)) -> ImageMaker {
        let folder = self.scratch.path().join("filled");
        fs::create_dir(&folder).expect("create a folder");
        fill(&folder);
        self.push_layer(&folder, made_by);
        fs::remove_dir_all(&folder).expect("remove a folder that was just made");
        self
    }

    /// The same, with the owners that the files have.
    #[must_use]
    #[track_caller]
    pub fn layer_with_owners(mut self, made_by: &str, fill: impl FnOnce(&Path)) -> ImageMaker {
        let folder = self.scratch.path().join("filled");
        fs::create_dir(&folder).expect("create a folder");
        fill(&folder);
        let archive = self.next_layer(made_by);
        pack_by(&folder, &archive, &["--numeric-owner"]);
        fs::remove_dir_all(&folder).expect("remove a folder that was just made");
        self
    }

    /// One more name: `box:1`, in full where a layout needs it.
    #[must_use]
    pub fn named(mut self, name: &str) -> ImageMaker {
        self.names.push(name.to_owned());
        self
    }

    /// Sets a member of the configuration, such as `created` or `config`.
    #[must_use]
    pub fn with(mut self, member: &str, value: Value) -> ImageMaker {
        self.config[member] = value;
        self
    }

    fn push_layer(&mut self, folder: &Path, made_by: &str) {
        let archive = self.next_layer(made_by);
        pack(folder, &archive);
    }

    /// Where one more layer is to be packed.
    fn next_layer(&mut self, made_by: &str) -> PathBuf {
        let archive = self.scratch.path().join(format!("layer-{}", self.layers.len()));
        self.layers.push(archive.clone());
        let history = self.config["history"].as_array_mut().expect("a list");
        history.push(json!({"created": "2024-05-01T10:00:00Z", "created_by": made_by}));
        archive
    }

    /// The configuration as a document; its digest is the image's id.
    #[track_caller]
    fn config_bytes(&self) -> Vec<u8> {
        let mut config = self.config.clone();
        let diff_ids: Vec<String> = self.layers.iter().map(|layer| blob(layer).digest).collect();
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        config.to_string().into_bytes()
    }

    /// The image's id, `sha256:` and the digits.
    #[must_use]
    #[track_caller]
    pub fn id(&self) -> String {
        let file = self.scratch.path().join("config");
        fs::write(&file, self.config_bytes()).expect("write a configuration");
        blob(&file).digest
    }

    /// Writes an OCI layout into a folder, which is made; layers are packed by gzip(1).
    #[track_caller]
    pub fn oci_layout(&self, folder: &Path) {
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).expect("create the layout");
        let keep = |file: &Path| {
            let blob = blob(file);
            // The layout may lie on another file system.
            fs::copy(file, blobs.join(&blob.digest["sha256:".len()..])).expect("copy a blob");
            fs::remove_file(file).expect("remove a blob");
            blob
        };
        let document = self.scratch.path().join("document");
        let keep_document = |bytes: &[u8]| {
            fs::write(&document, bytes).expect("write a document");
            keep(&document)
        };
        let descriptor = |kind: &str, blob: &Blob| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": blob.digest, "size": blob.size});
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| {
                let packed = layer.with_extension("gz");
                Call::of("gzip").args(["--keep", "--no-name", "--fast"]).args([layer]).output().expect_ok();
                descriptor("layer.v1.tar+gzip", &keep(&packed))
            })
            .collect();
        let config = descriptor("config.v1+json", &keep_document(&self.config_bytes()));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers,
        });
        let manifest = descriptor("manifest.v1+json", &keep_document(manifest.to_string().as_bytes()));
        let named = |name: &String| {
            let mut manifest = manifest.clone();
            manifest["annotations"] = json!({"org.opencontainers.image.ref.name": name});
            manifest
        };
        let manifests: Vec<Value> =
            if self.names.is_empty() { vec![manifest] } else { self.names.iter().map(named).collect() };
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        fs::write(folder.join("index.json"), index.to_string()).expect("write the index");
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("write the version");
    }

    /// Writes an OCI layout in an archive; its path.
    #[must_use]
    #[track_caller]
    pub fn oci_archive(&self, archive: &Path) -> PathBuf {
        let folder = self.scratch.path().join("layout");
        self.oci_layout(&folder);
        pack(&folder, archive);
        fs::remove_dir_all(&folder).expect("remove a folder that was just made");
        archive.to_owned()
    }

    /// Writes what `docker save` wrote before it knew layouts; its path.
    #[must_use]
    #[track_caller]
    pub fn docker_archive(&self, archive: &Path) -> PathBuf {
        let folder = self.scratch.path().join("saved");
        fs::create_dir(&folder).expect("create a folder");
        let config = format!("{}.json", &self.id()["sha256:".len()..]);
        fs::write(folder.join(&config), self.config_bytes()).expect("write the configuration");
        let mut paths = BTreeMap::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let path = format!("{number:064x}/layer.tar");
            fs::create_dir(folder.join(&path).parent().expect("a folder")).expect("create a folder");
            fs::copy(layer, folder.join(&path)).expect("copy a layer");
            paths.insert(number, path);
        }
        let layers: Vec<&String> = paths.values().collect();
        let manifest = json!([{"Config": config, "RepoTags": self.names, "Layers": layers}]);
        fs::write(folder.join("manifest.json"), manifest.to_string()).expect("write the manifest");
        pack(&folder, archive);
        fs::remove_dir_all(&folder).expect("remove a folder that was just made");
        archive.to_owned()
    }
}

/// Digest and length of a file.
#[must_use]
#[track_caller]
pub fn blob(file: &Path) -> Blob {
    let size = file.metadata().expect("stat a blob").len();
    let sum = Call::of("sha256sum").args([file]).output().expect_ok().stdout;
    let digest = sum.split_whitespace().next().expect("a digest");
    Blob { digest: format!("sha256:{digest}"), size }
}

/// Packs a folder, always into the same bytes.
#[track_caller]
pub(crate) fn pack(folder: &Path, archive: &Path) {
    pack_by(folder, archive, &["--owner=0", "--group=0"]);
}

#[track_caller]
fn pack_by(folder: &Path, archive: &Path, owners: &[&str]) {
    let call = Call::of("tar").args(["--create", "--sort=name", "--mtime=@0"]).args(owners);
    // Extended attributes make it a pax archive, which would have the times of this moment in it.
    let call = call.args(["--xattrs", "--pax-option=delete=atime,delete=ctime"]);
    // Or the time of this reading would be in it.
    let call = call.args(["--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"]);
    let call = call.args(["--file".as_ref(), archive.as_os_str()]);
    call.args(["--directory".as_ref(), folder.as_os_str(), ".".as_ref()]).output().expect_ok();
}

/// As Go names it.
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
