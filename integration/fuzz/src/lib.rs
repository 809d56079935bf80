//! What comes from outside, made up: archives of tar ([`archive`]) and names of images ([`reference`]), as many as one
//! likes, the same ones for the same seed. Each is given to the shim's own reader, which must not fall over, and what
//! that accepts is compared with what other readers make of it.
//!
//! There is no feedback by coverage, which would need a compiler of its own: what is made up knows the format instead,
//! and is odd one field at a time. `make test` runs a few thousand of them; more, by `cargo run --release -p fuzz`.

pub mod archive;
pub mod random;
pub mod reference;

use std::collections::BTreeMap;

use archive::Outcome;
use random::Random;

/// What came of a run: how often what happened.
pub type Counts = BTreeMap<String, u64>;

/// Makes and reads so many archives; every `gnu_every`th that is accepted is shown to GNU tar too (0 for none).
///
/// # Errors
/// The first that nobody can explain, and its bytes.
pub fn archives(seed: u64, count: u64, gnu_every: u64) -> Result<Counts, (String, Vec<u8>)> {
    let mut counts = Counts::new();
    for number in 0..count {
        let made = archive::make(&mut Random::new(seed.wrapping_add(number)));
        let gnu = gnu_every != 0 && number % gnu_every == 0;
        let outcome = archive::check(&made, gnu).map_err(|error| {
            (format!("seed {}: {error} ({:?})", seed.wrapping_add(number), made.oddities), made.bytes.clone())
        })?;
        let name = match outcome {
            Outcome::Refused => "refused".to_owned(),
            Outcome::Alike => "read alike".to_owned(),
            Outcome::Explained(oddity) => format!("read otherwise by others: {oddity:?}"),
        };
        *counts.entry(name).or_default() += 1;
    }
    Ok(counts)
}

/// Makes and reads so many names.
///
/// # Errors
/// The first that is accepted and should not be, or does not read back.
pub fn references(seed: u64, count: u64) -> Result<Counts, (String, Vec<u8>)> {
    let mut counts = Counts::new();
    for number in 0..count {
        let name = reference::make(&mut Random::new(seed.wrapping_add(number)));
        let accepted = reference::check(&name).map_err(|error| {
            (format!("seed {}: {name:?}: {error}", seed.wrapping_add(number)), name.clone().into())
        })?;
        *counts.entry(if accepted { "accepted" } else { "refused" }.to_owned()).or_default() += 1;
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_read_alike_or_it_is_known_why_not() {
        let counts = archives(1, 20_000, 100).unwrap_or_else(|(error, _)| panic!("{error}"));
        assert!(counts["read alike"] > 2_000, "they are all too odd: {counts:#?}");
        assert!(counts["refused"] > 1_000, "nothing is wrong with any: {counts:#?}");
    }

    #[test]
    fn names_are_what_the_grammar_allows() {
        let counts = references(1, 50_000).unwrap_or_else(|(error, _)| panic!("{error}"));
        assert!(counts["accepted"] > 1_000 && counts["refused"] > 1_000, "{counts:#?}");
    }
}
