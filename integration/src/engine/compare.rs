//! What docker(1) says beside what the shim says: documents by their values, outputs without what is each one's own.

use std::collections::BTreeMap;

use crate::{Output, Value};

/// The values of a document by their pointers. What is null, empty or zero says nothing: versions of Docker differ in
/// which of these they write.
#[must_use]
pub fn values(document: &Value) -> BTreeMap<String, String> {
    fn walk(value: &Value, at: &str, found: &mut BTreeMap<String, String>) {
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| walk(value, &format!("{at}/{name}"), found))
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(index, item)| walk(item, &format!("{at}/{index}"), found))
            }
            Value::Null | Value::Bool(false) => {}
            Value::String(text) if text.is_empty() => {}
            Value::Number(number) if number.as_i64() == Some(0) => {}
            value => drop(found.insert(at.to_owned(), value.to_string())),
        }
    }
    let mut found = BTreeMap::new();
    walk(document, "", &mut found);
    found
}

/// Docker tells mounts in the order of a hash table, each time another.
#[must_use]
pub fn with_sorted_mounts(mut document: Value) -> Value {
    if let Some(mounts) = document["Mounts"].as_array_mut() {
        mounts.sort_by_key(|mount| mount["Destination"].to_string());
    }
    document
}

/// Ids are each one's own.
#[must_use]
pub fn without_ids(text: &str) -> String {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let mut plain = String::new();
    for word in text.split_inclusive(|char: char| !char.is_ascii_alphanumeric()) {
        let digits = word.bytes().take_while(is_digit).count();
        match digits {
            12 | 64 => plain.push_str(&format!("ID{}", &word[digits..])),
            _ => plain.push_str(word),
        }
    }
    plain
}

/// What was said, without who has said it and how to get help.
#[must_use]
pub fn said(output: &Output) -> String {
    let words = output.stderr.replace("docker: ", "").replace("Error response from daemon: ", "");
    let words = words.replace("Error: ", "").to_lowercase();
    // Docker's client logs that it gave up waiting, where that comes before its daemon's answer.
    let is_log = |line: &str| line.starts_with("time=") && line.contains("error waiting for container");
    let is_told = |line: &&str| {
        !line.is_empty()
            && !line.starts_with("see 'docker")
            && !line.starts_with("failed to rename")
            && !is_log(line)
    };
    let lines = words.lines().filter(is_told).map(|line| line.trim_end_matches('.'));
    without_ids(&lines.collect::<Vec<_>>().join("\n"))
}

/// What one of two documents has and the other has not, by who has it; nothing of what begins with one of `own`.
#[must_use]
pub fn differences(
    docker: &BTreeMap<String, String>,
    shim: &BTreeMap<String, String>,
    own: &[&str],
) -> Vec<String> {
    let mut differences = Vec::new();
    for (who, one, other) in [("docker", docker, shim), ("shim", shim, docker)] {
        for (at, value) in one {
            if other.get(at) != Some(value) && !own.iter().any(|own| at.starts_with(own)) {
                differences.push(format!("{who} {at} {value}"));
            }
        }
    }
    differences
}
