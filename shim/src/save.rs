//! Images into an archive, which is both what `docker load` has always read (`manifest.json`) and an OCI layout
//! (`index.json`), as Docker itself writes it since version 25.
//!
//! Layers are written as they were packed when they came, and manifests as they were: an image that is loaded again is
//! the same to the last byte. Every part is checked while it is written.
//!
//! Source: OCI image-spec, "Image Layout".

use std::collections::BTreeSet;
use std::io::{Read as _, Write};

use serde::{Deserialize, Serialize};

use crate::catalog::summary::{self, Summary};
use crate::digest::{Digest, Hasher};
use crate::error::{Context, Error, Result};
use crate::event;
use crate::image::config::CONFIG_MAX;
use crate::image::manifest::{DOCUMENT_MAX, Descriptor, Document, OCI_INDEX, OCI_MANIFEST};
use crate::image::platform::Platform;
use crate::pack::tar::{Entry, Tar};
use crate::reference::Reference;
use crate::store::Store;
use crate::store::lease::Lease;

/// An image to be saved, and the names by which it was asked for.
struct Wanted {
    image: Summary,
    names: Vec<Reference>,
}

/// Entry of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// `index.json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

/// Writes an archive of the images that these words mean. A name without a tag means all tags of the repository.
///
/// # Errors
/// No such image, one for another platform, one whose content is damaged, or the system's reason.
pub fn save(store: &Store, words: &[&str], platform: Option<&Platform>, out: impl Write) -> Result<()> {
    let mut lease = store.leases.begin()?;
    let mut wanted: Vec<Wanted> = Vec::new();
    for word in words {
        for (image, name) in find(store, word, &mut lease)? {
            image.expect_platform(word, platform)?;
            let at = wanted.iter().position(|known| known.image.id == image.id).unwrap_or_else(|| {
                wanted.push(Wanted { image, names: Vec::new() });
                wanted.len() - 1
            });
            let names = &mut wanted[at].names;
            if let Some(name) = name.filter(|name| !names.contains(name)) {
                names.push(name);
            }
        }
    }
    let mut tar = Tar::new(out);
    tar.begin(&Entry::folder(b"blobs/"))?;
    tar.begin(&Entry::folder(b"blobs/sha256/"))?;
    let (mut written, mut saved, mut manifests) = (BTreeSet::new(), Vec::new(), Vec::new());
    for Wanted { image, names } in &wanted {
        let words = || format!("image {}", image.id);
        let bytes = store.content.read(&image.image.manifest, DOCUMENT_MAX).during(words)?;
        let media_type = media_type(&bytes).during(words)?;
        let Document::Manifest(manifest) = Document::parse(&bytes, Some(&media_type)).during(words)? else {
            return Err(Error::invalid("its manifest is an index")).during(words);
        };
        let descriptor = Descriptor {
            media_type,
            digest: image.image.manifest.clone(),
            size: bytes.len() as u64,
            platform: Some(image.config.platform.clone()),
            annotations: None,
        };
        if written.insert(descriptor.digest.clone()) {
            tar.file(&blob(&descriptor.digest), &bytes)?;
        }
        if written.insert(image.id.clone()) {
            tar.file(&blob(&image.id), &store.content.read(&image.id, CONFIG_MAX).during(words)?)?;
        }
        for layer in &manifest.layers {
            if written.insert(layer.digest.clone()) {
                add(&mut tar, store, layer).during(words)?;
            }
        }
        let tags: Vec<String> = names.iter().map(Reference::familiar).collect();
        saved.push(Saved {
            config: blob(&image.id),
            repo_tags: (!tags.is_empty()).then_some(tags),
            layers: manifest.layers.iter().map(|layer| blob(&layer.digest)).collect(),
        });
        if names.is_empty() {
            manifests.push(descriptor.clone());
        }
        manifests.extend(names.iter().map(|name| named(&descriptor, name)));
    }
    let index = Index { schema_version: 2, media_type: OCI_INDEX, manifests };
    tar.file("index.json", &to_json(&index)?)?;
    tar.file("manifest.json", &to_json(&saved)?)?;
    tar.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    tar.end()?;
    for Wanted { image, .. } in &wanted {
        event::image(store, "save", Some(&image.id), &image.id.to_string(), &image.id.to_string());
    }
    Ok(())
}

