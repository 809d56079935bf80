//! `{{.Label "name"}}` in formats of lists: labels that a format asks for are members of the rows.

use crate::error::{Error, Result};

/// Members of a row for labels that the format asks for: `{{.Label "name"}}`.
pub const MEMBERS: [&str; 16] = [
    "Label0", "Label1", "Label2", "Label3", "Label4", "Label5", "Label6", "Label7", "Label8", "Label9",
    "Label10", "Label11", "Label12", "Label13", "Label14", "Label15",
];

/// `.Label "name"` is a call of a method, which the template language here does not have: the format with members in their
/// place, and the labels that those are of.
///
/// # Errors
/// What is no name of a label, or too many of them.
pub fn rewrite(format: &str) -> Result<(String, Vec<String>)> {
    let (mut rewritten, mut labels, mut rest) = (String::new(), Vec::new(), format);
    while let Some(at) = rest.find(".Label ") {
        let behind = rest[at + ".Label ".len()..].trim_start();
        let quote = behind.chars().next().filter(|quote| matches!(quote, '"' | '`'));
        let Some((name, after)) = quote.and_then(|quote| behind[1..].split_once(quote)) else {
            return Err(Error::usage("template: .Label wants the name of a label in quotes"));
        };
        let position = labels.iter().position(|label| label == name).unwrap_or_else(|| {
            labels.push(name.to_owned());
            labels.len() - 1
        });
        let member = MEMBERS
            .get(position)
            .ok_or_else(|| Error::usage(format!("template: more than {} labels", MEMBERS.len())))?;
        rewritten.push_str(&rest[..=at]);
        rewritten.push_str(member);
        rest = after;
    }
    Ok((rewritten + rest, labels))
}

/// The column of a label, as docker names it.
#[must_use]
pub fn title(label: &str) -> String {
    label.rsplit('.').next().unwrap_or_default().replace(['-', '_'], " ")
}
