//! `shim events`

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::catalog::filter;
use crate::cli::flags::{Arity, Form, Given, list, value};
use crate::cli::{Globals, Verb};
use crate::error::{Error, Result};
use crate::escape::one_line;
use crate::event::Event;
use crate::event::filter::Filter;
use crate::event::read::Reader;
use crate::host;
use crate::output;
use crate::output::template::Template;
use crate::output::value::Value;
use crate::store::folder::Folders;
use crate::time;

pub(super) const VERB: Verb = Verb {
    names: &["system events", "events"],
    about: "Get real time events",
    form: Form {
        usage: "[OPTIONS]",
        flags: &[&[
            list("filter", "filter", "Filter output based on conditions provided")
                .short('f')
                .checked(filter::check),
            value(
                "format",
                "string",
                "Format output using a custom template:\n'json':             Print in JSON format\n\
                 'TEMPLATE':         Print output using the given Go template.",
            ),
            value("since", "string", "Show all events created since timestamp"),
            value("until", "string", "Stream events until this timestamp"),
        ]],
        arity: Arity::Exactly(0),
        flags_end_at_argument: false,
    },
    run,
};

/// Exit status where a format cannot be read, as docker's.
const FORMAT: u8 = 64;
/// Text is printed from so many bytes on, however many events there are.
const ENOUGH: usize = 1 << 16;

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let (now, zone) = (Timestamp::now(), host::time_zone());
    let moment = |name: &str| -> Result<Option<Timestamp>> {
        let text = given.text(name)?.filter(|text| !text.is_empty());
        text.map(|text| time::moment(text, now, &zone)).transpose()
    };
    let (since, until) = (moment("since")?, moment("until")?);
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        let (since, until) = (given.text("since")?, given.text("until")?);
        let (since, until) = (since.unwrap_or_default(), until.unwrap_or_default());
        return Err(Error::usage(format!("`since` time ({since}) cannot be after `until` time ({until})")));
    }
    let filter = Filter::read(&given.texts("filter")?)?;
    let template = match given.text("format")?.filter(|format| !format.is_empty()) {
        None => None,
        Some(format) => {
            let source = if format == "json" { "{{json .}}" } else { format };
            match Template::parse(&source.replace("\\t", "\t").replace("\\n", "\n")) {
                Ok(template) => Some(template),
                Err(error) => {
                    output::complain(&format!("Error parsing format: {error}"));
                    return Ok(FORMAT);
                }
            }
        }
    };
    let folders = Folders::open(globals.root(), globals.state())?;
    let mut reader = Reader::open(folders.state(), since.is_some())?;
    let is_meant = |event: &Event| {
        let at = Timestamp::from_nanosecond(event.time_nano.into()).unwrap_or(now);
        since.is_none_or(|since| at >= since) && until.is_none_or(|until| at <= until) && filter.fits(event)
    };
    let mut is_over = false;
    loop {
        let mut text = String::new();
        while let Some(event) = reader.read()? {
            if is_meant(&event) {
                match &template {
                    Some(template) => text.push_str(&template.render(&shown(&event))?),
                    None => text.push_str(&line(&event, &zone)),
                }
                text.push('\n');
            }
            if text.len() >= ENOUGH {
                output::print(&std::mem::take(&mut text))?;
            }
        }
        if !text.is_empty() {
            output::print(&text)?;
        }
        if is_over {
            return Ok(0);
        }
        // What came until then is still to be read.
        is_over = !reader.wait(until)?;
    }
}

/// `2024-05-01T10:00:00.123456789+02:00 container die ID (exitCode=0, image=busybox, name=web)`
fn line(event: &Event, zone: &TimeZone) -> String {
    let at = Timestamp::from_nanosecond(event.time_nano.into()).unwrap_or_default();
    let at = at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string();
    let at = match at.strip_suffix("+00:00") {
        Some(at) => format!("{at}Z"),
        None => at,
    };
    let (kind, action, id) = (&event.kind, one_line(&event.action), one_line(&event.actor.id));
    let attributes = event.actor.attributes.iter();
    let attributes: Vec<String> =
        attributes.map(|(name, value)| format!("{}={}", one_line(name), one_line(value))).collect();
    let behind = if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    format!("{at} {kind} {action} {id}{behind}")
}

/// For templates, by the names of Go's structure; JSON has those of the API, and not what is empty.
fn shown(event: &Event) -> Value {
    let aside = |value: Value| Value::Aside(Box::new(value));
    let attributes =
        event.actor.attributes.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let mut members = Vec::new();
    let texts = [("status", "Status", &event.status), ("id", "ID", &event.id), ("from", "From", &event.from)];
    for (key, name, text) in texts {
        if !text.is_empty() {
            members.push((key, text.as_str().into()));
        }
        members.push((name, aside(text.as_str().into())));
    }
    members.extend([
        ("Type", event.kind.as_str().into()),
        ("Action", event.action.as_str().into()),
        (
            "Actor",
            Value::Object(
                "events.Actor",
                vec![("ID", event.actor.id.as_str().into()), ("Attributes", Value::Dictionary(attributes))],
            ),
        ),
        ("scope", event.scope.as_str().into()),
        ("Scope", aside(event.scope.as_str().into())),
        ("time", event.time.into()),
        ("Time", aside(event.time.into())),
        ("timeNano", event.time_nano.into()),
        ("TimeNano", aside(event.time_nano.into())),
    ]);
    Value::Object("events.Message", members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Actor;

    #[test]
    fn events_are_shown_as_docker_does() {
        let attributes = [("name", "web"), ("exitCode", "0"), ("evil", "a\nb")];
        let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let event = Event {
            status: "die".into(),
            id: "abc".into(),
            kind: "container".into(),
            action: "die".into(),
            actor: Actor { id: "abc".into(), attributes: attributes.collect() },
            scope: "local".into(),
            time: 1_714_557_600,
            time_nano: 1_714_557_600_000_000_005,
            ..Event::default()
        };
        let expected = "container die abc (evil=a\\nb, exitCode=0, name=web)";
        assert_eq!(line(&event, &TimeZone::UTC), format!("2024-05-01T10:00:00.000000005Z {expected}"));
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(line(&event, &zone), format!("2024-05-01T12:00:00.000000005+02:00 {expected}"));
        let rendered = |source: &str| Template::parse(source).unwrap().render(&shown(&event)).unwrap();
        assert_eq!(
            rendered("{{json .}}"),
            "{\"status\":\"die\",\"id\":\"abc\",\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"abc\",\
             \"Attributes\":{\"evil\":\"a\\nb\",\"exitCode\":\"0\",\"name\":\"web\"}},\"scope\":\"local\",\
             \"time\":1714557600,\"timeNano\":1714557600000000005}"
        );
        let source =
            "{{.ID}} {{.From}}{{.Scope}} {{.Actor.Attributes.name}} {{index .Actor.Attributes \"name\"}}";
        assert_eq!(rendered(source), "abc local web web");
    }
}
