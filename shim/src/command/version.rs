//! `shim version`

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, VERSION, Verb};
use crate::command::inspect::FORMAT;
use crate::error::Result;
use crate::image::platform::Platform;
use crate::output;
use crate::output::template::Template;
use crate::output::value::Value;
use crate::runtime::{self, Runtime};

pub(super) const VERB: Verb = Verb {
    names: &["version"],
    about: "Show the version information",
    form: Form {
        usage: "[OPTIONS]",
        flags: &[&[FORMAT]],
        arity: Arity::Exactly(0),
        flags_end_at_argument: false,
    },
    run,
};

const TEXT: &str = "Client: Caisson shim\n Version:    {{.Client.Version}}\n OS/Arch:    {{.Client.Os}}/{{.Client.Arch}}\n \
    Kernel:     {{.Client.KernelVersion}}\n\nRuntime: {{.Runtime.Path}}\n Version:    {{.Runtime.Version}}";

/// There is no daemon: what docker tells of its own, scripts find in the same place all the same.
fn run(_: &Globals, given: &Given) -> Result<u8> {
    let kernel = rustix::system::uname();
    let of_us = |kind: &'static str| {
        let members = vec![
            ("Version", VERSION.into()),
            ("Os", std::env::consts::OS.into()),
            ("Arch", Platform::host().architecture.into()),
            ("KernelVersion", kernel.release().to_string_lossy().into_owned().into()),
        ];
        Value::Object(kind, members)
    };
    let (path, version) = runtime_version();
    let runtime = Value::Object("runtime", vec![("Path", path.into()), ("Version", version.into())]);
    let members = vec![
        ("Client", of_us("client")),
        ("Server", Value::Aside(Box::new(of_us("server")))),
        ("Runtime", runtime),
    ];
    let value = Value::Object("version", members);
    let text = match given.text("format")? {
        None | Some("") => Template::parse(TEXT)?.render(&value)?,
        Some("json") => value.to_json(),
        Some(format) => Template::parse(format)?.render(&value)?,
    };
    output::print(&format!("{text}\n"))?;
    Ok(0)
}

/// The runtime of those who do not ask for another, and what it calls its version.
fn runtime_version() -> (String, String) {
    let Ok(path) = runtime::find(None) else { return ("none".to_owned(), String::new()) };
    // It wants a folder for its records; it looks at none for this.
    let output = Runtime::new(&path, std::path::Path::new("/run/caisson/runtime")).call(&["--version"]);
    let output =
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let first = output.lines().next().unwrap_or_default();
    let version = first.split_whitespace().last().unwrap_or_default();
    (path.to_string_lossy().into_owned(), version.to_owned())
}
