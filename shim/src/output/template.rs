//! `--format`: Go's templates (pkg.go.dev/text/template) with Docker's functions, over ordered values.
//!
//! The language is `gotmpl`'s. Here is what it cannot know: members keep their order in `{{json .}}`, a member that an
//! object does not have is an error that says where, one that people did not name (a label) is `<no value>`, and one that is
//! known to be nothing `<nil>`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use gotmpl::{MissingKey, TemplateError, Value as Inner};

use crate::error::{Error, Result};
use crate::output::value::Value;

/// What the language prints for what is missing.
const MISSING: &str = "<no value>";

/// A template that was read.
pub struct Template {
    source: String,
    strict: gotmpl::Template,
    lenient: gotmpl::Template,
    shapes: Shapes,
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Template").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is no template, in Docker's words.
    pub fn parse(source: &str) -> Result<Template> {
        let shapes = Shapes::default();
        let build =
            |missing| with_functions(missing, &shapes).parse(source).map_err(|error| unreadable(&error));
        let (strict, lenient) = (build(MissingKey::Error)?, build(MissingKey::Invalid)?);
        Ok(Template { source: source.to_owned(), strict, lenient, shapes })
    }

    /// Fills it in.
    ///
    /// # Errors
    /// A member that is not there, or what functions refuse.
    pub fn render(&self, value: &Value) -> Result<String> {
        let data = self.shapes.convert(value);
        match self.strict.execute_to_string(&data) {
            // Strictness cannot tell objects from dictionaries, which may lack anything.
            Err(TemplateError::MissingKey { key })
                if self.shapes.has_dictionary(&receiver(&self.source, &key)) =>
            {
                self.lenient.execute_to_string(&data).map_err(|error| self.failed(&error, value))
            }
            Ok(text) => Ok(self.with_nil(text)),
            Err(error) => Err(self.failed(&error, value)),
        }
    }

    /// Go prints a member that is nothing, unlike one that is missing, as `<nil>`; here only what is nothing comes, and the
    /// language has one word for both. Where somebody has used that word himself, nobody can tell any more.
    fn with_nil(&self, text: String) -> String {
        let is_plain = !self.source.contains(MISSING) && !self.shapes.known(|known| known.has_said_missing);
        if is_plain && text.contains(MISSING) { text.replace(MISSING, "<nil>") } else { text }
    }

    /// Fills it in with the names of columns, which functions leave as they are.
    ///
    /// # Errors
    /// What is no template.
    pub fn render_headers(&self, names: &Value) -> Result<String> {
        let mut template = with_functions(MissingKey::Invalid, &self.shapes);
        for name in ["json", "title", "lower", "upper", "truncate", "split", "join"] {
            template = template.func(name, |args| Ok(args.first().cloned().unwrap_or(Inner::Nil)));
        }
        let template = template.parse(&self.source).map_err(|error| unreadable(&error))?;
        template.execute_to_string(&self.shapes.convert(names)).map_err(|error| self.failed(&error, names))
    }

    fn failed(&self, error: &TemplateError, value: &Value) -> Error {
        let told = |reason: String| Error::usage(format!("template parsing error: template: {reason}"));
        let (field, kind) = match error {
            TemplateError::MissingKey { key } => (key.as_str(), None),
            TemplateError::UndefinedFunction(name) => {
                return told(format!(":1: function {name:?} not defined"));
            }
            TemplateError::Exec(reason) => {
                let rest = reason.strip_prefix("can't evaluate field ");
                match rest.and_then(|rest| rest.split_once(" in type ")) {
                    Some((field, kind)) => (field, Some(kind)),
                    None => return told(format!(": {reason}")),
                }
            }
            other => return told(format!(": {other}")),
        };
        let Some((line, column, path)) = place(&self.source, field) else {
            return told(format!(": {error}"));
        };
        let kind =
            kind.or_else(|| kind_of(value, &path)).map(|kind| format!(" in type {kind}")).unwrap_or_default();
        told(format!(":{line}:{column}: executing \"\" at <{path}>: can't evaluate field {field}{kind}"))
    }
}

fn unreadable(error: &TemplateError) -> Error {
    let reason = match error {
        TemplateError::Parse { line, message, .. } | TemplateError::Lex { line, message, .. } => {
            format!(":{line}: {message}")
        }
        other => format!(": {other}"),
    };
    Error::usage(format!("template parsing error: template: {reason}"))
}

