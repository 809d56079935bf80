//! The layers of an image: some threads receive them, others make files of them at the same time.
//!
//! Downloads depend on nothing but the network, and unpacking only on a layer's own download and the layers below, so
//! any number of pulls of the same layers wait for one another without a circle.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::image::config::ImageConfig;
use crate::image::manifest::Descriptor;
use crate::pull::Pull;
use crate::pull::arrival::Arrival;
use crate::pull::report::Status;
use crate::pull::resolve::Resolved;
use crate::registry::blob;
use crate::registry::client::Client;
use crate::store::intake::Intake;

/// Layers that are received at the same time (as Docker).
const DOWNLOADS: usize = 3;

/// One layer and what is known of it.
struct Part<'m> {
    descriptor: &'m Descriptor,
    arrival: Arrival,
    /// It is here, packed and unpacked.
    is_here: bool,
}

impl Pull<'_> {
    /// Brings in all layers.
    pub(super) fn bring(
        &self,
        client: &Client,
        repository: &str,
        found: &Resolved,
        config: &ImageConfig,
    ) -> Result<()> {
        let mut parts = Vec::new();
        let mut missing = 0;
        for (number, (descriptor, chain_id)) in
            found.manifest.layers.iter().zip(config.chain_ids()).enumerate()
        {
            let is_here =
                self.store.content.has(&descriptor.digest)? && self.store.layers.get(&chain_id)?.is_some();
            let id = descriptor.digest.short();
            if is_here {
                self.report.layer(number, id, Status::Exists);
            } else {
                self.report.layer(number, id, Status::Pulling);
                if missing >= DOWNLOADS {
                    self.report.layer(number, id, Status::Waiting);
                }
                missing += 1;
            }
            parts.push(Part { descriptor, arrival: Arrival::default(), is_here });
        }
        let intake = Intake::new(&self.store.layers, config, self.who);
        let failed: Mutex<Option<Error>> = Mutex::new(None);
        let fail = |error: Error| {
            let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
            // That a layer waited in vain says less than why.
            if failed.as_ref().is_none_or(|known| known.kind() == Kind::Interrupted) {
                *failed = Some(error);
            }
            drop(failed);
            intake.fail();
            self.network.cancel.cancel();
            parts.iter().for_each(|part| part.arrival.fail());
        };
        let (to_receive, to_unpack) = (AtomicUsize::new(0), AtomicUsize::new(0));
        // In order, each of them: who waits for a layer below waits for somebody who has it already.
        let each = |next: &AtomicUsize, work: &dyn Fn(usize, &Part) -> Result<()>| {
            while let Some((number, part)) = Some(next.fetch_add(1, Ordering::Relaxed))
                .and_then(|number| Some((number, parts.get(number)?)))
            {
                if let Err(error) = work(number, part) {
                    return fail(error);
                }
            }
        };
        let receive = || each(&to_receive, &|number, part| self.receive(client, repository, number, part));
        let unpack = || each(&to_unpack, &|number, part| self.unpack(&intake, number, part));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        // Some of them wait: for bytes, or for the layers below.
        let unpackers = (processors + DOWNLOADS).min(parts.len());
        std::thread::scope(|scope| {
            (0..DOWNLOADS.min(missing)).for_each(|_| drop(scope.spawn(receive)));
            (0..unpackers).for_each(|_| drop(scope.spawn(unpack)));
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            // Nothing is wrong with the layer in whose midst it was.
            Some(error) if error.kind() == Kind::Interrupted => self.network.cancel.check(),
            failed => failed.map_or(Ok(()), Err),
        }
    }

    /// Brings the packed layer into the content.
    fn receive(&self, client: &Client, repository: &str, number: usize, part: &Part) -> Result<()> {
        if part.is_here {
            return Ok(());
        }
        let Descriptor { digest, size, .. } = part.descriptor;
        let tell = |status: Status| self.report.layer(number, digest.short(), status);
        let mut ingest = self.store.content.ingest(digest)?;
        if ingest.is_done() {
            return self.complete(part, digest, *size);
        }
        let resumed = ingest.length() > 0;
        if !resumed {
            part.arrival.begin(ingest.reader()?);
        }
        let arrived = |length: u64| {
            if !resumed {
                part.arrival.grow(length);
            }
            tell(Status::Downloading(length, *size));
        };
        blob::receive(client, repository, (digest, *size), &mut ingest, arrived)?;
        tell(Status::Verifying);
        match ingest.commit(*size) {
            // What an earlier pull has left was not the beginning of it.
            Err(error) if resumed && error.kind() == Kind::Invalid => {
                let mut ingest = self.store.content.ingest(digest)?;
                if !ingest.is_done() {
                    let arrived = |length: u64| tell(Status::Downloading(length, *size));
                    blob::receive(client, repository, (digest, *size), &mut ingest, arrived)?;
                    ingest.commit(*size)?;
                }
            }
            result => result?,
        }
        tell(Status::Downloaded);
        if resumed {
            return self.complete(part, digest, *size);
        }
        part.arrival.complete(*size);
        Ok(())
    }

    /// It is in the content, checked.
    fn complete(&self, part: &Part, digest: &Digest, size: u64) -> Result<()> {
        part.arrival.begin(self.store.content.reader(digest)?);
        part.arrival.complete(size);
        Ok(())
    }

    /// Makes files of a layer.
    fn unpack(&self, intake: &Intake, number: usize, part: &Part) -> Result<()> {
        let Descriptor { digest, size, .. } = part.descriptor;
        let tell = |status: Status| self.report.layer(number, digest.short(), status);
        intake.layer(number, || {
            Ok(part.arrival.reader(self.network.cancel, |passed| tell(Status::Extracting(passed, *size))))
        })?;
        if !part.is_here {
            tell(Status::Complete);
        }
        Ok(())
    }
}
