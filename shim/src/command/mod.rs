//! The commands, one file each: arguments → one call of the library → output.
//!
//! A command that is not in [`VERBS`] does not exist: help texts and the command line are made of it.

mod bundle;
mod history;
mod image_inspect;
mod image_prune;
mod images;
mod import;
mod info;
mod load;
mod login;
mod logout;
mod pull;
mod rmi;
mod save;
mod spec_options;
mod system_check;
mod system_df;
mod tag;
mod version;

use crate::cli::{Globals, Verb};
use crate::error::{Error, Kind, Result};
use crate::output;
use crate::store::Store;
use crate::store::folder::Folders;
use crate::unpack::tree::As;

/// All commands.
pub const VERBS: &[&Verb] = &[
    &bundle::VERB,
    &history::VERB,
    &image_inspect::VERB,
    &image_prune::VERB,
    &images::VERB,
    &import::VERB,
    &info::VERB,
    &load::VERB,
    &login::VERB,
    &logout::VERB,
    &pull::VERB,
    &rmi::VERB,
    &save::VERB,
    &system_check::VERB,
    &system_df::VERB,
    &tag::VERB,
    &version::VERB,
];

/// Exit status of a command that failed.
pub const FAILURE: u8 = 1;
/// Exit status of a command that was interrupted: that of a shell's child that SIGINT ended.
pub const INTERRUPTED: u8 = 130;

/// Tells why a command failed, in one line; the exit status.
#[must_use]
pub fn report(error: &Error) -> u8 {
    output::complain(&error.to_string());
    if error.kind() == Kind::Interrupted { INTERRUPTED } else { FAILURE }
}

/// The store of `--root` and `--state`.
fn store(globals: &Globals) -> Result<Store> {
    let folders = Folders::open(globals.root(), globals.state())?;
    globals.debug(|| format!("images are kept in {:?}", folders.root()));
    Store::open(folders)
}

/// As whom this process unpacks layers.
fn unpacks_as() -> Result<As> {
    if rustix::process::geteuid().is_root() {
        return Ok(As::Root);
    }
    Err(Error::new(Kind::Denied, "unpacking layers needs root: owners and devices could not be kept"))
}
