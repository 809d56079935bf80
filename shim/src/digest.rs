//! Digests of content: what names a blob, and the check that a blob is what its name says.
//!
//! Source: OCI image-spec, "Descriptors", section "Digests". Only sha256 and sha512 are registered there; nothing
//! else is taken, so that a digest is always safe as a file's name.

use std::fmt;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256, Sha512};

use crate::error::{Error, Result};

/// A registered algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// What everybody uses.
    Sha256,
    /// Permitted by the specification.
    Sha512,
}

impl Algorithm {
    /// As in a digest: `sha256`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// Length of the encoded part, in hexadecimal digits.
    const fn digits(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        }
    }
}

/// A valid digest, `sha256:` and 64 lower case hexadecimal digits (or sha512 and 128).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// Reads `algorithm:hex`.
    ///
    /// # Errors
    /// An algorithm that is not registered, or anything but its number of lower case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Digest> {
        let (name, hex) = text
            .split_once(':')
            .ok_or_else(|| Error::invalid(format!("invalid digest {text:?}: no algorithm before a colon")))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => {
                return Err(Error::invalid(format!("invalid digest {text:?}: unsupported digest algorithm")));
            }
        };
        if hex.len() != algorithm.digits() || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            let digits = algorithm.digits();
            return Err(Error::invalid(format!(
                "invalid digest {text:?}: {name} has {digits} hexadecimal digits"
            )));
        }
        Ok(Digest { algorithm, hex: hex.to_owned() })
    }

    /// The sha256 of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digits, safe as a file's name.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve digits, as Docker shows ids.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Digest, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Digest::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A digest in the making.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// Of no bytes yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Hasher {
        Hasher(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// Takes these bytes too.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(hash) => hash.update(bytes),
            State::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of all that was taken.
    #[must_use]
    pub fn finish(self) -> Digest {
        let (algorithm, hex) = match self.0 {
            State::Sha256(hash) => (Algorithm::Sha256, hexadecimal(&hash.finalize())),
            State::Sha512(hash) => (Algorithm::Sha512, hexadecimal(&hash.finalize())),
        };
        Digest { algorithm, hex }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]])
        .map(char::from)
        .collect()
}

/// Passes a stream on and takes its digest and length on the way.
pub struct Hashing<R> {
    inner: R,
    hasher: Hasher,
    length: u64,
}

impl<R: Read> Hashing<R> {
    /// Nothing is read yet.
    pub fn new(inner: R, algorithm: Algorithm) -> Hashing<R> {
        Hashing { inner, hasher: Hasher::new(algorithm), length: 0 }
    }

    /// Digest and length (bytes) of what was read.
    #[must_use]
    pub fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.length)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.length += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // FIPS 180-4's examples.
    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_digest_of_bytes_is_known() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(Digest::of(b"abc").to_string(), ABC);
        assert_eq!(Digest::of(b"abc").short(), "ba7816bf8f01");
    }

    #[test]
    fn a_stream_is_passed_on_and_measured() {
        let mut stream = Hashing::new(&b"abc"[..], Algorithm::Sha256);
        let mut passed = Vec::new();
        stream.read_to_end(&mut passed).unwrap();
        assert_eq!(passed, b"abc");
        let (digest, length) = stream.finish();
        assert_eq!((digest.to_string().as_str(), length), (ABC, 3));
    }

    #[test]
    fn only_registered_algorithms_with_their_length_in_lower_case_are_digests() {
        assert_eq!(Digest::parse(ABC).unwrap().to_string(), ABC);
        let sha512 = format!("sha512:{}", "0".repeat(128));
        assert_eq!(Digest::parse(&sha512).unwrap().to_string(), sha512);
        for text in [
            "".to_owned(),
            "sha256".to_owned(),
            "sha256:".to_owned(),
            format!("sha256:{}", "0".repeat(63)),
            format!("sha256:{}", "0".repeat(65)),
            format!("sha256:{}", "A".repeat(64)),
            format!("sha256:{}", "/".repeat(64)),
            format!("sha256:../../{}", "0".repeat(58)),
            format!("sha512:{}", "0".repeat(64)),
            format!("md5:{}", "0".repeat(32)),
            format!("SHA256:{}", "0".repeat(64)),
            format!("sha256+b64:{}", "0".repeat(64)),
        ] {
            assert!(Digest::parse(&text).is_err(), "{text}");
        }
    }
}
