//! Which images there are, and by which names.
//!
//! An image is its configuration's digest (Docker's image id) with one or more manifests. `images.json` has them
//! all with their names: it is read whole and replaced whole under a lock, so that a name never leads to an image
//! that is not there. Garbage is what nothing in it, no container and no lease leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::reference::Reference;
use crate::store::record::{self, Lock};

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// The manifest, by which it is content; made by ourselves where it came without.
    pub manifest: Digest,
    /// Packed layers and configuration, the content that belongs to it.
    pub content: Vec<Digest>,
    /// Chain ids of its layers, the lowest first.
    pub layers: Vec<Digest>,
    /// Names with a tag, in full: `docker.io/library/busybox:latest`.
    pub tags: BTreeSet<String>,
    /// Names with the digest that a registry knows: `docker.io/library/busybox@sha256:…`.
    pub digests: BTreeSet<String>,
    /// When it came, in seconds since 1970.
    pub pulled: i64,
}

/// All of them, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    images: BTreeMap<String, Image>,
}

/// What a word on the command line means.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// By a name: this one of its tags or digests.
    Name(Digest, String),
    /// By its id or the beginning of it.
    Id(Digest),
}

impl Images {
    /// Image by id.
    #[must_use]
    pub fn get(&self, id: &Digest) -> Option<&Image> {
        self.images.get(&id.to_string())
    }

    /// All, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (Digest, &Image)> {
        self.images.iter().filter_map(|(id, image)| Some((Digest::parse(id).ok()?, image)))
    }

    /// Adds an image, or what is new of it: the names it has already stay.
    pub fn add(&mut self, id: &Digest, image: Image) {
        match self.images.get_mut(&id.to_string()) {
            Some(known) => {
                known.tags.extend(image.tags);
                known.digests.extend(image.digests);
            }
            None => drop(self.images.insert(id.to_string(), image)),
        }
    }

    /// Gives an image this name and takes it from whoever had it, whose id is the answer.
    ///
    /// # Errors
    /// No such image; a name that reads like an id, in Docker's words.
    pub fn name(&mut self, id: &Digest, reference: &Reference) -> Result<Option<Digest>> {
        if self.get(id).is_none() {
            return Err(no_such_image(&id.to_string()));
        }
        // `sha256:HEX` is to mean an id, whatever an archive or a registry calls its images.
        if matches!(reference.familiar_name().as_str(), "sha256" | "sha512") {
            return Err(Error::usage("refusing to create an ambiguous tag using digest algorithm as name"));
        }
        let name = reference.to_string();
        let mut before = None;
        for (other, image) in &mut self.images {
            let names = if reference.digest().is_some() { &mut image.digests } else { &mut image.tags };
            if *other == id.to_string() {
                names.insert(name.clone());
            } else if names.remove(&name) {
                before = Digest::parse(other).ok();
            }
        }
        Ok(before)
    }

    /// Takes a name away; the image stays.
    pub fn unname(&mut self, id: &Digest, name: &str) {
        if let Some(image) = self.images.get_mut(&id.to_string()) {
            image.tags.remove(name);
            image.digests.remove(name);
        }
    }

    /// Forgets an image with all its names.
    pub fn remove(&mut self, id: &Digest) -> Option<Image> {
        self.images.remove(&id.to_string())
    }

    /// What a word means: a full id, a name, or the beginning of an id, in this order (as Docker).
    ///
    /// # Errors
    /// Nothing, or the beginning of several ids.
    pub fn find(&self, word: &str) -> Result<Found> {
        let hex = word.strip_prefix("sha256:").unwrap_or(word);
        let is_hex = !hex.is_empty() && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex
            && hex.len() == 64
            && let Ok(id) = Digest::parse(&format!("sha256:{hex}"))
            && self.get(&id).is_some()
        {
            return Ok(Found::Id(id));
        }
        if let Ok(reference) = Reference::parse(word) {
            // With a digest, the tag before it does not count.
            let name = match reference.digest() {
                Some(digest) => reference.with_digest(digest.clone()).to_string(),
                None => reference.to_string(),
            };
            let has = |image: &Image| image.tags.contains(&name) || image.digests.contains(&name);
            if let Some((id, _)) = self.iter().find(|(_, image)| has(image)) {
                return Ok(Found::Name(id, name));
            }
        }
        if is_hex {
            let mut fitting = self.iter().filter(|(id, _)| id.hex().starts_with(hex));
            match (fitting.next(), fitting.next()) {
                (Some((id, _)), None) => return Ok(Found::Id(id)),
                (Some(_), Some(_)) => return Err(Error::usage(format!("image id {word:?} is ambiguous"))),
                (None, _) => {}
            }
        }
        Err(no_such_image(word))
    }

    /// Everything that images lead to: content, and layers by chain id.
    #[must_use]
    pub fn reachable(&self) -> BTreeSet<Digest> {
        let of_image = |(id, image): (Digest, &Image)| {
            [id, image.manifest.clone()].into_iter().chain(image.content.clone()).chain(image.layers.clone())
        };
        self.iter().flat_map(of_image).collect()
    }
}

