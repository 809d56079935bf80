//! A container's changes as one more layer, and an image of it on top of its own.
//!
//! The same changes are always the same layer, to the last byte: it is written in the order of the names, with times in
//! whole seconds, and packed by one program with nothing else in it.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::container::changes::{Kind, sides};
use crate::container::config::Config;
use crate::container::record::Container;
use crate::container::state::Status;
use crate::container::store::Containers;
use crate::container::{self, ContainerId, attend, freeze};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Context, Error, Result};
use crate::event;
use crate::image::config::{CONFIG_MAX, Execution, ImageConfig};
use crate::image::manifest::{
    DOCUMENT_MAX, Descriptor, Document, Manifest, OCI_CONFIG, Packing, layer_type, packing,
};
use crate::import::{change, remove_nulls};
use crate::pack::tree::{Packer, expect_unchanged};
use crate::reference::Reference;
use crate::rootless;
use crate::store::Store;
use crate::store::draft::Draft;
use crate::store::image::Image;
use crate::store::intake::Intake;

/// What the image is to be.
#[derive(Debug, Default)]
pub struct Description<'a> {
    /// Its name, if it gets one.
    pub name: Option<Reference>,
    /// Who made it.
    pub author: &'a str,
    /// What is said about it.
    pub message: &'a str,
    /// Instructions of a Dockerfile: how it wants to be run.
    pub changes: Vec<&'a str>,
    /// Its processes stand still meanwhile.
    pub pause: bool,
}

/// Makes an image of a container; its id.
///
/// # Errors
/// No such container; its image is not there any more; an instruction that cannot be carried out; a file that cannot be
/// read, by its path; the system's reason.
pub fn commit(
    store: &Store,
    containers: &Containers,
    id: &ContainerId,
    what: &Description,
) -> Result<Digest> {
    let _lock = containers.operation(id)?;
    let found = attend::attend(containers, id)?.ok_or_else(|| container::missing(id))?;
    if matches!(found.state.status, Status::Removing | Status::Dead) {
        let status = found.state.status.as_str();
        return Err(Error::conflict(format!("You cannot commit container {id} which is {status}")));
    }
    let mut execution = execution(&found.container.config);
    what.changes.iter().try_for_each(|instruction| change::apply(&mut execution, instruction))?;
    let pauses = what.pause && found.state.status == Status::Running;
    let draft = Draft::new(store.folders.root(), "commit-")?;
    let path = draft.path().join("layer");
    if pauses {
        freeze::pause(containers, id).during(|| "pause the container (or: --pause=false)".into())?;
    }
    let layer = Layer::write(containers, &found.container, &path);
    let resumed = if pauses { freeze::unpause(containers, id) } else { Ok(()) };
    let layer = match (layer, resumed) {
        (Err(error), Err(clean_up)) => Err(error.and(&clean_up)),
        (layer, resumed) => layer.and_then(|layer| resumed.map(|()| layer)),
    };
    let kept = layer.and_then(|layer| keep(store, &found.container, &execution, &layer, &path, what));
    let image = draft.end(kept)?;
    event::emit(containers.state_root(), "commit", &found.container, &[("imageID", &image.to_string())]);
    Ok(image)
}

/// The layer, packed, in a file.
struct Layer {
    file: File,
    packed: Digest,
    size: u64,
    /// Digest of the archive itself.
    unpacked: Digest,
}

impl Layer {
    fn write(containers: &Containers, container: &Container, path: &Path) -> Result<Layer> {
        let open = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        let file = open.during(|| format!("open {path:?}"))?;
        let packed = Summed::new(BufWriter::with_capacity(1 << 17, &file));
        let mut unpacked = Summed::new(GzEncoder::new(packed, Compression::fast()));
        let sides = sides(containers, container)?;
        let mut packer = Packer::new(sides.merged.as_fd(), &mut unpacked);
        for change in sides.changes()? {
            match change.kind {
                Kind::Deleted => packer.add_whiteout(&change.path)?,
                Kind::Added | Kind::Modified => drop(packer.add(&change.path)?),
            }
        }
        let (_, changed) = packer.end()?;
        expect_unchanged(&changed)?;
        let (gzip, unpacked, _) = unpacked.end();
        let (mut buffer, packed, size) = gzip.finish().during(|| "write the layer".into())?.end();
        buffer.flush().during(|| "write the layer".into())?;
        drop(buffer);
        Ok(Layer { file, packed, size, unpacked })
    }
}

/// Sums up what passes through.
struct Summed<W> {
    out: W,
    hasher: Hasher,
    length: u64,
}

impl<W: Write> Summed<W> {
    fn new(out: W) -> Summed<W> {
        Summed { out, hasher: Hasher::new(Algorithm::Sha256), length: 0 }
    }

