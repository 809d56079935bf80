//! Is a layer what its record says, and is its tree what its archive makes?

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use crate::check::{Broken, Problem, compare};
use crate::digest::{Digest, Hasher, Hashing};
use crate::error::{Context, Error, Kind, Result};
use crate::store::Store;
use crate::store::draft::Draft;
use crate::store::image::Image;
use crate::store::layer::{Layer, settle};
use crate::unpack::archive::Archive;
use crate::unpack::stream::Unpacking;
use crate::unpack::tree::{self, As};

/// Of each layer of an image, the content that it was unpacked from.
pub(super) fn sources<'a>(images: &BTreeMap<Digest, &'a Image>) -> BTreeMap<Digest, &'a Digest> {
    let pairs = images.values().flat_map(|image| image.layers.iter().cloned().zip(&image.content));
    pairs.collect()
}

/// What is wrong with a layer, if anything is. Without its source, only its record can be looked at.
///
/// # Errors
/// The system's reason.
pub(super) fn problem(
    store: &Store,
    chain_id: &Digest,
    source: Option<&Digest>,
    who: As,
) -> Result<Option<Problem>> {
    let words = match look_at(store, chain_id, source, who) {
        Ok(None) => return Ok(None),
        Ok(Some(words)) => words,
        // Nobody claimed it, and it went.
        Err(_) if !store.layers.path(chain_id).exists() => return Ok(None),
        Err(error) if matches!(error.kind(), Kind::Invalid | Kind::NotFound) => error.to_string(),
        Err(error) => return Err(error),
    };
    Ok(Some(Problem { words: format!("layer {chain_id}: {words}"), broken: Broken::Layer(chain_id.clone()) }))
}

fn look_at(store: &Store, chain_id: &Digest, source: Option<&Digest>, who: As) -> Result<Option<String>> {
    let layer = store.layers.get(chain_id)?.ok_or_else(|| Error::not_found("it has no record"))?;
    let chained = match &layer.parent {
        None => layer.diff_id.clone(),
        Some(parent) => {
            let mut hasher = Hasher::new(chain_id.algorithm());
            hasher.update(format!("{parent} {}", layer.diff_id).as_bytes());
            hasher.finish()
        }
    };
    if chained != *chain_id {
        return Ok(Some(format!("its record is that of {chained}")));
    }
    let path = store.layers.tree(chain_id);
    let found = File::open(&path).during(|| format!("open {path:?}"))?;
    let Some(source) = source.filter(|source| store.content.has(source).unwrap_or(false)) else {
        return Ok(None);
    };
    let draft = Draft::new(store.folders.root(), "check-")?;
    let compared = (|| {
        let mut archive = Archive::new(Hashing::new(
            Unpacking::new(store.content.reader(source)?)?,
            layer.diff_id.algorithm(),
        ));
        // A folder in it, as in the store: the root of a tree may have any owner and mode.
        rustix::fs::mkdirat(draft.folder(), c"diff", rustix::fs::Mode::from_raw_mode(0o777))
            .during(|| "mkdirat".into())?;
        let path = draft.path().join("diff");
        let wanted = File::open(&path).during(|| format!("open {path:?}"))?;
        let unpacked = tree::unpack(&mut archive, wanted.as_fd(), who)?;
        let mut rest = archive.into_inner();
        io::copy(&mut rest, &mut io::sink()).during(|| "read".into())?;
        let (diff_id, _) = rest.finish();
        if diff_id != layer.diff_id {
            return Ok(Some(format!("its archive {source} is that of layer {diff_id}")));
        }
        settle(wanted.as_fd(), &unpacked, &trees_below(store, &layer)?)?;
        // What its archive does not say of these folders, the umask and the moment may have said.
        compare::difference(wanted.as_fd(), found.as_fd(), &unpacked.implied_folders, who)
    })();
    draft.end(compared)
}

/// The trees that a layer stands on, the highest first.
fn trees_below(store: &Store, layer: &Layer) -> Result<Vec<PathBuf>> {
    let mut trees = Vec::new();
    let mut below = layer.parent.clone();
    while let Some(chain_id) = below {
        trees.push(store.layers.tree(&chain_id));
        let words = || format!("layer {chain_id}, on which it stands");
        below = store
            .layers
            .get(&chain_id)?
            .ok_or_else(|| Error::not_found("it is not there"))
            .during(words)?
            .parent;
    }
    Ok(trees)
}
