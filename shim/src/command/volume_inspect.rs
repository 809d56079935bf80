//! `shim volume inspect`

use std::collections::BTreeMap;

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::command::containers;
use crate::command::inspect::{FORMAT, tell};
use crate::command::volume_ls::DRIVERS_SCOPE;
use crate::container::store::Containers;
use crate::container::volumes;
use crate::error::Result;
use crate::output::document;
use crate::output::value::Value;
use crate::volume::store::Volumes;
use crate::volume::{self, Volume};

pub(super) const VERB: Verb = Verb {
    names: &["volume inspect"],
    about: "Display detailed information on one or more volumes",
    form: Form {
        usage: "[OPTIONS] VOLUME [VOLUME...]",
        flags: &[&[FORMAT]],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let containers = containers(globals)?;
    tell(given, |word| of_volume(&containers, word))
}

/// What is known of a volume, with Docker's keys.
///
/// # Errors
/// There is none of this name; a damaged record.
pub(super) fn of_volume(containers: &Containers, name: &str) -> Result<Value> {
    let volumes = volumes::open(containers)?;
    let volume = volumes.get(name)?.ok_or_else(|| volume::missing(name))?;
    Ok(Value::Object(
        "volume",
        vec![
            ("CreatedAt", volume.created_at.as_str().into()),
            ("Driver", volume.driver.as_str().into()),
            ("Labels", dictionary(&volume.labels)),
            ("Mountpoint", mountpoint(&volumes, &volume).into()),
            ("Name", volume.name.as_str().into()),
            ("Options", dictionary(&volume.options)),
            ("Scope", DRIVERS_SCOPE.into()),
        ],
    ))
}

/// One that nobody made is null in JSON, and empty for templates.
fn dictionary(members: &Option<BTreeMap<String, String>>) -> Value {
    members.as_ref().map_or(Value::NoDictionary, document::value)
}

pub(super) fn mountpoint(volumes: &Volumes, volume: &Volume) -> String {
    volumes.mountpoint(&volume.name).to_string_lossy().into_owned()
}
