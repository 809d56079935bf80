//! The image that `create` and `run` are about: it is there, or is fetched.
//!
//! It is fetched by this program's own `pull` in a process of its own: nothing of what that takes (TLS, threads, blocked
//! signals) is then in a process that goes on with a container.

use std::process::{Command, Stdio};

use crate::catalog::summary::{self, Summary};
use crate::cli::Globals;
use crate::cli::flags::Given;
use crate::command::create_options::{Pull, pull};
use crate::error::{Context, Error, Kind, Result};
use crate::image::platform::Platform;
use crate::output;
use crate::reference::Reference;
use crate::store::Store;

/// The image that a word means.
///
/// # Errors
/// There is none, or none for the platform that was asked for; what `pull` has said already (an error without words);
/// the system's reason.
pub(super) fn image(globals: &Globals, store: &Store, given: &Given, word: &str) -> Result<Summary> {
    let platform = given.text("platform")?.filter(|text| !text.is_empty());
    let wanted = platform.map(Platform::parse).transpose()?;
    let mode = pull(given)?;
    let missing = match mode {
        Pull::Always => None,
        _ => match find(store, word, wanted.as_ref()) {
            Err(error) if error.kind() == Kind::NotFound && mode == Pull::Missing => Some(error),
            found => return found,
        },
    };
    let name = Reference::parse(word)?;
    if missing.is_some() {
        output::complain(&format!("Unable to find image '{}' locally", name.familiar()));
    }
    fetch(globals, &name.familiar(), platform, given.is_on("quiet"))?;
    find(store, word, wanted.as_ref())
}

fn find(store: &Store, word: &str, wanted: Option<&Platform>) -> Result<Summary> {
    let (summary, _) = summary::find(store, word)?;
    match wanted {
        Some(wanted) if wanted.rank(&summary.config.platform).is_none() => {
            let actual = summary.config.platform.clone().normalised();
            Err(Error::not_found(format!(
                "image with reference {word} was found but does not match the specified platform: wanted {wanted}, \
                 actual: {actual}"
            )))
        }
        _ => Ok(summary),
    }
}

/// Has this program's `pull` bring it, whose output goes to standard error.
fn fetch(globals: &Globals, name: &str, platform: Option<&str>, is_quiet: bool) -> Result<()> {
    let words = || "pull".to_owned();
    let stderr = std::io::stderr();
    let stderr = std::os::fd::AsFd::as_fd(&stderr).try_clone_to_owned().during(words)?;
    let mut command = Command::new("/proc/self/exe");
    command.args(globals.words()).args(["image", "pull", "--unnamed"]);
    if let Some(platform) = platform {
        command.args(["--platform", platform]);
    }
    if is_quiet {
        command.arg("--quiet");
    }
    command.args(["--", name]).stdin(Stdio::null()).stdout(Stdio::from(stderr));
    sys::spawn::inherit_nothing(&mut command);
    let status = command.status().during(words)?;
    if status.success() {
        return Ok(());
    }
    // It has said why.
    let kind =
        if status.code() == Some(i32::from(super::INTERRUPTED)) { Kind::Interrupted } else { Kind::Told };
    Err(Error::new(kind, format!("the image {name} could not be pulled")))
}
