//! `shim import`

use std::fs::File;
use std::io::{IsTerminal as _, Read};

use crate::cli::flags::{Arity, Form, Given, list, value};
use crate::cli::{Globals, Verb};
use crate::command::store;
use crate::error::{Context, Error, Result};
use crate::event;
use crate::image::config::Execution;
use crate::image::platform::Platform;
use crate::import::{Description, change, import};
use crate::output;
use crate::reference::Reference;
use crate::rootless;

pub(super) const VERB: Verb = Verb {
    names: &["image import", "import"],
    about: "Import the contents from a tarball to create a filesystem image",
    form: Form {
        usage: "[OPTIONS] file|- [REPOSITORY[:TAG]]",
        flags: &[&[
            list("change", "list", "Apply Dockerfile instruction to the created image").short('c'),
            value("message", "string", "Set commit message for imported image").short('m'),
            value("platform", "string", "What the files are for (e.g., \"linux/amd64\"; default: this host)"),
        ]],
        arity: Arity::Between(1, 2),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let mut execution = Execution::default();
    for instruction in given.texts("change")?.into_iter().flat_map(str::lines) {
        change::apply(&mut execution, instruction)?;
    }
    let source = &given.arguments[0];
    let name = match given.arguments.get(1) {
        Some(name) => {
            let name =
                name.to_str().ok_or_else(|| Error::usage(format!("argument {name:?} is not UTF-8")))?;
            let name = Reference::parse(name)?;
            if name.digest().is_some() {
                return Err(Error::usage("cannot import digest reference"));
            }
            Some(name)
        }
        None => None,
    };
    let message = match given.text("message")?.filter(|message| !message.is_empty()) {
        Some(message) => message.to_owned(),
        None => format!("Imported from {}", source.to_string_lossy()),
    };
    let platform = given.text("platform")?.map_or_else(|| Ok(Platform::host()), Platform::parse)?;
    let input: Box<dyn Read> = match source.to_str() {
        Some("-") if std::io::stdin().is_terminal() => {
            return Err(Error::usage("cowardly refusing to read an archive from a terminal"));
        }
        Some("-") => Box::new(std::io::stdin()),
        Some(url) if url.contains("://") => {
            return Err(Error::usage(format!(
                "{url:?}: URLs are not fetched: pipe what is there into `shim import -`"
            )));
        }
        _ => Box::new(File::open(source).during(|| format!("open {source:?}"))?),
    };
    let description = Description { name, message, platform, execution };
    let store = store(globals)?;
    let called = description.name.as_ref().map(Reference::familiar);
    let id = import(&store, input, description, rootless::who()?)?;
    event::image(&store, "import", Some(&id), &id.to_string(), &called.unwrap_or_else(|| id.to_string()));
    output::print(&format!("{id}\n"))?;
    Ok(0)
}
