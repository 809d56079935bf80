//! `shim save`

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::cli::flags::{Arity, Form, Given, value};
use crate::cli::{Globals, Verb};
use crate::command::{PLATFORM, platform, store};
use crate::error::{Context, Error, Result};
use crate::image::platform::Platform;
use crate::save::save;
use crate::store::Store;
use crate::store::record::unique_name;

pub(super) const VERB: Verb = Verb {
    names: &["image save", "save"],
    about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    form: Form {
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        flags: &[&[value("output", "string", "Write to a file, instead of STDOUT").short('o'), PLATFORM]],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run,
};

/// Written at once.
const BUFFER: usize = 1 << 17;

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let platform = platform(given)?;
    let words = given.words()?;
    match given.path("output").filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => to_file(&store(globals)?, &words, platform.as_ref(), path)?,
        None if std::io::stdout().is_terminal() => {
            return Err(Error::usage("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
        }
        None => {
            let stdout = BufWriter::with_capacity(BUFFER, std::io::stdout().lock());
            save(&store(globals)?, &words, platform.as_ref(), stdout)?;
        }
    }
    Ok(0)
}

/// Into a file that has its name only when it is whole. What is there and no file (a pipe, a device) is written to.
fn to_file(store: &Store, words: &[&str], platform: Option<&Platform>, path: &Path) -> Result<()> {
    let opened = || format!("open {path:?}");
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => return Err(Error::usage("Is a directory")).during(opened),
        Ok(there) if !there.is_file() => {
            let file = OpenOptions::new().write(true).open(path).during(opened)?;
            return save(store, words, platform, BufWriter::with_capacity(BUFFER, file));
        }
        _ => {}
    }
    // Through a link, the file that it leads to is replaced, not the link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = folder.join(format!(".caisson-save-{}", unique_name()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).during(opened)?;
    let written = write(store, words, platform, file)
        .and_then(|()| fs::rename(&new, path).during(|| format!("rename {new:?} to {path:?}")));
    written.inspect_err(|_| {
        // Nothing half-made stays; why it failed is what counts.
        let _ = fs::remove_file(&new);
    })
}

fn write(store: &Store, words: &[&str], platform: Option<&Platform>, file: File) -> Result<()> {
    let mut out = BufWriter::with_capacity(BUFFER, file);
    save(store, words, platform, &mut out)?;
    out.flush().during(|| "write the archive".into())
}
