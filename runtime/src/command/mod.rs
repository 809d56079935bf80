//! One verb each: arguments → one library call → output.
//!
//! A command returns the exit code of a success, which is 0 except where the program's own code is passed
//! on. It prints its result itself; errors and warnings are the report's.

pub mod checkpoint;
pub mod create;
pub mod delete;
pub mod events;
pub mod exec;
pub mod features;
pub mod kill;
pub mod list;
pub mod pause;
pub mod ps;
pub mod restore;
pub mod resume;
pub mod run;
pub mod spec;
pub mod start;
pub mod state;
pub mod update;

use crate::bail;
use crate::cli::{COMMIT, Command, Globals, NAME, VERSION};
use crate::container::Store;
use crate::error::{Context, Result};
use crate::report::Log;
use crate::seal::{self, Protection};

/// Carries out a command; `protected` tells of the own binary, if that was seen to before the command was known.
///
/// # Errors
/// Whatever the command fails with.
pub fn execute(
    globals: &Globals,
    command: &Command,
    protected: Option<Result<Protection>>,
    log: &mut Log,
) -> Result<u8> {
    log.debug(|| {
        format!("{}: {NAME} {VERSION}, commit {COMMIT}, process {}", command.name(), std::process::id())
    });
    check_runtime_folder(globals, command)?;
    let protect = || protected.unwrap_or_else(seal::protect_own_binary);
    match command {
        Command::Create(args) => create::execute(globals, args, protect()?, log),
        Command::Start(args) => start::execute(globals, args, log),
        Command::Run(args) => run::execute(globals, args, protect()?, log),
        Command::Exec(args) => exec::execute(globals, args, protect()?, log),
        Command::State(args) => state::execute(globals, args, log),
        Command::Kill(args) => kill::execute(globals, args, log),
        Command::Pause(args) => pause::execute(globals, args, log),
        Command::Resume(args) => resume::execute(globals, args, log),
        Command::Update(args) => update::execute(globals, args, log),
        Command::Ps(args) => ps::execute(globals, args, log),
        Command::Events(args) => events::execute(globals, args, log),
        Command::Checkpoint(args) => checkpoint::execute(globals, args, log),
        Command::Restore(args) => restore::execute(globals, args, protect()?, log),
        Command::Delete(args) => delete::execute(globals, args, log),
        Command::List(args) => list::execute(globals, args, log),
        Command::Spec(args) => spec::execute(globals, args, log),
        Command::Features => features::execute(globals, log),
    }
}

/// Sees that $XDG_RUNTIME_DIR, where it is to hold the containers' state, is there and nobody else's.
fn check_runtime_folder(globals: &Globals, command: &Command) -> Result<()> {
    if globals.root.is_some() || matches!(command, Command::Spec(_) | Command::Features) {
        return Ok(());
    }
    match globals.state_root().runtime_folder {
        Some(folder) => Store::check_owner(&folder).context(|| "XDG_RUNTIME_DIR"),
        None if matches!(command, Command::Create(_) | Command::Run(_))
            && !nix::unistd::geteuid().is_root() =>
        {
            bail!(
                "XDG_RUNTIME_DIR is not set: set it to a folder of your own (/run/user/UID), or give --root"
            )
        }
        None => Ok(()),
    }
}