/// Docker's functions besides those of the language.
fn with_functions(missing: MissingKey, shapes: &Shapes) -> gotmpl::Template {
    let shapes = shapes.clone();
    gotmpl::Template::new("")
        .missing_key(missing)
        .func("json", move |args| Ok(text(shapes.restore(argument(args, 0)?).to_json())))
        .func("index", index)
        .func("join", |args| match argument(args, 0)? {
            Inner::List(list) => {
                let parts: Vec<String> = list.iter().map(ToString::to_string).collect();
                Ok(text(parts.join(string(args, 1)?)))
            }
            Inner::Nil => Ok(text(String::new())),
            other => Err(mistake(format!("join: {} is no list", other.type_name()))),
        })
        .func("split", |args| {
            let (all, separator) = (string(args, 0)?, string(args, 1)?);
            let part = |part: &str| text(part.to_owned());
            Ok(Inner::List(match separator {
                // Between all characters, as in Go.
                "" => all.chars().map(|char| text(char.to_string())).collect(),
                _ => all.split(separator).map(part).collect(),
            }))
        })
        .func("lower", |args| Ok(text(string(args, 0)?.to_lowercase())))
        .func("upper", |args| Ok(text(string(args, 0)?.to_uppercase())))
        .func("title", |args| Ok(text(title(string(args, 0)?))))
        .func("truncate", |args| {
            let (all, length) = (string(args, 0)?, number(args, 1)?);
            Ok(text(all.chars().take(length).collect()))
        })
        .func("pad", |args| {
            let (all, before, behind) = (string(args, 0)?, number(args, 1)?, number(args, 2)?);
            let pad = |count: usize| " ".repeat(count.min(1 << 10));
            Ok(text(if all.is_empty() { String::new() } else { pad(before) + all + &pad(behind) }))
        })
}

fn text(text: String) -> Inner {
    Inner::String(text.into())
}

fn mistake(reason: String) -> TemplateError {
    TemplateError::Exec(reason)
}

fn argument(args: &[Inner], at: usize) -> gotmpl::Result<&Inner> {
    args.get(at)
        .ok_or_else(|| mistake(format!("wrong number of args: want at least {}, got {}", at + 1, args.len())))
}

fn string(args: &[Inner], at: usize) -> gotmpl::Result<&str> {
    let argument = argument(args, at)?;
    argument
        .as_str()
        .ok_or_else(|| mistake(format!("wrong type: expected string; got {}", argument.type_name())))
}

fn number(args: &[Inner], at: usize) -> gotmpl::Result<usize> {
    let argument = argument(args, at)?;
    let number = argument.as_int().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| mistake(format!("wrong value: expected a number from 0; got {argument}")))
}

/// What a dictionary does not have is empty, as in Go's maps of strings.
fn index(args: &[Inner]) -> gotmpl::Result<Inner> {
    let mut found = argument(args, 0)?.clone();
    for at in &args[1..] {
        found = match (&found, at) {
            (Inner::Map(map), Inner::String(key)) if !map.contains_key(key) => text(String::new()),
            _ => found.index(at)?,
        };
    }
    Ok(found)
}

/// Each word with its first letter in upper case.
fn title(text: &str) -> String {
    let mut before = ' ';
    let upper = |char: char| {
        let begins = !(before.is_alphanumeric() || matches!(before, '_' | '\''));
        before = char;
        if begins { char.to_uppercase().collect::<Vec<_>>() } else { vec![char] }
    };
    text.chars().flat_map(upper).collect()
}

/// What the template language's own values do not say: the order of members, and which are dictionaries.
#[derive(Clone, Default)]
struct Shapes(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// By the address of the map.
    orders: HashMap<usize, Vec<Arc<str>>>,
    /// Addresses of lists and maps that are `null` in JSON.
    nothing: BTreeSet<usize>,
    /// Names of members that are dictionaries.
    dictionaries: BTreeSet<String>,
    /// Some text has [`MISSING`] in it.
    has_said_missing: bool,
}

impl Shapes {
    fn convert(&self, value: &Value) -> Inner {
        match value {
            Value::Null => Inner::Nil,
            Value::Bool(value) => Inner::Bool(*value),
            Value::Int(value) => Inner::Int(*value),
            Value::Text(value) => {
                if value.contains(MISSING) {
                    self.known(|known| known.has_said_missing = true);
                }
                text(value.clone())
            }
            Value::List(values) => Inner::List(values.iter().map(|value| self.convert(value)).collect()),
            Value::NoList => {
                let list: Arc<[Inner]> = Arc::new([]);
                self.known(|known| known.nothing.insert(list.as_ptr().addr()));
                Inner::List(list)
            }
            Value::NoDictionary => {
                let map: Arc<BTreeMap<Arc<str>, Inner>> = Arc::default();
                self.known(|known| known.nothing.insert(Arc::as_ptr(&map).addr()));
                Inner::Map(map)
            }
            Value::Aside(value) => self.convert(value),
            Value::Object(_, members) => self.map(members.iter().map(|(name, value)| (*name, value))),
            Value::Dictionary(members) => {
                self.map(members.iter().map(|(name, value)| (name.as_str(), value)))
            }
        }
    }

