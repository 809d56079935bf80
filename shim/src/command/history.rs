//! `shim history`

use jiff::Timestamp;

use crate::catalog::history::{Step, steps};
use crate::catalog::summary;
use crate::cli::flags::{Arity, Form, Given, switch, value};
use crate::cli::{Globals, Verb};
use crate::command::{PLATFORM, platform, store};
use crate::error::Result;
use crate::host;
use crate::output::value::Value;
use crate::output::{self, format, human};

pub(super) const VERB: Verb = Verb {
    names: &["image history", "history"],
    about: "Show the history of an image",
    form: Form {
        usage: "[OPTIONS] IMAGE",
        flags: &[&[
            value("format", "string", format::HELP),
            switch("human", "Print sizes and dates in human readable format (default true)").short('H'),
            switch("no-trunc", "Don't truncate output"),
            PLATFORM,
            switch("quiet", "Only show image IDs").short('q'),
        ]],
        arity: Arity::Exactly(1),
        flags_end_at_argument: false,
    },
    run,
};

const HEADERS: [(&str, &str); 6] = [
    ("Comment", "COMMENT"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("CreatedSince", "CREATED"),
    ("ID", "IMAGE"),
    ("Size", "SIZE"),
];

/// Most characters of a command that are shown.
const COMMAND_MAX: usize = 45;

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let word = given.words()?[0];
    let platform = platform(given)?;
    let store = store(globals)?;
    let (image, _) = summary::find(&store, word)?;
    image.expect_platform(word, platform.as_ref())?;
    let is_human = given.switched("human") != Some(false);
    let is_short = !given.is_on("no-trunc");
    let now = Timestamp::now();
    let steps = steps(&store, &image)?;
    let rows: Vec<Value> = steps
        .iter()
        .enumerate()
        .map(|(number, step)| {
            let id = match number {
                0 if is_short => image.id.short().to_owned(),
                0 => image.id.to_string(),
                // Only the last step has an image here.
                _ => "<missing>".to_owned(),
            };
            row(step, id, is_human, is_short, now)
        })
        .collect();
    let table = if is_human {
        "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
    } else {
        "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
    };
    let format = match given.text("format")? {
        None | Some("" | "table") if given.is_on("quiet") => "{{.ID}}",
        None | Some("") => "table",
        Some(format) => format,
    };
    output::print(&format::render(format, table, &HEADERS, &rows)?)?;
    Ok(0)
}

fn row(step: &Step, id: String, is_human: bool, is_short: bool, now: Timestamp) -> Value {
    let at = step.created.map_or_else(
        || "0001-01-01T00:00:00Z".to_owned(),
        |created| {
            let local = created.to_zoned(host::time_zone());
            // Go writes a zone without an offset as Z.
            local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z")
        },
    );
    let since = match step.created {
        Some(created) if is_human => {
            format!("{} ago", human::duration(now.as_second() - created.as_second()))
        }
        Some(_) => at.clone(),
        None => "N/A".to_owned(),
    };
    // A tab would begin a column.
    let mut command = step.created_by.replace('\t', " ");
    if is_short && command.chars().count() > COMMAND_MAX {
        command = command.chars().take(COMMAND_MAX - 1).collect::<String>() + "…";
    }
    let size = if is_human { human::size(step.size) } else { step.size.to_string() };
    Value::Object(
        "history",
        vec![
            ("Comment", step.comment.as_str().into()),
            ("CreatedAt", at.into()),
            ("CreatedBy", command.into()),
            ("CreatedSince", since.into()),
            ("ID", id.into()),
            ("Size", size.into()),
        ],
    )
}
