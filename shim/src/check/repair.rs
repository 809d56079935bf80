//! What is broken goes, and comes again where it is kept packed. See the module above for the order.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::check::{Broken, Report, bundle, container, image, images, network, of_content, volume};
use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::image::config::{CONFIG_MAX, ImageConfig};
use crate::reference::Reference;
use crate::store::image::Image;
use crate::store::intake::Intake;
use crate::store::{Store, leftover};
use crate::unpack::c_string;
use crate::unpack::remove::remove_all;
use crate::unpack::tree::As;

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// In words, in order.
    pub done: Vec<String>,
    /// What stays broken, in words.
    pub left: Vec<String>,
}

impl Repaired {
    /// Notes what became of something that was left: true if it was put right, false if there was nothing to do any more.
    pub(super) fn note(&mut self, what: &str, mended: Result<bool>) {
        match mended {
            Ok(true) => self.done.push(format!("put right: {what}")),
            Ok(false) => {}
            Err(error) => self.left.push(format!("{what}: {error}")),
        }
    }
}

/// Repairs what was found.
///
/// # Errors
/// The system's reason; what was done until then stays done.
pub fn repair(store: &Store, report: &Report, who: As) -> Result<Repaired> {
    let mut repaired = Repaired::default();
    if let Some(problem) = report.problems.iter().find(|problem| problem.broken == Broken::Record) {
        // Without it nobody knows which content is whose: all of it would be garbage.
        let advice = "it cannot be repaired: move it away";
        repaired.left.push(format!("{}: {advice}", problem.words));
        return Ok(repaired);
    }
    forget_bundles(store, report, &mut repaired);
    container::mend(store, report, &mut repaired)?;
    volume::mend(store, report, &mut repaired)?;
    network::mend(store, report, &mut repaired)?;
    remove_broken(store, report, &mut repaired)?;
    unpack_again(store, who, &mut repaired)?;
    drop_incomplete(store, &mut repaired)?;
    let removed = store.collect()?;
    let (content, layers) = (removed.content.len(), removed.layers.len());
    if content + layers > 0 {
        repaired
            .done
            .push(format!("removed {content} parts of content and {layers} layers that are of no image"));
    }
    let (_gate, _) = store.leases.close()?;
    let count = leftover::sweep(store.folders.root(), true)?;
    if count > 0 {
        repaired.done.push(format!("removed what crashes and broken downloads have left: {count}"));
    }
    Ok(repaired)
}

/// First of all: afterwards the layers that they stood on are nobody's.
fn forget_bundles(store: &Store, report: &Report, repaired: &mut Repaired) {
    for problem in &report.problems {
        if let Broken::Bundle(id) = &problem.broken {
            match bundle::forget(store, id) {
                Ok(true) => repaired.done.push(format!("forgot bundle {id}")),
                Ok(false) => {}
                Err(error) => repaired.left.push(format!("{}: {error}", problem.words)),
            }
        }
    }
}

/// Removes content, layers and strangers, each looked at once more: somebody may have replaced it.
fn remove_broken(store: &Store, report: &Report, repaired: &mut Repaired) -> Result<()> {
    let (_gate, used) = store.in_use()?;
    for problem in &report.problems {
        match &problem.broken {
            Broken::Content(digest) | Broken::Layer(digest) if used.contains(digest) => {
                repaired.left.push(format!("{}: it is in use", problem.words));
            }
            Broken::Content(digest) => {
                if of_content(store, digest)?.is_some() {
                    remove(&store.content.path(digest))?;
                    repaired.done.push(format!("removed content {digest}"));
                }
            }
            Broken::Layer(chain_id) => {
                store.layers.remove(chain_id)?;
                repaired.done.push(format!("removed layer {chain_id}"));
            }
            Broken::Stranger(name) => {
                remove(&store.folders.root().join(name))?;
                repaired.done.push(format!("removed {name:?}"));
            }
            Broken::Image(_)
            | Broken::Bundle(_)
            | Broken::Container(_)
            | Broken::Volume(_)
            | Broken::Network(_)
            | Broken::Record => {}
        }
    }
    Ok(())
}

/// Removes a file, or a folder with all in it, of the store's own folders.
fn remove(path: &Path) -> Result<()> {
    let words = || format!("remove {path:?}");
    let is_folder = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        stat => stat.during(words)?.is_dir(),
    };
    if !is_folder {
        return fs::remove_file(path).during(words);
    }
    let folder = File::open(path.parent().unwrap_or(Path::new("/"))).during(words)?;
    let name = path.file_name().unwrap_or_default().as_bytes();
    remove_all(folder.as_fd(), &c_string(name)?).during(words)
}

/// Brings layers back that images need and whose archives are there.
fn unpack_again(store: &Store, who: As, repaired: &mut Repaired) -> Result<()> {
    for (id, image) in images(store)?.iter() {
        let mut lease = store.leases.begin()?;
        lease.claim(&image.content.iter().chain(&image.layers).chain([&id]).collect::<Vec<_>>())?;
        let missing: Vec<&Digest> = image
            .layers
            .iter()
            .filter(|layer| store.layers.get(layer).is_ok_and(|layer| layer.is_none()))
            .collect();
        if missing.is_empty() {
            continue;
        }
        match unpack(store, &id, image, who) {
            Ok(()) => {
                repaired.done.extend(missing.iter().map(|layer| format!("unpacked layer {layer} again")))
            }
            // The image goes, then.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Invalid) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn unpack(store: &Store, id: &Digest, image: &Image, who: As) -> Result<()> {
    let config = ImageConfig::parse(&store.content.read(id, CONFIG_MAX)?)?;
    if config.chain_ids() != image.layers || image.content.len() != image.layers.len() {
        return Err(Error::invalid(format!("image {id}: its layers are not those of its configuration")));
    }
    let intake = Intake::new(&store.layers, &config, who);
    // From the lowest up, one after the other: each finds those below complete.
    image
        .content
        .iter()
        .enumerate()
        .try_for_each(|(number, source)| intake.layer(number, || store.content.reader(source)))
}

/// Forgets images that lack something.
fn drop_incomplete(store: &Store, repaired: &mut Repaired) -> Result<()> {
    let mut incomplete: BTreeSet<Digest> = BTreeSet::new();
    for (id, image) in images(store)?.iter() {
        if image::problem(store, &id, image)?.is_some() {
            incomplete.insert(id);
        }
    }
    for id in incomplete {
        let Some(image) = store.images.change(|images| Ok(images.remove(&id)))? else { continue };
        let shown =
            |name: &String| Reference::parse(name).map_or_else(|_| name.clone(), |name| name.familiar());
        let names: Vec<String> = image.tags.iter().chain(&image.digests).map(shown).collect();
        let advice =
            if names.is_empty() { String::new() } else { format!(": pull {} again", names.join(", ")) };
        repaired.done.push(format!("removed image {id}{advice}"));
    }
    Ok(())
}
