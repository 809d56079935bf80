//! What goes when an image or one of its names goes: the rules of `docker rmi` and `docker image prune`.

use std::collections::BTreeMap;

use crate::catalog::filter::Filter;
use crate::catalog::summary;
use crate::container::users::Users;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::event;
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
/// has names in one repository only, or by force. What containers are made of loses its last name only by force, and
/// stays, without a name, while one of them runs.
///
/// # Errors
/// No such image, Docker's conflicts, or the system's reason.
pub fn remove(store: &Store, users: &Users, word: &str, by_force: bool) -> Result<Removal> {
    let ((names, image), id) = store.images.change(|images| match images.find(word)? {
        Found::Name(id, name) => {
            if let Some(user) = users.any(&id).filter(|_| !by_force && is_single(images, &id)) {
                let (container, short) = (&user.short_id, id.short());
                return Err(Error::conflict(format!(
                    "conflict: unable to remove repository reference \"{word}\" (must force) - container {container} is \
                     using its referenced image {short}"
                )));
            }
            Ok((remove_name(images, users, &id, &name), id))
        }
        Found::Id(id) => Ok((remove_id(images, users, &id, by_force)?, id)),
    })?;
    tell_untagged(store, &id, names.len());
    match image {
        Some(image) => finish(store, names, vec![image]),
        None => Ok(Removal { gone: shown(names), freed: 0 }),
    }
}

/// Removes the images that a filter means and that have no tag, or all that it means; not what containers are made of.
///
/// # Errors
/// The system's reason.
pub fn prune(store: &Store, users: &Users, filter: &Filter, with_tags: bool) -> Result<Removal> {
    let (found, _) = summary::all(store)?;
    let meant: Vec<Digest> =
        found.iter().filter(|image| filter.fits(image)).map(|image| image.id.clone()).collect();
    let (names, images) = store.images.change(|images| {
        let (mut names, mut removed) = (BTreeMap::new(), Vec::new());
        for id in meant {
            // Somebody may have given it a name since, or removed it.
            let is_free = users.any(&id).is_none();
            if images.get(&id).is_some_and(|image| is_free && (with_tags || image.tags.is_empty())) {
                let (more, image) = take(images, &id);
                names.insert(id, more);
                removed.extend(image);
            }
        }
        Ok((names, removed))
    })?;
    for (id, names) in &names {
        tell_untagged(store, id, names.len());
    }
    // Garbage that others have left goes too, even if no image does: this is the command to get space by.
    let removal = finish(store, names.into_values().flatten().collect(), images)?;
    event::prune(store.folders.state(), "image", removal.freed);
    Ok(removal)
}

/// Names that are gone, and the image if it is.
type Taken = (Vec<String>, Option<(Digest, Image)>);

fn remove_name(images: &mut Images, users: &Users, id: &Digest, name: &str) -> Taken {
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
        Some(image) if image.tags.is_empty() && image.digests.is_empty() && users.running(id).is_none() => {
            let image = images.remove(id).map(|image| (id.clone(), image));
            (names, image)
        }
        _ => (names, None),
    }
}

/// Has it one name at the most, or one tag with digests of the same repository?
fn is_single(images: &Images, id: &Digest) -> bool {
    images.get(id).is_some_and(|image| {
        let names: Vec<&String> = image.tags.iter().chain(&image.digests).collect();
        let first = names.first().map(|name| repository_of(name));
        names.len() <= 1
            || image.tags.len() <= 1 && names.iter().all(|name| Some(repository_of(name)) == first)
    })
}

