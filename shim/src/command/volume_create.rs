//! `shim volume create`

use std::collections::BTreeMap;

use crate::cli::flags::{Arity, Form, Given, list, value};
use crate::cli::{Globals, Verb};
use crate::command::containers;
use crate::container::volumes;
use crate::error::{Error, Kind, Result};
use crate::output;
use crate::volume::DRIVER;
use crate::volume::store::Wanted;

pub(super) const VERB: Verb = Verb {
    names: &["volume create"],
    about: "Create a volume",
    form: Form {
        usage: "[OPTIONS] [VOLUME]",
        flags: &[&[
            value("driver", "string", "Specify volume driver name (default \"local\")").short('d'),
            list("label", "list", "Set metadata for a volume"),
            value("name", "string", "Specify volume name").hidden(),
            list("opt", "map", "Set driver specific options").short('o'),
        ]],
        arity: Arity::AtMost(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let name = match (given.text("name")?.filter(|name| !name.is_empty()), words.first()) {
        (Some(_), Some(_)) => {
            return Err(Error::usage(
                "conflicting options: cannot specify a volume name through both --name and as a positional arg",
            ));
        }
        (name, word) => name.or(word.copied()).unwrap_or_default(),
    };
    let driver = given.text("driver")?.filter(|driver| !driver.is_empty()).unwrap_or(DRIVER);
    if driver != DRIVER {
        let reason = "error looking up volume plugin";
        return Err(Error::new(
            Kind::NotFound,
            format!("create {name}: {reason} {driver}: only {DRIVER} is there"),
        ));
    }
    let pairs = |name: &str| -> Result<BTreeMap<String, String>> {
        let pair = |text: &str| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            (key.to_owned(), value.to_owned())
        };
        Ok(given.texts(name)?.into_iter().map(pair).collect())
    };
    let wanted = Wanted { name: name.to_owned(), labels: pairs("label")?, options: pairs("opt")? };
    let (volume, _) = volumes::open(&containers(globals)?)?.create(&wanted)?;
    output::print(&format!("{}\n", volume.name))?;
    Ok(0)
}