/// Docker's words, with the tag that it looks for where none was given.
fn no_such_image(word: &str) -> Error {
    let name = Reference::parse(word).map_or_else(|_| word.to_owned(), |name| name.familiar());
    Error::not_found(format!("No such image: {name}"))
}

/// The record of a store's images.
#[derive(Clone, Debug)]
pub struct ImageRecord {
    path: PathBuf,
    lock: PathBuf,
    /// Space for this record on a full disk: without it, nothing could be removed there.
    reserve: PathBuf,
}

/// Of a record of some thousand images, in bytes.
const RESERVE: u64 = 1 << 18;

impl ImageRecord {
    /// The one below this folder.
    #[must_use]
    pub fn open(root: &Path) -> ImageRecord {
        let [path, lock, reserve] =
            ["images.json", "images.lock", "images.reserve"].map(|name| root.join(name));
        ImageRecord { path, lock, reserve }
    }

    /// The images of this moment.
    ///
    /// # Errors
    /// A damaged record, or the system's reason.
    pub fn read(&self) -> Result<Images> {
        Ok(record::read(&self.path)?.unwrap_or_default())
    }

    /// Changes the record; on an error it stays as it was. Commands at the same time wait for one another.
    ///
    /// # Errors
    /// Those of the change, and as for [`ImageRecord::read`].
    pub fn change<T>(&self, change: impl FnOnce(&mut Images) -> Result<T>) -> Result<T> {
        let _lock = Lock::exclusive(&self.lock)?;
        let before = self.read()?;
        let mut images = before.clone();
        let result = change(&mut images)?;
        if images != before {
            self.write(&images)?;
        }
        Ok(result)
    }

    fn write(&self, images: &Images) -> Result<()> {
        match record::write(&self.path, images) {
            Err(error) if error.kind() == Kind::Full => {
                fs::remove_file(&self.reserve).map_err(|_| error)?;
                record::write(&self.path, images)?;
            }
            result => result?,
        }
        // Where there is no space for it now, there will be after what is removed now.
        let _ = self.keep_reserve();
        Ok(())
    }

    fn keep_reserve(&self) -> std::io::Result<()> {
        let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.reserve) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
            open => open?,
        };
        let there = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVE);
        there.or_else(|_| fs::remove_file(&self.reserve))
    }
}

