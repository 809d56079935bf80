//! What a line tells of its container, where `--log-opt labels`, `env` and `tag` ask for it. Pure.

use std::collections::BTreeMap;

use regex_lite::Regex;

use super::Origin;
use super::settings::Attributes;
use crate::error::{Context as _, Result};
use crate::output::template::Template;
use crate::output::value::Value;

/// Characters of an id that people see.
const SHORT_ID: usize = 12;

/// An id as people see it, without the name of its algorithm.
pub(super) fn short(id: &str) -> &str {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.get(..SHORT_ID).unwrap_or(id)
}

/// The labels and variables that were asked for, those that the container has.
pub(super) fn extra(wanted: &Attributes, origin: &Origin) -> BTreeMap<String, String> {
    let chosen = |name: &str, names: &[String], regex: Option<&Regex>| {
        names.iter().any(|wanted| wanted == name) || regex.is_some_and(|regex| regex.is_match(name))
    };
    // It was read when it was given: what cannot be read by now chooses nothing.
    let regex = |source: &Option<String>| source.as_ref().and_then(|source| Regex::new(source).ok());
    let (of_labels, of_env) = (regex(&wanted.labels_regex), regex(&wanted.env_regex));
    let labels = origin.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let labels = labels.filter(|(name, _)| chosen(name, &wanted.labels, of_labels.as_ref()));
    let variables = origin.env.iter().filter_map(|variable| variable.split_once('='));
    let variables = variables.filter(|(name, _)| chosen(name, &wanted.env, of_env.as_ref()));
    labels.chain(variables).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The tag: docker's template over what it knows of a container; None without a template.
///
/// # Errors
/// What is no template, or asks for what is not there.
pub(super) fn tag(wanted: &Attributes, origin: &Origin) -> Result<Option<String>> {
    let Some(source) = &wanted.tag else { return Ok(None) };
    if !source.contains("{{") {
        return Ok(Some(source.clone()));
    }
    let text = |text: &str| Value::Text(text.to_owned());
    let members = vec![
        ("ID", text(short(origin.id))),
        ("FullID", text(origin.id)),
        ("Name", text(origin.name)),
        ("ImageID", text(short(origin.image_id))),
        ("ImageFullID", text(origin.image_id)),
        ("ImageName", text(origin.image_name)),
        ("DaemonName", text("docker")),
    ];
    let rendered =
        Template::parse(source).and_then(|template| template.render(&Value::Object("tag", members)));
    rendered.map(Some).during(|| format!("log opt tag={source}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn only_what_was_asked_for_and_is_there_is_told() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        let env = ["X=1=2".to_owned(), "Y=3".to_owned()];
        let id = "0123456789abcdef";
        let origin = Origin {
            id,
            name: "web",
            labels: &labels,
            env: &env,
            image_name: "box:1",
            image_id: "sha256:fedcba9876543210",
            path: Path::new("/x"),
            journal: None,
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let wanted =
            Attributes { labels: names(&["b", "c"]), env: names(&["X", "Z"]), ..Attributes::default() };
        let found: Vec<_> = extra(&wanted, &origin).into_iter().collect();
        assert_eq!(found, [("X".to_owned(), "1=2".to_owned()), ("b".to_owned(), "2".to_owned())]);
        let by_regex = Attributes {
            labels_regex: Some("^a".into()),
            env_regex: Some("^[XY]$".into()),
            ..Attributes::default()
        };
        let found: Vec<String> = extra(&by_regex, &origin).into_keys().collect();
        assert_eq!(found, ["X", "Y", "a"]);
        let tagged = |tag: &str| tag_of(tag, &origin);
        assert_eq!(tagged("plain").unwrap(), "plain");
        assert_eq!(tagged("{{.Name}}/{{.ID}}/{{.ImageName}}").unwrap(), "web/0123456789ab/box:1");
        assert_eq!(tagged("{{.FullID}} {{.ImageID}}").unwrap(), format!("{id} fedcba987654"));
        assert!(tagged("{{.Nothing}}").unwrap_err().contains("log opt tag={{.Nothing}}"));
        assert!(tagged("{{").is_err());
    }

    fn tag_of(tag: &str, origin: &Origin) -> std::result::Result<String, String> {
        let wanted = Attributes { tag: Some(tag.to_owned()), ..Attributes::default() };
        super::tag(&wanted, origin).map(Option::unwrap).map_err(|error| error.to_string())
    }
}
