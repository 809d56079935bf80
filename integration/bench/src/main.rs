//! Measures this runtime beside crun, runc and the floor (the same kernel calls and nothing else), in one
//! run and interleaved, so that what disturbs the machine disturbs all of them alike. `docs/benchmarks.md`
//! explains the method to a reader of the figures; the modules explain it where it is carried out.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use arguments::{Asked, Options};
use bundle::Bundles;
use contestant::Contestant;
use workshop::Workshop;

mod arguments;
mod bundle;
mod contestant;
mod limit;
mod measure;
mod report;
mod rounds;
mod statistics;
mod workshop;

fn main() -> ExitCode {
    let asked = arguments::parse(std::env::args_os().skip(1));
    let done = match asked {
        Ok(Asked::Help) => say(arguments::USAGE),
        Ok(Asked::Measure(options)) => bench(&options),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("write to standard output")
}

fn bench(options: &Options) -> Result<()> {
    let seccomp = options.seccomp.as_deref().map(bundle::read_profile).transpose()?;
    if let Some(path) = &options.write {
        report::check_markers(path)?;
    }
    let mut notes = Vec::new();
    let mut contestants = contestant::find(options, &mut notes)?;

    let workshop = Workshop::open()?;
    let bundles = Bundles::new(&workshop, seccomp)?;
    if options.smallest_limit {
        return say(&limit::table(&contestants, &bundles, &workshop)?);
    }
    prove(&mut contestants, &bundles, &workshop, &mut notes)?;

    let figures = rounds::measure(options, &contestants, &bundles, &workshop)?;
    drop(workshop);

    let text = report::text(options, &contestants, &figures, &notes)?;
    say(&text)?;
    if let Some(path) = &options.write {
        report::write(path, &text)?;
        say(&format!("\nwritten to {}\n", path.display()))?;
    }
    Ok(())
}

/// Each contestant has to show that it really runs a container. Ours and the floor must; another runtime
/// that does not is left out, with the reason. Where one of them cannot set device rules on this host, the
/// rules are dropped for everybody.
fn prove(
    contestants: &mut Vec<Contestant>,
    bundles: &Bundles,
    workshop: &Workshop,
    notes: &mut Vec<String>,
) -> Result<()> {
    let mut failed = bundles.prove_all(contestants, true, workshop)?;
    if let Some((name, reason)) = failed.iter().find(|(_, reason)| reason.contains("MEMLOCK")) {
        notes.push(format!(
            "The bundles have no device rules (`linux.resources`): {name} cannot set them here, where root \
             may not raise RLIMIT_MEMLOCK (`{reason}`). This runtime \
             loads its program for the default devices all the same, as it always does; the others load none."
        ));
        failed = bundles.prove_all(contestants, false, workshop)?;
    }
    for (name, reason) in &failed {
        if name == contestant::OURS || name == contestant::FLOOR {
            bail!("{name} does not run the container it was given: {reason}");
        }
        let enabled = workshop.enabled_controllers();
        let hint = if name == "crun" && !enabled.is_empty() {
            format!(
                " (cgroup2's root has {enabled} enabled in cgroup.subtree_control here: crun 1.8.1 refuses \
                 such hosts)"
            )
        } else {
            String::new()
        };
        notes.push(format!("{name} is left out: it did not run the container: `{reason}`{hint}."));
    }
    contestants.retain(|contestant| failed.iter().all(|(name, _)| *name != contestant.name));
    Ok(())
}
