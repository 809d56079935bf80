//! The commands, one file each: arguments → one call of the library → output.
//!
//! A command that is not in [`VERBS`] does not exist: help texts and the command line are made of it.

mod acquire;
mod attach;
mod bundle;
mod commit;
mod complete;
mod container_prune;
mod cp;
mod create;
mod create_options;
mod diff;
mod events;
mod exec;
mod export;
mod history;
mod hold;
mod image_inspect;
mod image_prune;
mod images;
mod import;
mod info;
mod inspect;
mod kill;
mod load;
mod login;
mod logout;
mod logs;
mod monitor;
mod mount_options;
mod network_connect;
mod network_create;
mod network_inspect;
mod network_ls;
mod network_options;
mod network_prune;
mod network_rm;
mod pause;
mod port;
mod port_options;
mod port_proxy;
mod pruned;
mod ps;
mod pull;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod save;
mod spec_options;
mod start;
mod stats;
mod stop;
mod system_boot;
mod system_check;
mod system_df;
mod system_prune;
mod tag;
mod terminal_exec;
mod top;
mod update;
mod version;
mod volume_create;
mod volume_inspect;
mod volume_ls;
mod volume_prune;
mod volume_rm;
mod wait;
mod way_out;

use crate::cli::flags::{Flag, Given, value};
use crate::cli::{Globals, Verb};
use crate::container::store::Containers;
use crate::error::{Error, Kind, Result};
use crate::image::platform::Platform;
use crate::output;
use crate::rootless::{self, Side, holder};
use crate::store::Store;
use crate::store::folder::Folders;

/// All commands.
pub const VERBS: &[&Verb] = &[
    &attach::VERB,
    &bundle::VERB,
    &commit::VERB,
    &complete::ASK,
    &complete::SCRIPT,
    &container_prune::VERB,
    &cp::VERB,
    &create::VERB,
    &diff::VERB,
    &events::VERB,
    &exec::VERB,
    &export::VERB,
    &history::VERB,
    &hold::VERB,
    &image_inspect::VERB,
    &image_prune::VERB,
    &images::VERB,
    &import::VERB,
    &info::VERB,
    &inspect::CONTAINER,
    &inspect::VERB,
    &kill::VERB,
    &load::VERB,
    &login::VERB,
    &logout::VERB,
    &logs::VERB,
    &monitor::VERB,
    &network_connect::CONNECT,
    &network_connect::DISCONNECT,
    &network_create::VERB,
    &network_inspect::VERB,
    &network_ls::VERB,
    &network_prune::VERB,
    &network_rm::VERB,
    &pause::PAUSE,
    &pause::UNPAUSE,
    &port::VERB,
    &port_proxy::VERB,
    &ps::VERB,
    &pull::VERB,
    &rename::VERB,
    &restart::VERB,
    &rm::VERB,
    &rmi::VERB,
    &run::VERB,
    &save::VERB,
    &start::VERB,
    &stats::VERB,
    &stop::VERB,
    &system_boot::VERB,
    &system_check::VERB,
    &system_df::VERB,
    &system_prune::VERB,
    &tag::VERB,
    &terminal_exec::VERB,
    &top::VERB,
    &update::VERB,
    &version::VERB,
    &volume_create::VERB,
    &volume_inspect::VERB,
    &volume_ls::VERB,
    &volume_prune::VERB,
    &volume_rm::VERB,
    &wait::VERB,
    &way_out::VERB,
];

/// Commands that make or remove files of images.
const WITH_OWNERS: [&str; 7] =
    ["bundle", "image import", "image load", "image prune", "image pull", "image rm", "system check"];

/// Commands on containers that need the namespaces of an ordinary user's containers where none runs: they make, mount or
/// remove files of containers. The others have nothing to do there then.
const MAKING_NAMESPACES: &[&str] = &[
    "container commit",
    "container cp",
    "container create",
    "container diff",
    "container export",
    "container prune",
    "container restart",
    "container rm",
    "container run",
    "container start",
    "volume prune",
    "volume rm",
    "system prune",
];

