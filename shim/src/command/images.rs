//! `shim images`

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::catalog::filter::{self, Filter};
use crate::catalog::summary::{self, Summary};
use crate::cli::flags::{Arity, Form, Given, list, switch, value};
use crate::cli::{Globals, Verb};
use crate::command::{FAILURE, store};
use crate::error::Result;
use crate::host;
use crate::output::value::Value;
use crate::output::{self, format, human};

pub(super) const VERB: Verb = Verb {
    names: &["image ls", "image list", "images"],
    about: "List images",
    form: Form {
        usage: "[OPTIONS] [REPOSITORY[:TAG]]",
        flags: &[&[
            switch("all", "Show all images (there are no intermediate images here)").short('a'),
            switch("digests", "Show digests"),
            list("filter", "filter", "Filter output based on conditions provided")
                .short('f')
                .checked(filter::check),
            value("format", "string", format::HELP),
            switch("no-trunc", "Don't truncate output"),
            switch("quiet", "Only show image IDs").short('q'),
        ]],
        arity: Arity::AtMost(1),
        flags_end_at_argument: false,
    },
    run,
};

/// What a name or digest is where there is none.
const NONE: &str = "<none>";

const TABLE: &str =
    "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
const TABLE_WITH_DIGESTS: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t\
    {{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
pub(super) const HEADERS: [(&str, &str); 11] = [
    ("Containers", "CONTAINERS"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("SharedSize", "SHARED SIZE"),
    ("Size", "SIZE"),
    ("Tag", "TAG"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
];

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let store = store(globals)?;
    let mut filter = Filter::of_images(&given.texts("filter")?, &store)?;
    given.words()?.into_iter().for_each(|name| filter.add_reference(name));
    let (images, broken) = summary::all(&store)?;
    let images = filter.apply(images)?;
    let (quiet, digests) = (given.is_on("quiet"), given.is_on("digests"));
    let mut format = match given.text("format")? {
        None | Some("") => "table".to_owned(),
        Some(format) => format.to_owned(),
    };
    let is_table = format.starts_with("table");
    if quiet && format == "table" {
        "{{.ID}}".clone_into(&mut format);
    } else if digests && is_table && format != "table" && !format.contains("{{.Digest}}") {
        format.push_str("\t{{.Digest}}");
    }
    let shows_digests = digests || format.contains("{{.Digest}}");
    let now = Timestamp::now();
    let rows: Vec<Value> = images
        .iter()
        .flat_map(|image| names(image, shows_digests).into_iter().map(move |name| (image, name)))
        .map(|(image, name)| row(image, name, !given.is_on("no-trunc"), now))
        .collect();
    let table = if digests { TABLE_WITH_DIGESTS } else { TABLE };
    output::print(&format::render(&format, table, &HEADERS, &rows)?)?;
    for error in &broken {
        output::complain(&error.to_string());
    }
    Ok(if broken.is_empty() { 0 } else { FAILURE })
}

/// Repository, tag and digest of one line.
pub(super) type Name = (String, String, String);

/// The lines of an image: one for each tag, and where digests are shown for each digest too.
pub(super) fn names(image: &Summary, shows_digests: bool) -> Vec<Name> {
    let mut tags: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut digests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in image.tags() {
        if let Some((repository, tag)) = name.rsplit_once(':') {
            tags.entry(repository.to_owned()).or_default().push(tag.to_owned());
        }
    }
    for name in image.digests() {
        if let Some((repository, digest)) = name.split_once('@') {
            digests.entry(repository.to_owned()).or_default().push(digest.to_owned());
        }
    }
    let mut lines = Vec::new();
    for (repository, tags) in tags {
        let digests = digests.remove(&repository).filter(|_| shows_digests);
        for tag in tags {
            for digest in digests.as_deref().unwrap_or(&[NONE.to_owned()]) {
                lines.push((repository.clone(), tag.clone(), digest.clone()));
            }
        }
    }
    for (repository, digests) in digests {
        let shown = if shows_digests { &digests[..] } else { &[String::new()] };
        lines.extend(shown.iter().map(|digest| (repository.clone(), NONE.to_owned(), digest.clone())));
    }
    if lines.is_empty() {
        lines.push((NONE.to_owned(), NONE.to_owned(), NONE.to_owned()));
    }
    lines
}

/// A row of an image by one of its names.
pub(super) fn row(image: &Summary, (repository, tag, digest): Name, is_short: bool, now: Timestamp) -> Value {
    let id = if is_short { image.id.short().to_owned() } else { image.id.to_string() };
    let since = image
        .created()
        .map(|created| format!("{} ago", human::duration(now.as_second() - created.as_second())));
    Value::Object(
        "image",
        vec![
            ("Containers", "N/A".into()),
            ("CreatedAt", created_at(image.created()).into()),
            ("CreatedSince", since.unwrap_or_default().into()),
            ("Digest", digest.into()),
            ("ID", id.into()),
            ("Repository", repository.into()),
            ("SharedSize", "N/A".into()),
            ("Size", human::size(image.size).into()),
            ("Tag", tag.into()),
            ("UniqueSize", "N/A".into()),
            ("VirtualSize", human::size_with(image.size, 4).into()),
        ],
    )
}

/// As Go writes a time: `2024-05-01 10:00:00 +0200 CEST`.
fn created_at(created: Option<Timestamp>) -> String {
    let Some(created) = created else { return "0001-01-01 00:00:00 +0000 UTC".to_owned() };
    created.to_zoned(host::time_zone()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::image::config::ImageConfig;
    use crate::store::image::Image;

    fn image(tags: &[&str], digests: &[&str]) -> Summary {
        let id = Digest::of(b"image");
        let image = Image::named(id.clone(), tags, digests);
        Summary { id, image, config: ImageConfig::default(), size: 999_600 }
    }

    #[test]
    fn an_image_has_a_line_for_each_tag_and_digest_as_in_docker() {
        let digest = Digest::of(b"manifest").to_string();
        let (of_box, of_other) = (format!("box@{digest}"), format!("other@{digest}"));
        let tagged = image(&["box:1", "box:2", "localhost:5000/me/box:latest"], &[&of_box, &of_other]);
        let only = image(&[], &[&of_other]);
        let lines = |image: &Summary, shows_digests: bool| -> Vec<String> {
            let line = |(repository, tag, digest): Name| format!("{repository} {tag} {digest}");
            names(image, shows_digests).into_iter().map(line).collect()
        };
        // The lines that docker 28 prints of the same.
        let here = "localhost:5000/me/box latest <none>".to_owned();
        let without = ["box 1 <none>", "box 2 <none>", &here, "other <none> "];
        assert_eq!(lines(&tagged, false), without);
        let [one, two] = ["1", "2"].map(|tag| format!("box {tag} {digest}"));
        assert_eq!(lines(&tagged, true), [one, two, here, format!("other <none> {digest}")]);
        assert_eq!(lines(&only, false), ["other <none> "]);
        assert_eq!(lines(&image(&[], &[]), true), ["<none> <none> <none>"]);
    }

    #[test]
    fn what_is_not_known_is_shown_as_in_docker() {
        let row = row(&image(&[], &[]), (NONE.into(), NONE.into(), NONE.into()), true, Timestamp::UNIX_EPOCH);
        let shown = |name: &str| row.get(name).cloned().unwrap();
        assert_eq!(shown("CreatedAt"), "0001-01-01 00:00:00 +0000 UTC".into());
        assert_eq!(shown("CreatedSince"), "".into());
        assert_eq!((shown("Size"), shown("VirtualSize")), ("1e+03kB".into(), "999.6kB".into()));
    }
}
