//! `shim pull`

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;

use crate::cli::flags::{Arity, Form, Given, switch, value};
use crate::cli::{Globals, Verb};
use crate::command::store;
use crate::error::{Context, Error, Result};
use crate::image::platform::Platform;
use crate::output;
use crate::pull::Pull;
use crate::pull::report::{Lines, Quiet, Report, Terminal};
use crate::reference::{DEFAULT_TAG, Reference};
use crate::registry::cancel::Cancel;
use crate::registry::client::{Network, Patience};
use crate::registry::settings::{self, Settings};
use crate::rootless;
use crate::signals;

pub(super) const VERB: Verb = Verb {
    names: &["image pull", "pull"],
    about: "Download an image from a registry",
    form: Form {
        usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
        flags: &[&[
            switch("all-tags", "Download all tagged images in the repository").short('a'),
            switch("disable-content-trust", "Skip image verification: signatures are never looked at"),
            value("platform", "string", "Set platform if the registry has the image for several"),
            switch("quiet", "Suppress verbose output").short('q'),
            switch("unnamed", "For create and run: their output does not end in the image's name").hidden(),
        ]],
        arity: Arity::Exactly(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let name = Reference::parse(words[0])?;
    let all = given.is_on("all-tags");
    if all && (name.tag().is_some() || name.digest().is_some()) {
        return Err(Error::usage("tag can't be used with --all-tags/-a"));
    }
    if given.switched("disable-content-trust") == Some(false) {
        return Err(Error::usage("--disable-content-trust=false: signatures cannot be verified"));
    }
    let platform =
        given.text("platform")?.filter(|text| !text.is_empty()).map(Platform::parse).transpose()?;
    // Before there are other threads.
    let cancel = Arc::new(Cancel::default());
    let canceller = Arc::clone(&cancel);
    signals::on_interrupt(move || canceller.cancel())?;

    let (store, who) = (store(globals)?, rootless::who()?);
    let settings = Settings::read(Path::new(settings::PATH))?;
    let network = Network::new(settings, &cancel, Patience::default());
    let report = report(given.is_on("quiet"));
    let pull = Pull { store: &store, who, network: &network, platform: platform.as_ref(), report: &*report };
    if all {
        pull.all(&name)?;
        output::print(&format!("{}\n", name.name()))?;
        return Ok(0);
    }
    if given.is_on("unnamed") {
        pull_for_another(&pull, &name)?;
        return Ok(0);
    }
    if let (None, None) = (name.tag(), name.digest()) {
        report.line(&format!("Using default tag: {DEFAULT_TAG}"));
    }
    pull.one(&name)?;
    output::print(&format!("{name}\n"))?;
    Ok(0)
}

/// Pulls for a caller that ends when it is told to, and with it this.
fn pull_for_another(pull: &Pull, name: &Reference) -> Result<()> {
    let signal = Some(rustix::process::Signal::TERM);
    rustix::process::set_parent_process_death_signal(signal).during(|| "prctl".into())?;
    pull.one(name).map(drop)
}

/// Who is told, and how.
fn report(is_quiet: bool) -> Box<dyn Report> {
    let stdout = std::io::stdout();
    if is_quiet {
        return Box::new(Quiet);
    }
    // One that cannot go up gets lines as a file does.
    let is_dumb = std::env::var_os("TERM").is_some_and(|kind| kind == "dumb");
    if !stdout.is_terminal() || is_dumb {
        return Box::new(Lines::new(stdout));
    }
    let size = || {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
        // A serial line tells none.
        let or = |told: Option<u16>, usual: usize| told.filter(|told| *told > 0).map_or(usual, usize::from);
        (or(size.map(|size| size.ws_row), 24), or(size.map(|size| size.ws_col), 80))
    };
    Box::new(Terminal::new(stdout, size))
}
