//! `shim image inspect`

use crate::catalog::{inspect, summary};
use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::command::inspect::{FORMAT, tell};
use crate::command::{PLATFORM, platform, store};
use crate::error::Result;
use crate::image::platform::Platform;
use crate::output::value::Value;
use crate::store::Store;

pub(super) const VERB: Verb = Verb {
    names: &["image inspect"],
    about: "Display detailed information on one or more images",
    form: Form {
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        flags: &[&[FORMAT, PLATFORM]],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let platform = platform(given)?;
    let store = store(globals)?;
    tell(given, |word| look_at(&store, word, platform.as_ref()))
}

fn look_at(store: &Store, word: &str, platform: Option<&Platform>) -> Result<Value> {
    let (image, _) = summary::find(store, word)?;
    image.expect_platform(word, platform)?;
    inspect::inspect(store, &image)
}
