//! From a name to an image in the store.
//!
//! In this order: what the name leads to (`resolve`), then the image's configuration, then its layers (`layers`), all of
//! it claimed before it is looked for, and at last the record that makes an image of it. What is there before that
//! is content without a name: a pull that ends half-way, however it ends, has done nothing but save the next one
//! work.

pub mod arrival;
mod layers;
pub mod report;
mod resolve;

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::event;
use crate::image::config::{CONFIG_MAX, ImageConfig};
use crate::image::manifest::Descriptor;
use crate::image::platform::Platform;
use crate::reference::Reference;
use crate::registry::blob;
use crate::registry::client::{Client, Network};
use crate::registry::credentials;
use crate::registry::manifest;
use crate::store::Store;
use crate::store::image::Image;
use crate::store::lease::Lease;
use crate::unpack::tree::As;
use report::Report;
use resolve::Resolved;

/// A pull: where to, for which platform, and who is told.
pub struct Pull<'a> {
    /// Where the image goes.
    pub store: &'a Store,
    /// As whom its layers are unpacked.
    pub who: As,
    /// How registries are spoken to.
    pub network: &'a Network<'a>,
    /// The platform that was asked for.
    pub platform: Option<&'a Platform>,
    /// Who is told what happens.
    pub report: &'a dyn Report,
}

impl<'a> Pull<'a> {
    /// Pulls what a name means: its tag or digest, `latest` where it has none.
    ///
    /// # Errors
    /// The first thing that is wrong. What was complete by then stays, as content that the next pull finds.
    pub fn one(&self, name: &Reference) -> Result<()> {
        let is_new = self.image(name)?;
        self.tell(is_new, &name.familiar());
        Ok(())
    }

    /// Pulls all tags of a repository.
    ///
    /// # Errors
    /// As above; tags before the one that failed stay pulled.
    pub fn all(&self, name: &Reference) -> Result<()> {
        let tags = self.ask_any(name, |client| manifest::tags(client, name))?;
        if tags.is_empty() {
            return Err(Error::not_found(format!("{}: it has no tags", name.familiar_name())));
        }
        let mut is_new = false;
        for tag in &tags {
            is_new |= self.image(tag)?;
        }
        self.tell(is_new, &name.familiar_name());
        Ok(())
    }

    fn tell(&self, is_new: bool, name: &str) {
        let status = if is_new { "Downloaded newer image" } else { "Image is up to date" };
        self.report.line(&format!("Status: {status} for {name}"));
    }

    /// Asks mirrors and the registry itself, in this order, until one answers.
    fn ask_any<T>(&self, name: &Reference, ask: impl Fn(&Client<'a>) -> Result<T>) -> Result<T> {
        let mut last = None;
        for client in self.clients(name) {
            match ask(&client) {
                Err(error) if error.kind() != Kind::Interrupted => last = Some(error),
                result => return result,
            }
        }
        Err(last.unwrap_or_else(|| Error::not_found("no registry")))
    }

    /// Mirrors of the registry, and the registry. Each is shown its own credentials only.
    fn clients(&self, name: &Reference) -> Vec<Client<'a>> {
        let client = |registry: &str| {
            let (host, repository) = (registry.to_owned(), name.repository().to_owned());
            let credentials = move || credentials::find(&host, &repository);
            Client::new(self.network, registry, Some(name.repository()), credentials)
        };
        let mirrors = self.network.settings.mirrors(name.registry());
        let mirrors = mirrors.iter().map(|(is_https, host)| client(host).with_scheme(*is_https));
        mirrors.chain([client(name.registry())]).collect()
    }

    /// One image. True if the name did not lead to it before.
    fn image(&self, name: &Reference) -> Result<bool> {
        let shown = match name.digest() {
            Some(digest) => name.with_digest(digest.clone()).to_string(),
            None => name.tag_or_default().unwrap_or_default().to_owned(),
        };
        let mut last = None;
        for client in self.clients(name) {
            let resolved = match resolve::resolve(&client, name, self.platform) {
                Ok(resolved) => resolved,
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                Err(error) => {
                    last = Some(resolve::explain(name, error));
                    continue;
                }
            };
            self.report.line(&format!("{shown}: Pulling from {}", name.repository()));
            return self.take(&client, name, &resolved);
        }
        Err(last.unwrap_or_else(|| Error::not_found("no registry")))
    }

