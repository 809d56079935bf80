//! `shim network ls`

use crate::catalog::filter;
use crate::cli::flags::{Arity, Form, Given, list, switch, value};
use crate::cli::{Globals, Verb};
use crate::command::containers;
use crate::error::Result;
use crate::network::filter::Filter;
use crate::network::store::Networks;
use crate::network::told;
use crate::output::{self, format};

pub(super) const VERB: Verb = Verb {
    names: &["network ls", "network list"],
    about: "List networks",
    form: Form {
        usage: "[OPTIONS]",
        flags: &[&[
            list("filter", "filter", "Provide filter values (e.g. \"driver=bridge\")")
                .short('f')
                .checked(filter::check),
            value("format", "string", format::HELP),
            switch("no-trunc", "Do not truncate the output"),
            switch("quiet", "Only display network IDs").short('q'),
        ]],
        arity: Arity::Exactly(0),
        flags_end_at_argument: false,
    },
    run,
};

const TABLE: &str = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";
const HEADERS: [(&str, &str); 9] = [
    ("CreatedAt", "CREATED AT"),
    ("Driver", "DRIVER"),
    ("ID", "NETWORK ID"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("Name", "NAME"),
    ("Scope", "SCOPE"),
];

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let filter = Filter::parse(&given.texts("filter")?, false)?;
    let containers = containers(globals)?;
    let networks = Networks::of(&containers);
    networks.default_network()?;
    let mut all = networks.list()?;
    all.extend(told::names_only());
    all.sort_by(|one, other| one.name.cmp(&other.name));
    let mut rows = Vec::new();
    for network in &all {
        let is_used = !networks.leases(&containers, &network.id)?.is_empty();
        if filter.fits(network, is_used) {
            rows.push(told::row(network, !given.is_on("no-trunc")));
        }
    }
    let quiet = given.is_on("quiet");
    let format = match given.text("format")?.filter(|format| !format.is_empty()) {
        _ if quiet => "{{.ID}}",
        Some(format) => format,
        None => "table",
    };
    output::print(&format::render(format, TABLE, &HEADERS, &rows)?).map(|()| 0)
}
