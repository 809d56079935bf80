//! Detach keys: the keys that somebody at a terminal types to leave a container running. Pure.

use crate::error::{Error, Result};

/// Docker's: ctrl-p, ctrl-q.
const DEFAULT: [u8; 2] = [0x10, 0x11];
/// The most keys: nobody types more.
const KEYS_MAX: usize = 32;

/// Looks for the keys in what is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys {
    keys: Vec<u8>,
    /// How many of them were typed, and not passed on yet.
    typed: usize,
}

impl Default for DetachKeys {
    fn default() -> DetachKeys {
        DetachKeys { keys: DEFAULT.to_vec(), typed: 0 }
    }
}

impl DetachKeys {
    /// Reads `--detach-keys`: characters, and `ctrl-` with a letter or one of `@[\]^_`, with commas between them; nothing
    /// means docker's default.
    ///
    /// # Errors
    /// Docker's words.
    pub fn parse(text: &str) -> Result<DetachKeys> {
        if text.is_empty() {
            return Ok(DetachKeys::default());
        }
        let wrong = |reason: String| Error::usage(format!("invalid detach keys ({text}): {reason}"));
        let mut keys = Vec::new();
        for word in text.split(',') {
            let key =
                match (word.as_bytes(), word.to_ascii_lowercase().strip_prefix("ctrl-").map(str::as_bytes)) {
                    ([key], _) => *key,
                    (_, Some(&[key @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')])) => {
                        key & 0x1f
                    }
                    _ if word == "DEL" => 0x7f,
                    _ => return Err(wrong(format!("Unknown character: '{word}'"))),
                };
            keys.push(key);
        }
        if keys.len() > KEYS_MAX {
            return Err(wrong(format!("they are more than {KEYS_MAX}")));
        }
        Ok(DetachKeys { keys, typed: 0 })
    }

    /// Appends what was typed to `passed`, but for keys that may be the first of all; true when all were typed, behind
    /// which nothing is passed on.
    pub fn pass(&mut self, typed: &[u8], passed: &mut Vec<u8>) -> bool {
        for byte in typed {
            while self.typed > 0 && self.keys[self.typed] != *byte {
                // What was held back, and now is not the keys after all; a part of it may be their beginning still.
                let held = self.typed;
                let mut rest = held - 1;
                while self.keys[..rest] != self.keys[held - rest..held] {
                    rest -= 1;
                }
                passed.extend_from_slice(&self.keys[..held - rest]);
                self.typed = rest;
            }
            if self.keys[self.typed] == *byte {
                self.typed += 1;
            } else {
                passed.push(*byte);
            }
            if self.typed == self.keys.len() {
                self.typed = 0;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_docker_reads_them() {
        let keys =
            |text: &str| DetachKeys::parse(text).map(|keys| keys.keys).map_err(|error| error.to_string());
        assert_eq!(keys(""), Ok(vec![16, 17]));
        assert_eq!(keys("ctrl-p,ctrl-q"), Ok(vec![16, 17]));
        assert_eq!(
            keys("a,A,ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_"),
            Ok(vec![97, 65, 0, 27, 28, 29, 30, 31])
        );
        assert_eq!(keys("DEL"), Ok(vec![127]));
        let unknown = |word: &str| format!("Unknown character: '{word}'");
        for (text, word) in [("ctrl-1", "ctrl-1"), ("ab", "ab"), ("a,,b", ""), ("ctrl-", "ctrl-"), ("é", "é")]
        {
            assert_eq!(keys(text), Err(format!("invalid detach keys ({text}): {}", unknown(word))));
        }
        assert!(keys(&["a"; 33].join(",")).unwrap_err().ends_with("more than 32"));
    }

    /// What was passed on of these, and whether the keys were typed.
    fn typed(keys: &str, portions: &[&str]) -> (String, bool) {
        let mut keys = DetachKeys::parse(keys).unwrap();
        let mut passed = Vec::new();
        let found = portions.iter().any(|portion| keys.pass(portion.as_bytes(), &mut passed));
        (String::from_utf8(passed).unwrap(), found)
    }

    #[test]
    fn keys_are_found_however_they_are_typed_and_nothing_else_is_lost() {
        assert_eq!(typed("", &["ab\x10\x11cd"]), ("ab".into(), true));
        assert_eq!(typed("", &["\x10", "\x11"]), (String::new(), true));
        assert_eq!(typed("", &["a\x10b\x11"]), ("a\x10b\x11".into(), false));
        assert_eq!(typed("", &["\x10", "\x10", "\x11"]), ("\x10".into(), true));
        assert_eq!(typed("a,a,b", &["aaaab"]), ("aa".into(), true));
        assert_eq!(typed("a,b,a,c", &["ababac"]), ("ab".into(), true));
        assert_eq!(typed("a,b,a,c", &["ab", "abab", "x"]), ("abababx".into(), false));
        assert_eq!(typed("q", &["xq"]), ("x".into(), true));
    }
}
