//! `shim create`

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::cli::create_flags::{CREATE_FLAGS, CREATE_REFUSED};
use crate::cli::flags::{Arity, Form, Given};
use crate::cli::spec_flags::SPEC_FLAGS;
use crate::cli::{Globals, USAGE, Verb};
use crate::command::{acquire, containers, create_options, report, store};
use crate::container::create::{Created, create};
use crate::error::{Context, Error, Kind, Result};
use crate::output;

pub(super) const VERB: Verb = Verb {
    names: &["container create", "create"],
    about: "Create a new container",
    form: Form {
        usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        flags: &[&SPEC_FLAGS, &CREATE_FLAGS, &CREATE_REFUSED],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: true,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    match made(globals, given, false, None) {
        Ok(created) => output::print(&format!("{}\n", created.container.id)).map(|()| 0),
        Err(error) => {
            let code = report(&error);
            Ok(if error.kind() == Kind::Usage { USAGE } else { code })
        }
    }
}

/// Makes the container that a command line asks for, and tells its warnings. Who starts it at once says so, and how large
/// its terminal is.
///
/// # Errors
/// Those of [`create`] and of the flags.
pub(super) fn made(
    globals: &Globals,
    given: &Given,
    detached: bool,
    to_start: Option<Option<(u16, u16)>>,
) -> Result<Created> {
    let words = given.words()?;
    let (mut request, mut warnings) = create_options::request(given, &words, detached)?;
    request.options.console_size = to_start.flatten();
    request.host_config.console_size = to_start.flatten().map_or([0, 0], |(rows, columns)| [rows, columns]);
    // Before anything is fetched.
    let file = given.path("cidfile").filter(|path| !path.as_os_str().is_empty());
    let file = file.map(IdFile::create).transpose()?;
    let (store, containers) = (store(globals)?, containers(globals)?);
    let image = acquire::image(globals, &store, given, words.first().copied().unwrap_or_default())?;
    let mut created = create(&store, &containers, &image, request, to_start.is_some())?;
    let container = &created.container;
    warnings.append(&mut created.warnings);
    for warning in warnings {
        output::complain(&format!("WARNING: {warning}"));
    }
    globals.debug(|| format!("container {} ({}) of image {}", container.id, container.name, image.id));
    if let Some(file) = file {
        file.write(&container.id)?;
    }
    Ok(created)
}

/// `--cidfile`: gone again if no container comes of it.
struct IdFile {
    path: PathBuf,
    file: File,
    is_written: bool,
}

impl IdFile {
    fn create(path: &Path) -> Result<IdFile> {
        match File::create_new(path) {
            Ok(file) => Ok(IdFile { path: path.to_owned(), file, is_written: false }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let path = path.display();
                Err(Error::usage(format!(
                    "container ID file found, make sure the other container isn't running or delete {path}"
                )))
            }
            Err(error) => Err(error).during(|| format!("failed to create the container ID file: {path:?}")),
        }
    }

    fn write(mut self, id: &str) -> Result<()> {
        let words = || format!("failed to write the container ID to the file {:?}", self.path);
        self.file.write_all(id.as_bytes()).during(words)?;
        self.is_written = true;
        Ok(())
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if !self.is_written {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
