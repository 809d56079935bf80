//! Does an image have all that belongs to it, and does its record say what its documents say?

use crate::check::{Broken, Problem};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::config::{CONFIG_MAX, ImageConfig};
use crate::image::manifest::{DOCUMENT_MAX, Document};
use crate::reference::Reference;
use crate::store::Store;
use crate::store::image::Image;

/// What is wrong with an image, if anything is.
///
/// # Errors
/// The system's reason.
pub(super) fn problem(store: &Store, id: &Digest, image: &Image) -> Result<Option<Problem>> {
    let words = match inspect(store, id, image) {
        Ok(()) => return Ok(None),
        Err(error) => error.to_string(),
    };
    let name = image.tags.iter().chain(&image.digests).next();
    let name = name.and_then(|name| Some(format!(" ({})", Reference::parse(name).ok()?.familiar())));
    let words = format!("image {id}{}: {words}", name.unwrap_or_default());
    Ok(Some(Problem { words, broken: Broken::Image(id.clone()) }))
}

fn inspect(store: &Store, id: &Digest, image: &Image) -> Result<()> {
    let config = ImageConfig::parse(&store.content.read(id, CONFIG_MAX)?)?;
    if config.chain_ids() != image.layers {
        return Err(Error::invalid("its layers are not those of its configuration"));
    }
    let bytes = store.content.read(&image.manifest, DOCUMENT_MAX)?;
    let Document::Manifest(manifest) = Document::parse(&bytes, None)? else {
        return Err(Error::invalid("its manifest is an index"));
    };
    if manifest.config.digest != *id {
        return Err(Error::invalid("its manifest is another image's"));
    }
    if !manifest.layers.iter().map(|layer| &layer.digest).eq(&image.content) {
        return Err(Error::invalid("its content is not that of its manifest"));
    }
    for digest in &image.content {
        if !store.content.has(digest)? {
            return Err(Error::not_found(format!("content {digest} is not there")));
        }
    }
    for chain_id in &image.layers {
        if store.layers.get(chain_id)?.is_none() {
            return Err(Error::not_found(format!("layer {chain_id} is not there")));
        }
    }
    for (name, has_digest) in
        image.tags.iter().map(|name| (name, false)).chain(image.digests.iter().map(|name| (name, true)))
    {
        let read = Reference::parse(name)?;
        if read.to_string() != *name || read.digest().is_some() != has_digest {
            return Err(Error::invalid(format!("{name:?} is no full name")));
        }
    }
    Ok(())
}
