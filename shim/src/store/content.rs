//! Content by its digest: manifests, configurations, packed layers.
//!
//! `content/ALGORITHM/HEX` is complete and right: a file gets this name only after its length and digest were
//! checked and its bytes are on the disk. What is on its way lies in `ingest/`, one file a digest, locked by who
//! writes it; where that stopped, the next one goes on.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Context, Error, Result};
use crate::store::folder::make_private;

/// The content of a store.
#[derive(Clone, Debug)]
pub struct Content {
    done: PathBuf,
    ingest: PathBuf,
}

impl Content {
    /// The content below this folder, made if it is not there.
    ///
    /// # Errors
    /// The system's reason.
    pub fn open(root: &Path) -> Result<Content> {
        let (done, ingest) = (root.join("content"), root.join("ingest"));
        for folder in [&done, &ingest, &done.join("sha256"), &done.join("sha512")] {
            make_private(folder)?;
        }
        Ok(Content { done, ingest })
    }

    /// Where this content lies once it is there.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.done.join(digest.algorithm().name()).join(digest.hex())
    }

    /// Is it there?
    ///
    /// # Errors
    /// The system's reason.
    pub fn has(&self, digest: &Digest) -> Result<bool> {
        let path = self.path(digest);
        path.try_exists().during(|| format!("stat {path:?}"))
    }

    /// All that is there, in order.
    ///
    /// # Errors
    /// A name that is no digest, or the system's reason.
    pub fn list(&self) -> Result<Vec<Digest>> {
        let mut found = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let folder = self.done.join(algorithm.name());
            let words = || format!("read {folder:?}");
            for entry in fs::read_dir(&folder).during(words)? {
                let name = entry.during(words)?.file_name();
                let digest = format!("{}:{}", algorithm.name(), name.to_string_lossy());
                found.push(Digest::parse(&digest).during(words)?);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Opens content.
    ///
    /// # Errors
    /// It is not there, or the system's reason.
    pub fn reader(&self, digest: &Digest) -> Result<File> {
        File::open(self.path(digest)).during(|| format!("content {digest}"))
    }

    /// Reads a document, checked once more.
    ///
    /// # Errors
    /// It is longer than `max` bytes, damaged, or not there.
    pub fn read(&self, digest: &Digest, max: u64) -> Result<Vec<u8>> {
        let words = || format!("content {digest}");
        let mut bytes = Vec::new();
        self.reader(digest)?.take(max + 1).read_to_end(&mut bytes).during(words)?;
        if bytes.len() as u64 > max {
            return Err(Error::invalid(format!("it is longer than {max} bytes"))).during(words);
        }
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        if hasher.finish() != *digest {
            return Err(Error::invalid("it is damaged: its digest is another")).during(words);
        }
        Ok(bytes)
    }

    /// Puts a small document there.
    ///
    /// # Errors
    /// The system's reason.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let mut ingest = self.ingest(&digest)?;
        if !ingest.is_done() {
            ingest.restart()?;
            ingest.write(bytes)?;
            ingest.commit(bytes.len() as u64)?;
        }
        Ok(digest)
    }

    /// Takes a file of the store as content. Its digest is what the caller has just found it to be; the path is gone then.
    ///
    /// # Errors
    /// The system's reason.
    pub fn adopt(&self, file: &File, path: &Path, digest: &Digest) -> Result<()> {
        let ingest = self.ingest(digest)?;
        let words = || format!("receive {digest}");
        if ingest.is_done() {
            return fs::remove_file(path).during(words);
        }
        file.sync_all().during(words)?;
        fs::rename(path, &ingest.done).during(words)?;
        remove_if_same(&ingest.partial, &ingest.file).during(words)?;
        sync_folder_of(&ingest.done).during(words)
    }

    /// Begins, or goes on, to receive content. While somebody else receives the same, this waits.
    ///
    /// # Errors
    /// The system's reason.
    pub fn ingest(&self, digest: &Digest) -> Result<Ingest> {
        let partial = self.ingest.join(format!("{}-{}", digest.algorithm().name(), digest.hex()));
        let words = || format!("receive {digest}");
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let file = options.open(&partial).during(words)?;
            file.lock().during(words)?;
            let done = self.path(digest);
            if done.try_exists().during(words)? {
                // Whoever had the lock before has made it; or this file was just made for nothing.
                remove_if_same(&partial, &file).during(words)?;
                return Ok(Ingest { file, partial, done, digest: digest.clone(), hasher: None, length: 0 });
            }
            // It may have been removed between open and lock: then the name is nobody's, or another file's.
            if is_same(&partial, &file).during(words)? {
                let mut ingest =
                    Ingest { file, partial, done, digest: digest.clone(), hasher: None, length: 0 };
                ingest.take_up().during(words)?;
                return Ok(ingest);
            }
        }
    }
}

