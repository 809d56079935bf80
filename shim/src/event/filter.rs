//! `--filter` of `events`: which are meant (docker's manual, `docker system events`, "Filtering"). Pure.
//!
//! Values of the same filter are alternatives, but for labels, of which all have to be there.

use crate::error::{Error, Result};
use crate::event::Event;

/// Filters that look for an id or a name, whatever the event is of.
const NAMES: [&str; 9] =
    ["config", "container", "daemon", "network", "node", "plugin", "secret", "service", "volume"];
/// Actions that have words of their own behind a colon.
const WITH_WORDS: [&str; 3] = ["exec_create", "exec_start", "health_status"];

/// What is asked of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// By the filter's name.
    wanted: Vec<(String, Vec<String>)>,
}

impl Filter {
    /// Reads filters, `name=value` each.
    ///
    /// # Errors
    /// A filter that there is not.
    pub fn read(texts: &[&str]) -> Result<Filter> {
        let mut filter = Filter::default();
        for text in texts {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            let (name, value) = (name.trim().to_lowercase(), value.trim().to_owned());
            if !NAMES.contains(&name.as_str())
                && !matches!(name.as_str(), "event" | "image" | "label" | "scope" | "type")
            {
                return Err(Error::usage(format!("invalid filter '{name}'")));
            }
            match filter.wanted.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => filter.wanted.push((name, vec![value])),
            }
        }
        Ok(filter)
    }

    /// Is this one meant?
    #[must_use]
    pub fn fits(&self, event: &Event) -> bool {
        self.wanted.iter().all(|(name, values)| fits(event, name, values))
    }
}

fn fits(event: &Event, name: &str, values: &[String]) -> bool {
    let attribute = |name: &str| event.actor.attributes.get(name).map_or("", String::as_str);
    let is_one = |text: &str| values.iter().any(|value| value == text);
    let begins = |text: &str| values.iter().any(|value| text.starts_with(value.as_str()));
    match name {
        "type" => is_one(&event.kind),
        "scope" => is_one(&event.scope),
        "event" if values.iter().any(|value| WITH_WORDS.contains(&value.as_str())) => begins(&event.action),
        "event" => is_one(&event.action),
        "label" => values.iter().all(|label| match label.split_once('=') {
            Some((key, value)) => event.actor.attributes.get(key).is_some_and(|found| found == value),
            None => event.actor.attributes.contains_key(label),
        }),
        "image" => {
            let called = attribute(if event.kind == "image" { "name" } else { "image" });
            [event.actor.id.as_str(), called]
                .into_iter()
                .any(|name| is_one(name) || is_one(without_tag(name)))
        }
        // An id, or the beginning of one; or a name.
        _ => begins(&event.actor.id) || begins(attribute("name")),
    }
}

/// `busybox:1` is of `busybox`.
fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Actor;

    fn event(kind: &str, action: &str, id: &str, attributes: &[(&str, &str)]) -> Event {
        let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Event {
            kind: kind.to_owned(),
            action: action.to_owned(),
            scope: "local".to_owned(),
            actor: Actor { id: id.to_owned(), attributes: attributes.collect() },
            ..Event::default()
        }
    }

    #[test]
    fn events_are_chosen_as_docker_does() {
        let die =
            event("container", "die", "abc123", &[("name", "web"), ("image", "busybox:1"), ("team", "blue")]);
        let health = event("container", "health_status: healthy", "abc123", &[("name", "web")]);
        let pull = event("image", "pull", "reg:5000/box:2", &[("name", "reg:5000/box")]);
        for (texts, event, fit) in [
            (&[][..], &die, true),
            (&["container=web"], &die, true),
            (&["container=abc"], &die, true),
            (&["container=db", "container=web"], &die, true),
            (&["container=db"], &die, false),
            (&["event=die"], &die, true),
            (&["event=di"], &die, false),
            (&["event=start", "event=die"], &die, true),
            (&["event=health_status"], &health, true),
            (&["event=health_status: unhealthy"], &health, false),
            (&["image=busybox"], &die, true),
            (&["image=busybox:1"], &die, true),
            (&["image=busybox:2"], &die, false),
            (&["image=reg:5000/box"], &pull, true),
            (&["image=reg"], &pull, false),
            (&["label=team"], &die, true),
            (&["label=team=blue", "label=name=web"], &die, true),
            (&["label=team=blue", "label=x"], &die, false),
            (&["type=image"], &pull, true),
            (&["type=image"], &die, false),
            (&["type=image", "type=container", "event=die"], &die, true),
            (&["scope=local"], &die, true),
            (&["scope=swarm"], &die, false),
            (&["network=web"], &die, true),
        ] {
            assert_eq!(Filter::read(texts).unwrap().fits(event), fit, "{texts:?}");
        }
        assert_eq!(Filter::read(&["foo=x"]).unwrap_err().to_string(), "invalid filter 'foo'");
    }
}