    /// Brings in what was found.
    fn take(&self, client: &Client, name: &Reference, found: &Resolved) -> Result<bool> {
        let id = &found.manifest.config.digest;
        // What was claimed by pulls that were killed is nobody's.
        drop(self.store.leases.close()?);
        let mut lease: Lease = self.store.leases.begin()?;
        let blobs = found.manifest.layers.iter().map(|layer| &layer.digest);
        let claimed: Vec<&Digest> = [id, &found.digest].into_iter().chain(blobs).collect();
        lease.claim(&claimed)?;

        let config = self.config(client, name.repository(), &found.manifest.config)?;
        found.check(name, &config, self.platform)?;
        let chain_ids = config.chain_ids();
        lease.claim(&chain_ids.iter().collect::<Vec<_>>())?;
        if !self.is_here(found, &chain_ids)? {
            self.report.begin();
            self.bring(client, name.repository(), found, &config)?;
        }
        self.keep(&found.digest, &found.bytes)?;

        let image = Image {
            manifest: found.digest.clone(),
            content: found.manifest.layers.iter().map(|layer| layer.digest.clone()).collect(),
            layers: chain_ids,
            tags: BTreeSet::new(),
            digests: BTreeSet::new(),
            pulled: jiff::Timestamp::now().as_second(),
        };
        let by_digest = name.with_digest(found.named.clone());
        let by_tag = match name.digest() {
            Some(_) => None,
            None => Some(name.with_tag(name.tag_or_default().unwrap_or_default())?),
        };
        let is_new = self.store.images.change(|images| {
            let known = images.get(id);
            let has = |name: &Reference| {
                let name = name.to_string();
                known.is_some_and(|image| image.tags.contains(&name) || image.digests.contains(&name))
            };
            let is_new = !has(by_tag.as_ref().unwrap_or(&by_digest));
            images.add(id, image);
            for name in by_tag.iter().chain([&by_digest]) {
                images.name(id, name)?;
            }
            Ok(is_new)
        })?;
        let called = by_tag.as_ref().unwrap_or(name);
        event::image(self.store, "pull", Some(id), &called.familiar(), &called.familiar_name());
        self.report.line(&format!("Digest: {}", found.named));
        Ok(is_new)
    }

    /// The image's configuration, which is small.
    fn config(&self, client: &Client, repository: &str, config: &Descriptor) -> Result<ImageConfig> {
        if config.size > CONFIG_MAX {
            let size = config.size;
            return Err(Error::invalid(format!(
                "configuration of {size} bytes: at most {CONFIG_MAX} are read"
            )));
        }
        let mut ingest = self.store.content.ingest(&config.digest)?;
        if !ingest.is_done() {
            blob::receive(client, repository, (&config.digest, config.size), &mut ingest, |_| ())?;
            ingest.commit(config.size)?;
        }
        ImageConfig::parse(&self.store.content.read(&config.digest, CONFIG_MAX)?)
    }

    /// Is all of it here already, as an image?
    fn is_here(&self, found: &Resolved, chain_ids: &[Digest]) -> Result<bool> {
        if self.store.images.read()?.get(&found.manifest.config.digest).is_none() {
            return Ok(false);
        }
        for (layer, chain_id) in found.manifest.layers.iter().zip(chain_ids) {
            if !self.store.content.has(&layer.digest)? || self.store.layers.get(chain_id)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Keeps a document under its digest, of whichever algorithm.
    fn keep(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let mut ingest = self.store.content.ingest(digest)?;
        if ingest.is_done() {
            return Ok(());
        }
        ingest.restart()?;
        ingest.write(bytes)?;
        ingest.commit(bytes.len() as u64)
    }
}
