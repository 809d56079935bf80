//! Names of images: what is accepted is what the grammar allows, and reads back as the same.

use caisson_shim::reference::Reference;

use crate::random::Random;

/// Pieces that names are made of; some are right only in some places.
const PIECES: [&str; 40] = [
    "docker.io",
    "index.docker.io",
    "library",
    "localhost",
    "a",
    "busybox",
    "my-app",
    "a_b",
    "a__b",
    "a---b",
    "A",
    "Repo",
    "example.com",
    "[::1]",
    "[fe80::1]",
    "127.0.0.1",
    ":",
    ":5000",
    ":latest",
    ":0",
    ":65536",
    "/",
    "//",
    "@",
    "sha256:",
    "@sha256:",
    "@sha512:",
    "..",
    ".",
    "-",
    "_",
    "__",
    "___",
    "%2e",
    "\n",
    " ",
    "\u{e9}",
    "\u{0}",
    "$",
    "x",
];

/// A name that may be one.
#[must_use]
pub fn make(random: &mut Random) -> String {
    let mut name = String::new();
    for _ in 0..=random.below(7) {
        match random.below(12) {
            0 => name.push_str(&"0123456789abcdef".repeat(4)[..random.below(65)]),
            1 => name.push_str(&"0123456789abcdef".repeat(8)),
            2 => name.push_str(&"n".repeat(random.below(300))),
            3 => name.push(char::from(random.byte())),
            _ => name.push_str(PIECES[random.below(PIECES.len())]),
        }
    }
    if random.one_in(5) {
        name = format!("a/b@sha256:{}{name}", "0123456789abcdef".repeat(4));
    }
    name
}

/// Whether the name was accepted.
///
/// # Errors
/// What is wrong with what was accepted.
pub fn check(name: &str) -> Result<bool, String> {
    let Ok(reference) = Reference::parse(name) else { return Ok(false) };
    for text in [reference.to_string(), reference.familiar()] {
        let again =
            Reference::parse(&text).map_err(|error| format!("{text:?} does not read back: {error}"))?;
        let same = again.name() == reference.name()
            && again.digest() == reference.digest()
            && again.tag_or_default() == reference.tag_or_default();
        if !same {
            return Err(format!("{text:?} reads back as {again}"));
        }
    }
    let component = |text: &str| {
        let (first, last) = (text.as_bytes().first(), text.as_bytes().last());
        let ends = [first, last].iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric));
        ends && text.bytes().all(|byte| {
            byte.is_ascii_digit() || byte.is_ascii_lowercase() || matches!(byte, b'.' | b'_' | b'-')
        }) && !text.contains("..")
            && !text.contains("___")
    };
    if !reference.repository().split('/').all(component) {
        return Err(format!("the repository is {:?}", reference.repository()));
    }
    let host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    if reference.registry().is_empty() || !reference.registry().bytes().all(host) {
        return Err(format!("the registry is {:?}", reference.registry()));
    }
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_tag =
        |tag: &str| (1..=128).contains(&tag.len()) && tag.bytes().all(word) && !tag.starts_with(['.', '-']);
    if !reference.tag().is_none_or(is_tag) {
        return Err(format!("the tag is {:?}", reference.tag()));
    }
    if reference.name().len() > 255 {
        return Err(format!("the name has {} bytes", reference.name().len()));
    }
    Ok(true)
}
