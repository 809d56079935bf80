//! A layer on its way: one thread receives it into a file, another reads it from there as it comes.
//!
//! The file is what lies between the two, so neither waits for the other's pace and no memory is used for what waits:
//! a registry does not see a slow disk. The end of the file is only seen once the digest has been checked.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::error::{Error, Kind};
use crate::registry::cancel::Cancel;

/// One layer on its way.
#[derive(Debug, Default)]
pub struct Arrival {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone)]
struct State {
    file: Option<Arc<File>>,
    /// How many bytes of the file are there.
    length: u64,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// All is there, and right.
    Whole,
    /// No more comes.
    Failed,
}

impl Arrival {
    /// It comes into this file.
    pub fn begin(&self, file: File) {
        self.change(|state| state.file = Some(Arc::new(file)));
    }

    /// So many bytes are there.
    pub fn grow(&self, length: u64) {
        self.change(|state| state.length = length);
    }

    /// All is there, `length` bytes, and what it has to be.
    pub fn complete(&self, length: u64) {
        self.change(|state| {
            state.length = length;
            state.end = Some(End::Whole);
        });
    }

    /// No more comes. After [`Arrival::complete`] this means nothing.
    pub fn fail(&self) {
        self.change(|state| {
            state.end.get_or_insert(End::Failed);
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Reads it from its beginning. `passed` is told how many bytes were read.
    pub fn reader<'a, F: FnMut(u64)>(&'a self, cancel: &'a Cancel, passed: F) -> Reader<'a, F> {
        Reader { arrival: self, cancel, passed, known: State::default(), position: 0 }
    }
}

/// Reads what comes, and waits for it.
pub struct Reader<'a, F> {
    arrival: &'a Arrival,
    cancel: &'a Cancel,
    passed: F,
    /// What was known when it was last looked.
    known: State,
    position: u64,
}

impl<F: FnMut(u64)> Read for Reader<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check()?;
        if self.position >= self.known.length {
            let state = self.arrival.state.lock().unwrap_or_else(PoisonError::into_inner);
            let position = self.position;
            let state = self
                .arrival
                .changed
                .wait_while(state, |state| state.length <= position && state.end.is_none())
                .unwrap_or_else(PoisonError::into_inner);
            self.known = state.clone();
        }
        let (left, Some(file)) = (self.known.length - self.position, &self.known.file) else {
            return Err(Error::new(Kind::Interrupted, "it did not come").into());
        };
        if self.known.end == Some(End::Failed) {
            return Err(Error::new(Kind::Interrupted, "the rest did not come").into());
        }
        let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = file.read_at(&mut buffer[..wanted], self.position)?;
        if count == 0 && wanted > 0 {
            return Err(Error::invalid("what has come is gone").into());
        }
        self.position += count as u64;
        (self.passed)(self.position);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;
    use std::io::Write as _;

    #[test]
    fn it_is_read_as_it_comes_and_ends_when_it_is_known_to_be_right() {
        let scratch = Scratch::new();
        let (arrival, cancel) = (Arrival::default(), Cancel::default());
        let text: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut found = Vec::new();
                arrival.reader(&cancel, |_| ()).read_to_end(&mut found).unwrap();
                found
            });
            let mut file = File::create_new(scratch.join("part")).unwrap();
            arrival.begin(File::open(scratch.join("part")).unwrap());
            let mut length = 0;
            for chunk in text.chunks(7777) {
                file.write_all(chunk).unwrap();
                length += chunk.len() as u64;
                arrival.grow(length);
            }
            assert!(!reading.is_finished(), "nobody has said that it is right");
            arrival.complete(length);
            arrival.fail();
            assert!(reading.join().unwrap() == text);
        });
    }

    #[test]
    fn who_waits_is_told_that_nothing_comes() {
        let cancel = Cancel::default();
        let read =
            |arrival: &Arrival| arrival.reader(&cancel, |_| ()).read(&mut [0; 9]).map_err(|e| e.to_string());
        let arrival = Arrival::default();
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| read(&arrival));
            arrival.fail();
            assert_eq!(reading.join().unwrap().unwrap_err(), "it did not come");
        });
        cancel.cancel();
        assert_eq!(read(&Arrival::default()).unwrap_err(), "interrupted");
    }
}
