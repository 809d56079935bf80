//! A further process in a container that is there: `exec`.
//!
//! `process` decides what it is, `parent` finds the container, clones and listens, `child` is the clone: it joins
//! the container's namespaces and becomes the program by the last steps of an init (`create::identity`). The
//! container is hostile and running: it is found by a pidfd and never by a number alone, and nothing of it is
//! opened before the clone is inside, but its namespaces. docs/exec-flow.md numbers the steps as the code does.

mod child;
mod parent;
mod place;
pub mod process;

pub use parent::{Born, Container, Request};

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_has_the_steps_of_the_code() {
        let steps = crate::create::steps;
        let mut code = steps(include_str!("parent.rs"), "// step ", ": ");
        code.extend(steps(include_str!("child.rs"), "// step ", ": "));
        code.extend(steps(include_str!("../command/exec.rs"), "// step ", ": "));
        code.sort_unstable();
        let document = steps(include_str!("../../../docs/exec-flow.md"), "", ". ");
        assert_eq!(code, document);
        assert!(code.iter().map(|(number, _)| *number).eq(1..=21));
    }
}
