//! A root folder, packed by tar, as an image of one layer.
//!
//! The archive is kept as it came, packed or not, and read twice: once for its digests, which are its names, and once
//! onto the disk. What `--change` asks of the image is read in [`change`].

pub mod change;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::digest::{Algorithm, Digest, Hashing};
use crate::error::{Context, Error, Result};
use crate::image::config::{Execution, History, ImageConfig, RootFs};
use crate::image::manifest::{Descriptor, Manifest, OCI_CONFIG, Packing, layer_type};
use crate::image::platform::Platform;
use crate::reference::Reference;
use crate::store::Store;
use crate::store::draft::Draft;
use crate::store::image::Image;
use crate::store::intake::Intake;
use crate::unpack::stream::Unpacking;
use crate::unpack::tree::As;

/// What the image is to be.
#[derive(Debug)]
pub struct Description {
    /// Its name, if it gets one.
    pub name: Option<Reference>,
    /// What is said about it.
    pub message: String,
    /// What it runs on.
    pub platform: Platform,
    /// How it wants to be run.
    pub execution: Execution,
}

/// Makes an image of an archive; its id.
///
/// # Errors
/// What is no archive, those of the stream, or the system's reason.
pub fn import(store: &Store, input: impl Read, description: Description, who: As) -> Result<Digest> {
    let draft = Draft::new(store.folders.root(), "import-")?;
    let imported = keep(store, &draft.path().join("archive"), input, &description, who);
    draft.end(imported)
}

fn keep(store: &Store, path: &Path, input: impl Read, description: &Description, who: As) -> Result<Digest> {
    let open = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
    let file = open.during(|| format!("open {path:?}"))?;
    let layer = Layer::receive(input, &file)?;
    let mut lease = store.leases.begin()?;
    let (config, manifest) = describe(&layer, description)?;
    let (id, manifest_digest) = (Digest::of(&config), Digest::of(&manifest));
    lease.claim(&[&id, &manifest_digest, &layer.packed, &layer.unpacked])?;
    store.content.adopt(&file, path, &layer.packed)?;
    store.content.put(&config)?;
    store.content.put(&manifest)?;
    let config = ImageConfig::parse(&config)?;
    Intake::new(&store.layers, &config, who).layer(0, || store.content.reader(&layer.packed))?;
    let image = Image {
        manifest: manifest_digest,
        content: vec![layer.packed.clone()],
        layers: config.chain_ids(),
        tags: BTreeSet::new(),
        digests: BTreeSet::new(),
        pulled: jiff::Timestamp::now().as_second(),
    };
    store.images.change(|images| {
        images.add(&id, image);
        if let Some(name) = &description.name {
            images.name(&id, name)?;
        }
        Ok(())
    })?;
    Ok(id)
}

/// The layer as it came.
struct Layer {
    /// Digest of the archive as it came.
    packed: Digest,
    /// Its length in bytes.
    size: u64,
    packing: Packing,
    /// Digest of the archive itself; as there is no layer below, its chain id too.
    unpacked: Digest,
}

impl Layer {
    fn receive(input: impl Read, file: &File) -> Result<Layer> {
        let mut packed = Hashing::new(Keeping { input, file }, Algorithm::Sha256);
        let unpacking = Unpacking::new(&mut packed)?;
        let packing = unpacking.packing();
        let mut unpacked = Hashing::new(unpacking, Algorithm::Sha256);
        io::copy(&mut unpacked, &mut io::sink()).during(|| "read".into())?;
        let (unpacked, length) = unpacked.finish();
        if length == 0 {
            return Err(Error::invalid("the archive is empty"));
        }
        // What stands behind the end of what is packed is kept as well.
        io::copy(&mut packed, &mut io::sink()).during(|| "read".into())?;
        let (packed, size) = packed.finish();
        Ok(Layer { packed, size, packing, unpacked })
    }
}

/// Passes a stream on and keeps a copy.
struct Keeping<'a, R> {
    input: R,
    file: &'a File,
}

impl<R: Read> Read for Keeping<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.file.write_all(&buffer[..count])?;
        Ok(count)
    }
}

/// Configuration and manifest.
fn describe(layer: &Layer, description: &Description) -> Result<(Vec<u8>, Vec<u8>)> {
    let now = Some(jiff::Timestamp::now().to_string());
    let history =
        History { created: now.clone(), comment: Some(description.message.clone()), ..History::default() };
    let config = ImageConfig {
        platform: description.platform.clone(),
        created: now,
        author: None,
        config: Some(description.execution.clone()),
        rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![layer.unpacked.clone()] },
        history: Some(vec![history]),
    };
    let json = |error: serde_json::Error| Error::invalid(error.to_string());
    let mut config = serde_json::to_value(&config).map_err(json)?;
    remove_nulls(&mut config);
    let config = serde_json::to_vec(&config).map_err(json)?;
    let descriptor = |media_type: &str, digest: Digest, size: u64| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: None,
    };
    let manifest = Manifest {
        config: descriptor(OCI_CONFIG, Digest::of(&config), config.len() as u64),
        layers: vec![descriptor(layer_type(layer.packing), layer.packed.clone(), layer.size)],
    };
    Ok((config, manifest.to_bytes()?))
}

/// What nobody said stands in no document.
pub(crate) fn remove_nulls(value: &mut serde_json::Value) {
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, member| !member.is_null());
        members.values_mut().for_each(remove_nulls);
    }
}
