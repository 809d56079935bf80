//! `shim ps`

use jiff::Timestamp;

use crate::catalog::filter;
use crate::catalog::summary;
use crate::cli::flags::{Arity, Form, Given, list, switch, value};
use crate::cli::spec_flags::integer;
use crate::cli::{Globals, Verb};
use crate::command::{FAILURE, containers, store};
use crate::container::attend::attend;
use crate::container::filter::{Ancestor, Filter, Lookup};
use crate::container::store::{Containers, Found};
use crate::container::{self, listing, size};
use crate::error::{Context, Error, Kind, Result};
use crate::host;
use crate::output::value::Value;
use crate::output::{self, format, human, label};
use crate::port;
use crate::store::Store;
use crate::store::image::Images;

pub(super) const VERB: Verb = Verb {
    names: &["container ls", "container list", "container ps", "ps"],
    about: "List containers",
    form: Form {
        usage: "[OPTIONS]",
        flags: &[&[
            switch("all", "Show all containers (default shows just running)").short('a'),
            list("filter", "filter", "Filter output based on conditions provided")
                .short('f')
                .checked(filter::check),
            value("format", "string", format::HELP),
            value("last", "int", "Show n last created containers (includes all states) (default -1)")
                .short('n')
                .checked(integer),
            switch("latest", "Show the latest created container (includes all states)").short('l'),
            switch("no-trunc", "Don't truncate output"),
            switch("quiet", "Only display container IDs").short('q'),
            switch("size", "Display total file sizes").short('s'),
        ]],
        arity: Arity::Exactly(0),
        flags_end_at_argument: false,
    },
    run,
};

const TABLE: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
pub(super) const HEADERS: [(&str, &str); 14] = [
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Names", "NAMES"),
    ("Networks", "NETWORKS"),
    ("Ports", "PORTS"),
    ("RunningFor", "CREATED"),
    ("Size", "SIZE"),
    ("State", "STATE"),
    ("Status", "STATUS"),
];
/// What docker calls `raw`.
const RAW: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\n\
    state: {{.State}}\nstatus: {{.Status}}\nnames: {{.Names}}\nlabels: {{.Labels}}\nports: {{.Ports}}\n";

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let (store, containers) = (store(globals)?, containers(globals)?);
    let filter = Filter::read(&given.texts("filter")?, &Names { store: &store, containers: &containers })?;
    let last = match given.text("last")?.map(str::parse).transpose() {
        _ if given.is_on("latest") => Some(1),
        Ok(last) => last.filter(|last: &i64| *last > 0).and_then(|last| usize::try_from(last).ok()),
        Err(_) => None,
    };
    let all = given.is_on("all") || last.is_some() || filter.means_all();
    let (mut found, broken) = look(&containers)?;
    found.retain(|one| (all || one.is_up()) && filter.fits(&one.found.container, &one.found.state));
    found.sort_by(|one, other| other.age().cmp(&one.age()));
    found.truncate(last.unwrap_or(usize::MAX));

    let quiet = given.is_on("quiet");
    let (format, labels) = wanted(given.text("format")?, quiet, given.is_on("size"))?;
    let images = store.images.read()?;
    let shown = Shown {
        store: &store,
        images: &images,
        containers: &containers,
        is_short: !given.is_on("no-trunc"),
        sizes: (given.is_on("size") || format.contains(".Size")) && !quiet,
        now: Timestamp::now(),
        labels: &labels,
    };
    let rows = found.iter().map(|one| shown.row(one)).collect::<Result<Vec<_>>>()?;
    let names: Vec<String> = labels.iter().map(|label| label::title(label)).collect();
    let mut headers = HEADERS.to_vec();
    headers.extend(label::MEMBERS.iter().copied().zip(names.iter().map(String::as_str)));
    let table = if given.is_on("size") { format!("{TABLE}\t{{{{.Size}}}}") } else { TABLE.to_owned() };
    output::print(&format::render(&format, &table, &headers, &rows)?)?;
    for error in &broken {
        output::complain(&error.to_string());
    }
    Ok(if broken.is_empty() { 0 } else { FAILURE })
}

/// Rows of all containers with the bytes that each has written, the latest made first: for `system df`.
///
/// # Errors
/// One that cannot be read.
pub(super) fn rows_with_sizes(
    store: &Store,
    containers: &Containers,
    is_short: bool,
) -> Result<Vec<(Value, u64)>> {
    let (mut found, broken) = look(containers)?;
    if let Some(error) = broken.into_iter().next() {
        return Err(error);
    }
    found.sort_by(|one, other| other.age().cmp(&one.age()));
    let images = store.images.read()?;
    let now = Timestamp::now();
    let shown = Shown { store, images: &images, containers, is_short, sizes: false, now, labels: &[] };
    found.iter().map(|one| Ok((shown.row(one)?, shown.written(one)?))).collect()
}

/// A container, and the moment by which it is sorted.
struct Listed {
    found: Found,
    created: Timestamp,
}

impl Listed {
    fn is_up(&self) -> bool {
        let state = &self.found.state;
        state.status.has_process() || state.status == crate::container::state::Status::Restarting
    }

    fn age(&self) -> (Timestamp, &str) {
        (self.created, &self.found.container.id)
    }
}

