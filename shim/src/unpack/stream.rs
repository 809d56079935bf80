//! Packed streams, unpacked while they arrive: gzip (all members), zstd (all frames), or neither.
//!
//! What a stream is, its first bytes say: media types of registries have been wrong about it, and archives of
//! `docker save` have none.

use std::io::{self, BufReader, Chain, Cursor, Read};

use crate::error::{Context, Error, Result};
use crate::image::manifest::Packing;

/// zstd frames may ask for this much memory, as a power of two in bytes (128 MiB): what zstd(1) allows too.
const WINDOW_LOG_MAX: u32 = 27;
/// Read at once, in bytes.
const BUFFER: usize = 1 << 16;

type Input<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

/// What a stream holds, unpacked.
pub enum Unpacking<R: Read> {
    /// It was not packed.
    Plain(Input<R>),
    /// RFC 1952.
    Gzip(Box<flate2::bufread::MultiGzDecoder<Input<R>>>),
    /// RFC 8878.
    Zstd(Box<zstd::stream::read::Decoder<'static, Input<R>>>),
}

impl<R: Read> Unpacking<R> {
    /// Looks at the first bytes.
    ///
    /// # Errors
    /// Those of the stream, and ways of packing that are not supported, by their names.
    pub fn new(mut input: R) -> Result<Unpacking<R>> {
        let mut first = Vec::with_capacity(10);
        input.by_ref().take(10).read_to_end(&mut first).during(|| "read".into())?;
        if let Some(name) = unsupported(&first) {
            return Err(Error::invalid(format!("it is packed by {name}, which is not supported")));
        }
        let packing = packing_of(&first);
        let input = BufReader::with_capacity(BUFFER, Cursor::new(first).chain(input));
        Ok(match packing {
            Packing::Plain => Unpacking::Plain(input),
            Packing::Gzip => Unpacking::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(input))),
            Packing::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input).during(|| "zstd".into())?;
                decoder.window_log_max(WINDOW_LOG_MAX).during(|| "zstd".into())?;
                Unpacking::Zstd(Box::new(decoder))
            }
        })
    }

    /// How it was packed.
    #[must_use]
    pub fn packing(&self) -> Packing {
        match self {
            Unpacking::Plain(_) => Packing::Plain,
            Unpacking::Gzip(_) => Packing::Gzip,
            Unpacking::Zstd(_) => Packing::Zstd,
        }
    }
}

impl<R: Read> Read for Unpacking<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Unpacking::Plain(input) => input.read(buffer),
            Unpacking::Gzip(input) => input.read(buffer),
            Unpacking::Zstd(input) => input.read(buffer),
        }
    }
}

/// By what else a stream that begins so is packed.
fn unsupported(first: &[u8]) -> Option<&'static str> {
    match first {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
        // The digit is the size of its blocks, and each begins with pi.
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => Some("bzip2"),
        _ => None,
    }
}

/// What a stream that begins so is.
fn packing_of(first: &[u8]) -> Packing {
    match first {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        // A frame, or one to skip, with which some writers begin.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
        _ => Packing::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// Gives one byte at a time, as a slow network does.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(1);
            self.0.read(&mut buffer[..count])
        }
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(bytes: &[u8]) -> (Packing, std::result::Result<Vec<u8>, String>) {
        let mut stream = Unpacking::new(Slow(bytes)).unwrap();
        let mut text = Vec::new();
        let packing = stream.packing();
        (packing, stream.read_to_end(&mut text).map(|_| text).map_err(|error| error.to_string()))
    }

    #[test]
    fn what_is_packed_is_told_by_its_first_bytes_and_unpacked_to_its_end() {
        let zstd = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
        let skipped = [&[0x53, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..], &zstd(b"text")].concat();
        let table = [
            (b"text".to_vec(), Packing::Plain, &b"text"[..]),
            (b"te".to_vec(), Packing::Plain, b"te"),
            (vec![], Packing::Plain, b""),
            (gzip(b"text"), Packing::Gzip, b"text"),
            ([gzip(b"te"), gzip(b"xt")].concat(), Packing::Gzip, b"text"),
            (zstd(b"text"), Packing::Zstd, b"text"),
            ([zstd(b"te"), zstd(b"xt")].concat(), Packing::Zstd, b"text"),
            (skipped, Packing::Zstd, b"text"),
        ];
        for (bytes, packing, text) in table {
            assert_eq!(unpack(&bytes), (packing, Ok(text.to_vec())));
        }
    }

    #[test]
    fn what_is_packed_by_others_is_refused_by_its_name() {
        for (bytes, name) in [(&b"\xfd7zXZ\0\0\0"[..], "xz"), (b"BZh91AY&SY\0", "bzip2")] {
            let error = Unpacking::new(bytes).err().unwrap().to_string();
            assert_eq!(error, format!("it is packed by {name}, which is not supported"));
        }
        // A plain archive whose first name begins like that.
        assert_eq!(unpack(b"BZh9-notes").0, Packing::Plain);
    }

    #[test]
    fn what_is_cut_or_damaged_is_an_error() {
        let text = vec![b'x'; 100_000];
        for packed in [gzip(&text), zstd::encode_all(&text[..], 1).unwrap()] {
            assert!(unpack(&packed[..packed.len() - 1]).1.is_err(), "cut");
            let mut damaged = packed.clone();
            let at = packed.len() - 6;
            damaged[at] ^= 0x55;
            assert!(unpack(&damaged).1.is_err(), "damaged");
        }
    }

    #[test]
    fn a_frame_that_wants_gigabytes_is_refused() {
        // Magic, a frame header without content size or single segment, and a window of 2^31 bytes.
        let bytes = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
        let error = unpack(&bytes).1.unwrap_err();
        assert!(error.contains("memory"), "{error}");
    }
}
