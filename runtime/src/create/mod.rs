//! The birth of a container: ordered steps on both sides of one clone3(2).
//!
//! `parent` opens everything that can fail cheaply, clones, and does the host's part; `init` is the clone:
//! it sets itself up in the new namespaces and becomes the program. They talk over `channel` with one
//! message enum per direction. docs/create-flow.md numbers the steps as the code does.

pub mod channel;
pub mod handover;
pub mod identity;
pub mod init;
pub mod intermediate;
pub mod mapping;
mod mountpoints;
pub mod parent;
pub mod program;
pub mod restore;
pub mod scope;
pub mod sources;

/// The lines `N. text` of the document and the comments `step N: text` of the code.
#[cfg(test)]
pub(crate) fn steps<'t>(text: &'t str, mark: &str, end: &str) -> Vec<(u32, &'t str)> {
    text.lines()
        .filter_map(|line| {
            let (number, step) = line.trim_start().strip_prefix(mark)?.split_once(end)?;
            Some((number.parse().ok()?, step.trim_end_matches('.')))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::steps;

    #[test]
    fn the_document_has_the_steps_of_the_code() {
        let mut code = steps(include_str!("parent.rs"), "// step ", ": ");
        code.extend(steps(include_str!("init.rs"), "// step ", ": "));
        code.sort_unstable();
        let document = steps(include_str!("../../../docs/create-flow.md"), "", ". ");
        assert_eq!(code, document);
        assert!(code.iter().map(|(number, _)| *number).eq(1..=34));
    }
}
