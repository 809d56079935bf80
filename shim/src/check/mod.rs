//! Is all of the store as it should be? And if not, make it so.
//!
//! Looking changes nothing, and runs beside any other command: what it looks at is claimed first, so that it is not
//! removed meanwhile. Order of a repair: what is broken goes, with the gate closed and not while a command relies on it;
//! then layers are unpacked again from what is kept of them; then images go that lack something, so that a pull brings
//! them again; then garbage and what crashes have left.

mod bundle;
mod compare;
mod container;
mod image;
mod layer;
mod leftover;
mod network;
mod repair;
mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::container::store::Containers;
use crate::container::sweep::Leftover;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Context, Error, Kind, Result};
use crate::root::record::Bundles;
use crate::store::Store;
use crate::store::image::{Image, Images};
use crate::unpack::tree::As;

pub use repair::{Repaired, repair};

/// What is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// In words.
    pub words: String,
    /// What is broken.
    pub broken: Broken,
}

/// The part that a problem is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    /// Content that is not what its name says.
    Content(Digest),
    /// A layer, by chain id.
    Layer(Digest),
    /// An image that lacks something.
    Image(Digest),
    /// A bundle, by id, that has no folder any more.
    Bundle(String),
    /// A file or folder that has no business there: its path below the store's root.
    Stranger(String),
    /// A container without a record or a name.
    Container(Leftover),
    /// A volume without a record.
    Volume(crate::volume::sweep::Leftover),
    /// Something that a container needs of its networks, or that leads where it should not.
    Network(network::Leftover),
    /// The record of images, of a bundle, or of a container, which nothing else knows.
    Record,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// How many images were looked at.
    pub images: usize,
    /// How many layers.
    pub layers: usize,
    /// How many parts of content.
    pub content: usize,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is not wrong but of no use to anybody, in words.
    pub leftovers: Vec<String>,
    /// The same of containers; it is in the words too.
    pub of_containers: Vec<Leftover>,
    /// The same of volumes.
    pub of_volumes: Vec<crate::volume::sweep::Leftover>,
    /// The same of networks.
    pub of_networks: Vec<network::Leftover>,
}

/// Looks at everything.
///
/// # Errors
/// The system's reason for what cannot be looked at.
pub fn check(store: &Store, who: As) -> Result<Report> {
    let mut report = Report::default();
    let mut lease = store.leases.begin()?;
    let claimed = match store.images.read() {
        Ok(images) => images.reachable(),
        Err(error) => {
            report.problems.push(Problem { words: error.to_string(), broken: Broken::Record });
            return Ok(report);
        }
    };
    lease.claim(&claimed.iter().collect::<Vec<_>>())?;
    // What is in it now and was claimed stays until the lease ends; what came since is not looked at.
    let images = store.images.read()?;
    let images: BTreeMap<Digest, &Image> =
        images.iter().filter(|(_, image)| image.layers.iter().all(|layer| claimed.contains(layer))).collect();
    report.images = images.len();

    let content = digests(store, "content", &mut report.problems)?;
    report.content = content.len();
    report.problems.extend(each(&content, |digest| of_content(store, digest))?);

    let layers = digests(store, "layers", &mut report.problems)?;
    report.layers = layers.len();
    let sources = layer::sources(&images);
    let broken_content: BTreeSet<Broken> =
        report.problems.iter().map(|problem| problem.broken.clone()).collect();
    let usable = |digest: &Digest| !broken_content.contains(&Broken::Content(digest.clone()));
    let of_layer = |chain_id: &Digest| {
        let source = sources.get(chain_id).filter(|source| usable(source));
        layer::problem(store, chain_id, source.copied(), who)
    };
    report.problems.extend(each(&layers, of_layer)?);

    for (id, image) in &images {
        report.problems.extend(image::problem(store, id, image)?);
    }
    report.problems.extend(bundle::problems(store)?);
    let (problems, of_containers) = container::look(store)?;
    report.problems.extend(problems);
    let (problems, of_volumes) = volume::look(store)?;
    report.problems.extend(problems);
    let mut used = claimed;
    used.extend(Bundles::open(store.folders.root())?.held().unwrap_or_default());
    used.extend(Containers::open(&store.folders)?.held().unwrap_or_default());
    report.leftovers = leftover::find(store, &content, &layers, &used)?;
    report.leftovers.extend(of_containers.iter().map(Leftover::words));
    report.of_containers = of_containers;
    report.leftovers.extend(of_volumes.iter().map(crate::volume::sweep::Leftover::words));
    report.of_volumes = of_volumes;
    let (problems, of_networks) = network::look(store)?;
    report.problems.extend(problems);
    report.leftovers.extend(of_networks.iter().map(network::Leftover::words));
    report.of_networks = of_networks;
    Ok(report)
}

