//! `shim version`

use crate::cli::flags::{Arity, Form, Given, value};
use crate::cli::{Globals, VERSION, Verb};
use crate::error::Result;
use crate::output;
use crate::output::template::Template;
use crate::output::value::Value;

pub(super) const VERB: Verb = Verb {
    names: &["version"],
    about: "Show the version information",
    form: Form {
        usage: "[OPTIONS]",
        flags: &[&[
            value("format", "string", "Format output using the given Go template, or as 'json'").short('f')
        ]],
        arity: Arity::Exactly(0),
        flags_end_at_argument: false,
    },
    run,
};

/// There is no daemon: the client is all there is.
fn run(_: &Globals, given: &Given) -> Result<u8> {
    let kernel = rustix::system::uname();
    let client = vec![
        ("Version", VERSION.into()),
        ("Os", std::env::consts::OS.into()),
        ("Arch", crate::image::platform::Platform::host().architecture.into()),
        ("KernelVersion", kernel.release().to_string_lossy().into_owned().into()),
    ];
    let value = Value::Object("version", vec![("Client", Value::Object("client", client))]);
    let text = match given.text("format")? {
        None | Some("") => Template::parse(
            "Client: Caisson shim\n Version:    {{.Client.Version}}\n OS/Arch:    {{.Client.Os}}/{{.Client.Arch}}\n \
             Kernel:     {{.Client.KernelVersion}}",
        )?
        .render(&value)?,
        Some("json") => value.to_json(),
        Some(format) => Template::parse(format)?.render(&value)?,
    };
    output::print(&format!("{text}\n"))?;
    Ok(0)
}
