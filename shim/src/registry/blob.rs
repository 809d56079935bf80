//! Content from a registry into the store: gone on with where it stopped, and never longer than was said.
//!
//! Nothing is checked here but lengths and ranges; the digest is checked when the content gets its name
//! ([`Ingest::commit`]).

use std::io::Read as _;
use std::time::Duration;

use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::registry::client::{Ask, Client, Failure};
use crate::store::content::Ingest;

/// Read at once, in bytes.
const BUFFER: usize = 1 << 17;
/// So many bytes between two failures make the earlier ones forgotten.
const ENOUGH: u64 = 1 << 20;

/// Receives what is missing of this content, which is `size` bytes long. `arrived` is told how many bytes are there.
///
/// # Errors
/// The registry does not give it, or gives something of another length; what has come stays.
pub fn receive(
    client: &Client,
    repository: &str,
    (digest, size): (&Digest, u64),
    ingest: &mut Ingest,
    mut arrived: impl FnMut(u64),
) -> Result<()> {
    let mut download =
        Download { client, path: format!("/v2/{repository}/blobs/{digest}"), size, may_use_ranges: true };
    if ingest.length() > size {
        ingest.restart()?;
    }
    let (mut tries, mut mark) = (0, ingest.length());
    while ingest.length() < size {
        client.network().cancel.check()?;
        let failure = match download.attempt(ingest, &mut arrived) {
            Ok(()) => continue,
            Err(failure) => failure,
        };
        if ingest.length() - mark >= ENOUGH {
            tries = 0;
            mark = ingest.length();
        }
        tries += 1;
        client.network().pause(failure, tries).during(|| format!("blob {digest}"))?;
    }
    Ok(())
}

struct Download<'a> {
    client: &'a Client<'a>,
    path: String,
    size: u64,
    may_use_ranges: bool,
}

impl Download<'_> {
    fn attempt(
        &mut self,
        ingest: &mut Ingest,
        arrived: &mut impl FnMut(u64),
    ) -> std::result::Result<(), Failure> {
        let (have, size) = (ingest.length(), self.size);
        let from = (have > 0 && self.may_use_ranges).then_some(have);
        let response = self.client.get(&self.path, Ask { from, ..Ask::default() })?;
        let mut skip = match (response.status(), from) {
            (200, _) => {
                if let Some(length) = response.length().filter(|length| *length != size) {
                    return Err(response.wrong(&format!("it is {length} bytes long, not {size}")));
                }
                // From the beginning, whatever was asked for: what is there is passed over.
                have
            }
            (206, Some(from))
                if response.header("content-range").is_some_and(|range| begins(range, from, size)) =>
            {
                0
            }
            (206, Some(_)) => {
                self.may_use_ranges = false;
                let reason = "it answered with another range than was asked for";
                return Err(Failure::Again(Error::new(Kind::Invalid, reason), Some(Duration::ZERO)));
            }
            (416, Some(from)) => {
                return Err(response.wrong(&format!(
                    "there is nothing behind byte {from}, but it has to be {size} bytes long"
                )));
            }
            (status, _) => return Err(response.wrong(&format!("status {status}"))),
        };
        let mut body = response.reader();
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = match body.read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                // All is here; how the connection ends does not matter any more.
                Err(_) | Ok(0) if ingest.length() == size => return Ok(()),
                Err(error) => return Err(cut(&Error::from(error).to_string(), ingest.length(), size)),
                Ok(0) => return Err(cut("the connection was closed", ingest.length(), size)),
                Ok(count) => count,
            };
            let passed = usize::try_from(skip).map_or(count, |skip| skip.min(count));
            skip -= passed as u64;
            let new = &buffer[passed..count];
            if new.len() as u64 > size - ingest.length() {
                return Err(Error::invalid(format!("it is longer than {size} bytes")).into());
            }
            if new.is_empty() {
                continue;
            }
            ingest.write(new)?;
            arrived(ingest.length());
        }
    }
}

fn cut(reason: &str, have: u64, size: u64) -> Failure {
    Failure::Again(Error::new(Kind::Unavailable, format!("after {have} of {size} bytes: {reason}")), None)
}

/// Is this `bytes FIRST-LAST/SIZE` the rest of what is missing?
fn begins(range: &str, from: u64, size: u64) -> bool {
    let Some((part, whole)) = range.trim().strip_prefix("bytes ").and_then(|range| range.split_once('/'))
    else {
        return false;
    };
    let Some((first, last)) = part.split_once('-') else { return false };
    let is = |text: &str, number: u64| text.trim().parse() == Ok(number);
    is(first, from)
        && last.trim().parse::<u64>().is_ok_and(|last| last < size)
        && (whole == "*" || is(whole, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_to_be_the_one_that_is_missing() {
        for (range, is_right) in [
            ("bytes 10-99/100", true),
            ("bytes 10-49/100", true),
            ("bytes 10-99/*", true),
            ("bytes 0-99/100", false),
            ("bytes 11-99/100", false),
            ("bytes 10-100/100", false),
            ("bytes 10-99/200", false),
            ("bytes */100", false),
            ("10-99/100", false),
            ("", false),
        ] {
            assert_eq!(begins(range, 10, 100), is_right, "{range}");
        }
    }
}