#[cfg(test)]
impl Image {
    /// One without content, for tests: with these names, as people write them.
    pub(crate) fn named(manifest: Digest, tags: &[&str], digests: &[&str]) -> Image {
        let full = |name: &&str| Reference::parse(name).unwrap().to_string();
        Image {
            manifest,
            content: vec![],
            layers: vec![],
            tags: tags.iter().map(full).collect(),
            digests: digests.iter().map(full).collect(),
            pulled: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    fn digest(number: u8) -> Digest {
        Digest::of(&[number])
    }

    fn image(number: u8) -> Image {
        Image {
            content: vec![digest(number + 101)],
            layers: vec![digest(number + 102)],
            ..Image::named(digest(number + 100), &[], &[])
        }
    }

    fn reference(text: &str) -> Reference {
        Reference::parse(text).unwrap()
    }

    #[test]
    fn a_name_belongs_to_one_image_at_a_time() {
        let mut images = Images::default();
        images.add(&digest(1), image(1));
        images.add(&digest(2), image(2));
        assert_eq!(images.name(&digest(1), &reference("a")).unwrap(), None);
        assert_eq!(images.name(&digest(1), &reference("a")).unwrap(), None, "it has it already");
        assert_eq!(images.name(&digest(2), &reference("a")).unwrap(), Some(digest(1)));
        assert!(images.get(&digest(1)).unwrap().tags.is_empty());
        assert_eq!(images.find("a").unwrap(), Found::Name(digest(2), "docker.io/library/a:latest".into()));
        images.unname(&digest(2), "docker.io/library/a:latest");
        assert_eq!(images.find("a").unwrap_err().to_string(), "No such image: a:latest");
        assert!(images.name(&digest(3), &reference("a")).is_err());
    }

    #[test]
    fn an_image_is_found_by_name_digest_and_id() {
        let mut images = Images::default();
        images.add(&digest(1), image(1));
        images.add(&digest(2), image(2));
        images.name(&digest(1), &reference("host:5000/a/b:c")).unwrap();
        let known = reference("host:5000/a/b").with_digest(digest(77));
        images.name(&digest(1), &known).unwrap();
        let name = |text: &str| Found::Name(digest(1), text.to_owned());
        assert_eq!(images.find("host:5000/a/b:c").unwrap(), name("host:5000/a/b:c"));
        assert_eq!(images.find(&known.to_string()).unwrap(), name(&known.to_string()));
        let tagged = format!("host:5000/a/b:other@{}", digest(77));
        assert_eq!(images.find(&tagged).unwrap(), name(&known.to_string()), "the digest decides");
        let id = digest(1);
        for word in
            [id.to_string(), id.hex().to_owned(), id.short().to_owned(), format!("sha256:{}", id.short())]
        {
            assert_eq!(images.find(&word).unwrap(), Found::Id(id.clone()), "{word}");
        }
        for word in ["", "sha256:", "nothing", "host:5000/a/b", "A", &"0".repeat(64)] {
            assert!(images.find(word).is_err(), "{word:?}");
        }
        // A name that looks like the beginning of an id is a name first.
        images.name(&digest(2), &reference(&id.hex()[..4])).unwrap();
        assert!(matches!(images.find(&id.hex()[..4]).unwrap(), Found::Name(found, _) if found == digest(2)));
    }

    #[test]
    fn the_beginning_of_several_ids_is_ambiguous() {
        let mut images = Images::default();
        // Seventeen ids: two begin with the same digit.
        (0..17).for_each(|number| images.add(&digest(number), image(number)));
        let first = |digest: &Digest| digest.hex()[..1].to_owned();
        let twice = images
            .iter()
            .map(|(id, _)| first(&id))
            .find(|digit| images.iter().filter(|(id, _)| first(id) == *digit).count() > 1);
        assert!(images.find(&twice.unwrap()).unwrap_err().to_string().ends_with("is ambiguous"));
    }

    #[test]
    fn changes_of_many_at_once_are_all_kept_and_a_failed_one_is_not() {
        let scratch = Scratch::new();
        let record = ImageRecord::open(scratch.path());
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let record = &record;
                scope.spawn(move || {
                    for number in 0..5 {
                        let number = thread * 5 + number;
                        let add = |images: &mut Images| {
                            images.add(&digest(number), image(number));
                            Ok(())
                        };
                        record.change(add).unwrap();
                    }
                });
            }
        });
        assert_eq!(record.read().unwrap().iter().count(), 40);
        let failed = record.change(|images| {
            images.remove(&digest(0));
            Err::<(), _>(Error::usage("no"))
        });
        assert!(failed.is_err() && record.read().unwrap().get(&digest(0)).is_some());
        let reachable = record.read().unwrap().reachable();
        assert!([0, 100, 101, 102].iter().all(|number| reachable.contains(&digest(*number))));
    }

    #[test]
    fn no_name_reads_like_an_id() {
        let mut images = Images::default();
        images.add(&digest(1), image(1));
        for name in [format!("sha256:{}", "a".repeat(64)), "sha256".to_owned(), "sha512:x".to_owned()] {
            let error = images.name(&digest(1), &Reference::parse(&name).unwrap()).unwrap_err().to_string();
            assert!(error.contains("ambiguous tag"), "{name}: {error}");
        }
        images.name(&digest(1), &Reference::parse("me/sha256:x").unwrap()).unwrap();
    }
}
