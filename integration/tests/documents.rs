//! The documents say what is so: every test that they name exists.
#![allow(clippy::unwrap_used)] // test code: a panic is its way of reporting

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Names of functions in a file, as `file::name`.
fn tests_of(path: &Path) -> Vec<String> {
    let file = path.file_stem().unwrap().to_string_lossy().into_owned();
    let text = fs::read_to_string(path).unwrap();
    let named = text.lines().filter_map(|line| {
        line.trim_start()
            .strip_prefix("fn ")?
            .split_once(['(', '<'])
            .map(|(name, _)| format!("{file}::{name}"))
    });
    named.collect()
}

/// `file::test` in backticks, wherever it stands in a document.
fn named_in(document: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(repository().join("docs").join(document)).unwrap();
    let is_name = |word: &&str| {
        word.split_once("::").is_some_and(|(file, test)| {
            [file, test].iter().all(|part| {
                !part.is_empty()
                    && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            })
        })
    };
    text.split('`').skip(1).step_by(2).filter(is_name).map(str::to_owned).collect()
}

#[test]
fn every_test_that_a_document_names_exists() {
    let folder = repository().join("integration/tests");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let known: BTreeSet<String> = files
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .flat_map(|path| tests_of(&path))
        .collect();
    let documents = [
        ("conformance.md", 20),
        ("attacks.md", 20),
        ("kernel-features.md", 8),
        ("engines.md", 1),
        ("shim.md", 1),
    ];
    for (document, least) in documents {
        let named = named_in(document);
        assert!(named.len() >= least, "{document} names {} tests", named.len());
        let missing: Vec<&String> = named.difference(&known).collect();
        assert!(missing.is_empty(), "{document} names tests that do not exist: {missing:#?}");
    }
}
