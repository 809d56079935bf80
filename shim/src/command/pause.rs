//! `shim pause` and `shim unpause`

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::command::{containers, for_each};
use crate::container::freeze;
use crate::error::Result;

const FORM: Form = Form {
    usage: "CONTAINER [CONTAINER...]",
    flags: &[],
    arity: Arity::AtLeast(1),
    flags_end_at_argument: false,
};

pub(super) const PAUSE: Verb = Verb {
    names: &["container pause", "pause"],
    about: "Pause all processes within one or more containers",
    form: FORM,
    run: |globals: &Globals, given: &Given| -> Result<u8> {
        let containers = containers(globals)?;
        for_each(given, |word| freeze::pause(&containers, &containers.find(word)?))
    },
};

pub(super) const UNPAUSE: Verb = Verb {
    names: &["container unpause", "unpause"],
    about: "Unpause all processes within one or more containers",
    form: FORM,
    run: |globals: &Globals, given: &Given| -> Result<u8> {
        let containers = containers(globals)?;
        for_each(given, |word| freeze::unpause(&containers, &containers.find(word)?))
    },
};
