//! `shim image inspect`

use crate::catalog::{inspect, summary};
use crate::cli::flags::{Arity, Form, Given, value};
use crate::cli::{Globals, Verb};
use crate::command::{PLATFORM, platform, report, store};
use crate::error::Result;
use crate::image::platform::Platform;
use crate::output;
use crate::output::template::Template;
use crate::output::value::Value;
use crate::store::Store;

pub(super) const VERB: Verb = Verb {
    names: &["image inspect"],
    about: "Display detailed information on one or more images",
    form: Form {
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        flags: &[&[
            value("format", "string", "Format output using the given Go template, or as 'json'").short('f'),
            PLATFORM,
        ]],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run,
};

/// Exit status of what is no template, as Docker's.
const NO_TEMPLATE: u8 = 64;

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let format = given.text("format")?.filter(|format| !format.is_empty());
    let template = match format.filter(|format| *format != "json").map(Template::parse).transpose() {
        Ok(template) => template,
        Err(error) => {
            let _ = report(&error);
            return Ok(NO_TEMPLATE);
        }
    };
    let platform = platform(given)?;
    let store = store(globals)?;
    let (mut text, mut found, mut code) = (String::new(), Vec::new(), 0);
    for word in given.words()? {
        let told = look_at(&store, word, platform.as_ref()).and_then(|image| {
            if let Some(template) = &template {
                text.push_str(&template.render(&image)?);
                text.push('\n');
            }
            Ok(image)
        });
        match told {
            Ok(image) => found.push(image),
            // Behind what could be told of the others.
            Err(error) => code = report(&error),
        }
    }
    if template.is_none() {
        let list = Value::List(found);
        text = if format.is_some() { list.to_json() } else { list.to_pretty_json() };
        text.push('\n');
    }
    output::print(&text)?;
    Ok(code)
}

fn look_at(store: &Store, word: &str, platform: Option<&Platform>) -> Result<Value> {
    let (image, _) = summary::find(store, word)?;
    image.expect_platform(word, platform)?;
    inspect::inspect(store, &image)
}
