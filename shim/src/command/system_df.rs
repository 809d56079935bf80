//! `shim system df`

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::catalog::summary::{self, Summary};
use crate::catalog::usage::{Usage, of_volumes, usage};
use crate::cli::flags::{Arity, Form, Given, switch, value};
use crate::cli::{Globals, Verb};
use crate::command::{containers, images, ps, store, volume_ls};
use crate::container::store::Containers;
use crate::container::users::Users;
use crate::container::volumes;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::output::template::Template;
use crate::output::value::Value;
use crate::output::{self, format, human};
use crate::store::Store;
use crate::volume::users as volume_users;

pub(super) const VERB: Verb = Verb {
    names: &["system df"],
    about: "Show disk usage",
    form: Form {
        usage: "[OPTIONS]",
        flags: &[&[
            value("format", "string", format::HELP),
            switch("verbose", "Show detailed information on space usage").short('v'),
        ]],
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
const IMAGES: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t\
    {{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINERS: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t\
    {{.Names}}";
const VOLUMES: &str = "{{.Name}}\t{{.Links}}\t{{.Size}}";
/// There is nothing in it.
const BUILD_CACHE: &str = "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t\
    {{.Shared}}";
const BUILD_CACHE_HEADERS: [(&str, &str); 7] = [
    ("ID", "CACHE ID"),
    ("CacheType", "CACHE TYPE"),
    ("Size", "SIZE"),
    ("CreatedSince", "CREATED"),
    ("LastUsedSince", "LAST USED"),
    ("UsageCount", "USAGE"),
    ("Shared", "SHARED"),
];

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let (store, containers) = (store(globals)?, containers(globals)?);
    let format = given.text("format")?.filter(|format| !format.is_empty()).unwrap_or("table");
    let text = match format {
        "table" if given.is_on("verbose") => tables(&All::read(&store, &containers, true)?)?,
        format if given.is_on("verbose") => {
            let all = All::read(&store, &containers, false)?.into_value();
            match format {
                "json" => all.to_json() + "\n",
                format if format.starts_with("table") => {
                    let words =
                        format!("--format {format:?}: the tables of --verbose have columns of their own");
                    return Err(Error::usage(words));
                }
                format => Template::parse(format)?.render(&all)? + "\n",
            }
        }
        format => format::render(format, TABLE, &HEADERS, &summary_rows(&store, &containers)?)?,
    };
    output::print(&text).map(|()| 0)
}

/// One row for each kind: docker's four, and bundles, which docker does not have, where there are any.
fn summary_rows(store: &Store, containers: &Containers) -> Result<Vec<Value>> {
    let [images, of_containers, bundles] = usage(store)?;
    let mut rows = vec![
        row("Images", images),
        row("Containers", of_containers),
        row("Local Volumes", of_volumes(containers)?),
        row("Build Cache", Usage::default()),
    ];
    rows.extend((bundles.total > 0).then(|| row("Bundles", bundles)));
    Ok(rows)
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

/// Rows for each thing.
struct All {
    images: Vec<Value>,
    containers: Vec<Value>,
    volumes: Vec<Value>,
}

impl All {
    /// `is_short`: ids and commands are cut as in tables.
    fn read(store: &Store, containers: &Containers, is_short: bool) -> Result<All> {
        let found = volumes::open(containers)?;
        let of_volume = |used: volume_users::Used| {
            let row = volume_ls::row(&found, &used.volume, &[]);
            row.with("Links", used.links.to_string()).with("Size", human::size(used.size))
        };
        let of_container = |(row, size): (Value, u64)| row.with("Size", human::size(size));
        Ok(All {
            images: image_rows(store, containers, is_short)?,
            containers: ps::rows_with_sizes(store, containers, is_short)?
                .into_iter()
                .map(of_container)
                .collect(),
            volumes: volume_users::usage(&found, containers)?.into_iter().map(of_volume).collect(),
        })
    }

    fn into_value(self) -> Value {
        let members = vec![
            ("Images", Value::List(self.images)),
            ("Containers", Value::List(self.containers)),
            ("Volumes", Value::List(self.volumes)),
            ("BuildCache", Value::List(Vec::new())),
        ];
        Value::Object("usage", members)
    }
}

/// Docker's four tables.
fn tables(all: &All) -> Result<String> {
    let table =
        |template, headers: &[(&'static str, &str)], rows| format::render("table", template, headers, rows);
    let images = table(IMAGES, &images::HEADERS, &all.images)?;
    let containers = table(CONTAINERS, &ps::HEADERS, &all.containers)?;
    let volumes = table(VOLUMES, &volume_ls::HEADERS, &all.volumes)?;
    let cache = table(BUILD_CACHE, &BUILD_CACHE_HEADERS, &[])?;
    Ok(format!(
        "Images space usage:\n\n{images}\nContainers space usage:\n\n{containers}\nLocal Volumes space usage:\n\n\
         {volumes}\nBuild cache usage: 0B\n\n{cache}"
    ))
}

/// Each image once, by the first of its names, with what of it others have too: unpacked layers.
fn image_rows(store: &Store, containers: &Containers, is_short: bool) -> Result<Vec<Value>> {
    let (images, broken) = summary::all(store)?;
    if let Some(error) = broken.into_iter().next() {
        return Err(error);
    }
    let users = Users::read(containers)?;
    let mut owners: BTreeMap<&Digest, usize> = BTreeMap::new();
    images
        .iter()
        .flat_map(|image| &image.image.layers)
        .for_each(|layer| *owners.entry(layer).or_default() += 1);
    let now = Timestamp::now();
    let shown = |image: &Summary| {
        let mut shared = 0_u64;
        for layer in &image.image.layers {
            if owners.get(layer).is_some_and(|owners| *owners > 1) {
                shared = shared.saturating_add(store.layers.get(layer)?.map_or(0, |layer| layer.size));
            }
        }
        let name = images::names(image, false).into_iter().next().unwrap_or_default();
        let row = images::row(image, name, is_short, now);
        Ok(row
            .with("Digest", "")
            .with("Containers", users.count(&image.id).to_string())
            .with("SharedSize", human::size_with(shared, 4))
            .with("UniqueSize", human::size_with(image.size.saturating_sub(shared), 4)))
    };
    images.iter().map(shown).collect()
}
