//! `--format` of commands that list things: a table, JSON, or a template, one line each.

use crate::error::Result;
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
        text.push_str(&template.render(row)?);
        text.push('\n');
    }
    Ok(if is_table { table::align(&text) } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Value> {
        let row =
            |name: &str, size: i64| Value::Object("row", vec![("Name", name.into()), ("Size", size.into())]);
        vec![row("one", 1), row("a longer one", 22)]
    }

    fn rendered(format: &str) -> String {
        render(format, "{{.Name}}\\t{{.Size}}", &[("Name", "NAME"), ("Size", "SIZE")], &rows()).unwrap()
    }

    #[test]
    fn a_format_is_a_table_json_or_a_template() {
        let table = "NAME           SIZE\none            1\na longer one   22\n";
        assert_eq!(rendered("table"), table);
        assert_eq!(rendered("table {{.Name}}\\t{{.Size}}"), table);
        assert_eq!(rendered("table {{upper .Name}}").lines().next(), Some("NAME"));
        assert_eq!(
            rendered("json"),
            "{\"Name\":\"one\",\"Size\":1}\n{\"Name\":\"a longer one\",\"Size\":22}\n"
        );
        assert_eq!(rendered("{{.Name}}\\t{{.Size}}"), "one\t1\na longer one\t22\n");
    }
}