fn remove_id(images: &mut Images, users: &Users, id: &Digest, by_force: bool) -> Result<Taken> {
    let conflict = |force: &str, reason: String| {
        let short = id.short();
        Err(Error::conflict(format!("conflict: unable to delete {short} ({force} be forced) - {reason}")))
    };
    if let Some(user) = users.running(id) {
        return conflict("cannot", format!("image is being used by running container {}", user.short_id));
    }
    if by_force {
        return Ok(take(images, id));
    }
    if !is_single(images, id) {
        return conflict("must", "image is referenced in multiple repositories".to_owned());
    }
    match users.any(id) {
        Some(user) => conflict("must", format!("image is being used by stopped container {}", user.short_id)),
        None => Ok(take(images, id)),
    }
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

/// Tells that so many names of an image are gone.
fn tell_untagged(store: &Store, id: &Digest, count: usize) {
    let name = id.to_string();
    for _ in 0..count {
        event::image(store, "untag", Some(id), &name, &name);
    }
}

/// Frees what nothing leads to any more, and tells what of it belonged to these images.
fn finish(store: &Store, names: Vec<String>, images: Vec<(Digest, Image)>) -> Result<Removal> {
    let mut gone = shown(names);
    let removed = store.collect()?;
    for (id, image) in images {
        event::image(store, "delete", None, &id.to_string(), &id.to_string());
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
    use crate::container::users::User;
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
        assert_eq!(told(remove(&case.store, &Users::default(), "box:1", false).unwrap()), ["box:1"]);
        assert_eq!(names_left(&case.store), [full("box:2"), full(&digest)]);
        // With the last tag goes the digest of the same repository, and with it the image.
        let gone = told(remove(&case.store, &Users::default(), "box:2", false).unwrap());
        assert_eq!(gone, ["box:2".to_owned(), digest, id(1).to_string()]);
        assert_eq!(
            remove(&case.store, &Users::default(), "box:2", false).unwrap_err().to_string(),
            "No such image: box:2"
        );
    }

    #[test]
    fn a_digest_of_another_repository_keeps_the_image() {
        let digest = format!("other@{}", Digest::of(b"manifest"));
        let case = case(&[(1, &["box:1", &digest])]);
        assert_eq!(told(remove(&case.store, &Users::default(), "box:1", false).unwrap()), ["box:1"]);
        assert_eq!(names_left(&case.store), [full(&digest)]);
        assert_eq!(
            told(remove(&case.store, &Users::default(), &digest, false).unwrap()),
            [digest, id(1).to_string()]
        );
    }

    #[test]
    fn by_id_only_what_has_names_in_one_repository_goes_without_force() {
        let digest = format!("box@{}", Digest::of(b"manifest"));
        let case = case(&[(1, &["box:1", &digest]), (2, &["a:1", "a:2"]), (3, &["a:3", "b:3"]), (4, &[])]);
        let by_id =
            |number: u8, by_force: bool| remove(&case.store, &Users::default(), id(number).short(), by_force);
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

    #[test]
    fn what_containers_are_made_of_stays_as_docker_has_it() {
        let user = |is_running| User { short_id: "0123456789ab".into(), is_running };
        let of = |is_running: bool| {
            let mut users = Users::default();
            users.add(id(1), user(is_running));
            users
        };
        let words = |case: &Case, users: &Users, word: &str, by_force: bool| {
            remove(&case.store, users, word, by_force).map(told).map_err(|error| error.to_string())
        };
        let short = id(1).short().to_owned();
        let made = || case(&[(1, &["box:1"])]);
        let (stopped, running) = (of(false), of(true));
        for users in [&stopped, &running] {
            let refused = words(&made(), users, "box:1", false).unwrap_err();
            let reason = format!("container 0123456789ab is using its referenced image {short}");
            assert_eq!(
                refused,
                format!("conflict: unable to remove repository reference \"box:1\" (must force) - {reason}")
            );
        }
        let refused = |users: &Users, by_force| words(&made(), users, &short, by_force).unwrap_err();
        assert!(
            refused(&stopped, false)
                .ends_with("(must be forced) - image is being used by stopped container 0123456789ab")
        );
        for by_force in [false, true] {
            assert!(
                refused(&running, by_force)
                    .contains("(cannot be forced) - image is being used by running container")
            );
        }
        let gone = words(&made(), &stopped, "box:1", true).unwrap();
        assert_eq!(gone, ["box:1".to_owned(), id(1).to_string()]);
        // While it runs, the image stays, without a name.
        let case = made();
        assert_eq!(words(&case, &running, "box:1", true).unwrap(), ["box:1"]);
        assert!(
            case.store.images.read().unwrap().get(&id(1)).is_some() && names_left(&case.store).is_empty()
        );
        // Of two names one may go.
        let two = self::case(&[(1, &["box:1", "box:2"])]);
        assert_eq!(words(&two, &running, "box:2", false).unwrap(), ["box:2"]);
    }
}