/// All containers, and what was wrong with those that cannot be read.
fn look(containers: &Containers) -> Result<(Vec<Listed>, Vec<Error>)> {
    let (mut found, mut broken) = (Vec::new(), Vec::new());
    for id in containers.ids()? {
        match attend(containers, &id) {
            Ok(Some(one)) => {
                let created = one.container.created.parse().unwrap_or_default();
                found.push(Listed { found: one, created });
            }
            // It has gone since.
            Ok(None) => {}
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => broken.push(Err::<(), _>(error).during(|| format!("container {id}"))),
        }
    }
    Ok((found, broken.into_iter().filter_map(Result::err).collect()))
}

/// What filters name.
struct Names<'a> {
    store: &'a Store,
    containers: &'a Containers,
}

impl Lookup for Names<'_> {
    fn ancestor(&self, word: &str) -> Result<Option<Ancestor>> {
        match summary::find(self.store, word) {
            Ok((image, _)) => Ok(Some(Ancestor { id: image.id, layers: image.image.layers })),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn created(&self, word: &str) -> Result<(String, String)> {
        let id = self.containers.find(word)?;
        let container = self.containers.get(&id)?.ok_or_else(|| container::missing(word))?;
        Ok((container.created, container.id))
    }
}

/// The format, and the labels that it asks for, which are members of rows in it.
fn wanted(given: Option<&str>, quiet: bool, with_size: bool) -> Result<(String, Vec<String>)> {
    let given = given.filter(|format| !format.is_empty());
    if quiet {
        if given.is_some() {
            output::complain("WARNING: Ignoring custom format, because both --format and --quiet are set.");
        }
        return Ok(("{{.ID}}".to_owned(), Vec::new()));
    }
    match given {
        None => Ok(("table".to_owned(), Vec::new())),
        Some("raw") if with_size => Ok((format!("{RAW}size: {{{{.Size}}}}\n"), Vec::new())),
        Some("raw") => Ok((RAW.to_owned(), Vec::new())),
        Some(format) => label::rewrite(format),
    }
}

/// How rows are made.
struct Shown<'a> {
    store: &'a Store,
    images: &'a Images,
    containers: &'a Containers,
    is_short: bool,
    sizes: bool,
    now: Timestamp,
    labels: &'a [String],
}

impl Shown<'_> {
    fn row(&self, one: &Listed) -> Result<Value> {
        let (container, state) = (&one.found.container, &one.found.state);
        let ago = human::duration(self.now.as_second() - one.created.as_second());
        let volumes = container.mounts.iter().filter(|mount| mount.driver == "local").count();
        let mut members = vec![
            ("Command", listing::command(container, self.is_short).into()),
            ("CreatedAt", created_at(one.created).into()),
            ("ID", listing::id(container, self.is_short).into()),
            ("Image", listing::image(container, self.images, self.is_short).into()),
            ("Labels", listing::labels(container).into()),
            ("LocalVolumes", volumes.to_string().into()),
            ("Mounts", listing::mounts(container, self.is_short).into()),
            ("Names", container.name.as_str().into()),
            ("Networks", listing::networks(container).join(",").into()),
            ("Ports", port::listing::column(&state.ports).into()),
            ("RunningFor", format!("{ago} ago").into()),
            ("Size", if self.sizes { self.size(one)?.into() } else { "0B".into() }),
            ("State", state.status.as_str().into()),
            ("Status", listing::status(state, self.now).into()),
        ];
        let of_label =
            |label: &String| container.config.labels.get(label).cloned().unwrap_or_default().into();
        members.extend(label::MEMBERS.iter().copied().zip(self.labels.iter().map(of_label)));
        Ok(Value::Object("container", members))
    }

    /// Bytes that it has written.
    fn written(&self, one: &Listed) -> Result<u64> {
        let id = crate::container::ContainerId::parse(&one.found.container.id)?;
        size::of_files(&self.containers.folder(&id).join(size::UPPER))
    }

    /// What it has written, and with all that its image has.
    fn size(&self, one: &Listed) -> Result<String> {
        let own = self.written(one)?;
        let mut all = own;
        for layer in &one.found.container.layers {
            all = all.saturating_add(self.store.layers.get(layer)?.map_or(0, |layer| layer.size));
        }
        Ok(format!("{} (virtual {})", human::size(own), human::size(all)))
    }
}

/// As Go writes a time: `2024-05-01 10:00:00 +0200 CEST`.
fn created_at(created: Timestamp) -> String {
    created.to_zoned(host::time_zone()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_in_a_format_become_members() {
        let (format, labels) =
            label::rewrite("{{.Names}} {{.Label \"a.b\"}}{{if .Label `x`}}{{.Label  \"a.b\"}}{{end}}")
                .unwrap();
        assert_eq!(format, "{{.Names}} {{.Label0}}{{if .Label1}}{{.Label0}}{{end}}");
        assert_eq!(labels, ["a.b", "x"]);
        assert!(label::rewrite("{{.Label .ID}}").is_err());
        assert_eq!(label::rewrite("{{.Labels}}").unwrap(), ("{{.Labels}}".to_owned(), Vec::new()));
        assert_eq!(label::title("com.example.some-label_x"), "some label x");
    }
}
