//! An image on its way in: its layers are unpacked at the same time, and completed from the lowest up.
//!
//! It makes no difference where they come from: a registry, an archive, a folder. Each layer is read once: whoever
//! reads it from a network keeps the packed bytes on the way (`content`), here they become files.

use std::io::{self, Read};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::digest::{Digest, Hashing};
use crate::error::{Context, Error, Kind, Result};
use crate::image::config::ImageConfig;
use crate::store::layer::{Layer, Layers, Making};
use crate::unpack::archive::Archive;
use crate::unpack::stream::Unpacking;
use crate::unpack::tree::{self, As, Unpacked};

/// The layers of one image.
#[derive(Debug)]
pub struct Intake<'a> {
    layers: &'a Layers,
    who: As,
    diff_ids: Vec<Digest>,
    chain_ids: Vec<Digest>,
    /// How many are complete, from the lowest up; None once one has failed.
    complete: Mutex<Option<usize>>,
    changed: Condvar,
}

impl<'a> Intake<'a> {
    /// For the layers of this configuration, which the caller has claimed.
    #[must_use]
    pub fn new(layers: &'a Layers, config: &ImageConfig, who: As) -> Intake<'a> {
        Intake {
            layers,
            who,
            diff_ids: config.rootfs.diff_ids.clone(),
            chain_ids: config.chain_ids(),
            complete: Mutex::new(Some(0)),
            changed: Condvar::new(),
        }
    }

    /// Brings in one layer, counted from the lowest. `open` begins to read it, packed or not; it is not called when
    /// the layer is there already. Waits for the layers below before it completes its own, so each layer has to be
    /// brought in by somebody: by a thread each, or from the lowest up.
    ///
    /// # Errors
    /// Those of the stream; a layer that is not what the image's configuration says; one below it that failed.
    pub fn layer<R: Read>(&self, number: usize, open: impl FnOnce() -> Result<R>) -> Result<()> {
        let result = self.try_layer(number, open);
        if result.is_err() {
            self.fail();
        }
        result.during(|| format!("layer {}", self.diff_ids[number]))
    }

    /// A layer will not come: nobody has to wait for it.
    pub fn fail(&self) {
        *self.complete.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.changed.notify_all();
    }

    fn try_layer<R: Read>(&self, number: usize, open: impl FnOnce() -> Result<R>) -> Result<()> {
        let Some(making) = self.layers.begin(&self.chain_ids[number])? else {
            return self.pass(number);
        };
        let unpacked = match self.unpack(number, &making, open) {
            Ok(unpacked) => unpacked,
            Err(error) => {
                return Err(match making.abandon() {
                    Ok(()) => error,
                    Err(clean_up) => error.and(&clean_up),
                });
            }
        };
        let layer = Layer {
            diff_id: self.diff_ids[number].clone(),
            parent: number.checked_sub(1).map(|below| self.chain_ids[below].clone()),
            size: unpacked.size,
            hides_all_below: unpacked.hides_all_below,
            lost: unpacked.lost.clone(),
        };
        let below: Vec<_> = self.chain_ids[..number].iter().rev().map(|id| self.layers.tree(id)).collect();
        making.complete(&layer, &unpacked, &below)?;
        self.pass(number)
    }

    /// Makes files of it, and waits for the layers below.
    fn unpack<R: Read>(
        &self,
        number: usize,
        making: &Making,
        open: impl FnOnce() -> Result<R>,
    ) -> Result<Unpacked> {
        let mut archive =
            Archive::new(Hashing::new(Unpacking::new(open()?)?, self.diff_ids[number].algorithm()));
        let unpacked = tree::unpack(&mut archive, making.tree(), self.who)?;
        let mut rest = archive.into_inner();
        // The digest is of all there is, also of what stands behind the archive's end.
        io::copy(&mut rest, &mut io::sink()).during(|| "read".into())?;
        let (found, _) = rest.finish();
        if found != self.diff_ids[number] {
            return Err(Error::invalid(format!("unpacked it is {found}")));
        }
        self.wait_for(number)?;
        Ok(unpacked)
    }

    /// Waits until all layers below are complete.
    fn wait_for(&self, number: usize) -> Result<()> {
        let complete = self.complete.lock().unwrap_or_else(PoisonError::into_inner);
        let complete = self
            .changed
            .wait_while(complete, |complete| complete.is_some_and(|complete| complete < number))
            .unwrap_or_else(PoisonError::into_inner);
        match *complete {
            Some(_) => Ok(()),
            None => Err(Error::new(Kind::Interrupted, "another layer failed")),
        }
    }

    /// This layer is complete.
    fn pass(&self, number: usize) -> Result<()> {
        self.wait_for(number)?;
        let mut complete = self.complete.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(complete) = &mut *complete {
            *complete = (*complete).max(number + 1);
        }
        self.changed.notify_all();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::config::RootFs;
    use crate::store::scratch::Scratch;
    use crate::unpack::written::{file, owned};
    use std::os::unix::fs::MetadataExt as _;

    fn archives() -> Vec<Vec<u8>> {
        let base = [owned(b'5', "d", 0o700, (7, 8)), vec![0; 1024]].concat();
        let middle = [file("d/x", "1"), vec![0; 1024]].concat();
        // With something behind its end, which is a part of it.
        let top = [file("d/y", "2"), vec![0; 1024], vec![9; 3000]].concat();
        vec![base, middle, top]
    }

    fn config(archives: &[Vec<u8>]) -> ImageConfig {
        let diff_ids = archives.iter().map(|archive| Digest::of(archive)).collect();
        ImageConfig { rootfs: RootFs { kind: "layers".into(), diff_ids }, ..ImageConfig::default() }
    }

    #[test]
    fn layers_come_in_any_order_and_are_completed_from_the_lowest_up() {
        let scratch = Scratch::new();
        let layers = Layers::open(scratch.path()).unwrap();
        let archives = archives();
        let config = config(&archives);
        let intake = Intake::new(&layers, &config, As::Root);
        std::thread::scope(|scope| {
            for number in [2, 1, 0] {
                let (intake, archive) = (&intake, &archives[number]);
                scope.spawn(move || intake.layer(number, || Ok(&archive[..])).unwrap());
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        for id in config.chain_ids() {
            let stat = std::fs::metadata(layers.tree(&id).join("d")).unwrap();
            assert_eq!(
                (stat.mode() & 0o7777, stat.uid(), stat.gid()),
                (0o700, 7, 8),
                "also where it is implied"
            );
        }
        // What is there is not read again.
        let again = Intake::new(&layers, &config, As::Root);
        for number in 0..3 {
            again.layer(number, || -> Result<&[u8]> { panic!("it is there") }).unwrap();
        }
    }

    #[test]
    fn one_that_is_not_what_it_should_be_fails_them_all() {
        let scratch = Scratch::new();
        let layers = Layers::open(scratch.path()).unwrap();
        let archives = archives();
        let mut wrong = config(&archives);
        wrong.rootfs.diff_ids[0] = Digest::of(b"another");
        let intake = Intake::new(&layers, &wrong, As::Root);
        let results: Vec<Result<()>> = std::thread::scope(|scope| {
            let spawn = |number: usize| {
                let (intake, archive) = (&intake, &archives[number]);
                scope.spawn(move || intake.layer(number, || Ok(&archive[..])))
            };
            let running = [spawn(2), spawn(1), spawn(0)];
            running.map(|thread| thread.join().unwrap()).into_iter().collect()
        });
        let errors: Vec<String> = results.into_iter().map(|result| result.unwrap_err().to_string()).collect();
        assert!(errors[2].contains("unpacked it is sha256:"), "{errors:?}");
        assert!(errors[..2].iter().all(|error| error.contains("another layer failed")), "{errors:?}");
        assert_eq!(layers.list().unwrap(), []);
    }

    #[test]
    fn a_cut_stream_leaves_no_layer() {
        let scratch = Scratch::new();
        let layers = Layers::open(scratch.path()).unwrap();
        let archives = archives();
        let config = config(&archives);
        let intake = Intake::new(&layers, &config, As::Root);
        assert!(intake.layer(0, || Ok(&archives[0][..700])).is_err());
        assert_eq!(layers.list().unwrap(), []);
        let intake = Intake::new(&layers, &config, As::Root);
        intake.layer(0, || Ok(&archives[0][..])).unwrap();
        assert_eq!(layers.list().unwrap().len(), 1);
    }
}