/// Puts a name on the disk.
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn is_same(path: &Path, file: &File) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let mine = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (mine.dev(), mine.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn remove_if_same(path: &Path, file: &File) -> std::io::Result<()> {
    if is_same(path, file)? { fs::remove_file(path) } else { Ok(()) }
}

/// Content on its way in. Dropped, it stays to be gone on with.
#[derive(Debug)]
pub struct Ingest {
    file: File,
    partial: PathBuf,
    done: PathBuf,
    digest: Digest,
    /// Of what has come; None if somebody else has completed it.
    hasher: Option<Hasher>,
    length: u64,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

impl Ingest {
    /// Somebody else has completed it: there is nothing to do.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.hasher.is_none()
    }

    /// How many bytes have come, also in earlier tries.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reads what comes, while it comes: the same file, which keeps its bytes when it gets its name.
    ///
    /// # Errors
    /// The system's reason.
    pub fn reader(&self) -> Result<File> {
        let path = if self.is_done() { &self.done } else { &self.partial };
        File::open(path).during(|| format!("receive {}", self.digest))
    }

    /// Takes the bytes that an earlier try has left into the digest.
    fn take_up(&mut self) -> Result<()> {
        let mut hasher = Hasher::new(self.digest.algorithm());
        let mut buffer = vec![0; 1 << 16];
        self.file.seek(SeekFrom::Start(0))?;
        loop {
            match self.file.read(&mut buffer)? {
                0 => break,
                count => {
                    hasher.update(&buffer[..count]);
                    self.length += count as u64;
                }
            }
        }
        self.hasher = Some(hasher);
        Ok(())
    }

    /// Throws away what has come.
    ///
    /// # Errors
    /// The system's reason.
    pub fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).during(|| format!("receive {}", self.digest))?;
        self.file.seek(SeekFrom::Start(0)).during(|| format!("receive {}", self.digest))?;
        self.hasher = Some(Hasher::new(self.digest.algorithm()));
        self.length = 0;
        Ok(())
    }

    /// More bytes, behind those that have come.
    ///
    /// # Errors
    /// The system's reason.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).during(|| format!("receive {}", self.digest))?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// All has come: checks it and gives it its name.
    ///
    /// # Errors
    /// Another length or digest than it has to have (what has come is thrown away), or the system's reason.
    pub fn commit(self, length: u64) -> Result<()> {
        let Ingest { file, partial, done, digest, hasher, length: came } = self;
        let words = || format!("receive {digest}");
        let Some(hasher) = hasher else { return Ok(()) };
        let found = hasher.finish();
        if came != length || found != digest {
            remove_if_same(&partial, &file).during(words)?;
            let reason = if came == length {
                format!("its digest is {found}")
            } else {
                format!("{came} bytes came, not {length}")
            };
            return Err(Error::invalid(reason)).during(words);
        }
        file.sync_all().during(words)?;
        fs::rename(&partial, &done).during(words)?;
        sync_folder_of(&done).during(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    fn is_empty(content: &Content) -> bool {
        fs::read_dir(&content.ingest).unwrap().count() == 0
    }

    #[test]
    fn what_was_put_is_read() {
        let scratch = Scratch::new();
        let content = Content::open(scratch.path()).unwrap();
        let digest = content.put(b"text").unwrap();
        assert_eq!(content.put(b"text").unwrap(), digest, "twice");
        assert_eq!(content.read(&digest, 4).unwrap(), b"text");
        assert!(content.read(&digest, 3).unwrap_err().to_string().contains("longer than 3 bytes"));
        assert!(content.has(&digest).unwrap() && is_empty(&content));
        fs::write(content.path(&digest), "tixt").unwrap();
        assert!(content.read(&digest, 4).unwrap_err().to_string().contains("damaged"));
        assert!(content.read(&Digest::of(b""), 4).unwrap_err().to_string().contains("No such file"));
    }

    #[test]
    fn what_stopped_half_way_goes_on_there() {
        let scratch = Scratch::new();
        let content = Content::open(scratch.path()).unwrap();
        let digest = Digest::of(b"first second");
        let mut ingest = content.ingest(&digest).unwrap();
        ingest.write(b"first ").unwrap();
        drop(ingest);
        assert!(!content.has(&digest).unwrap(), "half is nothing");
        let mut ingest = content.ingest(&digest).unwrap();
        assert_eq!(ingest.length(), 6);
        ingest.write(b"second").unwrap();
        ingest.commit(12).unwrap();
        assert_eq!(content.read(&digest, 99).unwrap(), b"first second");
        assert!(content.ingest(&digest).unwrap().is_done() && is_empty(&content));
    }

    #[test]
    fn what_is_not_what_its_name_says_is_thrown_away() {
        let scratch = Scratch::new();
        let content = Content::open(scratch.path()).unwrap();
        let digest = Digest::of(b"right");
        for (bytes, length, reason) in
            [(&b"wrong"[..], 5, "its digest is"), (b"right!", 5, "6 bytes came, not 5")]
        {
            let mut ingest = content.ingest(&digest).unwrap();
            assert_eq!(ingest.length(), 0);
            ingest.write(bytes).unwrap();
            let error = ingest.commit(length).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert!(!content.has(&digest).unwrap() && is_empty(&content));
        }
    }

    #[test]
    fn a_file_of_the_store_becomes_content() {
        let scratch = Scratch::new();
        let content = Content::open(scratch.path()).unwrap();
        for what in ["new", "there already"] {
            let path = scratch.join("ingest/import-1");
            fs::write(&path, "text").unwrap();
            content.adopt(&File::open(&path).unwrap(), &path, &Digest::of(b"text")).unwrap();
            assert_eq!(content.read(&Digest::of(b"text"), 4).unwrap(), b"text", "{what}");
            assert!(is_empty(&content), "{what}");
        }
    }

    #[test]
    fn many_receive_the_same_at_once_and_one_does_it() {
        let scratch = Scratch::new();
        let content = Content::open(scratch.path()).unwrap();
        let text = vec![7; 100_000];
        let digest = Digest::of(&text);
        let written = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut ingest = content.ingest(&digest).unwrap();
                    if !ingest.is_done() {
                        text.chunks(999).for_each(|chunk| ingest.write(chunk).unwrap());
                        ingest.commit(100_000).unwrap();
                        written.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(written.into_inner(), 1);
        assert!(is_empty(&content));
        assert_eq!(content.read(&digest, 100_000).unwrap(), text);
    }
}
