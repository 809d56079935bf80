//! `shim tag`

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::command::store;
use crate::error::{Context, Error, Result};
use crate::event;
use crate::reference::Reference;
use crate::store::image::Found;

pub(super) const VERB: Verb = Verb {
    names: &["image tag", "tag"],
    about: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    form: Form {
        usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        flags: &[],
        arity: Arity::Exactly(2),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let (source, target) = (words[0], words[1]);
    let target = Reference::parse(target)
        .during(|| format!("Error parsing reference: {target:?} is not a valid repository/tag"))?;
    if target.digest().is_some() {
        return Err(Error::usage("refusing to create a tag with a digest reference"));
    }
    let store = store(globals)?;
    let id = store.images.change(|images| {
        let (Found::Name(id, _) | Found::Id(id)) = images.find(source)?;
        images.name(&id, &target)?;
        Ok(id)
    })?;
    event::image(&store, "tag", Some(&id), &id.to_string(), &target.familiar());
    Ok(0)
}
