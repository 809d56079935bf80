//! What is of no use to anybody, in words: garbage that nobody has collected, and what `ingest` has of the dead.

use std::collections::BTreeSet;
use std::fs;

use crate::digest::Digest;
use crate::error::Result;
use crate::output::human;
use crate::store::{Store, leftover};

/// What there is of it, in words.
///
/// # Errors
/// The system's reason.
pub(super) fn find(
    store: &Store,
    content: &[Digest],
    layers: &[Digest],
    used: &BTreeSet<Digest>,
) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let count = |all: &[Digest]| all.iter().filter(|digest| !used.contains(*digest)).count();
    let (content, layers) = (count(content), count(layers));
    if content + layers > 0 {
        found.push(format!("{content} parts of content and {layers} layers are of no image"));
    }
    leftover::each(store.folders.root(), |name, path, _| {
        found.push(if leftover::is_download(name) {
            let size = fs::symlink_metadata(path).map_or(0, |stat| stat.len());
            format!("a download that stopped after {}: {name:?}", human::size(size))
        } else {
            format!("what a crash has left: {name:?}")
        });
        Ok(())
    })?;
    Ok(found)
}