/// The names in `content` or `layers`; what is no digest is a problem.
fn digests(store: &Store, folder: &str, problems: &mut Vec<Problem>) -> Result<Vec<Digest>> {
    let folders = match folder {
        "content" => vec![("content/sha256", Algorithm::Sha256), ("content/sha512", Algorithm::Sha512)],
        other => vec![(other, Algorithm::Sha256)],
    };
    let mut found = Vec::new();
    for (folder, algorithm) in folders {
        let path = store.folders.root().join(folder);
        let words = || format!("read {path:?}");
        for entry in fs::read_dir(&path).during(words)? {
            let name = entry.during(words)?.file_name();
            let name = name.to_string_lossy();
            match Digest::parse(&format!("{}:{name}", algorithm.name())) {
                Ok(digest) => found.push(digest),
                Err(_) => {
                    let stranger = format!("{folder}/{name}");
                    let words = format!("{stranger:?}: its name is no digest");
                    problems.push(Problem { words, broken: Broken::Stranger(stranger) });
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Looks at each, as many at once as there are processors.
fn each(all: &[Digest], look: impl Fn(&Digest) -> Result<Option<Problem>> + Sync) -> Result<Vec<Problem>> {
    let next = AtomicUsize::new(0);
    let found: Mutex<Result<Vec<(usize, Problem)>>> = Mutex::new(Ok(Vec::new()));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(digest) = all.get(number) else { return };
            let seen = look(digest);
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            match (seen, &mut *found) {
                (Ok(problem), Ok(found)) => found.extend(problem.map(|problem| (number, problem))),
                (Err(error), Ok(_)) => *found = Err(error),
                (_, Err(_)) => return,
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(all.len());
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    found.sort_by_key(|(number, _)| *number);
    Ok(found.into_iter().map(|(_, problem)| problem).collect())
}

/// Is content what its name says?
fn of_content(store: &Store, digest: &Digest) -> Result<Option<Problem>> {
    let words = || format!("content {digest}");
    let problem = |words: String| {
        Ok(Some(Problem {
            words: format!("content {digest}: {words}"),
            broken: Broken::Content(digest.clone()),
        }))
    };
    match fs::symlink_metadata(store.content.path(digest)) {
        // Nobody claimed it, and it went.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Ok(stat) if !stat.is_file() => return problem("it is no file".to_owned()),
        Ok(_) => {}
        Err(error) => return Err(error).during(words),
    }
    let mut file = match store.content.reader(digest) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        open => open?,
    };
    let mut hasher = Hasher::new(digest.algorithm());
    let mut buffer = vec![0; 1 << 17];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(&buffer[..count]),
            // A disk that cannot read it: as good as gone.
            Err(error) => return problem(Error::from(error).to_string()),
        }
    }
    let found = hasher.finish();
    if found == *digest { Ok(None) } else { problem(format!("its digest is {found}")) }
}

/// The images that are there, for those who look at them once more.
fn images(store: &Store) -> Result<Images> {
    store.images.read()
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
