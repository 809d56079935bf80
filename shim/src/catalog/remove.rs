//! What goes when an image or one of its names goes: the rules of `docker rmi` and `docker image prune`.

use crate::catalog::filter::Filter;
use crate::catalog::summary;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::store::Store;
use crate::store::image::{Found, Image, Images};

/// One thing that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// A name, as Docker shows it.
    Name(String),
    /// An image by its id, or a layer by its chain id.
    Content(Digest),
}

/// What became of a removal.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// In the order in which it went.
    pub gone: Vec<Gone>,
    /// Bytes that are free now.
    pub freed: u64,
}

/// Removes what a word on the command line means: a name, and with its last name the image; or by id the image, if it
/// has names in one repository only, or by force.
///
/// # Errors
/// No such image, Docker's conflicts, or the system's reason.
pub fn remove(store: &Store, word: &str, by_force: bool) -> Result<Removal> {
    let (names, image) = store.images.change(|images| match images.find(word)? {
        Found::Name(id, name) => Ok(remove_name(images, &id, &name)),
        Found::Id(id) => remove_id(images, &id, by_force),
    })?;
    match image {
        Some(image) => finish(store, names, vec![image]),
        None => Ok(Removal { gone: shown(names), freed: 0 }),
    }
}

/// Removes the images that a filter means and that have no tag, or all that it means.
///
/// # Errors
/// The system's reason.
pub fn prune(store: &Store, filter: &Filter, with_tags: bool) -> Result<Removal> {
    let (found, _) = summary::all(store)?;
    let meant: Vec<Digest> =
        found.iter().filter(|image| filter.fits(image)).map(|image| image.id.clone()).collect();
    let (names, images) = store.images.change(|images| {
        let (mut names, mut removed) = (Vec::new(), Vec::new());
        for id in meant {
            // Somebody may have given it a name since, or removed it.
            if images.get(&id).is_some_and(|image| with_tags || image.tags.is_empty()) {
                let (more, image) = take(images, &id);
                names.extend(more);
                removed.extend(image);
            }
        }
        Ok((names, removed))
    })?;
    // Garbage that others have left goes too, even if no image does: this is the command to get space by.
    finish(store, names, images)
}

/// Names that are gone, and the image if it is.
type Taken = (Vec<String>, Option<(Digest, Image)>);

fn remove_name(images: &mut Images, id: &Digest, name: &str) -> Taken {
    images.unname(id, name);
    let mut names = vec![name.to_owned()];
    let left: Vec<String> = images
        .get(id)
        .map(|image| image.tags.iter().chain(&image.digests).cloned().collect())
        .unwrap_or_default();
    // With the last tag of a repository its digests go too, which nobody sees otherwise.
    let repository = repository_of(name);
    let is_of_it = |other: &&String| repository_of(other) == repository;
    if !name.contains('@') && left.iter().filter(is_of_it).all(|other| other.contains('@')) {
        for other in left.iter().filter(is_of_it) {
            images.unname(id, other);
            names.push(other.clone());
        }
    }
    match images.get(id) {
        Some(image) if image.tags.is_empty() && image.digests.is_empty() => {
            let image = images.remove(id).map(|image| (id.clone(), image));
            (names, image)
        }
        _ => (names, None),
    }
}

fn remove_id(images: &mut Images, id: &Digest, by_force: bool) -> Result<Taken> {
    let is_single = images.get(id).is_some_and(|image| {
        let names: Vec<&String> = image.tags.iter().chain(&image.digests).collect();
        let first = names.first().map(|name| repository_of(name));
        names.len() <= 1
            || image.tags.len() <= 1 && names.iter().all(|name| Some(repository_of(name)) == first)
    });
    if !is_single && !by_force {
        let short = id.short();
        let reason = "image is referenced in multiple repositories";
        return Err(Error::conflict(format!(
            "conflict: unable to delete {short} (must be forced) - {reason}"
        )));
    }
    Ok(take(images, id))
}

/// An image with all its names.
fn take(images: &mut Images, id: &Digest) -> Taken {
    let Some(image) = images.remove(id) else { return (Vec::new(), None) };
    (image.tags.iter().chain(&image.digests).cloned().collect(), Some((id.clone(), image)))
}

/// Without tag and digest.
fn repository_of(name: &str) -> String {
    Reference::parse(name).map_or_else(|_| name.to_owned(), |name| name.name())
}

/// Names as Docker shows them.
fn shown(names: Vec<String>) -> Vec<Gone> {
    let familiar = |name: String| Reference::parse(&name).map_or(name, |name| name.familiar());
    names.into_iter().map(|name| Gone::Name(familiar(name))).collect()
}

