//! Names of containers: what people may call one, and what it is called if they do not. Pure.

use crate::error::{Error, Result};

/// Reads a name, which may have a slash before it as Docker's API has it.
///
/// # Errors
/// What is no name, in Docker's words.
pub fn parse(text: &str) -> Result<&str> {
    let name = text.strip_prefix('/').unwrap_or(text);
    let mut bytes = name.bytes();
    let is_name = bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        // Docker's grammar wants two characters at least.
        && name.len() > 1
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    // It is a file's name in the store.
    if is_name && name.len() <= LONGEST {
        return Ok(name);
    }
    if is_name {
        return Err(Error::usage(format!("Invalid container name: it is longer than {LONGEST} characters")));
    }
    Err(Error::usage(format!("Invalid container name ({text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")))
}

/// As long as a file's name may be (NAME_MAX of limits.h), with room for what stands before a new one.
const LONGEST: usize = 240;

/// A name by a random number: `tender_lovelace`. A number that is tried again with `attempt` above 0 gets a digit behind it, as
/// Docker has it.
#[must_use]
pub fn generate(random: u64, attempt: u32) -> String {
    let pick = |list: &'static [&'static str], number: u64| {
        list[usize::try_from(number % list.len() as u64).unwrap_or_default()]
    };
    let (adjective, scientist) = (pick(&ADJECTIVES, random), pick(&SCIENTISTS, random >> 32));
    match attempt {
        0 => format!("{adjective}_{scientist}"),
        _ => format!("{adjective}_{scientist}{}", (random >> 16) % 10),
    }
}

const ADJECTIVES: [&str; 72] = [
    "admiring",
    "agile",
    "amazing",
    "awake",
    "blissful",
    "bold",
    "brave",
    "bright",
    "busy",
    "calm",
    "careful",
    "charming",
    "cheerful",
    "clever",
    "cool",
    "curious",
    "daring",
    "dazzling",
    "eager",
    "earnest",
    "elegant",
    "eloquent",
    "fair",
    "fearless",
    "festive",
    "focused",
    "friendly",
    "gallant",
    "gentle",
    "gifted",
    "goofy",
    "graceful",
    "happy",
    "helpful",
    "hopeful",
    "humble",
    "inspiring",
    "jolly",
    "jovial",
    "keen",
    "kind",
    "lively",
    "loving",
    "lucid",
    "merry",
    "mindful",
    "modest",
    "musing",
    "mystifying",
    "nice",
    "nifty",
    "optimistic",
    "patient",
    "peaceful",
    "pensive",
    "practical",
    "quiet",
    "quirky",
    "relaxed",
    "romantic",
    "serene",
    "sharp",
    "silly",
    "sleepy",
    "steady",
    "sunny",
    "sweet",
    "tender",
    "trusting",
    "vibrant",
    "witty",
    "zealous",
];

const SCIENTISTS: [&str; 84] = [
    "agnesi",
    "archimedes",
    "aryabhata",
    "babbage",
    "banach",
    "bardeen",
    "bassi",
    "bell",
    "benz",
    "bhabha",
    "blackwell",
    "bohr",
    "boole",
    "borg",
    "bose",
    "brahmagupta",
    "carson",
    "chandrasekhar",
    "clarke",
    "cori",
    "curie",
    "curran",
    "darwin",
    "davinci",
    "dijkstra",
    "einstein",
    "elion",
    "engelbart",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "feynman",
    "franklin",
    "galileo",
    "galois",
    "gauss",
    "germain",
    "goldberg",
    "goodall",
    "hamilton",
    "hawking",
    "heisenberg",
    "hodgkin",
    "hopper",
    "hypatia",
    "jackson",
    "johnson",
    "kalam",
    "kepler",
    "khorana",
    "knuth",
    "kovalevsky",
    "lalande",
    "lamarr",
    "leakey",
    "leavitt",
    "liskov",
    "lovelace",
    "mahavira",
    "maxwell",
    "mayer",
    "mccarthy",
    "mcclintock",
    "meitner",
    "mendel",
    "mendeleev",
    "mirzakhani",
    "newton",
    "noether",
    "pascal",
    "pasteur",
    "perlman",
    "planck",
    "ptolemy",
    "raman",
    "ritchie",
    "sinoussi",
    "tesla",
    "torvalds",
    "turing",
    "wescoff",
    "wozniak",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_dockers_grammar() {
        for name in ["web", "/web", "a1", "Web_1.x-y", &"a".repeat(240)] {
            assert_eq!(parse(name).unwrap(), name.trim_start_matches('/'));
        }
        for name in ["", "/", "a", "-a", ".a", "a/b", "a b", "a\n", "ä1", "..", "//a", &"a".repeat(241)] {
            assert!(parse(name).is_err(), "{name}");
        }
        let words = parse("a b").unwrap_err().to_string();
        assert_eq!(words, "Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
    }

    #[test]
    fn a_generated_name_is_an_adjective_and_a_scientist() {
        for random in [0, 7, u64::MAX, 0x0123_4567_89ab_cdef] {
            let name = generate(random, 0);
            let (adjective, scientist) = name.split_once('_').unwrap();
            assert!(ADJECTIVES.contains(&adjective) && SCIENTISTS.contains(&scientist), "{name}");
            assert!(
                parse(&generate(random, 1))
                    .is_ok_and(|again| again.ends_with(|last: char| last.is_ascii_digit()))
            );
        }
        assert_ne!(generate(1, 0), generate(2, 0));
    }
}
