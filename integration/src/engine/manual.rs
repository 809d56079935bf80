//! What docs/engines.md tells its reader to paste, and what it says the proof looks like.
//!
//! A block of the document is known by the words behind its language: the path of a file to write, or a name
//! given to a dialogue of commands (`$ …`) and what they print.

const DOCUMENT: &str = include_str!("../../../docs/engines.md");

/// The content of the block with this label, such as `/etc/docker/daemon.json`. Panics unless there is exactly
/// one.
#[must_use]
#[track_caller]
pub fn block(label: &str) -> String {
    let mut found = blocks(DOCUMENT).into_iter().filter(|(have, _)| have == label);
    let (_, content) = found.next().unwrap_or_else(|| panic!("docs/engines.md has no block {label:?}"));
    assert!(found.next().is_none(), "docs/engines.md has two blocks {label:?}");
    content
}

/// The commands of a dialogue, each with what it prints.
#[must_use]
#[track_caller]
pub fn dialogue(label: &str) -> Vec<(String, String)> {
    let content = block(label);
    let mut turns: Vec<(String, String)> = Vec::new();
    for line in content.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            turns.push((command.to_owned(), String::new()));
        } else {
            let (_, printed) = turns.last_mut().expect("a dialogue begins with a command");
            printed.push_str(line);
            printed.push('\n');
        }
    }
    assert!(!turns.is_empty(), "no command in {label:?}");
    turns
}

/// All fenced blocks that have a label, in order.
fn blocks(document: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in document.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(fence)) => {
                let label = fence.split_once(' ').map_or("", |(_, label)| label.trim());
                open = Some((label.to_owned(), String::new()));
            }
            (Some(_), Some(_)) => found.extend(open.take().filter(|(label, _)| !label.is_empty())),
            (Some((_, content)), None) => {
                content.push_str(line);
                content.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_labels_and_contents() {
        let document = "text\n```json /etc/file\n{\n}\n```\n```sh\nno label\n```\n``` proof\n$ a\nb\n```\n";
        let expected = [("/etc/file", "{\n}\n"), ("proof", "$ a\nb\n")];
        assert_eq!(blocks(document), expected.map(|(label, text)| (label.to_owned(), text.to_owned())));
    }
}
