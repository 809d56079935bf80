//! `shim info`

use crate::cli::flags::{Arity, Form, Given, value};
use crate::cli::{Globals, VERSION, Verb};
use crate::command::store;
use crate::error::Result;
use crate::image::platform::Platform;
use crate::output;
use crate::output::template::Template;
use crate::output::value::Value;
use crate::root::record::Bundles;

pub(super) const VERB: Verb = Verb {
    names: &["system info", "info"],
    about: "Display system-wide information",
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

const TEXT: &str = " Images: {{.Images}}\n Bundles: {{.Bundles}}\n Shim Version: {{.ServerVersion}}\n \
    Storage Driver: {{.Driver}}\n Kernel Version: {{.KernelVersion}}\n OSType: {{.OSType}}\n Architecture: {{.Architecture}}\n \
    CPUs: {{.NCPU}}\n Root Dir: {{.DockerRootDir}}\n State Dir: {{.StateDir}}";

/// Docker's names, as far as they mean something here.
fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let store = store(globals)?;
    let count = |count: usize| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = rustix::system::uname();
    let value = Value::Object(
        "info",
        vec![
            ("Images", count(store.images.read()?.iter().count())),
            ("Bundles", count(Bundles::open(store.folders.root())?.list()?.len())),
            ("Driver", "overlay2".into()),
            ("KernelVersion", kernel.release().to_string_lossy().into_owned().into()),
            ("OSType", std::env::consts::OS.into()),
            ("Architecture", Platform::host().architecture.into()),
            ("NCPU", count(cpus)),
            ("DockerRootDir", store.folders.root().to_string_lossy().into_owned().into()),
            ("StateDir", store.folders.state().to_string_lossy().into_owned().into()),
            ("ServerVersion", VERSION.into()),
        ],
    );
    let text = match given.text("format")? {
        None | Some("") => Template::parse(TEXT)?.render(&value)?,
        Some("json") => value.to_json(),
        Some(format) => Template::parse(format)?.render(&value)?,
    };
    output::print(&format!("{text}\n"))?;
    Ok(0)
}