/// The images that a word means, claimed, each with the name to be saved.
fn find(store: &Store, word: &str, lease: &mut Lease) -> Result<Vec<(Summary, Option<Reference>)>> {
    let mut names: Vec<String> = Vec::new();
    let reference = Reference::parse(word).ok();
    if let Some(reference) = reference.filter(|name| name.tag().is_none() && name.digest().is_none()) {
        let is_of_it =
            |name: &&String| Reference::parse(name).is_ok_and(|name| name.name() == reference.name());
        let images = store.images.read()?;
        names = images.iter().flat_map(|(_, image)| image.tags.iter().filter(is_of_it).cloned()).collect();
        names.sort();
    }
    if names.is_empty() {
        names.push(word.to_owned());
    }
    names.iter().map(|name| claim(store, name, lease)).collect()
}

/// One image, whose content stays there until the lease ends.
fn claim(store: &Store, word: &str, lease: &mut Lease) -> Result<(Summary, Option<Reference>)> {
    let (image, _) = summary::find(store, word)?;
    let parts = [&image.id, &image.image.manifest].into_iter().chain(&image.image.content);
    lease.claim(&parts.collect::<Vec<_>>())?;
    // Again: it may have gone before it was claimed.
    let (image, name) = summary::find(store, word)?;
    let name = name.map(|name| Reference::parse(&name)).transpose()?;
    // A digest is no tag: the image is saved without a name then.
    Ok((image, name.filter(|name| name.digest().is_none())))
}

/// The manifest under a name: containerd reads the first annotation, others the second.
fn named(descriptor: &Descriptor, name: &Reference) -> Descriptor {
    let annotations = [
        ("io.containerd.image.name".to_owned(), name.to_string()),
        (
            "org.opencontainers.image.ref.name".to_owned(),
            name.tag_or_default().unwrap_or_default().to_owned(),
        ),
    ];
    Descriptor { annotations: Some(annotations.into()), ..descriptor.clone() }
}

/// What a manifest calls itself; the OCI's may leave it out.
fn media_type(bytes: &[u8]) -> Result<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Called {
        media_type: Option<String>,
    }
    let called: Called = serde_json::from_slice(bytes).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(called.media_type.unwrap_or_else(|| OCI_MANIFEST.to_owned()))
}

fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::invalid(error.to_string()))
}

/// Where a layout has its content.
fn blob(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// Content of the store, which may be large.
fn add<W: Write>(tar: &mut Tar<W>, store: &Store, part: &Descriptor) -> Result<()> {
    let words = || format!("content {}", part.digest);
    let mut file = store.content.reader(&part.digest)?;
    let length = file.metadata().during(words)?.len();
    if length != part.size {
        return Err(Error::invalid(format!("it has {length} bytes, not {}", part.size))).during(words);
    }
    tar.begin(&Entry::file(blob(&part.digest).as_bytes(), length))?;
    let mut hasher = Hasher::new(part.digest.algorithm());
    let mut buffer = vec![0; 1 << 17];
    let mut left = length;
    while left > 0 {
        let count = file.read(&mut buffer).during(words)?;
        if count == 0 {
            return Err(Error::invalid("it became shorter")).during(words);
        }
        let count = count.min(usize::try_from(left).unwrap_or(count));
        hasher.update(&buffer[..count]);
        tar.write(&buffer[..count])?;
        left -= count as u64;
    }
    if hasher.finish() != part.digest {
        return Err(Error::invalid("it is damaged: its digest is another")).during(words);
    }
    tar.pad(length)
}
