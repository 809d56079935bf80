//! The hidden `shim way-out`, which becomes the program that leads out of an ordinary user's networks.

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::error::Result;
use crate::rootless::way_out;

pub(super) const VERB: Verb = Verb {
    names: &[way_out::VERB],
    about: "",
    form: Form { usage: "", flags: &[], arity: Arity::Exactly(0), flags_end_at_argument: false },
    run,
};

fn run(_: &Globals, _: &Given) -> Result<u8> {
    way_out::run().map(|()| 0)
}
