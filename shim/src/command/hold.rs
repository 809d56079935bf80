//! The hidden `shim hold`, which keeps the namespaces of an ordinary user's containers.

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::error::Result;
use crate::rootless::holder;

pub(super) const VERB: Verb = Verb {
    names: &[holder::VERB],
    about: "",
    form: Form { usage: "", flags: &[], arity: Arity::Exactly(0), flags_end_at_argument: false },
    run,
};

fn run(_: &Globals, _: &Given) -> Result<u8> {
    holder::wait()
}
