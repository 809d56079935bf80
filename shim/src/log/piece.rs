//! Output in pieces, as docker cuts it: a line with its end, or 16 KiB of a longer one. Pure.

/// Longest piece, in bytes.
pub(super) const PIECE_MAX: usize = 16 << 10;

/// The start of a stream's unfinished line.
#[derive(Debug, Default)]
pub(super) struct Pending(Vec<u8>);

impl Pending {
    /// Takes what came behind it, and gives on what is whole by now.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut put: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            if self.0.is_empty() {
                match next(bytes) {
                    Some(length) => {
                        put(&bytes[..length]);
                        bytes = &bytes[length..];
                    }
                    None => {
                        self.0.extend_from_slice(bytes);
                        return;
                    }
                }
                continue;
            }
            // No more than belongs to this piece: the rest is cut where it stands.
            let room = &bytes[..bytes.len().min(PIECE_MAX - self.0.len())];
            let taken = room.iter().position(|byte| *byte == b'\n').map_or(room.len(), |end| end + 1);
            self.0.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            // Looked at only when it can be whole: who prints byte by byte is not to cost more with each.
            if (self.0.len() == PIECE_MAX || self.0.ends_with(b"\n"))
                && let Some(length) = next(&self.0)
            {
                put(&self.0[..length]);
                self.0.drain(..length);
            }
        }
    }

    /// Gives on what is left: nothing comes behind it.
    pub(super) fn end(&mut self, mut put: impl FnMut(&[u8])) {
        if !self.0.is_empty() {
            put(&self.0);
        }
        self.0 = Vec::new();
    }
}

/// How long the first piece is, if it is whole.
fn next(bytes: &[u8]) -> Option<usize> {
    let head = &bytes[..bytes.len().min(PIECE_MAX)];
    if let Some(end) = head.iter().position(|byte| *byte == b'\n') {
        return Some(end + 1);
    }
    (head.len() == PIECE_MAX).then(|| PIECE_MAX - unfinished_character(head))
}

/// How many bytes at the end are the start of a character of UTF-8 that goes on behind them.
fn unfinished_character(bytes: &[u8]) -> usize {
    for back in 1..=3.min(bytes.len()) {
        let length = match bytes[bytes.len() - back] {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 0,
        };
        return if length > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of output that comes in portions of this size.
    fn pieces(output: &[u8], portion: usize) -> Vec<Vec<u8>> {
        let (mut pending, mut found) = (Pending::default(), Vec::new());
        for bytes in output.chunks(portion) {
            pending.feed(bytes, |piece| found.push(piece.to_vec()));
        }
        pending.end(|piece| found.push(piece.to_vec()));
        found
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        let output = b"one\n\ntwo\r\nthree";
        for portion in 1..=output.len() {
            assert_eq!(pieces(output, portion), [&b"one\n"[..], b"\n", b"two\r\n", b"three"], "{portion}");
        }
        assert!(pieces(b"", 1).is_empty());
    }

    #[test]
    fn long_lines_are_cut_at_16_kib_and_never_inside_of_a_character() {
        let line = [vec![b'x'; 2 * PIECE_MAX], b"end\n".to_vec()].concat();
        for portion in [1, 1000, PIECE_MAX, line.len()] {
            let lengths: Vec<usize> = pieces(&line, portion).iter().map(Vec::len).collect();
            assert_eq!(lengths, [PIECE_MAX, PIECE_MAX, 4], "{portion}");
        }
        for character in ["é", "€", "🦀"] {
            for shift in 0..character.len() {
                let text =
                    format!("{}{}", "x".repeat(shift), character.repeat(2 * PIECE_MAX / character.len()));
                for portion in [777, 1 << 20] {
                    let found = pieces(text.as_bytes(), portion);
                    assert!(found.iter().all(|piece| std::str::from_utf8(piece).is_ok()), "{character}");
                    assert!(found.iter().all(|piece| piece.len() <= PIECE_MAX));
                    assert_eq!(found.concat(), text.as_bytes());
                }
            }
        }
        // What is no text is cut all the same.
        let noise = vec![0xbf; PIECE_MAX + 1];
        assert_eq!(pieces(&noise, 4096).concat(), noise);
    }
}
