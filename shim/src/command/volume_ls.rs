//! `shim volume ls`

use crate::catalog::filter;
use crate::cli::flags::{Arity, Form, Given, list, switch, value};
use crate::cli::{Globals, Verb};
use crate::command::{containers, volume_inspect};
use crate::container::volumes;
use crate::error::Result;
use crate::output::value::Value;
use crate::output::{self, format, label};
use crate::volume::Volume;
use crate::volume::filter::Filter;
use crate::volume::store::Volumes;
use crate::volume::users::Users;

pub(super) const VERB: Verb = Verb {
    names: &["volume ls", "volume list"],
    about: "List volumes",
    form: Form {
        usage: "[OPTIONS]",
        flags: &[&[
            list("filter", "filter", "Provide filter values (e.g. \"dangling=true\")")
                .short('f')
                .checked(filter::check),
            value("format", "string", format::HELP),
            switch("quiet", "Only display volume names").short('q'),
        ]],
        arity: Arity::Exactly(0),
        flags_end_at_argument: false,
    },
    run,
};

const TABLE: &str = "{{.Driver}}\t{{.Name}}";
pub(super) const HEADERS: [(&str, &str); 10] = [
    ("Availability", "AVAILABILITY"),
    ("Driver", "DRIVER"),
    ("Group", "GROUP"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
    ("Size", "SIZE"),
    ("Status", "STATUS"),
];
/// What docker calls `raw`.
const RAW: &str = "name: {{.Name}}\ndriver: {{.Driver}}\n";

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let filter = Filter::of_list(&given.texts("filter")?)?;
    let containers = containers(globals)?;
    let volumes = volumes::open(&containers)?;
    let users = Users::read(&containers)?;
    let fits = |volume: &Volume| filter.fits(volume, !users.of(&volume.name).is_empty());
    let found: Vec<Volume> = volumes.list()?.into_iter().filter(fits).collect();
    let (format, labels) = match given.text("format")?.filter(|format| !format.is_empty()) {
        _ if given.is_on("quiet") => ("{{.Name}}".to_owned(), Vec::new()),
        None => ("table".to_owned(), Vec::new()),
        Some("raw") => (RAW.to_owned(), Vec::new()),
        Some(format) => label::rewrite(format)?,
    };
    let rows: Vec<Value> = found.iter().map(|volume| row(&volumes, volume, &labels)).collect();
    let names: Vec<String> = labels.iter().map(|name| label::title(name)).collect();
    let mut headers = HEADERS.to_vec();
    headers.extend(label::MEMBERS.iter().copied().zip(names.iter().map(String::as_str)));
    output::print(&format::render(&format, TABLE, &headers, &rows)?)?;
    Ok(0)
}

/// A row of a volume.
pub(super) fn row(volumes: &Volumes, volume: &Volume, wanted: &[String]) -> Value {
    let labels = volume.labels.iter().flatten().map(|(name, value)| format!("{name}={value}"));
    let not_known = || Value::from("N/A");
    let mut members = vec![
        ("Availability", not_known()),
        ("Driver", volume.driver.as_str().into()),
        ("Group", not_known()),
        ("Labels", labels.collect::<Vec<_>>().join(",").into()),
        ("Links", not_known()),
        ("Mountpoint", volume_inspect::mountpoint(volumes, volume).into()),
        ("Name", volume.name.as_str().into()),
        ("Scope", DRIVERS_SCOPE.into()),
        ("Size", not_known()),
        ("Status", not_known()),
    ];
    let of_label = |name: &String| {
        let found = volume.labels.as_ref().and_then(|labels| labels.get(name));
        Value::Aside(Box::new(found.cloned().unwrap_or_default().into()))
    };
    members.extend(label::MEMBERS.iter().copied().zip(wanted.iter().map(of_label)));
    Value::Object("volume", members)
}

/// Of the driver `local`.
pub(super) const DRIVERS_SCOPE: &str = "local";