/// Frees what nothing leads to any more, and tells what of it belonged to these images.
fn finish(store: &Store, names: Vec<String>, images: Vec<(Digest, Image)>) -> Result<Removal> {
    let mut gone = shown(names);
    let removed = store.collect()?;
    for (id, image) in images {
        gone.push(Gone::Content(id));
        // The highest first: none of them is gone while one stands on it.
        let layers = image.layers.iter().rev().filter(|layer| removed.layers.contains(layer));
        for layer in layers {
            if !gone.contains(&Gone::Content(layer.clone())) {
                gone.push(Gone::Content(layer.clone()));
            }
        }
    }
    Ok(Removal { gone, freed: removed.freed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::folder::Folders;
    use crate::store::scratch::Scratch;

    struct Case {
        store: Store,
        _scratch: Scratch,
    }

    fn id(number: u8) -> Digest {
        Digest::of(&[number])
    }

    fn full(name: &str) -> String {
        Reference::parse(name).unwrap().to_string()
    }

    /// A store of images without layers, by number and names.
    fn case(all: &[(u8, &[&str])]) -> Case {
        let scratch = Scratch::new();
        let folders = Folders::open(Some(&scratch.join("root")), Some(&scratch.join("state"))).unwrap();
        let store = Store::open(folders).unwrap();
        let add = |images: &mut Images| {
            for (number, names) in all {
                let (digests, tags): (Vec<String>, Vec<String>) =
                    names.iter().map(|name| full(name)).partition(|name| name.contains('@'));
                let image = Image {
                    manifest: id(*number),
                    content: vec![],
                    layers: vec![],
                    tags: tags.into_iter().collect(),
                    digests: digests.into_iter().collect(),
                    pulled: 0,
                };
                images.add(&id(*number), image);
            }
            Ok(())
        };
        store.images.change(add).unwrap();
        Case { store, _scratch: scratch }
    }

    fn names_left(store: &Store) -> Vec<String> {
        let images = store.images.read().unwrap();
        let mut names: Vec<String> =
            images.iter().flat_map(|(_, image)| image.tags.iter().chain(&image.digests).cloned()).collect();
        names.sort();
        names
    }

    fn told(removal: Removal) -> Vec<String> {
        let told = |gone: &Gone| match gone {
            Gone::Name(name) => name.clone(),
            Gone::Content(digest) => digest.to_string(),
        };
        removal.gone.iter().map(told).collect()
    }

    #[test]
    fn a_name_goes_and_the_image_with_its_last_one() {
        let digest = format!("box@{}", Digest::of(b"manifest"));
        let case = case(&[(1, &["box:1", "box:2", &digest])]);
        assert_eq!(told(remove(&case.store, "box:1", false).unwrap()), ["box:1"]);
        assert_eq!(names_left(&case.store), [full("box:2"), full(&digest)]);
        // With the last tag goes the digest of the same repository, and with it the image.
        let gone = told(remove(&case.store, "box:2", false).unwrap());
        assert_eq!(gone, ["box:2".to_owned(), digest, id(1).to_string()]);
        assert_eq!(remove(&case.store, "box:2", false).unwrap_err().to_string(), "No such image: box:2");
    }

    #[test]
    fn a_digest_of_another_repository_keeps_the_image() {
        let digest = format!("other@{}", Digest::of(b"manifest"));
        let case = case(&[(1, &["box:1", &digest])]);
        assert_eq!(told(remove(&case.store, "box:1", false).unwrap()), ["box:1"]);
        assert_eq!(names_left(&case.store), [full(&digest)]);
        assert_eq!(told(remove(&case.store, &digest, false).unwrap()), [digest, id(1).to_string()]);
    }

    #[test]
    fn by_id_only_what_has_names_in_one_repository_goes_without_force() {
        let digest = format!("box@{}", Digest::of(b"manifest"));
        let case = case(&[(1, &["box:1", &digest]), (2, &["a:1", "a:2"]), (3, &["a:3", "b:3"]), (4, &[])]);
        let by_id = |number: u8, by_force: bool| remove(&case.store, id(number).short(), by_force);
        assert_eq!(told(by_id(1, false).unwrap()), ["box:1".to_owned(), digest, id(1).to_string()]);
        assert_eq!(told(by_id(4, false).unwrap()), [id(4).to_string()]);
        for number in [2, 3] {
            let error = by_id(number, false).unwrap_err().to_string();
            let short = id(number).short().to_owned();
            assert_eq!(
                error,
                format!(
                    "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
                )
            );
        }
        assert_eq!(told(by_id(3, true).unwrap()), ["a:3".to_owned(), "b:3".to_owned(), id(3).to_string()]);
        assert_eq!(names_left(&case.store), [full("a:1"), full("a:2")]);
    }
}
