//! `fuzz archives|references COUNT [SEED]`: makes and reads so many, tells what came of them, and ends with 1 at the
//! first that nobody can explain, which it leaves in `fuzz-finding` below $TMPDIR.
#![allow(clippy::print_stdout, clippy::print_stderr)] // its output is what it is for

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    let (Some(count), seed) = (number(1), number(2).unwrap_or(1)) else {
        eprintln!("usage: fuzz archives|references COUNT [SEED]");
        return ExitCode::from(2);
    };
    let begun = Instant::now();
    let result = match words.first().map(String::as_str) {
        Some("archives") => fuzz::archives(seed, count, 1000),
        Some("references") => fuzz::references(seed, count),
        _ => {
            eprintln!("fuzz: neither archives nor references");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(counts) => {
            println!("{count} in {:.0} s", begun.elapsed().as_secs_f64());
            counts.iter().for_each(|(what, times)| println!("{times:>12} {what}"));
            ExitCode::SUCCESS
        }
        Err((error, bytes)) => {
            let path = std::env::temp_dir().join("fuzz-finding");
            let kept = std::fs::write(&path, bytes);
            println!("{error}\nits bytes: {path:?} {kept:?}");
            ExitCode::FAILURE
        }
    }
}