    fn map<'a>(&self, members: impl Iterator<Item = (&'a str, &'a Value)>) -> Inner {
        let (mut order, mut map) = (Vec::new(), BTreeMap::new());
        for (name, value) in members {
            if matches!(value, Value::Dictionary(_) | Value::NoDictionary) {
                self.known(|known| known.dictionaries.insert(name.to_owned()));
            }
            let name: Arc<str> = name.into();
            if !matches!(value, Value::Aside(_)) {
                order.push(Arc::clone(&name));
            }
            map.insert(name, self.convert(value));
        }
        let map = Arc::new(map);
        self.known(|known| known.orders.insert(Arc::as_ptr(&map).addr(), order));
        Inner::Map(map)
    }

    fn restore(&self, value: &Inner) -> Value {
        match value {
            Inner::Nil | Inner::Function(_) => Value::Null,
            Inner::Bool(value) => Value::Bool(*value),
            Inner::Int(value) => Value::Int(*value),
            Inner::Uint(value) => (*value).into(),
            Inner::Float(value) => value.to_string().into(),
            Inner::String(value) => Value::Text(value.to_string()),
            Inner::List(values) if self.is_nothing(values.as_ptr().addr()) => Value::Null,
            Inner::List(values) => Value::List(values.iter().map(|value| self.restore(value)).collect()),
            Inner::Map(map) if self.is_nothing(Arc::as_ptr(map).addr()) => Value::Null,
            Inner::Map(map) => {
                let order = self.known(|known| known.orders.get(&Arc::as_ptr(map).addr()).cloned());
                let order = order.unwrap_or_else(|| map.keys().cloned().collect());
                let member = |name: Arc<str>| Some((name.to_string(), self.restore(map.get(&name)?)));
                Value::Dictionary(order.into_iter().filter_map(member).collect())
            }
        }
    }

    fn is_nothing(&self, address: usize) -> bool {
        self.known(|known| known.nothing.contains(&address))
    }

    fn has_dictionary(&self, name: &str) -> bool {
        self.known(|known| known.dictionaries.contains(name))
    }

    fn known<T>(&self, with: impl FnOnce(&mut Known) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where a template asks for this member first: line, column as Go counts it, and the whole path.
fn place(source: &str, field: &str) -> Option<(usize, usize, String)> {
    let is_path = |char: char| char.is_alphanumeric() || matches!(char, '_' | '.' | '$');
    let end = source
        .match_indices(&format!(".{field}"))
        .map(|(at, found)| at + found.len())
        .find(|end| !source[*end..].starts_with(|char: char| char.is_alphanumeric() || char == '_'))?;
    let begin = source[..end]
        .rfind(|char| !is_path(char))
        .map_or(0, |at| at + source[at..].chars().next().map_or(1, char::len_utf8));
    let path = &source[begin..end];
    // Of several names, Go tells where the second begins.
    let within = path.char_indices().filter(|(_, char)| *char == '.').nth(1).map_or(0, |(at, _)| at);
    let before = &source[..begin + within];
    let line = before.matches('\n').count() + 1;
    let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
    Some((line, column, path.to_owned()))
}

/// The name before this member in the path that asks for it; empty if it is asked of the value itself.
fn receiver(source: &str, field: &str) -> String {
    let path = place(source, field).map(|(_, _, path)| path).unwrap_or_default();
    path.rsplit('.').nth(1).unwrap_or_default().to_owned()
}

/// What the object is called of which the last name of a path was asked, if it can be said.
fn kind_of(value: &Value, path: &str) -> Option<&'static str> {
    let names: Vec<&str> = path.strip_prefix('.')?.split('.').collect();
    let above = &names[..names.len().saturating_sub(1)];
    match above.iter().try_fold(value, |value, name| value.get(name))? {
        Value::Object(kind, _) => Some(kind),
        Value::Dictionary(_) | Value::NoDictionary => Some("map"),
        Value::Null => Some("nil"),
        Value::Bool(_) => Some("bool"),
        Value::Int(_) => Some("int"),
        Value::Text(_) => Some("string"),
        Value::List(_) | Value::NoList => Some("list"),
        Value::Aside(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value() -> Value {
        let labels = Value::Dictionary(vec![("b".into(), "2".into()), ("a.b/c".into(), "1".into())]);
        let config = Value::Object(
            "config",
            vec![
                ("Labels", labels),
                ("Cmd", vec!["sh", "-c"].into()),
                ("Volumes", Value::NoDictionary),
                ("Entrypoint", Value::NoList),
                ("User", "".into()),
                ("Healthcheck", Value::Aside(Box::new(Value::Null))),
            ],
        );
        Value::Object(
            "image",
            vec![
                ("Size", 4_270_000_i64.into()),
                ("Id", "sha256:0123456789abcdef".into()),
                ("Config", config),
                ("Os", "linux".into()),
            ],
        )
    }

    fn render(source: &str) -> std::result::Result<String, String> {
        let template = Template::parse(source).map_err(|error| error.to_string())?;
        template.render(&value()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_language_and_dockers_functions_do_what_dockers_do() {
        for (source, text) in [
            ("{{.Os}}/{{.Size}}", "linux/4270000"),
            ("{{range .Config.Cmd}}[{{.}}]{{end}}", "[sh][-c]"),
            ("{{range $i, $c := .Config.Cmd}}{{$i}}={{$c}} {{end}}", "0=sh 1=-c "),
            ("{{index .Config.Cmd 1}}", "-c"),
            ("{{index .Config.Labels \"a.b/c\"}}", "1"),
            ("{{index .Config.Labels \"none\"}}|", "|"),
            ("{{if .Config.User}}{{.Config.User}}{{else}}root{{end}}", "root"),
            ("{{with .Config}}{{len .Cmd}}{{end}}", "2"),
            ("{{join .Config.Cmd \" \"}}", "sh -c"),
            ("{{json .Config.Cmd}} {{json .Os}} {{json .Config.Volumes}}", "[\"sh\",\"-c\"] \"linux\" null"),
            ("{{printf \"%-8s|%5d\" .Os .Size}}", "linux   |4270000"),
            ("{{println .Os}}", "linux\n"),
            ("{{eq .Os \"linux\"}} {{ne .Os \"linux\"}} {{lt 1 2}} {{gt .Size 5}}", "true false true true"),
            ("{{and .Os .Size}} {{or .Config.User \"x\"}} {{not .Os}}", "4270000 x false"),
            ("{{upper .Os}} {{lower \"AB\"}} {{title \"ab cd_e\"}}", "LINUX ab Ab Cd_e"),
            ("{{index (split .Id \":\") 1}} {{truncate .Id 10}}", "0123456789abcdef sha256:012"),
            ("{{pad .Os 1 2}}|", " linux  |"),
            ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a.b/c=1;b=2;"),
            ("{{.Config.Labels.nope}}", "<no value>"),
            ("{{.Config.Volumes}} {{.Config.Entrypoint}} {{len .Config.Entrypoint}}", "map[] [] 0"),
            (
                "{{range .Config.Volumes}}x{{end}}{{json .Config.Entrypoint}}{{join .Config.Entrypoint \",\"}}",
                "null",
            ),
            ("{{.Config.Cmd}}", "[sh -c]"),
            ("{{.Config.Healthcheck}}", "<nil>"),
            ("<no value> {{.Config.Healthcheck}}", "<no value> <no value>"),
            (
                "{{if .Config.Healthcheck}}x{{end}}{{json .Config.Healthcheck}}{{range .Config.Healthcheck}}x{{end}}",
                "null",
            ),
        ] {
            assert_eq!(render(source).as_deref(), Ok(text), "{source}");
        }
    }

    #[test]
    fn json_keeps_the_order() {
        let all = r#"{"Size":4270000,"Id":"sha256:0123456789abcdef","Config":{"Labels":{"b":"2","a.b/c":"1"},"Cmd":["sh","-c"],"Volumes":null,"Entrypoint":null,"User":""},"Os":"linux"}"#;
        assert_eq!(render("{{json .}}").unwrap(), all);
        assert_eq!(render("{{with .Config}}{{json .Labels}}{{end}}").unwrap(), r#"{"b":"2","a.b/c":"1"}"#);
    }

    #[test]
    fn what_is_not_there_or_is_no_template_is_told_with_its_place() {
        for (source, message) in [
            ("{{.Nope}}", ":1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type image"),
            (
                "a\n{{ .Config.Nope }}",
                ":2:10: executing \"\" at <.Config.Nope>: can't evaluate field Nope in type config",
            ),
            ("{{.Os.Nope}}", ":1:5: executing \"\" at <.Os.Nope>: can't evaluate field Nope in type string"),
            (
                "{{range .Config.Cmd}}{{.X}}{{end}}",
                ":1:23: executing \"\" at <.X>: can't evaluate field X in type string",
            ),
            ("{{.Os", ":1: unclosed action"),
            ("{{nope .Os}}", ":1: function \"nope\" not defined"),
            ("{{index .Config.Cmd 7}}", ": index out of range: 7"),
        ] {
            let expected = format!("template parsing error: template: {message}");
            assert_eq!(render(source).unwrap_err(), expected, "{source}");
        }
    }
}
