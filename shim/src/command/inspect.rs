//! `shim inspect` and `shim container inspect`; what they have in common with `shim image inspect`.

use crate::catalog::{inspect as image, summary};
use crate::cli::flags::{Arity, Flag, Form, Given, switch, value};
use crate::cli::{Globals, Verb};
use crate::command::{containers, network_inspect, report, store, volume_inspect};
use crate::container;
use crate::container::attend::attend;
use crate::container::store::Containers;
use crate::error::{Error, Kind, Result};
use crate::output;
use crate::output::template::Template;
use crate::output::value::Value;
use crate::store::Store;

/// `--format` of what prints one thing.
pub(super) const FORMAT: Flag =
    value("format", "string", "Format output using the given Go template, or as 'json'").short('f');

pub(super) const VERB: Verb = Verb {
    names: &["inspect"],
    about: "Return low-level information on containers, images, networks and volumes",
    form: Form {
        usage: "[OPTIONS] NAME|ID [NAME|ID...]",
        flags: &[&[
            FORMAT,
            switch("size", "Display total file sizes if the type is container").short('s'),
            value(
                "type",
                "string",
                "Only inspect objects of the given type (container, image, network, volume)",
            ),
        ]],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run,
};

pub(super) const CONTAINER: Verb = Verb {
    names: &["container inspect"],
    about: "Display detailed information on one or more containers",
    form: Form {
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        flags: &[&[FORMAT, switch("size", "Display total file sizes").short('s')]],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run: |globals, given| {
        let (store, containers) = (store(globals)?, containers(globals)?);
        tell(given, |word| of_container(&store, &containers, word, given.is_on("size")))
    },
};

/// Exit status of what is no template, as Docker's.
const NO_TEMPLATE: u8 = 64;

/// Kinds of things in the order in which a name is looked for.
const KINDS: [&str; 4] = ["container", "image", "network", "volume"];

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let kind = given.text("type")?.unwrap_or_default();
    match kind {
        "" => {}
        kind if KINDS.contains(&kind) => {}
        "config" | "node" | "plugin" | "secret" | "service" | "task" => {
            return Err(Error::usage(format!(
                "--type {kind}: there are none here, only {}",
                KINDS.join(", ")
            )));
        }
        _ => return Err(Error::usage(format!("unknown type: {kind:?}"))),
    }
    let (store, containers) = (store(globals)?, self::containers(globals)?);
    let look = |of: &str, word: &str| match of {
        "container" => of_container(&store, &containers, word, given.is_on("size")),
        "image" => of_image(&store, word),
        "network" => network_inspect::inspected(&containers, word),
        _ => volume_inspect::of_volume(&containers, word),
    };
    tell(given, |word| {
        if !kind.is_empty() {
            return look(kind, word);
        }
        for of in KINDS {
            match look(of, word) {
                Err(error) if error.kind() == Kind::NotFound => {}
                // A word that can be no image's name may be a name of something else.
                Err(error) if of == "image" && error.kind() == Kind::Usage => {}
                found => return found,
            }
        }
        // Docker's own line, which scripts search for.
        Err(Error::not_found(format!("Error: No such object: {word}")))
    })
}

fn of_container(store: &Store, containers: &Containers, word: &str, sizes: bool) -> Result<Value> {
    let id = containers.find(word)?;
    let found = attend(containers, &id)?.ok_or_else(|| container::missing(word))?;
    container::inspect::inspect(store, containers, &found, sizes)
}

fn of_image(store: &Store, word: &str) -> Result<Value> {
    let (found, _) = summary::find(store, word)?;
    image::inspect(store, &found)
}

/// Shows what `look` finds for each of the words: a list, or by `--format` a line each.
pub(super) fn tell(given: &Given, look: impl Fn(&str) -> Result<Value>) -> Result<u8> {
    let format = given.text("format")?.filter(|format| !format.is_empty());
    let template = match format.filter(|format| *format != "json").map(Template::parse).transpose() {
        Ok(template) => template,
        Err(error) => {
            let _ = report(&error);
            return Ok(NO_TEMPLATE);
        }
    };
    let (mut text, mut found, mut errors) = (String::new(), Vec::new(), Vec::new());
    for word in given.words()? {
        let told = look(word).and_then(|one| {
            if let Some(template) = &template {
                text.push_str(&template.render(&one)?);
                text.push('\n');
            }
            Ok(one)
        });
        match told {
            Ok(one) => found.push(one),
            Err(error) => errors.push(error),
        }
    }
    if template.is_none() {
        let list = Value::List(found);
        text = if format.is_some() { list.to_json() } else { list.to_pretty_json() };
        text.push('\n');
    }
    output::print(&text)?;
    // Behind what could be told of the others.
    Ok(errors.iter().fold(0, |_, error| report(error)))
}
