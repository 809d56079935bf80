//! `shim system df`

use crate::catalog::usage::{Usage, of_volumes, usage};
use crate::cli::flags::{Arity, Form, Given, value};
use crate::cli::{Globals, Verb};
use crate::command::{containers, store};
use crate::error::Result;
use crate::output::value::Value;
use crate::output::{self, format, human};

pub(super) const VERB: Verb = Verb {
    names: &["system df"],
    about: "Show disk usage",
    form: Form {
        usage: "[OPTIONS]",
        flags: &[&[value("format", "string", format::HELP)]],
        arity: Arity::Exactly(0),
        flags_end_at_argument: false,
    },
    run,
};

const TABLE: &str = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const HEADERS: [(&str, &str); 5] = [
    ("Active", "ACTIVE"),
    ("Reclaimable", "RECLAIMABLE"),
    ("Size", "SIZE"),
    ("TotalCount", "TOTAL"),
    ("Type", "TYPE"),
];

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let [images, of_containers, bundles] = usage(&store(globals)?)?;
    let volumes = of_volumes(&containers(globals)?)?;
    let rows = [
        row("Images", images),
        row("Containers", of_containers),
        row("Local Volumes", volumes),
        row("Bundles", bundles),
    ];
    let format = given.text("format")?.filter(|format| !format.is_empty()).unwrap_or("table");
    output::print(&format::render(format, TABLE, &HEADERS, &rows)?)?;
    Ok(0)
}

fn row(kind: &str, usage: Usage) -> Value {
    let percent = (u128::from(usage.reclaimable) * 100).checked_div(u128::from(usage.size));
    let percent = percent.map(|percent| format!(" ({percent}%)")).unwrap_or_default();
    Value::Object(
        "usage",
        vec![
            ("Active", usage.active.to_string().into()),
            ("Reclaimable", (human::size_with(usage.reclaimable, 4) + &percent).into()),
            ("Size", human::size_with(usage.size, 4).into()),
            ("TotalCount", usage.total.to_string().into()),
            ("Type", kind.into()),
        ],
    )
}
