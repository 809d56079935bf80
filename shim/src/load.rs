//! Images out of an archive: what `docker save` writes, and OCI layouts, packed or not.
//!
//! The archive is unpacked into a folder of the store first, confined as a layer is, because its parts come in any
//! order and may be links to one another. Nothing in it is believed: every digest is checked, and names are read by
//! the same rules as on the command line.
//!
//! Sources: OCI image-spec, "Image Layout"; the form of `docker save` ("Image Tarball", Docker's image spec v1.2).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde::Deserialize;

use crate::digest::{Algorithm, Digest, Hashing};
use crate::error::{Context, Error, Kind, Result};
use crate::image::config::{CONFIG_MAX, ImageConfig};
use crate::image::manifest::{self, DOCUMENT_MAX, Descriptor, Document, Manifest, Packing};
use crate::image::platform::Platform;
use crate::reference::Reference;
use crate::store::content::Content;
use crate::store::draft::Draft;
use crate::store::image::{Image, ImageRecord};
use crate::store::intake::Intake;
use crate::store::layer::Layers;
use crate::store::lease::{Lease, Leases};
use crate::unpack::archive::Archive;
use crate::unpack::stream::Unpacking;
use crate::unpack::tree::{self, As};

/// An image that was loaded.
#[derive(Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its id.
    pub id: Digest,
    /// The names it got, as Docker shows them.
    pub names: Vec<String>,
}

/// An image in the archive: its parts as they are to be read.
struct Found {
    manifest: Manifest,
    /// The manifest as it came, or as made by ourselves.
    bytes: Vec<u8>,
    names: Vec<Reference>,
    /// Paths of configuration and layers, by digest.
    paths: BTreeMap<Digest, String>,
}

/// Loads all images of an archive into the store below `root`. Of an index, the image for `platform` is taken, or
/// where none is asked for the one for this host.
///
/// # Errors
/// What is no such archive, or contradicts itself. What was loaded before the error stays loaded.
pub fn load<R: Read>(root: &Path, input: R, platform: Option<&Platform>, who: As) -> Result<Vec<Loaded>> {
    let store = Store {
        content: Content::open(root)?,
        layers: Layers::open(root)?,
        images: ImageRecord::open(root),
        leases: Leases::open(root)?,
        who,
        platform,
    };
    let draft = Draft::new(root, "load-")?;
    let loaded = (|| {
        let mut archive = Archive::new(Unpacking::new(input)?);
        tree::unpack(&mut archive, draft.folder(), As::Reader)?;
        let folder = draft.folder().try_clone_to_owned().during(|| format!("open {:?}", draft.path()))?;
        let parts = Parts { folder };
        let found = parts.images(platform)?;
        found.iter().map(|image| store.take(&parts, image)).collect()
    })();
    draft.end(loaded)
}

struct Store<'a> {
    content: Content,
    layers: Layers,
    images: ImageRecord,
    leases: Leases,
    who: As,
    /// What was asked for.
    platform: Option<&'a Platform>,
}