    fn end(self) -> (W, Digest, u64) {
        (self.out, self.hasher.finish(), self.length)
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What the container is run with, as an image says it.
fn execution(config: &Config) -> Execution {
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Execution {
        user: text(&config.user),
        exposed_ports: Some(config.exposed_ports.clone()).filter(|ports| !ports.is_empty()),
        env: Some(config.env.clone()).filter(|env| !env.is_empty()),
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        volumes: config.volumes.clone().filter(|volumes| !volumes.is_empty()),
        working_dir: text(&config.working_dir),
        labels: Some(config.labels.clone()).filter(|labels| !labels.is_empty()),
        stop_signal: config.stop_signal.clone(),
        stop_timeout: config.stop_timeout,
        healthcheck: config.healthcheck.clone(),
        shell: config.shell.clone(),
        on_build: config.on_build.clone(),
    }
}

fn keep(
    store: &Store,
    container: &Container,
    execution: &Execution,
    layer: &Layer,
    path: &Path,
    what: &Description,
) -> Result<Digest> {
    let mut lease = store.leases.begin()?;
    let base = store.images.read()?.get(&container.image).cloned().ok_or_else(|| {
        Error::not_found(format!(
            "the container's image {} is gone: pull or load {} again",
            container.image.short(),
            container.config.image
        ))
    })?;
    lease.claim(&base.content.iter().chain([&container.image, &base.manifest]).collect::<Vec<_>>())?;
    let config = describe(store, container, execution, layer, what)?;
    let parsed = ImageConfig::parse(&config)?;
    let manifest = manifest(store, &base, &config, layer)?;
    let (id, manifest_digest) = (Digest::of(&config), Digest::of(&manifest));
    let chain_ids = parsed.chain_ids();
    lease.claim(&chain_ids.iter().chain([&id, &manifest_digest, &layer.packed]).collect::<Vec<_>>())?;
    store.content.adopt(&layer.file, path, &layer.packed)?;
    store.content.put(&config)?;
    store.content.put(&manifest)?;
    let intake = Intake::new(&store.layers, &parsed, rootless::who()?);
    let top = chain_ids.len().saturating_sub(1);
    for (number, below) in base.content.iter().enumerate().take(top) {
        // It is there, since the container stands on it.
        intake.layer(number, || store.content.reader(below))?;
    }
    intake.layer(top, || store.content.reader(&layer.packed))?;
    let image = Image {
        manifest: manifest_digest,
        content: base.content.iter().chain([&layer.packed]).cloned().collect(),
        layers: chain_ids,
        tags: BTreeSet::new(),
        digests: BTreeSet::new(),
        pulled: jiff::Timestamp::now().as_second(),
    };
    store.images.change(|images| {
        images.add(&id, image);
        if let Some(name) = &what.name {
            images.name(&id, name)?;
        }
        Ok(())
    })?;
    Ok(id)
}

/// The configuration: the image's own, with what has become of it.
fn describe(
    store: &Store,
    container: &Container,
    execution: &Execution,
    layer: &Layer,
    what: &Description,
) -> Result<Vec<u8>> {
    let wrong = |error: serde_json::Error| Error::invalid(error.to_string());
    let mut config: Value =
        serde_json::from_slice(&store.content.read(&container.image, CONFIG_MAX)?).map_err(wrong)?;
    let members = config.as_object_mut().ok_or_else(|| Error::invalid("no configuration"))?;
    // What docker says of the container that the image below was made of.
    for name in ["author", "container", "container_config", "docker_version", "id", "parent"] {
        members.remove(name);
    }
    let now = jiff::Timestamp::now().to_string();
    let mut history = json!({"created": now, "created_by": command(container)});
    for (name, text) in [("author", what.author), ("comment", what.message)] {
        if !text.is_empty() {
            history[name] = text.into();
        }
    }
    if !what.author.is_empty() {
        members.insert("author".to_owned(), what.author.into());
    }
    members.insert("created".to_owned(), now.into());
    let mut execution = serde_json::to_value(execution).map_err(wrong)?;
    remove_nulls(&mut execution);
    members.insert("config".to_owned(), execution);
    push(members.entry("history").or_insert(Value::Null), history);
    let rootfs = members.entry("rootfs").or_insert_with(|| json!({"type": "layers"}));
    push(&mut rootfs["diff_ids"], layer.unpacked.to_string().into());
    serde_json::to_vec(&config).map_err(wrong)
}

/// What made the layer.
fn command(container: &Container) -> String {
    let words = std::iter::once(&container.path).chain(&container.args);
    words.map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(items) => items.push(item),
        None => *list = Value::Array(vec![item]),
    }
}

fn manifest(store: &Store, base: &Image, config: &[u8], layer: &Layer) -> Result<Vec<u8>> {
    let words = || format!("manifest {}", base.manifest);
    let bytes = store.content.read(&base.manifest, DOCUMENT_MAX).during(words)?;
    let called: Value =
        serde_json::from_slice(&bytes).map_err(|error| Error::invalid(error.to_string())).during(words)?;
    let Document::Manifest(below) = Document::parse(&bytes, called["mediaType"].as_str()).during(words)?
    else {
        return Err(Error::invalid("it is an index")).during(words);
    };
    let descriptor = |media_type: &str, digest: Digest, size: u64| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: None,
    };
    let mut layers = Vec::with_capacity(below.layers.len() + 1);
    for part in &below.layers {
        // By the OCI's names, whoever made it.
        let media_type = layer_type(packing(&part.media_type).during(words)?);
        layers.push(descriptor(media_type, part.digest.clone(), part.size));
    }
    layers.push(descriptor(layer_type(Packing::Gzip), layer.packed.clone(), layer.size));
    let config = descriptor(OCI_CONFIG, Digest::of(config), config.len() as u64);
    Manifest { config, layers }.to_bytes()
}
