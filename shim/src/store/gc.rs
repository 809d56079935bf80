//! Removes what nothing leads to.
//!
//! Order: first the gate is closed, so that nobody can begin to rely on anything; then what is in use is read; then
//! the rest is removed. Who relies on something claims it first (`lease`), and only then looks whether it is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::digest::Digest;
use crate::error::{Context, Result};
use crate::root::record::Bundles;
use crate::store::content::Content;
use crate::store::image::ImageRecord;
use crate::store::layer::Layers;
use crate::store::lease::Leases;
use crate::store::leftover;

/// What was removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Content, by digest.
    pub content: Vec<Digest>,
    /// Layers, by chain id.
    pub layers: Vec<Digest>,
    /// Bytes that are free now.
    pub freed: u64,
}

/// Collects garbage. `held` is what containers lead to, read when nobody can begin to rely on anything; what bundles
/// stand on is known here.
///
/// # Errors
/// The system's reason; what was removed until then is garbage all the same.
pub fn collect(root: &Path, held: impl FnOnce() -> Result<BTreeSet<Digest>>) -> Result<Removed> {
    let (content, layers) = (Content::open(root)?, Layers::open(root)?);
    let (_gate, mut used) = Leases::open(root)?.close()?;
    used.extend(ImageRecord::open(root).read()?.reachable());
    used.extend(held()?);
    leftover::sweep(root, false)?;
    let bundles = Bundles::open(root)?;
    // What crashes have left of bundles holds layers until it is gone.
    bundles.sweep()?;
    used.extend(bundles.held()?);
    let mut removed = Removed::default();
    for digest in content.list()? {
        if !used.contains(&digest) {
            let path = content.path(&digest);
            let words = || format!("remove {path:?}");
            removed.freed += fs::metadata(&path).during(words)?.len();
            fs::remove_file(&path).during(words)?;
            removed.content.push(digest);
        }
    }
    for chain_id in layers.list()? {
        if !used.contains(&chain_id) {
            removed.freed += layers.get(&chain_id)?.map_or(0, |layer| layer.size);
            layers.remove(&chain_id)?;
            removed.layers.push(chain_id);
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::draft::Draft;
    use crate::store::image::Image;
    use crate::store::layer::Layer;
    use crate::store::scratch::Scratch;
    use crate::unpack::tree::Unpacked;

    #[test]
    fn only_what_nothing_leads_to_is_removed() {
        let scratch = Scratch::new();
        let (content, layers) =
            (Content::open(scratch.path()).unwrap(), Layers::open(scratch.path()).unwrap());
        let put = |text: &str| content.put(text.as_bytes()).unwrap();
        let layer = |number: u8| {
            let id = Digest::of(&[number]);
            let record =
                Layer { diff_id: id.clone(), parent: None, size: 10, hides_all_below: false, lost: vec![] };
            layers.begin(&id).unwrap().unwrap().complete(&record, &Unpacked::default(), &[]).unwrap();
            id
        };
        let (config, manifest, packed, base) = (put("config"), put("manifest"), put("packed"), layer(1));
        let image = Image {
            content: vec![packed.clone()],
            layers: vec![base.clone()],
            ..Image::named(manifest.clone(), &[], &[])
        };
        let images = ImageRecord::open(scratch.path());
        images
            .change(|images| {
                images.add(&config, image);
                Ok(())
            })
            .unwrap();
        let (claimed, claimed_layer, of_container) = (put("claimed"), layer(2), layer(3));
        let mut lease = Leases::open(scratch.path()).unwrap().begin().unwrap();
        lease.claim(&[&claimed, &claimed_layer]).unwrap();
        let (garbage, garbage_layer) = (put("garbage"), layer(4));
        // Of somebody at work, of a load that was killed, and of a download that stopped.
        let at_work = Draft::new(scratch.path(), "load-").unwrap();
        let ingest = scratch.join("ingest");
        fs::create_dir(ingest.join("load-1-1")).unwrap();
        fs::write(ingest.join("load-1-1/file"), "").unwrap();
        let download = format!("sha256-{}", garbage.hex());
        fs::write(ingest.join(&download), "part").unwrap();

        let collect = || collect(scratch.path(), || Ok(BTreeSet::from([of_container.clone()]))).unwrap();
        let expected =
            Removed { content: vec![garbage.clone()], layers: vec![garbage_layer.clone()], freed: 17 };
        assert_eq!(collect(), expected);
        let mut left: Vec<_> = fs::read_dir(&ingest).unwrap().map(|entry| entry.unwrap().path()).collect();
        left.sort();
        assert_eq!(left, [at_work.path().to_owned(), ingest.join(download)]);
        assert_eq!(collect(), Removed::default());
        assert!(!content.has(&garbage).unwrap() && layers.get(&garbage_layer).unwrap().is_none());
        assert!([&config, &manifest, &packed, &claimed].iter().all(|digest| content.has(digest).unwrap()));
        drop(lease);
        let expected = Removed { content: vec![claimed], layers: vec![claimed_layer], freed: 17 };
        assert_eq!(collect(), expected);
        images.change(|images| Ok(images.remove(&config))).unwrap();
        assert_eq!(collect().content.len(), 3);
        assert!(layers.get(&of_container).unwrap().is_some());
    }
}