impl Store<'_> {
    fn take(&self, parts: &Parts, found: &Found) -> Result<Loaded> {
        let id = found.manifest.config.digest.clone();
        let bytes = parts.read(found.path(&id)?, CONFIG_MAX)?;
        let config = ImageConfig::parse(&bytes)?;
        if let Some(platform) = self.platform.filter(|wanted| wanted.rank(&config.platform).is_none()) {
            let found = &config.platform;
            let reason = format!("image {id} in the archive is for {found}, not for platform {platform}");
            return Err(Error::not_found(reason));
        }
        let (layers, diff_ids) = (&found.manifest.layers, &config.rootfs.diff_ids);
        if layers.len() != diff_ids.len() {
            let (layers, diff_ids) = (layers.len(), diff_ids.len());
            return Err(Error::invalid(format!(
                "image {id}: {layers} layers, but {diff_ids} in its configuration"
            )));
        }
        let chain_ids = config.chain_ids();
        let manifest = Digest::of(&found.bytes);
        let mut lease: Lease = self.leases.begin()?;
        let all =
            [&id, &manifest].into_iter().chain(layers.iter().map(|layer| &layer.digest)).chain(&chain_ids);
        lease.claim(&all.collect::<Vec<_>>())?;

        self.content.put(&bytes).and_then(|put| same(&put, &id))?;
        self.content.put(&found.bytes)?;
        self.unpack(parts, found, &config)?;
        let image = Image {
            manifest,
            content: layers.iter().map(|layer| layer.digest.clone()).collect(),
            layers: chain_ids,
            tags: BTreeSet::new(),
            digests: BTreeSet::new(),
            pulled: jiff::Timestamp::now().as_second(),
        };
        self.images.change(|images| {
            images.add(&id, image);
            for name in &found.names {
                images.name(&id, name)?;
            }
            Ok(())
        })?;
        Ok(Loaded { id, names: found.names.iter().map(Reference::familiar).collect() })
    }

    /// Keeps and unpacks the layers, as many at once as there are processors.
    fn unpack(&self, parts: &Parts, found: &Found, config: &ImageConfig) -> Result<()> {
        let layers = &found.manifest.layers;
        let intake = Intake::new(&self.layers, config, self.who);
        let next = AtomicUsize::new(0);
        let failed: Mutex<Option<Error>> = Mutex::new(None);
        let work = || {
            loop {
                // In order: who waits for a layer below waits for somebody who has it already.
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(layer) = layers.get(number) else { return };
                let kept = parts.keep(&self.content, found, layer);
                let result = kept.and_then(|()| intake.layer(number, || self.content.reader(&layer.digest)));
                if let Err(error) = result {
                    let mut failed = failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    // That a layer waited in vain says less than why.
                    if failed.as_ref().is_none_or(|known| known.kind() == Kind::Interrupted) {
                        *failed = Some(error);
                    }
                    intake.fail();
                    return;
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(layers.len());
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

fn same(found: &Digest, told: &Digest) -> Result<()> {
    if found == told { Ok(()) } else { Err(Error::invalid(format!("{told}: its digest is {found}"))) }
}

impl Found {
    fn path(&self, digest: &Digest) -> Result<&str> {
        self.paths
            .get(digest)
            .map(String::as_str)
            .ok_or_else(|| Error::not_found(format!("{digest} is missing")))
    }
}

/// The unpacked archive.
struct Parts {
    folder: OwnedFd,
}

/// One image of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Parts {
    fn open(&self, path: &str) -> Result<File> {
        // Links may lead from one part to another, and no further than the archive.
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = rustix::fs::openat2(&self.folder, path, flags, Mode::empty(), resolve);
        let file = File::from(open.during(|| format!("open {path:?}"))?);
        if !file.metadata().during(|| format!("stat {path:?}"))?.is_file() {
            return Err(Error::invalid("not a file")).during(|| format!("open {path:?}"));
        }
        Ok(file)
    }

    fn read(&self, path: &str, max: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.take(max + 1).read_to_end(&mut bytes).during(|| format!("read {path:?}"))?;
        if bytes.len() as u64 > max {
            return Err(Error::invalid(format!("it is longer than {max} bytes")))
                .during(|| format!("read {path:?}"));
        }
        Ok(bytes)
    }

    /// All images, of whichever form. Newer archives of Docker have both: the OCI's is the exact one, as long as all of
    /// it is there.
    fn images(&self, platform: Option<&Platform>) -> Result<Vec<Found>> {
        let read = |name: &str| match self.read(name, DOCUMENT_MAX) {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            read => read.map(Some),
        };
        let saved = read("manifest.json")?;
        let layout = read("index.json")?.map(|bytes| self.layout(&bytes, platform));
        match (layout, saved) {
            (Some(Err(error)), Some(saved)) if error.kind() == Kind::NotFound && platform.is_none() => {
                self.all_saved(&saved)
            }
            (Some(layout), _) => layout,
            (None, Some(saved)) => self.all_saved(&saved),
            (None, None) => {
                Err(Error::invalid("no images: neither manifest.json nor index.json is in the archive"))
            }
        }
    }

    fn all_saved(&self, bytes: &[u8]) -> Result<Vec<Found>> {
        let saved: Vec<Saved> = serde_json::from_slice(bytes)
            .map_err(|error| Error::invalid(format!("manifest.json: {error}")))?;
        saved.iter().map(|saved| self.saved(saved)).collect()
    }

    fn saved(&self, saved: &Saved) -> Result<Found> {
        let mut paths = BTreeMap::new();
        let mut describe =
            |path: &String, media_type: &dyn Fn(Packing) -> &'static str| -> Result<Descriptor> {
                let (digest, size, packing) = self.measure(path)?;
                paths.insert(digest.clone(), path.clone());
                let media_type = media_type(packing).to_owned();
                Ok(Descriptor { media_type, digest, size, platform: None, annotations: None })
            };
        let config = describe(&saved.config, &|_| manifest::OCI_CONFIG)?;
        let layers = saved
            .layers
            .iter()
            .map(|path| describe(path, &manifest::layer_type))
            .collect::<Result<Vec<_>>>()?;
        let manifest = Manifest { config, layers };
        let names = saved.repo_tags.iter().flatten().map(|tag| name_of(tag, None)).collect::<Result<_>>()?;
        Ok(Found { bytes: manifest.to_bytes()?, manifest, names, paths })
    }

    /// Digest, length and packing of a part.
    fn measure(&self, path: &str) -> Result<(Digest, u64, Packing)> {
        let words = || format!("read {path:?}");
        let packing = Unpacking::new(self.open(path)?)?.packing();
        let mut hashing = Hashing::new(self.open(path)?, Algorithm::Sha256);
        io::copy(&mut hashing, &mut io::sink()).during(words)?;
        let (digest, size) = hashing.finish();
        Ok((digest, size, packing))
    }

    fn layout(&self, bytes: &[u8], platform: Option<&Platform>) -> Result<Vec<Found>> {
        let Document::Index(manifests) = Document::parse(bytes, None).during(|| "index.json".into())? else {
            return Err(Error::invalid("index.json is no index"));
        };
        let host = Platform::host();
        // Several entries may be one image under several names, or one image for several platforms.
        let mut found: Vec<Found> = Vec::new();
        for descriptor in &manifests {
            let unfit =
                |wanted: &Platform| descriptor.platform.as_ref().is_some_and(|p| wanted.rank(p).is_none());
            if manifests.len() > 1 && unfit(platform.unwrap_or(&host)) {
                continue;
            }
            let (bytes, manifest) = self.manifest(descriptor, platform.unwrap_or(&host), 0)?;
            let names = names_of(descriptor)?;
            match found.iter_mut().find(|known| known.bytes == bytes) {
                Some(known) => known.names.extend(names),
                None => {
                    let parts = std::iter::once(&manifest.config).chain(&manifest.layers);
                    let paths = parts.map(|part| (part.digest.clone(), blob(&part.digest))).collect();
                    found.push(Found { manifest, bytes, names, paths });
                }
            }
        }
        if found.is_empty() {
            let platform = platform.unwrap_or(&host);
            return Err(Error::not_found(format!("no image for platform {platform} in the archive")));
        }
        Ok(found)
    }

    /// The manifest that a descriptor leads to, through indexes of platforms.
    fn manifest(
        &self,
        descriptor: &Descriptor,
        platform: &Platform,
        depth: u32,
    ) -> Result<(Vec<u8>, Manifest)> {
        let words = || format!("manifest {}", descriptor.digest);
        let bytes = self.read(&blob(&descriptor.digest), DOCUMENT_MAX)?;
        if bytes.len() as u64 != descriptor.size {
            return Err(Error::invalid(format!("{} bytes, not {}", bytes.len(), descriptor.size)))
                .during(words);
        }
        same(&Digest::of(&bytes), &descriptor.digest)?;
        match Document::parse(&bytes, Some(&descriptor.media_type)).during(words)? {
            Document::Manifest(manifest) => Ok((bytes, manifest)),
            Document::Index(_) if depth > 2 => {
                Err(Error::invalid("indexes of indexes of indexes")).during(words)
            }
            Document::Index(all) => {
                let known = all.iter().filter_map(|inner| Some((inner.platform.as_ref()?, inner)));
                let best = platform
                    .best(known)
                    .ok_or_else(|| Error::not_found(format!("no image for platform {platform} in it")));
                self.manifest(best.during(words)?, platform, depth + 1)
            }
        }
    }

    /// Copies a layer, as it is packed, into the content.
    fn keep(&self, content: &Content, found: &Found, layer: &Descriptor) -> Result<()> {
        let mut ingest = content.ingest(&layer.digest)?;
        if ingest.is_done() {
            return Ok(());
        }
        ingest.restart()?;
        let path = found.path(&layer.digest)?;
        let mut file = self.open(path)?;
        let mut buffer = vec![0; 1 << 17];
        loop {
            match file.read(&mut buffer).during(|| format!("read {path:?}"))? {
                0 => return ingest.commit(layer.size),
                count => ingest.write(&buffer[..count])?,
            }
        }
    }
}

/// Where a layout has its content.
fn blob(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// The names that a layout gives an image: containerd's annotation has them in full; the OCI's has a tag only, which
/// names nothing by itself, or, as many tools write it, a full name.
fn names_of(descriptor: &Descriptor) -> Result<Vec<Reference>> {
    let Some(annotations) = &descriptor.annotations else { return Ok(Vec::new()) };
    let full = annotations.get("io.containerd.image.name");
    let short = annotations.get("org.opencontainers.image.ref.name").filter(|name| name.contains([':', '/']));
    let name = full.or(short).map(|name| name_of(name, Some(&descriptor.digest)));
    name.transpose().map(|name| name.into_iter().collect())
}

/// A name of an archive. One with a digest would make its image pass for what a registry has under this digest: it has
/// to be that of the manifest, where the archive has one that was checked.
fn name_of(text: &str, checked: Option<&Digest>) -> Result<Reference> {
    let name = Reference::parse(text)?;
    if name.digest().is_some() && name.digest() != checked {
        return Err(Error::invalid(format!("invalid tag {text:?}: its digest is not the image's")));
    }
    Ok(name)
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