/// Exit status of a command that failed.
pub const FAILURE: u8 = 1;
/// Exit status of a command that was interrupted: that of a shell's child that SIGINT ended.
pub const INTERRUPTED: u8 = 130;
/// Exit status when nobody reads the output any more: 128 and SIGPIPE.
pub const UNREAD: u8 = 141;

/// Tells why a command failed, in one line; the exit status.
#[must_use]
pub fn report(error: &Error) -> u8 {
    match error.kind() {
        // As programs end that SIGPIPE ends, docker's among them.
        Kind::Unread => return UNREAD,
        Kind::Told => return FAILURE,
        _ => output::complain(&error.to_string()),
    }
    if error.kind() == Kind::Interrupted { INTERRUPTED } else { FAILURE }
}

/// `--platform` of commands that look at images.
const PLATFORM: Flag =
    value("platform", "string", "Fail unless the image is for this platform (e.g., \"linux/amd64\")");

/// What `--platform` says.
fn platform(given: &Given) -> Result<Option<Platform>> {
    given.text("platform")?.map(Platform::parse).transpose()
}

/// The store of `--root` and `--state`.
fn store(globals: &Globals) -> Result<Store> {
    let folders = Folders::open(globals.root(), globals.state())?;
    globals.debug(|| format!("images are kept in {:?}", folders.root()));
    Store::open(folders)
}

/// The containers of `--root` and `--state`.
fn containers(globals: &Globals) -> Result<Containers> {
    Containers::open(&Folders::open(globals.root(), globals.state())?)
}

/// Does something to each of the containers that the arguments name, at the same time: one that takes its time does not
/// keep the others waiting. Prints the names of those that it was done to.
fn for_each(given: &Given, act: impl Fn(&str) -> Result<()> + Sync) -> Result<u8> {
    let words = given.words()?;
    let mut code = 0;
    for some in words.chunks(TOGETHER) {
        let results = std::thread::scope(|scope| {
            let started: Vec<_> = some.iter().map(|word| scope.spawn(|| act(word))).collect();
            let ended = |thread: std::thread::ScopedJoinHandle<Result<()>>| {
                thread.join().unwrap_or_else(|_| Err(Error::new(Kind::System, "a thread has ended")))
            };
            started.into_iter().map(ended).collect::<Vec<_>>()
        });
        for (word, result) in some.iter().zip(results) {
            match result {
                Ok(()) => output::print(&format!("{word}\n"))?,
                Err(error) => code = report(&error),
            }
        }
    }
    Ok(code)
}

/// How many containers something is done to at the same time, as in docker.
const TOGETHER: usize = 50;

/// Does a command. An ordinary user's goes on in a user namespace if it makes or removes files of images, whose owners
/// are more than one; and in that of his containers, which is the same for all of them, if it is about those.
///
/// # Errors
/// The command's own; those of [`rootless::enter`].
pub fn run(globals: &Globals, verb: &Verb, given: &Given) -> Result<u8> {
    let name = verb.names[0];
    let is_of_containers = ["container ", "network ", "volume "].iter().any(|group| name.starts_with(group))
        || matches!(name, "inspect" | "system prune");
    if !rootless::is_ordinary_user() || !(is_of_containers || WITH_OWNERS.contains(&name)) {
        return (verb.run)(globals, given);
    }
    // Where they are, the user's own environment says: inside he is root.
    let folders = Folders::open(globals.root(), globals.state())?;
    if is_of_containers {
        let joined = holder::join(&folders, MAKING_NAMESPACES.contains(&name))?;
        let inside = globals.with(folders.root(), folders.state());
        return (verb.run)(if joined { &inside } else { globals }, given);
    }
    // What is left of networks is there, if anything is.
    if name == "system check" && holder::join(&folders, false)? {
        return (verb.run)(&globals.with(folders.root(), folders.state()), given);
    }
    match rootless::enter()? {
        Side::Caller(code) => Ok(code),
        Side::Inside => (verb.run)(&globals.with(folders.root(), folders.state()), given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_with_owners_are_commands() {
        for name in WITH_OWNERS {
            assert!(VERBS.iter().any(|verb| verb.names[0] == name), "{name}");
        }
    }
}
