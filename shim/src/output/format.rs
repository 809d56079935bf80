//! `--format` of commands that list things: a table, JSON, or a template, one line each.

use crate::error::Result;
use crate::escape::one_line;
use crate::output::table;
use crate::output::template::Template;
use crate::output::value::Value;

/// The help text of such a flag.
pub const HELP: &str = "Format output using a custom template:\n'table':            Print output in table format with column \
    headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             \
    Print in JSON format\n'TEMPLATE':         Print output using the given Go template.";

/// Writes rows by a format. `default_table` is the template of `table` alone, `headers` the names of the columns.
///
/// # Errors
/// What is no template, or asks for what the rows do not have.
pub fn render(
    format: &str,
    default_table: &str,
    headers: &[(&'static str, &str)],
    rows: &[Value],
) -> Result<String> {
    let (is_table, source) = match format.strip_prefix("table") {
        Some("") => (true, default_table),
        Some(source) => (true, source),
        None if format == "json" => (false, "{{json .}}"),
        None => (false, format),
    };
    // As Docker reads them: shells do not make tabs of these.
    let source = source.trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n");
    let template = Template::parse(&source)?;
    let mut text = String::new();
    if is_table {
        let names = headers.iter().map(|(field, name)| (*field, Value::from(*name))).collect();
        text = template.render_headers(&Value::Object("header", names))?;
        text.push('\n');
    }
    for row in rows {
        // JSON escapes by itself; elsewhere an image could write on the terminal what it likes, or a line of its own.
        let line =
            if source.contains("json") { template.render(row)? } else { template.render(&plain(row))? };
        text.push_str(&if format == "json" { escaped(&line) } else { line });
        text.push('\n');
    }
    Ok(if is_table { table::align(&text) } else { text })
}

/// The same value, in whose texts control characters are escaped.
fn plain(value: &Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(one_line(text).into_owned()),
        Value::List(values) => Value::List(values.iter().map(plain).collect()),
        Value::Object(kind, members) => {
            Value::Object(kind, members.iter().map(|(name, value)| (*name, plain(value))).collect())
        }
        Value::Aside(value) => Value::Aside(Box::new(plain(value))),
        other => other.clone(),
    }
}

/// JSON as Docker has it in lists: what means something in HTML is escaped.
fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Value> {
        let row =
            |name: &str, size: i64| Value::Object("row", vec![("Name", name.into()), ("Size", size.into())]);
        vec![row("one", 1), row("a longer <>", 22)]
    }

    fn rendered(format: &str) -> String {
        render(format, "{{.Name}}\\t{{.Size}}", &[("Name", "NAME"), ("Size", "SIZE")], &rows()).unwrap()
    }

    #[test]
    fn what_is_shown_has_no_control_characters() {
        let row = Value::Object("row", vec![("Name", "a\u{1b}[2J\nb".into())]);
        let rendered = |format: &str| {
            render(format, "{{.Name}}", &[("Name", "NAME")], std::slice::from_ref(&row)).unwrap()
        };
        assert_eq!(rendered("table"), "NAME\na\\u{1b}[2J\\nb\n");
        assert_eq!(rendered("{{.Name}}"), "a\\u{1b}[2J\\nb\n");
        assert_eq!(rendered("json"), "{\"Name\":\"a\\u001b[2J\\nb\"}\n");
    }

    #[test]
    fn a_format_is_a_table_json_or_a_template() {
        let table = "NAME          SIZE\none           1\na longer <>   22\n";
        assert_eq!(rendered("table"), table);
        assert_eq!(rendered("table {{.Name}}\\t{{.Size}}"), table);
        assert_eq!(rendered("table {{upper .Name}}").lines().next(), Some("NAME"));
        assert_eq!(
            rendered("json"),
            "{\"Name\":\"one\",\"Size\":1}\n{\"Name\":\"a longer \\u003c\\u003e\",\"Size\":22}\n"
        );
        assert_eq!(rendered("{{.Name}}\\t{{.Size}}"), "one\t1\na longer <>\t22\n");
    }
}
