//! What is known of an image: its record, its configuration, and what follows from both.

use jiff::Timestamp;

use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::image::config::{CONFIG_MAX, ImageConfig};
use crate::image::platform::Platform;
use crate::reference::Reference;
use crate::store::Store;
use crate::store::image::{Found, Image};

/// An image.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Its id: the digest of its configuration.
    pub id: Digest,
    /// Its record.
    pub image: Image,
    /// Its configuration.
    pub config: ImageConfig,
    /// Bytes of the files of all its layers.
    pub size: u64,
}

impl Summary {
    /// Reads what belongs to a record.
    ///
    /// # Errors
    /// What is damaged or gone, named.
    pub fn read(store: &Store, id: &Digest, image: Image) -> Result<Summary> {
        let words = || format!("image {id}");
        let bytes = store.content.read(id, CONFIG_MAX).during(words)?;
        let config = ImageConfig::parse(&bytes).during(words)?;
        let mut size = 0_u64;
        for chain_id in &image.layers {
            let layer = store.layers.get(chain_id).during(words)?;
            let gone = || Error::new(Kind::NotFound, format!("layer {chain_id} is not there"));
            size = size.saturating_add(layer.ok_or_else(gone).during(words)?.size);
        }
        Ok(Summary { id: id.clone(), image, config, size })
    }

    /// When it was made, if its configuration says so.
    #[must_use]
    pub fn created(&self) -> Option<Timestamp> {
        self.config.created.as_deref()?.parse().ok()
    }

    /// Refuses an image for another platform than was asked for, if one was.
    ///
    /// # Errors
    /// Docker's words, with the name the image was asked for by.
    pub fn expect_platform(&self, word: &str, wanted: Option<&Platform>) -> Result<()> {
        match wanted {
            Some(wanted) if wanted.rank(&self.config.platform) != Some(0) => {
                let found = self.config.platform.clone().normalised();
                Err(Error::not_found(format!(
                    "image with reference {word} was found but does not provide the specified platform ({wanted}): it \
                     is for {found}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Its names with a tag, as Docker shows them.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        familiar(&self.image.tags)
    }

    /// Its names with a registry's digest, as Docker shows them.
    #[must_use]
    pub fn digests(&self) -> Vec<String> {
        familiar(&self.image.digests)
    }
}

/// Names of the record, as Docker shows them.
pub fn familiar<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let shown = |name: &String| Reference::parse(name).map_or_else(|_| name.clone(), |name| name.familiar());
    names.into_iter().map(shown).collect()
}

/// All images, the latest made first, and what was wrong with those that cannot be read.
///
/// # Errors
/// The record of all images cannot be read.
pub fn all(store: &Store) -> Result<(Vec<Summary>, Vec<Error>)> {
    let (mut found, mut broken) = (Vec::new(), Vec::new());
    for (id, image) in store.images.read()?.iter() {
        match Summary::read(store, &id, image.clone()) {
            Ok(summary) => found.push(summary),
            // Somebody may have removed it since the record was read.
            Err(error) if store.images.read()?.get(&id).is_some() => broken.push(error),
            Err(_) => {}
        }
    }
    found.sort_by(|one, other| other.created().cmp(&one.created()).then_with(|| one.id.cmp(&other.id)));
    Ok((found, broken))
}

/// The image that a word means, and the name by which it was found, if by a name.
///
/// # Errors
/// There is none, or what belongs to it is damaged.
pub fn find(store: &Store, word: &str) -> Result<(Summary, Option<String>)> {
    let images = store.images.read()?;
    let (id, name) = match images.find(word)? {
        Found::Name(id, name) => (id, Some(name)),
        Found::Id(id) => (id, None),
    };
    match images.get(&id) {
        Some(image) => Ok((Summary::read(store, &id, image.clone())?, name)),
        None => Err(Error::not_found(format!("No such image: {word}"))),
    }
}
